"""Real heads, small and thin of hair."""

import types
from dataclasses import replace

import numpy as np
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.geometry import as_tensor, make_scene
from headstitch.backend.training.dataset import sample
from headstitch.backend.training.dataset.make import make_dataset
from headstitch.backend.training.dataset.options import DataOptions
from headstitch.backend.training.dataset.packing import unpack_places
from headstitch.backend.training.dataset.read import open_dataset
from headstitch.backend.training.dataset.sample import distances_at, make_record, sample_places
from headstitch.backend.training.dataset.version import sampler_version
from headstitch.backend.training.ground_truth import measure_head
from headstitch.backend.training.head import make_head

OPTIONS = DataOptions(heads=2, seed=11, photos=1, around=1, size=48, points=800, samples=1500, strands=0.02, shard=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    make_dataset(folder, OPTIONS, workers=1)
    return folder


@pytest.fixture(scope="module")
def head():
    return make_head(OPTIONS.seed, 1, share=OPTIONS.strands)


@pytest.fixture(scope="module")
def truth(head):
    return measure_head(head, OPTIONS.points)


def test_a_worker_and_this_process_make_the_same_bytes(folder):
    stored = open_dataset(folder)
    assert len(stored) == 2
    assert make_record(OPTIONS.seed, 1, OPTIONS) == stored[1]._files


def test_what_is_stored_is_the_heads_truth(folder, head, truth):
    stored = open_dataset(folder)[1]
    assert stored.attributes == head.attributes
    assert stored.head_height == pytest.approx(truth.head_height, abs=1e-6)
    np.testing.assert_allclose(stored.points, truth.points, atol=7.7e-6)
    np.testing.assert_array_equal(stored.labels, truth.labels)
    np.testing.assert_array_equal(stored.landmarks, truth.landmarks)
    assert np.abs(stored.colors / 255 - truth.colors).max() <= 1 / 510 + 1e-6
    angle = np.degrees(np.arccos(np.clip((stored.normals * truth.normals).sum(axis=1), -1, 1)))
    assert angle.max() < 0.97


def test_distances_are_exact_at_the_stored_places(folder, head, truth):
    stored = open_dataset(folder)[1]
    total, body = stored.distances.T
    np.testing.assert_allclose(body, head.body.signed_distance(stored.samples), atol=1.6e-5)
    if truth.hair is not None:
        scene = make_scene(truth.hair.vertices, truth.hair.faces)
        hair = scene.compute_signed_distance(as_tensor(stored.samples)).numpy()
        np.testing.assert_allclose(total, np.minimum(body, hair), atol=3.2e-5)
    assert (total <= body + 1e-9).all()


def test_samples_lie_near_the_surface_and_all_over_the_cube(head, truth):
    places = unpack_places(sample_places(head, truth.points, 6000))
    distance = np.abs(distances_at(head, truth, places)[:, 0])
    assert np.abs(places).max() <= 0.5
    assert 0.3 < (distance < 0.008).mean() < 0.6
    assert 0.15 < (distance > 0.05).mean() < 0.45
    corners = (np.abs(places) > 0.25).all(axis=1)
    assert 0.25 / 8 * 0.5 < corners.mean() < 0.25 / 8 * 2.5


def test_views_come_with_their_cameras(folder):
    stored = open_dataset(folder)[1]
    photo, around = stored.view(0), stored.view(1)
    assert (photo.kind, around.kind) == ("photo", "around")
    for view in (photo, around):
        assert view.image.shape == (48, 48, 3)
        seen = np.isfinite(view.depth)
        assert 0.2 < seen.mean() < 0.98
        assert (view.labels[seen] < 255).mean() > 0.95
        assert isinstance(view.camera, Camera)
        at = view.lens.project(stored.landmarks[[1, 152, 10]])
        assert ((at[:, :2] > -0.3) & (at[:, :2] < 1.3)).all()
    np.testing.assert_array_equal(around.camera.label, around.lens.label)


def test_the_samplers_version_is_of_its_sources():
    assert len(sampler_version()) == 12
    assert int(sampler_version(), 16) >= 0


def test_cycles_draws_its_share_of_the_heads(monkeypatch):
    def tell(who):
        return lambda head, photos, around, size: [(who, head.number)] * (photos + around)

    monkeypatch.setattr(sample, "draw_views", tell("fast"))
    monkeypatch.setattr(sample, "_cycles", lambda: types.SimpleNamespace(draw_views=tell("cycles")))
    heads = [types.SimpleNamespace(seed=3, number=number) for number in range(400)]
    for share in (0.0, 0.25, 1.0):
        options = replace(OPTIONS, realistic=share)
        views = [sample._views(head, options) for head in heads]
        assert views == [sample._views(head, options) for head in heads]
        assert {len(each) for each in views} == {2}
        assert sum(each[0][0] == "cycles" for each in views) / 400 == pytest.approx(share, abs=0.06)
