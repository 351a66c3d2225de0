import dataclasses

import numpy as np
import open3d as o3d
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.portrait.portrait import SIZE, Crop, Portrait
from headstitch.backend.template.palette import measure_palette

SKIN, HAIR, WALL = (200, 150, 120), (60, 40, 30), (0, 255, 0)


@pytest.fixture(scope="module")
def painted(known_solids):
    """Function of hair's colour: a portrait of the known head, flat skin and hair before a green wall."""
    camera = Camera.from_angles(0.2)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(known_solids.body)
    answer = scene.cast_rays(o3d.core.Tensor(camera.rays(SIZE)))
    hit = np.isfinite(answer["t_hit"].numpy())
    triangle = np.where(hit, answer["primitive_ids"].numpy(), 0).astype(np.int64)
    corners = known_solids.body.triangle.indices.numpy()[triangle]
    scalp = known_solids.skin.scalp[corners].mean(axis=2)

    def make(hair):
        image = np.where((scalp > 0.5)[..., None], np.uint8(hair), np.uint8(SKIN))
        image = np.where(hit[..., None], image, np.uint8(WALL))
        return Portrait(
            photo=image,
            crop=Crop(SIZE / 2, SIZE / 2, SIZE, 0.0),
            image=image,
            matte=hit.astype(np.float32),
            landmarks=np.full((478, 3), np.nan, np.float32),
            camera=camera,
            sha256="0" * 64,
        )

    return make


def test_flat_colors_come_back_as_they_are(known_solids, painted):
    """Medians of flat areas are the very colours; pixels that mix two of them are too few to be in the middle."""
    palette = measure_palette(known_solids, painted(HAIR))
    np.testing.assert_allclose(palette.skin, np.array(SKIN) / 255, atol=1e-6)
    np.testing.assert_allclose(palette.hair, np.array(HAIR) / 255, atol=1e-6)


def test_a_bald_head_has_skin_where_hair_would_grow(known_solids, painted):
    palette = measure_palette(known_solids, painted(SKIN))
    np.testing.assert_allclose(palette.hair, palette.skin, atol=1e-6)
    assert palette.hair_unevenness < 0.01


def test_streaked_hair_is_uneven(known_solids, painted):
    even = painted(HAIR)
    streaked = np.where((np.arange(SIZE) // 12 % 2 == 0)[:, None], even.image, np.minimum(even.image * 1.5, 255))
    assert measure_palette(known_solids, even).hair_unevenness < 0.2
    portrait = dataclasses.replace(even, image=streaked.astype(np.uint8))
    # Half of it at 1, half at 1.5 times the lightness: deviation 0.25 of a mean of 1.25.
    assert measure_palette(known_solids, portrait).hair_unevenness == pytest.approx(0.2, abs=0.06)


def test_the_wall_is_no_hair(known_solids, painted):
    """Nothing of the green beyond the matte gets into either colour."""
    palette = measure_palette(known_solids, painted(HAIR))
    for color in (palette.skin, palette.hair):
        assert color[1] < color[0]


def test_a_photo_that_shows_nothing_gives_plain_skin(known_solids, painted):
    empty = dataclasses.replace(painted(HAIR), matte=np.zeros((SIZE, SIZE), np.float32))
    palette = measure_palette(known_solids, empty)
    assert palette.hair == palette.skin
    assert palette.skin[0] > palette.skin[1] > palette.skin[2] > 0
    assert palette.hair_unevenness == 0
