import numpy as np
import pytest
from headstitch.backend.camera import CENTIMETRE, Camera
from headstitch.backend.template.morphable import load_morphable
from headstitch.backend.training.body import Label
from headstitch.backend.training.chance import Part, dice
from headstitch.backend.training.colors import draw_colors, hair_colors
from headstitch.backend.training.draw import draw, light_head
from headstitch.backend.training.ground_truth import EXTENT, hair_hull
from headstitch.backend.training.hair.cuts import draw_style
from headstitch.backend.training.hair.strands import hair_waves
from headstitch.backend.training.hair.styles import STYLES
from headstitch.backend.training.head import make_head
from headstitch.backend.training.identity import draw_person

SHARE = 0.12
_EYE = [263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249]


@pytest.fixture(scope="module")
def heads():
    return {
        name: make_head(11, number, style=name, share=SHARE)
        for name, number in (("long wavy", 22), ("bob", 4), ("crop", 2), ("curly", 4), ("afro", 7), ("tied back", 9))
    }


def _colors(number, **greyer):
    who = draw_person(4, number)
    stray = hair_waves(4, number)
    style = draw_style("crop", who.male, who.years, np.random.default_rng(number))
    colors = draw_colors(4, number, who, style, stray)
    for name, value in greyer.items():
        object.__setattr__(colors, name, value)
    return colors


def _spots(count=4000):
    """Roots over a sphere of a head's size."""
    ways = np.random.default_rng(0).normal(size=(count, 3))
    return np.array([0.0, 0.07, -0.09]) + 0.2 * ways / np.linalg.norm(ways, axis=1, keepdims=True)


def test_every_style_has_several_haircuts():
    for name in STYLES:
        kinds = {draw_style(name, 0.5, 40, np.random.default_rng(number)).kind for number in range(60)}
        assert len(kinds) >= (1 if name == "bald" else 2 if name == "receding" else 3), name


@pytest.mark.parametrize("style", ["long wavy", "bob", "crop", "curly", "afro", "tied back"])
def test_hair_covers_no_eye(heads, style):
    head, camera = heads[style], Camera.from_angles()
    label = draw(light_head(head), camera, 96).label
    mirror = load_morphable().landmark_mirror
    to_camera = np.linalg.inv(np.asarray(camera.cam2world, np.float64).reshape(4, 4))
    for members in (_EYE, mirror[_EYE]):
        seen = head.landmarks[members] @ to_camera[:3, :3].T + to_camera[:3, 3]
        pixel = seen @ np.asarray(camera.intrinsics, np.float64).reshape(3, 3).T
        pixel = 96 * pixel[:, :2] / pixel[:, 2:]
        (left, top), (right, bottom) = np.floor(pixel.min(axis=0)).astype(int), np.ceil(pixel.max(axis=0)).astype(int)
        assert (label[top:bottom, left:right] == Label.HAIR).mean() < 0.05


@pytest.mark.parametrize("style", ["long wavy", "bob", "crop", "curly", "afro", "tied back"])
def test_hardly_a_strand_lies_deeper_than_a_millimetre(heads, style):
    depth = heads[style].body.signed_distance(heads[style].hair.points[::3].reshape(-1, 3))
    assert (depth < -0.1 * CENTIMETRE).mean() < 0.002


def test_an_afro_and_curls_stay_within_the_cube(heads):
    for style in ("afro", "curly"):
        assert (np.abs(heads[style].hair.points) > EXTENT).any(axis=2).mean() < 0.005


def test_the_hull_of_hair_that_leaves_the_cube_is_closed():
    head = make_head(11, 108, style="long straight", share=SHARE)
    assert (np.abs(head.hair.points) > EXTENT).any(axis=2).mean() > 0.05
    hull = hair_hull(head)
    assert hull is not None
    edges = np.concatenate([hull.faces[:, [0, 1]], hull.faces[:, [1, 2]], hull.faces[:, [2, 0]]]).astype(np.int64)
    there, back = (edges @ [len(hull.vertices), 1], edges @ [1, len(hull.vertices)])
    np.testing.assert_array_equal(np.sort(there), np.sort(back))


def test_a_bun_is_a_ball_off_the_head(heads):
    head = heads["tied back"]
    assert head.style.tail == "bun"
    tips = head.hair.points[:, -1]
    wound = tips[head.body.signed_distance(tips) > 1.5 * CENTIMETRE]
    assert len(wound) > 0.15 * len(tips)
    assert np.ptp(wound, axis=0).max() < 11 * CENTIMETRE


def test_hair_ends_unevenly_where_it_is_cut(heads):
    assert heads["bob"].style.kind == "wavy"
    ends = heads["bob"].hair.points[:, -1, 1]
    ends = ends[ends < 0.0]
    assert 0.3 * CENTIMETRE < np.diff(np.percentile(ends, [25, 75]))[0] < 6 * CENTIMETRE


def test_grey_comes_at_the_temples_first():
    spots, colors = _spots(), _colors(1, grey=0.4, streaks=None, hair=np.array([0.2, 0.13, 0.08]))
    light = hair_colors(colors, colors.hair, spots, dice(4, 1, Part.HAIR)).mean(axis=1)
    temple = (np.abs(spots[:, 0]) > 0.17) & (spots[:, 2] > -0.08) & (spots[:, 1] < 0.12)
    assert light[temple].mean() > 1.2 * light[np.abs(spots[:, 0]) < 0.08].mean()


def test_neither_white_nor_young_hair_is_speckled():
    spots = _spots()
    for grey in (0.0, 1.0):
        colors = _colors(2, grey=grey, streaks=None, hair=np.array([0.2, 0.13, 0.08]))
        light = hair_colors(colors, colors.hair, spots, dice(4, 2, Part.HAIR)).mean(axis=1)
        assert light.std() / light.mean() < 0.2


def test_stubble_takes_of_the_skin():
    colors = _colors(3, grey=1.0, streaks=None, hair=np.array([0.2, 0.13, 0.08]))
    hair, stubble = (
        hair_colors(colors, colors.hair, _spots(), dice(4, 3, Part.BEARD), sheer=sheer).mean(axis=0)
        for sheer in (0.0, 0.5)
    )
    assert np.linalg.norm(stubble - 0.8 * colors.skin) < 0.6 * np.linalg.norm(hair - 0.8 * colors.skin)
