"""Square, possibly turned cuts out of a photo, and the way between their coordinates and the photo's.

Coordinates are continuous: (0, 0) is the outer corner of the top left pixel, whose centre lies at (0.5, 0.5). A crop's
own coordinates are crop widths, from (0, 0) at its top left corner to (1, 1) at its bottom right one, the same as
``Camera.project`` gives.
"""

from __future__ import annotations

import cv2
import numpy as np

from .portrait import Crop, Portrait

CHIN = 152  # of MediaPipe's FaceMesh
_TOLERATED = 0.2  # a crop barely larger than its picture is sampled once a pixel: four times the work would not show


def crop_to_photo(crop: Crop) -> np.ndarray:
    """(2, 3) affine matrix from crop widths to pixels of the photo."""
    cos, sin = np.cos(crop.angle), np.sin(crop.angle)
    linear = crop.side * np.array([[cos, -sin], [sin, cos]])
    return np.concatenate([linear, (np.array([crop.column, crop.row]) - linear @ [0.5, 0.5])[:, None]], axis=1)


def to_photo(points: np.ndarray, crop: Crop) -> np.ndarray:
    """Points (N, 2) or (N, 3) in crop widths to pixels of the photo; a third coordinate is a depth and only scales."""
    matrix = crop_to_photo(crop)
    result = np.asarray(points, np.float64).copy()
    result[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    result[:, 2:] *= crop.side
    return result


def to_crop(points: np.ndarray, crop: Crop) -> np.ndarray:
    """The inverse of ``to_photo``."""
    matrix = crop_to_photo(crop)
    result = np.asarray(points, np.float64).copy()
    result[:, :2] = (points[:, :2] - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    result[:, 2:] /= crop.side
    return result


def warp(photo: np.ndarray, crop: Crop, size: int, border: int = cv2.BORDER_REFLECT) -> np.ndarray:
    """Cut a crop out of the photo at any size, without aliasing.

    Args:
        photo: (H, W) or (H, W, 3) uint8 or float32.
        crop: where; may leave the photo.
        size: side of the result in pixels.
        border: OpenCV's border mode for what lies outside the photo: reflected, or ``cv2.BORDER_CONSTANT`` for zeros.

    Returns:
        (size, size) or (size, size, 3), of the photo's type.
    """
    step = crop.side / size  # pixels of the photo to one of the result
    shrink = max(1, int(step // 2))  # a whole number, so that every block is averaged exactly
    if shrink > 1:
        photo, crop = _shrunk(photo, crop, shrink)
        step = crop.side / size
    # Sample no coarser than the photo's own pixels, then average: a box filter over each pixel of the result.
    fine = max(1, int(np.ceil(step - _TOLERATED)))
    matrix = crop_to_photo(crop) / np.array([size * fine, size * fine, 1.0])
    # OpenCV counts from pixel centres: x_cv = x - 0.5 on both sides
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    sampled = cv2.warpAffine(photo, matrix, (size * fine, size * fine), flags=flags, borderMode=border)
    if fine == 1:
        return sampled
    return cv2.resize(sampled, (size, size), interpolation=cv2.INTER_AREA)


def coverage(shape: tuple[int, ...], crop: Crop, size: int) -> np.ndarray:
    """(size, size) float32: 1 where the crop shows the photo, whose shape begins (H, W), and 0 outside of it."""
    height, width = shape[:2]
    at = (np.arange(size) + 0.5) / size
    points = to_photo(np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2), crop)
    depth = np.concatenate([points, [width, height] - points], axis=1).min(axis=1) / (crop.side / size)
    return np.clip(depth + 0.5, 0, 1).reshape(size, size).astype(np.float32)


def known_above_chin(portrait: Portrait, size: int) -> np.ndarray:
    """(size, size) bool: where the crop shows the photo (beside it there is no matte), above the row of the chin.

    The portrait's landmarks must be known.
    """
    known = coverage(portrait.photo.shape, portrait.crop, size) >= 0.5
    known[max(0, int(np.floor(portrait.landmarks[CHIN, 1] * size))) :] = False
    return known


def _shrunk(photo: np.ndarray, crop: Crop, shrink: int) -> tuple[np.ndarray, Crop]:
    """The part of the photo around the crop, averaged over blocks of ``shrink`` pixels, and the crop in it."""
    corners = to_photo(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), crop)
    margin = 4 * shrink
    height, width = photo.shape[:2]
    left, top = np.floor(corners.min(axis=0)).astype(int) - margin
    right, bottom = np.ceil(corners.max(axis=0)).astype(int) + margin
    if left < 0 or top < 0 or right > width or bottom > height:
        left, top, right, bottom = 0, 0, width, height  # keep the true border, where the reflection begins
    part = photo[top:bottom, left:right]
    rows, columns = part.shape[0] // shrink, part.shape[1] // shrink
    if min(rows, columns) == 0:
        return photo, crop
    small = cv2.resize(part[: rows * shrink, : columns * shrink], (columns, rows), interpolation=cv2.INTER_AREA)
    moved = Crop((crop.column - left) / shrink, (crop.row - top) / shrink, crop.side / shrink, crop.angle)
    return small, moved
