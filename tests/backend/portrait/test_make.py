import hashlib
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.errors import FaceError, OptionError
from headstitch.backend.options import Options
from headstitch.backend.portrait import image
from headstitch.backend.portrait.crop import warp
from headstitch.backend.portrait.make import make_portrait
from headstitch.backend.portrait.portrait import Crop
from PIL import Image

DATA = Path(__file__).parents[2] / "data"
EXAMPLES = Path(__file__).parents[3] / "examples"
PROFILE = DATA / "profile.jpg"  # our own render of a head of the CC0 pack at a yaw of 75 degrees


@pytest.fixture(scope="module")
def pair(astronaut, synthetic):
    """Two people side by side, the synthetic one larger."""
    scene = np.full((700, 1200, 3), 60, np.uint8)
    scene[100:612, 20:532] = astronaut
    scene[50:650, 580:1180] = cv2.resize(synthetic, (600, 600), interpolation=cv2.INTER_AREA)
    return scene


def test_the_astronauts_pose_and_crop_are_the_references(portrait):
    # Fitted once by an implementation of the same formulas that shares no code with this one
    np.testing.assert_allclose(np.degrees(portrait.camera.angles), [0.8, 9.5, -0.4], atol=0.7)
    crop = portrait.crop
    np.testing.assert_allclose([crop.column, crop.row, crop.side], [226, 104, 170], atol=1.5)
    assert portrait.warnings == ()


def test_every_part_of_the_portrait_agrees_with_the_others(portrait, astronaut):
    np.testing.assert_array_equal(portrait.photo, astronaut)
    np.testing.assert_array_equal(portrait.image, warp(astronaut, portrait.crop, 512))
    assert portrait.landmarks.shape == (478, 3)
    assert portrait.landmarks.dtype == np.float32
    assert portrait.matte.shape == (512, 512)
    assert portrait.matte.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(portrait.camera.position), 2.7)
    iris = portrait.landmarks[468, :2] * 512  # a pupil is darker than the white beside it
    dark = portrait.image[int(iris[1]) - 2 : int(iris[1]) + 3, int(iris[0]) - 2 : int(iris[0]) + 3].mean()
    assert dark < portrait.image.mean() * 0.6


def test_the_same_photo_gives_the_same_bytes_again(portrait, astronaut):
    again = make_portrait(astronaut, Options())
    for name in ("image", "matte", "landmarks"):
        np.testing.assert_array_equal(getattr(again, name), getattr(portrait, name))
    np.testing.assert_array_equal(again.camera.label, portrait.camera.label)
    assert again.crop == portrait.crop


def test_another_process_gives_the_same_bytes_and_prints_nothing(portrait):
    code = """
import hashlib, sys
from headstitch.backend.options import Options
from headstitch.backend.portrait.make import make_portrait
p = make_portrait(sys.argv[1], Options())
print(hashlib.sha256(b"".join(a.tobytes() for a in (p.image, p.matte, p.landmarks, p.camera.cam2world))).hexdigest())
"""
    loud = {
        name: value for name, value in os.environ.items() if name not in ("GLOG_minloglevel", "TF_CPP_MIN_LOG_LEVEL")
    }
    command = [sys.executable, "-c", code, str(EXAMPLES / "astronaut.png")]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env=loud)
    parts = (portrait.image, portrait.matte, portrait.landmarks, portrait.camera.cam2world)
    assert run.stdout.strip() == hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
    assert run.stderr == ""


@pytest.mark.parametrize("degrees", [-35, 20, 90, 180])
def test_a_turned_photo_gives_the_same_portrait(portrait, astronaut, degrees):
    turned = make_portrait(warp(astronaut, Crop(256, 256, 512, np.radians(degrees)), 512), Options())
    np.testing.assert_allclose(np.degrees(turned.camera.angles), np.degrees(portrait.camera.angles), atol=2.5)
    assert turned.crop.side == pytest.approx(portrait.crop.side, rel=0.03)
    np.testing.assert_allclose(turned.landmarks[:468, :2], portrait.landmarks[:468, :2], atol=0.02)
    assert any("off upright" in note for note in turned.warnings) == (abs(degrees) > 30)


def test_a_photo_in_grey_gives_the_same_pose(portrait, astronaut):
    grey = make_portrait(cv2.cvtColor(astronaut, cv2.COLOR_RGB2GRAY), Options())
    np.testing.assert_allclose(np.degrees(grey.camera.angles), np.degrees(portrait.camera.angles), atol=1)


def test_of_several_faces_the_largest_is_taken_with_a_warning(pair):
    portrait = make_portrait(pair, Options())
    assert portrait.crop.column > 580
    assert any("--face 2" in note for note in portrait.warnings)


def test_face_takes_another_without_a_warning(pair, portrait):
    second = make_portrait(pair, Options(face=2))
    np.testing.assert_allclose([second.crop.column - 20, second.crop.row - 100], [226, 104], atol=2)
    assert second.warnings == ()


def test_a_face_out_of_range_says_how_many_there_are(pair, astronaut):
    with pytest.raises(OptionError, match=r"--face is 3, but only 2 faces were found in the photo"):
        make_portrait(pair, Options(face=3))
    with pytest.raises(OptionError, match=r"only one face was found"):
        make_portrait(astronaut, Options(face=2))


def test_a_photo_without_a_face_says_what_to_try(tmp_path):
    Image.fromarray(np.full((200, 300, 3), 90, np.uint8)).save(tmp_path / "wall.png")
    with pytest.raises(FaceError, match=r"No face was found in wall\.png; .*--angles.*--crop"):
        make_portrait(tmp_path / "wall.png", Options())


def test_a_face_under_64_pixels_is_a_warning(astronaut):
    small = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)
    (note,) = make_portrait(small, Options()).warnings
    assert "only 46 pixels wide" in note or "only 45 pixels wide" in note


def test_a_face_at_the_photos_border_is_a_warning(astronaut):
    cut = make_portrait(astronaut[:, 215:], Options())
    assert any("cuts through the face" in note for note in cut.warnings)
    assert any("of the crop lie outside" in note for note in cut.warnings)
    outside = int((-(cut.crop.column - cut.crop.side / 2)) / cut.crop.side * 512) - 30
    assert cut.matte[:, :outside].max() == 0


def test_a_profile_asks_for_a_camera_by_hand():
    with pytest.raises(FaceError, match=r"turned too far .*--angles.*--crop"):
        make_portrait(PROFILE, Options())


def test_a_profile_works_with_angles_and_crop():
    portrait = make_portrait(PROFILE, Options(angles=(75, 3, 0), crop=(160, 160, 320, 0)))
    assert np.isnan(portrait.landmarks).all()
    assert portrait.landmarks.shape == (478, 3)
    assert any("template keeps its average shape" in note for note in portrait.warnings)
    np.testing.assert_allclose(np.degrees(portrait.camera.angles), [75, 3, 0], atol=1e-9)
    assert portrait.crop == Crop(160, 160, 320, 0)
    assert 0.3 < portrait.matte.mean() < 0.9


def test_the_back_of_a_head_works_with_angles_and_crop():
    wall = np.full((200, 200, 3), 120, np.uint8)
    portrait = make_portrait(wall, Options(angles=(180, 0, 0), crop=(100, 100, 150, 10)))
    assert np.isnan(portrait.landmarks).all()
    assert portrait.camera.position[2] == pytest.approx(-2.7)
    assert portrait.crop.angle == pytest.approx(np.radians(10))


def test_angles_by_hand_replace_the_fitted_ones(portrait, astronaut):
    given = make_portrait(astronaut, Options(angles=(5, 8, 1)))
    np.testing.assert_allclose(given.camera.label, Camera.from_angles(*np.radians([5, 8, 1])).label)
    assert given.crop == portrait.crop
    np.testing.assert_array_equal(given.landmarks, portrait.landmarks)


def test_landmarks_that_contradict_the_angles_are_not_used(astronaut):
    given = make_portrait(astronaut, Options(angles=(80, 0, 0)))
    assert np.isnan(given.landmarks).all()
    assert any("other than --angles" in note for note in given.warnings)


def test_a_crop_by_hand_replaces_the_fitted_one(portrait, astronaut):
    given = make_portrait(astronaut, Options(crop=(230, 110, 200, -3)))
    assert given.crop == Crop(230, 110, 200, pytest.approx(np.radians(-3)))
    np.testing.assert_array_equal(given.image, warp(astronaut, given.crop, 512))
    np.testing.assert_allclose(np.degrees(given.camera.angles)[:2], np.degrees(portrait.camera.angles)[:2], atol=1.5)


def test_a_crop_by_hand_is_in_pixels_of_the_original(tmp_path, monkeypatch, astronaut):
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    monkeypatch.setattr(image, "MAX_SIDE", 256)
    given = make_portrait(tmp_path / "a.png", Options(crop=(226, 104, 170, 0)))
    assert given.photo.shape == (256, 256, 3)
    assert given.crop == Crop(113, 52, 85, 0)


def test_a_crop_without_a_face_asks_for_angles(astronaut):
    with pytest.raises(FaceError, match=r"No face was found inside --crop .*--angles"):
        make_portrait(astronaut, Options(crop=(60, 60, 80, 0)))


@pytest.mark.parametrize("crop", [(5000, 100, 170, 0), (256, -900, 170, 0), (256, 256, 1e7, 0)])
def test_a_crop_outside_the_photo_is_refused(astronaut, crop):
    with pytest.raises(OptionError, match=r"--crop .*512x512"):
        make_portrait(astronaut, Options(crop=crop))


def test_face_with_a_crop_by_hand_is_a_warning(astronaut):
    given = make_portrait(astronaut, Options(face=2, crop=(226, 104, 170, 0)))
    assert any("--face 2 is not used" in note for note in given.warnings)


def test_a_cut_outs_own_alpha_limits_the_matte(astronaut):
    alpha = np.full((512, 512), 255, np.uint8)
    alpha[:, 240:] = 0
    cut = make_portrait(np.dstack([astronaut, alpha]), Options(crop=(226, 104, 170, 0), angles=(0, 9, 0)))
    edge = int((240 - (226 - 85)) / 170 * 512)
    assert cut.matte[:, edge + 6 :].max() == 0
    assert cut.matte[250, edge - 40] == 1
