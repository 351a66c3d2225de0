"""Builds a head in the open file: mesh, material, camera, one collection. Knows no window, no operator, no folder."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

import math
from collections.abc import Iterator

import bpy
import numpy as np
from mathutils import Vector

from . import strings
from .head_asset import keep_picture, mark_asset
from .head_camera import look_as_the_photo, make_backdrop, make_camera, place_camera, show_photo
from .head_folder import METRES_PER_UNIT, PROPERTY, SHOWN, HeadFolder, neck_base, provenance_properties, to_blender
from .head_material import ALBEDO, load_picture, make_material

__all__ = ["NewData", "grid", "import_head", "look_as_the_photo", "make_mesh", "obstacle", "units", "write_provenance"]

UV_MAP = "UVMap"
SPACING = 0.4  # metres between the heads of a grid


class NewData:
    """Whatever comes into the file inside of it goes away again when it fails half way."""

    KINDS = ("objects", "meshes", "materials", "images", "cameras", "collections", "actions", "node_groups")

    def __enter__(self) -> NewData:
        self._before = {block.session_uid for block in self._blocks()}
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is not None:
            bpy.data.batch_remove([block for block in self._blocks() if block.session_uid not in self._before])

    def _blocks(self) -> Iterator[bpy.types.ID]:
        for kind in self.KINDS:
            yield from getattr(bpy.data, kind)


def obstacle(scene: bpy.types.Scene) -> str | None:
    """Why no head can come into ``scene`` now, as one sentence; None when nothing is in the way."""
    if not scene.is_editable:
        return strings.SCENE_LINKED.format(scene=scene.name)
    for job, sentence in (("RENDER", strings.RENDER_RUNS), ("OBJECT_BAKE", strings.BAKE_RUNS)):
        if bpy.app.is_job_running(job):  # changing what is being rendered can end Blender
            return sentence
    return None


def import_head(
    scene: bpy.types.Scene,
    head: HeadFolder,
    place: Vector | None = None,
    with_camera: bool = True,
    backdrop: bool = False,
    as_asset: bool = False,
) -> tuple[bpy.types.Object, bpy.types.Object | None]:
    """Build ``head`` in a collection of its own under the scene's: the base of its neck at ``place``, facing -Y.

    Returns the head and its camera (None if not asked for). Selects nothing and changes nothing that was there.

    Args:
        scene: where it goes.
        head: what is built.
        place: in the scene's coordinates; None for the origin.
        with_camera: also the photo's camera, as a child of the head, with the photo behind it if the folder holds it.
        backdrop: also a plane with the photo that renders through that camera show behind the head.
        as_asset: mark the head as an asset.

    Raises:
        HeadFolderError: a picture is damaged; nothing is left behind.
    """
    scale = units(scene)
    origin = neck_base(head.vertices)
    with NewData():
        image = load_picture(head.albedo, strings.ALBEDO_NAME.format(name=head.name))
        material = make_material(head.name, image)
        mesh = make_mesh(head, to_blender(head.vertices, origin, scale), image)
        mesh.materials.append(material)
        collection = bpy.data.collections.new(head.name)
        obj = bpy.data.objects.new(head.name, mesh)
        obj.location = Vector((0, 0, 0)) if place is None else place
        collection.objects.link(obj)
        write_provenance(obj, head.provenance_text)
        camera = add_camera(scene, head, obj, collection, backdrop) if with_camera else None
        if as_asset:
            mark_asset(obj, head)
        scene.collection.children.link(collection)
    return obj, camera


def add_camera(
    scene: bpy.types.Scene,
    head: HeadFolder,
    obj: bpy.types.Object,
    collection: bpy.types.Collection,
    backdrop: bool,
) -> bpy.types.Object:
    """The photo's camera for the head ``obj``, in ``collection``, with the photo behind it if the folder holds it."""
    camera = make_camera(obj.name)
    camera.parent = obj
    place_camera(camera, scene, head, neck_base(head.vertices), units(scene))
    collection.objects.link(camera)
    if head.photo is not None:
        photo = load_picture(head.photo, strings.PHOTO_NAME.format(name=obj.name))
        show_photo(camera, photo)
        if backdrop:
            plane = make_backdrop(obj.name, camera, photo)
            collection.objects.link(plane)
    return camera


def units(scene: bpy.types.Scene) -> float:
    """Blender units of ``scene`` for one unit of a head's world, so that the head has its real size."""
    return METRES_PER_UNIT / _metres(scene)


def grid(scene: bpy.types.Scene, start: Vector, count: int) -> list[Vector]:
    """Where ``count`` heads stand, in Blender units: rows from left to right, the first at ``start``."""
    step = SPACING / _metres(scene)
    columns = max(1, math.ceil(math.sqrt(count)))
    return [start + step * Vector((number % columns, number // columns, 0)) for number in range(count)]


def _metres(scene: bpy.types.Scene) -> float:
    """How long a unit of the scene is."""
    settings = scene.unit_settings
    return 1.0 if settings.system == "NONE" else settings.scale_length


def make_mesh(head: HeadFolder, points: np.ndarray, albedo: bpy.types.Image, uv_map: str = UV_MAP) -> bpy.types.Mesh:
    """Welded smooth triangles; a vertex on a UV seam stays one vertex, for the UVs belong to the corners.

    Args:
        head: faces and UVs.
        points: (V, 3), where its vertices stand.
        albedo: the picture that the UVs belong to; the mesh remembers it, and its picture as an asset.
        uv_map: name of the UV map.
    """
    corners = 3 * len(head.faces)
    mesh = bpy.data.meshes.new(head.name)
    mesh.vertices.add(len(points))
    mesh.vertices.foreach_set("co", np.ascontiguousarray(points, np.float32).ravel())
    mesh.loops.add(corners)
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(head.faces, np.int32).ravel())
    mesh.polygons.add(len(head.faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, corners, 3, dtype=np.int32))
    uvs = mesh.uv_layers.new(name=uv_map, do_init=False)
    uvs.uv.foreach_set("vector", np.ascontiguousarray(head.corner_uvs, np.float32).ravel())
    mesh.update(calc_edges=True)
    mesh[PROPERTY] = head.provenance_text
    mesh[ALBEDO] = albedo
    keep_picture(mesh, head)
    return mesh


def write_provenance(obj: bpy.types.Object, text: str) -> None:
    """Make ``text`` (a head.json) the provenance that ``obj`` carries, in place of what it carried before."""
    wanted = provenance_properties(text)
    known = {"_".join([PROPERTY, *path]) for path in SHOWN}
    for key in known & set(obj.keys()) - set(wanted):
        del obj[key]
    for key, value in wanted.items():
        obj[key] = value
