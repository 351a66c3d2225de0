"""Framing a head in the viewport of a real Blender."""

from __future__ import annotations

import math

import numpy as np
import pytest


def add(bpy, folder, **options):
    """Run in the window that Blender has even without a screen, as its operators do."""
    window = bpy.context.window_manager.windows[0]
    with bpy.context.temp_override(window=window):
        bpy.ops.import_scene.headstitch_head("EXEC_DEFAULT", False, directory=f"{folder}/", **options)
        return bpy.context.active_object


def views(bpy):
    return [
        (area, area.spaces.active.region_3d)
        for area in bpy.context.window_manager.windows[0].screen.areas
        if area.type == "VIEW_3D"
    ]


def state(view):
    return tuple(view.view_location), tuple(view.view_rotation), view.view_distance, view.view_perspective


def test_no_view_moves_unless_it_is_asked_for(bpy, write_head):
    (_, view), *_ = views(bpy)
    before = state(view)
    add(bpy, write_head())
    assert state(view) == before


@pytest.mark.parametrize("perspective", ["PERSP", "CAMERA"])
def test_the_head_fills_the_view_whose_angle_stays(bpy, write_head, perspective):
    ((area, view),) = views(bpy)
    view.view_perspective = perspective
    rotation = tuple(view.view_rotation)
    head = add(bpy, write_head(), frame_view=True, place="GIVEN", location=(5, 6, 7))
    assert view.view_perspective == "PERSP"
    assert tuple(view.view_rotation) == rotation
    region = next(region for region in area.regions if region.type == "WINDOW")
    turn = np.array(view.view_rotation.to_matrix())
    eye = np.array(view.view_location) + view.view_distance * turn[:, 2]
    points = (np.array([head.matrix_world @ v.co for v in head.data.vertices]) - eye) @ turn
    longer = 72 / 2 / area.spaces.active.lens  # tangent of half the angle of the longer side
    reach = np.abs(points[:, :2] / -points[:, 2:]) / longer
    shorter = min(region.width, region.height) / max(region.width, region.height)
    assert points[:, 2].max() < 0
    assert 0.6 * shorter < reach.max() < shorter


def test_in_local_view_the_head_is_seen(bpy, write_head):
    ((area, _),) = views(bpy)
    window = bpy.context.window_manager.windows[0]
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        if not bpy.ops.view3d.localview.poll() or bpy.ops.view3d.localview() != {"FINISHED"}:
            pytest.skip("this Blender has no local view without a screen")
    if not bpy.data.objects["Cube"].local_view_get(area.spaces.active):
        pytest.skip("this Blender does not tell without a screen what its local view shows")
    head = add(bpy, write_head(), frame_view=True)
    assert head.local_view_get(area.spaces.active)


def test_the_largest_view_is_the_one_that_moves(bpy, write_head):
    screen = bpy.context.window_manager.windows[0].screen
    small = min((a for a in screen.areas if a.type != "VIEW_3D"), key=lambda a: a.width * a.height)
    small.type = "VIEW_3D"
    found = sorted(views(bpy), key=lambda pair: pair[0].width * pair[0].height)
    (_, small_view), (_, large_view) = found[0], found[-1]
    before = state(small_view), state(large_view)
    add(bpy, write_head(), frame_view=True)
    assert state(small_view) == before[0]
    assert state(large_view) != before[1]
    assert not math.isclose(large_view.view_distance, before[1][2])
