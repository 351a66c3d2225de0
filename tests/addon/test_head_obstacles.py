"""Scenes that take no head, or not easily: linked, overridden, being edited. One sentence, and nothing changes."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest


def add(bpy, folder, **options):
    bpy.ops.import_scene.headstitch_head("EXEC_DEFAULT", False, directory=f"{folder}/", **options)
    return bpy.context.active_object


def counts(bpy):
    kinds = ("objects", "meshes", "materials", "images", "cameras", "collections")
    return {kind: len(getattr(bpy.data, kind)) for kind in kinds}


@pytest.fixture
def library(bpy, write_head, tmp_path):
    """A saved file with a head in it; the open one is new again."""
    add(bpy, write_head("ada"))
    bpy.context.scene.name = "Stage"
    bpy.data.collections["ada"].asset_clear()
    path = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_factory_startup=True, use_empty=False)
    return path


def link(bpy, library, kind, name):
    with bpy.data.libraries.load(library, link=True) as (_, here):
        setattr(here, kind, [name])
    return getattr(here, kind)[0]


def test_a_linked_scene_is_told_and_left_alone(bpy, library, write_head):
    scene = link(bpy, library, "scenes", "Stage")
    bpy.context.window_manager.windows[0].scene = scene
    folder = write_head("new")
    before = counts(bpy)
    with (
        bpy.context.temp_override(window=bpy.context.window_manager.windows[0], scene=scene),
        pytest.raises(RuntimeError, match='The scene "Stage" is linked from another file and cannot be changed; go to'),
    ):
        add(bpy, folder)
    assert counts(bpy) == before


def test_beside_a_linked_collection_that_is_active_a_head_comes_in(bpy, library, write_head):
    collection = link(bpy, library, "collections", "ada")
    scene = bpy.context.scene
    scene.collection.children.link(collection)
    layer = bpy.context.view_layer
    layer.active_layer_collection = layer.layer_collection.children["ada"]
    before = [thing.name for thing in collection.objects]
    head = add(bpy, write_head("new"))
    assert head.name == "new"
    assert [thing.name for thing in collection.objects] == before
    assert "new" in scene.collection.children


def test_a_linked_head_is_not_rebuilt(bpy, library, write_head):
    head = link(bpy, library, "objects", "ada")
    bpy.context.scene.collection.objects.link(head)
    folder = write_head("new")
    before, mesh = counts(bpy), head.data
    with pytest.raises(RuntimeError, match='"ada" is linked from another file and cannot be changed; make it local'):
        add(bpy, folder, replace="ada")
    assert counts(bpy) == before
    assert head.data == mesh


def test_an_overridden_head_is_not_rebuilt(bpy, library, write_head):
    head = link(bpy, library, "objects", "ada")
    bpy.context.scene.collection.objects.link(head)
    override = head.override_create(remap_local_usages=True)
    folder = write_head("new")
    before = counts(bpy)
    with pytest.raises(RuntimeError, match="is linked from another file and cannot be changed"):
        add(bpy, folder, replace=override.name)
    assert counts(bpy) == before


@pytest.mark.parametrize("mode", ["EDIT", "SCULPT", "VERTEX_PAINT", "WEIGHT_PAINT", "TEXTURE_PAINT"])
def test_a_head_comes_in_whatever_the_mode(bpy, write_head, mode):
    bpy.ops.object.mode_set(mode=mode)
    head = add(bpy, write_head())
    assert bpy.context.mode == "OBJECT"
    assert bpy.context.active_object == head
    assert bpy.data.objects["Cube"].mode == "OBJECT"


def test_a_mode_that_blender_does_not_leave_is_told(bpy):
    operators = importlib.import_module("bl_ext.user_default.headstitch.addon.import_operators")
    with pytest.raises(operators.HeadFolderError, match="Blender cannot leave the mode it is in; go to Object Mode"):
        operators._leave_mode(SimpleNamespace(mode="PARTICLE"))


def test_an_excluded_collection_and_a_hidden_active_object_are_no_obstacle(bpy, write_head):
    bpy.data.objects["Cube"].hide_set(True)
    bpy.context.view_layer.layer_collection.children["Collection"].exclude = True
    assert add(bpy, write_head()).name == "ada"


def test_a_folder_that_vanishes_while_it_is_read_is_told(bpy, write_head, monkeypatch):
    operators = importlib.import_module("bl_ext.user_default.headstitch.addon.import_operators")
    folder, read = write_head(), operators.read_head_folder

    def read_then_lose(path):
        head = read(path)
        (folder / "albedo.png").unlink()
        return head

    monkeypatch.setattr(operators, "read_head_folder", read_then_lose)
    before = counts(bpy)
    with pytest.raises(RuntimeError, match=r"albedo.png. cannot be read \(it is not there\)"):
        add(bpy, folder)
    assert counts(bpy) == before


def test_during_a_render_the_scene_is_not_changed(bpy, monkeypatch):
    logic = importlib.import_module("bl_ext.user_default.headstitch.addon.head_import")
    assert logic.obstacle(bpy.context.scene) is None
    running = SimpleNamespace(app=SimpleNamespace(is_job_running=lambda kind: kind == "RENDER"))
    monkeypatch.setattr(logic, "bpy", running)
    assert logic.obstacle(bpy.context.scene).startswith(
        "A render is running, and the scene must not change meanwhile; "
    )
