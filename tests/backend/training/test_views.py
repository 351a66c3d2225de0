from dataclasses import replace

import numpy as np
import pytest
from headstitch.backend.camera import CENTIMETRE, RADIUS, Camera
from headstitch.backend.training.body import Label
from headstitch.backend.training.glasses import GLASSES, draw_glasses, make_glasses
from headstitch.backend.training.ground_truth import measure_head
from headstitch.backend.training.head import make_head
from headstitch.backend.training.views import draw_views, nearer_lens, plan_views

SIZE = 64
EYES_AND_MOUTH = [33, 133, 362, 263, 61, 291]


@pytest.fixture(scope="module")
def head():
    return make_head(3, 1, style="bob", share=0.1)


@pytest.fixture(scope="module")
def views(head):
    return draw_views(head, 2, 2, SIZE)


def test_photos_come_first_and_the_same_head_gives_the_same_views(head, views):
    assert [view.kind for view in views] == ["photo", "photo", "around", "around"]
    again = draw_views(head, 2, 2, SIZE)
    for one, two in zip(views, again, strict=True):
        for name in ("image", "matte", "depth", "normals", "labels"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert one.attributes == two.attributes


def test_more_photos_do_not_change_the_others(head):
    few, many = plan_views(head, 1, 2), plan_views(head, 3, 2)
    for one, two in zip([*few], [many[0], *many[3:]], strict=True):
        np.testing.assert_array_equal(one.camera.label, two.camera.label)
        assert one.attributes == two.attributes


def test_depth_normals_and_labels_are_there_where_the_head_is(views):
    for view in views:
        assert view.image.shape == (SIZE, SIZE, 3)
        there = view.labels != 255
        np.testing.assert_array_equal(np.isfinite(view.depth), there)
        assert (view.matte[~there] < 128).mean() > 0.97  # single hairs cover parts of pixels
        assert (view.matte[view.labels == Label.SKIN] > 200).mean() > 0.9
        assert there.mean() > 0.2
        skin = view.labels == Label.SKIN
        length = np.linalg.norm(view.normals[skin], axis=1)
        np.testing.assert_allclose(length[length > 0], 1, atol=1e-3)
        assert (length > 0).mean() > 0.98
        facing = (view.normals[skin] @ view.lens.cam2world[:3, 2]) < 0.2
        assert facing.mean() > 0.97  # what is seen looks at the lens


def test_the_depth_is_that_of_the_surface(head, views):
    """A landmark that a view sees lies at the depth of its pixel."""
    seen = 0
    for view in views:
        place = view.lens.project(head.landmarks)
        column, row = (place[:, :2] * SIZE).astype(int).T
        inside = (column >= 0) & (column < SIZE) & (row >= 0) & (row < SIZE)
        apart = view.depth[row[inside], column[inside]] - place[inside, 2]
        seen += np.count_nonzero(np.abs(apart) < 0.3 * CENTIMETRE)
    assert seen > 200


def test_a_label_has_panoheads_radius_and_a_photos_lens_stands_nearer_or_farther(views):
    for view in views:
        assert np.linalg.norm(view.camera.position) == pytest.approx(RADIUS)
        if view.kind == "around":
            assert view.lens is view.camera


@pytest.mark.parametrize("centimetres", [50, 120, 300])
def test_a_nearer_lens_shows_the_face_as_large_where_it_was(head, centimetres):
    camera = Camera.from_angles(0.3, 0.1)
    lens = nearer_lens(camera, centimetres, head.landmarks)
    places = head.landmarks[EYES_AND_MOUTH]
    here, there = (each.project(places)[:, :2] for each in (camera, lens))
    np.testing.assert_allclose(there.mean(axis=0), here.mean(axis=0), atol=0.01)
    assert np.ptp(there, axis=0).max() == pytest.approx(np.ptp(here, axis=0).max(), rel=0.06)
    np.testing.assert_allclose(lens.cam2world[:3, 2], camera.cam2world[:3, 2])


def test_views_from_around_look_from_every_quarter_and_are_undamaged(head):
    shots = [shot for shot in plan_views(head, 0, 8) if shot.kind == "around"]
    yaws = np.array([shot.camera.angles[0] for shot in shots])
    quarters = np.floor((yaws + np.pi) / (np.pi / 2)).astype(int) % 4
    assert sorted(quarters.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert all(shot.damage.amount == 0 for shot in shots)


def test_photos_look_at_faces_as_people_take_them():
    """Poses of many heads without drawing one: the dice are the same, the head lends its landmarks."""
    lent = make_head(3, 1, style="bald", share=0.1)
    angles = np.degrees(
        [shot.camera.angles for number in range(80) for shot in plan_views(replace(lent, number=number), 3, 0)]
    )
    assert np.mean(np.abs(angles[:, 0]) < 30) > 0.6
    assert np.abs(angles[:, 0]).max() < 80
    assert angles[:, 1].min() > -30
    assert angles[:, 1].max() < 35


def test_a_small_share_wears_glasses_which_are_seen_and_no_part_of_the_truth(head):
    body = head.body
    wearing = [draw_glasses(5, number, body) for number in range(150)]
    assert 3 <= sum(each is not None for each in wearing) <= 22
    worn = replace(head, glasses=make_glasses("square", body, np.random.default_rng(0)))
    assert worn.attributes["glasses"] == "square"
    front = next(k for k, shot in enumerate(plan_views(worn, 8, 0)) if abs(shot.camera.angles[0]) < 0.5)
    photo = draw_views(worn, front + 1, 0, 96)[front]
    assert (photo.labels == GLASSES).sum() > 40
    labels = measure_head(worn, 3000).labels
    np.testing.assert_array_equal(labels, measure_head(head, 3000).labels)
    assert GLASSES not in labels
