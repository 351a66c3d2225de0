"""A head as an asset: tags, a description, and the picture of it that its folder holds."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

import os
import zlib
from typing import Any

import bpy
import numpy as np

from . import strings
from .head_folder import HeadFolder

TILE = 256  # pixels of one view in preview.png; the head as the photo sees it is the first that is no photo
PICTURE = "headstitch_picture"  # custom property of a mesh: its tile, (256, 256, 4) uint8, deflated
TAGS = ("headstitch", "head", "portrait", "generated")


def mark_asset(obj: bpy.types.Object, head: HeadFolder) -> None:
    """Mark ``obj`` as an asset. The preview is our own picture: Blender's would take long on a heavy mesh."""
    obj.asset_mark()
    data = obj.asset_data
    for tag in TAGS:
        data.tags.new(tag, skip_if_exists=True)
    fill_asset(obj, head)


def fill_asset(obj: bpy.types.Object, head: HeadFolder) -> None:
    """Write the texts and the preview of an asset from ``head``; its tags and catalogue stay."""
    describe_asset(obj, head.provenance)
    show_picture(obj)


def keep_picture(mesh: bpy.types.Mesh, head: HeadFolder) -> None:
    """Have ``mesh`` remember its picture, so that a version of a head that comes back has its own."""
    pixels = _portrait_tile(head)
    if pixels is not None:
        mesh[PICTURE] = zlib.compress(np.rint(pixels * 255).astype(np.uint8).tobytes())


def show_picture(obj: bpy.types.Object) -> None:
    """The picture of the mesh that ``obj`` shows becomes its preview; none where the mesh has none."""
    preview = obj.preview_ensure()
    kept = obj.data.get(PICTURE)
    preview.image_size = (0, 0) if kept is None else (TILE, TILE)
    if kept is not None:
        pixels = np.frombuffer(zlib.decompress(kept), np.uint8).astype(np.float32) / 255
        preview.image_pixels_float.foreach_set(pixels)


def describe_asset(obj: bpy.types.Object, record: Any) -> None:
    """Write the description, author and licence of an asset from what head.json says."""
    data = obj.asset_data
    photo, model = _part(record, "photo"), _part(record, "model")
    note = str(record.get("generated_content_note", ""))
    data.description = strings.ASSET_DESCRIPTION.format(
        photo=photo.get("name", "?"), model=model.get("name", "?"), note=note
    ).strip()
    data.author = strings.ASSET_AUTHOR.format(version=record.get("version", ""))
    data.license = str(model.get("licence") or "")


def _part(record: Any, key: str) -> dict[str, Any]:
    part = record.get(key)
    return part if isinstance(part, dict) else {}


def _portrait_tile(head: HeadFolder) -> np.ndarray | None:
    """The tile (256, 256, 4) float32 of preview.png with the head through the photo's camera, bottom row first.

    None where the folder holds no such picture: an asset without a preview is still an asset.
    """
    if head.preview is None:
        return None
    try:
        image = bpy.data.images.load(os.fspath(head.preview), check_existing=False)
    except RuntimeError:  # gone meanwhile
        return None
    try:
        width, height = image.size
        if width < TILE or height < TILE:
            return None
        sheet = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(sheet)
    finally:
        bpy.data.images.remove(image)
    column = TILE if width >= 4 * TILE else 0  # the sheet begins with the photo where there was one
    return np.ascontiguousarray(sheet.reshape(height, width, 4)[-TILE:, column : column + TILE])
