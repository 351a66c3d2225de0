"""From a finished head on the disk to the open file: the import's operator, in the right window, as one undo step."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

from typing import Any

import bpy

from . import strings
from .head_versions import object_of
from .session import HandOverError, NotNow, Task

# While an operator of one of these runs in a window, the mode must not be left under it.
TOOLS = (
    *(
        "TRANSFORM",
        "MESH",
        "OBJECT",
        "UV",
        "CURVE",
        "CURVES",
        "SURFACE",
        "FONT",
        "MBALL",
        "LATTICE",
        "ARMATURE",
        "POSE",
    ),
    *("SCULPT", "SCULPT_CURVES", "PAINT", "PAINTCURVE", "GPENCIL", "GREASE_PENCIL", "PARTICLE", "POINTCLOUD", "MASK"),
)
OCCUPIED = tuple(f"{tool}_OT_" for tool in TOOLS)


def hand_over(task: Task) -> str:
    """Import the head of ``task`` and return the name of its object.

    Raises:
        NotNow: something is under way that must end first.
        HandOverError: the import refused, or the file does not take it; the scene is as it was.
    """
    for job, wait in (("RENDER", strings.WAIT_RENDER), ("OBJECT_BAKE", strings.WAIT_BAKE)):
        if bpy.app.is_job_running(job):
            raise NotNow(wait)
    windows = bpy.context.window_manager.windows
    modals = [modal for window in windows for modal in getattr(window, "modal_operators", ())]
    if any(modal.bl_idname.startswith(OCCUPIED) for modal in modals):
        raise NotNow(strings.WAIT_TOOL)
    override = _where(task.placement.scene)
    replace = _rebuilt(task)
    with bpy.context.temp_override(**override):
        try:
            done = bpy.ops.import_scene.headstitch_head(
                "EXEC_DEFAULT",
                True,  # one undo step
                directory=str(task.out),
                place="GIVEN",
                location=task.placement.location,
                with_camera=task.placement.with_camera,
                photo_view=task.placement.photo_view,
                frame_view=task.placement.frame_view,
                as_asset=task.placement.as_asset,
                replace=replace,
            )
        except RuntimeError as error:
            raise HandOverError(plain(error)) from error
        head = bpy.context.view_layer.objects.active
    if replace:
        head = object_of(task.placement.replace_uid)  # it need not be active
    if "FINISHED" not in done or head is None:
        raise HandOverError(strings.NO_REASON)
    task.object_uid = head.session_uid
    return head.name


def plain(error: RuntimeError) -> str:
    """What an operator reported, out of the exception that Blender makes of it; of a traceback its last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return strings.NO_REASON
    line = lines[-1] if any(line.startswith("Traceback") or "Traceback (" in line for line in lines) else lines[0]
    return line.removeprefix("Error: ").rstrip(".")


def _rebuilt(task: Task) -> str:
    """The name that the head to be rebuilt has now; empty where a new one comes.

    Raises:
        HandOverError: it is in this file no more.
    """
    if not task.placement.replace:
        return ""
    obj = object_of(task.placement.replace_uid)
    if obj is None:
        raise HandOverError(strings.HEAD_GONE.format(name=task.placement.replace))
    return obj.name


def _where(name: str) -> dict[str, Any]:
    """What to override so that the import goes into the scene of that name, which a window must show: Blender does not
    bear to be told of another one, least of all of a linked one.

    Raises:
        NotNow: no window shows it.
        HandOverError: there is no such scene any more, or nobody who could show it.
    """
    window = _window(name)
    override = {} if window is None else {"window": window}
    shown = bpy.context.scene if window is None else window.scene
    if shown.name == name:
        return override
    if name not in bpy.data.scenes:
        raise HandOverError(strings.SCENE_GONE.format(scene=name))
    if bpy.app.background:
        raise HandOverError(strings.SCENE_NOT_SHOWN.format(scene=name))
    raise NotNow(strings.WAIT_SCENE.format(scene=name))


def _window(scene: str) -> bpy.types.Window | None:
    """The window that shows the scene, else the one in use, else any; None where Blender has none."""
    windows = list(bpy.context.window_manager.windows)
    for window in windows:
        if window.scene.name == scene:
            return window
    return bpy.context.window or (windows[0] if windows else None)
