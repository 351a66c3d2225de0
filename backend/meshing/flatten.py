"""One disc of triangles to the plane without flips or overlaps: Tutte's map, then as rigid as possible. For uv."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import SuperLU, splu
from scipy.spatial import KDTree

_ROUNDS = 30
_SETTLED = 0.01  # rounds end when the energy falls by less than this share
_COTANGENTS = (0.05, 20.0)  # weights are kept within, which keeps the matrix positive definite and well conditioned
_RINGS = 4  # at most: later patches would reach across the chart
_MENDS = 20  # how often flipped triangles are relaxed, in a region that grows by a ring each time
_EVEN = 0.01  # the part of even weights beside those of mean value coordinates
_BULGE = 0.01  # of the distance between a border vertex's neighbours: how far it is put outside of their line
_SMALL_HOLE = 0.5  # of the longest border; a disc with a longer second border is a tube and not to be filled


@dataclass(frozen=True, eq=False)
class Disc:
    """A disc laid out in the plane."""

    points: np.ndarray  # (V, 2) float64, to the scale of the surface
    border: np.ndarray  # (B,) int64, vertices along the outer border, counter-clockwise


def flatten(vertices: np.ndarray, faces: np.ndarray) -> Disc | None:
    """Lay one connected piece of a surface out in the plane, keeping angles and areas as well as can be.

    A start without flips, since the border lies on a circle and the weights are positive (Tutte 1963, Floater 1997),
    then rounds of Liu et al. 2008, "A Local/Global Approach to Mesh Parameterization", ARAP: turn every triangle as it
    best fits its image (closed form), then solve one linear system, factored once, for the points that fit the turned
    triangles best. Holes are closed by fans, so that without flips and with a border that does not cross itself the map
    is one to one.

    Args:
        vertices: (V, 3) float64, all of them used.
        faces: (F, 3), one piece, an edge joins at most two triangles and a vertex belongs to one fan.

    Returns:
        None where the piece is no disc (closed, a tube, with handles) or its layout would flip or overlap: cut it.
    """
    if len(faces) == 1:
        return Disc(_as_points(_corners(vertices, faces)[0]), np.arange(3)[faces[0]])
    loops = _borders(faces, len(vertices))
    if loops is None:
        return None
    border = loops.pop(0)
    filled_vertices, filled_faces = _fill(vertices, faces, loops)
    edges = _Edges.of(filled_vertices, filled_faces)
    start = _projection(filled_vertices, filled_faces)
    if start is None:
        start = _on_circle(filled_vertices, edges, border)
    if (_areas(start, filled_faces) <= 0).any():
        return None
    image = _mend(_as_rigid_as_possible(start, edges), edges, border)
    if image is None:
        return None
    return Disc(_as_points(image[: len(vertices)]), border)


def crossings(polygon: np.ndarray) -> np.ndarray:
    """(N,) which sides of a closed ``polygon`` (B, 2) cross or touch others, but for neighbours at their common end.

    Side k leads from corner k to the next one. Empty for a simple polygon.
    """
    start, end = polygon, np.roll(polygon, -1, axis=0)
    count = len(polygon)
    # Sides that meet have middles no farther apart than the longest side.
    reach = np.linalg.norm(end - start, axis=1).max() * (1 + 1e-9)
    one, two = KDTree((start + end) / 2).query_pairs(reach, output_type="ndarray").T
    apart = (two - one) % count
    one, two = (side[(apart != 1) & (apart != count - 1)] for side in (one, two))
    a, b, c, d = start[one], end[one], start[two], end[two]
    cross = (_turn(a, b, c) * _turn(a, b, d) <= 0) & (_turn(c, d, a) * _turn(c, d, b) <= 0)
    # Sides on one line are told apart by their extents.
    near = (np.minimum(a, b) <= np.maximum(c, d)).all(axis=1) & (np.minimum(c, d) <= np.maximum(a, b)).all(axis=1)
    return np.unique(np.concatenate([one[cross & near], two[cross & near]]))


def _turn(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """(N,) twice the signed areas of the triangles a b c, each (N, 2)."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


@dataclass(frozen=True, eq=False)
class _Edges:
    """The sides of the triangles: side k of a triangle leads from its corner k to the next. The plane is complex."""

    faces: np.ndarray  # (F, 3)
    flat: np.ndarray  # (F, 3) complex, the sides of each triangle laid out alone
    weights: np.ndarray  # (F, 3), half the cotangents of the angles opposite
    matrix: csc_array  # (V, V), the Laplacian of the weights

    @classmethod
    def of(cls, vertices: np.ndarray, faces: np.ndarray) -> _Edges:
        corners = _corners(vertices, faces)
        flat = np.roll(corners, -1, axis=1) - corners
        towards, back = np.roll(flat, -1, axis=1), -np.roll(flat, -2, axis=1)
        product = np.conj(towards) * back  # sin and cos of the angle opposite, times the same lengths
        tiny = np.finfo(float).tiny
        cotangent = np.negative(product.real) / np.maximum(np.abs(product.imag), tiny)
        weights = cotangent.clip(*_COTANGENTS) / 2
        i, j, w = faces.ravel(), np.roll(faces, -1, axis=1).ravel(), weights.ravel()
        entries = np.concatenate([-w, -w, w, w]), (np.concatenate([i, j, i, j]), np.concatenate([j, i, i, j]))
        matrix = csc_array(coo_array(entries, shape=(len(vertices), len(vertices))))
        return cls(faces, flat, weights, matrix)


def _corners(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F, 3) complex: every triangle laid out alone, its first corner at 0 and its second on the positive axis."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    length = np.linalg.norm(b - a, axis=1)
    safe = np.where(length > 0, length, 1)
    along = ((c - a) * (b - a)).sum(axis=1) / safe
    across = np.linalg.norm(np.cross(b - a, c - a), axis=1) / safe
    return np.stack([np.zeros(len(faces), complex), length + 0j, along + 1j * across], axis=1)


def _borders(faces: np.ndarray, count: int) -> list[np.ndarray] | None:
    """The borders of a disc with small holes, each its vertices in order, the longest first; None if it is none."""
    start, end = faces.ravel().astype(np.int64), np.roll(faces, -1, axis=1).ravel().astype(np.int64)
    code = np.sort(start * count + end)
    if (code[1:] == code[:-1]).any():
        return None
    single = ~np.isin(start * count + end, end * count + start)
    after = np.full(count, -1)
    after[start[single]] = end[single]
    if len(np.unique(start[single])) != single.sum():
        return None
    loops = []
    for first in start[single]:
        loop = []
        here = first
        while after[here] >= 0:
            loop.append(here)
            after[here], here = -1, after[here]
        if loop:
            loops.append(np.array(loop))
    edges = (len(start) + single.sum()) // 2
    if not loops or count - edges + len(faces) + len(loops) != 2:
        return None
    loops.sort(key=len, reverse=True)
    if len(loops) > 1 and len(loops[1]) > _SMALL_HOLE * len(loops[0]):
        return None
    return loops


def _fill(vertices: np.ndarray, faces: np.ndarray, holes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The disc with a fan around a new vertex in the middle of every hole."""
    middles = [vertices[hole].mean(axis=0) for hole in holes]
    fans = [
        np.stack([np.roll(hole, -1), hole, np.full(len(hole), len(vertices) + number)], axis=1)
        for number, hole in enumerate(holes)
    ]
    return np.concatenate([vertices, *(middle[None] for middle in middles)]), np.concatenate([faces, *fans])


def _projection(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray | None:
    """(V,) complex: the shadow along the mean normal, for what is nearly flat; None where that flips a triangle."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    normal = np.cross(b - a, c - a).sum(axis=0)
    right = np.cross(np.eye(3)[np.abs(normal).argmin()], normal)
    up = np.cross(normal, right)
    lengths = np.linalg.norm(right), np.linalg.norm(up)
    if min(lengths) == 0:
        return None
    image = vertices @ right / lengths[0] + 1j * (vertices @ up / lengths[1])
    return None if (_areas(image, faces) <= 0).any() else image


def _on_circle(vertices: np.ndarray, edges: _Edges, border: np.ndarray) -> np.ndarray:
    """(V,) complex: the border on a circle by its length, every other vertex in the weighted mean of its neighbours."""
    length = np.linalg.norm(vertices[np.roll(border, -1)] - vertices[border], axis=1)
    length = np.maximum(length, 1e-3 * length.mean() + np.finfo(float).tiny)
    angle = 2 * np.pi * np.concatenate([[0], np.cumsum(length)[:-1]]) / length.sum()
    image = np.zeros(len(vertices), complex)
    image[border] = length.sum() / (2 * np.pi) * np.exp(1j * angle)
    inner = np.ones(len(vertices), bool)
    inner[border] = False
    return _relax(edges.matrix, image, inner)


def _relax(matrix: csc_array, image: np.ndarray, free: np.ndarray) -> np.ndarray:
    """``image`` (V,) with the ``free`` (V,) vertices where the ``matrix`` (V, V) balances them against the others."""
    if not free.any():
        return image
    rows = matrix[free]
    moved = image.copy()
    moved[free] = 0
    system, right = csc_array(rows[:, free]), -(rows @ moved)
    moved[free] = splu(system).solve(right) if np.iscomplexobj(matrix) else _solve(_factor(system), right)
    return moved


def _factor(matrix: csc_array) -> SuperLU:
    """Factors of a symmetric positive definite matrix."""
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def _solve(factors: SuperLU, right: np.ndarray) -> np.ndarray:
    """The solution (N,) complex for real factors and a right hand side (N,) complex."""
    solution = factors.solve(np.stack([right.real, right.imag], axis=1))
    return solution[:, 0] + 1j * solution[:, 1]


def _as_rigid_as_possible(image: np.ndarray, edges: _Edges) -> np.ndarray:
    """(V,) complex: the image after rounds of turning the triangles and fitting the points, until it settles."""
    faces, weights, flat = edges.faces, edges.weights, edges.flat
    pinned = edges.matrix.copy()
    pinned[0, 0] *= 2  # the first vertex comes to 0: otherwise the whole may be anywhere
    factors = _factor(pinned)
    energy = np.inf
    for _ in range(_ROUNDS):
        corners = image[faces]
        sides = np.roll(corners, -1, axis=1) - corners
        fit = (weights * np.conj(flat) * sides).sum(axis=1)
        length = np.abs(fit)
        turned = flat * np.where(length > 0, fit / np.where(length > 0, length, 1), 1)[:, None]
        before, energy = energy, (weights * np.abs(sides - turned) ** 2).sum()
        if energy > (1 - _SETTLED) * before:
            break
        pull = weights * turned
        pull = (np.roll(pull, 1, axis=1) - pull).ravel()
        at = faces.ravel()
        count = len(image)
        right = np.bincount(at, pull.real, count) + 1j * np.bincount(at, pull.imag, count)
        image = _solve(factors, right)
    return image


def _areas(image: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) signed areas of the triangles in the plane."""
    a, b, c = (image[faces[:, corner]] for corner in range(3))
    return (np.conj(b - a) * (c - a)).imag / 2


def _mend(image: np.ndarray, edges: _Edges, border: np.ndarray) -> np.ndarray | None:
    """``image`` (V,) with no flipped triangle and no crossing of the border; None where that would take too much.

    The surroundings are relaxed, in patches that grow by a ring each time. It is Tutte's map again: inner vertices go
    to the mean of their neighbours, border vertices to the mean of the two beside them and a little outwards, which
    makes a flat arc of the border.
    """
    faces = edges.faces
    averages = None
    for mend in range(_MENDS):
        flipped = faces[_areas(image, faces) <= 0]
        crossing = crossings(_as_points(image[border]))
        if not len(flipped) and not len(crossing):
            return image
        if averages is None:
            averages = _averages(edges, border, len(image))
        spoiled = np.zeros(len(image), bool)
        spoiled[flipped] = True
        spoiled[border[crossing]] = True
        spoiled[border[(crossing + 1) % len(border)]] = True
        for _ in range(mend % _RINGS):
            spoiled[faces[spoiled[faces].any(axis=1)]] = True
        if spoiled[border].all():
            break  # nothing would hold the border
        image = _relax(averages, image, spoiled)
    return None


def _averages(edges: _Edges, border: np.ndarray, count: int) -> csc_array:
    """(V, V) complex: what ``_mend`` wants to be 0, a vertex minus a mean of its neighbours.

    The mean is weighted by Floater 2003, "Mean value coordinates", which keeps the vertex where it is among neighbours
    in a plane, and a little by even weights, which keep it away from them. Of the neighbours of a border vertex only
    the two on the border count, and the vertex stands out to the right of their line: on a straight one, triangles with
    three corners on the border would have no area.
    """
    flat = edges.flat
    length = np.abs(flat)
    length = np.maximum(length, 1e-3 * length.mean() + np.finfo(float).tiny)
    turned = np.conj(flat) * -np.roll(flat, 1, axis=1)  # cos and sin of the angle at each corner, times lengths
    half = np.abs(turned.imag) / np.maximum(np.abs(turned) + turned.real, np.finfo(float).tiny)  # its half's tangent
    half = half.clip(1e-3, 1e3)
    here, after, before = edges.faces, np.roll(edges.faces, -1, axis=1), np.roll(edges.faces, 1, axis=1)
    i = np.concatenate([here.ravel(), here.ravel()])
    j = np.concatenate([after.ravel(), before.ravel()])
    share = np.concatenate([(half / length).ravel(), (half / np.roll(length, 1, axis=1)).ravel()])
    share = share / np.bincount(i, share, count)[i] + _EVEN / np.bincount(i, minlength=count)[i]
    on_border = np.zeros(count, bool)
    on_border[border] = True
    inner = ~on_border[i]
    rows = np.concatenate([i[inner], border, border])
    columns = np.concatenate([j[inner], np.roll(border, 1), np.roll(border, -1)])
    ones = np.ones(len(border))
    shares = np.concatenate([share[inner], ones * (1 + _BULGE * 2j), ones * (1 - _BULGE * 2j)])
    entries = np.concatenate([-shares, shares]), (np.concatenate([rows, rows]), np.concatenate([columns, rows]))
    return csc_array(coo_array(entries, shape=(count, count)))


def _as_points(image: np.ndarray) -> np.ndarray:
    return np.stack([image.real, image.imag], axis=1)
