from pathlib import Path

import numpy as np
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.portrait import pose
from scipy.spatial.transform import Rotation

POSES = np.load(Path(__file__).parents[2] / "data" / "pose_eval.npz")


def flipped(points):
    """Between y up, z to the viewer and the landmarks' y down, z to the scene."""
    return points * [1, -1, -1]


def errors(which):
    """Geodesic angle in degrees between the fitted and the labelled rotation of some of the photos."""
    result = []
    for landmarks, label in zip(POSES["landmarks"][which], POSES["labels"][which], strict=True):
        # a label's matrix is rounded and not quite orthonormal: take the nearest rotation
        labelled = Rotation.from_matrix(Camera.from_label(label).cam2world[:3, :3])
        fitted = Rotation.from_matrix(pose.fit_camera(landmarks).cam2world[:3, :3])
        result.append(np.degrees((labelled.inv() * fitted).magnitude()))
    return np.array(result)


def test_the_fit_equals_the_reference_on_every_photo():
    for landmarks, reference in zip(POSES["landmarks"], POSES["similarity_fit"], strict=True):
        fit = pose.fit_similarity(landmarks)
        np.testing.assert_allclose(fit.rotation.ravel(), reference[:9], atol=1e-6)
        np.testing.assert_allclose([fit.scale, *fit.shift], reference[9:], rtol=1e-6)


def test_angles_are_within_2_2_degrees_of_panoheads_labels():
    assert errors(slice(0, 4)).mean() <= 2.2


def test_angles_are_within_3_degrees_of_eg3ds_labels():
    assert errors(slice(4, 20)).mean() <= 3.0


def test_a_known_similarity_is_found_again():
    rotation = Rotation.from_euler("yxz", [40, -20, 15], degrees=True).as_matrix()
    shift = np.array([3.0, -7.0, 1.0])
    fit = pose.fit_similarity(flipped(2.5 * pose.canonical_face() @ rotation.T + shift))
    np.testing.assert_allclose(fit.rotation, rotation, atol=1e-12)
    np.testing.assert_allclose(fit.shift, shift, atol=1e-9)
    assert fit.scale == pytest.approx(2.5)
    assert fit.residual == pytest.approx(0, abs=1e-9)


def test_a_mirrored_face_is_still_fitted_by_a_rotation():
    fit = pose.fit_similarity(flipped(pose.canonical_face() * [1, 1, -1]))
    assert np.linalg.det(fit.rotation) == pytest.approx(1)
    assert fit.residual > pose.canonical_face().std() / 10


def test_residuals_of_real_faces_leave_room_below_the_limit():
    from headstitch.backend.portrait.make import MAX_RESIDUAL

    residuals = np.array([pose.fit_similarity(landmarks).residual for landmarks in POSES["landmarks"]])
    assert residuals.max() < 0.9 * MAX_RESIDUAL
    assert np.median(residuals) < 0.6


def test_crops_of_the_labelled_pictures_are_the_pictures():
    # PanoHead's own pictures are what its alignment leaves: the whole picture is the crop that we should find
    for landmarks, size in zip(POSES["landmarks"][:4], POSES["image_size"][:4], strict=True):
        crop = pose.fit_crop(landmarks)
        assert crop.side == pytest.approx(size, rel=0.03)
        np.testing.assert_allclose([crop.column, crop.row], size / 2, atol=0.02 * size)
        assert abs(crop.angle) < np.radians(2)


@pytest.mark.parametrize("degrees", [-170, -90, -30, 10, 45, 120])
def test_the_crop_turns_moves_and_grows_with_the_face(degrees):
    landmarks = POSES["landmarks"][2].astype(np.float64)
    first = pose.fit_crop(landmarks)
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[cos, -sin], [sin, cos]])  # clockwise in the picture
    moved = np.concatenate([1.7 * landmarks[:, :2] @ turn.T + [30, -4], 1.7 * landmarks[:, 2:]], axis=1)
    crop = pose.fit_crop(moved)
    np.testing.assert_allclose(
        [crop.column, crop.row], 1.7 * turn @ [first.column, first.row] + [30, -4], atol=1e-6 * first.side
    )
    assert crop.side == pytest.approx(1.7 * first.side)
    off = crop.angle - first.angle - np.radians(degrees)
    assert np.angle(np.exp(1j * off)) == pytest.approx(0, abs=1e-9)
