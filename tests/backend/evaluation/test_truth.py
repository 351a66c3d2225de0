"""The files of a synthetic head: what is written is read, and what is not whole is refused in a sentence."""

import errno
import io
from dataclasses import replace

import numpy as np
import pytest
from headstitch.backend import disk
from headstitch.backend.errors import ResultsError
from headstitch.backend.evaluation.truth import Part, Truth, find_truths
from headstitch.backend.training.body import Label


@pytest.fixture
def saved(truth, tmp_path):
    return truth.save(tmp_path / "head.npz")


def spoil(path, **changes):
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value(arrays[name])
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    path.write_bytes(stream.getvalue())


def test_what_is_written_is_read(truth, saved):
    again = Truth.load(saved)
    for name in ("points", "normals", "colors", "labels", "landmarks", "photo"):
        np.testing.assert_array_equal(getattr(again, name), getattr(truth, name))
    for name in ("body", "hair"):
        np.testing.assert_array_equal(getattr(again, name).vertices, getattr(truth, name).vertices)
        np.testing.assert_array_equal(getattr(again, name).faces, getattr(truth, name).faces)
    np.testing.assert_allclose(again.camera.cam2world, truth.camera.cam2world, atol=1e-6)
    assert again.attributes == {"hair": "ball", "age": 30}
    assert again.head_height == 0.5


def test_the_same_head_gives_the_same_bytes(truth, saved, tmp_path):
    again = truth.save(tmp_path / "again.npz")
    assert again.read_bytes() == saved.read_bytes()
    assert again.with_suffix(".png").read_bytes() == saved.with_suffix(".png").read_bytes()


def test_the_bald_have_no_hair(truth, tmp_path):
    assert Truth.load(replace(truth, hair=None).save(tmp_path / "bald.npz")).hair is None


def test_the_labels_are_those_of_the_sampler():
    assert {part.name: int(part) for part in Part} == {label.name: int(label) for label in Label}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": lambda _: np.array(2)}, "has format 2, and this version reads 1"),
        ({"normals": None}, "it lacks 'normals"),
        ({"points": lambda a: a[:-1]}, "normals is float32"),
        ({"points": lambda a: a.astype(np.float64)}, "points is float64"),
        ({"points": lambda a: a * np.float32("nan")}, "points holds what is no number"),
        ({"points": lambda a: np.float32(0)}, "1 points"),
        ({"normals": lambda a: 2 * a}, "not of length 1"),
        ({"labels": lambda a: a + np.uint8(9)}, "labels holds 10"),
        ({"head_height": lambda a: -a}, "head_height is -0.5"),
        ({"body__faces": lambda a: a + np.int32(10**6)}, "body.faces name vertices"),
        ({"body__faces": lambda a: a[:0]}, "body has no faces"),
        ({"camera": lambda a: a * 2}, "camera"),
        ({"attributes": lambda a: a[:-1]}, "is damaged"),
        ({"photo__sha256": lambda a: a + np.uint8(1)}, "not the photo"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_every_array_is_checked(saved, changes, said):
    spoil(saved, **changes)
    with pytest.raises(ResultsError, match=said):
        Truth.load(saved)


@pytest.mark.parametrize("damage", [b"", b"no zip", "half"])
def test_a_broken_file_is_one_sentence(saved, damage):
    content = saved.read_bytes()
    saved.write_bytes(content[: len(content) // 2] if damage == "half" else damage)
    with pytest.raises(ResultsError, match="is damaged"):
        Truth.load(saved)


def test_a_pickle_in_the_file_is_never_run(saved):
    spoil(saved, attributes=lambda _: np.array([{"a": 1}], object))
    with pytest.raises(ResultsError, match="is damaged"):
        Truth.load(saved)


def test_a_photo_that_is_gone_or_changed_is_told(saved):
    photo = saved.with_suffix(".png")
    photo.write_bytes(photo.read_bytes() + b"x")
    with pytest.raises(ResultsError, match="not the photo"):
        Truth.load(saved)
    photo.unlink()
    with pytest.raises(ResultsError, match=r"head\.png is missing"):
        Truth.load(saved)


def test_a_full_disk_leaves_the_old_head_as_it_was(truth, saved, monkeypatch):
    before = saved.read_bytes()

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "write_synced", full)
    with pytest.raises(ResultsError, match="The disk is full"):
        truth.save(saved)
    assert saved.read_bytes() == before
    assert sorted(path.name for path in saved.parent.iterdir()) == ["head.npz", "head.png"]


def test_what_is_no_ground_truth_is_not_taken(known, truth, front):
    with pytest.raises(ResultsError, match="not of length 1"):
        Truth.of(replace(known, normals=known.normals * 3), truth.photo, front, {})
    with pytest.raises(ResultsError, match="the photo is"):
        Truth.of(known, truth.photo[:10], front, {})


def test_folders_without_heads_are_told(saved, tmp_path):
    assert find_truths(tmp_path) == [saved]
    (tmp_path / "empty").mkdir()
    for folder, said in (("empty", "holds no synthetic head"), ("none", "is not there"), ("head.npz", "not a folder")):
        with pytest.raises(ResultsError, match=said):
            find_truths(tmp_path / folder)


def test_colours_may_come_as_fractions(known, truth, front):
    made = Truth.of(replace(known, colors=(known.colors / 255).astype(np.float32)), truth.photo, front, {})
    np.testing.assert_array_equal(made.colors, truth.colors)
