"""Guides: a few thousand strands stepped from their roots through a combing field, over the skin and down."""

from __future__ import annotations

import numpy as np

from ...camera import CENTIMETRE
from ..vectors import Waves, dot, smooth, unit
from .collide import Collider, clear_face
from .scalp import WHORL, Roots
from .styles import Style

_DOWN = np.array([0.0, -1.0, 0.0])
_TIE = np.array([0.0, 0.085, -0.325])  # where tied hair comes together
_BUN = 0.080  # world units, radius of a bun
_LEAST_GAP = 0.004  # world units between skin and strand, away from its root


def root_lengths(style: Style, roots: Roots, random: np.random.Generator) -> np.ndarray:
    """(N,) world units: by region, shorter at the hairline, ragged."""
    side = 1 - roots.top - roots.back
    length = style.top * roots.top + style.back * roots.back + style.side * side
    if style.side < 10:  # short hair fades towards its edge and leaves the ear free
        length = length * (0.35 + 0.65 * smooth(0, 16, roots.edge))
        length = length * (1 - 0.45 * smooth(22, 4, roots.elevation) * smooth(84, 70, np.abs(roots.azimuth)))
    return np.maximum(length * np.exp(random.normal(0, style.ragged, len(roots))), 0.12) * CENTIMETRE


def fringe_share(style: Style, roots: Roots) -> np.ndarray:
    """(N,) 1 where strands belong to the fringe."""
    if style.fringe is None:
        return np.zeros(len(roots))
    return smooth(58, 46, np.abs(roots.azimuth)) * smooth(30, 38, roots.elevation) * (roots.rest[:, 2] > -0.02)


def part_side(style: Style, roots: Roots, stray: Waves) -> np.ndarray:
    """(N,) 1 or -1: to which side of the parting a strand falls; the line is not quite straight."""
    line = style.part * CENTIMETRE * smooth(-0.24, -0.05, roots.rest[:, 2]) if style.comb == "part" else 0.0
    return np.where(roots.rest[:, 0] - line + 0.004 * stray(roots.rest * 1.7)[:, 1] > 0, 1.0, -1.0)


def grow_guides(
    style: Style, roots: Roots, collider: Collider, stray: Waves, random: np.random.Generator, steps: int
) -> np.ndarray:
    """(N, steps + 1, 3) float64 guides from the roots (N,)."""
    length = root_lengths(style, roots, random)
    side, fringe = part_side(style, roots, stray), fringe_share(style, roots)
    low, high = (value * CENTIMETRE for value in style.layer)
    rank = 0.55 * random.random(len(roots)) + 0.45 * smooth(4, 50, roots.edge)
    gap = low + (high - low) * rank
    gap = gap * (0.35 + 0.65 * smooth(0, 14, roots.edge))
    if style.comb == "part":  # flat at the parting itself
        line = style.part * CENTIMETRE * smooth(-0.24, -0.05, roots.rest[:, 2])
        gap = gap * (0.45 + 0.55 * smooth(0.0, 0.05, np.abs(roots.rest[:, 0] - line)))
    step = (length / steps)[:, None]
    wander = stray(roots.rest)
    point, outward = roots.points, roots.normals
    flow = _tangent(_combed(style, point, outward, side, fringe), outward)
    heading = unit(flow + style.rise * roots.normals + 0.10 * random.normal(size=point.shape))
    guides, distance = [point], np.zeros(len(roots))
    for k in range(steps):
        walked = step[:, 0] * (k + 1)
        flow = unit(_combed(style, point, outward, side, fringe))
        near = smooth(0.10, 0.03, distance - gap)[:, None]
        flow = flow - np.minimum(dot(flow, outward), 0) * outward * near if style.comb != "out" else flow
        flow = flow + 0.16 * wander[:, 2:3] * np.cross(outward, flow) * near
        lift = np.clip((gap * np.minimum(1, walked / 0.05) - distance) / 0.015, -style.hold, 1.2)
        pull = style.gravity * np.minimum(1.0, walked / 0.10)
        wanted = unit(flow) * (0.35 + 0.65 * near) + outward * lift[:, None] * near + _DOWN * pull[:, None]
        keep = 0.82 if style.comb == "out" else 0.5
        heading = unit(keep * heading + (1 - keep) * unit(wanted))
        least = np.minimum(np.minimum(gap, 0.8 * walked), _LEAST_GAP + 0.6 * gap)
        moved = collider.push_out(point + heading * step, least)
        if style.comb in ("part", "tied"):
            free = fringe < 0.5
            moved[free] = collider.push_out(clear_face(moved[free]), least[free])
        heading = unit(moved - point)
        point = point + heading * step
        distance, outward = collider.measure(point)
        guides.append(point)
    grown = np.stack(guides, axis=1)
    if style.comb == "tied" and style.tail == "bun":
        grown = _into_bun(grown)
    return trimmed(style, grown, fringe, roots, random)


def trimmed(
    style: Style, strands: np.ndarray, fringe: np.ndarray, roots: Roots, random: np.random.Generator
) -> np.ndarray:
    """Strands (N, K, 3) cut at the heights that the style sets, with the same number of points."""
    last = strands.shape[1] - 1
    keep = np.ones(len(strands))
    for height, members in ((style.cut, fringe < 0.5), (style.fringe, fringe >= 0.5)):
        if height is None:
            continue
        line = height + random.normal(0, 0.006, len(strands))
        if members is not None and height == style.fringe:  # a fringe is longer towards the temples
            line = line - 0.05 * smooth(20, 55, np.abs(roots.azimuth))
        below = strands[:, :, 1] < line[:, None]
        first = np.where(below.any(axis=1), below.argmax(axis=1), last) / last
        keep = np.where(members, np.minimum(keep, np.maximum(first, 0.1)), keep)
    return resample(strands, keep[:, None] * np.linspace(0, 1, last + 1))


def resample(strands: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Polylines (N, K, 3) at fractions ``at`` (N, P) of their points -> (N, P, 3)."""
    last = strands.shape[1] - 1
    place = at * last
    low = np.clip(place.astype(int), 0, last - 1)
    part = (place - low)[..., None].astype(strands.dtype)
    row = np.arange(len(strands))[:, None]
    return strands[row, low] * (1 - part) + strands[row, low + 1] * part


def _combed(style: Style, point: np.ndarray, outward: np.ndarray, side: np.ndarray, fringe: np.ndarray) -> np.ndarray:
    """(N, 3) the way hair is combed at places (N, 3); need not be tangent nor of length 1."""
    x, y, z = point.T
    top = smooth(0.13, 0.25, y)
    behind = smooth(-0.12, -0.24, z)
    zero = np.zeros_like(x)
    crown = unit(point - WHORL)
    swirl = np.cross(outward, crown) * np.exp(-((point - WHORL) ** 2).sum(axis=1) / 0.004)[:, None]
    if style.comb == "out":
        return outward
    if style.comb == "tied":
        return unit(_TIE - point) if style.tail == "bun" else _to_tail(point)
    if style.comb == "forward":
        field = np.stack([1.0 * x, -0.7 * (1 - top) - 0.1, 0.25 + 0.75 * top], axis=1)
        field = field * (1 - behind)[:, None] + (crown + swirl) * behind[:, None]
    elif style.comb == "back":
        field = np.stack([0.6 * x, -0.25 * (1 - top) - 0.8 * behind, -1.0 + 0.8 * behind], axis=1)
    elif style.comb == "part":
        aside = side * (0.15 + 1.0 * top)
        field = np.stack([aside, -0.9 + 0.5 * top, -0.30 - 0.25 * smooth(0.0, 0.12, z)], axis=1)
        field = field * (1 - behind)[:, None] + (unit(crown + 0.5 * _DOWN) + swirl) * behind[:, None]
    else:
        field = crown + swirl
        if style.fringe is None and style.name != "buzz":  # short hair is brushed off the forehead, to one side
            field = field + (top * smooth(0.0, 0.1, z))[:, None] * np.array([0.7, 0.0, -0.3])
    if style.fringe is not None and style.comb != "forward":
        down = np.stack([0.8 * x, -0.9 + zero, 0.9 * smooth(0.12, 0.05, z)], axis=1)
        field = field * (1 - fringe)[:, None] + down * fringe[:, None]
    return field


def _to_tail(point: np.ndarray) -> np.ndarray:
    """Towards the tie, and beyond it backwards and down."""
    to_tie = _TIE - point
    near = smooth(0.09, 0.02, np.linalg.norm(to_tie + np.array([0, 0, 0.01]), axis=1)) + (point[:, 2] < -0.345)
    near = np.clip(near, 0, 1)[:, None]
    return unit(to_tie) * (1 - near) + np.array([0.0, -0.75, -0.7]) * near


def _into_bun(grown: np.ndarray) -> np.ndarray:
    """Strands that have come to the tie are wound up to a ball behind it."""
    centre = _TIE + np.array([0.0, 0.02, -0.045])
    steps = grown.shape[1]
    reached = np.linalg.norm(grown - _TIE, axis=2) < 0.05
    start = np.where(reached.any(axis=1), reached.argmax(axis=1), steps - 1)
    # By the root, so that neighbours are wound beside each other and what is blended between them keeps its place.
    from_tie = grown[:, 0] - _TIE
    phase, outer = np.arctan2(from_tie[:, 0], from_tie[:, 1]), smooth(0.1, 0.45, np.linalg.norm(from_tie, axis=1))
    turn = phase[:, None] + 0.5 * (np.arange(steps)[None] - start[:, None])
    tilt = np.broadcast_to((0.9 - 1.9 * outer)[:, None], turn.shape)
    ring = np.stack([np.cos(turn), np.sin(turn), tilt], axis=2)
    wound = centre + unit(ring) * _BUN * [1, 1, 0.85]
    share = np.clip((np.arange(steps)[None] - start[:, None]) / 3.0, 0, 1)[..., None]
    return grown * (1 - share) + wound * share


def _tangent(flow: np.ndarray, normal: np.ndarray) -> np.ndarray:
    return unit(flow - dot(flow, normal) * normal)
