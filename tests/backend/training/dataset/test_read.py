import io
import itertools
import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
from headstitch.backend.errors import ResultsError
from headstitch.backend.training.dataset import packing
from headstitch.backend.training.dataset.manifest import read_manifest
from headstitch.backend.training.dataset.read import open_dataset
from headstitch.backend.training.dataset.record import StoredHead


@pytest.fixture
def dataset(whole):
    return open_dataset(whole)


def test_a_head_comes_back_as_it_was_packed(dataset, pretend):
    assert len(dataset) == 10
    head = dataset[9]
    about, arrays, views = pretend.head(9)
    assert (head.number, head.attributes, head.head_height) == (9, about["attributes"], 0.5)
    for name, bound in (("points", 7.7e-6), ("normals", 0.0168), ("distances", 1.54e-5), ("landmarks", 0)):
        stored = getattr(head, name)
        assert stored.dtype == np.float32
        assert np.abs(stored - arrays[name]).max() <= bound
    np.testing.assert_array_equal(head.colors, np.rint(255 * arrays["colors"]))
    np.testing.assert_array_equal(head.labels, arrays["labels"])
    np.testing.assert_array_equal(head.samples, packing.unpack_places(arrays["samples"]))
    assert head.views == 2
    for place, view in enumerate(views):
        stored = head.view(place)
        assert (stored.kind, stored.attributes) == (("photo", "around")[place], {"light": "soft"})
        assert np.abs(stored.image.astype(int) - view.image).max() <= 2
        np.testing.assert_array_equal(stored.matte, view.matte)
        np.testing.assert_array_equal(stored.labels, view.labels)
        np.testing.assert_array_equal(np.isinf(stored.depth), np.isinf(view.depth))
        seen = view.labels < 255
        assert np.abs(stored.depth[seen] - view.depth[seen]).max() < 4.9e-4
        hair = view.labels == 1
        assert hair.any()
        assert (stored.normals[hair] == 0).all()
        np.testing.assert_allclose(stored.normals[~hair], view.normals[~hair], atol=0.0168)
        np.testing.assert_array_equal(stored.camera.label, view.camera.label)
        np.testing.assert_array_equal(stored.lens.label, view.lens.label)
    with pytest.raises(IndexError):
        dataset[10]
    with pytest.raises(KeyError):
        dataset.head(11)


def test_a_head_without_views_is_one_too(pretend):
    options = replace(pretend.OPTIONS, photos=0, around=0)
    head = StoredHead(1, pretend.record(options, 1), options, "x.tar")
    assert (head.views, head.about["views"]) == (0, [])
    assert head.points.shape == (50, 3)


def test_in_order_or_shuffled_every_head_comes_once_and_shards_stay_together(dataset):
    assert [head.number for head in dataset] == list(range(10))
    orders = [[head.number for head in dataset.iterate(seed)] for seed in range(6)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert len({tuple(order) for order in orders}) == 6
    assert [head.number for head in dataset.iterate(3)] == orders[3]
    for order in orders:
        shards = [number // 4 for number in order]
        assert sum(a != b for a, b in itertools.pairwise(shards)) == 2
    parts = [[head.number for head in dataset.iterate(1, (k, 2))] for k in range(2)]
    assert sorted(parts[0] + parts[1]) == list(range(10))
    with pytest.raises(ValueError, match="part"):
        next(dataset.iterate(part=(2, 2)))


def test_it_may_be_sent_to_another_process(dataset):
    dataset[0]
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again[3].points, dataset[3].points)


def test_what_is_finished_of_a_growing_data_set_can_be_read(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "set")
    record = json.loads((folder / "manifest.json").read_text())
    del record["shards"]["heads-000000.tar"]
    (folder / "manifest.json").write_text(json.dumps(record))
    dataset = open_dataset(folder)
    assert [head.number for head in dataset] == [4, 5, 6, 7, 8, 9]
    assert dataset[0].number == 4
    record["shards"] = {}
    (folder / "manifest.json").write_text(json.dumps(record))
    with pytest.raises(ResultsError, match="no finished shard yet"):
        open_dataset(folder)


def test_no_data_set_is_a_sentence(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ResultsError, match="holds no data set"):
            open_dataset(folder)


def test_a_shard_that_is_missing_cut_short_or_none_is_a_sentence(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "set")
    path = folder / "heads-000001.tar"
    content = path.read_bytes()
    path.write_bytes(content[:-3000])
    with pytest.raises(ResultsError, match=r"heads-000001.tar is damaged: it ends too early; run headstitch data make"):
        open_dataset(folder)[5]
    path.write_bytes(b"hello" * 500)
    with pytest.raises(ResultsError, match="no entry of a tar"):
        open_dataset(folder)[5]
    path.unlink()
    with pytest.raises(ResultsError, match="it is missing"):
        open_dataset(folder)[5]
    path.write_bytes((folder / "heads-000000.tar").read_bytes())
    with pytest.raises(ResultsError, match="head 5 is missing in it"):
        open_dataset(folder)[5]
    assert open_dataset(folder)[1].number == 1


def spoilt(pretend, name, content):
    files = {**pretend.record(pretend.OPTIONS, 2), name: content}
    return StoredHead(2, {key: value for key, value in files.items() if value is not None}, pretend.OPTIONS, "x.tar")


def npy():
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], object), allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "ask"),
    [
        ("points.bin", b"12", lambda head: head.points),
        ("points.bin", npy(), lambda head: head.points),
        ("landmarks.bin", np.full((478, 3), np.nan, "<f4").tobytes(), lambda head: head.landmarks),
        ("cameras.bin", bytes(400), lambda head: head.cameras(1)),
        ("samples.bin", None, lambda head: head.samples),
        ("view0.jpg", b"\xff\xd8\xff", lambda head: head.image(0)),
        ("view1.depth.png", packing.encode_plane(np.zeros((32, 32), np.uint8)), lambda head: head.view(1)),
        ("view1.normals.png", packing.encode_plane(np.zeros((32, 32), np.uint8)), lambda head: head.view(1)),
        ("head.json", b"[" * 100_000, lambda head: head.attributes),
        ("head.json", b'{"number": 2}', lambda head: head.attributes),
        ("head.json", b'{"number": 3, "attributes": {}, "head_height": 1, "views": [1, 2]}', lambda head: head.about),
    ],
)
def test_a_file_that_cannot_be_is_a_sentence_with_the_heads_number(pretend, name, content, ask):
    with pytest.raises(ResultsError, match=rf"x.tar is damaged: of head 2, {name}"):
        ask(spoilt(pretend, name, content))


def test_a_manifest_that_claims_much_takes_no_memory(whole, tmp_path):
    record = json.loads((whole / "manifest.json").read_text())
    record["options"].update(heads=10**8, shard=1)
    (tmp_path / "manifest.json").write_text(json.dumps(record))
    assert len(read_manifest(tmp_path).shards) == 3


def test_whatever_is_flipped_only_a_sentence_comes(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "set")
    random = np.random.default_rng(0)
    names, outcomes = ["heads-000000.tar", "manifest.json"], set()
    good = {name: (folder / name).read_bytes() for name in names}
    for turn in range(60):
        for name in names:
            (folder / name).write_bytes(good[name])
        spoilt = bytearray(good[names[turn % 4 == 3]])
        for _ in range(random.integers(1, 20)):
            place = random.integers(len(spoilt))
            if turn % 2 == 0:  # headers alone
                place = place // 512 * 512 + min(random.integers(160), len(spoilt) - place // 512 * 512 - 1)
            spoilt[place] = random.integers(256)
        (folder / names[turn % 4 == 3]).write_bytes(spoilt)
        try:
            dataset = open_dataset(folder)
            for head in [dataset[place] for place in range(4)]:
                for name in ("about", "points", "normals", "colors", "labels", "samples", "distances", "landmarks"):
                    getattr(head, name)
                head.view(0), head.view(1)
            outcomes.add("read")
        except ResultsError:
            outcomes.add("refused")
    assert "refused" in outcomes
