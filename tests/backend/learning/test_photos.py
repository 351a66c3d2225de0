"""Folders of labelled photos: what they become, and every way in which they may be wrong."""

import json

import cv2
import numpy as np
import pytest
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.errors import PhotoError, TrainingError
from headstitch.backend.learning import photos as module
from headstitch.backend.learning.photos import Labelled, Photos, find_photos
from headstitch.backend.networks.encoder import mirror_camera

from .conftest import YAWS, write_photos


def labels(folder):
    return json.loads((folder / "dataset.json").read_text())["labels"]


def relabel(folder, change):
    (folder / "dataset.json").write_text(json.dumps({"labels": change(labels(folder))}))


def test_labels_are_read_as_panoheads_tools_write_them(photo_folder):
    found = find_photos([photo_folder])
    assert found.names == tuple(f"{number}.png" for number in range(10))
    expected = np.stack([Camera.from_angles(yaw).label for yaw in YAWS])
    np.testing.assert_allclose(found.labels, expected, atol=1e-6)


def test_numbers_may_be_numbers_and_photos_lie_in_folders_below(tmp_path):
    write_photos(tmp_path / "00001", 2)
    (tmp_path / "00001" / "dataset.json").unlink()
    label = Camera.from_angles(0.3).label.tolist()
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": [["00001/1.png", label], ["00001/0.png", label]]}))
    assert [path.name for path in find_photos([tmp_path]).paths] == ["1.png", "0.png"]


def test_the_hash_is_of_names_and_labels_not_of_the_place(photo_folder, tmp_path):
    other = write_photos(tmp_path / "elsewhere")
    assert find_photos([other]).sha256 == find_photos([photo_folder]).sha256
    relabel(other, lambda old: old[::-1])
    assert find_photos([other]).sha256 != find_photos([photo_folder]).sha256


def test_a_photo_lies_before_the_background_and_is_averaged_down(tmp_path):
    column = np.arange(64)
    picture = np.full((64, 64, 4), 0, np.uint8)
    picture[..., 2] = 200  # red, in OpenCV's order
    picture[..., 3] = np.where(column < 32, 255, 0)
    folder = write_photos(tmp_path, 1)
    assert cv2.imwrite(str(folder / "0.png"), picture)
    photo, _ = Photos(find_photos([folder]), size=32, background=(-1.0, 0.0, 1.0), mirror=False).sample(0)
    assert photo.shape == (3, 32, 32)
    torch.testing.assert_close(photo[:, 5, 5], torch.tensor([200 / 127.5 - 1, -1, -1]), rtol=0, atol=1e-5)
    torch.testing.assert_close(photo[:, 5, 30], torch.tensor([-1.0, 0.0, 1.0]))


def test_an_opaque_photo_is_cut_out_by_our_matte(tmp_path, monkeypatch):
    folder = write_photos(tmp_path, 1)
    assert cv2.imwrite(str(folder / "0.png"), np.full((48, 48, 3), 60, np.uint8))
    asked = []

    def left_half(image, landmarks, inside):
        asked.append((image.shape, bool(np.isnan(landmarks).all()), float(inside.min())))
        return np.tile(np.arange(48) < 24, (48, 1)).astype(np.float32)

    monkeypatch.setattr(module, "make_matte", left_half)
    photo, _ = Photos(find_photos([folder]), size=48, mirror=False).sample(0)
    assert asked == [((48, 48, 3), True, 1.0)]
    assert photo[:, :, 24:].min() == 1
    torch.testing.assert_close(photo[:, :, :24], torch.full((3, 48, 24), 60 / 127.5 - 1))


def test_every_photo_comes_mirrored_too_with_its_camera(photo_folder):
    found = find_photos([photo_folder])
    photos, plain = (Photos(found, size=32, mirror=mirror) for mirror in (True, False))
    given = [photos.sample(at) for at in range(20)]
    for number in range(10):
        one = plain.read(found.paths[number])
        label = torch.from_numpy(found.labels[number])
        same = [torch.equal(photo, one) and torch.equal(camera, label) for photo, camera in given]
        turned = [
            torch.equal(photo, one.flip(-1)) and torch.equal(camera, mirror_camera(label)) for photo, camera in given
        ]
        assert any(same)
        assert any(turned)


def test_scarce_poses_come_more_often():
    yaws = [0.0] * 16 + [0.5] * 4 + [-0.5] * 0 + [1.2]
    labelled = Labelled(
        tuple(range(21)), tuple(map(str, range(21))), np.stack([Camera.from_angles(yaw).label for yaw in yaws]), ()
    )
    assert labelled.repeats(0.5, 8).tolist() == [1] * 16 + [2] * 4 + [4]
    assert labelled.repeats(1.0, 8).tolist() == [1] * 16 + [4] * 4 + [8]
    assert labelled.repeats(0.0, 8).tolist() == [1] * 21


def test_left_and_right_are_counted_together():
    yaws = [0.0, 0.0, 0.5, -0.5]
    labelled = Labelled(tuple(range(4)), tuple("abcd"), np.stack([Camera.from_angles(yaw).label for yaw in yaws]), ())
    assert labelled.repeats(1.0, 8).tolist() == [1, 1, 1, 1]


def test_a_few_photos_are_kept_apart(photo_folder):
    found = find_photos([photo_folder])
    learnt, apart = found.split(64)
    assert len(apart.paths) == 1
    assert set(learnt.names) | set(apart.names) == set(found.names)
    assert not set(learnt.names) & set(apart.names)
    assert len(found.split(0)[1].paths) == 0


# --- what may be wrong -----------------------------------------------------------------------------------------------


def refused(folder, sentence):
    with pytest.raises(TrainingError, match=sentence):
        find_photos([folder])


def test_a_folder_that_is_none_or_has_no_labels(tmp_path):
    refused(tmp_path / "nowhere", "nowhere is no folder; give a folder of photos")
    refused(tmp_path, r"has no dataset\.json; its photos need camera labels")


@pytest.mark.parametrize("content", ["", "[]", '{"labels": null}', '{"labels": [1]}', '{"labels": [["a", "b", "c"]]}'])
def test_labels_of_another_form(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    refused(tmp_path, "does not hold .*25 numbers")


def test_no_label_at_all(tmp_path):
    (tmp_path / "dataset.json").write_text('{"labels": []}')
    refused(tmp_path, "There is no labelled photo")


@pytest.mark.parametrize("label", [[1.0] * 25, [0.0] * 24, ["x"] * 25, None, [float("nan")] * 25])
def test_a_label_that_is_no_camera_is_named(tmp_path, label):
    folder = write_photos(tmp_path, 2)
    relabel(folder, lambda old: [old[0], ["1.png", label]])
    refused(folder, r"The label of 1\.png in .* is no camera; make it anew")


def test_labels_without_photos_are_named(tmp_path):
    folder = write_photos(tmp_path, 6)
    (folder / "3.png").unlink()
    refused(folder, r"names the photo 3\.png that is not there")
    for number in (0, 1, 2, 4):
        (folder / f"{number}.png").unlink()
    refused(folder, r"names the photos 0\.png, 1\.png, 2\.png and 2 more that are not there")


def test_photos_without_labels_are_left_out_and_listed(tmp_path):
    folder = write_photos(tmp_path, 3)
    relabel(folder, lambda old: old[:2])
    found = find_photos([folder])
    assert found.names == ("0.png", "1.png")
    assert found.unlabelled == (str(folder / "2.png"),)


def test_a_broken_photo_is_told_of_once_and_the_next_takes_its_place(tmp_path):
    folder = write_photos(tmp_path, 4)
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:60])
    said = []
    photos, again = (Photos(find_photos([folder]), size=32, mirror=False, tell=said.append) for _ in range(2))
    given = [photos.sample(at)[0] for at in range(12)]
    assert len(said) == 1
    assert "2.png is passed over: " in said[0]
    assert all(torch.equal(again.sample(at)[0], given[at]) for at in (11, 3, 7, 0))


def test_a_photo_that_is_not_square_or_too_small_is_broken(tmp_path):
    folder = write_photos(tmp_path, 1)
    assert cv2.imwrite(str(folder / "0.png"), np.zeros((60, 48, 3), np.uint8))
    with pytest.raises(PhotoError, match="48x60 pixels; give square crops of at least 16"):
        Photos(find_photos([folder]), size=32).read(folder / "0.png")
    assert cv2.imwrite(str(folder / "0.png"), np.zeros((40, 40, 3), np.uint8))
    with pytest.raises(PhotoError, match="40x40 pixels; give square crops of at least 64"):
        Photos(find_photos([folder]), size=128).read(folder / "0.png")


def test_a_disk_full_of_broken_photos_ends_the_run(tmp_path):
    folder = write_photos(tmp_path, 2)
    for path in folder.glob("*.png"):
        path.write_bytes(b"\x89PNG")
    with pytest.raises(TrainingError, match=r"20 photos in a row cannot be read, the last one .*\.png; check"):
        Photos(find_photos([folder]), size=32).sample(0)
