import cv2
import numpy as np
import pytest
from headstitch.backend.portrait.crop import coverage, crop_to_photo, to_crop, to_photo, warp
from headstitch.backend.portrait.portrait import Crop

RANDOM = np.random.default_rng(0)
PHOTO = cv2.GaussianBlur(RANDOM.integers(0, 256, (90, 120, 3), np.uint8), (0, 0), 2)


def test_the_crops_corners_are_where_centre_side_and_angle_say():
    crop = Crop(50, 40, 20, np.radians(90))  # turned clockwise: the crop's top is the photo's right
    np.testing.assert_allclose(to_photo(np.array([[0.5, 0.5], [0, 0], [1, 0]]), crop), [[50, 40], [60, 30], [60, 50]])


def test_points_go_to_the_photo_and_back():
    points = RANDOM.normal(size=(20, 3))
    crop = Crop(33.3, -8.0, 77.0, 0.7)
    there = to_photo(points, crop)
    np.testing.assert_allclose(to_crop(there, crop), points, atol=1e-12)
    np.testing.assert_allclose(there[:, 2], points[:, 2] * 77)
    np.testing.assert_allclose(there[:, :2], np.c_[points[:, :2], np.ones(20)] @ crop_to_photo(crop).T)


def test_a_whole_crop_at_its_own_size_is_the_photo():
    np.testing.assert_array_equal(warp(PHOTO[:, :90], Crop(45, 45, 90, 0), 90), PHOTO[:, :90])


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_quarter_turn_is_exact(quarters):
    square = PHOTO[:, :90]
    turned = warp(square, Crop(45, 45, 90, quarters * np.pi / 2), 90)
    np.testing.assert_array_equal(turned, np.rot90(square, quarters))


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_shrinking_by_a_whole_number_averages_blocks(factor):
    photo = RANDOM.integers(0, 256, (factor * 24, factor * 24, 3), np.uint8)  # noise: any aliasing shows
    expected = photo.reshape(24, factor, 24, factor, 3).mean(axis=(1, 3))
    small = warp(photo, Crop(factor * 12, factor * 12, factor * 24, 0), 24)
    np.testing.assert_allclose(small, expected, atol=1.01)


def test_a_turned_and_shrunk_stripe_pattern_becomes_grey():
    stripes = np.zeros((800, 800), np.uint8)
    stripes[:, ::2] = 255
    small = warp(stripes, Crop(400, 400, 400, 0.3), 50)
    assert np.abs(small.astype(float) - 127.5).max() < 8


def test_enlarging_keeps_places():
    photo = np.zeros((40, 40), np.float32)
    photo[10, 25] = 1
    large = warp(photo, Crop(20, 20, 40, 0), 320)
    rows, columns = np.mgrid[:320, :320] + 0.5
    assert np.sum(large * columns) / large.sum() / 8 == pytest.approx(25.5, abs=0.01)
    assert np.sum(large * rows) / large.sum() / 8 == pytest.approx(10.5, abs=0.01)


def test_outside_of_the_photo_it_is_reflected():
    left = warp(PHOTO, Crop(0, 45, 60, 0), 60)
    np.testing.assert_array_equal(left, left[:, ::-1])


def test_coverage_is_one_inside_and_zero_outside():
    seen = coverage(PHOTO.shape, Crop(0, 45, 60, 0), 60)
    np.testing.assert_array_equal(seen, np.repeat([[0.0] * 30 + [1.0] * 30], 60, axis=0))
    half = coverage(PHOTO.shape, Crop(10.0, 45, 60, 0.4), 120)
    assert half.dtype == np.float32
    # every row of the photo that the crop spans lies inside it, so the area is that of a cut square
    assert 0.5 < half.mean() < 1


def test_a_crop_much_larger_than_the_photo_works():
    assert warp(PHOTO, Crop(60, 45, 480, 0.1), 512).shape == (512, 512, 3)
    assert warp(PHOTO, Crop(60, 45, 480, 0.1), 2).shape == (2, 2, 3)
