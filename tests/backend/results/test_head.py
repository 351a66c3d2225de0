import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from headstitch.backend.errors import ResultsError
from headstitch.backend.meshing.mesh import SurfaceReport
from headstitch.backend.options import Options
from headstitch.backend.portrait.portrait import Crop, Portrait
from headstitch.backend.results.folder import HEAD_FILES
from headstitch.backend.results.head import Head, changed_files
from headstitch.backend.results.record import make_record
from headstitch.backend.results.report import Measurement, QualityReport
from safetensors import safe_open


@pytest.fixture
def portrait(tilted):
    photo = np.zeros((300, 400, 3), np.uint8)
    crop = np.zeros((512, 512, 3), np.uint8)
    nothing = np.zeros((478, 3), np.float32)
    return Portrait(
        photo, Crop(200, 150, 180, 0.1), crop, crop[..., 0] * 1.0, nothing, tilted, "ab" * 32, ("Several.",)
    )


def record_of(portrait, **changes):
    wanted = {
        "portrait": portrait,
        "photo_name": "pictures of somebody/me.jpg",
        "options": Options(),
        "model": "template",
        "model_sha256": "cd" * 32,
        "device": "cpu",
        "stages": {"surface": 1.25, "texture": 0.5},
    }
    return make_record(**(wanted | changes))


@pytest.fixture
def head(ball, tilted, portrait):
    latent = {
        "coefficients": np.linspace(-1, 1, 60, dtype=np.float32),
        "camera": tilted.label,
        "pose": np.arange(6, dtype=np.float64).reshape(3, 2).T,  # not contiguous
    }
    quality = QualityReport((Measurement("holes", "holes", 1.0, "", 0.0, "exactly", "One hole."),))
    surface = SurfaceReport(482, 960, 1, 0, True, 2, 2)
    return Head(ball, tilted, surface, latent, record_of(portrait), np.full((256, 512, 3), 7, np.uint8), quality)


def same(a, b):
    return (
        np.array_equal(a.mesh.mesh.vertices, b.mesh.mesh.vertices)
        and np.array_equal(a.mesh.mesh.faces, b.mesh.mesh.faces)
        and np.array_equal(a.mesh.corner_uvs, b.mesh.corner_uvs)
        and np.array_equal(a.mesh.albedo, b.mesh.albedo)
        and np.array_equal(a.camera.cam2world, b.camera.cam2world)
        and np.array_equal(a.camera.intrinsics, b.camera.intrinsics)
        and np.array_equal(a.preview, b.preview)
        and a.latent.keys() == b.latent.keys()
        and all(np.array_equal(a.latent[key], b.latent[key]) for key in a.latent)
        and (a.surface, a.quality, a.record) == (b.surface, b.quality, b.record)
    )


def test_a_head_may_have_a_picture_of_how_the_model_came_to_it(tmp_path, head):
    shown = replace(head, debug=np.full((64, 96, 3), 5, np.uint8))
    saved = shown.save(tmp_path / "head")
    assert sorted(p.name for p in saved.folder.iterdir()) == sorted([*HEAD_FILES, "debug.png"])
    again = Head.load(saved.folder)
    np.testing.assert_array_equal(again.debug, shown.debug)
    assert same(again, head)
    assert changed_files(saved.folder) == ()
    (saved.folder / "debug.png").write_bytes(b"x")
    assert changed_files(saved.folder) == ("debug.png",)
    with pytest.raises(ResultsError, match="cannot be read"):
        Head.load(saved.folder)
    (saved.folder / "debug.png").unlink()
    assert changed_files(saved.folder) == ("debug.png",)
    assert Head.load(saved.folder).debug is None


def test_the_picture_of_a_replaced_head_goes_and_a_persons_file_of_that_name_stays(tmp_path, head):
    target = tmp_path / "head"
    replace(head, debug=np.full((64, 96, 3), 5, np.uint8)).save(target)
    head.save(target)
    assert sorted(p.name for p in target.iterdir()) == sorted(HEAD_FILES)
    (target / "debug.png").write_bytes(b"a person's")
    assert Head.load(target).debug is None
    assert changed_files(target) == ()
    head.save(target)
    assert (target / "debug.png").read_bytes() == b"a person's"
    assert [p.name for p in tmp_path.iterdir()] == ["head"]


@pytest.mark.parametrize("measured", [True, False])
def test_head_comes_back_as_it_was_saved(tmp_path, head, measured):
    head = head if measured else replace(head, quality=None)
    saved = head.save(tmp_path / "head")
    assert saved.folder == tmp_path / "head"
    assert sorted(p.name for p in saved.folder.iterdir()) == sorted(HEAD_FILES)
    again = Head.load(str(tmp_path / "head"))
    assert same(again, head)
    assert again.folder == tmp_path / "head"
    assert again.warnings == ("Several.",)


def test_saved_again_after_loading_gives_the_same_bytes(tmp_path, head):
    head.save(tmp_path / "a")
    Head.load(tmp_path / "a").save(tmp_path / "b")
    for name in HEAD_FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_bytes_depend_on_neither_time_nor_process_nor_order(tmp_path, head, portrait):
    head.save(tmp_path / "a")
    time.sleep(2.1)  # the resolution of times in zip files is two seconds
    other = replace(
        head,
        latent=dict(reversed(head.latent.items())),
        record=dict(reversed(record_of(portrait, stages={"surface": 9.0}).items())),
    )
    other.save(tmp_path / "b")
    for name in HEAD_FILES[:-1]:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    ours, theirs = (json.loads((tmp_path / folder / "head.json").read_text()) for folder in "ab")
    assert ours.pop("run") != theirs.pop("run")
    assert ours == theirs
    assert list(ours) == sorted(ours)


def test_another_process_writes_the_same_bytes(tmp_path, head):
    head.save(tmp_path / "a")
    script = (
        "import sys; from pathlib import Path; from headstitch.backend.results.head import Head;"
        "Head.load(sys.argv[1]).save(sys.argv[2])"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", script, tmp_path / "a", tmp_path / "b"], check=True, env=environment)
    for name in HEAD_FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_record_tells_provenance_and_no_path_of_the_machine(tmp_path, head):
    head.save(tmp_path / "head")
    text = (tmp_path / "head" / "head.json").read_text()
    record = json.loads(text)
    assert record["generated_content"] is True
    assert record["digital_source_type"] == "compositeSynthetic"
    assert record["photo"] == {"name": "me.jpg", "sha256": "ab" * 32, "width_pixels": 400, "height_pixels": 300}
    assert record["model"] == {"name": "template", "sha256": "cd" * 32, "licence": None}
    assert record["options"] == Options().to_dict()
    assert record["libraries"]["numpy"] == np.__version__
    assert record["surface"]["removed_components"] == 2
    assert record["quality"]["passed"] is False
    assert record["camera"]["cam2world"] == head.camera.cam2world.tolist()
    assert record["run"]["seconds"] == 1.75
    assert record["crop"]["side_pixels"] == 180
    for name in HEAD_FILES:
        data = (tmp_path / "head" / name).read_bytes()
        assert b"somebody" not in data
        assert str(tmp_path).encode() not in data


def test_every_file_is_marked_as_generated(tmp_path, head):
    head.save(tmp_path / "head")
    for name in HEAD_FILES:
        data = (tmp_path / "head" / name).read_bytes().replace(b"\0", b"")  # NumPy's texts have four bytes a letter
        assert b"Generated content" in data, name


def test_latent_is_plain_safetensors(tmp_path, head):
    head.save(tmp_path / "head")
    with safe_open(tmp_path / "head" / "latent.safetensors", "np") as file:
        assert sorted(file.keys()) == ["camera", "coefficients", "pose", "record"]
        assert np.array_equal(file.get_tensor("pose"), head.latent["pose"])


def test_npz_needs_no_pickle_and_tells_its_units(tmp_path, head):
    head.save(tmp_path / "head")
    with np.load(tmp_path / "head" / "head.npz", allow_pickle=False) as data:
        assert data["vertices"].shape == (482, 3)
        assert data["corner_uvs"].shape == (960, 3, 2)
        assert data["metres_per_unit"] == pytest.approx(0.42265, abs=1e-4)
        assert "y up" in str(data["note"])


def test_changed_files_are_found_by_their_hashes(tmp_path, head):
    folder = head.save(tmp_path / "head").folder
    assert changed_files(folder) == ()
    (folder / "albedo.png").write_bytes((folder / "preview.png").read_bytes())
    (folder / "head.npz").unlink()
    assert changed_files(folder) == ("head.npz", "albedo.png")


@pytest.mark.parametrize("name", HEAD_FILES[1:])
@pytest.mark.parametrize("damage", [b"", b"garbage that is no file of ours" * 9, None, "half"])
def test_damaged_folder_is_told_with_a_sentence(tmp_path, head, name, damage):
    path = head.save(tmp_path / "head").folder / name
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage == "half" else damage)
    with pytest.raises(ResultsError, match=str(tmp_path / "head")):
        Head.load(tmp_path / "head")


@pytest.mark.parametrize("key", ["surface", "quality"])
def test_record_without_its_parts_is_told(tmp_path, head, key):
    path = head.save(tmp_path / "head").folder / "head.json"
    record = json.loads(path.read_text())
    record[key] = {"nonsense": 1}
    path.write_text(json.dumps(record))
    with pytest.raises(ResultsError):
        Head.load(tmp_path / "head")
    del record[key]
    path.write_text(json.dumps(record))
    with pytest.raises(ResultsError):
        Head.load(tmp_path / "head")


def test_arrays_that_do_not_fit_together_are_told(tmp_path, head):
    path = head.save(tmp_path / "head").folder / "head.npz"
    with np.load(path) as data:
        arrays = dict(data)
    wrong = {
        "faces": arrays["faces"] + 1,
        "vertices": arrays["vertices"][:, :2],
        "corner_uvs": arrays["corner_uvs"][1:],
        "cam2world": np.eye(3),
    }
    for key, value in wrong.items():
        np.savez(path, **(arrays | {key: value}))
        with pytest.raises(ResultsError, match=r"head\.npz"):
            Head.load(tmp_path / "head")


def test_newer_format_is_told(tmp_path, head):
    path = head.save(tmp_path / "head").folder / "head.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    with pytest.raises(ResultsError, match="format 99"):
        Head.load(tmp_path / "head")


@pytest.mark.parametrize("where", ["missing", "empty", "file"])
def test_what_is_no_head_is_told(tmp_path, where):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultsError, match="holds no head"):
        Head.load(tmp_path / where)


def test_head_left_by_a_kill_in_the_middle_of_a_swap_is_loaded(tmp_path, head):
    folder = head.save(tmp_path / "head").folder
    folder.rename(tmp_path / ".head.old-0123abcd")
    assert same(Head.load(tmp_path / "head"), head)


def test_full_disk_at_every_file_leaves_nothing(tmp_path, head, monkeypatch):
    for number in range(len(HEAD_FILES)):
        count = iter(range(99))
        real = os.fsync

        def full(handle, count=count, number=number, real=real):
            if next(count) == number:
                raise OSError(28, "No space left on device")
            real(handle)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(ResultsError, match="disk is full"):
                head.save(tmp_path / "head")
        assert list(tmp_path.iterdir()) == []


def test_name_of_the_photo_that_is_not_unicode_is_kept(tmp_path, head, portrait):
    name = os.fsdecode(b"caf\xe9.jpg")
    replace(head, record=record_of(portrait, photo_name=name)).save(tmp_path / "head")
    assert Head.load(tmp_path / "head").record["photo"]["name"] == name


def test_record_keeps_each_warning_once(portrait):
    record = record_of(replace(portrait, warnings=("Several.", "Small.", "Several.")))
    assert record["warnings"] == ["Several.", "Small."]
