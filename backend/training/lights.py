"""What shines on a head: lamps and a sky, drawn by lot as photos have them. Known to both renderers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

KINDS = ("studio", "indoor", "outdoor", "flat", "backlit", "coloured")
_OFTEN = (0.26, 0.28, 0.20, 0.12, 0.08, 0.06)


@dataclass(frozen=True, eq=False)
class Lamp:
    """A patch of light, far away.

    Args:
        towards: (3,) unit vector from the head to it, in the world.
        color: (3,) linear, what it makes of a white surface that faces it.
        width: how wide it looks from the head, radians.
    """

    towards: np.ndarray
    color: np.ndarray
    width: float


@dataclass(frozen=True, eq=False)
class Light:
    """All that shines.

    Args:
        name: one of ``KINDS``, or "plain".
        lamps: the main one first.
        sky: (3, 3) linear colours of the surroundings: below, level, above. A sky of 1 everywhere makes a white
            surface in the open 1.
    """

    name: str
    lamps: tuple[Lamp, ...]
    sky: np.ndarray

    def sky_at(self, directions: np.ndarray) -> np.ndarray:
        """(N, 3) colour of the surroundings in unit directions (N, 3)."""
        below, level, above = (np.asarray(row, np.float32) for row in self.sky)
        height = directions[:, 1:2].astype(np.float32)
        return level + np.maximum(height, 0) * (above - level) + np.maximum(-height, 0) * (below - level)


def direction(yaw: float, pitch: float) -> np.ndarray:
    """(3,) unit vector of a yaw and pitch in radians, as cameras have them."""
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def plain_light() -> Light:
    """The light of pictures that show shape: a soft main light, and a bright even sky."""
    lamps = (
        Lamp(direction(0.55, 0.65), np.array([0.62, 0.60, 0.57]), 0.5),
        Lamp(direction(-2.4, 0.5), np.array([0.22, 0.23, 0.25]), 0.6),
    )
    return Light("plain", lamps, np.array([[0.34, 0.33, 0.32], [0.50, 0.50, 0.51], [0.62, 0.64, 0.67]]))


def draw_light(random: np.random.Generator, yaw: float) -> Light:
    """A light by lot, for a camera at ``yaw`` (radians): what photographers do, they do relative to the camera."""
    kind = str(random.choice(KINDS, p=_OFTEN))
    side = float(random.choice([-1, 1]))
    if kind == "studio":
        around, up, power, width = random.uniform(0.25, 1.1), random.uniform(0.2, 0.8), 0.75, random.uniform(0.15, 0.7)
        fill, rim, around_sky = random.uniform(0.05, 0.35), random.uniform(0.0, 0.8), random.uniform(0.05, 0.22)
        warm, sky_warm, slope = random.normal(0, 0.05), random.normal(0, 0.04), 0.1
    elif kind == "indoor":
        around, up, power, width = random.uniform(0.2, 1.5), random.uniform(0.1, 1.1), 0.5, random.uniform(0.3, 1.0)
        fill, rim, around_sky = random.uniform(0.0, 0.2), random.uniform(0.0, 0.25), random.uniform(0.25, 0.5)
        warm, sky_warm, slope = random.normal(0.10, 0.12), random.normal(0.06, 0.06), 0.5
    elif kind == "outdoor":
        hard = random.random() < 0.5
        around, up, power = random.uniform(0.1, 1.5), random.uniform(0.35, 1.15), random.uniform(0.5, 0.9)
        width = 0.02 if hard else random.uniform(0.3, 0.9)
        power = power if hard else 0.5 * power
        fill, rim, around_sky = 0.0, random.uniform(0.0, 0.15), random.uniform(0.30, 0.55)
        warm, sky_warm, slope = random.normal(0.05, 0.04), random.normal(-0.06, 0.04), 0.5
    elif kind == "flat":
        around, up, power, width = random.uniform(0.0, 0.3), random.uniform(0.0, 0.4), random.uniform(0.1, 0.4), 1.0
        fill, rim, around_sky = 0.0, 0.0, random.uniform(0.55, 0.8)
        warm, sky_warm, slope = random.normal(0, 0.05), random.normal(0, 0.05), 0.2
    elif kind == "backlit":
        around, up, power = random.uniform(2.0, 3.1), random.uniform(0.15, 0.8), random.uniform(0.9, 1.8)
        width, fill, rim = random.uniform(0.05, 0.6), random.uniform(0.1, 0.35), random.uniform(0.0, 0.5)
        around_sky, warm, sky_warm, slope = random.uniform(0.3, 0.5), random.normal(0.08, 0.06), 0.0, 0.3
    else:
        around, up, power, width = random.uniform(0.2, 1.4), random.uniform(-0.2, 0.7), 0.65, random.uniform(0.15, 0.8)
        fill, rim, around_sky = random.uniform(0.1, 0.35), random.uniform(0.2, 0.8), random.uniform(0.10, 0.25)
        warm, sky_warm, slope = 0.0, 0.0, 0.2
    tint = (lambda: _hue(random)) if kind == "coloured" else (lambda: np.ones(3))
    lamps = [Lamp(direction(yaw + side * around, up), power * _warmth(warm) * np.sqrt(tint()), width)]
    if fill > 0.03:
        towards = direction(yaw - side * random.uniform(0.3, 1.2), random.uniform(-0.1, 0.4))
        lamps.append(Lamp(towards, fill * _warmth(sky_warm) * tint(), 0.9))
    if rim > 0.05:
        towards = direction(yaw - side * random.uniform(1.9, 2.8), random.uniform(0.1, 0.9))
        lamps.append(Lamp(towards, rim * _warmth(random.normal(0, 0.05)) * tint(), random.uniform(0.1, 0.6)))
    ground = _warmth(random.normal(0.06, 0.05)) * (1 - slope * random.uniform(0.4, 1.0))
    above = 1 + slope * random.uniform(0.2, 0.9)
    sky = around_sky * np.stack([ground, np.ones(3), above * np.ones(3)]) * _warmth(sky_warm)
    return Light(kind, tuple(lamps), sky)


def _warmth(amount: float) -> np.ndarray:
    """(3,) gains of a colour temperature: positive is warmer, 0.1 about 800 K."""
    return np.exp(np.clip(amount, -0.4, 0.4) * np.array([0.9, 0.0, -1.5]))


def _hue(random: np.random.Generator) -> np.ndarray:
    """(3,) a coloured gel of brightness about 1."""
    angle = random.uniform(0, 2 * np.pi) + np.array([0.0, -2.094, 2.094])
    color = 1 + random.uniform(0.3, 0.8) * np.cos(angle)
    return color / (color @ [0.3, 0.5, 0.2])
