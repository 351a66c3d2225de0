"""What is measured on a head against its ground truth, each one function over arrays. docs/evaluation.md tells why.

Nothing is aligned before it is measured: prediction and truth both lie in PanoHead's world, and a head in the wrong
place is a wrong head. Lengths come out in % of the head's height, angles in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import KDTree

from ..geometry import as_tensor, make_scene
from ..meshing.mesh import Mesh, TexturedMesh, vertex_normals
from ..results.quality import INNER, LEFT_CHEEK, RIGHT_CHEEK
from ..results.views import sample

SAMPLES = 40_000  # points on the predicted surface


@dataclass(frozen=True, eq=False)
class Nearest:
    """Where the predicted surface is nearest to each of N points."""

    points: np.ndarray  # (N, 3) float32 on the surface
    normals: np.ndarray  # (N, 3) float32 unit, smooth
    faces: np.ndarray  # (N,) int64
    weights: np.ndarray  # (N, 3) float32, barycentric
    distances: np.ndarray  # (N,) float64, world units


def find_nearest(mesh: Mesh, points: np.ndarray) -> Nearest:
    """The nearest place of the surface itself, not of its vertices, to each of ``points`` (N, 3)."""
    points = np.asarray(points, np.float32).reshape(-1, 3)
    answer = make_scene(mesh.vertices, mesh.faces).compute_closest_points(as_tensor(points))
    faces = answer["primitive_ids"].numpy().astype(np.int64)
    second = answer["primitive_uvs"].numpy()
    weights = np.column_stack([1 - second.sum(axis=1), second]).astype(np.float32)
    normals = np.einsum("nk,nkc->nc", weights, vertex_normals(mesh)[mesh.faces[faces]])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    there = answer["points"].numpy()
    distances = np.linalg.norm(there.astype(np.float64) - points, axis=1)
    return Nearest(there, normals, faces, weights, distances)


def sample_surface(mesh: Mesh, count: int = SAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """``count`` points (count, 3) float32 evenly spread over the surface, and the face (count,) of each.

    The same mesh gives the same points: they are stratified by area, with offsets from a fixed seed.
    """
    corners = mesh.vertices.astype(np.float64)[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    ends = np.cumsum(area)
    random = np.random.default_rng(0)
    at = (np.arange(count) + random.random(count)) / count * ends[-1]
    faces = np.minimum(np.searchsorted(ends, at, side="right"), len(ends) - 1)
    root, along = np.sqrt(random.random(count)), random.random(count)
    weights = np.stack([1 - root, root * (1 - along), root * along], axis=1)
    return np.einsum("nk,nkc->nc", weights, corners[faces]).astype(np.float32), faces


def chamfer(to_prediction: np.ndarray, to_truth: np.ndarray, head_height: float) -> float | None:
    """Symmetric chamfer distance, 100 * (mean(to_prediction) + mean(to_truth)) / 2 / head_height, in %.

    Args:
        to_prediction: (N,) distances of the truth's points to the predicted surface, world units.
        to_truth: (M,) distances of points of the predicted surface to the nearest of the truth's points.
        head_height: world units.

    Returns:
        None where one of the two sides has no points.
    """
    if len(to_prediction) == 0 or len(to_truth) == 0:
        return None
    return float(50 * (to_prediction.mean() + to_truth.mean()) / head_height)


def chamfer_floor(points: np.ndarray, head_height: float) -> float | None:
    """What ``chamfer`` gives for the very surface that ``points`` (N, 3) are a sample of, in %.

    50 * (mean distance of a point to the nearest other one) / head_height; of N points strewn over an area A that is
    about 25 * sqrt(A / N) / head_height. None for fewer than two points.
    """
    if len(points) < 2:
        return None
    distance, _ = KDTree(points).query(points, k=2)
    return float(50 * distance[:, 1].mean() / head_height)


def mean_distance(distances: np.ndarray, head_height: float) -> float | None:
    """100 * mean(distances) / head_height, in %, of distances (N,) in world units; None where there are none."""
    return float(100 * distances.mean() / head_height) if len(distances) else None


def point_to_plane(points: np.ndarray, normals: np.ndarray, nearest: np.ndarray, head_height: float) -> float | None:
    """100 * mean |(nearest - point) . normal| / head_height, in %: how far the surface lies off the truth's planes.

    Sliding along the surface costs nothing.

    Args:
        points: (N, 3) of the truth, world units.
        normals: (N, 3) unit normals of the truth there.
        nearest: (N, 3) nearest places of the predicted surface.
        head_height: world units.

    Returns:
        None where there are no points.
    """
    if len(points) == 0:
        return None
    offset = np.asarray(nearest, np.float64) - points
    return float(100 * np.abs((offset * normals).sum(axis=1)).mean() / head_height)


def normal_angle(normals: np.ndarray, others: np.ndarray) -> float | None:
    """Mean angle between unit normals (N, 3) and (N, 3), in degrees, 0 to 180; None where there are none."""
    if len(normals) == 0:
        return None
    one, other = np.asarray(normals, np.float64), np.asarray(others, np.float64)
    # More exact than the arc cosine for small angles.
    across = np.linalg.norm(np.cross(one, other), axis=1)
    return float(np.degrees(np.arctan2(across, (one * other).sum(axis=1))).mean())


def color_at(head: TexturedMesh, nearest: Nearest) -> np.ndarray:
    """(N, 3) uint8 sRGB of the albedo at the nearest places."""
    uvs = np.einsum("nk,nkc->nc", nearest.weights, head.corner_uvs[nearest.faces])
    return sample(head.albedo, uvs)


def color_error(colors: np.ndarray, others: np.ndarray) -> float | None:
    """Mean distance in CIELAB (Delta E 1976, D65) of sRGB colours (N, 3) uint8 and (N, 3) uint8.

    None where there are none.
    """
    if len(colors) == 0:
        return None
    return float(np.linalg.norm(to_lab(colors) - to_lab(others), axis=1).mean())


def to_lab(colors: np.ndarray) -> np.ndarray:
    """(N, 3) float32 CIELAB, L in [0, 100], of sRGB (N, 3) uint8."""
    return cv2.cvtColor((colors[None] / 255).astype(np.float32), cv2.COLOR_RGB2LAB)[0]


def landmark_error(found: np.ndarray, wanted: np.ndarray, face_width: float) -> float:
    """Mean distance in the picture between two sets of landmarks (478, 2 or more), over the 116 inner points of the
    face (eyes, brows, nose and mouth), in % of the face's width.

    Args:
        found: in the picture of the prediction, image widths.
        wanted: of the truth through the same camera, image widths.
        face_width: image widths; see ``face_width``.
    """
    distance = np.linalg.norm(found[INNER, :2] - wanted[INNER, :2], axis=1)
    return float(100 * distance.mean() / face_width)


def face_width(landmarks: np.ndarray, focal: float, distance: float) -> float:
    """The width of the face from cheek to cheek (landmarks 234 and 454 of (478, 3), world units) in image widths.

    It is measured in three dimensions, so that turning the head does not shrink it.

    Args:
        landmarks: (478, 3) world units.
        focal: in image widths.
        distance: of the face from the camera along the view axis, world units.
    """
    return float(np.linalg.norm(landmarks[LEFT_CHEEK] - landmarks[RIGHT_CHEEK]) * focal / distance)


def iou(one: np.ndarray, other: np.ndarray, counted: np.ndarray | None = None) -> float | None:
    """|A and B| / |A or B| of two bool masks of one shape, over the ``counted`` pixels; None where neither is."""
    both, either = overlap(one, other, counted)
    return both / either if either else None


def overlap(one: np.ndarray, other: np.ndarray, counted: np.ndarray | None = None) -> tuple[int, int]:
    """(|A and B|, |A or B|) in pixels, as ``iou`` counts them; such counts of several pictures can be added up."""
    counted = np.ones_like(one, bool) if counted is None else counted
    return int(np.count_nonzero(one & other & counted)), int(np.count_nonzero((one | other) & counted))
