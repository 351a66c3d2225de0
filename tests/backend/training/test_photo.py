import numpy as np
import pytest
from headstitch.backend.training.draw import encoded
from headstitch.backend.training.photo import Damage, develop, draw_damage, told


@pytest.fixture
def dice():
    return np.random.default_rng(0)


def flat(level, size=64):
    return np.full((size, size, 3), level, np.float32)


def striped(size=64):
    """Vertical stripes 8 pixels wide, linear."""
    return (
        np.repeat(np.where(np.arange(size) // 8 % 2, 0.6, 0.1)[None, :, None], size, 0).repeat(3, 2).astype(np.float32)
    )


def test_no_damage_leaves_the_encoded_scene(dice):
    scene = striped()
    np.testing.assert_array_equal(develop(scene, Damage(), dice), np.rint(255 * encoded(scene)).astype(np.uint8))


def test_exposure_is_in_stops_and_white_balance_a_gain(dice):
    brighter = develop(flat(0.1), Damage(exposure=1.0), dice)
    np.testing.assert_array_equal(brighter, develop(flat(0.2), Damage(), dice))
    warm = develop(flat(0.2), Damage(red=1.2, blue=0.8), dice)[0, 0].astype(int)
    expected = [develop(flat(0.2 * gain), Damage(), dice)[0, 0, 0] for gain in (1.2, 1.0, 0.8)]
    np.testing.assert_array_equal(warm, expected)


def test_blur_keeps_the_mean_light_and_takes_the_contrast(dice):
    sharp, soft = (develop(striped(256), damage, dice).astype(float) for damage in (Damage(), Damage(defocus=4.0)))
    assert soft.std() < 0.9 * sharp.std()
    assert soft[:, 100:120].max() < sharp.max()
    moved = develop(striped(256), Damage(motion=6.0, angle=np.pi / 2), dice).astype(float)
    np.testing.assert_allclose(moved[32:-32], sharp[32:-32], atol=1.01)  # along the stripes nothing changes


def test_noise_has_no_bias_and_grows_with_light(dice):
    dark, light = (develop(flat(level, 256), Damage(shot=0.05), dice).astype(float) for level in (0.02, 0.3))
    plain = develop(flat(0.3), Damage(), dice).mean()
    assert light.mean() == pytest.approx(plain, abs=1.5)
    assert light.std() > 2
    assert dark.std() > 1


def test_a_picture_that_was_smaller_has_lost_its_detail(dice):
    fine = np.where(np.indices((64, 64)).sum(0) % 2, 0.6, 0.1)[..., None].repeat(3, 2).astype(np.float32)
    assert develop(fine, Damage(smaller=3.0), dice).std() < 0.3 * develop(fine, Damage(), dice).std()


def test_jpeg_of_less_quality_errs_more(dice):
    scene = np.random.default_rng(1).uniform(0, 0.5, (64, 64, 3)).astype(np.float32)
    plain = develop(scene, Damage(), dice).astype(float)
    errors = [np.abs(develop(scene, Damage(jpeg=quality), dice) - plain).mean() for quality in (97, 60, 30)]
    assert 0 < errors[0] < errors[1] < errors[2]


def test_most_photos_are_hardly_damaged_and_all_stay_in_the_stated_ranges():
    drawn = [draw_damage(np.random.default_rng(number)) for number in range(400)]
    amounts = np.array([damage.amount for damage in drawn])
    assert np.median(amounts) < 0.8
    assert amounts.max() < 6
    for name, low, high in (
        ("exposure", -1, 0.8), ("defocus", 0, 2.5), ("motion", 0, 5), ("shot", 0, 0.05), ("smaller", 1, 2.5),
        ("vignette", 0, 0.4), ("sharpen", 0, 1.2), ("jpeg", 0, 97),
    ):  # fmt: skip
        values = np.array([getattr(damage, name) for damage in drawn])
        assert values.min() >= low, name
        assert values.max() <= high, name
    share = np.mean([damage.jpeg > 0 for damage in drawn])
    assert share == pytest.approx(0.85, abs=0.06)


def test_what_is_told_names_what_was_done():
    said = told(Damage(defocus=1.5, jpeg=70))
    assert said == {"damage": pytest.approx(0.6), "photo_defocus": 1.5, "photo_jpeg": 70.0}
    assert told(Damage()) == {"damage": 0.0}
