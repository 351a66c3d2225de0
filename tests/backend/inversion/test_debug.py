import numpy as np
import pytest
import torch
from headstitch.backend.inversion.debug import SIDE, draw_debug
from headstitch.backend.inversion.invert import invert, stage_seconds
from headstitch.backend.options import Inversion
from headstitch.backend.progress import StageClock

CPU = torch.device("cpu")
MIDDLE = slice(SIDE // 2 - 10, SIDE // 2 + 10)


@pytest.fixture(scope="module")
def rows(balls, portrait):
    """The pictures, row by row: (rows, columns, 256, 256, 3)."""
    inverted = invert(portrait, balls.BallBundle(), Inversion(), CPU, StageClock(stage_seconds()).stage)
    tiles, columns = draw_debug(inverted, portrait.camera, Inversion())
    assert len(tiles) == 6 * columns
    assert all(tile.shape == (SIDE, SIDE, 3) and tile.dtype == np.uint8 for tile in tiles)
    return np.stack(tiles).reshape(6, columns, SIDE, SIDE, 3)


def color(tile):
    return tile[MIDDLE, MIDDLE].reshape(-1, 3).mean(0)


def test_each_encoders_head_is_shown_from_all_sides_in_its_color(rows):
    for column in range(4):
        red, green, _ = color(rows[3, column])
        assert red > 200 > 60 > green
        red, green, _ = color(rows[4, column])
        assert green > 200 > 60 > red


def test_the_stitched_head_has_one_encoders_front_and_the_others_back(rows):
    red, green, _ = color(rows[5, 0])
    assert red > 2 * green
    red, green, _ = color(rows[5, 3])
    assert green > 2 * red


def test_masks_stand_upright_beside_the_photo(rows):
    """Of the plane x, z: the photo sees what lies in front, which is drawn above; nothing of the back slice."""
    for tile in rows[1, 1:]:
        assert tile[80:120, 118:138].mean() > 120
        assert tile[170:230, 118:138].mean() < 10
    assert rows[0, 1][MIDDLE, MIDDLE].mean() < 10
    assert rows[0, 3][MIDDLE, MIDDLE].mean() > 240


def test_the_photo_is_shown_as_the_encoders_see_it(rows, portrait):
    inside = slice(60, 200)
    plain = portrait.image[::2, ::2][inside, 140:240].astype(float)
    assert np.abs(rows[0, 0][inside, 140:240] - plain).mean() < 3
    assert (rows[0, 0][:20] > 250).all()  # outside the matte: the background


def test_labels_stand_at_the_foot_of_every_picture(rows):
    for tile in rows.reshape(-1, SIDE, SIDE, 3):
        foot = tile[SIDE - 22 : SIDE - 4, :80].astype(int)
        assert foot.max() - foot.min() > 200  # black letters with a white rim
