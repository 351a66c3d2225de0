import json
import types
from pathlib import Path

import numpy as np
import pytest
from headstitch.backend.camera import Camera
from headstitch.backend.errors import OptionError, ResultsError
from headstitch.backend.learning import examples as module
from headstitch.backend.learning.examples import ExampleOptions, make_example, open_examples, prepare
from headstitch.backend.networks.starter import plane_points
from headstitch.backend.template.distance import measure
from headstitch.backend.template.fit import average_fit
from headstitch.backend.template.morphable import load_morphable
from headstitch.backend.template.solid import make_solids
from headstitch.backend.training.dataset.options import DataOptions
from headstitch.backend.training.dataset.packing import pack_places
from headstitch.backend.training.dataset.record import StoredHead, pack_record

DATA = DataOptions(heads=2, seed=7, photos=2, around=1, size=64, points=60, samples=40)
SMALL = ExampleOptions(size=32, planes=8, slices=3, samples=30, points=20)


@pytest.fixture(scope="module")
def head():
    """The template's own mean head as a record: its landmarks, random points, flat pictures with a round matte."""
    model, random = load_morphable(), np.random.default_rng(0)
    normals = random.normal(size=(DATA.points, 3))
    arrays = {
        "points": random.uniform(-0.3, 0.3, (DATA.points, 3)),
        "normals": normals / np.linalg.norm(normals, axis=1, keepdims=True),
        "colors": random.random((DATA.points, 3)),
        "labels": random.integers(0, 6, DATA.points),
        "samples": pack_places(random.uniform(-0.4, 0.4, (DATA.samples, 3))),
        "distances": random.uniform(-0.3, 0.6, (DATA.samples, 2)),
        "landmarks": model.landmarks(average_fit(model).vertices(model)),
    }
    about = {"seed": 7, "number": 1, "head_height": 0.5, "attributes": {"style": "bald"}}
    at = (np.arange(64) + 0.5) / 64 - 0.5
    matte = np.where(np.hypot(*np.meshgrid(at, at)) < 0.35, np.uint8(255), np.uint8(0))
    views = [
        types.SimpleNamespace(
            image=np.full((64, 64, 3), 90, np.uint8), matte=matte, depth=np.full((64, 64), np.inf, np.float32),
            normals=np.zeros((64, 64, 3), np.float32), labels=np.full((64, 64), 255, np.uint8),
            camera=Camera.from_angles(yaw), lens=Camera.from_angles(yaw), kind=kind, attributes={},
        )
        for yaw, kind in ((0.0, "photo"), (0.4, "photo"), (2.0, "around"))
    ]  # fmt: skip
    return StoredHead(1, pack_record(about, arrays, views), DATA, Path("shard.tar"))


@pytest.fixture(scope="module")
def example(head):
    return make_example(head, SMALL)


def test_an_example_has_the_photos_of_its_head_and_places_around_and_on_the_surface(example, head):
    assert example.picture.shape == (2, 32, 32, 4)
    np.testing.assert_array_equal(example.picture[:, 16, 16], [[90, 90, 90, 255]] * 2)
    np.testing.assert_array_equal(example.picture[:, 0, 0, 3], 0)
    np.testing.assert_allclose(example.camera, np.stack([head.cameras(k)[0].label for k in (0, 1)]), atol=1e-6)
    np.testing.assert_array_equal(example.places, np.concatenate([head.samples[:30], head.points[:20]]))
    np.testing.assert_array_equal(example.distance[:30], head.distances[:30, 0])
    np.testing.assert_array_equal(example.distance[30:], 0)
    np.testing.assert_array_equal(example.colors, head.colors[:20])
    assert not example.found.any()


def test_the_template_is_fitted_to_each_photo_and_measured_at_places_and_cells(example):
    """The head is the template's mean: its fit is the mean head, but for the noise on the landmarks."""
    model = load_morphable()
    solids = make_solids(average_fit(model).vertices(model))
    cells = plane_points(8, 3).numpy()
    for view in range(2):
        bald, skin = measure(solids, example.places)
        np.testing.assert_allclose(example.leaning[view, :, 0].astype(float), bald, atol=0.02)
        near = np.abs(bald) < 0.1
        assert np.median(np.linalg.norm(example.leaning[view, near, 2:] - skin[near, :3], axis=1)) < 0.01
        at_cells = measure(solids, cells.reshape(-1, 3))[0].reshape(cells.shape[:-1])
        np.testing.assert_allclose(example.planes[view, 0].astype(float), at_cells, atol=0.02)
        again = example.leaning_of(view).measure(example.places)
        np.testing.assert_allclose(again[1], example.leaning[view, :, 1].astype(float), atol=1e-3)
    assert (example.planes[:, 1] <= example.planes[:, 0] + 1e-3).all()  # hair only adds


@pytest.fixture
def dataset(head, monkeypatch):
    """A data set of two heads that are the same, as the module sees it."""
    heads = types.SimpleNamespace(
        options=DATA, numbers=[1, 2], manifest=types.SimpleNamespace(sampler="s"), head=lambda number: head
    )
    monkeypatch.setattr(module, "open_dataset", lambda folder: heads)
    monkeypatch.setattr(module, "_dataset", lambda folder: heads)
    return Path("data")


def test_examples_are_made_once_and_come_back_as_they_were(dataset, example, tmp_path):
    told = []
    made = prepare(dataset, tmp_path / "x", SMALL, workers=0, progress=told.append)
    assert len(told) == 2
    assert made.numbers == [1, 2]
    for name, value in vars(example).items():
        if name != "number":
            np.testing.assert_array_equal(getattr(made[0], name), value, err_msg=name)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "x").iterdir()}
    prepare(dataset, tmp_path / "x", SMALL, workers=0, progress=told.append)
    assert len(told) == 2
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "x").iterdir()} == before
    (tmp_path / "x" / "head_0000001.safetensors").unlink()
    prepare(dataset, tmp_path / "x", SMALL, workers=0, progress=told.append)
    assert len(told) == 3
    assert open_examples(tmp_path / "x").options == SMALL


def test_other_options_or_another_data_set_are_refused(dataset, tmp_path):
    prepare(dataset, tmp_path / "x", SMALL, workers=0, heads=1)
    with pytest.raises(OptionError, match="other options; choose another folder"):
        prepare(dataset, tmp_path / "x", ExampleOptions(size=64), workers=0)
    assert open_examples(tmp_path / "x").numbers == [1]


def test_what_is_damaged_is_named(dataset, tmp_path):
    made = prepare(dataset, tmp_path / "x", SMALL, workers=0, heads=1)
    path = tmp_path / "x" / "head_0000001.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ResultsError, match=r"head_0000001.*damaged"):
        made[0]
    record = tmp_path / "x" / "examples.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "headstitch_examples": 99}))
    with pytest.raises(ResultsError, match="another format"):
        open_examples(tmp_path / "x")
    record.write_text("{")
    with pytest.raises(ResultsError, match="damaged"):
        open_examples(tmp_path / "x")
    with pytest.raises(ResultsError, match="no examples"):
        open_examples(tmp_path)
