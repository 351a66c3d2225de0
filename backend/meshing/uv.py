"""UVs: an atlas of few charts, cut so that the face is not where the cuts go. Flattening and packing are beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import open3d as o3d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..geometry import tensor_mesh
from .flatten import flatten
from .mesh import Mesh
from .packing import pack
from .surface import split_nonmanifold

GUTTER = 6  # pixels between charts
_STRETCH = 0.5  # of 0 (isometric) to 1; UVAtlas cuts a chart that would need more. The default, 1/6, cuts faces in two.
_AXIS = (0.0, -0.08)  # x and z of the vertical axis that azimuths are taken around: the middle of the skull
_FACE, _LEFT, _RIGHT, _NECK = range(4)
# World units along x. Open3D cuts at the mean of what is left to cut: with these places always between two parts.
_PLACE = np.array([0.0, 10.0, 30.0, 30.0], np.float32)
_SCALE = np.array([1.3, 1.0, 1.0, 0.3], np.float32)  # of the parts, along each side
_CROWN, _THROAT = 0.2, -0.25  # heights beyond which triangles are less and less part of the face
_TOOTH_ROUNDS = 20
_CROWN_SLOPE, _THROAT_SLOPE = np.radians(200.0), np.radians(400.0)  # radians of azimuth for a world unit of height


def unwrap(mesh: Mesh, texture_size: int, method: Literal["parts", "open3d"] = "parts") -> np.ndarray:
    """Per-corner UVs (F, 3, 2) float32 in [0, 1], origin at the texture's bottom left. The mesh must be manifold.

    The mesh is cut into face, left, right and the cut of the neck, the face gets more of the texture than is its share,
    the cut of the neck less, and the face stands upright.

    Args:
        mesh: what to unwrap.
        texture_size: pixels along a side; charts keep ``GUTTER`` of them apart.
        method: "parts" lays every part out whole, and cuts further only what would flip or overlap; the same mesh gets
            the same atlas. "open3d" leaves the parts to Open3D's UVAtlas, which draws lots: another atlas each time.
    """
    return _by_open3d(mesh, texture_size) if method == "open3d" else _by_parts(mesh, texture_size)


def _by_parts(mesh: Mesh, texture_size: int) -> np.ndarray:
    part = _parts(mesh)
    charts = []
    for number in np.unique(part):
        for chart in _charts(mesh, np.nonzero(part == number)[0]):
            charts.append(_oriented(mesh, chart, float(_SCALE[number]), upright=number == _FACE))
    upright = [part[chart.faces[0]] == _FACE for chart in charts]
    placings = pack([chart.outline for chart in charts], upright, GUTTER / texture_size)
    uvs = np.empty((len(mesh.faces), 3, 2), np.float32)
    for chart, placing in zip(charts, placings, strict=True):
        uvs[chart.faces] = placing(chart.corners)
    return uvs.clip(0, 1)


@dataclass(frozen=True, eq=False)
class _Chart:
    """Some of the mesh's triangles in the plane."""

    faces: np.ndarray  # (F,) which of the mesh's
    corners: np.ndarray  # (F, 3, 2) float64
    outline: np.ndarray  # (B, 2) float64, the outer border


def _charts(mesh: Mesh, chosen: np.ndarray) -> list[_Chart]:
    """Charts that hold the ``chosen`` (F,) triangles: each connected piece whole, if it can be laid out so.

    A piece that can not is cut in two across its longest axis, and its halves likewise; one triangle always can.
    """
    loose = split_nonmanifold(Mesh(mesh.vertices, mesh.faces[chosen]))
    pairs = _neighbours(loose.faces)
    piece = _pieces(pairs, len(chosen))
    charts = []
    for number in range(piece.max() + 1):
        inside = np.nonzero(piece == number)[0]
        used, faces = np.unique(loose.faces[inside], return_inverse=True)
        faces, vertices = faces.reshape(-1, 3), loose.vertices[used].astype(np.float64)
        disc = flatten(vertices, faces)
        if disc is not None:
            charts.append(_Chart(chosen[inside], disc.points[faces], disc.points[disc.border]))
            continue
        second = _second_half(vertices, faces)
        charts += _charts(mesh, chosen[inside[~second]]) + _charts(mesh, chosen[inside[second]])
    return charts


def _second_half(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """True (F,) for about half of the triangles: those beyond the middle of the longest axis, F > 1."""
    centre = vertices[faces].mean(axis=1)
    centre -= centre.mean(axis=0)
    axis = np.linalg.eigh(centre.T @ centre)[1][:, 2]
    raw = np.zeros(len(faces), int)
    raw[np.argsort(centre @ axis, kind="stable")[len(faces) // 2 :]] = 1
    pairs = _neighbours(faces)
    smooth = _without_specks(_without_teeth(raw, pairs), pairs)
    return (smooth if 0.25 < smooth.mean() < 0.75 else raw) == 1


def _oriented(mesh: Mesh, chart: _Chart, scale: float, *, upright: bool) -> _Chart:
    """The chart at ``scale`` times its true size, turned so that what is up and right on the head is so in it."""
    triangles = mesh.vertices[mesh.faces[chart.faces]].astype(np.float64)
    solid = np.linalg.norm(np.cross(*_two_sides(triangles)), axis=1).sum()
    flat = np.cross(*_two_sides(chart.corners)).sum()
    transform = np.eye(2) * (scale * np.sqrt(solid / flat) if flat > 0 else scale)
    if upright:
        here = (chart.corners - chart.corners.mean(axis=(0, 1))) @ np.array([1, 1j])
        there = (triangles - triangles.mean(axis=(0, 1)))[..., :2] @ np.array([1, 1j])
        angle = np.angle((np.conj(here) * there).sum())  # of the rotation that fits best
        transform = transform @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return _Chart(chart.faces, chart.corners @ transform.T, chart.outline @ transform.T)


def _two_sides(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sides (F, 2 or 3) from each triangle's first corner."""
    return triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]


def _by_open3d(mesh: Mesh, texture_size: int) -> np.ndarray:
    """Open3D works on partitions side by side, cut at the middle of the mesh's longest axis: through the mouth. So the
    parts are laid out in a row so far apart that Open3D's cuts fall between them. A part is moved as a whole, so its
    stretch is the true one.
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
    pairs = _neighbours(mesh.faces)
    return _without_specks(_without_teeth(_without_specks(part, pairs), pairs), pairs)


def _without_teeth(part: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """``part`` (F,) with straighter borders: a triangle goes to the part that two of its neighbours belong to.

    Teeth along a border would fold over each other in the plane.
    """
    part = part.copy()
    both = np.concatenate([pairs, pairs[:, ::-1]])
    for _ in range(_TOOTH_ROUNDS):
        ballots = both[:, 0] * (_NECK + 1) + part[both[:, 1]]
        votes = np.bincount(ballots, minlength=len(part) * (_NECK + 1)).reshape(len(part), -1)
        elected = votes.argmax(axis=1)
        tooth = (votes.max(axis=1) >= 2) & (elected != part)
        if not tooth.any():
            break
        # Neighbours that change at once could swap places for ever: the ones with the lower numbers go first.
        blocked = both[tooth[both[:, 0]] & tooth[both[:, 1]] & (both[:, 1] < both[:, 0]), 0]
        tooth[blocked] = False
        part[tooth] = elected[tooth]
    return part


def _neighbours(faces: np.ndarray) -> np.ndarray:
    """Pairs (n, 2) of triangles that share an edge."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    twin = np.nonzero((edges[order[1:]] == edges[order[:-1]]).all(axis=1))[0]
    return np.stack([order[twin], order[twin + 1]], axis=1) % len(faces)


def _pieces(pairs: np.ndarray, count: int) -> np.ndarray:
    """(count,) number of the connected piece of each triangle, from the ``pairs`` (n, 2) that are connected."""
    graph = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _without_specks(part: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """``part`` (F,) with each part's smaller pieces given to the part they border on most."""
    piece = _pieces(pairs[part[pairs[:, 0]] == part[pairs[:, 1]]], len(part))
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
