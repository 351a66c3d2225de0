from collections import Counter

import numpy as np
import pytest
from headstitch.backend.camera import CENTIMETRE, Camera
from headstitch.backend.geometry import as_tensor, make_scene
from headstitch.backend.training.body import Label
from headstitch.backend.training.chance import quota
from headstitch.backend.training.draw import draw, light_head
from headstitch.backend.training.ground_truth import EXTENT, VOXEL, measure_head, signed_distance
from headstitch.backend.training.hair.cuts import draw_style
from headstitch.backend.training.hair.styles import STYLES, men_among
from headstitch.backend.training.head import make_head
from headstitch.backend.training.identity import draw_person

SHARE = 0.15


@pytest.fixture(scope="module")
def heads():
    return {name: make_head(3, 1, style=name, share=SHARE) for name in ("bald", "crop", "bob", "afro", "tied back")}


@pytest.fixture(scope="module")
def truth(heads):
    return measure_head(heads["bob"], 6000)


def test_the_same_numbers_make_the_same_head(heads):
    again = make_head(3, 1, style="bob", share=SHARE)
    np.testing.assert_array_equal(again.hair.points, heads["bob"].hair.points)
    np.testing.assert_array_equal(again.hair.colors, heads["bob"].hair.colors)
    np.testing.assert_array_equal(again.landmarks, heads["bob"].landmarks)
    assert again.attributes == heads["bob"].attributes


def test_another_number_is_another_person(heads):
    assert np.abs(make_head(3, 2, style="bald").landmarks - heads["bald"].landmarks).max() > 0.003


def test_each_run_of_heads_has_every_style_once():
    for block in range(3):
        drawn = [quota(5, block * len(STYLES) + k, STYLES) for k in range(len(STYLES))]
        assert Counter(drawn) == dict.fromkeys(STYLES, 1)
    assert quota(5, 0, STYLES) == quota(5, 0, STYLES)
    assert [quota(5, k, STYLES) for k in range(14)] != [quota(6, k, STYLES) for k in range(14)]


def test_both_sexes_are_evenly_many_and_all_ages_are_there():
    people = [draw_person(2, number) for number in range(60)]
    assert 20 <= sum(who.male > 0.5 for who in people) <= 40
    assert all(draw_person(2, number, men=1.0).male > 0.5 for number in range(5))
    years = np.array([who.years for who in people])
    assert years.min() < 25
    assert years.max() > 60
    assert all(abs(sum(who.ancestry.values()) - 1) < 1e-9 for who in people)


def test_an_unknown_style_and_a_share_of_nothing_are_refused():
    with pytest.raises(ValueError, match="mullet"):
        draw_style("mullet", 0.5, 30, np.random.default_rng(0))
    with pytest.raises(ValueError, match="share"):
        make_head(1, 1, share=0)


def test_styles_lean_to_a_sex_and_all_together_to_none():
    assert men_among("buzz") > 0.7
    assert men_among("long wavy") < 0.3
    assert np.mean([men_among(name) for name in STYLES]) == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("style", ["crop", "bob", "afro", "tied back"])
def test_no_strand_runs_inside_the_body(heads, style):
    points = heads[style].hair.points.reshape(-1, 3)[::7]
    depth = heads[style].body.signed_distance(points)
    assert np.percentile(depth, 0.5) > -0.1 * CENTIMETRE
    assert (depth < -0.2 * CENTIMETRE).mean() < 0.002


def test_hair_leaves_eyes_nose_and_mouth_free(heads):
    for style in ("crop", "bob", "afro", "tied back"):
        x, y, z = heads[style].hair.points.reshape(-1, 3).T
        assert ((np.abs(x) < 0.06) & (y < 0.05) & (y > -0.2) & (z > 0.12)).mean() < 1e-4


def test_strands_begin_on_the_skin(heads):
    for style in ("crop", "afro"):
        assert np.abs(heads[style].body.signed_distance(heads[style].hair.points[:, 0])).max() < 1e-4


def test_an_afro_stands_high_and_a_bob_covers_the_ears_that_tied_hair_leaves_free(heads):
    height = {name: np.percentile(head.hair.points[..., 1], 99.5) for name, head in heads.items() if name != "bald"}
    assert height["afro"] > height["tied back"] + 2 * CENTIMETRE
    assert len(heads["bald"].hair.points) == 0

    def over_ears(style):
        x, y, z = heads[style].hair.points.reshape(-1, 3).T
        return int(((np.abs(x) > 0.19) & (np.abs(y) < 0.06) & (z > -0.14) & (z < 0.01)).sum())

    assert over_ears("bob") > 20 * max(over_ears("tied back"), over_ears("crop"), 1)


def test_the_hull_holds_the_strands_and_is_closed(heads, truth):
    points = heads["bob"].hair.points.reshape(-1, 3)[::11]
    points = points[(np.abs(points) < EXTENT).all(axis=1)]
    distance = make_scene(truth.hair.vertices, truth.hair.faces).compute_signed_distance(as_tensor(points)).numpy()
    assert (distance < VOXEL).mean() > 0.97
    faces = truth.hair.faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    there = Counter(map(tuple, edges.tolist()))
    assert all(there[b, a] == count for (a, b), count in there.items())


def test_bald_heads_have_no_hull(heads):
    assert measure_head(heads["bald"], 1000).hair is None or heads["bald"].colors.beard not in ("none", "stubble")


def test_the_signed_distance_is_negative_inside_and_zero_on_the_points(heads, truth):
    head = heads["bob"]
    away = truth.points[:300] + 0.004 * truth.normals[:300]
    assert np.abs(signed_distance(head, truth, truth.points[:300])).max() < 1e-3
    assert (signed_distance(head, truth, away) > 0).mean() > 0.9
    centre = np.array([[0.0, 0.1, -0.1], [0.0, -0.1, 0.0]], np.float32)
    assert (signed_distance(head, truth, centre) < -0.02).all()


def test_labels_lie_where_they_belong(truth):
    counts = np.bincount(truth.labels, minlength=6)
    assert (counts[[Label.SKIN, Label.HAIR, Label.EYE, Label.BROW]] > 0).all()
    eyes, brows = truth.points[truth.labels == Label.EYE], truth.points[truth.labels == Label.BROW]
    assert np.abs(eyes[:, 1] - 0.027).max() < 0.04
    assert brows[:, 1].mean() > eyes[:, 1].mean()
    assert truth.points[truth.labels == Label.CLOTHES][:, 1].max() < -0.15
    assert truth.colors.min() >= 0
    assert truth.colors.max() <= 1
    np.testing.assert_allclose(np.linalg.norm(truth.normals, axis=1), 1, atol=1e-4)
    assert 0.45 < truth.head_height < 0.60


def test_landmarks_lie_on_the_surface(heads, truth):
    distance = np.abs(heads["bob"].body.signed_distance(truth.landmarks))
    assert truth.landmarks.shape == (478, 3)
    assert np.median(distance) < 0.05 * CENTIMETRE


def test_a_picture_shows_hair_above_eyes_and_the_head_in_the_middle(heads):
    picture = draw(light_head(heads["crop"]), Camera.from_angles(), 64)
    assert picture.color.shape == (64, 64, 3)
    rows = {kind: np.nonzero(picture.label == kind)[0].mean() for kind in (Label.HAIR, Label.SKIN, Label.CLOTHES)}
    assert rows[Label.HAIR] < rows[Label.SKIN] < rows[Label.CLOTHES]
    assert picture.alpha[32, 32] == 1
    assert picture.alpha[2, 2] == 0
    assert picture.depth[32, 32] == pytest.approx(2.5, abs=0.1)
