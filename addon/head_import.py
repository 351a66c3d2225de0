"""Builds a head in the open file: mesh, material, camera, one collection. Knows no window, no operator, no folder."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

import os
from typing import Any

import bpy
import numpy as np
from mathutils import Matrix, Vector

from . import strings
from .head_folder import (
    METRES_PER_UNIT,
    HeadFolder,
    HeadFolderError,
    camera_rotation,
    lens,
    neck_base,
    provenance_properties,
    to_blender,
)

ROUGHNESS = 0.5  # skin under soft light
SENSOR = 36.0  # mm, Blender's default
CAMERA_DISPLAY = 0.05  # metres; Blender's own 1 m would hide the head in the camera's wires
UV_MAP = "UVMap"


class NewData:
    """The datablocks of one import, so that a failure half way takes all of them away again."""

    def __init__(self) -> None:
        self._blocks: list[bpy.types.ID] = []

    def __enter__(self) -> NewData:
        return self

    def keep(self, block: Any) -> Any:
        """Remember ``block`` and give it back."""
        self._blocks.append(block)
        return block

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is not None:
            bpy.data.batch_remove(self._blocks)


def import_head(
    scene: bpy.types.Scene, head: HeadFolder, place: Vector | None = None, with_camera: bool = True
) -> tuple[bpy.types.Object, bpy.types.Object | None]:
    """Build ``head`` in a collection of its own under the scene's: the base of its neck at ``place``, facing -Y.

    Returns the head and its camera (None if not asked for). Selects nothing and changes nothing that was there.

    Raises:
        HeadFolderError: the albedo is not a picture; nothing is left behind.
    """
    place = Vector((0, 0, 0)) if place is None else place
    scale = METRES_PER_UNIT / _metres_per_blender_unit(scene)
    origin = neck_base(head.vertices)
    with NewData() as new:
        image = new.keep(_load_albedo(head))
        material = new.keep(_make_material(head.name, image))
        mesh = new.keep(_make_mesh(head, to_blender(head.vertices, origin, scale)))
        mesh.materials.append(material)
        collection = new.keep(bpy.data.collections.new(head.name))
        obj = new.keep(bpy.data.objects.new(head.name, mesh))
        obj.location = place
        collection.objects.link(obj)
        for key, value in provenance_properties(head).items():
            obj[key] = value
        camera = None
        if with_camera:
            position = to_blender(head.cam2world[None, :3, 3], origin, scale)[0]
            camera = new.keep(_make_camera(scene, head, scale))
            new.keep(camera.data)
            rotation = Matrix(camera_rotation(head.cam2world).tolist())
            camera.rotation_euler = rotation.to_euler("XYZ")
            camera.location = place + Vector(position)
            collection.objects.link(camera)
        scene.collection.children.link(collection)
    return obj, camera


def look_as_the_photo(scene: bpy.types.Scene, camera: bpy.types.Object) -> None:
    """Make ``camera`` the scene's and the render square: the photo's crop is square. The longer side stays."""
    scene.camera = camera
    render = scene.render
    render.resolution_x = render.resolution_y = max(render.resolution_x, render.resolution_y)
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0


def _metres_per_blender_unit(scene: bpy.types.Scene) -> float:
    units = scene.unit_settings
    return 1.0 if units.system == "NONE" else units.scale_length


def _make_mesh(head: HeadFolder, points: np.ndarray) -> bpy.types.Mesh:
    """Welded smooth triangles; a vertex on a UV seam stays one vertex, for the UVs belong to the corners."""
    corners = 3 * len(head.faces)
    mesh = bpy.data.meshes.new(head.name)
    mesh.vertices.add(len(points))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(points, np.float32).ravel())
    mesh.loops.add(corners)
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(head.faces, np.int32).ravel())
    mesh.polygons.add(len(head.faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, corners, 3, dtype=np.int32))
    uvs = mesh.uv_layers.new(name=UV_MAP, do_init=False)
    uvs.uv.foreach_set("vector", np.ascontiguousarray(head.corner_uvs, np.float32).ravel())
    mesh.update(calc_edges=True)
    return mesh


def _load_albedo(head: HeadFolder) -> bpy.types.Image:
    """The albedo, packed: the .blend needs the head folder no more."""
    image = bpy.data.images.load(os.fspath(head.albedo), check_existing=False)
    if 0 in image.size:  # asking for the size makes Blender read the file
        bpy.data.images.remove(image)
        raise HeadFolderError(strings.FILE_DAMAGED.format(file=head.albedo, reason=strings.NOT_A_PICTURE))
    image.name = strings.ALBEDO_NAME.format(name=head.name)
    image.colorspace_settings.name = "sRGB"
    image.pack()
    return image


def _make_material(name: str, image: bpy.types.Image) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    texture = tree.nodes.new("ShaderNodeTexImage")
    for node, column in ((texture, -600), (shader, -300), (output, 0)):
        node.location = (column, 0)
        node.select = node is texture
    shader.inputs["Roughness"].default_value = ROUGHNESS
    shader.inputs["Metallic"].default_value = 0.0
    texture.image = image
    tree.nodes.active = texture  # texture paint paints on the active image node
    tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    return material


def _make_camera(scene: bpy.types.Scene, head: HeadFolder, scale: float) -> bpy.types.Object:
    """A camera with the photo's lens, its sensor fitted to the render's shorter side: all of the photo is in view."""
    name = strings.CAMERA_NAME.format(name=head.name)
    pinhole = lens(head.intrinsics)
    render = scene.render
    wide = render.resolution_x * render.pixel_aspect_x >= render.resolution_y * render.pixel_aspect_y
    distance = float(np.linalg.norm(head.cam2world[:3, 3])) * scale
    data = bpy.data.cameras.new(name)
    data.sensor_width = data.sensor_height = SENSOR
    data.sensor_fit = "VERTICAL" if wide else "HORIZONTAL"
    data.lens = pinhole.focal * SENSOR
    data.shift_x, data.shift_y = pinhole.shift_x, pinhole.shift_y
    data.clip_start, data.clip_end = distance / 100, distance * 100
    data.display_size = CAMERA_DISPLAY * scale / METRES_PER_UNIT
    return bpy.data.objects.new(name, data)
