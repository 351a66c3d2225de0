"""A fast picture of a synthetic head on the CPU: the body by ray casting, strands as thin ribbons, shadows, soft sky.

Light is worked out once a head (``light_head``); each view then costs a ray cast and a splat of the strands.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..camera import Camera
from ..geometry import as_tensor, make_scene
from ..meshing.mesh import Mesh, vertex_normals
from .body import Label
from .colors import paint
from .head import SyntheticHead
from .vectors import dot, smooth, unit

_MAP = 224  # pixels of a light's depth map
_REACH = 0.72  # half its width, world units
_SOFT = 0.012  # world units of hair that let a third of the light through
_HIDDEN = 0.03  # world units behind the body beyond which no part of a strand segment can be seen
_BACKGROUND = (0.42, 0.45, 0.50)


@dataclass(frozen=True, eq=False)
class Picture:
    """What a camera sees."""

    color: np.ndarray  # (S, S, 3) float32 sRGB-encoded in [0, 1], on the background
    alpha: np.ndarray  # (S, S) float32 in [0, 1]
    depth: np.ndarray  # (S, S) float32 world units along the view axis, nearest of the pixel; inf where nothing is
    label: np.ndarray  # (S, S) uint8, ``Label`` of the nearest; 255 where nothing is


@dataclass(frozen=True, eq=False)
class LitHead:
    """A head with the light that falls on each vertex and each point of its strands. Colours are linear."""

    head: SyntheticHead
    mesh: Mesh  # all solids in one
    normals: np.ndarray  # (V, 3)
    rest: np.ndarray  # (V, 3)
    label: np.ndarray  # (F,) uint8
    clothes: np.ndarray  # (V,)
    light: np.ndarray  # (V, 3)
    strand_points: np.ndarray  # (N, 3) float32, starts of segments
    strand_steps: np.ndarray  # (N, 3) float32, to their ends
    strand_light: np.ndarray  # (N, 3) linear colour, lit, without highlights
    strand_gloss: np.ndarray  # (N,) how much key light reaches it
    strand_label: np.ndarray  # (N,) uint8
    strand_radius: np.ndarray  # (N,)
    key: np.ndarray  # (3,) towards the main light


def light_head(head: SyntheticHead, yaw: float = 0.55, pitch: float = 0.65, warmth: float = 0.04) -> LitHead:
    """Light a head by a main light at ``yaw`` and ``pitch`` (radians, as of cameras) and by a soft sky."""
    parts, offset = [], 0
    for solid in head.body.solids:
        parts.append(
            (solid.mesh.vertices, solid.mesh.faces + offset, solid.rest, np.full(len(solid.mesh.faces), solid.label))
        )
        offset += len(solid.mesh.vertices)
    vertices, faces, rest, label = (np.concatenate([part[k] for part in parts]) for k in range(4))
    mesh = Mesh(vertices, faces.astype(np.int32))
    normals = np.concatenate([vertex_normals(solid.mesh) for solid in head.body.solids])
    clothes = np.zeros(len(vertices), np.float32)
    clothes[: len(head.body.clothes)] = head.body.clothes
    starts, steps, albedo, kinds, radii = [], [], [], [], []
    for kind in head.strands:
        points = kind.points
        each = points.shape[1] - 1
        starts.append(points[:, :-1].reshape(-1, 3))
        steps.append(np.diff(points, axis=1).reshape(-1, 3))
        albedo.append(np.repeat(_linear(kind.colors), each, axis=0))
        kinds.append(np.full(len(points) * each, kind.label, np.uint8))
        radii.append(np.repeat(kind.radius, each))
    start, step, color, kinds, radius = (np.concatenate(part) for part in (starts, steps, albedo, kinds, radii))
    middle = start + 0.5 * step
    tangent = unit(step)

    key = _direction(yaw, pitch)
    sky = [
        (_direction(*way), weight)
        for way, weight in (
            *(((0.0, 1.25), 0.34), ((-1.1, 0.35), 0.30), ((2.5, 0.5), 0.42)),
            *(((-2.6, 0.3), 0.36), ((0.2, -0.1), 0.26)),
        )
    ]
    scene = make_scene(mesh.vertices, mesh.faces)
    length = np.linalg.norm(step, axis=1)
    light = np.full((len(vertices), 3), 0.10)
    strand_light = np.full((len(start), 3), 0.07)
    warm = np.array([1 + warmth, 1.0, 1 - 1.5 * warmth])
    gloss = np.zeros(len(start))
    for number, (way, weight) in enumerate([(key, 1.25), *sky]):
        shade = _HairShade(middle, length, way)
        tint = warm if number == 0 else np.array([1 - 0.5 * warmth, 1.0, 1 + warmth])
        facing = (dot(normals, way)[:, 0] + (0.12 if number == 0 else 0.35)) / (1.12 if number == 0 else 1.35)
        fall = np.clip(facing, 0, 1) * shade.through(vertices + 0.003 * normals, 0.004)
        if number == 0:
            fall = fall * _sees(scene, vertices, normals, way)
        light += weight * fall[:, None] * tint
        reached = shade.through(middle, 0.0)
        side = np.sqrt(np.clip(1 - dot(tangent, way)[:, 0] ** 2, 0, 1))
        strand_light += weight * 0.85 * (reached * side)[:, None] * tint
        if number == 0:
            gloss = reached
    return LitHead(
        head=head,
        mesh=mesh,
        normals=normals,
        rest=rest,
        label=label.astype(np.uint8),
        clothes=clothes,
        light=light,
        strand_points=start,
        strand_steps=step,
        strand_light=color * strand_light,
        strand_gloss=gloss,
        strand_label=kinds,
        strand_radius=radius,
        key=key,
    )


def draw(lit: LitHead, camera: Camera, size: int = 256, *, samples: int = 2) -> Picture:
    """The lit head from a camera, ``size`` pixels wide, each of ``samples`` x ``samples`` rays."""
    wide = size * samples
    color, depth, label = _draw_body(lit, camera, wide)
    if len(lit.strand_points):
        _splat(lit, camera, wide, color, depth, label)
    hit = np.isfinite(depth)
    shape = (size, samples, size, samples)
    alpha = hit.reshape(shape).mean(axis=(1, 3)).astype(np.float32)
    total = (color * hit[..., None]).reshape(*shape, 3).mean(axis=(1, 3))
    background = _linear(np.array(_BACKGROUND)) * (1 - alpha[..., None])
    nearest = depth.reshape(shape).transpose(0, 2, 1, 3).reshape(size, size, -1)
    pick = nearest.argmin(axis=2)[..., None]
    labels = label.reshape(shape).transpose(0, 2, 1, 3).reshape(size, size, -1)
    return Picture(
        color=_encoded(total + background).astype(np.float32),
        alpha=alpha,
        depth=np.take_along_axis(nearest, pick, axis=2)[..., 0],
        label=np.take_along_axis(labels, pick, axis=2)[..., 0],
    )


def _draw_body(lit: LitHead, camera: Camera, wide: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Linear colour (W, W, 3), depth and label of the solids; depth inf and label 255 where there is none."""
    rays = camera.rays(wide)
    scene = make_scene(lit.mesh.vertices, lit.mesh.faces)
    answer = scene.cast_rays(as_tensor(rays))
    distance = answer["t_hit"].numpy()
    hit = np.isfinite(distance)
    triangle = answer["primitive_ids"].numpy()[hit].astype(np.int64)
    u, v = answer["primitive_uvs"].numpy()[hit].T
    corners, share = lit.mesh.faces[triangle], np.stack([1 - u - v, u, v], axis=1)[..., None]
    rest, light, clothes = (
        (values[corners] * share).sum(axis=1) for values in (lit.rest, lit.light, lit.clothes[:, None])
    )
    normal = unit((lit.normals[corners] * share).sum(axis=1))
    kind = lit.label[triangle]
    albedo = np.zeros((len(kind), 3))
    for each in (Label.SKIN, Label.EYE, Label.MOUTH):
        where = kind == each
        albedo[where] = paint(lit.head.colors, each, rest[where], clothes[where, 0])
    back = -rays[..., 3:][hit]
    half = unit(lit.key + back)
    shine = np.clip(dot(normal, half)[:, 0], 0, 1)
    wet = kind == Label.EYE
    gloss = np.where(wet, 0.9 * shine**180, 0.07 * shine**14 * (clothes[:, 0] < 0.5))
    gloss = gloss * np.clip(light.mean(axis=1) - 0.3, 0, 1)
    color = np.zeros((wide, wide, 3))
    color[hit] = _linear(albedo) * light * np.where(kind == Label.MOUTH, 0.6, 1.0)[:, None] + gloss[:, None]
    depth = np.full((wide, wide), np.inf, np.float32)
    axis = camera.cam2world[:3, 2]
    depth[hit] = distance[hit] * (rays[..., 3:][hit] @ axis)
    label = np.full((wide, wide), 255, np.uint8)
    label[hit] = np.where((kind == Label.SKIN) & (clothes[:, 0] > 0.5), Label.CLOTHES, kind)
    return color, depth, label


def _splat(lit: LitHead, camera: Camera, wide: int, color: np.ndarray, depth: np.ndarray, label: np.ndarray) -> None:
    """Draw the strands' segments into the pictures: the nearest in each pixel, as often as its width covers one."""
    start, end = camera.project(lit.strand_points), camera.project(lit.strand_points + lit.strand_steps)
    shown = np.flatnonzero(((start[:, :2] > 0) & (start[:, :2] < 1)).all(axis=1))
    place = start[shown]
    behind = depth[(place[:, 1] * wide).astype(int), (place[:, 0] * wide).astype(int)]
    shown = shown[place[:, 2] < behind + _HIDDEN]
    start, end, radius = start[shown], end[shown], lit.strand_radius[shown]
    long = np.linalg.norm((end - start)[:, :2], axis=1) * wide
    cover = np.minimum(2 * radius * camera.intrinsics[0, 0] * wide / start[:, 2], 1.0)
    # What is thinner than a pixel covers as many of the pixels on its way as its width is a part of one.
    chance = ((shown * 2654435761) % 65536) / 65536
    count = np.clip(np.floor(np.maximum(long, 0.7) * cover + chance), 0, 24).astype(int)
    which = np.repeat(np.arange(len(start)), count)
    order = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    share = ((order + chance[which]) / count[which])[:, None].astype(np.float32)
    place = start[which] * (1 - share) + end[which] * share
    column, row = np.floor(place[:, 0] * wide).astype(int), np.floor(place[:, 1] * wide).astype(int)
    inside = (column >= 0) & (column < wide) & (row >= 0) & (row < wide)
    cell = np.where(inside, row * wide + column, 0)
    inside &= place[:, 2] < depth.ravel()[cell] + 0.0012
    which, cell, far = shown[which[inside]], cell[inside], place[inside, 2].astype(np.float32)
    nearest = np.full(wide * wide, np.inf, np.float32)
    np.minimum.at(nearest, cell, far)
    first = far <= nearest[cell]
    which, cell, far = which[first], cell[first], far[first]
    tangent = unit(lit.strand_steps[which])
    back = unit(camera.position - lit.strand_points[which])
    along_light, along_view = dot(tangent, lit.key)[:, 0], dot(tangent, back)[:, 0]
    angle = np.sqrt(np.clip(1 - along_light**2, 0, 1)) * np.sqrt(np.clip(1 - along_view**2, 0, 1))
    mirror = np.clip(angle - along_light * along_view, 0, 1)
    glint = lit.strand_gloss[which] * (0.10 * mirror**60)
    sheen = lit.strand_gloss[which] * (0.55 * mirror**14)
    body = lit.strand_light[which]
    color.reshape(-1, 3)[cell] = body * (1 + sheen[:, None]) + glint[:, None]
    depth.ravel()[cell] = np.minimum(far, depth.ravel()[cell])
    label.ravel()[cell] = lit.strand_label[which]


class _HairShade:
    """How much light of one direction comes through the hair: length of strands in cells seen from the light."""

    def __init__(self, points: np.ndarray, length: np.ndarray, way: np.ndarray):
        right = unit(np.cross([0.0, 1.0, 0.02], way))
        self._frame = np.stack([right, np.cross(way, right), way])
        self._first = np.full(_MAP * _MAP, -np.inf, np.float32)
        place = points @ self._frame.T
        cell = self._cells(place)
        np.maximum.at(self._first, cell, place[:, 2].astype(np.float32))
        # Single hairs in front throw no shadow of a whole lock: where little hair is, the shade is thin.
        mass = np.bincount(cell, length, minlength=_MAP * _MAP)
        mass = cv2.GaussianBlur(mass.reshape(_MAP, _MAP), (0, 0), 1.0).ravel()
        self._strength = smooth(0.0, 0.06, mass)
        grid = self._first.reshape(_MAP, _MAP)
        filled = np.where(np.isfinite(grid), grid, -9)
        self._first = np.where(
            np.isfinite(grid),
            cv2.blur(np.where(np.isfinite(grid), grid, 0), (3, 3))
            / np.maximum(cv2.blur(np.isfinite(grid).astype(np.float32), (3, 3)), 1e-6),
            filled,
        ).ravel()

    def _cells(self, place: np.ndarray) -> np.ndarray:
        at = np.clip(((place[:, :2] + [_REACH, _REACH + 0.1]) / (2 * _REACH) * _MAP).astype(int), 0, _MAP - 1)
        return at[:, 1] * _MAP + at[:, 0]

    def through(self, points: np.ndarray, slack: float) -> np.ndarray:
        """(N,) share of the light that reaches points (N, 3)."""
        place = points @ self._frame.T
        cell = self._cells(place)
        behind = np.maximum(self._first[cell] - place[:, 2] - slack, 0)
        return 1 - self._strength[cell] * (1 - np.exp(-behind / _SOFT)) * 0.92


def _sees(scene, points: np.ndarray, normals: np.ndarray, way: np.ndarray) -> np.ndarray:
    """(N,) 1 where the light's direction is free of the body."""
    rays = np.concatenate([points + 0.004 * normals, np.broadcast_to(way, points.shape)], axis=1).astype(np.float32)
    return 1.0 - scene.test_occlusions(as_tensor(rays)).numpy().astype(np.float64)


def _direction(yaw: float, pitch: float) -> np.ndarray:
    return np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])


def _linear(color: np.ndarray) -> np.ndarray:
    return np.clip(color, 0, 1) ** 2.2


def _encoded(color: np.ndarray) -> np.ndarray:
    """Linear to sRGB-like, with a soft shoulder for what is too bright."""
    bright = np.where(color > 0.8, 0.8 + 0.2 * np.tanh((color - 0.8) / 0.2 * 0.8), color)
    return np.clip(bright, 0, 1) ** (1 / 2.2)
