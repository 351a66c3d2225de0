"""UVs: an atlas of few charts (Open3D's UVAtlas)."""

from __future__ import annotations

import numpy as np
import open3d as o3d

from .mesh import Mesh

GUTTER = 6  # pixels between charts
_PARTITIONS = 2  # worked on beside each other; more are quicker and make more charts


def unwrap(mesh: Mesh, texture_size: int) -> np.ndarray:
    """Per-corner UVs (F, 3, 2) float32 in [0, 1], origin at the texture's bottom left. The mesh must be manifold."""
    tensor = o3d.t.geometry.TriangleMesh()
    tensor.vertex.positions = o3d.core.Tensor(mesh.vertices)
    tensor.triangle.indices = o3d.core.Tensor(mesh.faces.astype(np.int64))
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        tensor.compute_uvatlas(size=texture_size, gutter=float(GUTTER), parallel_partitions=_PARTITIONS)
    return tensor.triangle.texture_uvs.numpy().astype(np.float32)
