"""The camera that sees a head as the photo does, with the photo behind it. Child of the head: it moves along."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from . import strings
from .head_folder import METRES_PER_UNIT, HeadFolder, camera_rotation, lens, to_blender

SENSOR = 36.0  # mm, Blender's default
DISPLAY = 0.05  # metres; Blender's own 1 m would hide the head in the camera's wires
OPACITY = 0.5  # of the photo in the camera's view: the head before it stays readable
BEHIND = 2.0  # the backdrop's distance in camera distances: beyond every head
HEM = 0.02  # of the photo's side that the backdrop goes on beyond it, or the picture's rim would shine through
MARK = "headstitch"  # custom property of what belongs to a head: "camera", "backdrop"
POSE = "headstitch_pose"  # custom property of the camera: where we put it, to see whether a person moved it


def place_camera(
    camera: bpy.types.Object, scene: bpy.types.Scene, head: HeadFolder, origin: np.ndarray, scale: float
) -> None:
    """Give ``camera``, a child of the head, the photo's pose and lens.

    Its sensor is fitted to the render's shorter side: all of the photo's square is in view.

    Args:
        camera: the object.
        scene: whose render it is for.
        head: where the photo's camera stands.
        origin: (3,), the point of the head's world that is the object's origin.
        scale: Blender units a unit of the head's world.
    """
    pinhole = lens(head.intrinsics)
    render = scene.render
    wide = render.resolution_x * render.pixel_aspect_x >= render.resolution_y * render.pixel_aspect_y
    distance = float(np.linalg.norm(head.cam2world[:3, 3])) * scale
    data = camera.data
    data.sensor_width = data.sensor_height = SENSOR
    data.sensor_fit = "VERTICAL" if wide else "HORIZONTAL"
    data.lens = pinhole.focal * SENSOR
    data.shift_x, data.shift_y = pinhole.shift_x, pinhole.shift_y
    data.clip_start, data.clip_end = distance / 100, distance * 100
    data.display_size = DISPLAY * scale / METRES_PER_UNIT
    camera.location = to_blender(head.cam2world[None, :3, 3], origin, scale)[0]
    camera.rotation_euler = Matrix(camera_rotation(head.cam2world).tolist()).to_euler("XYZ")
    camera[POSE] = _pose(camera)


def make_camera(name: str) -> bpy.types.Object:
    """A camera that ``place_camera`` has still to place."""
    title = strings.CAMERA_NAME.format(name=name)
    camera = bpy.data.objects.new(title, bpy.data.cameras.new(title))
    camera[MARK] = "camera"
    return camera


def find_camera(obj: bpy.types.Object) -> bpy.types.Object | None:
    """The photo's camera of the head ``obj``, if it is still there."""
    return next((c for c in obj.children if c.type == "CAMERA" and c.get(MARK) == "camera"), None)


def was_moved(camera: bpy.types.Object) -> bool:
    """Whether a person moved the camera, or animates it, since we placed it."""
    ours = camera.get(POSE)
    return (
        camera.animation_data is not None
        or len(camera.constraints) > 0
        or ours is None
        or not np.allclose(ours, _pose(camera), atol=1e-6)
    )


def show_photo(camera: bpy.types.Object, photo: bpy.types.Image) -> None:
    """Make ``photo`` what the camera's view shows behind the scene; one that we put there before gives way."""
    data = camera.data
    before = data.get("headstitch_photo")
    ours = next((b for b in data.background_images if before is not None and b.image == before), None)
    if ours is None:
        ours = data.background_images.new()
        ours.alpha = OPACITY
        ours.display_depth = "BACK"
        ours.frame_method = "FIT"  # the square fills the frame's shorter side, as the lens is fitted
        data.show_background_images = True
    ours.image = photo
    data["headstitch_photo"] = photo


def find_backdrop(camera: bpy.types.Object) -> bpy.types.Object | None:
    """The plane with the photo that ``make_backdrop`` hung behind the head, if there is one."""
    return next((c for c in camera.children if c.get(MARK) == "backdrop"), None)


def make_backdrop(name: str, camera: bpy.types.Object, photo: bpy.types.Image) -> bpy.types.Object:
    """A plane that fills the photo's square behind the head, in renders only.

    It shines by itself and is seen by the camera alone, so that neither the world nor the lights change.
    """
    title = strings.BACKDROP_NAME.format(name=name)
    data = camera.data
    far = BEHIND * camera.location.length
    side = far * SENSOR / data.lens
    reach = (-HEM, 1 + HEM)
    around = [(reach[0], reach[0]), (reach[1], reach[0]), (reach[1], reach[1]), (reach[0], reach[1])]
    corners = [(side * (u - 0.5 + data.shift_x), side * (v - 0.5 + data.shift_y)) for u, v in around]
    mesh = bpy.data.meshes.new(title)
    mesh.from_pydata([(x, y, -far) for x, y in corners], [], [(0, 1, 2, 3)])
    uvs = mesh.uv_layers.new(name="UVMap")
    uvs.uv.foreach_set("vector", np.array(around, np.float32).ravel())
    mesh.materials.append(_shining(title, photo))
    plane = bpy.data.objects.new(title, mesh)
    plane[MARK] = "backdrop"
    plane.parent = camera
    plane.hide_viewport = True  # there the camera's own background picture shows
    plane.hide_select = True
    for ray in ("diffuse", "glossy", "transmission", "volume_scatter", "shadow"):
        setattr(plane, f"visible_{ray}", False)
    return plane


def look_as_the_photo(scene: bpy.types.Scene, camera: bpy.types.Object) -> None:
    """Make ``camera`` the scene's and the render square: the photo's crop is square. The longer side stays."""
    scene.camera = camera
    render = scene.render
    render.resolution_x = render.resolution_y = max(render.resolution_x, render.resolution_y)
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0


def _shining(name: str, photo: bpy.types.Image) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    light = tree.nodes.new("ShaderNodeEmission")
    picture = tree.nodes.new("ShaderNodeTexImage")
    picture.image = photo
    picture.extension = "EXTEND"
    tree.links.new(picture.outputs["Color"], light.inputs["Color"])
    tree.links.new(light.outputs["Emission"], output.inputs["Surface"])
    return material


def _pose(camera: bpy.types.Object) -> list[float]:
    values: list[Any] = [*camera.location, *camera.rotation_euler, *camera.scale]
    return [float(value) for value in values]
