"""UVs: an atlas of few charts by Open3D's UVAtlas, cut so that the face is not where the cuts go."""

from __future__ import annotations

import numpy as np
import open3d as o3d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..geometry import tensor_mesh
from .mesh import Mesh

GUTTER = 6  # pixels between charts
_STRETCH = 0.5  # of 0 (isometric) to 1; UVAtlas cuts a chart that would need more. The default, 1/6, cuts faces in two.
_AXIS = (0.0, -0.08)  # x and z of the vertical axis that azimuths are taken around: the middle of the skull
_FACE, _LEFT, _RIGHT, _NECK = range(4)
# World units along x. Open3D cuts at the mean of what is left to cut: with these places always between two parts.
_PLACE = np.array([0.0, 10.0, 30.0, 30.0], np.float32)
_SCALE = np.array([1.3, 1.0, 1.0, 0.3], np.float32)  # of the parts, along each side
_CROWN, _THROAT = 0.2, -0.25  # heights beyond which triangles are less and less part of the face
_CROWN_SLOPE, _THROAT_SLOPE = np.radians(200.0), np.radians(400.0)  # radians of azimuth for a world unit of height


def unwrap(mesh: Mesh, texture_size: int) -> np.ndarray:
    """Per-corner UVs (F, 3, 2) float32 in [0, 1], origin at the texture's bottom left. The mesh must be manifold.

    Open3D works on partitions side by side, cut at the middle of the mesh's longest axis: through the mouth. So the
    mesh is cut here before, into face, left, right and the cut of the neck, and the parts are laid out in a row
    so far apart that Open3D's cuts fall between them. A part is moved as a whole, so its stretch is the true one. The
    face is laid out larger and the neck's cut smaller than they are, and get more and less of the texture.
    """
    part = _parts(mesh)
    order = np.argsort(part, kind="stable")
    # A vertex on the border of two parts becomes two vertices, so that the parts are not connected.
    key = mesh.faces[order].astype(np.int64) * (_NECK + 1) + part[order, None]
    corners, faces = np.unique(key, return_inverse=True)
    source, belongs = np.divmod(corners, _NECK + 1)
    vertices = mesh.vertices[source].copy()
    vertices *= _SCALE[belongs, None]
    vertices[:, 0] += _PLACE[belongs]
    tensor = tensor_mesh(vertices, faces.reshape(-1, 3))
    with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
        tensor.compute_uvatlas(texture_size, float(GUTTER), _STRETCH, parallel_partitions=2)
    uvs = np.empty((len(mesh.faces), 3, 2), np.float32)
    uvs[order] = tensor.triangle.texture_uvs.numpy()
    return _upright(uvs, mesh, part == _FACE)


def _upright(uvs: np.ndarray, mesh: Mesh, face: np.ndarray) -> np.ndarray:
    """The atlas turned by a multiple of 90 degrees so that the face, as near as can be, stands upright."""
    height = mesh.vertices[mesh.faces[face], 1]
    up = ((uvs[face] - uvs[face].mean(axis=(0, 1))) * (height - height.mean())[..., None]).sum(axis=(0, 1))
    quarters = int(np.round(np.arctan2(up[0], up[1]) / (np.pi / 2)))
    for _ in range(quarters % 4):
        uvs = np.stack([1 - uvs[..., 1], uvs[..., 0]], axis=2)
    return uvs


def _parts(mesh: Mesh) -> np.ndarray:
    """(F,) which part each triangle belongs to; the face is the third that is most in front."""
    corners = mesh.vertices[mesh.faces]
    centre = corners.mean(axis=1)
    azimuth = np.arctan2(centre[:, 0] - _AXIS[0], centre[:, 2] - _AXIS[1])
    away = np.abs(azimuth)
    away += _CROWN_SLOPE * np.maximum(centre[:, 1] - _CROWN, 0) + _THROAT_SLOPE * np.maximum(_THROAT - centre[:, 1], 0)
    part = np.where(azimuth < 0, _LEFT, _RIGHT)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    lowest = corners[..., 1].max(axis=1) < mesh.vertices[:, 1].min() + 0.004
    neck = lowest & (normal[:, 1] < -0.9 * np.linalg.norm(normal, axis=1))
    around = np.nonzero(~neck)[0]
    in_order = around[np.argsort(away[around], kind="stable")]
    part[in_order[: len(in_order) // 3]] = _FACE
    part[neck] = _NECK
    return _without_specks(part, _neighbours(mesh.faces))


def _neighbours(faces: np.ndarray) -> np.ndarray:
    """Pairs (n, 2) of triangles that share an edge."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    twin = np.nonzero((edges[order[1:]] == edges[order[:-1]]).all(axis=1))[0]
    return np.stack([order[twin], order[twin + 1]], axis=1) % len(faces)


def _without_specks(part: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """``part`` (F,) with each part's smaller pieces given to the part they border on most."""
    ends = pairs[part[pairs[:, 0]] == part[pairs[:, 1]]]
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(len(part), len(part)))
    _, piece = connected_components(graph, directed=False)
    size = np.bincount(piece)
    of_piece = np.zeros(len(size), part.dtype)
    of_piece[piece] = part
    largest = [np.argmax(np.where(of_piece == number, size, 0)) for number in np.unique(part)]
    across = piece[np.concatenate([pairs, pairs[:, ::-1]])]
    across = across[across[:, 0] != across[:, 1]]
    ballots = across[:, 0] * (_NECK + 1) + of_piece[across[:, 1]]
    votes = np.bincount(ballots, minlength=len(size) * (_NECK + 1)).reshape(len(size), -1)
    speck = ~np.isin(np.arange(len(size)), largest) & (votes.sum(axis=1) > 0)
    of_piece[speck] = votes[speck].argmax(axis=1)
    return of_piece[piece]
