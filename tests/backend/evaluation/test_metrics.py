"""Each metric on cases whose answers are known."""

import numpy as np
import pytest
from headstitch.backend.evaluation import metrics
from headstitch.backend.meshing.mesh import Mesh
from scipy.spatial import KDTree

SQUARE = Mesh(
    np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], np.float32), np.array([[0, 1, 2], [0, 2, 3]], np.int32)
)


def test_the_nearest_place_is_on_the_surface_and_not_at_a_vertex():
    nearest = metrics.find_nearest(SQUARE, np.array([[0.2, 0.3, 0.5], [2.0, 0.0, 0.0]]))
    np.testing.assert_allclose(nearest.points, [[0.2, 0.3, 0], [1, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(nearest.distances, [0.5, 1.0], atol=1e-6)
    np.testing.assert_allclose(nearest.normals, [[0, 0, 1], [0, 0, 1]], atol=1e-6)
    corners = SQUARE.vertices[SQUARE.faces[nearest.faces]]
    np.testing.assert_allclose(np.einsum("nk,nkc->nc", nearest.weights, corners), nearest.points, atol=1e-6)


def test_samples_lie_evenly_on_the_surface_and_are_the_same_every_time():
    samples, faces = metrics.sample_surface(SQUARE, 10_000)
    again, _ = metrics.sample_surface(SQUARE, 10_000)
    assert np.array_equal(samples, again)
    assert np.all(samples[:, 2] == 0)
    assert set(faces) == {0, 1}
    counts, _, _ = np.histogram2d(samples[:, 0], samples[:, 1], bins=4, range=[[-1, 1], [-1, 1]])
    assert counts.min() > 500  # of 625
    assert counts.max() < 750


def test_chamfer_of_two_balls_is_the_difference_of_their_radii(shapes):
    ball, _, directions = shapes
    points = directions(5000) * 0.25
    larger = ball(0.27)
    samples, _ = metrics.sample_surface(larger, 5000)
    to_truth, _ = KDTree(points).query(samples)
    value = metrics.chamfer(metrics.find_nearest(larger, points).distances, to_truth, 0.5)
    assert value == pytest.approx(100 * 0.02 / 0.5, rel=0.03)


def test_chamfer_is_half_the_sum_of_both_means():
    assert metrics.chamfer(np.array([1.0, 3.0]), np.array([4.0]), 10.0) == pytest.approx(100 * (2 + 4) / 2 / 10)
    assert metrics.chamfer(np.zeros(0), np.array([4.0]), 10.0) is None


def test_the_floor_is_what_a_perfect_head_gets(shapes):
    ball, _, _ = shapes
    true = ball(0.25, rings=96)
    points = metrics.sample_surface(true, 8000)[0][::2]
    strewn = np.random.default_rng(1).permutation(metrics.sample_surface(true, 3999)[0])
    to_truth, _ = KDTree(points).query(strewn)
    got = metrics.chamfer(metrics.find_nearest(true, points).distances, to_truth, 0.5)
    floor = metrics.chamfer_floor(points, 0.5)
    assert floor == pytest.approx(got, rel=0.12)
    area = 4 * np.pi * 0.25**2
    assert floor == pytest.approx(25 * np.sqrt(area / len(points)) / 0.5, rel=0.12)


def test_a_shifted_plane_counts_across_and_not_along():
    points, normals = np.array([[0.1, 0.2, 0.0]] * 3), np.array([[0.0, 0, 1]] * 3)
    assert metrics.point_to_plane(points, normals, points + np.array([0, 0, 0.02]), 0.5) == pytest.approx(4.0)
    assert metrics.point_to_plane(points, normals, points - [0, 0, 0.02], 0.5) == pytest.approx(4.0)
    assert metrics.point_to_plane(points, normals, points + np.array([0.3, -0.1, 0]), 0.5) == pytest.approx(0.0)
    assert metrics.point_to_plane(points[:0], normals[:0], points[:0], 0.5) is None


@pytest.mark.parametrize("angle", [0.0, 0.5, 13.0, 90.0, 180.0])
def test_normals_turned_by_a_known_angle(angle):
    turn = np.radians(angle)
    one = np.array([[0.0, 0, 1], [0, 0, 1]], np.float32)
    other = np.array([[np.sin(turn), 0, np.cos(turn)], [0, -np.sin(turn), np.cos(turn)]], np.float32)
    assert metrics.normal_angle(one, other) == pytest.approx(angle, abs=1e-4)


def test_distances_are_in_percent_of_the_heads_height():
    assert metrics.mean_distance(np.array([0.01, 0.03]), 0.5) == pytest.approx(4.0)
    assert metrics.mean_distance(np.zeros(0), 0.5) is None


def test_colours_are_compared_in_cielab():
    black, white, grey = (np.full((2, 3), value, np.uint8) for value in (0, 255, 119))
    assert metrics.color_error(black, white) == pytest.approx(100, abs=0.01)
    assert metrics.color_error(black, grey) == pytest.approx(50, abs=0.3)  # the middle grey of sRGB
    assert metrics.color_error(grey, grey) == 0
    red = np.array([[255, 0, 0]], np.uint8)
    np.testing.assert_allclose(metrics.to_lab(red), [[53.24, 80.09, 67.20]], atol=0.1)


def test_a_half_painted_ball_is_wrong_by_half(shapes):
    ball, painted, directions = shapes
    head = painted(ball(), left=(0, 0, 0), right=(255, 255, 255))
    points = directions(4000) * 0.25
    color = metrics.color_at(head, metrics.find_nearest(head.mesh, points))
    assert metrics.color_error(np.zeros_like(color), color) == pytest.approx(50, abs=1)


def test_shifted_landmarks_are_told_in_faces():
    wanted = np.random.default_rng(0).random((478, 3))
    moved = wanted[:, :2] + [0.03, 0.04]
    assert metrics.landmark_error(moved, wanted, 0.5) == pytest.approx(100 * 0.05 / 0.5)
    outer = wanted.copy()
    outer[152] += 1  # the outline slides with the view and is not counted
    assert metrics.landmark_error(outer, wanted, 0.5) == 0


def test_the_faces_width_is_that_of_the_picture():
    landmarks = np.zeros((478, 3))
    landmarks[454] = (0.3, 0, 0.4)
    assert metrics.face_width(landmarks, focal=4.0, distance=2.0) == pytest.approx(1.0)


def test_iou_of_two_rectangles():
    one, other = np.zeros((2, 10, 10), bool)
    one[:, :6], other[:, 4:] = True, True
    assert metrics.iou(one, other) == pytest.approx(20 / 100)
    counted = np.zeros((10, 10), bool)
    counted[:, :5] = True
    assert metrics.overlap(one, other, counted) == (10, 50)
    assert metrics.iou(one, other, np.zeros_like(counted)) is None
