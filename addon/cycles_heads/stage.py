"""A scene for Cycles: meshes, strands, lights and cameras out of arrays, and how it is drawn.

World units, y up, as the arrays come; the camera is PanoHead's (OpenCV's axes, intrinsics in image widths).
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# (the bpy package carries no types)

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

SKY = ("ground", "horizon", "zenith")  # colours of the world, upwards
_DEVICES = ("OPTIX", "CUDA", "HIP", "ONEAPI", "METAL")


def empty_scene(device: str, threads: int) -> Any:
    """A fresh scene that Cycles draws with a transparent film, one that remembers what does not change."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.device = choose_device(device)
    scene.render.film_transparent = True
    scene.render.use_persistent_data = True
    scene.render.resolution_percentage = 100
    scene.render.use_compositing = scene.render.use_sequencer = False
    if threads:
        scene.render.threads_mode, scene.render.threads = "FIXED", threads
    scene.cycles_curves.shape = "RIBBONS"
    return scene


def choose_device(wanted: str) -> str:
    """``GPU`` or ``CPU``; the first kind of graphics device that this Blender can use where ``wanted`` is not "cpu"."""
    if wanted == "cpu":
        return "CPU"
    preferences = bpy.context.preferences.addons["cycles"].preferences
    known = {name for name, *_ in preferences.get_device_types(bpy.context)}
    for kind in _DEVICES:
        if kind in known:
            preferences.compute_device_type = kind
            found = [device for device in preferences.get_devices_for_type(kind) if device.type == kind]
            for device in found:
                device.use = True
            if found:
                return "GPU"
    preferences.compute_device_type = "NONE"
    return "CPU"


def add_mesh(name: str, vertices: np.ndarray, faces: np.ndarray, materials: list[Any]) -> Any:
    """A smooth mesh of vertices (V, 3) and triangles (F, 3); the object."""
    mesh = bpy.data.meshes.new(name)
    count = len(faces)
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(vertices, np.float32).ravel())
    mesh.loops.add(3 * count)
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(faces, np.int32).ravel())
    mesh.polygons.add(count)
    mesh.polygons.foreach_set("loop_start", np.arange(0, 3 * count, 3, dtype=np.int32))
    mesh.polygons.foreach_set("use_smooth", np.ones(count, bool))
    mesh.update(calc_edges=True)
    return _placed(name, mesh, materials)


def add_strands(name: str, points: np.ndarray, radius: Any, materials: list[Any], taper: float = 0.7) -> Any:
    """Hairs (S, P, 3), root first, ``radius`` (S,) or one at the root, thinner by ``taper`` at the tip; the object."""
    count, steps = points.shape[:2]
    curves = bpy.data.hair_curves.new(name)
    curves.add_curves([steps] * count)
    curves.attributes["position"].data.foreach_set("vector", np.ascontiguousarray(points, np.float32).ravel())
    width = np.broadcast_to(np.reshape(radius, (-1, 1)) * (1 - taper * np.linspace(0, 1, steps) ** 2), (count, steps))
    attribute = curves.attributes.get("radius") or curves.attributes.new("radius", "FLOAT", "POINT")
    attribute.data.foreach_set("value", np.ascontiguousarray(width, np.float32).ravel())
    return _placed(name, curves, materials)


def set_attribute(data: Any, name: str, values: np.ndarray, domain: str = "POINT") -> None:
    """Give each point or curve a number (N,) or a vector (N, 3)."""
    values = np.ascontiguousarray(values, np.float32)
    kind, key = ("FLOAT", "value") if values.ndim == 1 else ("FLOAT_VECTOR", "vector")
    data.attributes.new(name, kind, domain).data.foreach_set(key, values.ravel())


def _placed(name: str, data: Any, materials: list[Any]) -> Any:
    for material in materials:
        data.materials.append(material)
    thing = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def place_camera(
    scene: Any, cam2world: np.ndarray, intrinsics: np.ndarray, clip: tuple[float, float] = (0.02, 40.0)
) -> None:
    """Look through a camera: (4, 4) OpenCV camera to world, (3, 3) in image widths; ``clip``: what is near and far."""
    if scene.camera is None:
        lens = bpy.data.cameras.new("camera")
        lens.sensor_width, lens.sensor_fit = 36.0, "HORIZONTAL"
        lens.clip_start, lens.clip_end = clip
        scene.camera = bpy.data.objects.new("camera", lens)
        scene.collection.objects.link(scene.camera)
    lens = scene.camera.data
    lens.lens = 36.0 * intrinsics[0, 0]
    lens.shift_x, lens.shift_y = 0.5 - intrinsics[0, 2], intrinsics[1, 2] - 0.5
    scene.camera.matrix_world = Matrix((cam2world @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist())


def add_area_light(name: str, place: np.ndarray, aim: np.ndarray, size: tuple[float, float], watts: float, color: Any):
    """A rectangle of light at ``place`` that shines towards ``aim``; the object."""
    light = bpy.data.lights.new(name, "AREA")
    light.shape, light.size, light.size_y, light.energy, light.color = "RECTANGLE", *size, watts, color
    thing = bpy.data.objects.new(name, light)
    turn = np.eye(4)
    turn[:3, :3] = look_along(np.asarray(place, float) - aim)  # an area light shines along its -z
    turn[:3, 3] = place
    thing.matrix_world = Matrix(turn.tolist())
    bpy.context.scene.collection.objects.link(thing)
    return thing


def relight(scene: Any, old: list[Any], lights: list[dict[str, Any]], world: dict[str, Any]) -> list[Any]:
    """Take the ``old`` lights away and put others; the sky goes from "ground" over "horizon" to "zenith"."""
    for thing in old:
        bpy.data.lights.remove(thing.data)
    if scene.world is None:
        scene.world = _sky()
    for node in scene.world.node_tree.nodes:
        if node.name in world:
            node.outputs[0].default_value = (*world[node.name], 1.0)
    return [
        add_area_light(
            "light", np.array(each["place"]), np.array(each["aim"]), each["size"], each["watts"], each["color"]
        )
        for each in lights
    ]


def _sky() -> Any:
    """A world whose colour depends on the height above the horizon alone."""
    world = bpy.data.worlds.new("sky")
    world.use_nodes = True
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 64
    tree = world.node_tree
    ground, horizon, zenith = (tree.nodes.new("ShaderNodeRGB") for _ in SKY)
    ground.name, horizon.name, zenith.name = SKY
    height = tree.nodes.new("ShaderNodeSeparateXYZ")
    tree.links.new(tree.nodes.new("ShaderNodeTexCoord").outputs["Generated"], height.inputs[0])
    color = ground.outputs[0]
    for start, end, other in ((-1.0, 0.0, horizon), (0.0, 1.0, zenith)):
        share = tree.nodes.new("ShaderNodeMapRange")
        share.inputs["From Min"].default_value, share.inputs["From Max"].default_value = start, end
        tree.links.new(height.outputs[1], share.inputs["Value"])
        mix = tree.nodes.new("ShaderNodeMixRGB")
        for link, socket in ((share.outputs[0], 0), (color, 1), (other.outputs[0], 2)):
            tree.links.new(link, mix.inputs[socket])
        color = mix.outputs[0]
    tree.links.new(color, tree.nodes["Background"].inputs[0])
    return world


def look_along(direction: np.ndarray) -> np.ndarray:
    """Rotation (3, 3) that brings +z to ``direction`` and keeps y up."""
    forward = direction / np.linalg.norm(direction)
    right = np.cross([0.0, 1.0, 0.0] if abs(forward[1]) < 0.999 else [0.0, 0.0, -1.0], forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward], axis=1)


def set_quality(scene: Any, size: int, samples: int, seed: int) -> None:
    """A picture of ``size`` pixels: few samples, cleaned by OpenImageDenoise."""
    scene.render.resolution_x = scene.render.resolution_y = size
    cycles = scene.cycles
    cycles.samples, cycles.seed, cycles.use_adaptive_sampling = samples, seed, False
    cycles.use_denoising, cycles.denoiser, cycles.denoising_prefilter = True, "OPENIMAGEDENOISE", "ACCURATE"
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 5, 2, 3
    cycles.transmission_bounces, cycles.transparent_max_bounces = 5, 12
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.sample_clamp_direct, cycles.sample_clamp_indirect = 6.0, 3.0
    cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 1.5
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_normal = layer.use_pass_material_index = False


def set_data_quality(scene: Any, size: int) -> None:
    """One ray through the middle of each pixel for depth, normals and materials, without light."""
    scene.render.resolution_x = scene.render.resolution_y = size
    cycles = scene.cycles
    cycles.samples, cycles.seed, cycles.use_denoising, cycles.max_bounces = 1, 0, False, 0
    cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01
    layer = scene.view_layers[0]
    layer.use_pass_z = layer.use_pass_normal = layer.use_pass_material_index = True


def write_layers(scene: Any, path: Path) -> None:
    """Draw, and write colour and passes as they are, in linear light, as an uncompressed OpenEXR of 32-bit floats.

    Raises:
        RuntimeError: Blender could not write it.
    """
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):  # Blender 5.0 and later
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format, settings.color_depth, settings.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
    if hasattr(settings, "use_exr_interleave"):  # Blender 5.0 and later: one part with all channels, as before
        settings.use_exr_interleave = True
    scene.render.use_file_extension = False
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
