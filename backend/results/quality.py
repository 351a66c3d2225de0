"""Measures a finished head against its photo and against good sense, and warns in plain words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
from scipy.spatial import KDTree

from ..camera import CENTIMETRE, FOCAL, Camera
from ..meshing.mesh import SurfaceReport, TexturedMesh
from ..portrait.crop import known_above_chin
from ..portrait.portrait import SIZE, Portrait
from .report import Measurement, QualityReport
from .views import Viewer, sample, texels_per_unit

FindLandmarks = Callable[[np.ndarray], np.ndarray | None]
"""A picture (H, W, 3) uint8 to landmarks (478, 3) in pixels, or None."""

YAWS = (0, 30, -30, 45, -45)  # degrees from which the face must be found again
RIGHT_CHEEK, LEFT_CHEEK = 234, 454  # of MediaPipe's FaceMesh
# Lips, eyes, eyebrows and nose: the outline of the face slides with the view and is left out.
INNER = np.array(
    [
        *(0, 1, 2, 4, 5, 6, 7, 13, 14, 17, 19, 33, 37, 39, 40, 45, 46, 48, 52, 53, 55, 61, 63, 64, 65, 66, 70, 78, 80),
        *(81, 82, 84, 87, 88, 91, 94, 95, 97, 98, 105, 107, 115, 133, 144, 145, 146, 153, 154, 155, 157, 158, 159, 160),
        *(161, 163, 168, 173, 178, 181, 185, 191, 195, 197, 220, 246, 249, 263, 267, 269, 270, 275, 276, 278, 282, 283),
        *(285, 291, 293, 294, 295, 296, 300, 308, 310, 311, 312, 314, 317, 318, 321, 324, 326, 327, 334, 336, 344, 362),
        *(373, 374, 375, 380, 381, 382, 384, 385, 386, 387, 388, 390, 398, 402, 405, 409, 415, 440, 466),
    ]
)
_GREY = (128, 128, 128)
_NO_LANDMARKS = "the portrait has no landmarks, because its camera was given by hand"
_NO_PORTRAIT = "the head was made again without its photo"


def measure(
    head: TexturedMesh,
    camera: Camera,
    surface: SurfaceReport,
    portrait: Portrait | None,
    *,
    neck: Literal["closed", "open"] = "closed",
    photo_weight: np.ndarray | None = None,
    viewer: Viewer | None = None,
    find_landmarks: FindLandmarks | None = None,
) -> QualityReport:
    """Measure a head.

    Args:
        head: the finished head.
        camera: the photo's, through which the head must look like the portrait.
        surface: counted on the same mesh.
        portrait: what the head was made from; without it, and where its landmarks are NaN, nothing is compared with it.
        neck: whether the neck was to be closed; an open one is a hole that is meant.
        photo_weight: (F, 3) float32 in [0, 1], how much of each corner's colour came from the photo; None: unknown.
        viewer: of the same head, where there is one already.
        find_landmarks: by default ``portrait.faces.find_landmarks``.
    """
    if find_landmarks is None:
        from ..portrait import faces

        find_landmarks = faces.find_landmarks
    viewer = viewer or Viewer(head)
    return QualityReport(
        (
            *_like_the_photo(viewer, camera, portrait, find_landmarks),
            _faces_again(viewer, find_landmarks),
            *_as_a_solid(surface, neck),
            _back(viewer),
            _border(head, photo_weight),
        )
    )


def _like_the_photo(
    viewer: Viewer, camera: Camera, portrait: Portrait | None, find_landmarks: FindLandmarks
) -> tuple[Measurement, Measurement]:
    """Landmarks and silhouette through the photo's own camera."""
    error, overlap, reason, missing = None, None, "", False
    if portrait is None:
        reason = _NO_PORTRAIT
    elif np.isfinite(portrait.landmarks).all():
        front = viewer.render(camera, SIZE, "albedo", _GREY)
        found = find_landmarks(front.image)
        missing = found is None
        error = np.nan if found is None else landmark_error(found / SIZE, portrait.landmarks)
        overlap = silhouette_iou(front.mask, portrait)
    else:
        reason = _NO_LANDMARKS
    return (
        Measurement(
            name="landmark_error",
            title="landmark error of the front view",
            value=error,
            unit="% of the face's width",
            threshold=3.0,
            direction="at most",
            warning=(
                "No face is found in the head seen from the photo's side"
                if missing
                else "The head's eyes, nose and mouth do not lie where the photo has them"
            )
            + "; look at preview.png, and give the pose by hand with --angles if it is wrong.",
            reason=reason,
        ),
        Measurement(
            name="silhouette_iou",
            title="outline above the chin against the photo (IoU)",
            value=overlap,
            unit="",
            threshold=0.85,
            direction="at least",
            warning=(
                "The head's outline differs from the person's above the chin: hair, hats and ears that stand out "
                "are not modelled well; use a photo with the hair tied back, or model the hair in Blender."
            ),
            reason=reason or ("nothing of the photo lies above the chin" if overlap is None else ""),
        ),
    )


def landmark_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Mean distance in the picture between two sets of landmarks (478, 3), over the inner points of the face, in % of
    the wanted face's width (from cheek to cheek in three dimensions, so that turning the head does not shrink it).
    """
    width = np.linalg.norm(wanted[LEFT_CHEEK] - wanted[RIGHT_CHEEK])
    distance = np.linalg.norm(found[INNER, :2] - wanted[INNER, :2], axis=1)
    return float(100 * distance.mean() / width)


def silhouette_iou(mask: np.ndarray, portrait: Portrait) -> float | None:
    """Intersection over union of the head's mask (S, S) with the matte, both cut at 1/2, above the row of the chin and
    only where the crop shows the photo (beside it there is no matte). None where nothing is left to compare.
    """
    known = known_above_chin(portrait, SIZE)
    ours, theirs = (mask > 0.5) & known, (portrait.matte > 0.5) & known
    union = np.count_nonzero(ours | theirs)
    return float(np.count_nonzero(ours & theirs) / union) if union else None


def _faces_again(viewer: Viewer, find_landmarks: FindLandmarks) -> Measurement:
    """From how many of ``YAWS`` a face is found, with at least four fifths of its inner points on the head."""
    lost = []
    for yaw in YAWS:
        view = viewer.render(Camera.from_angles(np.radians(yaw)), SIZE // 2, "albedo", _GREY)
        found = find_landmarks(view.image)
        if found is not None:
            column, row = np.clip(found[INNER, :2].astype(int), 0, SIZE // 2 - 1).T
            if (view.mask[row, column] > 0.5).mean() >= 0.8:
                continue
        lost.append(f"{yaw:+d}" if yaw else "0")
    return Measurement(
        name="faces_found",
        title=f"views in which the face is found again (of {len(YAWS)})",
        value=float(len(YAWS) - len(lost)),
        unit="",
        threshold=float(len(YAWS)),
        direction="at least",
        warning=(
            f"Seen from {', '.join(lost)} degrees the head does not look like a face; its cheeks may be smeared: "
            "use a photo that shows the face from the front."
        ),
    )


def _as_a_solid(surface: SurfaceReport, neck: Literal["closed", "open"]) -> tuple[Measurement, ...]:
    """Pieces, holes and watertightness, as the surface stage counted them."""
    expected = 1 if neck == "open" else 0
    return (
        Measurement(
            name="components",
            title="connected pieces",
            value=float(surface.components),
            unit="",
            threshold=1.0,
            direction="exactly",
            warning=f"The mesh has {surface.components} pieces instead of one; try a higher --resolution, or delete "
            "the loose ones in Blender.",
        ),
        Measurement(
            name="holes",
            title=f"holes ({'one is the open neck' if expected else 'none are wanted'})",
            value=float(surface.holes),
            unit="",
            threshold=float(expected),
            direction="exactly",
            warning=f"The mesh has {surface.holes} holes, wanted were {expected}; try another --resolution, or fill "
            "them in Blender.",
        ),
        Measurement(
            name="watertight",
            title="watertight (1 is yes)",
            value=float(surface.watertight),
            unit="",
            threshold=float(1 - expected),
            direction="exactly",
            warning="The mesh is not closed as it should be, so it cannot be printed; try another --resolution."
            if neck == "closed"
            else "The mesh is closed although an open neck was wanted; try another --resolution.",
        ),
    )


def _back(viewer: Viewer) -> Measurement:
    roughness = back_roughness(viewer)
    return Measurement(
        name="back_roughness",
        title="roughness of the back",
        value=roughness,
        unit="degrees",
        threshold=5.0,
        direction="at most",
        warning="The back of the head is lumpy; raise --smoothing, or sculpt it smooth in Blender.",
        reason="" if roughness is not None else "the back of the head is not seen from behind",
    )


def back_roughness(viewer: Viewer) -> float | None:
    """How lumpy the back of the head is, in degrees; None where it has no back.

    The root mean square, over the pixels of the view from behind, of the angle between the smooth normal and the
    normal averaged around it: angle(n, G n / |G n|), G a Gaussian with a standard deviation of one centimetre on the
    surface. It sees lumps of up to some centimetres, and neither the roundness of the skull nor the size of the
    triangles. Counted are the rear third of the mesh in depth and the upper two thirds in height, two centimetres or
    more from any outline.
    """
    size, focal = 320, 0.8 * FOCAL
    hit, normals, points = viewer.visible_points(Camera.from_angles(np.pi, focal=focal), size)
    low, high = viewer.mesh.vertices.min(0), viewer.mesh.vertices.max(0)
    rear = hit & (points[..., 2] < low[2] + (high[2] - low[2]) / 3) & (points[..., 1] > low[1] + (high[1] - low[1]) / 3)
    if not rear.any():
        return None
    distance = float(np.linalg.norm(points[rear] - Camera.from_angles(np.pi).position, axis=1).mean())
    sigma = CENTIMETRE * size * focal / distance  # pixels
    reach = 2 * int(np.ceil(2 * sigma)) + 1
    inner = cv2.erode(rear.astype(np.uint8), np.ones((reach, reach), np.uint8), borderValue=[0]).astype(bool)
    if not inner.any():
        return None
    mean = cv2.GaussianBlur(normals * rear[..., None], (0, 0), sigma)
    mean /= np.maximum(np.linalg.norm(mean, axis=2, keepdims=True), 1e-12)
    cosine = np.clip((normals * mean).sum(axis=2)[inner], -1, 1)
    return float(np.degrees(np.sqrt(np.mean(np.arccos(cosine) ** 2))))


def _border(head: TexturedMesh, photo_weight: np.ndarray | None) -> Measurement:
    step = None if photo_weight is None else photo_border_step(head, photo_weight)
    if photo_weight is None:
        reason = "it is not known which colours came from the photo"
    else:
        reason = "" if step is not None else "the photo covers all of the head or nothing of it"
    return Measurement(
        name="photo_border",
        title="colour step at the photo's border",
        value=step,
        unit="CIELAB units",
        # Hairlines and the soft edge of stubble give 7 to 11 and are no eyesore; a beard or a lock of hair that ends at
        # the border, which anybody sees, gives 14 and more. A fifth darker at once is about 12.
        threshold=12.0,
        direction="at most",
        warning=(
            "The border between the photo and the invented colours shows; use an evenly lit photo, or paint over the "
            "edge in albedo.png."
        ),
        reason=reason,
    )


def photo_border_step(head: TexturedMesh, photo_weight: np.ndarray) -> float | None:
    """The step in colour across the border of the photo's region, in CIELAB units (Delta E 1976): the one that nine
    tenths of the border keep below, so that a bad stretch counts however good the rest is.

    The border runs where the weight crosses 1/2. Around each of its vertices, within one centimetre (or one and a half
    edges of the mesh), the mean colour of the vertices above 1/2 is compared with that of the others:
    |mean Lab inside - mean Lab outside|. A border that is feathered over some centimetres changes little within one.
    None where there is no border.
    """
    faces, count = head.mesh.faces, len(head.mesh.vertices)
    corners = np.maximum(np.bincount(faces.ravel(), minlength=count), 1)
    weight = np.bincount(faces.ravel(), photo_weight.ravel().astype(np.float64), minlength=count) / corners
    inside = weight > 0.5
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    border = np.unique(edges[inside[edges[:, 0]] != inside[edges[:, 1]]])
    if len(border) == 0:
        return None
    border = border[:: -(-len(border) // 2000)]
    # Texels of about two millimetres: pores and single hairs are no border.
    shrink = max(1.0, texels_per_unit(head) * 0.2 * CENTIMETRE)
    height, width = (max(1, round(side / shrink)) for side in head.albedo.shape[:2])
    albedo = cv2.resize(head.albedo, (width, height), interpolation=cv2.INTER_AREA) if shrink > 1 else head.albedo
    colors = sample(albedo, head.corner_uvs.reshape(-1, 2)).astype(np.float32) / 255
    lab = cv2.cvtColor(colors[None], cv2.COLOR_RGB2LAB)[0]
    lab = np.stack([np.bincount(faces.ravel(), lab[:, axis], minlength=count) for axis in range(3)], axis=1)
    lab /= corners[:, None]
    points = head.mesh.vertices.astype(np.float64)
    edge = float(np.median(np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)))
    around = KDTree(points).query_ball_point(points[border], max(CENTIMETRE, 1.5 * edge))
    steps = []
    for near in around:
        within = inside[near]
        if within.any() and not within.all():
            near = np.asarray(near)
            steps.append(np.linalg.norm(lab[near[within]].mean(axis=0) - lab[near[~within]].mean(axis=0)))
    return float(np.percentile(steps, 90)) if steps else None
