import cv2
import numpy as np
import pytest
from headstitch.backend.portrait import detectors
from headstitch.backend.portrait.crop import to_crop, to_photo, warp
from headstitch.backend.portrait.faces import central_mesh, find_faces, find_landmarks, unsteadiness
from headstitch.backend.portrait.portrait import Crop


def placed(photo, window, size=512):
    """The photo as seen through a window, grey outside of it: a shrunk, turned or moved version."""
    canvas = warp(photo, window, size).astype(np.float32)
    inside = warp(np.full(photo.shape[:2], 255, np.uint8), window, size, border=cv2.BORDER_CONSTANT)[..., None] / 255
    return (canvas * inside + 128 * (1 - inside)).astype(np.uint8)


def apart(found, expected):
    """Mean distance of landmarks in face widths."""
    return np.linalg.norm(found[:468, :2] - expected[:468, :2], axis=1).mean() / np.ptp(expected[:468, 0])


def test_the_astronauts_face_is_found_where_it_is(astronaut):
    (face,) = find_faces(astronaut)
    np.testing.assert_allclose(face.landmarks[:, :2].mean(axis=0), [224, 115], atol=10)
    assert face.width == pytest.approx(92, abs=4)
    assert face.landmarks.shape == (478, 3)
    # MediaPipe counts points from the person's right: in the picture their right eye is left of the left one
    assert face.landmarks[33, 0] < face.landmarks[263, 0]
    assert face.landmarks[1, 2] < face.landmarks[234, 2]  # the nose is nearer than the temple


@pytest.mark.parametrize("degrees", [-150, -90, -45, 30, 60, 90, 120, 180])
def test_turned_faces_are_found_right_side_up(astronaut, degrees):
    window = Crop(256, 256, 512, np.radians(degrees))
    (face,) = find_faces(placed(astronaut, window))
    expected = to_crop(find_faces(astronaut)[0].landmarks, window) * 512
    assert apart(face.landmarks, expected) < 0.03


@pytest.mark.parametrize("share", [0.5, 0.35])
def test_small_faces_are_found(astronaut, share):
    window = Crop(300, 200, 512 / share, 0)  # the face is 46 and 32 pixels wide
    (face,) = find_faces(placed(astronaut, window))
    expected = to_crop(find_faces(astronaut)[0].landmarks, window) * 512
    assert apart(face.landmarks, expected) < 0.04


def test_a_face_that_is_only_seen_in_a_part_of_the_photo_is_found(astronaut):
    large = np.full((1600, 1600, 3), 90, np.uint8)
    large[900:1028, 1100:1228] = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)
    (face,) = find_faces(large)
    np.testing.assert_allclose(face.landmarks[:, :2].mean(axis=0), [1100 + 224 / 4, 900 + 115 / 4], atol=4)


def test_faces_are_sorted_by_size_and_each_found_once(astronaut, synthetic):
    scene = np.full((800, 1300, 3), 60, np.uint8)
    scene[100:612, 20:532] = astronaut
    scene[50:650, 600:1200] = cv2.resize(synthetic, (600, 600), interpolation=cv2.INTER_AREA)
    faces = find_faces(scene)
    assert len(faces) == 2
    assert faces[0].size > faces[1].size
    assert faces[0].landmarks[:, 0].mean() > 600 > faces[1].landmarks[:, 0].mean()


def test_no_face_is_found_where_there_is_none():
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (300, 400, 3), np.uint8)
    assert find_faces(noise) == []
    assert find_faces(np.zeros((64, 2000, 3), np.uint8)) == []
    assert find_landmarks(noise) is None


def test_find_landmarks_gives_pixels_of_the_largest_face(astronaut):
    close = warp(astronaut, Crop(226, 104, 170, 0), 400)
    landmarks = find_landmarks(close)
    assert landmarks is not None
    assert landmarks.dtype == np.float32
    assert landmarks.shape == (478, 3)
    expected = to_crop(find_faces(astronaut)[0].landmarks, Crop(226, 104, 170, 0)) * 400
    assert apart(landmarks, expected) < 0.02


def test_closed_detectors_are_loaded_again(astronaut):
    before = find_landmarks(warp(astronaut, Crop(226, 104, 170, 0), 256))
    detectors.close_detectors()
    after = find_landmarks(warp(astronaut, Crop(226, 104, 170, 0), 256))
    np.testing.assert_array_equal(before, after)


def test_landmarks_of_a_frontal_face_stay_in_place(astronaut):
    crop = Crop(226, 104, 170, 0.04)
    landmarks = central_mesh(warp(astronaut, crop, 512))
    assert landmarks is not None
    assert to_photo(landmarks, crop)[:, 0].mean() == pytest.approx(224, abs=10)
    assert unsteadiness(astronaut, crop, landmarks) < 0.2
