"""File > Import of several head folders at once: names in a directory, as Blender's file browser hands them over."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest


def run(bpy, folder, *names, undo=False, **options):
    files = [{"name": name} for name in names]
    return bpy.ops.import_scene.headstitch_head("EXEC_DEFAULT", undo, directory=f"{folder}/", files=files, **options)


def places(bpy, *names):
    return [tuple(round(x, 5) for x in bpy.data.objects[name].location) for name in names]


@pytest.fixture
def heads(write_head):
    """The folder in which the folders ada, ben and cleo lie."""
    for name in ("ada", "ben", "cleo"):
        folder = write_head(name)
    return folder.parent


def test_all_of_them_stand_in_a_grid_and_are_selected(bpy, heads):
    bpy.context.scene.cursor.location = (1, 2, 3)
    assert run(bpy, heads, "ada", "ben", "cleo") == {"FINISHED"}
    assert places(bpy, "ada", "ben", "cleo") == [(1, 2, 3), (1.4, 2, 3), (1, 2.4, 3)]
    assert {obj.name for obj in bpy.context.selected_objects} == {"ada", "ben", "cleo"}
    assert bpy.context.active_object.name == "ada"


def test_the_grid_starts_at_the_given_place_in_the_scenes_units(bpy, heads):
    bpy.context.scene.unit_settings.scale_length = 0.01
    run(bpy, heads, "ada", "ben", place="GIVEN", location=(5, 6, 7))
    assert places(bpy, "ada", "ben") == [(5, 6, 7), (45, 6, 7)]


def test_they_are_one_undo_step_and_one_redo(bpy, heads):
    bpy.ops.ed.undo_push(message="before")
    before = set(bpy.data.objects.keys())
    run(bpy, heads, "ada", "ben", undo=True)
    after = set(bpy.data.objects.keys())
    assert after - before == {"ada", "ada Camera", "ben", "ben Camera"}
    bpy.ops.ed.undo()
    assert set(bpy.data.objects.keys()) == before
    bpy.ops.ed.redo()
    assert set(bpy.data.objects.keys()) == after


def test_those_that_fail_are_listed_and_the_others_come_as_one_undo_step(bpy, heads):
    (heads / "ben" / "albedo.png").unlink()
    bpy.ops.ed.undo_push(message="before")
    before = set(bpy.data.objects.keys())
    with pytest.raises(RuntimeError) as told:
        run(bpy, heads, "ada", "ben", "cleo", "nobody", undo=True)
    lines = str(told.value).splitlines()
    assert len([line for line in lines if line.startswith("Error: ")]) == 2
    assert any('ben" has no albedo.png; choose the folder' in line for line in lines)
    assert any('There is no folder "' in line and "nobody" in line for line in lines)
    assert set(bpy.data.objects.keys()) - before == {"ada", "ada Camera", "cleo", "cleo Camera"}
    bpy.ops.ed.undo()
    assert set(bpy.data.objects.keys()) == before


def test_where_all_fail_the_scene_stays_as_it_is(bpy, heads):
    chosen = [obj.name for obj in bpy.context.selected_objects]
    before = set(bpy.data.objects.keys())
    with pytest.raises(RuntimeError, match="There is no folder"):
        run(bpy, heads, "nobody", "noone")
    assert set(bpy.data.objects.keys()) == before
    assert [obj.name for obj in bpy.context.selected_objects] == chosen


def test_a_head_takes_one_folder_to_be_rebuilt_from(bpy, heads):
    run(bpy, heads, "ada")
    mesh = bpy.data.objects["ada"].data
    with pytest.raises(RuntimeError, match=r'2 folders are chosen to rebuild "ada", which takes one; choose one'):
        run(bpy, heads, "ben", "cleo", replace="ada")
    assert bpy.data.objects["ada"].data == mesh


@pytest.mark.parametrize(("folder", "names"), [("ada", [""]), ("ada", ["head.json"]), (".", ["ada/head.json", "ada"])])
def test_a_head_is_named_by_its_folder_or_its_record_and_comes_once(bpy, heads, folder, names):
    before = set(bpy.data.objects.keys())
    run(bpy, heads / folder, *names)
    assert set(bpy.data.objects.keys()) - before == {"ada", "ada Camera"}


def test_all_of_them_fill_the_view(bpy, heads):
    window = bpy.context.window_manager.windows[0]
    (view,) = [area.spaces.active.region_3d for area in window.screen.areas if area.type == "VIEW_3D"]
    with bpy.context.temp_override(window=window):
        run(bpy, heads, "ada", frame_view=True, place="WORLD")
        alone = view.view_distance
        run(bpy, heads, "ben", "cleo", frame_view=True, place="WORLD")
    assert view.view_distance > 1.5 * alone
    assert view.view_location.x == pytest.approx(0.2, abs=0.02)


def test_only_the_browser_that_asks_for_heads_lists_what_lies_a_folder_deeper(bpy, monkeypatch):
    operators = importlib.import_module("bl_ext.user_default.headstitch.addon.import_operators")
    ours, other = type("ImportHead", (), {}), object()

    def browser(operator, kind="FILE_BROWSER"):
        params = SimpleNamespace(recursion_level="NONE")
        return SimpleNamespace(
            type=kind, spaces=SimpleNamespace(active=SimpleNamespace(active_operator=operator, params=params))
        )

    areas = [browser(ours()), browser(other), browser(ours(), kind="VIEW_3D")]
    windows = [SimpleNamespace(screen=SimpleNamespace(areas=areas))]
    here = SimpleNamespace(context=SimpleNamespace(window_manager=SimpleNamespace(windows=windows)))
    monkeypatch.setattr(operators, "bpy", here)
    monkeypatch.setattr(operators, "ImportHead", ours)
    assert operators._list_folders_below() is None  # the timer is not called again
    assert [area.spaces.active.params.recursion_level for area in areas] == ["ALL_1", "NONE", "NONE"]
