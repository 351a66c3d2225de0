"""The head's pose from its landmarks, in closed form; then PanoHead's crop and camera.

A similarity fitted to point pairs by a singular value decomposition (Kabsch, Acta Crystallographica A 32, 1976, for the
rotation; Umeyama, PAMI 13, 1991, with scale), between MediaPipe's landmarks and its canonical face. Crop and camera are
those of An et al., PanoHead: Geometry-Aware 3D Full-Head Synthesis in 360 degrees, CVPR 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ..camera import Camera
from .portrait import Crop

SIDE = 26.76  # side of the crop in cm of the canonical face
ORIGIN = np.array([0.0, 1.3715, -2.328])  # the world's origin in the canonical face's frame, cm

# MediaPipe's own choice of points that the face's expressions move little (its face geometry module)
RIGID = (4, 6, 10, 33, 54, 67, 117, 119, 121, 127, 129, 132, 133, 136, 143, 147, 198, 205)
RIGID = (*RIGID, 263, 284, 297, 346, 348, 350, 356, 358, 361, 362, 365, 372, 376, 420, 425)

_EYE_LEFT = (33, 160, 158, 133, 153, 144)  # contours, as seen in the picture
_EYE_RIGHT = (362, 385, 387, 263, 373, 380)
_MOUTH = (61, 291)  # corners


@dataclass(frozen=True, eq=False)
class Similarity:
    """picture point (y up, z towards the viewer) = scale * rotation @ canonical point + shift."""

    rotation: np.ndarray  # (3, 3), face frame to a y-up, z-to-viewer camera frame
    scale: float  # units of the landmarks per cm
    shift: np.ndarray  # (3,)
    residual: float  # mean distance on the RIGID points, cm


@cache
def canonical_face() -> np.ndarray:
    """(468, 3) float64 in cm: MediaPipe's canonical face; x to the viewer's right, y up, z out of the face."""
    with np.load(Path(__file__).parent / "data" / "canonical_face.npz") as data:
        points = data["points"].astype(np.float64)
    points.flags.writeable = False
    return points


def fit_similarity(landmarks: np.ndarray) -> Similarity:
    """Fit the canonical face to landmarks: all 468 points, equal weights (Umeyama, PAMI 1991, equations 40 to 42).

    Args:
        landmarks: (468 or 478, 3): x right, y down, z towards the scene, all three in the same unit.
    """
    face = canonical_face()
    picture = np.asarray(landmarks, np.float64)[: len(face)] * [1.0, -1.0, -1.0]
    face_mean, picture_mean = face.mean(axis=0), picture.mean(axis=0)
    u, singular, vt = np.linalg.svd((picture - picture_mean).T @ (face - face_mean))
    mirror = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * mirror) @ vt
    scale = float((singular * mirror).sum() / ((face - face_mean) ** 2).sum())
    shift = picture_mean - scale * rotation @ face_mean
    rigid = list(RIGID)
    back = (picture[rigid] - shift) @ rotation / scale
    residual = float(np.linalg.norm(back - face[rigid], axis=1).mean())
    return Similarity(rotation, scale, shift, residual)


def eye_line_angle(landmarks: np.ndarray) -> float:
    """The FFHQ alignment's angle in radians (Karras et al., StyleGAN, 2019): positive is clockwise in the picture.

    Its axis is the vector between the eyes plus the mouth's direction turned by a quarter.

    Args:
        landmarks: (478, 2 or more): x right, y down.
    """
    points = np.asarray(landmarks, np.float64)[:, :2]
    left, right = points[list(_EYE_LEFT)].mean(axis=0), points[list(_EYE_RIGHT)].mean(axis=0)
    down = points[list(_MOUTH)].mean(axis=0) - (left + right) / 2
    axis = (right - left) + [down[1], -down[0]]
    return float(np.arctan2(axis[1], axis[0]))


def fit_crop(landmarks: np.ndarray) -> Crop:
    """PanoHead's crop of a face.

    Args:
        landmarks: (478, 3) in pixels of the photo: x right, y down, z towards the scene.
    """
    fit = fit_similarity(landmarks)
    centre = fit.shift + fit.scale * fit.rotation @ ORIGIN
    return Crop(float(centre[0]), float(-centre[1]), SIDE * fit.scale, eye_line_angle(landmarks))


def fit_camera(landmarks: np.ndarray) -> Camera:
    """The camera of an aligned crop.

    Args:
        landmarks: (478, 3) in the crop, so that the crop's own turn is taken off and only the rest of the roll is left.
    """
    return Camera.from_rotation(fit_similarity(landmarks).rotation)
