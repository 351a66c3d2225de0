"""What colours the person has, measured in the photo through the fitted template."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..geometry import as_tensor, make_scene
from ..portrait.portrait import Portrait
from .solid import Solids

_SIZE = 192  # side of the picture in which colours are measured
_MIN_PIXELS = 60  # fewer hair pixels than this and the head counts as bald
_DEFAULT_SKIN = (0.76, 0.58, 0.49)  # only where the photo shows no skin at all
_FACE_TOP, _FACE_BOTTOM = 0.13, -0.20  # rest height between hairline and chin


@dataclass(frozen=True)
class Palette:
    """Colours sRGB-encoded in [0, 1]; unevenness is the standard deviation of lightness relative to its mean."""

    skin: tuple[float, float, float]
    hair: tuple[float, float, float]
    hair_unevenness: float


def measure_palette(solids: Solids, portrait: Portrait) -> Palette:
    """Median colours of the facing skin and of the hair that the photo shows.

    Hair is what the matte holds above the brows: on the scalp of the fitted head, or beyond its outline. A bald head
    has skin there and gets skin's colour.
    """
    image = cv2.resize(portrait.image, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    matte = cv2.resize(portrait.matte, (_SIZE, _SIZE), interpolation=cv2.INTER_AREA)
    faces = solids.body.triangle.indices.numpy()
    scene = make_scene(solids.body.vertex.positions.numpy(), faces)
    rays = portrait.camera.rays(_SIZE)
    answer = scene.cast_rays(as_tensor(rays))
    hit = np.isfinite(answer["t_hit"].numpy())
    corners = faces[np.where(hit, answer["primitive_ids"].numpy(), 0).astype(np.int64)]
    u, v = np.moveaxis(answer["primitive_uvs"].numpy(), 2, 0)
    weights = np.stack([1 - u - v, u, v], axis=2)
    rest = np.einsum("hwk,hwkc->hwc", weights, solids.skin.rest[corners])
    scalp = np.einsum("hwk,hwk->hw", weights, solids.skin.scalp[corners])
    facing = -(answer["primitive_normals"].numpy() * rays[..., 3:]).sum(axis=2)

    # Two pixels from the matte's rim hair is already mixed with the background.
    sure = cv2.erode(matte, np.ones((5, 5), np.uint8)) > 0.95
    face = hit & (rest[..., 1] < _FACE_TOP) & (rest[..., 1] > _FACE_BOTTOM) & (rest[..., 2] > 0.05)
    skin_pixels = image[sure & face & (facing > 0.7) & (scalp < 0.05)]
    skin = np.median(skin_pixels, axis=0) if len(skin_pixels) else np.array(_DEFAULT_SKIN)

    head_rows = np.nonzero((hit & (rest[..., 1] > 0.05) & (rest[..., 2] > 0.05)).any(axis=1))[0]
    above_brows = np.zeros_like(hit)
    if len(head_rows):
        above_brows[: head_rows.max()] = True
    hair_pixels = image[sure & above_brows & (~hit | ((scalp > 0.9) & (facing > 0.2)))]
    if len(hair_pixels) < _MIN_PIXELS:
        return Palette(triple(skin), triple(skin), 0.0)
    lightness = hair_pixels.mean(axis=1)
    unevenness = float(lightness.std() / max(float(lightness.mean()), 0.05))
    return Palette(triple(skin), triple(np.median(hair_pixels, axis=0)), min(unevenness, 0.5))


def triple(values: np.ndarray) -> tuple[float, float, float]:
    """An array (3,) as three plain numbers."""
    first, second, third = (float(value) for value in values)
    return first, second, third
