"""Guides: a few thousand strands stepped from their roots through a combing field, over the skin and down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...camera import CENTIMETRE
from ..vectors import Waves, dot, smooth, unit
from .collide import Collider, clear_face
from .scalp import CENTRE, WHORL, Roots
from .styles import Style

_DOWN = np.array([0.0, -1.0, 0.0])
_BUN = 0.075  # world units, radius of a bun
_TIE_GAP = 0.022  # world units between the skin and the tie
_REACHED = 0.045  # world units from the tie at which hair is through it
_LEAST_GAP = 0.004  # world units between skin and strand, away from its root


@dataclass(frozen=True, eq=False)
class Course:
    """What strands follow besides the comb, by where they grow; each (N,)."""

    side: np.ndarray  # 1 or -1: to which side of the parting they fall
    fringe: np.ndarray  # 0 .. 1
    tied: np.ndarray  # bool
    tucked: np.ndarray  # 0 .. 1: behind the ear
    front: np.ndarray  # 0 .. 1: above the forehead
    face: np.ndarray  # how far beside the face they hang; 1 is common


def find_courses(style: Style, roots: Roots, stray: Waves) -> Course:
    """The courses of strands from ``roots``; the same for guides and children."""
    slow, quick = stray(roots.rest), stray(roots.rest * 2.5)
    side = part_side(style, roots, stray)
    around = np.abs(roots.azimuth)
    fringe = np.zeros(len(roots))
    if style.fringe is not None:
        fringe = smooth(54, 44, around + 3 * quick[:, 0]) * smooth(30, 38, roots.elevation) * (roots.rest[:, 2] > -0.01)
    tied = np.zeros(len(roots), bool)
    if style.comb == "tied" or style.up is not None:
        free = (around < 66) & (roots.edge < 3 + 7 * style.loose) & (quick[:, 1] > 1.2 - 1.6 * style.loose)
        tied = (fringe < 0.5) & ~(free & (style.loose > 0))
        if style.up is not None:
            tied &= roots.elevation + 3 * slow[:, 2] > style.up
    ear = style.tuck == 2 or style.tuck * roots.rest[:, 0] > 0
    tucked = np.where(ear & (fringe < 0.5), smooth(105, 92, around), 0.0)
    front = smooth(0.0, 0.12, roots.rest[:, 2]) * roots.top
    return Course(side, fringe, tied, tucked, front, style.face * np.exp(0.10 * slow[:, 1] + 0.06 * quick[:, 2]))


def root_lengths(style: Style, roots: Roots, stray: Waves, random: np.random.Generator) -> np.ndarray:
    """(N,) world units: by region, shorter at the hairline, clipped below a fade, ragged."""
    side = 1 - roots.top - roots.back
    length = style.top * roots.top + style.back * roots.back + style.side * side
    if style.side < 10:  # short hair fades towards its edge and leaves the ear free
        length = length * (0.35 + 0.65 * smooth(0, 16, roots.edge))
        length = length * (1 - 0.45 * smooth(22, 4, roots.elevation) * smooth(84, 70, np.abs(roots.azimuth)))
    if style.fade is not None:
        edge = style.fade + 2.5 * stray(roots.rest)[:, 1] - 8 * smooth(120, 170, np.abs(roots.azimuth))
        clipped = smooth(edge + 9, edge - 5, roots.elevation)
        short = style.under * (0.3 + 0.7 * smooth(-40, 20, roots.elevation - style.fade))
        length = length * (1 - clipped) + np.minimum(length, short) * clipped
    return np.maximum(length * np.exp(random.normal(0, 0.6 * style.ragged, len(roots))), 0.12) * CENTIMETRE


def part_side(style: Style, roots: Roots, stray: Waves) -> np.ndarray:
    """(N,) 1 or -1: to which side of the parting a strand falls; the line is not quite straight."""
    line = _part_line(style, roots) if style.comb in ("part", "tied") else 0.0
    return np.where(roots.rest[:, 0] - line + 0.006 * stray(roots.rest * 1.7)[:, 1] > 0, 1.0, -1.0)


def _part_line(style: Style, roots: Roots) -> np.ndarray:
    """(N,) world units to the person's left of the middle at which the parting runs; it ends in the middle."""
    return style.part * CENTIMETRE * smooth(-0.24, -0.05, roots.rest[:, 2])


def find_tie(style: Style, collider: Collider) -> np.ndarray:
    """(3,) where tied hair comes together: just off the skin, ``style.tie`` degrees up at the back of the head."""
    up = np.radians(style.tie)
    way = np.array([0.0, np.sin(up), -np.cos(up)])
    ray = CENTRE + way * np.linspace(0.10, 0.34, 121)[:, None]
    outside = collider.measure(ray)[0] > _TIE_GAP
    return ray[int(outside.argmax())]


def grow_guides(
    style: Style, roots: Roots, course: Course, tie: np.ndarray, collider: Collider, stray: Waves,
    random: np.random.Generator, steps: int,
) -> np.ndarray:  # fmt: skip
    """(N, steps + 1, 3) float64 guides from the roots (N,), as long as hair grows: not yet cut."""
    length = root_lengths(style, roots, stray, random)
    gap, rise = _gaps(style, roots, course, random), (style.rise + 0.35 * style.quiff * course.front)[:, None]
    step = (length / steps)[:, None]
    wander, spread = stray(roots.rest), unit(random.normal(size=roots.points.shape))
    since = np.full(len(roots), -1.0)  # world units walked since the tie
    point, outward = roots.points, roots.normals
    flow = _tangent(_combed(style, point, outward, course, tie), outward)
    untidy = 0.10 + 0.25 * (style.gravity == 0.0 and style.hold > 0)
    heading = unit(flow + rise * roots.normals + untidy * random.normal(size=point.shape))
    guides, distance = [point], np.zeros(len(roots))
    kept_out = (course.fringe < 0.5) & (length > 5 * CENTIMETRE) & (style.comb != "out")
    for k in range(steps):
        walked = step[:, 0] * (k + 1)
        flow = unit(_combed(style, point, outward, course, tie))
        near = smooth(0.10, 0.03, distance - gap)[:, None]
        flow = flow - np.minimum(dot(flow, outward), 0) * outward * near if style.comb != "out" else flow
        flow = flow + 0.16 * wander[:, 2:3] * np.cross(outward, flow) * near
        lift = np.clip((gap * np.minimum(1, walked / 0.05) - distance) / 0.015, -style.hold, 1.2)
        pull = style.gravity * np.minimum(1.0, walked / 0.10)
        wanted = unit(flow) * (0.35 + 0.65 * near) + outward * lift[:, None] * near + _DOWN * pull[:, None]
        through = since >= 0
        if through.any():
            wanted[through] = _hanging_from(tie, since[through], spread[through])
        keep = 0.82 if style.comb == "out" else 0.5
        heading = unit(keep * heading + (1 - keep) * unit(wanted))
        least = np.minimum(np.minimum(gap, 0.8 * walked), _LEAST_GAP + 0.6 * gap)
        moved = collider.push_out(point + heading * step, least)
        if kept_out.any():
            cleared = clear_face(moved[kept_out], course.face[kept_out])
            moved[kept_out] = collider.push_out(_behind_ear(cleared, course.tucked[kept_out]), least[kept_out])
        heading = unit(moved - point)
        point = point + heading * step
        arrived = course.tied & ~through & (np.linalg.norm(point - tie, axis=1) < _REACHED)
        since = np.where(through, since + step[:, 0], np.where(arrived, 0.0, since))
        distance, outward = collider.measure(point)
        guides.append(point)
    grown = np.stack(guides, axis=1)
    if style.tail == "bun" and course.tied.any():
        grown[course.tied] = _into_bun(grown[course.tied], tie, roots.rest[course.tied])
    return grown


def _gaps(style: Style, roots: Roots, course: Course, random: np.random.Generator) -> np.ndarray:
    """(N,) how far from the skin each strand lies: flat at hairline and parting, close as a fringe."""
    low, high = (value * CENTIMETRE for value in style.layer)
    rank = 0.55 * random.random(len(roots)) + 0.45 * smooth(4, 50, roots.edge)
    gap = low + (high - low) * rank
    gap = gap * (0.35 + 0.65 * smooth(0, 14, roots.edge))
    gap = gap + style.quiff * CENTIMETRE * course.front * (0.4 + 0.6 * random.random(len(roots)))
    if style.comb == "part":  # flat at the parting itself
        gap = gap * (0.45 + 0.55 * smooth(0.0, 0.05, np.abs(roots.rest[:, 0] - _part_line(style, roots))))
    close = low + 0.35 * (gap - low) + 0.1 * CENTIMETRE * random.random(len(roots))
    gap = gap + (close - gap) * course.fringe
    return np.where(course.tied, np.minimum(gap, 0.35 * CENTIMETRE + 0.3 * gap), gap)


def trim(
    style: Style, strands: np.ndarray, course: Course, roots: Roots, lock: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """(N,) which part of each strand (N, K, 3) the scissors leave, 0 .. 1; hairs of one ``lock`` (N,) end together."""
    x, y = np.abs(strands[:, :, 0]), strands[:, :, 1]
    many = int(lock.max()) + 1
    uneven = random.normal(0, 1, many)[lock]
    over = np.zeros(y.shape)
    if style.cut is not None:
        line = style.cut + style.layers * smooth(0, 65, roots.elevation) + 0.035 * style.ragged * 4 * uneven
        line = line + style.frame * smooth(100, 48, np.abs(roots.azimuth)) + random.normal(0, 0.004, len(strands))
        over = np.where(((course.fringe < 0.5) & ~course.tied)[:, None], line[:, None] - y, over - 1)
    if style.fringe is not None:  # longer towards the temples; an open one much longer
        sides = 0.045 * smooth(0.09, 0.16, x) + 0.14 * style.curtain * smooth(0.085, 0.15, x)
        line = style.fringe + (0.006 + 0.07 * style.ragged) * uneven + random.normal(0, 0.003, len(strands))
        over = np.where((course.fringe >= 0.5)[:, None], line[:, None] - sides - y, over if style.cut else over - 1)
    elif style.cut is None:
        over = over - 1
    if style.comb == "out" or style.name == "curly":  # clipped round, and nothing outside the cube
        radii = np.array([0.43, 0.37, 0.37]) * np.exp(0.02 * uneven)[:, None, None]
        away = ((strands - [0.0, 0.075, -0.09]) / radii) ** 2
        over = np.maximum(over, np.where(y > -0.12, away.sum(axis=2) - 1, -1))
    keep = _first_crossing(over)
    keep = keep * np.minimum(1, np.exp(style.ragged * uneven - 0.5 * style.ragged))
    keep = keep * (1 - np.clip(style.wisps * np.abs(random.normal(0, 0.6, len(strands))), 0, 0.6))
    return np.maximum(keep, 0.06)


def reaches_tie(strands: np.ndarray, tie: np.ndarray) -> np.ndarray:
    """(N,) at which part of each strand (N, K, 3) it comes to the tie; 1 where it never does."""
    return _first_crossing(1.2 * _REACHED - np.linalg.norm(strands - tie, axis=2))


def _first_crossing(over: np.ndarray) -> np.ndarray:
    """(N,) fraction of each row (N, K) at which it first becomes positive; 1 where it never does."""
    last = over.shape[1] - 1
    out = over > 0
    after = np.where(out.any(axis=1), out.argmax(axis=1), last)
    row, before = np.arange(len(over)), np.maximum(after - 1, 0)
    rise = over[row, after] - over[row, before]
    part = np.where(rise > 1e-9, -over[row, before] / np.maximum(rise, 1e-9), 0.0)
    return np.where(out.any(axis=1), (before + np.clip(part, 0, 1)) / last, 1.0)


def resample(strands: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Polylines (N, K, 3) at fractions ``at`` (N, P) of their points -> (N, P, 3)."""
    last = strands.shape[1] - 1
    place = at * last
    low = np.clip(place.astype(int), 0, last - 1)
    part = (place - low)[..., None].astype(strands.dtype)
    row = np.arange(len(strands))[:, None]
    return strands[row, low] * (1 - part) + strands[row, low + 1] * part


def _combed(style: Style, point: np.ndarray, outward: np.ndarray, course: Course, tie: np.ndarray) -> np.ndarray:
    """(N, 3) the way hair is combed at places (N, 3); need not be tangent nor of length 1."""
    x, y, z = point.T
    top = smooth(0.13, 0.25, y)
    behind = smooth(-0.12, -0.24, z)
    zero = np.zeros_like(x)
    crown = unit(point - WHORL)
    swirl = np.cross(outward, crown) * np.exp(-((point - WHORL) ** 2).sum(axis=1) / 0.004)[:, None]
    if style.comb == "out":
        return outward
    if style.comb == "forward":
        field = np.stack([1.0 * x + 0.5 * style.sweep * top, -0.7 * (1 - top) - 0.1, 0.25 + 0.75 * top], axis=1)
        field = field * (1 - behind)[:, None] + (crown + swirl) * behind[:, None]
    elif style.comb == "back":
        field = np.stack([0.6 * x + 0.4 * style.sweep, -0.25 * (1 - top) - 0.8 * behind, -1.0 + 0.8 * behind], axis=1)
    elif style.comb in ("part", "tied"):
        field = _parted(style, point, course, top)
        field = field * (1 - behind)[:, None] + (unit(crown + 0.5 * _DOWN) + swirl) * behind[:, None]
    else:
        field = crown + swirl
        if style.fringe is None and style.name != "buzz":  # short hair is brushed off the forehead, to one side
            field = field + (top * smooth(0.0, 0.1, z))[:, None] * np.array([0.7, 0.0, -0.3])
    if style.fringe is not None:
        open_way = style.curtain * np.sign(x - style.part * CENTIMETRE) * smooth(0.30, 0.18, y)
        aside = 0.8 * x + 0.9 * style.sweep * smooth(0.34, 0.2, y) + 0.85 * open_way
        down = np.stack([aside, -0.9 + zero, 0.9 * smooth(0.12, 0.05, z)], axis=1)
        field = field * (1 - course.fringe)[:, None] + down * course.fringe[:, None]
    if course.tied.any():
        field = np.where(course.tied[:, None], unit(tie - point), field)
    return field


def _parted(style: Style, point: np.ndarray, course: Course, top: np.ndarray) -> np.ndarray:
    """(N, 3) from the parting to both sides and down; behind an ear, over a shoulder or behind it, in to the neck."""
    _, y, z = point.T
    aside = course.side * (0.15 + 1.0 * top)
    back = -0.30 - 0.25 * smooth(0.0, 0.12, z) - 1.3 * course.tucked * smooth(0.20, 0.08, y) * smooth(-0.16, -0.08, z)
    low = smooth(0.0, -0.12, y)
    back = (
        back + low * (0.30 + style.fall) * (1 - course.tucked) + 0.45 * smooth(-0.02, -0.15, y) * smooth(-0.2, -0.27, z)
    )
    return np.stack([aside, -0.9 + 0.5 * top, back], axis=1)


def _behind_ear(points: np.ndarray, tucked: np.ndarray) -> np.ndarray:
    """Points (N, 3) of tucked hair moved back until they pass behind the ear."""
    furthest = 0.20 - 0.335 * smooth(0.20, 0.05, points[:, 1])
    moved = points.copy()
    back = np.where(np.abs(points[:, 0]) > 0.10, np.minimum(points[:, 2], furthest), points[:, 2])
    moved[:, 2] += (back - points[:, 2]) * tucked
    return moved


def _hanging_from(tie: np.ndarray, since: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(N, 3) the way of hair that came through the tie ``since`` world units ago: outwards, then down, spreading."""
    out = unit(tie - CENTRE)
    stiff = np.exp(-since / 0.07)[:, None]
    return out * stiff + _DOWN * (1.15 - stiff) + spread * (0.55 * np.exp(-since / 0.09))[:, None]


def _into_bun(grown: np.ndarray, tie: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Strands that have come to the tie are wound up to a ball on it, from the head outwards to its middle."""
    out = unit(tie - CENTRE)
    right = np.array([1.0, 0.0, 0.0])
    up = np.cross(out, right)
    centre = tie + out * 0.55 * _BUN
    steps = grown.shape[1]
    reached = np.linalg.norm(grown - tie, axis=2) < _REACHED + 0.01
    start = np.where(reached.any(axis=1), reached.argmax(axis=1), steps - 1)[:, None]
    # By the root, so that neighbours are wound beside each other and what is blended between them keeps its place.
    away = rest - tie
    phase = np.arctan2(away @ right, away @ up)[:, None]
    after = np.arange(steps)[None] - start
    progress = np.clip(after / np.maximum(steps - 1 - start, 1), 0, 1)
    turn = phase + 0.55 * after
    height = -0.75 + 1.72 * progress**0.8  # from -1 at the head to 1 at the outermost place
    ring = np.sqrt(np.clip(1 - height**2, 0, 1)) * (1 + 0.06 * np.sin(3 * turn))
    wound = (np.cos(turn) * ring)[..., None] * up + (np.sin(turn) * ring)[..., None] * right
    wound = centre + _BUN * (wound + (0.8 * height)[..., None] * out)
    share = np.clip(after / 3.0, 0, 1)[..., None]
    return grown * (1 - share) + wound * share


def _tangent(flow: np.ndarray, normal: np.ndarray) -> np.ndarray:
    return unit(flow - dot(flow, normal) * normal)
