"""Rebuilding a head that stands in the scene already, and going back to an older version of it."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

import json
from typing import Any

import bpy
import numpy as np
from mathutils.kdtree import KDTree

from . import strings
from .head_asset import describe_asset, fill_asset, show_picture
from .head_camera import (
    find_backdrop,
    find_camera,
    make_backdrop,
    place_camera,
    show_photo,
    was_moved,
)
from .head_folder import PROPERTY, HeadFolder, HeadFolderError, neck_base, to_blender
from .head_import import UV_MAP, NewData, add_camera, make_mesh, units, write_provenance
from .head_material import ALBEDO, keep_paint, load_picture, own_materials, swap_image

VERSIONS = "headstitch_versions"  # custom property of a head: the meshes that are not shown now, oldest first
NUMBER = "headstitch_number"  # custom property of a mesh: which version of its head it is, from 1


def is_head(obj: bpy.types.Object | None) -> bool:
    """Whether ``obj`` is a mesh that came from a head folder."""
    return obj is not None and obj.type == "MESH" and PROPERTY in obj


def find_head(name: str) -> bpy.types.Object:
    """The head called ``name`` in this file, which may be rebuilt.

    Raises:
        HeadFolderError: there is none, or it is linked.
    """
    obj = bpy.data.objects.get((name, None)) or bpy.data.objects.get(name)
    if obj is None or not is_head(obj):
        raise HeadFolderError(strings.NO_SUCH_HEAD.format(name=name))
    check_own(obj)
    return obj


def object_of(uid: int) -> bpy.types.Object | None:
    """The object of this file with Blender's number ``uid``, which stays when it is renamed; None where it is gone."""
    return next((obj for obj in bpy.data.objects if obj.session_uid == uid), None)


def check_own(obj: bpy.types.Object) -> None:
    """Make sure that ``obj`` belongs to this file.

    Raises:
        HeadFolderError: it is linked, or an override of something linked.
    """
    if not obj.is_editable or obj.override_library is not None or not obj.data.is_editable:
        raise HeadFolderError(strings.HEAD_LINKED.format(name=obj.name))


def check_not_edited(obj: bpy.types.Object) -> None:
    """Make sure that the mesh of ``obj`` is not in use by a mode.

    Raises:
        HeadFolderError: it is.
    """
    if obj.mode != "OBJECT":
        raise HeadFolderError(strings.HEAD_IN_MODE.format(name=obj.name))


def versions(obj: bpy.types.Object) -> list[bpy.types.Mesh]:
    """The meshes that ``obj`` had and that can be brought back, oldest first; those that were deleted are left out."""
    return [mesh for mesh in obj.get(VERSIONS, ()) if mesh is not None and mesh != obj.data]


def rebuild_head(
    scene: bpy.types.Scene, obj: bpy.types.Object, head: HeadFolder, with_camera: bool = True, backdrop: bool = False
) -> tuple[bpy.types.Object | None, list[str]]:
    """Give ``obj`` the mesh and the albedo of ``head``; what it was stays as a version.

    Transform, parents, collections, modifiers, constraints and materials stay; in the materials only the image nodes
    that showed the old albedo show the new one. Vertex groups move to the nearest new vertices.

    Returns the photo's camera, if there is one, and sentences about what could not be kept.

    Raises:
        HeadFolderError: a picture is damaged; the head is as it was.
    """
    old = obj.data
    scale, origin = units(scene), neck_base(head.vertices)
    with NewData():
        image = load_picture(head.albedo, strings.ALBEDO_NAME.format(name=obj.name))
        uv_map = next((layer.name for layer in old.uv_layers if layer.active_render), UV_MAP)
        mesh = make_mesh(head, to_blender(head.vertices, origin, scale), image, uv_map)
        camera = find_camera(obj)
        if camera is None and with_camera:
            collection = next((c for c in obj.users_collection if c.is_editable), scene.collection)
            camera = add_camera(scene, head, obj, collection, backdrop)
        elif camera is not None and with_camera:
            _match_again(scene, head, obj, camera, backdrop)
        warnings = _show_or_not(obj, mesh)
    if len(mesh.materials) > 1:
        _use_slot(obj, mesh)
    if obj.asset_data is not None:
        fill_asset(obj, head)
    return camera, warnings


def restore_version(obj: bpy.types.Object, mesh: bpy.types.Mesh) -> list[str]:
    """Show ``mesh``, one of ``versions(obj)``, and its albedo again; what is shown now becomes a version.

    Returns sentences about what could not be kept.
    """
    if any(other.data == mesh for other in bpy.data.objects if other != obj):
        kept, mesh = mesh, mesh.copy()  # the materials of the other object are its own
        obj[VERSIONS] = [mesh if version == kept else version for version in versions(obj)]
    before = _photo_of(obj.data)
    warnings = _show(obj, mesh)
    if obj.asset_data is not None:
        describe_asset(obj, json.loads(mesh[PROPERTY]))
        show_picture(obj)
    camera = find_camera(obj)
    if camera is not None and before != _photo_of(mesh):
        warnings.append(strings.CAMERA_STAYS.format(camera=camera.name))
    return warnings


def _photo_of(mesh: bpy.types.Mesh) -> str:
    """The hash of the photo that a head's mesh was made from; empty where a person put a mesh of their own in."""
    return str(json.loads(mesh.get(PROPERTY, "{}")).get("photo", {}).get("sha256", ""))


def _show(obj: bpy.types.Object, mesh: bpy.types.Mesh) -> list[str]:
    """Exchange the mesh of ``obj`` for ``mesh``, with albedo, materials, vertex groups and provenance."""
    old, warnings = obj.data, []
    before: bpy.types.Image | None = old.get(ALBEDO)
    after: bpy.types.Image = mesh[ALBEDO]
    keep_paint(before)
    _number(obj, old)
    _number(obj, mesh)
    slots = list(zip([slot.link for slot in obj.material_slots], own_materials(obj, before), strict=True))
    others = [version for version in versions(obj) if version != mesh]
    weights = _weights(obj)
    obj.data = mesh
    _take_slots(obj, slots)
    _put_weights(obj, old, weights)
    if swap_image(obj, before, after) is None:
        after.use_fake_user = True  # no material shows it, and saving would drop it
        warnings.append(strings.ALBEDO_NOT_SHOWN.format(image=after.name))
    if old.shape_keys is not None:
        warnings.append(strings.SHAPE_KEYS_STAY.format(version=old.name))
    old.use_fake_user, mesh.use_fake_user = True, False
    obj[VERSIONS] = [*others, old]
    write_provenance(obj, mesh[PROPERTY])
    return warnings


def _show_or_not(obj: bpy.types.Object, mesh: bpy.types.Mesh) -> list[str]:
    """Likewise; when it fails half way, ``obj`` shows what it showed."""
    old = obj.data
    try:
        return _show(obj, mesh)
    except Exception:
        obj.data = old
        swap_image(obj, mesh[ALBEDO], old.get(ALBEDO))
        raise


def _take_slots(obj: bpy.types.Object, slots: list[tuple[str, Any]]) -> None:
    """Give the shown mesh these materials, in the same slots. Not by clearing: faces would forget their slots."""
    materials = obj.data.materials
    while len(materials) > len(slots):
        materials.pop()
    for index, (link, material) in enumerate(slots):
        if index == len(materials):
            materials.append(None)
        slot = obj.material_slots[index]
        slot.link = link
        slot.material = material


def _use_slot(obj: bpy.types.Object, mesh: bpy.types.Mesh) -> None:
    """All faces of a new mesh show the material that holds its albedo, or the first where none does."""
    slot = swap_image(obj, mesh[ALBEDO], mesh[ALBEDO]) or 0
    mesh.polygons.foreach_set("material_index", np.full(len(mesh.polygons), slot, np.int32))


def _weights(obj: bpy.types.Object) -> dict[str, list[tuple[int, float]]]:
    """Name of each vertex group and its (vertex, weight)."""
    names = [group.name for group in obj.vertex_groups]
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in names}
    if names:
        for vertex in obj.data.vertices:
            for membership in vertex.groups:
                found[names[membership.group]].append((vertex.index, membership.weight))
    return found


def _put_weights(obj: bpy.types.Object, old: bpy.types.Mesh, weights: dict[str, list[tuple[int, float]]]) -> None:
    """Give ``obj`` the vertex groups of ``old``: each vertex has what the nearest old one had."""
    obj.vertex_groups.clear()
    if not weights:
        return
    tree = KDTree(len(old.vertices))
    for vertex in old.vertices:
        tree.insert(vertex.co, vertex.index)
    tree.balance()
    nearest: dict[int, list[int]] = {}
    for vertex in obj.data.vertices:
        nearest.setdefault(tree.find(vertex.co)[1], []).append(vertex.index)
    for name, members in weights.items():
        group = obj.vertex_groups.new(name=name)
        for index, weight in members:
            if index in nearest:
                group.add(nearest[index], weight, "REPLACE")


def _match_again(
    scene: bpy.types.Scene,
    head: HeadFolder,
    obj: bpy.types.Object,
    camera: bpy.types.Object,
    backdrop: bool,
) -> None:
    """The camera that is there sees the new head as the photo does, unless a person moved it or a library holds it."""
    if was_moved(camera) or not (camera.is_editable and camera.data.is_editable):
        return
    photo = None
    if head.photo is not None:
        photo = load_picture(head.photo, strings.PHOTO_NAME.format(name=obj.name))
    place_camera(camera, scene, head, neck_base(head.vertices), units(scene))
    if photo is None:
        return
    show_photo(camera, photo)
    hung = find_backdrop(camera)
    if hung is not None or backdrop:
        homes = (hung if hung is not None else camera).users_collection or (scene.collection,)
        if hung is not None:
            bpy.data.batch_remove([hung, hung.data])
        plane = make_backdrop(obj.name, camera, photo)
        for home in homes:
            home.objects.link(plane)


def _number(obj: bpy.types.Object, mesh: bpy.types.Mesh) -> None:
    """Number and name a mesh of ``obj`` that has no number yet."""
    if NUMBER not in mesh:
        mesh[NUMBER] = 1 + max((version.get(NUMBER, 0) for version in [*versions(obj), obj.data]), default=0)
        mesh.name = strings.VERSION_NAME.format(name=obj.name, number=mesh[NUMBER])
