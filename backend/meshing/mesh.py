"""The mesh that the meshing floor hands on. Welded: a vertex on a UV seam is one; the seam lives in the corners."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh in world units, faces counter-clockwise seen from outside."""

    vertices: np.ndarray  # (V, 3) float32
    faces: np.ndarray  # (F, 3) int32


@dataclass(frozen=True, eq=False)
class TexturedMesh:
    """A mesh with an atlas and its albedo."""

    mesh: Mesh
    corner_uvs: np.ndarray  # (F, 3, 2) float32 in [0, 1], origin at the texture's bottom left corner
    albedo: np.ndarray  # (H, W, 3) uint8 sRGB, row 0 at the top


@dataclass(frozen=True)
class SurfaceReport:
    """What the surface is like, as counted on the finished mesh."""

    vertices: int
    faces: int
    components: int  # connected pieces
    holes: int  # closed loops of boundary edges; an open neck counts as one
    watertight: bool
    removed_components: int  # floaters and inner shells that were taken away
    euler_number: int


def vertex_normals(mesh: Mesh) -> np.ndarray:
    """(V, 3) float32 unit normals of the welded mesh, weighted by the area of the faces; up where there is none."""
    vertices = np.asarray(mesh.vertices, np.float64)
    a, b, c = (vertices[mesh.faces[:, corner]] for corner in range(3))
    areas = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(mesh.faces.ravel(), np.repeat(areas[:, axis], 3), minlength=len(vertices)) for axis in range(3)],
        axis=1,
    )
    length = np.linalg.norm(normals, axis=1)
    normals[length < 1e-20] = (0.0, 1.0, 0.0)
    return (normals / np.where(length < 1e-20, 1.0, length)[:, None]).astype(np.float32)


def unique_edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every edge once, (n, 2) int64 with its lower vertex first, and how many of the triangles (F, 3) use it, (n,)."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1).astype(np.int64)
    count = int(faces.max(initial=0)) + 1
    keys, uses = np.unique(edges[:, 0] * count + edges[:, 1], return_counts=True)
    return np.stack(np.divmod(keys, count), axis=1), uses
