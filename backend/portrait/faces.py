"""Finding faces and their landmarks in any photo: small, turned, cut off, several. The second step of the portrait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from .crop import crop_to_photo, to_photo, warp
from .detectors import Box, detect_boxes, detect_meshes
from .portrait import Crop
from .pose import fit_similarity

MAX_FACES = 20  # looked at in one photo, the largest first

_OVERVIEW = 384  # side of the picture that the detectors get; twice what they see, so that their own reduction is clean
_WINDOW = 384  # side of the picture of one face that FaceMesh gets
_WINDOW_SPAN = 2.0  # its side in sides of the detected box
# The short-range detector's score of a window tells upright faces (0.85 to 0.97) from faces upside down (up to 0.78),
# which FaceMesh would fit without complaint.
_SURE = 0.85
_MARGIN = 0.05  # by how much a turned window must score better
_DOUBTFUL = 0.7  # less is no face: patterns reach 0.62
_SHAKES = ((0.0, 0.8), (0.0, 1.25), (0.2, 1.0), (-0.2, 1.0))  # turn in radians and scale of the window


@dataclass(frozen=True, eq=False)
class Face:
    """One face in a photo."""

    landmarks: np.ndarray  # (478, 3) float64 in pixels of the photo: x right, y down, z towards the scene
    score: float  # of the detector, 0 to 1

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the landmarks in pixels."""
        low, high = self.landmarks[:, :2].min(axis=0), self.landmarks[:, :2].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def size(self) -> float:
        """Pixels: the root of the box's area."""
        left, top, right, bottom = self.box
        return float(np.sqrt((right - left) * (bottom - top)))

    @property
    def width(self) -> float:
        """Pixels from temple to temple, along the face's own width."""
        return float(np.linalg.norm(self.landmarks[454, :2] - self.landmarks[234, :2]))


def find_landmarks(image: np.ndarray) -> np.ndarray | None:
    """The landmarks of the largest face in a picture, or None.

    Args:
        image: (H, W, 3) uint8 RGB, the face upright within some 45 degrees and not much smaller than the picture.

    Returns:
        (478, 3) float32 in pixels: x right, y down, z towards the scene.
    """
    meshes = detect_meshes(image)
    return max(meshes, key=lambda mesh: float(np.prod(np.ptp(mesh[:, :2], axis=0)))) if meshes else None


def find_faces(photo: np.ndarray) -> list[Face]:
    """All faces in a photo, the largest first; empty when there is none.

    Looks at the whole photo; if nothing is found there, with a border around it, turned by 15, 30, 45, 90 and 180
    degrees, and, for small faces, in overlapping quarters and ninths.

    Args:
        photo: (H, W, 3) uint8 RGB.
    """
    for view in _views(photo.shape[0], photo.shape[1]):
        faces = _look(photo, view)
        if faces:
            return sorted(faces, key=lambda face: -face.size)
    return []


def _views(height: int, width: int) -> Iterator[Crop]:
    """Squares of the photo to search, in the order of trying; they may be turned and leave the photo."""
    longest, column, row = max(height, width), width / 2, height / 2
    yield Crop(column, row, longest, 0.0)
    yield Crop(column, row, 1.5 * longest, 0.0)
    for angle in (15, -15, 30, -30, 45, -45, 90, -90, 180):
        yield Crop(column, row, 1.25 * longest, np.radians(angle))
    for parts in (2, 3):
        side = 1.25 * longest / parts
        for i in range(parts):
            for j in range(parts):
                at_column = width * (i + 0.5) / parts
                at_row = height * (j + 0.5) / parts
                yield Crop(at_column, at_row, side, 0.0)


def _look(photo: np.ndarray, view: Crop) -> list[Face]:
    """The faces in one view of the photo."""
    overview = warp(photo, view, _OVERVIEW, border=cv2.BORDER_CONSTANT)
    boxes = [box for full_range in (True, False) for box in detect_boxes(overview, full_range)]
    squares = [_to_square(box, view) for box in _merged(boxes)]
    squares.sort(key=lambda square: -square.side)
    faces: list[Face] = []
    for square in squares[:MAX_FACES]:
        face = _mesh_at(photo, square)
        if face is not None and all(_overlap(face.box, other.box) < 0.3 for other in faces):
            faces.append(face)
    # beside a sure face, a doubtful one is a pattern that only looks like a face
    best = max((face.score for face in faces), default=0.0)
    return [face for face in faces if face.score >= min(best - 0.1, _SURE) or face.score == best]


def _merged(boxes: list[Box]) -> list[Box]:
    """Boxes without those that overlap a better one (non-maximum suppression)."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        if all(_overlap(_edges(box), _edges(other)) < 0.3 for other in kept):
            kept.append(box)
    return kept


def _edges(box: Box) -> tuple[float, float, float, float]:
    left, top = box.column - box.width / 2, box.row - box.height / 2
    return left, top, left + box.width, top + box.height


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def _to_square(box: Box, view: Crop) -> Crop:
    """A detected box of a view as an upright window of the photo."""
    eyes = np.array([box.right_eye, box.left_eye])
    across = eyes[1] - eyes[0]
    centre = crop_to_photo(view) @ [box.column, box.row, 1.0]
    angle = view.angle + float(np.arctan2(across[1], across[0]))
    return Crop(float(centre[0]), float(centre[1]), _WINDOW_SPAN * max(box.width, box.height) * view.side, angle)


def _mesh_at(photo: np.ndarray, square: Crop) -> Face | None:
    """The face in a window of the photo, whichever way up it is; None when there is none after all."""
    best, best_score = square, 0.0
    for quarter in (0, 2, 1, 3):
        turned = Crop(square.column, square.row, square.side, square.angle + quarter * np.pi / 2)
        score = _central_score(warp(photo, turned, _WINDOW))
        if score > best_score + (_MARGIN if quarter else 0.0):
            best, best_score = turned, score
        if best_score >= _SURE:
            break
    if best_score < _DOUBTFUL:
        return None
    landmarks = mesh_in(photo, best)
    return None if landmarks is None else Face(landmarks, best_score)


def _central_score(window: np.ndarray) -> float:
    """The best score of a face that fills the window's centre."""
    scores = [
        box.score for box in detect_boxes(window, full_range=False) if abs(box.column - 0.5) < 0.25 > abs(box.row - 0.5)
    ]
    return max(scores, default=0.0)


def mesh_in(photo: np.ndarray, window: Crop) -> np.ndarray | None:
    """FaceMesh on a window of the photo: the face nearest to its centre, or None.

    Returns:
        (478, 3) float64 in pixels of the photo; z towards the scene.
    """
    landmarks = central_mesh(warp(photo, window, _WINDOW))
    return None if landmarks is None else to_photo(landmarks, window)


def central_mesh(image: np.ndarray) -> np.ndarray | None:
    """The landmarks (478, 3) float64 of the face nearest to the centre of a square picture, in its widths; or None."""
    meshes = [mesh.astype(np.float64) / image.shape[1] for mesh in detect_meshes(image)]
    return min(meshes, key=lambda mesh: float(np.linalg.norm(mesh[:468, :2].mean(axis=0) - 0.5)), default=None)


def unsteadiness(photo: np.ndarray, crop: Crop, landmarks: np.ndarray) -> float:
    """How far FaceMesh's landmarks move when its window is turned and scaled a little: mean distance in cm.

    0.05 to 0.2 for faces turned by up to 45 degrees, 0.4 at 65; infinite when one of the windows shows no face, which
    happens from 75 degrees on, where the fitted yaw itself stalls at about 60.

    Args:
        photo: (H, W, 3) uint8 RGB.
        crop: the aligned crop.
        landmarks: (478, 3) in crop widths.
    """
    here = to_photo(landmarks, crop)
    scale = fit_similarity(here).scale
    moved = []
    for turn, zoom in _SHAKES:
        seen = mesh_in(photo, Crop(crop.column, crop.row, crop.side * zoom, crop.angle + turn))
        if seen is None:
            return float("inf")
        moved.append(np.linalg.norm(seen[:468, :2] - here[:468, :2], axis=1).mean() / scale)
    return float(np.mean(moved))
