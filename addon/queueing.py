"""From what was chosen to tasks: which photos, which options, where each head shall stand."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
from mathutils import Vector

from . import head_import, heartbeat, pictures, properties, strings
from .head_versions import is_head, object_of
from .session import Placement, Task, TaskError


def chosen_photo() -> tuple[Path, pictures.Writing | None]:
    """The photo that the panel names, or the image of an Image Editor as a file that may be still being written.

    Raises:
        TaskError: none is chosen, or it cannot be used.
    """
    if properties.values["source"] == "IMAGE":
        image = pictures.shown_image()
        if image is None:
            raise TaskError(strings.NO_IMAGE)
        return pictures.file_of(image)
    if not properties.values["photo"]:
        raise TaskError(strings.NO_PHOTO)
    return Path(bpy.path.abspath(properties.values["photo"])), None


def add(
    context: bpy.types.Context,
    photos: Sequence[Path],
    writing: pictures.Writing | None = None,
    *,
    heads: Path | None = None,
    rebuild: bool = False,
    **changes: Any,
) -> tuple[list[Task], list[str]]:
    """Queue photos with the panel's options; several stand in a grid.

    Args:
        context: of the operator.
        photos: their files.
        writing: of the one photo, where it is not there yet.
        heads: where the heads are put, by default where the preferences say.
        rebuild: whether the one photo's head takes the place of the active one.
        **changes: options that differ from the panel's.

    Returns:
        The tasks, and a sentence for each photo that could not be queued.
    """
    rebuilt = context.active_object if rebuild and is_head(context.active_object) else None
    reason = heartbeat.not_ready() or (strings.NO_HEAD_TO_REBUILD if rebuild and rebuilt is None else "")
    if reason:
        return [], [reason]
    session = heartbeat.session()
    tasks, refused = [], []
    for photo, location in zip(photos, grid(context, len(photos)), strict=True):
        placement = Placement(
            scene=context.scene.name,
            location=location,
            replace="" if rebuilt is None else rebuilt.name,
            replace_uid=0 if rebuilt is None else rebuilt.session_uid,
            **{name: properties.values[name] for name in ("with_camera", "photo_view", "frame_view", "as_asset")},
        )
        try:
            options = properties.options() | changes
            tasks.append(session.add(photo, heads or heartbeat.heads_folder(), options, placement, writing))
        except TaskError as error:
            refused.append(str(error))
            if not bpy.app.background:  # there the exception says it
                session.refuse(photo, str(error))
    if not bpy.app.background:
        heartbeat.wake()
    return tasks, refused


def add_rebake(context: bpy.types.Context, made: Task) -> Task:
    """Queue a finished head to be made again with the panel's details; one that left the scene comes as a new head.

    Raises:
        TaskError: the environment is not ready, or what it is made of is not there any more.
    """
    reason = heartbeat.not_ready()
    if reason:
        raise TaskError(reason)
    obj = object_of(made.object_uid)
    if obj is not None and is_head(obj):
        placement = replace(made.placement, scene=context.scene.name, replace=obj.name, replace_uid=obj.session_uid)
    else:
        placement = replace(made.placement, scene=context.scene.name, replace="", replace_uid=0)
    task = heartbeat.session().rebake(made, heartbeat.heads_folder(), properties.remaking(), placement)
    if not bpy.app.background:
        heartbeat.wake()
    return task


def grid(context: bpy.types.Context, count: int) -> list[tuple[float, float, float]]:
    """Where ``count`` heads stand, in Blender units: the first at the place that the panel says."""
    scene = context.scene
    start = scene.cursor.location if properties.values["place"] == "CURSOR" else (0.0, 0.0, 0.0)
    return [tuple(place) for place in head_import.grid(scene, Vector(start), count)]
