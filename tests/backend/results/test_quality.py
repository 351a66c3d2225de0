"""Each measurement passes on a sane head and fires on a head that is spoiled in just that way."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from headstitch.backend.camera import CENTIMETRE, Camera
from headstitch.backend.meshing.mesh import Mesh, SurfaceReport, TexturedMesh
from headstitch.backend.meshing.surface import report_surface
from headstitch.backend.portrait import faces
from headstitch.backend.portrait.crop import CHIN
from headstitch.backend.portrait.portrait import SIZE, Crop, Portrait
from headstitch.backend.results import quality
from headstitch.backend.results.views import Viewer, vertex_normals


@pytest.fixture(scope="module")
def portrait(painted, tilted):
    """The photo that somebody took of the painted head."""
    view = Viewer(painted).render(tilted, SIZE, "lit", (120, 140, 160))
    landmarks = faces.find_landmarks(view.image)
    assert landmarks is not None
    crop = Crop(SIZE / 2, SIZE / 2, SIZE, 0.0)
    return Portrait(view.image, crop, view.image, view.mask, (landmarks / SIZE).astype(np.float32), tilted, "0" * 64)


@pytest.fixture(scope="module")
def weight(painted, tilted):
    """(F, 3): the photo saw what is turned towards its camera, with a soft border."""
    facing = vertex_normals(painted.mesh) @ (tilted.position / np.linalg.norm(tilted.position))
    return np.clip((facing - 0.1) / 0.5, 0, 1).astype(np.float32)[painted.mesh.faces]


@pytest.fixture(scope="module")
def report(painted, tilted, sound, portrait, weight):
    return quality.measure(painted, tilted, sound, portrait, photo_weight=weight)


def moved(head, change):
    return replace(head, mesh=Mesh(change(head.mesh.vertices).astype(np.float32), head.mesh.faces))


def test_sane_head_passes_everything(report):
    assert report.passed, str(report)
    assert report.unmeasured == ()
    assert report.warnings == ()
    assert [m.name for m in report.measurements] == [
        "landmark_error",
        "silhouette_iou",
        "faces_found",
        "components",
        "holes",
        "watertight",
        "back_roughness",
        "photo_border",
    ]


def test_without_a_photo_all_but_the_likeness_is_measured(painted, tilted, sound, report):
    alone = quality.measure(painted, tilted, sound, None, photo_weight=np.zeros((8000, 3), np.float32))
    unmeasured = ("landmark_error", "silhouette_iou", "photo_border")
    assert tuple(measurement.name for measurement in alone.unmeasured) == unmeasured
    assert all(measurement.reason for measurement in alone.unmeasured)
    for measurement in alone.measurements:
        if measurement.name not in unmeasured:
            assert measurement == report[measurement.name]


def test_sane_head_is_far_from_the_bounds(report):
    assert report["landmark_error"].value < 1.5
    assert report["silhouette_iou"].value > 0.97
    assert report["back_roughness"].value < 2.5
    assert report["photo_border"].value < 7.0


def test_shifted_texture_breaks_the_landmark_error_alone(painted, tilted, sound, portrait, weight):
    shifted = replace(painted, albedo=np.roll(painted.albedo, 22, axis=1))
    report = quality.measure(shifted, tilted, sound, portrait, photo_weight=weight)
    assert [m.name for m in report.failed] == ["landmark_error"], str(report)
    assert "--angles" in report.warnings[0]


def test_shrunken_head_breaks_the_silhouette(painted, tilted, sound, portrait):
    report = quality.measure(moved(painted, lambda v: v * 0.85), tilted, sound, portrait)
    assert report["silhouette_iou"].passed is False
    assert report["silhouette_iou"].value == pytest.approx(0.85**2, abs=0.08)


def test_erased_face_is_not_found_again(painted, tilted, sound, portrait):
    blank = replace(painted, albedo=np.full_like(painted.albedo, 150))
    report = quality.measure(blank, tilted, sound, portrait)
    assert report["faces_found"].value == 0
    assert report["faces_found"].passed is False
    assert "0, +30, -30, +45, -45" in report["faces_found"].warning
    assert report["landmark_error"].passed is False
    assert "No face is found" in report["landmark_error"].warning


def test_mediapipe_itself_finds_no_face_on_a_head_without_one(painted, tilted, sound, portrait):
    # The back of the head where the face should be.
    turned = moved(painted, lambda v: v * np.array([-1, 1, -1]))
    report = quality.measure(turned, tilted, sound, portrait)
    assert report["faces_found"].passed is False
    assert report["landmark_error"].passed is False


def test_a_face_that_is_seen_beside_the_head_does_not_count(painted, tilted, sound, portrait, landmarks):
    def in_the_corner(image):
        return np.zeros((478, 3), np.float32)

    report = quality.measure(painted, tilted, sound, portrait, find_landmarks=in_the_corner)
    assert report["faces_found"].value == 0


@pytest.mark.parametrize(
    ("surface", "neck", "failed"),
    [
        (SurfaceReport(8, 9, 2, 0, True, 0, 4), "closed", ["components"]),
        (SurfaceReport(8, 9, 1, 1, False, 0, 1), "closed", ["holes", "watertight"]),
        (SurfaceReport(8, 9, 1, 1, False, 0, 1), "open", []),
        (SurfaceReport(8, 9, 1, 0, True, 0, 2), "open", ["holes", "watertight"]),
        (SurfaceReport(8, 9, 1, 3, False, 0, -1), "open", ["holes"]),
    ],
)
def test_pieces_and_holes_are_judged_by_what_was_ordered(painted, tilted, portrait, surface, neck, failed):
    report = quality.measure(painted, tilted, surface, portrait, neck=neck, find_landmarks=lambda _: None)
    solid = [m for m in report.measurements if m.name in ("components", "holes", "watertight")]
    assert [m.name for m in solid if m.passed is False] == failed


def test_floating_piece_and_hole_are_told_as_the_surface_stage_counts_them(painted, tilted, portrait):
    def measured(mesh):
        surface = report_surface(mesh, 0)
        uvs = np.zeros((len(mesh.faces), 3, 2), np.float32)
        head = TexturedMesh(mesh, uvs, painted.albedo)
        report = quality.measure(head, tilted, surface, portrait, find_landmarks=lambda _: None)
        return [m.name for m in report.failed if m.name in ("components", "holes", "watertight")]

    vertices, faces = painted.mesh.vertices, painted.mesh.faces
    crumb = np.float32([[0.4, 0, 0], [0.42, 0, 0], [0.4, 0.02, 0], [0.4, 0, 0.02]])
    sides = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32) + len(vertices)
    assert measured(painted.mesh) == []
    assert measured(Mesh(np.concatenate([vertices, crumb]), np.concatenate([faces, sides]))) == ["components"]
    assert measured(Mesh(vertices, faces[(faces != 2000).all(axis=1)])) == ["holes", "watertight"]


def test_noisy_back_breaks_the_roughness(painted, tilted, sound, portrait):
    normals = vertex_normals(painted.mesh)
    noise = np.random.default_rng(0).normal(0, 0.003, (len(normals), 1))
    rear = painted.mesh.vertices[:, 2:] < 0

    noisy = moved(painted, lambda v: v + normals * noise * rear)
    report = quality.measure(noisy, tilted, sound, portrait)
    assert [m.name for m in report.failed] == ["back_roughness"], str(report)
    assert "--smoothing" in report.warnings[0]


def test_roughness_is_that_of_the_back_only(painted):
    normals = vertex_normals(painted.mesh)
    noise = np.random.default_rng(0).normal(0, 0.003, (len(normals), 1))
    front = painted.mesh.vertices[:, 2:] > 0
    sane = quality.back_roughness(Viewer(painted))
    assert quality.back_roughness(Viewer(moved(painted, lambda v: v + normals * noise * front))) == pytest.approx(
        sane, rel=0.01
    )


def test_roughness_of_a_wavy_sheet_is_the_one_computed_by_hand():
    # A displacement a cos(k x) tilts the normal by a k sin(k x), of which the Gaussian leaves the share
    # exp(-(k sigma)^2 / 2); the root mean square of the rest is a k (1 - share) / sqrt(2).
    side, amplitude, wave = 240, 0.002, 2 * np.pi / 0.08
    at = np.linspace(-0.3, 0.3, side)
    x, y = np.meshgrid(at, at)
    z = -0.3 + amplitude * np.cos(wave * x)
    grid = np.arange(side * side).reshape(side, side)
    a, b, c, d = grid[:-1, :-1].ravel(), grid[:-1, 1:].ravel(), grid[1:, 1:].ravel(), grid[1:, :-1].ravel()
    sheet = np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)])  # seen from behind
    vertices = np.stack([x, y, z], -1).reshape(-1, 3)
    far = np.concatenate([vertices, [[0, 0, 0.3], [0, -0.6, 0.3]]]).astype(np.float32)  # the front of this head
    viewer = Viewer(Mesh(far, np.concatenate([sheet, [[side * side, side * side + 1, 0]]]).astype(np.int32)))
    share = np.exp(-((wave * CENTIMETRE) ** 2) / 2)
    expected = np.degrees(amplitude * wave * (1 - share) / np.sqrt(2))
    assert quality.back_roughness(viewer) == pytest.approx(expected, rel=0.05)


def test_hard_colour_step_at_the_photos_border_is_seen(painted, tilted, sound, portrait, weight):
    inside = np.clip(np.median(weight, axis=1), 0, 1) > 0.5
    darker = painted.albedo.copy()
    for triangle in np.round(painted.corner_uvs[~inside] * [1024, -1024] + [0, 1024]).astype(np.int32):
        cv2.fillConvexPoly(darker, triangle, (70, 60, 120))
    report = quality.measure(replace(painted, albedo=darker), tilted, sound, portrait, photo_weight=weight)
    assert [m.name for m in report.failed] == ["photo_border"], str(report)


def test_bad_stretch_is_not_averaged_away(painted, tilted, sound, portrait, weight):
    """A quarter of the border is bad, and the mean, 10.2, would still pass."""
    outside = np.median(weight, axis=1) <= 0.5
    centers = painted.mesh.vertices[painted.mesh.faces].mean(axis=1)
    stretch = outside & (centers[:, 0] > 0) & (np.abs(centers[:, 1]) < 0.1)
    darker = painted.albedo.copy()
    for triangle in np.round(painted.corner_uvs[stretch] * [1024, -1024] + [0, 1024]).astype(np.int32):
        cv2.fillConvexPoly(darker, triangle, (70, 60, 120))
    report = quality.measure(replace(painted, albedo=darker), tilted, sound, portrait, photo_weight=weight)
    assert report["photo_border"].passed is False


def test_step_between_two_flat_colours_is_their_distance_in_lab(ball):
    left = (128, 64, 64)
    right = (64, 64, 128)
    albedo = np.empty((64, 128, 3), np.uint8)
    albedo[:, :64], albedo[:, 64:] = left, right
    centers = ball.mesh.vertices[ball.mesh.faces].mean(1)
    uvs = np.full((len(centers), 3, 2), 0.25, np.float32)
    uvs[centers[:, 0] > 0] = 0.75
    head = replace(ball, albedo=albedo, corner_uvs=uvs)
    weight = np.repeat((centers[:, 0] > 0)[:, None], 3, 1).astype(np.float32)
    lab = cv2.cvtColor(np.float32([[left, right]]) / 255, cv2.COLOR_RGB2LAB)[0]
    measured = quality.photo_border_step(head, weight)
    full = np.linalg.norm(lab[0] - lab[1])
    assert 0.5 * full < measured < full, "vertices on the border hold the mean of both"
    same = replace(head, albedo=np.full_like(albedo, 99))
    assert quality.photo_border_step(same, weight) == pytest.approx(0, abs=1e-3)


def test_without_landmarks_the_comparison_with_the_photo_is_not_measurable(painted, tilted, sound, portrait):
    blind = replace(portrait, landmarks=np.full((478, 3), np.nan, np.float32))
    report = quality.measure(painted, tilted, sound, blind)
    assert [m.name for m in report.unmeasured] == ["landmark_error", "silhouette_iou", "photo_border"]
    assert "by hand" in report["landmark_error"].reason
    assert report["faces_found"].passed is True


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_without_a_border_its_step_is_not_measurable(ball, weight):
    assert quality.photo_border_step(ball, np.full((len(ball.mesh.faces), 3), weight, np.float32)) is None


def test_silhouette_is_compared_only_where_the_crop_shows_the_photo(portrait):
    # The photo ends in the middle of the crop: the matte is 0 to the right, the head is not.
    half = replace(portrait, photo=portrait.photo[:, : SIZE // 2])
    matte = portrait.matte.copy()
    matte[:, SIZE // 2 :] = 0
    assert quality.silhouette_iou(portrait.matte, replace(half, matte=matte)) == 1.0
    assert quality.silhouette_iou(portrait.matte, replace(portrait, matte=matte)) < 0.7


def test_silhouette_below_the_chin_does_not_count(portrait):
    row = int(portrait.landmarks[CHIN, 1] * SIZE)
    matte = portrait.matte.copy()
    matte[row:] = 1 - matte[row:]
    assert quality.silhouette_iou(portrait.matte, replace(portrait, matte=matte)) == 1.0


def test_silhouette_with_nothing_known_is_not_measurable(portrait):
    away = replace(portrait, crop=Crop(5000.0, 5000.0, SIZE, 0.3))
    assert quality.silhouette_iou(portrait.matte, away) is None


def test_landmark_error_is_a_share_of_the_faces_width():
    wanted = np.zeros((478, 3))
    wanted[quality.LEFT_CHEEK] = (0.3, 0.0, 0.4)
    found = wanted.copy()
    found[quality.INNER, :2] += (0.003, 0.004)
    assert quality.landmark_error(found, wanted) == pytest.approx(1.0)


def test_measuring_twice_gives_the_same_numbers(painted, tilted, sound, portrait, weight, report):
    again = quality.measure(painted, tilted, sound, portrait, photo_weight=weight)
    assert again == report


def test_camera_of_the_portrait_is_the_one_that_is_used(painted, sound, portrait):
    report = quality.measure(painted, Camera.from_angles(yaw=-0.25), sound, portrait)
    assert report["landmark_error"].passed is False
