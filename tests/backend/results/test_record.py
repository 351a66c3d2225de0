"""What head.json says of crop and pose is in the units of the options, so that it can be given back."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from headstitch.backend.options import Options
from headstitch.backend.portrait.image import MAX_SIDE
from headstitch.backend.portrait.make import make_portrait
from headstitch.backend.results.record import POSE, make_record, remake_record
from PIL import Image

ASTRONAUT = Path(__file__).parents[3] / "examples" / "astronaut.png"
CROP = ("column_pixels", "row_pixels", "side_pixels", "angle_degrees")


def record_of(portrait):
    return make_record(
        portrait=portrait, photo_name="a.png", options=Options(), model="template", model_sha256="0" * 64, device="cpu"
    )


@pytest.fixture(scope="module")
def large():
    """The astronaut, leaning, in more pixels than are kept: (height, width) is (4590, 5100)."""
    photo = np.asarray(Image.open(ASTRONAUT).convert("RGB"))
    lean = cv2.getRotationMatrix2D((226.0, 104.0), 8.0, 1.0)
    photo = cv2.warpAffine(photo, lean, (512, 512), borderMode=cv2.BORDER_REFLECT)
    return cv2.resize(photo[:306, 60:400], None, fx=15, fy=15, interpolation=cv2.INTER_LINEAR)


def test_recorded_crop_and_angles_given_back_make_the_same_portrait(large):
    fitted = make_portrait(large, Options())
    assert fitted.scale == pytest.approx(MAX_SIDE / 5100)
    record = record_of(fitted)
    crop, angles = tuple(record["crop"][key] for key in CROP), tuple(record["pose"][key] for key in POSE)
    given = make_portrait(large, Options(crop=crop, angles=angles))
    np.testing.assert_allclose(
        [given.crop.column, given.crop.row, given.crop.side, given.crop.angle],
        [fitted.crop.column, fitted.crop.row, fitted.crop.side, fitted.crop.angle],
        rtol=1e-9,
    )
    np.testing.assert_allclose(given.camera.label, fitted.camera.label, atol=1e-6)
    np.testing.assert_allclose(given.image.astype(int), fitted.image.astype(int), atol=1)
    np.testing.assert_allclose(given.landmarks[:, :2], fitted.landmarks[:, :2], atol=0.02)
    assert np.abs(given.matte - fitted.matte).mean() < 0.005


def test_record_of_a_large_photo_is_in_pixels_of_the_original(large):
    record = record_of(make_portrait(large, Options()))
    assert (record["photo"]["width_pixels"], record["photo"]["height_pixels"]) == (5100, 4590)
    small = make_portrait(ASTRONAUT, Options()).crop
    crop = [record["crop"][key] for key in CROP]
    np.testing.assert_allclose(crop[:3], [(small.column - 60) * 15, small.row * 15, small.side * 15], atol=60)
    assert crop[3] == pytest.approx(np.degrees(small.angle) - 8, abs=1)
    assert record["crop"]["picture_side_pixels"] == 512


def test_record_names_the_angles_in_degrees(large):
    portrait = replace(make_portrait(large, Options()), scale=1.0)
    pose = record_of(portrait)["pose"]
    np.testing.assert_allclose([pose[key] for key in POSE], np.degrees(portrait.camera.angles))


def test_the_record_names_the_model_and_no_place_on_the_machine():
    portrait = make_portrait(ASTRONAUT, Options())
    record = make_record(
        portrait=portrait,
        photo_name="somewhere/a.png",
        options=Options(model="somewhere/models/mine", debug_images=True),
        model="mine",
        model_sha256="ab" * 32,
        licence="CC0-1.0",
        device="cpu",
        stages={"surface": 1.25},
    )
    assert record["model"] == {"name": "mine", "sha256": "ab" * 32, "licence": "CC0-1.0"}
    assert record["options"]["model"] == "mine"
    assert record["options"]["inversion"]["mask"] == "slices"
    assert "somewhere" not in str(record)


def test_a_head_made_again_keeps_where_it_came_from():
    record = {**record_of(make_portrait(ASTRONAUT, Options())), "warnings": ["Dark."], "version": "0.0"}
    again = remake_record(record, options=Options(resolution=64), device="cpu", photo=False, stages={"surface": 1.25})
    for key in ("photo", "crop", "pose", "model", "warnings", "product", "schema", "generated_content_note"):
        assert again[key] == record[key]
    assert again["options"] == Options(resolution=64).to_dict()
    assert again["remeshed"] == {"photo": False}
    assert again["run"]["stages"] == {"surface": 1.25}
    assert again["version"] != "0.0"
