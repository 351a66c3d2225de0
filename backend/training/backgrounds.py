"""What is behind the heads in pictures, made by lot: plain, gradients, rooms, streets, foliage, lights out of focus."""

from __future__ import annotations

import cv2
import numpy as np

from .lights import Light

KINDS = ("plain", "gradient", "noise", "clutter", "bokeh", "room", "window", "horizon")
_OFTEN = (0.16, 0.16, 0.12, 0.18, 0.08, 0.14, 0.08, 0.08)
_SIDE = 160  # pixels at which it is made: all of it is out of focus


def draw_background(random: np.random.Generator, light: Light, size: int) -> tuple[str, np.ndarray]:
    """(its kind, (size, size, 3) float32 linear colours), as bright and as tinted as the light lets it be."""
    kind = str(random.choice(KINDS, p=_OFTEN))
    paint = {
        "plain": _plain,
        "gradient": _gradient,
        "noise": _noise,
        "clutter": _clutter,
        "bokeh": _bokeh,
        "room": _room,
        "window": _window,
        "horizon": _horizon,
    }[kind]
    picture = paint(random)
    if kind not in ("plain", "gradient"):
        sigma = float(np.exp(random.uniform(np.log(0.7), np.log(9.0))))
        picture = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), sigma)
    around = np.asarray(light.sky)[1] + 0.35 * sum(lamp.color for lamp in light.lamps[:1])
    level = random.uniform(0.5, 1.5) * (2.2 if light.name == "backlit" else 1.0)
    picture = np.clip(picture * around * level, 0, 4).astype(np.float32)
    return kind, cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 4)


def spill(color: np.ndarray, alpha: np.ndarray, background: np.ndarray, share: float) -> np.ndarray:
    """(S, S, 3) linear: a head over a background whose light wraps round its rim and veils it a little.

    Args:
        color: (S, S, 3) linear, multiplied by alpha.
        alpha: (S, S).
        background: (S, S, 3) linear.
        share: of the background's light that reaches the rim, 0 .. 0.3.
    """
    behind = background * (1 - alpha[..., None])
    near = cv2.GaussianBlur(behind, (0, 0), len(alpha) / 60)
    far = cv2.GaussianBlur(behind, (0, 0), len(alpha) / 10)
    return color + behind + alpha[..., None] * share * (0.6 * near + 0.4 * far)


def _color(random: np.random.Generator, strength: float = 0.5) -> np.ndarray:
    """(3,) a linear colour as walls and things have: mostly dull."""
    value = np.exp(random.uniform(np.log(0.05), np.log(0.95)))
    hue = random.uniform(0, 2 * np.pi) + np.array([0.0, -2.094, 2.094])
    return value * (1 + strength * random.beta(1.2, 2.5) * np.cos(hue))


def _grid() -> tuple[np.ndarray, np.ndarray]:
    at = np.linspace(-1, 1, _SIDE, dtype=np.float32)
    x, y = np.meshgrid(at, at)
    return x[..., None], y[..., None]


def _plain(random: np.random.Generator) -> np.ndarray:
    return np.broadcast_to(_color(random), (_SIDE, _SIDE, 3)) * (1 + 0.02 * _field(random, 30)[..., None])


def _gradient(random: np.random.Generator) -> np.ndarray:
    x, y = _grid()
    color = _color(random)
    other = _color(random) if random.random() < 0.3 else color * random.uniform(0.2, 0.8)
    if random.random() < 0.5:  # a lamp on the wall behind
        cx, cy, wide = random.uniform(-0.6, 0.6), random.uniform(-0.7, 0.5), random.uniform(0.5, 1.4)
        share = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / wide**2)
    else:
        angle = random.uniform(0, 2 * np.pi)
        share = np.clip(0.5 + 0.4 * (np.cos(angle) * x + np.sin(angle) * y), 0, 1)
    return other + share * (color - other)


def _field(random: np.random.Generator, coarse: int) -> np.ndarray:
    """(S, S) smooth noise of deviation about 1."""
    small = random.normal(size=(max(_SIDE // coarse, 2) + 2,) * 2).astype(np.float32)
    return cv2.resize(small, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC)


def _noise(random: np.random.Generator) -> np.ndarray:
    """Foliage, plaster, cloth: two colours by a sum of noises."""
    total = sum(_field(random, coarse) * weight for coarse, weight in ((60, 1.0), (24, 0.7), (9, 0.5), (4, 0.3)))
    share = 1 / (1 + np.exp(-random.uniform(0.6, 2.5) * total))[..., None]
    first, second = _color(random), _color(random)
    if random.random() < 0.4:
        first, second = np.array([0.05, 0.10, 0.02]), np.array([0.22, 0.34, 0.10]) * random.uniform(0.5, 1.8)
    return first + share * (second - first)


def _shapes(random: np.random.Generator, canvas: np.ndarray, count: int, low: float, high: float) -> np.ndarray:
    for _ in range(count):
        center = random.uniform(-0.1, 1.1, 2) * _SIDE
        wide, tall = (np.exp(random.uniform(np.log(low), np.log(high), 2)) * _SIDE).astype(float)
        color = tuple(float(part) for part in _color(random, 0.9))
        box = (
            (float(center[0]), float(center[1])),
            (float(wide), float(tall)),
            float(random.choice([0, 0, 90, random.uniform(0, 180)])),
        )
        if random.random() < 0.7:
            cv2.fillPoly(canvas, [np.round(cv2.boxPoints(box)).astype(np.int32)], color, cv2.LINE_AA)
        else:
            cv2.ellipse(canvas, box, color, -1, cv2.LINE_AA)
    return canvas


def _clutter(random: np.random.Generator) -> np.ndarray:
    canvas = np.ascontiguousarray(_gradient(random), np.float32)
    return _shapes(random, canvas, int(random.integers(8, 40)), 0.04, 0.5)


def _bokeh(random: np.random.Generator) -> np.ndarray:
    canvas = np.ascontiguousarray(0.35 * _gradient(random), np.float32)
    radius = random.uniform(0.02, 0.07) * _SIDE
    for _ in range(int(random.integers(15, 60))):
        disc = np.zeros((_SIDE, _SIDE), np.float32)
        center = tuple(int(part) for part in random.uniform(0, _SIDE, 2))
        cv2.circle(disc, center, int(radius * random.uniform(0.7, 1.2)) + 1, (1.0,), -1, cv2.LINE_AA)
        canvas = canvas + disc[..., None] * _color(random, 1.0) * random.uniform(0.3, 2.0)
    return canvas


def _room(random: np.random.Generator) -> np.ndarray:
    """A wall with a corner, pictures, shelves and a door."""
    x, y = _grid()
    corner, darker = random.uniform(-1.2, 1.2), random.uniform(0.5, 0.9)
    wall = np.where(x > corner, _color(random, 0.3), 1.0)
    wall = np.where(x > corner, wall, darker * _color(random, 0.3)) * (1 - 0.15 * y)
    canvas = np.ascontiguousarray(wall, np.float32)
    for _ in range(int(random.integers(1, 6))):
        left, top = random.uniform(-0.1, 0.9, 2) * _SIDE
        wide, tall = np.exp(random.uniform(np.log(0.08), np.log(0.45), 2)) * _SIDE
        corners = np.array([[left, top], [left + wide, top], [left + wide, top + tall], [left, top + tall]])
        cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], tuple(_color(random, 0.6).tolist()), cv2.LINE_AA)
        inner = corners + 0.12 * min(wide, tall) * np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])
        cv2.fillPoly(canvas, [np.round(inner).astype(np.int32)], tuple(_color(random, 0.6).tolist()), cv2.LINE_AA)
    return canvas


def _window(random: np.random.Generator) -> np.ndarray:
    """A bright window in a dim wall."""
    canvas = np.ascontiguousarray(0.5 * _gradient(random), np.float32)
    left, top = random.uniform(-0.2, 0.7) * _SIDE, random.uniform(-0.3, 0.3) * _SIDE
    wide, tall = random.uniform(0.25, 0.7) * _SIDE, random.uniform(0.5, 1.0) * _SIDE
    bright = np.array([1.0, 1.05, 1.15]) * random.uniform(1.0, 2.2)
    across, down = int(random.integers(1, 4)), int(random.integers(1, 4))
    for column in range(across):
        for row in range(down):
            low = (int(left + wide * (column + 0.05) / across), int(top + tall * (row + 0.04) / down))
            high = (int(left + wide * (column + 0.95) / across), int(top + tall * (row + 0.96) / down))
            color = tuple((bright * random.uniform(0.85, 1.1)).tolist())
            cv2.rectangle(canvas, low, high, color, -1)
    return canvas


def _horizon(random: np.random.Generator) -> np.ndarray:
    """Sky over ground, with things between."""
    _, y = _grid()
    line = random.uniform(-0.2, 0.6)
    sky = np.array([0.55, 0.70, 1.0]) * random.uniform(0.7, 1.5) * (1 + 0.2 * y)
    sky = np.where(random.random() < 0.4, sky.mean(axis=2, keepdims=True) * np.ones(3), sky)
    canvas = np.ascontiguousarray(np.where(y < line, sky, _color(random, 0.4)), np.float32)
    for _ in range(int(random.integers(3, 14))):
        left, foot = random.uniform(-0.1, 1.0) * _SIDE, (0.5 + 0.5 * line) * _SIDE + random.uniform(0, 8)
        wide, tall = random.uniform(0.05, 0.35) * _SIDE, random.uniform(0.05, 0.5) * _SIDE
        color = tuple((_color(random, 0.4) * 0.6).tolist())
        cv2.rectangle(canvas, (int(left), int(foot - tall)), (int(left + wide), int(foot)), color, -1)
    return canvas
