"""The turntable in a real Blender: what its camera sees on each frame."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def head(bpy, write_head):
    bpy.ops.import_scene.headstitch_head(directory=f"{write_head()}/", place="GIVEN", location=(1, 2, 3))
    return bpy.context.active_object


def look(bpy, head, frame):
    """Where the vertices stand in the frame (V, 3), and from which side the camera sees the head, in degrees."""
    from bpy_extras.object_utils import world_to_camera_view

    scene = bpy.context.scene
    scene.frame_set(frame)
    camera = scene.camera
    seen = np.array([world_to_camera_view(scene, camera, head.matrix_world @ v.co) for v in head.data.vertices])
    towards = camera.matrix_world.translation - bpy.data.objects["ada Turntable"].matrix_world.translation
    return seen, np.degrees(np.arctan2(towards.x, -towards.y)) % 360


def test_the_camera_goes_once_around_at_an_even_pace_from_the_front_on(bpy, head):
    scene = bpy.context.scene
    scene.frame_start = 11
    assert bpy.ops.headstitch.turntable(frames=40) == {"FINISHED"}
    assert scene.camera.name == "ada Turntable Camera"
    assert (scene.frame_start, scene.frame_end) == (11, 50)
    for frame, degrees in ((11, 0), (16, 45), (21, 90), (31, 180), (50, 351)):
        _, angle = look(bpy, head, frame)
        assert angle == pytest.approx(degrees, abs=0.01)
    assert look(bpy, head, 61)[1] == pytest.approx(90, abs=0.01)  # it goes on after the last key


@pytest.mark.parametrize(("wide", "high"), [(1920, 1080), (600, 900), (64, 64)])
@pytest.mark.parametrize("degrees", [0, 30])
def test_the_whole_head_is_in_the_picture_on_all_frames(bpy, head, wide, high, degrees):
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = wide, high
    bpy.ops.headstitch.turntable(frames=12, pitch=np.radians(degrees))
    reach = []
    for frame in range(1, 13):
        seen, _ = look(bpy, head, frame)
        assert (seen[:, 2] > scene.camera.data.clip_start).all()
        assert ((seen[:, :2] > 0.02) & (seen[:, :2] < 0.98)).all()
        across = np.abs(seen[:, :2] - 0.5) * (wide, high) / (min(wide, high) / 2)
        reach.append(across.max())
    assert 0.8 < max(reach) < 0.95  # and it is not lost in it


def test_the_cameras_height_is_the_one_asked_for(bpy, head):
    bpy.ops.headstitch.turntable(pitch=np.radians(30))
    bpy.context.view_layer.update()
    towards = bpy.context.scene.camera.matrix_world.translation - bpy.data.objects["ada Turntable"].location
    assert np.degrees(np.arcsin(towards.normalized().z)) == pytest.approx(30, abs=0.01)


def test_the_scene_stays_as_it_is_when_that_is_wanted(bpy, head):
    scene = bpy.context.scene
    before = scene.camera, scene.frame_start, scene.frame_end, scene.frame_current
    matrix = head.matrix_world.copy()
    bpy.ops.headstitch.turntable(set_scene=False)
    assert (scene.camera, scene.frame_start, scene.frame_end, scene.frame_current) == before
    assert head.matrix_world == matrix
    assert bpy.context.active_object == head
    assert {"ada Turntable", "ada Turntable Camera"} <= {o.name for o in bpy.data.collections["ada"].objects}


def test_one_undo_takes_the_rig_away(bpy, head):
    before = sorted(thing.name for thing in bpy.data.objects), bpy.context.scene.camera.name, len(bpy.data.actions)
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.headstitch.turntable("EXEC_DEFAULT", True)
    bpy.ops.ed.undo()
    after = sorted(thing.name for thing in bpy.data.objects), bpy.context.scene.camera.name, len(bpy.data.actions)
    assert after == before


def test_it_needs_a_head(bpy):
    bpy.context.view_layer.objects.active = bpy.data.objects["Cube"]
    with pytest.raises(RuntimeError, match="Select a head that Headstitch made"):
        bpy.ops.headstitch.turntable()
