"""A head as an asset of a real Blender."""

from __future__ import annotations

import json

import numpy as np
import pytest

TILE = 256


@pytest.fixture
def sheet():
    """A preview.png as the backend draws it, (512, 1024, 3): eight tiles, each with a corner of its own."""
    picture = np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8)
    return np.repeat(np.repeat(picture, 64, axis=0), 128, axis=1)


def add(bpy, folder, **options):
    bpy.ops.import_scene.headstitch_head("EXEC_DEFAULT", False, directory=f"{folder}/", **options)
    return bpy.context.active_object


def preview(obj):
    """(256, 256, 3), row 0 at the top, in 255ths."""
    values = np.empty(TILE * TILE * 4, np.float32)
    obj.preview.image_pixels_float.foreach_get(values)
    return np.rint(values.reshape(TILE, TILE, 4)[::-1, :, :3] * 255)


def test_the_head_is_an_asset_with_tags_and_where_it_comes_from(bpy, write_head):
    folder = write_head()
    record = json.loads((folder / "head.json").read_text(encoding="utf-8"))
    record |= {
        "generated_content_note": "Generated content.",
        "model": {"name": "starter", "sha256": "0" * 64, "licence": "CC0-1.0"},
    }
    (folder / "head.json").write_text(json.dumps(record), encoding="utf-8")
    data = add(bpy, folder).asset_data
    assert {"headstitch", "head", "portrait"} <= {tag.name for tag in data.tags}
    assert data.description == "Head made from Zoë – 頭.jpg with the model starter. Generated content."
    assert data.author == "Headstitch 0.1.0"
    assert data.license == "CC0-1.0"


@pytest.mark.parametrize("with_photo", [True, False])
def test_its_preview_is_our_picture_of_the_head_not_the_photo(bpy, write_head, write_png, sheet, with_photo):
    folder = write_head()
    picture = sheet if with_photo else sheet[:, TILE:]
    write_png(folder / "preview.png", picture)
    head = add(bpy, folder)
    assert tuple(head.preview.image_size) == (TILE, TILE)
    np.testing.assert_array_equal(preview(head), sheet[:TILE, TILE : 2 * TILE])
    assert [image.name for image in bpy.data.images if "preview" in image.name] == []


def test_a_head_without_a_preview_is_an_asset_all_the_same(bpy, write_head):
    assert add(bpy, write_head()).asset_data is not None


def test_no_asset_is_made_when_none_is_wanted(bpy, write_head):
    head = add(bpy, write_head(), as_asset=False)
    assert head.asset_data is None
    assert not head.use_fake_user


def test_rebuilding_renews_the_picture_and_keeps_the_tags_of_a_person(bpy, write_head, write_png, sheet):
    first, second = write_head("ada"), write_head("again")
    write_png(first / "preview.png", sheet)
    write_png(second / "preview.png", 255 - sheet)
    head = add(bpy, first)
    head.asset_data.tags.new("my film")
    add(bpy, second, replace="ada")
    np.testing.assert_array_equal(preview(head), 255 - sheet[:TILE, TILE : 2 * TILE])
    assert "my film" in {tag.name for tag in head.asset_data.tags}


def test_a_restored_version_has_its_own_picture_also_from_a_file_without_its_folder(
    bpy, write_head, write_png, sheet, tmp_path
):
    first, second = write_head("ada"), write_head("again")
    write_png(first / "preview.png", sheet)
    write_png(second / "preview.png", 255 - sheet)
    add(bpy, first)
    add(bpy, second, replace="ada")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "head.blend"))
    (first / "preview.png").unlink()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "head.blend"))
    head = bpy.data.objects["ada"]
    for shown in (sheet, 255 - sheet):
        assert bpy.ops.headstitch.restore_version() == {"FINISHED"}
        np.testing.assert_array_equal(preview(head), shown[:TILE, TILE : 2 * TILE])


def test_a_version_without_a_picture_does_not_keep_that_of_another(bpy, write_head, write_png, sheet):
    folder = write_head("ada")
    write_png(folder / "preview.png", sheet)
    head = add(bpy, folder)
    add(bpy, write_head("again"), replace="ada")
    assert tuple(head.preview.image_size) == (0, 0)


def test_rebuilding_makes_no_asset_of_a_head_that_is_none(bpy, write_head):
    head = add(bpy, write_head("ada"), as_asset=False)
    add(bpy, write_head("again"), replace="ada")
    assert head.asset_data is None


def test_another_file_can_take_the_asset_with_its_texture(bpy, write_head, tmp_path):
    folder = write_head()
    add(bpy, folder)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "library.blend"))
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)
    with bpy.data.libraries.load(str(tmp_path / "library.blend"), assets_only=True) as (there, here):
        assert there.objects == ["ada"]
        here.objects = there.objects
    (head,) = here.objects
    image = next(node for node in head.active_material.node_tree.nodes if node.type == "TEX_IMAGE").image
    assert image.packed_file.data == (folder / "albedo.png").read_bytes()
    assert head["headstitch_generated_content"] is True
