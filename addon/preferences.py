"""The add-on's preferences: the backend's environment, where heads and models lie, when memory is freed."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false, reportInvalidTypeForm=false
# (the bpy package carries no types, and Blender reads properties from annotations)

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import bpy
from bpy.props import BoolProperty, EnumProperty, IntProperty, StringProperty

from . import strings
from .environment_system import size_in_words
from .environment_texts import STAGE_PYTHON
from .layouts import paragraph, progress_bar
from .upkeep import Upkeep

PACKAGE = __name__.rpartition(".")[0].rpartition(".")[0]
IDLE_MINUTES = 10


@dataclass(frozen=True)
class Choices:
    """What holds where Blender keeps no preferences of ours: the add-on was switched on by a script."""

    heads_folder: str = ""
    models_folder: str = ""
    idle_minutes: int = IDLE_MINUTES
    build_name: str = "auto"
    python: str = ""
    wheels: str = ""
    keep_wheels: bool = False
    obtain_python: bool = False


def choices() -> Any:
    """The preferences, or their defaults."""
    addon = bpy.context.preferences.addons.get(PACKAGE)
    return Choices() if addon is None or addon.preferences is None else addon.preferences


def current_upkeep() -> Upkeep | None:
    """The environment's, without making one."""
    from .heartbeat import existing  # it stands on this module

    return existing()[1]


_builds: list[tuple[str, str, str, int]] = []  # Blender does not keep the texts of such items itself


def _build_items(self: object, context: object) -> list[tuple[str, str, str, int]]:
    work = current_upkeep()
    sizes = dict(work.plan.builds) if work is not None and work.plan is not None else {"cpu": 0}
    chosen = choices().build_name
    if chosen not in ("auto", *sizes):
        sizes[chosen] = 0
    _builds[:] = [("auto", strings.BUILD_AUTO, strings.BUILD_AUTO_DESCRIPTION, 0)]
    for name, size in sizes.items():
        label = strings.BUILD_CPU if name == "cpu" else strings.BUILD_CUDA.format(version=f"{name[2:-1]}.{name[-1:]}")
        words = strings.BUILD_SIZE.format(size=size_in_words(size)) if size else ""
        _builds.append((name, label, words, number_of(name)))
    return _builds


def number_of(name: str) -> int:
    """A number for an enum's item that stays the same when other items come and go; not 0."""
    return (zlib.crc32(name.encode()) & 0x3FFFFFFF) + 1


def _get_build(self: Any) -> int:
    return 0 if self.build_name == "auto" else number_of(self.build_name)


def _set_build(self: Any, number: int) -> None:
    self.build_name = next((item[0] for item in _builds if item[3] == number), "auto")
    _plan_again(self, bpy.context)


def _plan_again(self: object, context: object) -> None:
    """A plan that is shown is one of other choices now."""
    work = current_upkeep()
    if work is not None and work.plan is not None and not work.busy:
        work.plan = None
        bpy.ops.headstitch.environment_plan()


def _models_folder_changed(self: object, context: object) -> None:
    from . import heartbeat

    heartbeat.apply_models_folder()
    now, _ = heartbeat.existing()
    if now is not None and not now.waiting:  # the next one knows the folder
        now.free_memory()
        now.models_known = False


class Preferences(bpy.types.AddonPreferences):
    """Edit > Preferences > Add-ons > Headstitch."""

    bl_idname = PACKAGE

    heads_folder: StringProperty(
        name=strings.HEADS_FOLDER, description=strings.HEADS_FOLDER_DESCRIPTION, subtype="DIR_PATH"
    )
    models_folder: StringProperty(
        name=strings.MODELS_FOLDER,
        description=strings.MODELS_FOLDER_DESCRIPTION,
        subtype="DIR_PATH",
        update=_models_folder_changed,
    )
    idle_minutes: IntProperty(
        name=strings.IDLE_MINUTES,
        description=strings.IDLE_MINUTES_DESCRIPTION,
        default=IDLE_MINUTES,
        min=0,
        soft_max=120,
    )
    build: EnumProperty(
        name=strings.BUILD, description=strings.BUILD_DESCRIPTION, items=_build_items, get=_get_build, set=_set_build
    )
    build_name: StringProperty(default="auto", options={"HIDDEN"})  # what ``build`` shows; its items come and go
    python: StringProperty(
        name=strings.PYTHON, description=strings.PYTHON_DESCRIPTION, subtype="FILE_PATH", update=_plan_again
    )
    wheels: StringProperty(
        name=strings.WHEELS, description=strings.WHEELS_DESCRIPTION, subtype="DIR_PATH", update=_plan_again
    )
    keep_wheels: BoolProperty(name=strings.KEEP_WHEELS, description=strings.KEEP_WHEELS_DESCRIPTION, update=_plan_again)
    obtain_python: BoolProperty(name=strings.OBTAIN_PYTHON, description=strings.OBTAIN_PYTHON_DESCRIPTION)

    def draw(self, context: bpy.types.Context) -> None:
        """All of it; reads nothing from the disk."""
        width = context.region.width if context.region is not None else 600
        draw_environment(self.layout, current_upkeep(), self, width)
        column = self.layout.column()
        column.use_property_split = True
        column.prop(self, "heads_folder", placeholder=strings.EMPTY_HEADS_FOLDER)
        column.prop(self, "models_folder", placeholder=strings.EMPTY_MODELS_FOLDER)
        column.prop(self, "idle_minutes")


def draw_environment(layout: Any, work: Upkeep | None, chosen: Any, width: int) -> None:
    """The environment: how it stands, what runs, what was found, and the buttons."""
    from .heartbeat import not_ready

    box = layout.box()
    box.label(text=strings.ENVIRONMENT, icon="CONSOLE")
    if work is None:
        paragraph(box, not_ready(), width, icon="ERROR")
        return
    ready = work.status.state == "ready"
    paragraph(box, work.status.sentence, width, icon="CHECKMARK" if ready else "INFO")
    if work.status.build and ready:
        box.label(text=strings.BUILD_NOW.format(build=work.status.build))
    if work.busy:
        text = work.event.text or STAGE_PYTHON
        progress_bar(box, strings.CANCELLING if work.cancelling else text, work.event.fraction, work.event.seconds_left)
        row = box.row()
        row.enabled = not work.cancelling
        row.operator("headstitch.environment_cancel", icon="X")
        return
    _draw_outcome(box, work, width)
    if work.plan is not None:
        _draw_plan(box, work, chosen, width)
    else:
        row = box.row()
        row.operator(
            "headstitch.environment_plan",
            text=strings.MEND if ready else strings.UPDATE if work.status.state == "outdated" else strings.MAKE,
            icon="IMPORT",
        )
        row.operator("headstitch.environment_check", icon="VIEWZOOM")
        row.operator("headstitch.environment_remove", icon="TRASH")
    column = box.column()
    column.use_property_split = True
    column.prop(chosen, "build")
    column.prop(chosen, "python", placeholder=strings.EMPTY_PYTHON)
    column.prop(chosen, "wheels", placeholder=strings.EMPTY_WHEELS)
    column.prop(chosen, "keep_wheels")
    if work.status.build == "existing":
        column.operator("headstitch.environment_forget_existing", icon="LOOP_BACK")
    else:
        column.operator("headstitch.environment_use_existing", icon="FILE_SCRIPT")


def _draw_plan(layout: Any, work: Upkeep, chosen: Any, width: int) -> None:
    plan = work.plan
    assert plan is not None
    box = layout.box()
    paragraph(box, plan.sentence[:1].upper() + plan.sentence[1:], width, icon="DISK_DRIVE")
    if plan.gpu or plan.build:
        box.label(text=strings.PLAN_BUILD.format(build=plan.build, gpu=plan.gpu or strings.NO_GPU))
    for problem in plan.problems:
        paragraph(box, problem, width, icon="ERROR")
    for note in plan.notes:
        paragraph(box, note, width, icon="INFO")
    if plan.obtains_python:
        box.prop(chosen, "obtain_python")
    row = box.row()
    row.operator("headstitch.environment_make", icon="IMPORT")
    row.operator("headstitch.environment_dismiss", text=strings.NOT_NOW)


def _draw_outcome(layout: Any, work: Upkeep, width: int) -> None:
    if work.error:
        box = layout.box()
        paragraph(box, work.error, width, icon="ERROR")
        row = box.row()
        row.operator("headstitch.copy_text", icon="COPYDOWN").text = f"{work.error}\n{work.error_log}".strip()
        if work.error_log:
            row.operator("headstitch.open_file", text=strings.OPEN_LOG, icon="TEXT").path = work.error_log
        row.operator("headstitch.environment_dismiss", text=strings.DISMISS, icon="X")
    report = work.report
    if report is None:
        return
    box = layout.box()
    if not report.problems:
        paragraph(box, report.sentence, width, icon="CHECKMARK")
    for problem in report.problems:
        paragraph(box, problem.what, width, icon="ERROR")
        paragraph(box, problem.mend, width, icon="BLANK1")
    for note in report.notes:
        paragraph(box, note, width, icon="INFO")
    for name, value in report.facts:
        box.label(text=f"{name}: {value}")
    box.operator("headstitch.environment_dismiss", text=strings.DISMISS, icon="X")
