"""A fast picture of a synthetic head on the CPU: the body by ray casting, strands as thin ribbons, soft shadows.

A head is made ready once (``stage_head``), lit once a light (``light_head``); each view is then one ray a pixel, four
where something ends in the pixel, and a splat of the strands that are not behind others (``splat.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ..camera import Camera
from ..geometry import as_tensor
from .body import Label
from .colors import paint
from .glasses import GLASSES, Glasses
from .splat import Canvas, splat
from .stage import GAMMA, LitHead, light_head, linear, stage_head
from .vectors import unit

__all__ = ["Picture", "draw", "encoded", "light_head", "stage_head"]

SAMPLES = 2  # in each direction of a pixel
_BACKGROUND = (0.42, 0.45, 0.50)
_LIDS = 0.78  # of the light on the eyes: what lids and lashes take, which are too fine for the mesh
_JUMP = 0.012  # world units of depth between neighbours from which on one of them ends
# Gloss by label: how much light comes back at right angles, and the exponents of a narrow and a wide lobe.
_GLOSS = {
    Label.SKIN: (0.030, 60.0, 14.0),
    Label.EYE: (0.045, 500.0, 120.0),
    Label.MOUTH: (0.040, 120.0, 20.0),
    Label.CLOTHES: (0.004, 8.0, 4.0),
    GLASSES: (0.045, 160.0, 24.0),
}


@dataclass(frozen=True, eq=False)
class Picture:
    """What a camera sees of a head."""

    linear: np.ndarray  # (S, S, 3) float32 linear, multiplied by alpha
    alpha: np.ndarray  # (S, S) float32 in [0, 1]
    depth: np.ndarray  # (S, S) float32 world units along the view axis, nearest of the pixel; inf where nothing is
    normals: np.ndarray  # (S, S, 3) float32 in the world, of the nearest; 0 where nothing is
    label: np.ndarray  # (S, S) uint8, ``Label`` or ``GLASSES`` of the nearest; 255 where nothing is

    @cached_property
    def color(self) -> np.ndarray:
        """(S, S, 3) float32 sRGB-encoded in [0, 1], on a plain grey."""
        return encoded(self.over(linear(np.array(_BACKGROUND, np.float32))))

    def over(self, background: np.ndarray) -> np.ndarray:
        """(S, S, 3) linear, on a linear background."""
        return (self.linear + background * (1 - self.alpha[..., None])).astype(np.float32)


def draw(lit: LitHead, camera: Camera, size: int = 256) -> Picture:
    """The lit head from a camera, ``size`` pixels wide."""
    canvas = _draw_body(lit, camera, size)
    alpha = np.isfinite(canvas.depth).astype(np.float32)
    if len(lit.stage.hairs.starts):
        alpha = _draw_hair(lit, camera, canvas, alpha)
    if lit.stage.head.glasses is not None:
        _draw_lenses(lit, camera, canvas, lit.stage.head.glasses)
    each = (size, SAMPLES, size, SAMPLES)
    nearest = canvas.depth.reshape(each).transpose(0, 2, 1, 3).reshape(size, size, -1)
    row, column = np.divmod(nearest.argmin(axis=2), SAMPLES)
    row += SAMPLES * np.arange(size)[:, None]
    column += SAMPLES * np.arange(size)
    return Picture(
        linear=cv2.resize(canvas.color, (size, size), interpolation=cv2.INTER_AREA),
        alpha=cv2.resize(alpha, (size, size), interpolation=cv2.INTER_AREA),
        depth=canvas.depth[row, column],
        normals=canvas.normals[row, column],
        label=canvas.label[row, column],
    )


def encoded(color: np.ndarray) -> np.ndarray:
    """Linear colours as sRGB-like ones in [0, 1], with a soft shoulder for what is too bright."""
    bright = np.where(color > 0.7, 0.7 + 0.3 * np.tanh((color - 0.7) / 0.45), color)
    return np.clip(bright, 0, 1) ** (1 / GAMMA)


def _draw_body(lit: LitHead, camera: Camera, size: int) -> Canvas:
    """The solids: one ray a pixel, and one a sample where a pixel or its neighbour holds an end of something."""
    at = (np.arange(size) + 0.5) / size
    columns, rows = np.meshgrid(at, at)
    color, depth, normals, label = _cast(lit, camera, columns.ravel(), rows.ravel())
    depth, label = depth.reshape(size, size), label.reshape(size, size)
    canvas = Canvas(
        color=_grown(color.reshape(size, size, 3)),
        depth=cv2.resize(np.where(np.isfinite(depth), depth, 9), None, fx=SAMPLES, fy=SAMPLES).astype(np.float32),
        normals=_grown(normals.reshape(size, size, 3)),
        label=_grown(label),
    )
    canvas.depth[_grown(label) == 255] = np.inf
    far = np.where(np.isfinite(depth), depth, 9).astype(np.float32)
    kernel = np.ones((3, 3), np.uint8)
    ends = (cv2.dilate(far, kernel) - cv2.erode(far, kernel) > _JUMP) | (
        cv2.dilate(label, kernel) != cv2.erode(label, kernel)
    )
    fine = np.flatnonzero(_grown(ends).ravel())
    wide = size * SAMPLES
    row, column = np.divmod(fine, wide)
    color, depth, normals, label = _cast(lit, camera, (column + 0.5) / wide, (row + 0.5) / wide)
    canvas.color.reshape(-1, 3)[fine] = color
    canvas.depth.ravel()[fine] = depth
    canvas.normals.reshape(-1, 3)[fine] = normals
    canvas.label.ravel()[fine] = label
    return canvas


def _grown(picture: np.ndarray) -> np.ndarray:
    return np.repeat(np.repeat(picture, SAMPLES, axis=0), SAMPLES, axis=1)


def _cast(
    lit: LitHead, camera: Camera, columns: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Colour (n, 3), depth (n,), normal (n, 3) and label (n,) at places of the picture, in widths."""
    stage = lit.stage
    ways, rays = _rays(camera, columns, rows)
    answer = stage.scene.cast_rays(as_tensor(rays))
    distance = answer["t_hit"].numpy()
    hit = np.flatnonzero(np.isfinite(distance))
    triangle = answer["primitive_ids"].numpy()[hit].astype(np.int64)
    u, v = (part[:, None] for part in answer["primitive_uvs"].numpy()[hit].T)
    a, b, c = stage.faces[triangle].T
    values = lit.shown[a] * (1 - u - v) + lit.shown[b] * u + lit.shown[c] * v
    normal = unit(values[:, 0:3])
    clothes, light = values[:, 6], values[:, 11:14]
    kind = stage.label[triangle]
    albedo = values[:, 7:10]
    eyes = kind == Label.EYE
    albedo[eyes] = _LIDS * linear(paint(stage.head.colors, Label.EYE, values[eyes, 3:6]))
    kind = np.where((kind == Label.SKIN) & (clothes > 0.5), np.uint8(Label.CLOTHES), kind)
    cavity = np.where(kind == Label.MOUTH, np.float32(0.5), np.float32(1))[:, None]
    shade = albedo * light * cavity + _gloss(lit, normal, -ways[hit], kind, values[:, 14:]) * values[:, 10:11]
    color, normals = np.zeros((len(rays), 3), np.float32), np.zeros((len(rays), 3), np.float32)
    depth, label = np.full(len(rays), np.inf, np.float32), np.full(len(rays), 255, np.uint8)
    color[hit], normals[hit], label[hit] = shade, normal, kind
    depth[hit] = distance[hit] * (ways[hit] @ camera.cam2world[:3, 2].astype(np.float32))
    return color, depth, normals, label


def _rays(camera: Camera, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((n, 3) unit directions, (n, 6) float32 rays) of a camera through places in image widths."""
    turn = (camera.cam2world[:3, :3] @ np.linalg.inv(camera.intrinsics)).astype(np.float32)
    places = np.stack([columns, rows, np.ones_like(columns)], axis=1).astype(np.float32)
    ways = unit(places @ turn.T)
    start = np.broadcast_to(camera.position.astype(np.float32), ways.shape)
    return ways, np.concatenate([start, ways], axis=1)


def _gloss(lit: LitHead, normal: np.ndarray, back: np.ndarray, kind: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(n, 3) what shines back: two Blinn-Phong lobes a lamp, the sky at grazing angles (Schlick's approximation)."""
    table = np.zeros((256, 3), np.float32)
    for each, row in _GLOSS.items():
        table[each] = row
    table[Label.SKIN, 0] *= lit.stage.shine
    base, narrow, wide = table[kind].T
    facing = np.clip((normal * back).sum(axis=1), 0, 1)
    rim = base + 0.25 * np.sqrt(base) * (1 - facing) ** 5
    mirrored = 2 * facing[:, None] * normal - back
    shine = (0.8 * rim)[:, None] * lit.light.sky_at(mirrored) * np.clip(seen.mean(axis=1), 0.25, 1)[:, None]
    for number, lamp in enumerate(lit.light.lamps):
        towards = lamp.towards.astype(np.float32)
        half = np.clip((normal * unit(towards + back)).sum(axis=1), 1e-4, 1)
        soft = 1 / (1 + narrow * min(lamp.width, 1.0) ** 2 * 0.12)  # a wide lamp's highlight is wide
        lobes = 0.35 * (narrow * soft + 2) / 8 * half ** (narrow * soft) + 0.65 * (wide + 2) / 8 * half**wide
        lobes = lobes * rim * np.clip((normal @ towards) * 4, 0, 1) * np.clip(normal @ towards + 0.3, 0, 1)
        shine += (lobes * seen[:, number])[:, None] * lamp.color.astype(np.float32)
    return shine


def _draw_hair(lit: LitHead, camera: Camera, canvas: Canvas, alpha: np.ndarray) -> np.ndarray:
    """Strands over the body, and alpha (W, W) of both.

    A sample is hair or is none; where hair is thin that would be grain. So its colour comes from the samples about, and
    its share from how often it covers the place. Colours stay multiplied by alpha: no rim of another colour.
    """
    before = canvas.color.copy()
    covered = splat(lit, camera, canvas)
    taken = np.any(canvas.color != before, axis=2).astype(np.float32)
    hair = np.dstack([canvas.color * taken[..., None], taken])
    near, wide = cv2.GaussianBlur(hair, (0, 0), 0.5), cv2.GaussianBlur(hair, (0, 0), 1.6)
    near = near + 0.02 * wide  # where no sample close by was hair
    tint = near[..., :3] / np.maximum(near[..., 3:], 1e-6)
    share = 1 - np.exp(-1.25 * cv2.GaussianBlur(covered, (0, 0), 0.7))
    np.copyto(canvas.color, before + share[..., None] * (tint - before))
    return alpha + share * (1 - alpha)


def _draw_lenses(lit: LitHead, camera: Camera, canvas: Canvas, glasses: Glasses) -> None:
    """Lenses let light through, a little tinted, and mirror lamps and sky; depth and labels are of what is behind."""
    wide = len(canvas.depth)
    place = camera.project(glasses.lenses.vertices)
    low = np.clip(np.floor(place[:, :2].min(axis=0) * wide).astype(int), 0, wide)
    high = np.clip(np.ceil(place[:, :2].max(axis=0) * wide).astype(int), 0, wide)
    column, row = (part.ravel() for part in np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1])))
    if not len(column):
        return
    ways, rays = _rays(camera, (column + 0.5) / wide, (row + 0.5) / wide)
    answer = glasses.scene.cast_rays(as_tensor(rays))
    distance = answer["t_hit"].numpy()
    depth = distance * (ways @ camera.cam2world[:3, 2].astype(np.float32))
    hit = np.flatnonzero(np.isfinite(distance) & (depth < canvas.depth[row, column]))
    if not len(hit):
        return
    normal, back = answer["primitive_normals"].numpy()[hit], -ways[hit]
    facing = (normal * back).sum(axis=1, keepdims=True)
    normal, facing = normal * np.sign(facing), np.abs(facing)
    bent = unit(normal + 0.35 * (rays[hit, :3] + distance[hit, None] * ways[hit] - glasses.middle))
    mirrored = 2 * (bent * back).sum(axis=1, keepdims=True) * bent - back
    share = 0.035 + 0.5 * (1 - facing) ** 5
    shine = share * lit.light.sky_at(mirrored)
    for lamp in lit.light.lamps:
        near = (mirrored @ lamp.towards.astype(np.float32)) - np.cos(0.5 * min(lamp.width, 0.8) + 0.03)
        shine += share * 4.0 * np.clip(near * 30, 0, 1)[:, None] * lamp.color.astype(np.float32)
    row, column = row[hit], column[hit]
    through = canvas.color[row, column] * glasses.tint.astype(np.float32) * (1 - share)
    empty = ~np.isfinite(canvas.depth[row, column])
    canvas.color[row, column] = np.where(empty[:, None], canvas.color[row, column], through + shine)
