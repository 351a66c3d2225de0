"""A camera that goes once around a head: a rig with keys, ready to be rendered."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

import math
from collections.abc import Iterable

import bpy
import numpy as np
from mathutils import Vector

from . import strings

SENSOR = 36.0  # mm
LENS = 85.0  # mm, a portrait lens
MARGIN = 1.1  # of the frame around what is turned
LAYERS, SPOKES = 48, 64  # in which its outline is looked at


def add_turntable(
    context: bpy.types.Context, obj: bpy.types.Object, frames: int = 120, pitch: float = 0.0, set_scene: bool = True
) -> tuple[bpy.types.Object, bpy.types.Object]:
    """Add an empty on the axis of ``obj`` that turns once, and a camera on it; returns both.

    The camera starts in front (-Y) and goes to the viewer's right. All of the object stays in the shorter side of the
    frame, whatever the resolution. The turn goes on evenly before and after the keys.

    Args:
        context: scene and view layer.
        obj: a mesh object.
        frames: of one turn; the frame after the last is the first again.
        pitch: radians above the horizon.
        set_scene: make it the scene's camera, and one turn its frame range.
    """
    scene = context.scene
    middle, rims = _extent(context, obj)
    radius = float(rims[:, 0].max())
    home = next((c for c in obj.users_collection if c.is_editable), scene.collection)
    rig = bpy.data.objects.new(strings.TURNTABLE_NAME.format(name=obj.name), None)
    title = strings.TURNTABLE_CAMERA_NAME.format(name=obj.name)
    camera = bpy.data.objects.new(title, bpy.data.cameras.new(title))
    rig.location = middle
    rig.empty_display_type = "CIRCLE"
    rig.empty_display_size = radius
    camera.parent = rig
    distance = _distance(rims, pitch)
    camera.location = (0.0, -distance * math.cos(pitch), distance * math.sin(pitch))
    camera.rotation_euler = (math.pi / 2 - pitch, 0.0, 0.0)
    data, render = camera.data, scene.render
    wide = render.resolution_x * render.pixel_aspect_x >= render.resolution_y * render.pixel_aspect_y
    data.sensor_width = data.sensor_height = SENSOR
    data.sensor_fit = "VERTICAL" if wide else "HORIZONTAL"
    data.lens = LENS
    data.clip_start, data.clip_end = distance / 100, distance * 100
    data.display_size = radius / 4
    for thing in (rig, camera):
        home.objects.link(thing)
    start = scene.frame_start
    for frame, turn in ((start, 0.0), (start + frames, 2 * math.pi)):
        rig.rotation_euler = (0.0, 0.0, turn)
        rig.keyframe_insert("rotation_euler", index=2, frame=frame)
    for curve in _curves(rig):
        curve.extrapolation = "LINEAR"
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"
    rig.rotation_euler = (0.0, 0.0, 0.0)
    if set_scene:
        scene.camera = camera
        scene.frame_end = start + frames - 1
    return rig, camera


def _curves(obj: bpy.types.Object) -> Iterable[bpy.types.FCurve]:
    """The curves of the object's action, whatever Blender's version: since 4.4 an action has slots."""
    animation = obj.animation_data
    if hasattr(animation.action, "fcurves"):  # up to 4.5
        return animation.action.fcurves
    from bpy_extras import anim_utils

    return anim_utils.action_get_channelbag_for_slot(animation.action, animation.action_slot).fcurves


def _extent(context: bpy.types.Context, obj: bpy.types.Object) -> tuple[Vector, np.ndarray]:
    """The middle (scene coordinates) of the modified ``obj``, and the solid that it fills when it turns about it.

    The solid as rims (N, 2): radius, height above the middle.
    """
    evaluated = obj.evaluated_get(context.evaluated_depsgraph_get())
    vertices = evaluated.data.vertices
    points = np.empty(3 * len(vertices), np.float32)
    vertices.foreach_get("co", points)
    matrix = np.array(evaluated.matrix_world)
    points = points.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
    low, high = points.min(axis=0), points.max(axis=0)
    middle = (low + high) / 2
    reach, height = np.linalg.norm((points - middle)[:, :2], axis=1), points[:, 2] - middle[2]
    edges = np.linspace(height.min(), height.max(), LAYERS + 1)
    layer = np.clip(np.searchsorted(edges, height, side="right") - 1, 0, LAYERS - 1)
    radius = np.zeros(LAYERS)
    np.maximum.at(radius, layer, reach)
    rims = [np.stack([radius, edges[:-1]], axis=1), np.stack([radius, edges[1:]], axis=1)]
    return Vector(middle), np.concatenate(rims)


def _distance(rims: np.ndarray, pitch: float) -> float:
    """From how far all points of the rims (N, 2) are in the picture, with a margin."""
    half = SENSOR / 2 / LENS  # tangent of half the angle of view
    turn = np.linspace(0, 2 * np.pi, SPOKES, endpoint=False)
    x, y = rims[:, :1] * np.cos(turn), rims[:, :1] * np.sin(turn)
    z = rims[:, 1:]
    up = y * math.sin(pitch) + z * math.cos(pitch)
    ahead = y * math.cos(pitch) - z * math.sin(pitch)  # how much farther than the middle
    return float((MARGIN * np.maximum(np.abs(x), np.abs(up)) / half - ahead).max())
