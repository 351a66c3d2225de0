"""A head's pictures and its one material: loads, packs, builds the nodes, swaps the albedo of a rebuilt head."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import bpy

from . import strings
from .head_folder import HeadFolderError

LONGEST_PATH = 1023  # characters that Blender keeps of a path
ROUGHNESS = 0.5  # skin under soft light
ALBEDO = "headstitch_albedo"  # custom property of a mesh: the picture that its UVs belong to


def load_picture(path: Path, name: str) -> bpy.types.Image:
    """The picture, packed under ``name``: the .blend needs the file no more.

    Raises:
        HeadFolderError: it is gone or no picture; nothing is left behind.
    """
    try:
        image = bpy.data.images.load(os.fspath(path), check_existing=False)
    except RuntimeError as error:
        raise HeadFolderError(strings.FILE_UNREADABLE.format(file=path, reason=strings.NOT_THERE)) from error
    try:
        if image.colorspace_settings.name != "sRGB":  # before the size: setting it throws the decoded pixels away
            image.colorspace_settings.name = "sRGB"
        image.pack()
        whole = 0 not in image.size  # asking for the size makes Blender decode the file
    except RuntimeError:
        whole = False
    if not whole:
        bpy.data.images.remove(image)
        raise HeadFolderError(strings.FILE_DAMAGED.format(file=path, reason=strings.NOT_A_PICTURE))
    image.name = name
    # The .blend may travel: the picture is in it, and where it came from is nobody's business. Unpacked, it goes here.
    home = f"//textures/{bpy.path.clean_name(name)}{path.suffix}"
    for path_or_filler in ("/" * LONGEST_PATH, home):  # Blender saves what stands behind the end of a shorter path, too
        image.filepath_raw = path_or_filler
        for packed in image.packed_files:
            packed.filepath = path_or_filler
    return image


def make_material(name: str, image: bpy.types.Image) -> bpy.types.Material:
    """One Principled shader with ``image`` as its colour, the image node active: texture paint paints on that one."""
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0, 0):  # from then on every material has nodes, and saying so is deprecated
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
    tree.nodes.active = texture
    tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    return material


def own_materials(obj: bpy.types.Object, image: bpy.types.Image | None) -> list[bpy.types.Material | None]:
    """The materials of the object's slots, free to be changed.

    Those that show ``image`` and that another object uses, or a library holds, are copies: no other object is touched.
    """
    materials = [slot.material for slot in obj.material_slots]
    if image is None:
        return materials
    copies = {
        material: material.copy()
        for material in {material for material in materials if material is not None}
        if any(_nodes_with(material, image)) and (not material.is_editable or _used_elsewhere(material, obj))
    }
    return [copies.get(material, material) for material in materials]


def swap_image(obj: bpy.types.Object, old: bpy.types.Image | None, new: bpy.types.Image) -> int | None:
    """Put ``new`` into every image node of the object's materials that holds ``old``.

    Returns the first material slot that shows it, or None.
    """
    first = None
    for index, slot in enumerate(obj.material_slots):
        if slot.material is None or old is None:
            continue
        for node in list(_nodes_with(slot.material, old)):
            node.image = new
        if first is None and any(_nodes_with(slot.material, new)):
            first = index
    return first


def keep_paint(image: bpy.types.Image | None) -> None:
    """Pack what was painted on ``image`` and not saved yet, so that saving the file keeps it."""
    if image is not None and image.is_dirty and image.is_editable:
        image.pack()


def _nodes_with(material: bpy.types.Material, image: bpy.types.Image) -> Iterator[bpy.types.Node]:
    tree = material.node_tree
    if tree is None:
        return
    yield from (node for node in tree.nodes if node.type == "TEX_IMAGE" and node.image == image)


def _used_elsewhere(material: bpy.types.Material, obj: bpy.types.Object) -> bool:
    return any(
        slot.material == material
        for other in bpy.data.objects
        if other != obj and other.type == "MESH"
        for slot in other.material_slots
    )
