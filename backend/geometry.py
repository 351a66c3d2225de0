"""Meshes and rays in Open3D's terms: the few lines that everything needs that asks Open3D. Stands beside camera."""

from __future__ import annotations

import numpy as np
import open3d as o3d


def as_tensor(array: np.ndarray) -> o3d.core.Tensor:
    """The array as an Open3D tensor of the same type."""
    return o3d.core.Tensor.from_numpy(np.ascontiguousarray(array))


def tensor_mesh(vertices: np.ndarray, faces: np.ndarray) -> o3d.t.geometry.TriangleMesh:
    """Open3D's tensor mesh of vertices (V, 3) and faces (F, 3)."""
    mesh = o3d.t.geometry.TriangleMesh()
    mesh.vertex.positions = as_tensor(vertices.astype(np.float32, copy=False))
    mesh.triangle.indices = as_tensor(faces.astype(np.int64, copy=False))
    return mesh


def legacy_mesh(vertices: np.ndarray, faces: np.ndarray) -> o3d.geometry.TriangleMesh:
    """Open3D's legacy mesh, which alone can smooth and subdivide, of vertices (V, 3) and faces (F, 3)."""
    return o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(vertices.astype(np.float64, copy=False)),
        o3d.utility.Vector3iVector(faces.astype(np.int32, copy=False)),
    )


def make_scene(vertices: np.ndarray, faces: np.ndarray) -> o3d.t.geometry.RaycastingScene:
    """A scene that answers rays, distances and inside or outside for a mesh of vertices (V, 3) and faces (F, 3)."""
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(as_tensor(vertices.astype(np.float32)), as_tensor(faces.astype(np.uint32)))
    return scene
