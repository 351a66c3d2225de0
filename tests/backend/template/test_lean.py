from dataclasses import replace

import numpy as np
import pytest
import torch
from headstitch.backend.camera import CENTIMETRE, Camera
from headstitch.backend.geometry import as_tensor, make_scene
from headstitch.backend.portrait.portrait import Crop, Portrait
from headstitch.backend.template.distance import measure
from headstitch.backend.template.fit import average_fit
from headstitch.backend.template.hair import with_hair
from headstitch.backend.template.lean import LeaningGrid, lean, outline_distance, shown


@pytest.fixture(scope="module")
def portrait(model, known, known_solids):
    """The known head with 1 cm of hair, from the front."""
    camera = Camera.from_angles()
    body = with_hair(known_solids.body, np.full(2, CENTIMETRE))
    scene = make_scene(body.vertex.positions.numpy(), body.triangle.indices.numpy())
    hit = np.isfinite(scene.cast_rays(as_tensor(camera.rays(512).astype(np.float32)))["t_hit"].numpy())
    photo = np.full((512, 512, 3), 128, np.uint8)
    landmarks = camera.project(model.landmarks(known.vertices(model)))
    return Portrait(photo, Crop(256, 256, 512, 0.0), photo, hit.astype(np.float32), landmarks, camera, "0" * 64)


def test_the_leaning_measures_the_fitted_head_bald_and_with_hair(portrait, known, model):
    leaning = lean(portrait)
    np.testing.assert_allclose(leaning.thickness / CENTIMETRE, 1, atol=0.51)
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (400, 3)).astype(np.float32)
    bald, hairy, rest = leaning.measure(points)
    expected, skin = measure(leaning.bald, points)
    np.testing.assert_array_equal(bald, expected)
    np.testing.assert_array_equal(rest, skin[:, :3])
    np.testing.assert_array_equal(hairy, measure(leaning.hairy, points)[0])
    above = np.array([[0, 0.45, -0.1]], np.float32)
    apart = np.subtract(*(each[0] for each in leaning.measure(above)[:2]))
    assert apart == pytest.approx(leaning.thickness[0], rel=0.1)
    # The landmarks do not tell all of the shape: the fitted face is within 3 mm of the known one.
    face = model.landmarks(known.vertices(model))[model.landmark_used].astype(np.float32)
    assert np.abs(leaning.measure(face)[0]).mean() < 0.3 * CENTIMETRE


def test_without_landmarks_it_is_the_bald_mean_head(portrait, model):
    leaning = lean(replace(portrait, landmarks=np.full((478, 3), np.nan)))
    np.testing.assert_array_equal(leaning.fit.rotation, average_fit(model).rotation)
    bald, hairy, _ = leaning.measure(np.zeros((1, 3), np.float32))
    assert bald == hairy < 0


def test_the_distance_to_a_straight_outline_is_that_of_the_pixels():
    matte = np.zeros((64, 64), np.float32)
    matte[:, :20] = 1.0
    expected = (np.arange(64) + 0.5 - 20) / 64 * 2.7 / 4.2647
    np.testing.assert_allclose(outline_distance(matte), np.broadcast_to(expected, (64, 64)), atol=1e-6)


def test_a_picture_without_an_outline_is_far_from_it():
    assert (outline_distance(np.zeros((8, 8))) > 0.6).all()
    assert (outline_distance(np.ones((8, 8))) < -0.6).all()


def test_what_is_shown_is_the_photo_before_black_with_its_matte_and_outline():
    image = np.full((16, 16, 3), 255, np.uint8)
    matte = np.zeros((16, 16))
    matte[4:12, 4:12] = 1.0
    matte[4, 4] = 0.6
    picture = shown(image, matte)
    assert picture.shape == (5, 16, 16)
    np.testing.assert_allclose(picture[:4, 8, 8], 1)
    np.testing.assert_allclose(picture[:4, 0, 0], -1)
    np.testing.assert_allclose(picture[:4, 4, 4], 0.2, atol=1e-6)
    np.testing.assert_array_equal(picture[4], outline_distance(matte))


def test_the_grid_says_what_the_leaning_measures(portrait):
    """Near the surface to a tenth of a millimetre, elsewhere to what trilinear interpolation of a distance errs by."""
    leaning = lean(portrait)
    grid = LeaningGrid(leaning)
    random = np.random.default_rng(1)
    skin = leaning.hairy.body.vertex.positions.numpy()
    skin = skin[(np.abs(skin) < 0.45).all(axis=1) & (skin[:, 1] > -0.3)]
    near = skin[random.integers(len(skin), size=400)] + random.normal(0, 0.002, (400, 3)).astype(np.float32)
    far = random.uniform(-0.49, 0.49, (400, 3)).astype(np.float32)
    for points, tight in ((near, 0.0003), (far, 0.01)):
        bald, hairy, rest = leaning.measure(points)
        found = grid.sample(torch.from_numpy(points.astype(np.float32)))
        assert np.abs(found[1].numpy() - hairy).mean() < tight
        np.testing.assert_allclose(found[0], bald, atol=0.02)
        assert np.median(np.linalg.norm(found[2].numpy() - rest, axis=1)) < 0.005
