"""Brows, beards and lashes: short strands by the painted masks of the face, on the same skin as the scalp's."""

from __future__ import annotations

import numpy as np

from ...camera import CENTIMETRE
from ...template.morphable import load_morphable
from ..body import Body
from ..colors import Colors, mask_at
from ..vectors import Waves, dot, smooth, unit
from .collide import Collider
from .scalp import Hairline, draw_roots

_UPPER_LID = (263, 466, 388, 387, 386, 385, 384, 398, 362)  # of the person's left eye, outer to inner corner
_LOWER_LID = (263, 249, 390, 373, 374, 380, 381, 382, 362)
_BEARDS = {  # length in cm, hairs, mask
    "stubble": (0.16, 9000, "beard"),
    "moustache": (0.9, 1600, "moustache"),
    "goatee": (1.2, 3000, "goatee"),
    "short": (1.0, 8000, "beard"),
    "full": (3.2, 9000, "beard"),
}


def grow_brows(body: Body, stray: Waves, thick: float, random: np.random.Generator) -> np.ndarray:
    """(S, 6, 3) float32 hairs of both brows: upright at the nose, lying outwards along the arch."""
    rest = body.solids[0].rest
    density = smooth(0.25, 0.75, mask_at("brow", rest))
    roots = draw_roots(body, int(700 * thick), Hairline(), stray, random, density)
    keep = mask_at("brow", roots.rest) > random.uniform(0.25, 0.8, len(roots))
    side = np.sign(roots.rest[:, 0])
    along = np.clip((np.abs(roots.rest[:, 0]) - 0.028) / 0.105, 0, 1)
    arch, long = random.normal(0, 0.25), random.uniform(0.8, 1.2)
    rise = np.interp(along, [0, 0.2, 0.5, 1], [1.3, 0.6, 0.1 + arch, -0.4 - 0.5 * arch])
    heading = np.stack([side * (0.35 + along), rise, -0.35 * along], axis=1)
    length = long * (0.55 + 0.25 * np.sin(np.pi * along)) * random.uniform(0.6, 1.15, len(roots)) * CENTIMETRE
    grown = _short(roots.points, roots.normals, heading, length, random, lift=0.22, noise=0.14, bend=0.6, steps=5)
    return grown[keep]


def grow_beard(body: Body, colors: Colors, collider: Collider, random: np.random.Generator) -> np.ndarray:
    """(S, 9, 3) float32 hairs of the beard that the person wears; none for "none"."""
    if colors.beard not in _BEARDS:
        return np.zeros((0, 9, 3), np.float32)
    centimetres, count, mask = _BEARDS[colors.beard]
    rest = body.solids[0].rest
    density = smooth(0.2, 0.7, mask_at(mask, rest)) * smooth(0.0, 0.03, rest[:, 2])
    roots = draw_roots(body, count, Hairline(), colors.stray, random, density)
    full = mask_at(mask, roots.rest)
    keep = full > random.uniform(0.15, 0.75, len(roots))
    below = smooth(-0.10, -0.20, roots.rest[:, 1])
    heading = np.stack([roots.rest[:, 0] * (3.0 - 2 * below), np.full(len(roots), -1.0), np.full(len(roots), 0.25)], 1)
    length = centimetres * (0.35 + 0.65 * below if centimetres > 1.5 else 1.0) * (0.5 + 0.5 * smooth(0.2, 0.9, full))
    length = length * random.uniform(0.6, 1.1, len(roots)) * CENTIMETRE
    lift = 0.9 if centimetres < 1.5 else 0.5
    grown = _short(
        roots.points, roots.normals, heading, length, random, lift=lift, noise=0.3, bend=1.4, steps=8
    )  # fmt: skip
    arc = np.linspace(0, 1, 9)[None] * length[:, None]
    curl = 0.04 * CENTIMETRE * (1 + 2 * smooth(0.8, 2.0, np.array(colors.melanin)))
    phase = random.uniform(0, 2 * np.pi, (len(grown), 1, 3))
    grown = grown + curl * np.sin(arc[..., None] / CENTIMETRE * 5 + phase) * np.minimum(arc / 0.01, 1)[..., None]
    pushed = collider.push_out(grown[:, 1:], np.minimum(0.002, 0.8 * arc[:, 1:]))
    return np.concatenate([grown[:, :1], pushed], axis=1).astype(np.float32)[keep]


def grow_lashes(body: Body, random: np.random.Generator) -> np.ndarray:
    """(S, 6, 3) float32 lashes from the rims of the lids, curved up (upper) or down (lower)."""
    mirror = load_morphable().landmark_mirror
    parts = []
    for left in (True, False):
        for lid, count, up, long in ((_UPPER_LID, 90, 1.0, 0.75), (_LOWER_LID, 40, -1.0, 0.35)):
            rim = body.landmarks[list(lid) if left else mirror[list(lid)]]
            centre = rim.mean(axis=0) - [0, 0, 0.028]
            at = np.sort(random.uniform(0.04, 0.88, count))
            stops = np.linspace(0, 1, len(rim))
            root = np.stack([np.interp(at, stops, rim[:, axis]) for axis in range(3)], axis=1)
            out = unit(root - centre)
            sway = np.clip((root[:, :1] - centre[0]) / 0.033, -1, 1) * np.array([0.5, 0.0, 0.0])
            length = long * CENTIMETRE * random.uniform(0.65, 1.1, count) * (0.6 + 0.4 * np.sin(np.pi * at))
            points, heading = [root], unit(out * np.array([1, 0.4, 1]) + sway + [0, -0.10 * up, 0.3])
            for _ in range(5):
                points.append(points[-1] + heading * (length / 5)[:, None])
                heading = unit(heading + np.array([0.0, 0.22 * up, 0.0]) + random.normal(0, 0.03, root.shape))
            parts.append(np.stack(points, axis=1))
    return np.concatenate(parts).astype(np.float32)


def _short(
    points: np.ndarray, normals: np.ndarray, heading: np.ndarray, length: np.ndarray, random: np.random.Generator, *,
    lift: float, noise: float, bend: float, steps: int,
) -> np.ndarray:  # fmt: skip
    """(N, steps + 1, 3) hairs that leave the skin by ``lift`` and bend back to ``heading`` along it."""
    tangent = unit(heading)
    tangent = unit(tangent - dot(tangent, normals) * normals)
    tangent = unit(tangent + noise * random.normal(size=tangent.shape))
    direction = unit(tangent + lift * normals)
    strand = [points]
    for _ in range(steps):
        strand.append(strand[-1] + direction * (length / steps)[:, None])
        direction = unit(direction + bend / steps * (tangent - 0.5 * lift * normals))
    return np.stack(strand, axis=1).astype(np.float32)
