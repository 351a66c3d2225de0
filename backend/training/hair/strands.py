"""From guides to a head of hair: children between the guides, gathered in locks, curled, waved and frizzed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from ...camera import CENTIMETRE
from ..body import Body, Label
from ..chance import Part, dice
from ..vectors import Waves, smooth, unit
from .collide import Collider, clear_face
from .grow import Course, find_courses, find_tie, grow_guides, reaches_tie, resample, trim
from .scalp import Roots, draw_roots
from .styles import Style

GUIDES = 1500
RADIUS = 0.0003  # world units; thicker than a real hair, of which there are four times as many
_GUIDE_STEPS = 26
_NEIGHBOURS = 3
_INNER = (
    0.72  # of the tied hairs, how many end at the tie: inside a tail or a bun, unseen, all would only shade it black
)
_SKIN_GAP = 0.0015  # world units


@dataclass(frozen=True, eq=False)
class Strands:
    """Hairs of one kind. World units, root first."""

    label: Label  # HAIR or BROW; beards are hair, lashes belong to the eye
    points: np.ndarray  # (S, P, 3) float32
    radius: np.ndarray  # (S,) float32
    colors: np.ndarray  # (S, 3) float32 sRGB-encoded in [0, 1]


def hair_waves(seed: int, number: int) -> Waves:
    """The head's own slow noise, by which hairline, parting and locks stray: all that deals with its hair shares it."""
    return Waves(dice(seed, number, Part.STYLE), 0.11, 4)


def grow_hair(
    body: Body, style: Style, collider: Collider, stray: Waves, random: np.random.Generator, share: float = 1.0
) -> np.ndarray:
    """(S, P, 3) float32 strands of the scalp; ``share`` of the style's number of strands and of guides."""
    count = int(style.strands * share)
    if count == 0:
        return np.zeros((0, style.points, 3), np.float32)
    roots = draw_roots(body, max(int(GUIDES * min(1.0, 2 * share)), 60), style.line, stray, random)
    steps = min(_GUIDE_STEPS, style.points) if style.comb != "tied" and style.up is None else 32
    courses, tie = find_courses(style, roots, stray), find_tie(style, collider)
    guides = grow_guides(style, roots, courses, tie, collider, stray, random, steps)
    own = draw_roots(body, count, style.line, stray, random)
    return _children(style, guides, _features(style, roots, courses), own, tie, collider, stray, random)


def _children(
    style: Style, guides: np.ndarray, theirs: np.ndarray, own: Roots, tie: np.ndarray, collider: Collider,
    stray: Waves, random: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """Strands from their ``own`` roots, between the guides whose features are ``theirs``."""
    count = len(own)
    course = find_courses(style, own, stray)
    mine = _features(style, own, course)
    distance, near = (np.asarray(found) for found in KDTree(theirs).query(mine, k=_NEIGHBOURS))
    weight = 1 / (distance + 0.004) ** 2
    weight /= weight.sum(axis=1, keepdims=True)
    relative = (guides - guides[:, :1]).astype(np.float32)
    strands = np.zeros((count, guides.shape[1], 3), np.float32)
    for k in range(_NEIGHBOURS):
        strands += relative[near[:, k]] * weight[:, k, None, None].astype(np.float32)
    together = _gathered(strands) * course.tied[:, None, None].astype(np.float32)  # all come together in the tie
    strands += own.points[:, None].astype(np.float32) * (1 - together)
    strands += _blended(guides, near, weight)[:, None] * together
    beyond = smooth(0.35, 0.6, np.linspace(0, 1, strands.shape[1]))[:, None]
    loose = random.normal(0, 0.5 * CENTIMETRE, (count, 1, 3)) * beyond
    strands += (loose * course.tied[:, None, None]).astype(np.float32)
    leader = _leaders(theirs, mine, style, random)
    strands = _clumped(strands, guides, leader, style, random)
    keep = trim(style, strands, course, own, leader, random)
    inner = course.tied & (random.random(count) < _INNER)
    keep[inner] = np.minimum(keep[inner], reaches_tie(strands[inner], tie))
    strands = resample(strands, keep[:, None] * np.linspace(0, 1, style.points)).astype(np.float32)
    arc = _arc(strands)
    strands = _curled(strands, arc, leader, course, style, random)
    strands = _waved(strands, arc, leader, style, random)
    if style.curl and style.comb != "out":  # curls of the locks beside the face stay out of the eyes
        beside = course.fringe < 0.5
        wide = np.repeat(0.92 * course.face[beside], strands.shape[1])
        strands[beside] = clear_face(strands[beside].reshape(-1, 3), wide).reshape(-1, *strands.shape[1:])
    gap = np.minimum(_SKIN_GAP, 0.8 * arc)
    loose = strands[:, 1:]
    strands[:, 1:] = collider.push_out(loose, gap[:, 1:])
    strands[:, 0] = own.points
    return strands


def _features(style: Style, roots: Roots, course: Course) -> np.ndarray:
    """Roots as points (N, 6) that are near each other where strands may be blended: of one side, fringe or tie."""
    side = course.side * smooth(-0.26, -0.18, roots.rest[:, 2]) * (style.comb == "part")
    return np.column_stack([roots.rest, side, course.fringe >= 0.5, course.tied])


def _gathered(strands: np.ndarray) -> np.ndarray:
    along = np.linspace(0, 1, strands.shape[1], dtype=np.float32)
    return smooth(0.02, 0.35, along)[None, :, None].astype(np.float32)


def _blended(guides: np.ndarray, near: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.einsum("nk,nkd->nd", weight, guides[near, 0]).astype(np.float32)


def _leaders(theirs: np.ndarray, mine: np.ndarray, style: Style, random: np.random.Generator) -> np.ndarray:
    """(S,) the guide that leads each strand's lock."""
    chosen = random.choice(len(theirs), min(style.locks, len(theirs)), replace=False)
    wobble = mine + random.normal(0, 0.004, mine.shape) * [1, 1, 1, 0, 0, 0]
    return chosen[KDTree(theirs[chosen]).query(wobble)[1]]


def _clumped(
    strands: np.ndarray, guides: np.ndarray, leader: np.ndarray, style: Style, random: np.random.Generator
) -> np.ndarray:
    """Strands drawn towards their lock's leader, more towards the tip; each keeps a part of its own way."""
    along = np.linspace(0, 1, strands.shape[1])
    way = resample(guides, np.broadcast_to(along, (len(guides), len(along)))).astype(np.float32)[leader]
    soon = 0.9 - 0.5 * style.clump if style.curl else 0.9
    pull = (
        style.clump * random.uniform(0.2 + 0.6 * style.clump, 1.0, (len(strands), 1)) * smooth(0.0, soon, along)[None]
    )
    pull = pull * smooth(0.3 * CENTIMETRE, 3.0 * CENTIMETRE, _arc(strands)[:, -1:])  # clipped hair gathers in no locks
    return strands + (way - strands) * pull[..., None].astype(np.float32) * np.float32(0.95)


def _curled(
    strands: np.ndarray, arc: np.ndarray, leader: np.ndarray, course: Course, style: Style,
    random: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """A helix about each strand's way; hairs of a lock turn together. Tied hair curls beyond the tie."""
    if not style.curl:
        return strands
    first, second = _frames(strands)
    many = int(leader.max()) + 1
    phase = random.uniform(0, 2 * np.pi, many)[leader] + random.normal(0, 0.35, len(strands))
    turns = style.turns / CENTIMETRE * np.exp(random.normal(0, 0.15, many))[leader]
    radius = style.curl * CENTIMETRE * np.exp(random.normal(0, 0.2, many))[leader]
    angle = 2 * np.pi * turns[:, None] * arc + phase[:, None]
    size = radius[:, None] * smooth(0.0, 4.0 * style.curl * CENTIMETRE, arc)
    size = size * (1 - 0.75 * course.fringe[:, None])  # or it would spring into the eyes
    size = size * np.where(course.tied[:, None], smooth(0.45, 0.75, np.linspace(0, 1, arc.shape[1])), 1.0)
    turned = np.cos(angle) * size, np.sin(angle) * size
    return (strands + first * turned[0][..., None] + second * turned[1][..., None]).astype(np.float32)


def _waved(
    strands: np.ndarray, arc: np.ndarray, leader: np.ndarray, style: Style, random: np.random.Generator
) -> np.ndarray:
    """Slow bends of whole locks, faster and smaller ones of single hairs, and a few hairs that fly away."""
    first, second = _frames(strands)
    many = int(leader.max()) + 1
    fly = np.where(random.random(len(strands)) < 0.03, 3.0, 1.0)
    ramp = smooth(0.0, 0.12, arc)
    for size, pitch, group in (
        (style.wave, 4.0, leader),
        (0.35 * style.wave + style.frizz, 9.0, np.arange(len(strands))),
        (style.frizz, 30.0, np.arange(len(strands))),
    ):
        count = max(many, len(strands))
        rate = pitch * np.exp(random.normal(0, 0.3, count))[group]
        for axis in (first, second):
            phase = random.uniform(0, 2 * np.pi, count)[group]
            bend = size * CENTIMETRE * random.normal(0, 0.7, count)[group] * fly
            strands = strands + axis * (
                bend[:, None] * ramp * np.sin(rate[:, None] * arc * 2 * np.pi + phase[:, None])
            )[..., None].astype(np.float32)
    return strands.astype(np.float32)


def _frames(strands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors across each strand at each of its points, (S, P, 3) each."""
    tangent = np.empty_like(strands)
    tangent[:, 1:-1] = strands[:, 2:] - strands[:, :-2]
    tangent[:, 0], tangent[:, -1] = strands[:, 1] - strands[:, 0], strands[:, -1] - strands[:, -2]
    tangent = unit(tangent)
    across = unit(np.cross(tangent, np.array([0.35, 0.15, 0.92], np.float32)))
    return across, np.cross(tangent, across)


def _arc(strands: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(np.diff(strands, axis=1), axis=2)
    return np.concatenate([np.zeros((len(strands), 1), np.float32), np.cumsum(length, axis=1)], axis=1)
