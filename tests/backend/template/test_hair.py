from dataclasses import replace

import numpy as np
import pytest
from headstitch.backend.camera import CENTIMETRE, Camera
from headstitch.backend.geometry import as_tensor, make_scene
from headstitch.backend.portrait.portrait import Crop, Portrait
from headstitch.backend.template.hair import measure_thickness, with_hair
from headstitch.backend.template.solid import closed_body, skin


@pytest.fixture(scope="module")
def body(known_vertices):
    return closed_body(known_vertices)


def portrait_of(body, model, known, camera):
    """A portrait whose matte is the body's outline."""
    scene = make_scene(body.vertex.positions.numpy(), body.triangle.indices.numpy())
    hit = np.isfinite(scene.cast_rays(as_tensor(camera.rays(512).astype(np.float32)))["t_hit"].numpy())
    landmarks = camera.project(model.landmarks(known.vertices(model)))
    photo = np.full((512, 512, 3), 128, np.uint8)
    return Portrait(
        photo=photo, crop=Crop(256, 256, 512, 0.0), image=photo, matte=hit.astype(np.float32),
        landmarks=landmarks, camera=camera, sha256="0" * 64,
    )  # fmt: skip


@pytest.mark.parametrize("thickness", [(0.0, 0.0), (1.5, 0.75), (0.5, 2.0), (3.0, 3.0)])
@pytest.mark.parametrize("yaw", [0.0, 0.5])
def test_the_thickness_of_an_outline_is_found_again(model, known, body, thickness, yaw):
    wanted = np.array(thickness) * CENTIMETRE
    portrait = portrait_of(with_hair(body, wanted), model, known, Camera.from_angles(yaw))
    found = measure_thickness(body, portrait)
    np.testing.assert_allclose(found / CENTIMETRE, thickness, atol=0.26)


def test_what_lies_below_the_chin_does_not_count(model, known, body):
    portrait = portrait_of(body, model, known, Camera.from_angles())
    matte = portrait.matte.copy()
    matte[int(portrait.landmarks[152, 1] * 512) + 6 :] = 1.0
    np.testing.assert_array_equal(measure_thickness(body, replace(portrait, matte=matte)), 0)


def test_beyond_the_photo_nothing_is_known(model, known, body):
    """The photo ends above the brows: its matte ends there, too, and says nothing of the hair on top."""
    portrait = portrait_of(with_hair(body, np.full(2, 2.0 * CENTIMETRE)), model, known, Camera.from_angles())
    matte = portrait.matte.copy()
    matte[:100] = 0.0
    cut = replace(portrait, matte=matte, photo=portrait.photo[100:], crop=Crop(256, 156, 512, 0.0))
    np.testing.assert_allclose(measure_thickness(body, cut)[1] / CENTIMETRE, 2.0, atol=0.26)


def test_without_landmarks_the_head_stays_bald(model, known, body):
    portrait = portrait_of(with_hair(body, np.full(2, 0.05)), model, known, Camera.from_angles())
    portrait = replace(portrait, landmarks=np.full((478, 3), np.nan))
    np.testing.assert_array_equal(measure_thickness(body, portrait), 0)


def test_hair_rises_on_the_scalp_alone_and_reaches_its_thickness(body):
    thick = np.array([0.06, 0.02])
    before, after = body.vertex.positions.numpy(), with_hair(body, thick).vertex.positions.numpy()
    moved = np.linalg.norm(after - before, axis=1)
    assert (moved[skin().scalp < 0.02] == 0).all()
    assert moved.max() == pytest.approx(0.06, abs=1e-4)
    crown = skin().rest[:, 1] > 0.25
    np.testing.assert_allclose(moved[crown], 0.06, atol=1e-3)
    back = (np.abs(skin().rest[:, 1] - 0.05) < 0.02) & (skin().rest[:, 2] < -0.28)
    np.testing.assert_allclose(moved[back], 0.02, atol=1e-3)


def test_no_thickness_leaves_the_body_as_it_is(body):
    assert with_hair(body, np.zeros(2)) is body


def test_a_raised_body_is_still_closed_and_holds_the_bald_one(body):
    thick = with_hair(body, np.full(2, 3.0 * CENTIMETRE))
    assert thick.to_legacy().is_edge_manifold(allow_boundary_edges=False)
    scene = make_scene(thick.vertex.positions.numpy(), thick.triangle.indices.numpy())
    inside = body.vertex.positions.numpy()[skin().scalp > 0.9] * np.float32(0.99)
    assert scene.compute_occupancy(as_tensor(inside), nsamples=3).numpy().mean() > 0.99
