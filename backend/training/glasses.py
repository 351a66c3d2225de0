"""Glasses for some heads: a frame of tubes and two thin lenses, placed by landmarks; in pictures alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open3d as o3d

from ..camera import CENTIMETRE
from ..geometry import make_scene
from ..meshing.mesh import Mesh
from .body import Body
from .chance import Part, dice
from .vectors import smooth, unit

GLASSES = 6  # label of frames in pictures, beside ``body.Label``
SHAPES = ("round", "oval", "rectangle", "square", "aviator", "cat eye", "half rim")
_SHARE = 0.07
_PUPILS, _OUTER, _NOSE, _TOP, _CHIN, _EARS = (468, 473), (33, 263), 168, 10, 152, (127, 356)
_AROUND, _SIDES = 40, 8  # points of a rim; sides of a tube
_FRAMES = ((0.03, 0.03, 0.035), (0.16, 0.09, 0.05), (0.42, 0.28, 0.16), (0.62, 0.62, 0.64), (0.66, 0.52, 0.27),
           (0.13, 0.16, 0.28), (0.45, 0.10, 0.12), (0.75, 0.73, 0.70))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Glasses:
    """One pair."""

    shape: str
    frame: Mesh
    lenses: Mesh
    scene: o3d.t.geometry.RaycastingScene  # of the lenses
    middle: np.ndarray  # (3,) float32, in the head behind the lenses: they bulge about it
    color: np.ndarray  # (3,) of the frame, sRGB-encoded
    tint: np.ndarray  # (3,) what the lenses let through


def draw_glasses(seed: int, number: int, body: Body) -> Glasses | None:
    """The glasses of head ``number``, for its body in the world; most have none."""
    random = dice(seed, number, Part.GLASSES)
    if random.random() >= _SHARE:
        return None
    return make_glasses(str(random.choice(SHAPES)), body, random)


def make_glasses(shape: str, body: Body, random: np.random.Generator) -> Glasses:
    """Glasses of one of ``SHAPES`` that sit on the nose of a body in the world."""
    marks = body.landmarks
    right = unit(marks[_OUTER[1]] - marks[_OUTER[0]])
    up = marks[_TOP] - marks[_CHIN]
    up = unit(up - (up @ right) * right)
    axes = np.stack([right, up, np.cross(right, up)])
    middle = marks[list(_PUPILS)].mean(axis=0)
    places = (marks - middle) @ axes.T  # right, up and forward of the middle of the pupils
    apart = 0.5 * (places[_PUPILS[1], 0] - places[_PUPILS[0], 0]) + 0.08 * CENTIMETRE
    half = min(random.uniform(2.25, 2.65) * CENTIMETRE, apart - 0.75 * CENTIMETRE)
    tall = half * {"rectangle": 0.66, "oval": 0.72, "half rim": 0.66, "cat eye": 0.74}.get(shape, 0.9)
    thick = random.uniform(0.06, 0.10) if shape in ("aviator", "half rim") else random.uniform(0.09, 0.24)
    thick *= CENTIMETRE
    drop = -0.25 * CENTIMETRE
    loop = _outline(shape) * [half, tall] + [apart, drop]
    plane = _clear(body, middle, axes, apart, half, tall, drop) + thick + random.uniform(0.05, 0.3) * CENTIMETRE
    tubes, lenses = [], []
    for side in (-1, 1):
        curve = np.column_stack([side * loop[:, 0], loop[:, 1], np.zeros(len(loop))])
        curve[:, 2] = plane - 0.10 * (loop[:, 0] - apart) * (half + apart) / apart  # frames bend round the face
        if shape == "half rim":
            tubes.append(_tube(curve[loop[:, 1] > drop - 0.2 * tall], thick, closed=False))
        else:
            tubes.append(_tube(curve, thick, closed=True))
        lenses.append(_disc(curve))
        hinge = curve[np.argmax(loop[:, 0] + 0.5 * loop[:, 1])]
        ear = places[_EARS[(side + 1) // 2]]
        over = np.array([1.03 * ear[0] + side * 0.3 * CENTIMETRE, hinge[1], ear[2] - 2.2 * CENTIMETRE])
        outer = np.array(
            [0.8 * hinge[0] + 0.2 * over[0] + side * 0.25 * CENTIMETRE, hinge[1], hinge[2] - 0.5 * CENTIMETRE]
        )
        tip = over + np.array([-side * 0.1, -2.5, -1.8]) * CENTIMETRE
        tubes.append(_tube(np.stack([hinge, outer, 0.5 * (outer + over), over, tip]), thick, closed=False))
    inner = apart - half
    arch = np.linspace(-1, 1, 9)
    bridge = np.column_stack([1.02 * inner * arch, drop + 0.35 * tall + 0.12 * inner * (1 - arch**2), plane + 0 * arch])
    bridge[:, 2] += 0.10 * half * (half + apart) / apart + 0.1 * CENTIMETRE * (1 - arch**2)
    tubes.append(_tube(bridge, thick, closed=False))
    color = np.array(_FRAMES[int(random.integers(len(_FRAMES)))]) * random.uniform(0.85, 1.1)
    tint = 1 - random.uniform(0.02, 0.10) * np.array([1.0, 0.8, 0.9])
    if random.random() < 0.08:  # sunglasses that were not taken off; the eyes still show a little
        tint = tint * random.uniform(0.25, 0.6)
    frame, glass = (_joined(parts, axes, middle) for parts in (tubes, lenses))
    behind = (middle - 6 * CENTIMETRE * axes[2]).astype(np.float32)
    scene = make_scene(glass.vertices, glass.faces)
    return Glasses(shape, frame, glass, scene, behind, np.clip(color, 0.02, 0.95), tint)


def _outline(shape: str) -> np.ndarray:
    """(n, 2) a rim about 0, counter-clockwise from the outer side of the left eye, within about 1."""
    turn = 2 * np.pi * np.arange(_AROUND) / _AROUND
    power = {"rectangle": 0.45, "square": 0.5, "half rim": 0.5, "cat eye": 0.7, "aviator": 0.8}.get(shape, 1.0)
    x, y = (np.sign(part) * np.abs(part) ** power for part in (np.cos(turn), np.sin(turn)))
    if shape == "aviator":  # narrow and deep towards the cheek
        x, y = x * (1 - 0.14 * smooth(0.2, -1.0, y)) + 0.08 * smooth(0.0, -1.0, y), np.where(y < 0, 1.1 * y, 0.85 * y)
    if shape == "cat eye":
        y = y + 0.30 * smooth(0.2, 1.0, x) * smooth(-0.3, 0.8, y)
    return np.stack([x, y], axis=1)


def _clear(
    body: Body, middle: np.ndarray, axes: np.ndarray, apart: float, half: float, tall: float, drop: float
) -> float:
    """How far forward a flat pair must sit so that it touches neither brow nor cheek."""
    places = (body.solids[0].mesh.vertices - middle) @ axes.T
    x, y, z = places.T
    over = (np.abs(np.abs(x) - apart) < half) & (np.abs(y - drop) < tall) & (np.abs(x) > 0.9 * CENTIMETRE)
    bend = 0.10 * (np.abs(x) - apart) * (half + apart) / apart
    return float(np.percentile((z + bend)[over & (z > -3 * CENTIMETRE)], 98))


def _tube(curve: np.ndarray, radius: float, *, closed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Points and outward triangles of a tube of ``radius`` around a curve (n, 3)."""
    ahead = np.roll(curve, -1, axis=0) - np.roll(curve, 1, axis=0)
    if not closed:
        ahead[0], ahead[-1] = curve[1] - curve[0], curve[-1] - curve[-2]
    ahead = unit(ahead)
    side = unit(np.cross(ahead, np.where(np.abs(ahead[:, 2:]) < 0.9, [0.0, 0.0, 1.0], [0.0, 1.0, 0.0])))
    other = np.cross(ahead, side)
    turn = 2 * np.pi * np.arange(_SIDES) / _SIDES
    ring = np.cos(turn)[:, None, None] * side + np.sin(turn)[:, None, None] * other
    points = (curve + radius * 0.5 * ring).transpose(1, 0, 2).reshape(-1, 3)
    count = len(curve) if closed else len(curve) - 1
    one, next_one = np.arange(_SIDES), (np.arange(_SIDES) + 1) % _SIDES
    faces = []
    for here in range(count):
        a, b = here * _SIDES, (here + 1) % len(curve) * _SIDES
        faces += [np.stack([a + one, b + next_one, b + one], 1), np.stack([a + one, a + next_one, b + next_one], 1)]
    if not closed:
        fan = np.arange(1, _SIDES - 1)
        last = (len(curve) - 1) * _SIDES
        faces += [np.stack([0 * fan, fan + 1, fan], 1), last + np.stack([0 * fan, fan, fan + 1], 1)]
    return points, np.concatenate(faces)


def _disc(curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    here = np.arange(len(curve))
    faces = np.stack([np.full_like(here, len(curve)), here, (here + 1) % len(curve)], axis=1)
    return np.concatenate([curve, curve.mean(axis=0)[None]]), faces


def _joined(parts: list[tuple[np.ndarray, np.ndarray]], axes: np.ndarray, middle: np.ndarray) -> Mesh:
    offsets = np.cumsum([0, *(len(points) for points, _ in parts)])
    points = np.concatenate([points for points, _ in parts]) @ axes + middle
    faces = np.concatenate([faces + offset for (_, faces), offset in zip(parts, offsets, strict=False)])
    return Mesh(points.astype(np.float32), faces.astype(np.int32))
