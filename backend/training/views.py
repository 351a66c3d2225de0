"""The pictures of a synthetic head that training sees: photos as people take them, and plain views from all around."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..camera import CENTIMETRE, FOCAL, RADIUS, Camera
from .backgrounds import draw_background, spill
from .body import Label
from .chance import Part, dice
from .draw import Picture, draw, light_head, stage_head
from .head import SyntheticHead
from .lights import Light, draw_light, plain_light
from .photo import Damage, develop, draw_damage, told

_SEED_AROUND = 1 << 20  # numbers of views from around begin here, so that more photos do not change them
_NEAREST, _FARTHEST = 50, 300  # centimetres from lens to face; nearer is an outstretched arm, farther a long lens
_EYES_AND_MOUTH = (33, 133, 362, 263, 61, 291)  # landmarks whose place in the picture a lens leaves as it is
_METER = 0.24  # linear brightness that cameras aim at
_PLAIN = (0.165, 0.191, 0.241)  # linear grey behind views from around


@dataclass(frozen=True, eq=False)
class View:
    """One picture of a head, and what is true about it."""

    image: np.ndarray  # (S, S, 3) uint8 sRGB, background and damage in it
    matte: np.ndarray  # (S, S) uint8 from alpha
    depth: np.ndarray  # (S, S) float32 world units along the lens' axis, inf where nothing is
    normals: np.ndarray  # (S, S, 3) float32 in the world, 0 where nothing is
    labels: np.ndarray  # (S, S) uint8, ``Label`` or ``GLASSES``; 255 where nothing is
    camera: Camera  # PanoHead's label: its radius and intrinsics
    lens: Camera  # what really saw it: nearer with a wider angle in photos
    kind: str  # "photo" or "around"
    attributes: dict[str, float | str]


@dataclass(frozen=True, eq=False)
class Shot:
    """What is wanted of one view before anything is drawn; the same for every renderer."""

    kind: str
    camera: Camera
    lens: Camera
    light: Light
    damage: Damage
    dice: np.random.SeedSequence  # of background and noise
    attributes: dict[str, float | str]


def draw_views(head: SyntheticHead, photos: int, around: int, size: int = 256) -> list[View]:
    """The views of a head by the fast renderer, photos first; the same head and numbers, the same views.

    Args:
        head: of ``make_head``.
        photos: how many as people take them.
        around: how many from any side.
        size: side in pixels.
    """
    stage = stage_head(head)
    views, plain = [], light_head(stage) if around else None
    for shot in plan_views(head, photos, around):
        lit = plain if shot.kind == "around" and plain is not None else light_head(stage, shot.light)
        views.append(take(shot, draw(lit, shot.lens, size)))
    return views


def plan_views(head: SyntheticHead, photos: int, around: int) -> list[Shot]:
    """Poses, lenses, lights and damage by lot, photos first."""
    shots = []
    for number in range(photos):
        random = dice(head.seed, head.number, Part.VIEWS, number)
        yaw, pitch, roll = _photo_pose(random)
        camera = Camera.from_angles(yaw, pitch, roll)
        distance = float(np.exp(random.uniform(np.log(_NEAREST), np.log(_FARTHEST))))
        light = draw_light(random, yaw)
        damage = draw_damage(random)
        attributes: dict[str, float | str] = {
            **_degrees(yaw, pitch, roll),
            "light": light.name,
            "lens_cm": round(distance, 1),
            **told(damage),
        }
        lens = nearer_lens(camera, distance, head.landmarks)
        shots.append(Shot("photo", camera, lens, light, damage, _noise_dice(head, number), attributes))
    for number in range(around):
        random = dice(head.seed, head.number, Part.VIEWS, _SEED_AROUND + number)
        # Each run of four looks from each quarter once.
        turn, quarter = random.random(), (number + _first_quarter(head)) % 4
        yaw = float(np.pi * ((quarter + turn) / 2 - 1))
        pitch = float(np.arcsin(random.uniform(np.sin(np.radians(-25)), np.sin(np.radians(50)))))
        camera = Camera.from_angles(yaw, pitch)
        attributes = {**_degrees(yaw, pitch, 0.0), "light": "plain", "background": "plain", "damage": 0.0}
        noise = _noise_dice(head, _SEED_AROUND + number)
        shots.append(Shot("around", camera, camera, plain_light(), Damage(), noise, attributes))
    return shots


def take(shot: Shot, picture: Picture) -> View:
    """The view of a shot from what a renderer made of it: background behind, damage over it."""
    attributes = dict(shot.attributes)
    size = len(picture.alpha)
    random = np.random.default_rng(shot.dice)
    if shot.kind == "photo":
        attributes["background"], background = draw_background(random, shot.light, size)
        scene = spill(picture.linear, picture.alpha, background, float(random.uniform(0.0, 0.15)))
        scene = scene * np.float32(2.0 ** metered(picture, scene))
    else:
        scene = picture.over(np.array(_PLAIN, np.float32))
    return View(
        image=develop(scene.astype(np.float32), shot.damage, random),
        matte=np.rint(255 * picture.alpha).astype(np.uint8),
        depth=picture.depth,
        normals=picture.normals,
        labels=picture.label,
        camera=shot.camera,
        lens=shot.lens,
        kind=shot.kind,
        attributes=attributes,
    )


def metered(picture: Picture, scene: np.ndarray) -> float:
    """Stops by which a camera brightens a scene (S, S, 3): part of the way to a middle grey, the face counting most."""
    gray = scene @ np.array([0.3, 0.59, 0.11], np.float32)
    face = gray[picture.label == Label.SKIN]
    level = 0.7 * float(np.median(face)) + 0.3 * float(gray.mean()) if len(face) else float(gray.mean())
    return float(np.clip(0.65 * np.log2(_METER / max(level, 1e-3)), -1.2, 2.0))


def nearer_lens(camera: Camera, centimetres: float, landmarks: np.ndarray) -> Camera:
    """A camera on the same axis, so many centimetres from the face, that shows the face as large as ``camera`` does.

    Args:
        camera: on PanoHead's sphere.
        centimetres: from the lens to the plane of eyes and mouth.
        landmarks: (478, 3) of the head in the world.
    """
    axis = camera.cam2world[:3, 2]
    before = -float(landmarks[list(_EYES_AND_MOUTH)].mean(axis=0) @ axis)  # of the face's plane before the origin
    radius = before + centimetres * CENTIMETRE
    focal = FOCAL * (radius - before) / (RADIUS - before)
    cam2world = camera.cam2world.copy()
    cam2world[:3, 3] = -axis * radius
    return Camera(cam2world, np.array([[focal, 0, 0.5], [0, focal, 0.5], [0, 0, 1.0]]))


def _photo_pose(random: np.random.Generator) -> tuple[float, float, float]:
    """(yaw, pitch, roll) in radians: 85 % turned about 13 degrees, the others evenly to 75; a few degrees tilted."""
    yaw = random.normal(0, 13) if random.random() < 0.85 else random.choice([-1, 1]) * random.uniform(20, 75)
    pitch, roll = np.clip(random.normal(1, 8), -20, 25), np.clip(random.normal(0, 3), -10, 10)
    return tuple(float(np.radians(angle)) for angle in (np.clip(yaw, -75, 75), pitch, roll))  # pyright: ignore[reportReturnType]


def _degrees(yaw: float, pitch: float, roll: float) -> dict[str, float | str]:
    named = (("yaw", yaw), ("pitch", pitch), ("roll", roll))
    return {name: round(float(np.degrees(angle)), 2) for name, angle in named}


def _first_quarter(head: SyntheticHead) -> int:
    return int(dice(head.seed, head.number, Part.VIEWS, _SEED_AROUND - 1).integers(4))


def _noise_dice(head: SyntheticHead, number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence([head.seed, head.number, int(Part.VIEWS), number, 1])
