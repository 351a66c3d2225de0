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
