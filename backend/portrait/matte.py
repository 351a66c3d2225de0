"""The matte: which part of the aligned crop is the person, as MediaPipe's selfie segmentation sees it."""

from __future__ import annotations

import cv2
import numpy as np

from .detectors import segment_person

# The network is unsure, not half transparent, outside of this band: stretching it takes the haze off the corners.
_LOW, _HIGH = 0.3, 0.7
_SMOOTH = 1.5  # pixels of a 512 px crop: the network answers at 256, whose steps would show along the hair
_CONNECTED = 0.25  # a matte above this joins regions

FACE_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
FACE_OVAL = (*FACE_OVAL, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)


def make_matte(image: np.ndarray, landmarks: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Cut the person out of a crop.

    Args:
        image: (S, S, 3) uint8 sRGB.
        landmarks: (478, 2 or more) in crop widths; NaN when there are none: the crop's centre then stands for the face.
        inside: (S, S) float32 in [0, 1]: how much of each pixel the photo shows (0 outside of it, its alpha within).

    Returns:
        (S, S) float32 in [0, 1]: 1 = the person whose face it is. The face itself is always 1 where ``inside`` is.
    """
    size = image.shape[0]
    sure = cv2.GaussianBlur(segment_person(image), (0, 0), _SMOOTH * size / 512)
    matte = np.clip((sure - _LOW) / (_HIGH - _LOW), 0, 1)
    face = _face_mask(landmarks, size)
    connected = _connected(np.maximum(matte, face) * (inside > 0), face)
    if np.isfinite(landmarks).all():
        matte = np.maximum(matte, face)
    return (matte * connected * inside).astype(np.float32)


def _face_mask(landmarks: np.ndarray, size: int) -> np.ndarray:
    """(S, S) float32: the face's oval, antialiased; a disc at the centre when there are no landmarks."""
    oval = np.asarray(landmarks, np.float64)[list(FACE_OVAL), :2]
    if not np.isfinite(oval).all():
        turn = np.linspace(0, 2 * np.pi, 32, endpoint=False)
        oval = 0.5 + 0.15 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    mask = np.zeros((size, size), np.uint8)
    bits = 4  # OpenCV's fixed-point fractions of a pixel; it counts from pixel centres
    points = np.round((oval * size - 0.5) * 2**bits).astype(np.int32)
    cv2.fillPoly(mask, [points], (255,), lineType=cv2.LINE_AA, shift=bits)
    return mask.astype(np.float32) / 255


def _connected(matte: np.ndarray, face: np.ndarray) -> np.ndarray:
    """(S, S) float32: 1 on the regions of the matte that touch the face, and on the soft rim around them."""
    _, labels = cv2.connectedComponents((matte > _CONNECTED).astype(np.uint8))
    touched = np.unique(labels[face > 0.5])
    kept = np.isin(labels, touched[touched > 0]).astype(np.uint8)
    return cv2.dilate(kept, np.ones((7, 7), np.uint8)).astype(np.float32)
