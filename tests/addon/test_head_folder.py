"""Reading a head folder, without Blender."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from headstitch.addon import head_folder
from headstitch.addon.head_folder import HeadFolderError, neck_base, provenance_properties, read_head_folder


def test_a_head_folder_is_read_as_it_was_written(write_head, arrays, record):
    head = read_head_folder(write_head("ada"))
    for key, array in arrays.items():
        np.testing.assert_array_equal(getattr(head, key), array)
    assert head.name == "ada"
    assert head.provenance == record
    assert json.loads(head.provenance_text) == record


def test_the_origin_is_the_middle_of_the_lowest_ring_however_dense_its_sides_are():
    turn = np.concatenate([np.linspace(0, np.pi, 40, endpoint=False), np.linspace(np.pi, 2 * np.pi, 4, endpoint=False)])
    ring = np.stack([0.1 * np.cos(turn) + 0.03, np.full(44, -0.4), 0.1 * np.sin(turn) - 0.02], axis=1)
    crown = [[0.5, 0.4, 0.5]]
    np.testing.assert_allclose(neck_base(np.concatenate([ring, crown])), [0.03, -0.4, -0.02], atol=3e-3)


@pytest.mark.parametrize("file", ["head.npz", "albedo.png", "head.json"])
def test_a_missing_file_is_named(write_head, file):
    folder = write_head()
    (folder / file).unlink()
    with pytest.raises(HeadFolderError, match=f"has no {file}; choose the folder"):
        read_head_folder(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(HeadFolderError, match=r'There is no folder ".*nowhere"'):
        read_head_folder(tmp_path / "nowhere")


def spoiled(edit: Callable[[dict[str, np.ndarray]], None]) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """The changes to a good head that ``edit`` makes on copies of its arrays."""

    def changes(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        copies = {key: array.copy() for key, array in arrays.items()}
        edit(copies)
        return copies

    return changes


def put(key: str, at: tuple, value: float) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    return spoiled(lambda arrays: arrays[key].__setitem__(at, value))


SPOILED = {
    "has no array corner_uvs": lambda arrays: {"corner_uvs": None},
    "vertices has the shape": lambda arrays: {"vertices": arrays["vertices"][:, :2]},
    "vertices holds int64, not real numbers": lambda arrays: {"vertices": arrays["vertices"].astype(np.int64)},
    "vertices holds numbers that are not finite": put("vertices", (5, 1), np.nan),
    "faces holds float64, not whole numbers": lambda arrays: {"faces": arrays["faces"].astype(np.float64)},
    "faces has the shape": lambda arrays: {"faces": arrays["faces"].ravel()},
    "its mesh has no faces": lambda arrays: {"faces": arrays["faces"][:0], "corner_uvs": arrays["corner_uvs"][:0]},
    "a face names the vertex 100000, but": put("faces", (3, 2), 100_000),
    "a face names the vertex -1, but": put("faces", (3, 2), -1),
    "a face names the same vertex twice": lambda arrays: {"faces": arrays["faces"][:, [0, 1, 0]]},
    "corner_uvs has the shape": lambda arrays: {"corner_uvs": arrays["corner_uvs"][:-1]},
    "its mesh has no height": lambda arrays: {"vertices": arrays["vertices"] * np.float32([1, 0, 1])},
    "cam2world has the shape": lambda arrays: {"cam2world": arrays["cam2world"][:3]},
    "cam2world does not turn and move alone": lambda arrays: {"cam2world": arrays["cam2world"] * 1.1},
    "intrinsics are not those of a lens": put("intrinsics", (1, 1), 3.0),
}


@pytest.mark.parametrize("reason", SPOILED)
def test_impossible_arrays_are_refused_with_the_reason(write_head, arrays, reason):
    folder = write_head(**SPOILED[reason](arrays))
    with pytest.raises(HeadFolderError, match=reason) as refusal:
        read_head_folder(folder)
    assert str(refusal.value).startswith(f'"{folder / "head.npz"}" is damaged: ')
    assert "make the head again" in str(refusal.value)


def test_a_mirrored_camera_is_refused(write_head, arrays):
    with pytest.raises(HeadFolderError, match="cam2world"):
        read_head_folder(write_head(cam2world=arrays["cam2world"] @ np.diag([-1.0, 1, 1, 1])))


def test_a_pickle_in_the_arrays_is_never_run(write_head, tmp_path):
    mark = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (mark,))

    folder = write_head(vertices=np.array([Bomb()], dtype=object))
    with pytest.raises(HeadFolderError, match="not a file of arrays"):
        read_head_folder(folder)
    (folder / "head.npz").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(HeadFolderError, match="not a file of arrays"):
        read_head_folder(folder)
    assert not mark.exists()


def test_a_lone_array_in_place_of_the_archive_is_refused(write_head):
    folder = write_head()
    lone = io.BytesIO()
    np.save(lone, np.zeros(3))
    (folder / "head.npz").write_bytes(lone.getvalue())
    with pytest.raises(HeadFolderError, match="not a file of arrays"):
        read_head_folder(folder)


def test_an_archive_that_unpacks_to_too_much_is_refused_unread(write_head, monkeypatch):
    monkeypatch.setattr(head_folder, "LARGEST_HEAD", 1 << 20)
    folder = write_head(bomb=np.zeros(1 << 19))
    with pytest.raises(HeadFolderError, match="it unpacks to 4 MB, more than the 1 MB"):
        read_head_folder(folder)


def test_every_truncation_and_flipped_byte_is_refused_or_harmless(write_head):
    folder = write_head()
    good = (folder / "head.npz").read_bytes()
    random = np.random.default_rng(0)
    spoiled = [good[:length] for length in (0, 1, 30, len(good) // 2, len(good) - 1)]
    for _ in range(300):
        changed = bytearray(good)
        at = int(random.integers(len(good))) if random.random() < 0.5 else -int(random.integers(1, 600))
        changed[at] ^= int(random.integers(1, 256))
        spoiled.append(bytes(changed))
    refused = 0
    for content in spoiled:
        (folder / "head.npz").write_bytes(content)
        try:
            read_head_folder(folder)
        except HeadFolderError:
            refused += 1
    assert refused > 200  # the checksums of the zip see nearly all of them; anything else would have raised here


@pytest.mark.parametrize(
    ("text", "reason"), [(b"{", "not JSON"), (b"\xff\xfe", "not JSON"), (b"[1]", "not the record"), (b"", "not JSON")]
)
def test_a_damaged_record_is_refused(write_head, text, reason):
    folder = write_head()
    (folder / "head.json").write_bytes(text)
    with pytest.raises(HeadFolderError, match=reason):
        read_head_folder(folder)


@pytest.mark.parametrize("name", ["albedo.png", "photo.png", "preview.png"])
def test_a_picture_that_would_fill_the_memory_is_refused(write_head, write_png, pixels, name):
    folder = write_head()
    write_png(folder / name, pixels)
    bomb = bytearray((folder / name).read_bytes())
    bomb[16:24] = (16384).to_bytes(4, "big") * 2
    (folder / name).write_bytes(bomb)
    assert read_head_folder(folder).name == "ada"
    bomb[20:24] = (16385).to_bytes(4, "big")
    (folder / name).write_bytes(bomb)
    with pytest.raises(HeadFolderError, match=f"{name}. is damaged: it has 16384 x 16385 pixels, more than the 16384"):
        read_head_folder(folder)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"product": "Else"}, "it is not the record of a Headstitch head"),
        ({"schema": 2}, "has the format 2, and this version of the add-on reads 1; update the add-on"),
    ],
)
def test_the_record_of_something_else_is_refused(write_head, record, change, reason):
    folder = write_head()
    (folder / "head.json").write_text(json.dumps(record | change))
    with pytest.raises(HeadFolderError, match=reason):
        read_head_folder(folder)


def test_a_head_that_the_backend_saved_is_read_the_same(arrays, camera, pixels, tmp_path):
    pytest.importorskip("pygltflib", reason="needs the backend's libraries beside Blender")
    from headstitch.backend.meshing.mesh import Mesh, SurfaceReport, TexturedMesh
    from headstitch.backend.options import Options
    from headstitch.backend.portrait.portrait import Crop, Portrait
    from headstitch.backend.results.glb import METRES_PER_UNIT
    from headstitch.backend.results.head import Head
    from headstitch.backend.results.record import make_record

    mesh = TexturedMesh(Mesh(arrays["vertices"], arrays["faces"]), arrays["corner_uvs"], pixels)
    portrait = Portrait(pixels, Crop(4, 8, 8, 0), pixels, pixels[..., 0], np.zeros((478, 3)), camera, sha256="cd" * 32)
    record = make_record(
        portrait=portrait,
        photo_name="somewhere/ada.jpg",
        options=Options(),
        model="template",
        model_sha256="ef" * 32,
        device="cpu",
    )
    saved = Head(
        mesh=mesh,
        camera=camera,
        surface=SurfaceReport(len(arrays["vertices"]), len(arrays["faces"]), 1, 1, False, 0, 1),
        latent={"shape": np.zeros(3, np.float32)},
        record=record,
        preview=pixels,
    ).save(tmp_path / "ada")
    head = read_head_folder(saved.folder)
    for key, array in arrays.items():
        np.testing.assert_array_equal(getattr(head, key), array)
    assert head_folder.METRES_PER_UNIT == METRES_PER_UNIT
    shown = provenance_properties(head.provenance_text)
    assert shown["headstitch_photo_sha256"] == "cd" * 32
    assert shown["headstitch_photo_name"] == "ada.jpg"
    assert shown["headstitch_model_name"] == "template"
    assert shown["headstitch_generated_content"] is True
    assert json.loads(shown["headstitch"])["schema"] == 1
