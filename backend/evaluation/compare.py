"""One predicted head against its ground truth: the regions, what the photo sees of them, and all metrics at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import open3d as o3d
from scipy.spatial import ConvexHull, Delaunay, KDTree

from ..camera import Camera
from ..geometry import as_tensor, make_scene
from ..meshing.mesh import Mesh, TexturedMesh
from ..portrait.crop import CHIN
from ..portrait.portrait import SIZE
from ..results.quality import LEFT_CHEEK, RIGHT_CHEEK
from ..results.views import Viewer
from . import metrics
from .truth import GroundTruth, Part

FindLandmarks = Callable[[np.ndarray], np.ndarray | None]
"""A picture (H, W, 3) uint8 to landmarks (478, 3) in pixels, or None."""

NECK = 0.1  # head heights below the chin where everything is cut
HAIR_YAWS = (0, 90, -90, 180)  # degrees
OUTLINE = 384  # pixels along the side of the pictures of outlines
LITTLE_HAIR = 0.01  # of the head's own outline; less hair beyond the skull has no outline worth comparing
_IN_SIGHT = 0.003  # world units (1.3 mm) that a point may lie behind what hides it; samples lie on hulls of voxels
_GREY = (128, 128, 128)


@dataclass(frozen=True)
class Metric:
    """One column of the table."""

    name: str  # key in the JSON
    title: str  # head of the column
    unit: str
    digits: int = 2
    better: str = "lower"


METRICS = (
    Metric("chamfer", "chamfer", "% of head height"),
    Metric("face_distance", "face dist", "% of head height"),
    Metric("face_normals", "face norm", "degrees", 1),
    Metric("hair_distance", "hair", "% of head height"),
    Metric("hair_iou", "hair IoU", "", 3, "higher"),
    Metric("color", "colour", "Delta E 1976", 1),
    Metric("landmarks", "landmarks", "% of face width"),
    Metric("silhouette_iou", "outline", "IoU", 3, "higher"),
)
HALVES = ("chamfer", "hair_distance", "hair_iou", "color")
"""Those that are measured once more on what the photo sees and on what it hides: NAME_seen and NAME_hidden."""


def measure_head(
    head: TexturedMesh, truth: GroundTruth, camera: Camera, find_landmarks: FindLandmarks | None = None
) -> dict[str, float | None]:
    """Every metric of one head; None where there is nothing to measure it on. docs/evaluation.md has the formulas.

    Args:
        head: the prediction, in the truth's world.
        truth: what the head is.
        camera: of the photo.
        find_landmarks: by default ``portrait.faces.find_landmarks``.
    """
    if find_landmarks is None:
        from ..portrait import faces

        find_landmarks = faces.find_landmarks
    viewer = Viewer(head)
    return {
        **_surface(head, truth, camera),
        **_hair_outlines(viewer, truth, camera),
        **_through_the_camera(viewer, truth, camera, find_landmarks),
    }


def solid(truth: GroundTruth) -> Mesh:
    """Body and hair as one mesh, of which only the outside is to be looked at."""
    if truth.hair is None:
        return truth.body
    vertices = np.concatenate([truth.body.vertices, truth.hair.vertices]).astype(np.float32)
    faces = np.concatenate([truth.body.faces, truth.hair.faces + len(truth.body.vertices)])
    return Mesh(vertices, faces.astype(np.int32))


def is_seen(points: np.ndarray, mesh: Mesh, camera: Camera) -> np.ndarray:
    """(N,) bool: whether nothing of the mesh hides the points (N, 3) from the camera, and its picture holds them."""
    at = camera.project(points)
    within = ((at[:, :2] > 0) & (at[:, :2] < 1)).all(axis=1) & (at[:, 2] > 0)
    return within & _reached(points, make_scene(mesh.vertices, mesh.faces), camera.position)


def is_outer(points: np.ndarray, mesh: Mesh) -> np.ndarray:
    """(N,) bool: whether the points (N, 3) are seen from anywhere around the mesh: from 8 sides at 4 heights.

    What lies deep in the mouth, behind the eyelids or under the hair is not.
    """
    scene = make_scene(mesh.vertices, mesh.faces)
    outer = np.zeros(len(points), bool)
    for pitch in (-30, 0, 30, 70):
        for yaw in range(0, 360, 45):
            left = np.flatnonzero(~outer)
            place = Camera.from_angles(np.radians(yaw), np.radians(pitch)).position
            outer[left] = _reached(points[left], scene, place)
    return outer


def _reached(points: np.ndarray, scene: o3d.t.geometry.RaycastingScene, place: np.ndarray) -> np.ndarray:
    """(N,) bool: whether rays from a place (3,) reach the points (N, 3)."""
    way = (points - place).astype(np.float32)
    length = np.linalg.norm(way, axis=1)
    rays = np.empty((len(way), 6), np.float32)
    rays[:, :3], rays[:, 3:] = place, way / length[:, None]
    return scene.cast_rays(as_tensor(rays))["t_hit"].numpy() > length - _IN_SIGHT


def face_region(truth: GroundTruth) -> np.ndarray:
    """(N,) bool of the truth's points: no hair and no clothes, before the cheeks' landmarks (234 and 454), and within
    the convex hull of all landmarks as seen from the front.
    """
    landmarks = np.asarray(truth.landmarks, np.float64)
    hull = landmarks[ConvexHull(landmarks[:, :2]).vertices, :2]
    within = Delaunay(hull).find_simplex(np.asarray(truth.points[:, :2], np.float64)) >= 0
    before = truth.points[:, 2] > landmarks[[LEFT_CHEEK, RIGHT_CHEEK], 2].mean()
    return within & before & ~np.isin(truth.labels, (Part.HAIR, Part.CLOTHES))


def neck_height(truth: GroundTruth) -> float:
    """The world height under which nothing is measured: a tenth of the head's height below the chin."""
    return float(truth.landmarks[CHIN, 1] - NECK * truth.head_height)


def _surface(head: TexturedMesh, truth: GroundTruth, camera: Camera) -> dict[str, float | None]:
    """Distances, normals and colours over the truth's points and samples of the prediction."""
    cut, height = neck_height(truth), truth.head_height
    whole = solid(truth)
    outer = is_outer(truth.points, whole)
    points, normals = np.asarray(truth.points, np.float32)[outer], truth.normals[outer]
    colors, labels = truth.colors[outer], truth.labels[outer]
    above = points[:, 1] > cut
    nearest = metrics.find_nearest(head.mesh, points)
    seen = is_seen(points, whole, camera)
    samples, _ = metrics.sample_surface(head.mesh)
    samples = samples[samples[:, 1] > cut]
    # Where the nearest of the truth's points is seen, so is the sample: the halves are the truth's.
    to_truth, partner = KDTree(points).query(samples)
    hair, face = above & (labels == Part.HAIR), above & face_region(truth)[outer]
    painted = above & (labels != Part.CLOTHES)
    color = metrics.color_at(head, nearest)
    found = {
        "chamfer_floor": metrics.chamfer_floor(points[above], height),
        "face_distance": metrics.point_to_plane(points[face], normals[face], nearest.points[face], height),
        "face_normals": metrics.normal_angle(normals[face], nearest.normals[face]),
    }
    every = np.ones(len(points), bool)
    for suffix, half in (("", every), ("_seen", seen), ("_hidden", ~seen)):
        found[f"chamfer{suffix}"] = metrics.chamfer(nearest.distances[above & half], to_truth[half[partner]], height)
        found[f"hair_distance{suffix}"] = metrics.mean_distance(nearest.distances[hair & half], height)
        found[f"color{suffix}"] = metrics.color_error(colors[painted & half], color[painted & half])
    return found


def _hair_outlines(viewer: Viewer, truth: GroundTruth, camera: Camera) -> dict[str, float | None]:
    """IoU of what stands out beyond the bald head, from four sides and on both halves."""
    names = [f"hair_iou_{yaw}" for yaw in HAIR_YAWS]
    found: dict[str, float | None] = dict.fromkeys([*names, "hair_iou", "hair_iou_seen", "hair_iou_hidden"])
    if truth.hair is None:
        return found
    whole, cut = solid(truth), neck_height(truth)
    bald, true, ours = (
        make_scene(truth.body.vertices, truth.body.faces),
        make_scene(whole.vertices, whole.faces),
        (make_scene(viewer.mesh.vertices, viewer.mesh.faces)),
    )
    totals = {half: np.zeros(2, int) for half in ("", "_seen", "_hidden")}
    for yaw, name in zip(HAIR_YAWS, names, strict=True):
        rays = Camera.from_angles(np.radians(yaw)).rays(OUTLINE)
        depths = [scene.cast_rays(as_tensor(rays))["t_hit"].numpy() for scene in (bald, true, ours)]
        # A pixel above the cut: by the truth's surface where it is there, else by the prediction's.
        depth = np.where(np.isfinite(depths[1]), depths[1], depths[2])
        covered = np.isfinite(depth)
        place = rays[..., :3] + np.where(covered, depth, 0)[..., None] * rays[..., 3:]
        counted = covered & (place[..., 1] > cut)
        skull, hairy, predicted = (np.isfinite(each) for each in depths)
        beyond, predicted = hairy & ~skull, predicted & ~skull
        if np.count_nonzero(beyond & counted) < LITTLE_HAIR * np.count_nonzero(skull & counted):
            continue
        found[name] = metrics.iou(beyond, predicted, counted)
        seen = np.zeros_like(counted)
        for surface, mask in ((whole, hairy & counted), (viewer.mesh, ~hairy & counted)):
            seen[mask] = is_seen(place[mask], surface, camera)
        for suffix, half in (("", counted), ("_seen", counted & seen), ("_hidden", counted & ~seen)):
            totals[suffix] += metrics.overlap(beyond, predicted, half)
    for suffix, (both, either) in totals.items():
        found[f"hair_iou{suffix}"] = float(both / either) if either else None
    return found


def _through_the_camera(
    viewer: Viewer, truth: GroundTruth, camera: Camera, find_landmarks: FindLandmarks
) -> dict[str, float | None]:
    """Landmarks and outline in the photo's own view."""
    wanted = camera.project(truth.landmarks)
    view = viewer.render(camera, SIZE, "albedo", _GREY)
    found = find_landmarks(view.image)
    width = metrics.face_width(truth.landmarks, float(camera.intrinsics[0, 0]), float(wanted[:, 2].mean()))
    above = (np.arange(SIZE) + 0.5)[:, None] / SIZE < wanted[CHIN, 1]
    true = Viewer(solid(truth)).render(camera, SIZE, "normals").mask > 0.5
    return {
        "landmarks": None if found is None else metrics.landmark_error(found / SIZE, wanted, width),
        "silhouette_iou": metrics.iou(view.mask > 0.5, true, np.broadcast_to(above, true.shape)),
    }
