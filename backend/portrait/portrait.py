"""Portrait: what the rest of the journey knows of the photo."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..camera import Camera

SIZE = 512  # side of the aligned crop in pixels


@dataclass(frozen=True)
class Crop:
    """A square, possibly turned, in the upright photo."""

    column: float  # of the square's centre, pixels of ``Portrait.photo``
    row: float
    side: float  # pixels of the photo
    angle: float  # radians; positive turns the square clockwise as seen in the photo


@dataclass(frozen=True, eq=False)
class Portrait:
    """A face, aligned as PanoHead expects it.

    With a camera given by hand, ``landmarks`` may be NaN throughout: a profile or the back of a head has none, and
    landmarks that contradict the given camera are not this face's. The template then keeps its average shape.
    """

    photo: np.ndarray  # (H, W, 3) uint8 sRGB, upright
    crop: Crop
    image: np.ndarray  # (512, 512, 3) uint8 sRGB, the crop; reflected where it leaves the photo
    matte: np.ndarray  # (512, 512) float32 in [0, 1], 1 = person; 0 where the crop leaves the photo
    landmarks: np.ndarray  # (478, 3) float32, MediaPipe's, in crop widths: x right, y down, z towards the scene
    camera: Camera
    sha256: str  # of the photo's file, or of its pixels when it came as an array
    warnings: tuple[str, ...] = ()
    scale: float = 1.0  # pixels of ``photo`` per pixel of the upright original; less than 1 where that was very large
