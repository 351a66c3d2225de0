from pathlib import Path

import numpy as np
import pytest
from headstitch.backend.camera import RADIUS, Camera
from hypothesis import given, settings
from hypothesis import strategies as st

POSES = np.load(Path(__file__).parents[1] / "data" / "pose_eval.npz")
ANGLES = st.tuples(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5), st.floats(-3.1, 3.1))


def test_the_frontal_camera_is_that_of_the_spec():
    camera = Camera.from_angles()
    np.testing.assert_allclose(camera.cam2world[:3, :3], np.diag([1.0, -1.0, -1.0]), atol=1e-12)
    np.testing.assert_allclose(camera.position, [0, 0, 2.7], atol=1e-12)
    np.testing.assert_allclose(camera.label[16:], [4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1], atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(ANGLES)
def test_angles_survive_the_way_through_a_camera(angles):
    np.testing.assert_allclose(Camera.from_angles(*angles).angles, angles, atol=1e-6)


@settings(max_examples=50, deadline=None)
@given(ANGLES)
def test_a_camera_looks_at_the_origin_from_the_sphere(angles):
    camera = Camera.from_angles(*angles)
    np.testing.assert_allclose(np.linalg.norm(camera.position), RADIUS)
    np.testing.assert_allclose(camera.project(np.zeros((1, 3))), [[0.5, 0.5, RADIUS]], atol=1e-9)
    np.testing.assert_allclose(camera.cam2world[:3, :3] @ camera.cam2world[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.cam2world[:3, :3]) > 0


def test_a_label_round_trips():
    label = POSES["labels"][0]
    np.testing.assert_array_equal(Camera.from_label(label).label, label)


def test_a_heads_rotation_gives_the_label_of_the_spec():
    for row in POSES["similarity_fit"]:
        rotation = row[:9].reshape(3, 3)
        world2cam = np.diag([1.0, -1, -1, 1]) @ np.block([[rotation, np.array([[0], [0], [-2.7]])], [np.zeros(3), 1.0]])
        camera = Camera.from_rotation(rotation)
        np.testing.assert_allclose(camera.world2cam, world2cam, atol=1e-12)
        np.testing.assert_allclose(camera.position, 2.7 * rotation.T @ [0, 0, 1], atol=1e-12)


def test_yaw_pitch_and_roll_have_the_signs_of_the_reference():
    cameras = [Camera.from_rotation(row[:9].reshape(3, 3)) for row in POSES["similarity_fit"]]
    np.testing.assert_allclose(np.degrees([camera.angles for camera in cameras]), POSES["fit_ypr"], atol=1e-4)
    # PanoHead's labels; their matrices are not quite orthonormal, so that roll is read off only to about a degree
    labelled = np.degrees([Camera.from_label(label).angles for label in POSES["labels"][:4]])
    np.testing.assert_allclose(labelled[:, :2], POSES["label_ypr"][:4, :2], atol=2e-3)
    np.testing.assert_allclose(labelled[:, 2], POSES["label_ypr"][:4, 2], atol=1.0)


def test_positive_yaw_sees_the_viewers_right_and_positive_pitch_the_top():
    assert Camera.from_angles(yaw=0.5).position[0] > 0
    assert Camera.from_angles(pitch=0.5).position[1] > 0


def test_positive_roll_turns_the_picture_counter_clockwise():
    right_of_centre = Camera.from_angles(roll=0.3).project(np.array([[0.1, 0.0, 0.0]]))[0]
    assert right_of_centre[0] > 0.5
    assert right_of_centre[1] < 0.5  # up: rows count downwards


def test_a_frontal_camera_shows_x_to_the_right_and_y_up():
    column, row, depth = Camera.from_angles().project(np.array([[0.1, 0.2, 0.3]]))[0]
    np.testing.assert_allclose([column, row], [0.5 + 4.2647 * 0.1 / 2.4, 0.5 - 4.2647 * 0.2 / 2.4])
    np.testing.assert_allclose(depth, 2.4)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_rays_go_through_the_centres_of_the_pixels_they_stand_for(size):
    camera = Camera.from_angles(0.4, -0.3, 0.2)
    rays = camera.rays(size)
    assert rays.shape == (size, size, 6)
    assert rays.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rays[..., 3:], axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(rays[..., :3], np.broadcast_to(camera.position, (size, size, 3)), atol=1e-6)
    points = rays[..., :3].astype(np.float64) + 2.5 * rays[..., 3:]
    seen = camera.project(points.reshape(-1, 3))[:, :2].reshape(size, size, 2)
    at = (np.arange(size) + 0.5) / size
    np.testing.assert_allclose(seen, np.stack(np.meshgrid(at, at), axis=-1), atol=1e-5)
