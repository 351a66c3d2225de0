"""MediaPipe's graphs, loaded once per process and kept warm: face boxes, face landmarks, person segmentation.

MediaPipe is imported on first use. All calls go through one lock: its graphs are not made for several threads.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

DETECTION_CONFIDENCE = 0.3
_MAX_MESHES = 3  # faces that FaceMesh may return from one window; the nearest to its centre is taken

_graphs: dict[str, Any] = {}
_quiet: set[str] = set()  # graphs that have said all they say
_lock = threading.RLock()

# What MediaPipe and what it imports print to stderr when they start; anything else is passed on.
_CHATTER = re.compile(
    rb"Matplotlib is building the font cache|INFO: Created TensorFlow Lite|"
    rb"WARNING: All log messages before absl::InitializeLog|"
    rb"[IW]\d{4} .*(inference_feedback_manager|landmark_projection_calculator|gl_context|egl)|^\s*$"
)


@dataclass(frozen=True)
class Box:
    """A detected face, in units of the picture's width and height."""

    column: float  # centre
    row: float
    width: float
    height: float
    right_eye: tuple[float, float]  # the person's right eye: left in the picture
    left_eye: tuple[float, float]
    score: float  # 0 to 1


def detect_boxes(image: np.ndarray, full_range: bool) -> list[Box]:
    """Faces in an (H, W, 3) uint8 RGB picture: the full-range model is for small faces, the other for large ones."""
    with _lock:
        found = _graph("full_range" if full_range else "short_range").process(np.ascontiguousarray(image)).detections
    boxes = []
    for detection in found or []:
        place, eyes = detection.location_data.relative_bounding_box, detection.location_data.relative_keypoints
        boxes.append(
            Box(
                place.xmin + place.width / 2,
                place.ymin + place.height / 2,
                place.width,
                place.height,
                (eyes[0].x, eyes[0].y),
                (eyes[1].x, eyes[1].y),
                detection.score[0],
            )
        )
    return boxes


def detect_meshes(image: np.ndarray) -> list[np.ndarray]:
    """FaceMesh on an (H, W, 3) uint8 RGB picture: (478, 3) float32 for each face, in pixels, z towards the scene."""
    with _lock:
        graph = _graph("mesh")
        # its landmark model starts, and prints, with the first face
        with nullcontext() if "mesh" in _quiet else _without_chatter():
            found = graph.process(np.ascontiguousarray(image)).multi_face_landmarks
        if found:
            _quiet.add("mesh")
    height, width = image.shape[:2]
    unit = np.array([width, height, width], np.float32)
    return [np.array([(p.x, p.y, p.z) for p in face.landmark], np.float32) * unit for face in found or []]


def segment_person(image: np.ndarray) -> np.ndarray:
    """(H, W) float32 in [0, 1]: how surely each pixel of an (H, W, 3) uint8 RGB picture belongs to a person."""
    with _lock:
        mask = _graph("segmentation").process(np.ascontiguousarray(image)).segmentation_mask
        return np.array(mask, np.float32).reshape(image.shape[:2])


def close_detectors() -> None:
    """Free every graph; the next call loads it again."""
    with _lock:
        while _graphs:
            _graphs.popitem()[1].close()
        _quiet.clear()


def _graph(name: str) -> Any:
    with _lock:
        if name not in _graphs:
            with _without_chatter():
                _graphs[name] = _load(name)
        return _graphs[name]


def _load(name: str) -> Any:
    from mediapipe.python.solutions import face_detection, face_mesh, selfie_segmentation

    if name == "mesh":
        graph = face_mesh.FaceMesh(
            static_image_mode=True,
            max_num_faces=_MAX_MESHES,
            refine_landmarks=True,
            min_detection_confidence=DETECTION_CONFIDENCE,
        )
    elif name == "segmentation":
        graph = selfie_segmentation.SelfieSegmentation(model_selection=0)
    else:
        graph = face_detection.FaceDetection(
            model_selection=int(name == "full_range"), min_detection_confidence=DETECTION_CONFIDENCE
        )
    graph.process(np.zeros((256, 256, 3), np.uint8))  # the models load, and print, with the first picture
    return graph


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Hold back what C++ code writes to stderr, then pass on all of it that is not known chatter."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        real = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            held.seek(0)
            for line in held.read().splitlines(keepends=True):
                if not _CHATTER.search(line):
                    os.write(real, line)
            os.close(real)
