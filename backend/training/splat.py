"""Strands as thin ribbons on a canvas that has the body already: the nearest at each sample, shaded by two lobes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..camera import Camera
from .shadows import Veil
from .stage import LitHead
from .vectors import unit

_NEAR = 0.0012  # world units by which a strand may lie inside the body: it is pressed to a coarser one
_HIDDEN = 0.03  # world units behind the body beyond which no part of a segment can be seen
_COVERED = 6.0  # times that hair before it covers a place that is not drawn
_MAP, _SLICES = 64, 64  # of the grid that says so
_MOST = 24  # dots a segment
# Lobes as of Marschner et al. 2003 ("Light Scattering from Human Hair Fibers", section 5), as Gaussians of the half
# angle to the normal plane: off the surface, towards the root; after a turn inside, towards the tip and coloured;
# straight through, seen against the light. (shift, width) in radians.
_SURFACE, _INSIDE, _THROUGH = (-0.09, 0.13), (0.14, 0.26), (0.05, 0.22)


@dataclass(frozen=True, eq=False)
class Canvas:
    """A picture in the making, at samples; changed in place."""

    color: np.ndarray  # (W, W, 3) float32 linear
    depth: np.ndarray  # (W, W) float32, inf where nothing is
    normals: np.ndarray  # (W, W, 3) float32
    label: np.ndarray  # (W, W) uint8


def splat(lit: LitHead, camera: Camera, canvas: Canvas) -> np.ndarray:
    """Draw the strands: each sample takes the nearest, as often as its width covers one.

    Returns:
        (W, W) float32 how often hair covers each sample; smoother than the samples that it took.
    """
    wide = len(canvas.depth)
    hairs = lit.stage.hairs
    place = _project(camera, hairs.points)
    starts = _shown(lit, camera, place, canvas.depth)
    start, end = place[starts], place[starts + 1]
    step = end - start
    long = np.sqrt(step[:, 0] ** 2 + step[:, 1] ** 2) * wide
    focal = np.float32(2 * camera.intrinsics[0, 0] * wide)
    cover = np.minimum(hairs.radius[hairs.strand[starts]] * focal / start[:, 2], 1.0)
    # What is thinner than a sample covers as many of the samples on its way as its width is a part of one.
    chance = ((starts * np.uint32(2654435761) >> np.uint32(8)) % np.uint32(65536)).astype(np.float32) / 65536
    count = np.minimum((np.maximum(long, 0.7) * cover + chance).astype(np.int32), _MOST)
    which = np.repeat(np.arange(len(starts), dtype=np.int32), count)
    order = np.arange(len(which), dtype=np.int32) - np.repeat((np.cumsum(count) - count).astype(np.int32), count)
    share = ((order + chance[which]) / count[which]).astype(np.float32)
    dot = start[which] + step[which] * share[:, None]
    column, row = (dot[:, 0] * wide).astype(np.int32), (dot[:, 1] * wide).astype(np.int32)
    inside = (dot[:, 0] >= 0) & (column < wide) & (dot[:, 1] >= 0) & (row < wide)
    cell = np.where(inside, row * wide + column, 0)
    kept = np.flatnonzero(inside & (dot[:, 2] < canvas.depth.ravel()[cell] + _NEAR))
    cell, far = cell[kept], dot[kept, 2]
    # Depth and number in one integer, so that one pass finds the nearest and who it is.
    key = (far.view(np.int32).astype(np.int64) << 32) | kept
    nearest = np.full(wide * wide, np.iinfo(np.int64).max, np.int64)
    np.minimum.at(nearest, cell, key)
    cell = np.flatnonzero(nearest < np.iinfo(np.int64).max)
    first = nearest[cell] & 0xFFFFFFFF
    node, share = starts[which[first]], share[first]
    color, normal = _shade(lit, camera, node, share)
    canvas.color.reshape(-1, 3)[cell] = color
    canvas.normals.reshape(-1, 3)[cell] = normal
    canvas.depth.ravel()[cell] = np.minimum(dot[first, 2], canvas.depth.ravel()[cell])
    canvas.label.ravel()[cell] = hairs.label[hairs.strand[node]]
    return _spread(dot[kept], wide)


def _spread(dot: np.ndarray, wide: int) -> np.ndarray:
    """(W, W) dots (n, 3), each shared by the four samples about it."""
    at = dot[:, :2] * np.float32(wide) + np.float32(0.5)
    whole = at.astype(np.int32)
    (x, y), cell = (at - whole).T, whole[:, 1] * (wide + 2) + whole[:, 0]
    total = np.zeros((wide + 2) ** 2)
    for step, weight in ((0, (1 - x) * (1 - y)), (1, x * (1 - y)), (wide + 2, (1 - x) * y), (wide + 3, x * y)):
        total += np.bincount(cell + step, weight, len(total))[: len(total)]
    return total.reshape(wide + 2, wide + 2)[1:-1, 1:-1].astype(np.float32)


def _project(camera: Camera, points: np.ndarray) -> np.ndarray:
    """(N, 3) float32, as ``Camera.project``."""
    whole = np.array(camera.intrinsics @ camera.world2cam[:3], np.float32)
    place = points @ whole[:, :3].T + whole[:, 3]
    place[:, :2] /= place[:, 2:]
    return place


def _shown(lit: LitHead, camera: Camera, place: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Starts of the segments that may be seen: in the picture, before the body, and not deep in hair."""
    wide, hairs = len(depth), lit.stage.hairs
    near, far = float(place[:, 2].min()), float(place[:, 2].max())
    scale = np.array([_MAP, _MAP, _SLICES / max(far - near, 1e-6)], np.float32)
    shift = np.array([0, 0, near], np.float32)
    lights = (_project(camera, hairs.places) - shift) * scale
    cells = (camera.intrinsics[0, 0] * _MAP / (lights[:, 2] / scale[2] + near)) ** 2
    veil = Veil(lights, hairs.mass * cells, _MAP, _SLICES)
    place = place[hairs.starts]
    column, row = (place[:, 0] * wide).astype(np.int32), (place[:, 1] * wide).astype(np.int32)
    shown = np.flatnonzero((place[:, 0] > 0) & (column < wide) & (place[:, 1] > 0) & (row < wide))
    shown = shown[place[shown, 2] < depth[row[shown], column[shown]] + _HIDDEN]
    shown = shown[veil.surely_before((place[shown] - shift) * scale) < _COVERED]
    return hairs.starts[shown]


def _shade(lit: LitHead, camera: Camera, node: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear colour (n, 3) and normal (n, 3) of places between nodes and their next ones."""
    hairs = lit.stage.hairs
    strand = hairs.strand[node]
    tint, stray = hairs.tint[strand], hairs.stray[strand]
    point, after = hairs.points[node], hairs.points[node + 1]
    tangent = unit(after - point)
    back = unit(camera.position.astype(np.float32) - point)
    at = hairs.lit[node] + share * (hairs.lit[node + 1] - hairs.lit[node])
    low = np.minimum(at.astype(np.int32), len(hairs.places) - 2)
    part = (at - low)[:, None]
    sky = lit.hair_sky[low] * (1 - part) + lit.hair_sky[low + 1] * part
    lamps = lit.hair_lamps[low] * (1 - part) + lit.hair_lamps[low + 1] * part
    normal = unit(back - (back * tangent).sum(axis=1, keepdims=True) * tangent)
    seen = np.arcsin(np.clip((tangent * back).sum(axis=1), -1, 1))
    inner = np.sqrt(tint)
    loss, gain = 0.9 * tint, stray[:, :1]
    color = sky * (loss + 0.018 * gain + 0.05 * gain * inner)
    for number, lamp in enumerate(lit.light.lamps):
        towards = lamp.towards.astype(np.float32)
        lit_at = np.arcsin(np.clip(tangent @ towards, -1, 1))
        half = 0.5 * (lit_at + seen) + stray[:, 1]
        aside = unit(towards - np.sin(lit_at)[:, None] * tangent)
        across = (normal * aside).sum(axis=1)  # cosine of the angle about the strand
        soft = 0.3 * min(lamp.width, 1.0)
        surface = 0.055 * _lobe(half, _SURFACE, soft) * np.sqrt(np.clip(0.5 + 0.5 * across, 0, 1))
        inside = 0.16 * _lobe(half, _INSIDE, soft) * np.clip(0.4 + 0.6 * across, 0, 1)
        through = 0.40 * _lobe(half, _THROUGH, soft) * np.clip(-across, 0, 1) ** 4
        spread = 0.62 * np.cos(lit_at) * (0.55 + 0.45 * across)
        body = spread[:, None] * loss + gain * (
            surface[:, None] + inside[:, None] * inner * (0.3 + 0.7 * inner) + through[:, None] * tint
        )
        color += body * lamps[:, number : number + 1] * lamp.color.astype(np.float32)
    return color.astype(np.float32), normal


def _lobe(angle: np.ndarray, lobe: tuple[float, float], soft: float) -> np.ndarray:
    shift, width = lobe
    broad = np.hypot(width, soft)
    return (width / broad) * np.exp(-0.5 * ((angle - shift) / broad) ** 2)
