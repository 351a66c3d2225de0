"""The sidebar's tab Headstitch: what is chosen, what runs, what came of it. Drawing reads nothing from the disk."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

from typing import Any

import bpy

from . import heartbeat, pictures, properties, strings
from .head_versions import is_head, versions
from .layouts import paragraph, progress_bar
from .session import TEMPLATE, Session, Task

TAB = "Headstitch"
PICTURE = 7.0  # size of the photo in the panel, in icons
SHEET = 9.0  # of preview.png, which is twice as wide as high
MOST_WARNINGS = 6


class _SidebarPanel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = TAB


class MainPanel(_SidebarPanel, bpy.types.Panel):
    """Photo, model, quality, the button, and what runs."""

    bl_idname = "HEADSTITCH_PT_main"
    bl_label = strings.PANEL

    def draw(self, context: bpy.types.Context) -> None:
        """All of it."""
        heartbeat.want_models()
        now, _ = heartbeat.existing()
        settings = context.window_manager.headstitch
        layout, width = self.layout, width_of(context)
        _draw_readiness(layout, now, width)
        _draw_photo(layout, settings)
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        row = column.row(align=True)
        row.prop(settings, "model")
        row.operator("headstitch.refresh_models", text="", icon="FILE_REFRESH")
        _draw_model(column, now, width)
        column.prop(settings, "preset")
        row = column.row()
        row.enabled = is_head(context.active_object) or settings.rebuild
        row.prop(settings, "rebuild")
        row = column.row()
        row.enabled = not settings.rebuild
        row.prop(settings, "place")
        if now is not None and now.current is not None:
            _draw_running(layout, now, now.current, width)
        else:
            row = layout.row()
            row.scale_y = 1.5
            row.operator("headstitch.generate_from_panel", icon="USER")
        if now is not None and now.error:
            _draw_error(layout, now.error, now.error_log, width, index=None)


class DetailsPanel(_SidebarPanel, bpy.types.Panel):
    """What the presets set, and the rest."""

    bl_idname = "HEADSTITCH_PT_details"
    bl_parent_id = "HEADSTITCH_PT_main"
    bl_label = strings.DETAILS
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012  Blender reads a plain set

    def draw(self, context: bpy.types.Context) -> None:
        """All of it."""
        settings, layout = context.window_manager.headstitch, self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        column = layout.column()
        for name in ("resolution", "faces", "texture_size", "smoothing", "neck", "uv", "seed", "device", "quality"):
            column.prop(settings, name)
        row = column.row()
        row.enabled = properties.values["model"] != TEMPLATE
        row.prop(settings, "debug_images")
        column = layout.column(heading=strings.BY_HAND)
        column.prop(settings, "face")
        column.prop(settings, "use_angles")
        if settings.use_angles:
            column.prop(settings, "angles")
        column.prop(settings, "use_crop")
        if settings.use_crop:
            for name in ("crop_centre", "crop_side", "crop_rotation"):
                column.prop(settings, name)


class ScenePanel(_SidebarPanel, bpy.types.Panel):
    """What comes into the scene beside the head."""

    bl_idname = "HEADSTITCH_PT_scene"
    bl_parent_id = "HEADSTITCH_PT_main"
    bl_label = strings.IN_SCENE
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012  Blender reads a plain set

    def draw(self, context: bpy.types.Context) -> None:
        """All of it."""
        settings = context.window_manager.headstitch
        column = self.layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(settings, "with_camera")
        row = column.row()
        row.enabled = settings.with_camera
        row.prop(settings, "photo_view")
        column.prop(settings, "frame_view")
        row = column.row()
        row.enabled = not settings.rebuild
        row.prop(settings, "as_asset")


class HeadPanel(_SidebarPanel, bpy.types.Panel):
    """What can be done with the head that is active."""

    bl_idname = "HEADSTITCH_PT_head"
    bl_label = strings.ACTIVE_HEAD

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only when a head of ours is active."""
        return is_head(context.active_object)

    def draw(self, context: bpy.types.Context) -> None:
        """Where it came from, its versions, the turntable."""
        head, layout = context.active_object, self.layout
        layout.label(text=head.name, icon="USER")
        column = layout.column(align=True)
        for key, words in strings.ORIGINS.items():
            if key in head:
                column.label(text=words.format(value=head[key]))
        for mesh in reversed(versions(head)):
            button = layout.operator("headstitch.restore_version", text=mesh.name, icon="LOOP_BACK")
            button.version = mesh.name
        layout.operator("headstitch.turntable", icon="CON_ROTLIKE")


class ResultsPanel(_SidebarPanel, bpy.types.Panel):
    """The heads that were made, the latest first, and what went wrong."""

    bl_idname = "HEADSTITCH_PT_results"
    bl_label = strings.RESULTS

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only when there are any."""
        now, _ = heartbeat.existing()
        return now is not None and bool(now.finished)

    def draw(self, context: bpy.types.Context) -> None:
        """One box each; the latest with its picture."""
        now, _ = heartbeat.existing()
        if now is None:
            return
        width, finished = width_of(context), now.finished
        for index, task in enumerate(finished):
            _draw_task(self.layout, task, index, width)
        if len(finished) > 1:
            self.layout.operator("headstitch.dismiss", text=strings.DISMISS_ALL, icon="X").index = -1


class BackendPanel(_SidebarPanel, bpy.types.Panel):
    """The process that makes the heads."""

    bl_idname = "HEADSTITCH_PT_backend"
    bl_parent_id = "HEADSTITCH_PT_main"
    bl_label = strings.BACKEND
    bl_options = {"DEFAULT_CLOSED"}  # noqa: RUF012  Blender reads a plain set

    def draw(self, context: bpy.types.Context) -> None:
        """Its state, and the buttons."""
        now, _ = heartbeat.existing()
        state = now.client.state if now is not None else "stopped"
        self.layout.label(text=strings.BACKEND_STATES[state])
        self.layout.operator("headstitch.free_memory", icon="TRASH")
        if now is not None and now.client.welcome is not None:
            row = self.layout.row()
            row.operator("headstitch.open_file", text=strings.OPEN_LOG, icon="TEXT").path = str(now.client.log)
        self.layout.operator("headstitch.show_preferences", icon="PREFERENCES")


def width_of(context: bpy.types.Context) -> float:
    """Of the region, in pixels of an interface of ordinary size."""
    scale = context.preferences.system.ui_scale or 1.0
    return (context.region.width if context.region is not None else 300) / scale


def _draw_readiness(layout: Any, now: Session | None, width: float) -> None:
    """What keeps heads from being made, and an add-on and a backend of two versions."""
    missing = heartbeat.not_ready()
    note = now.client.note if now is not None else ""
    _, work = heartbeat.existing()
    for sentence in filter(None, (missing, note)):
        box = layout.box()
        if sentence == missing and work is not None and work.busy:
            progress_bar(box, work.event.text or sentence, work.event.fraction, work.event.seconds_left)
        paragraph(box, sentence, width, icon="INFO" if sentence == missing else "ERROR")
        box.operator("headstitch.show_preferences", text=strings.SET_UP, icon="PREFERENCES")


def _draw_photo(layout: Any, settings: Any) -> None:
    layout.row().prop(settings, "source", expand=True)
    if settings.source == "FILE":
        row = layout.row(align=True)
        row.prop(settings, "photo", text="")
        row.operator("headstitch.choose_photo", text="", icon="FILE_IMAGE")
        icon = pictures.want(bpy.path.abspath(settings.photo)) if settings.photo else 0
    else:
        image = pictures.shown_image()
        layout.label(text=image.name if image is not None else strings.NO_IMAGE_SHORT, icon="IMAGE_DATA")
        icon = layout.icon(image) if image is not None else 0  # Blender makes it in the background
    if icon:
        layout.template_icon(icon_value=icon, scale=PICTURE)


def _draw_model(layout: Any, now: Session | None, width: float) -> None:
    model = now.model(properties.values["model"]) if now is not None else None
    if model is not None and model.wrong:
        paragraph(layout, model.wrong, width, icon="ERROR")
    elif model is not None and model.licence:
        paragraph(layout, strings.MODEL_LICENCE.format(licence=model.licence), width)
    if now is not None and now.models_warning:
        paragraph(layout, now.models_warning, width, icon="INFO")


def _draw_running(layout: Any, now: Session, task: Task, width: float) -> None:
    box = layout.box()
    job = task.job
    box.label(text=task.name, icon="USER")
    icon = pictures.want(task.preview)
    if icon:
        box.template_icon(icon_value=icon, scale=PICTURE)
    if job is not None and job.cancelling:
        box.label(text=strings.CANCELLING)
    elif task.state == "made":
        paragraph(box, task.sentence or strings.IMPORTING, width)
    elif task.state == "running" and job is not None:
        progress_bar(box, job.stage or strings.STARTING, job.fraction, job.seconds_left)
    else:
        progress_bar(box, strings.STARTING, 0.0, None)
    if now.waiting > 1:
        box.label(text=strings.IN_QUEUE.format(count=now.waiting - 1))
    row = box.row()
    row.scale_y = 1.5
    row.enabled = job is None or not job.cancelling
    row.operator("headstitch.cancel", icon="X")


def _draw_task(layout: Any, task: Task, index: int, width: float) -> None:
    if task.state == "failed":
        _draw_error(layout, task.sentence, task.log, width, index=index, title=task.photo.name)
        return
    box = layout.box()
    row = box.row()
    row.label(text=task.object_name or task.name, icon="CHECKMARK" if task.state == "imported" else "INFO")
    row.operator("headstitch.dismiss", text="", icon="X", emboss=False).index = index
    if task.sentence:
        paragraph(box, f"{task.sentence}: {task.out}", width, icon="ERROR")
        box.operator("headstitch.import_again", icon="IMPORT").index = index
    for warning in task.warnings[:MOST_WARNINGS]:
        paragraph(box, warning, width, icon="ERROR")
    icon = pictures.want(task.preview) if index == 0 else 0
    if icon:
        box.template_icon(icon_value=icon, scale=SHEET)
    row = box.row()
    row.label(text=strings.TOOK.format(seconds=round(task.seconds)) if task.seconds else "")
    row.operator("headstitch.open_file", text=strings.OPEN_FOLDER, icon="FILE_FOLDER").path = str(task.out)
    if task.state == "imported":
        box.operator("headstitch.rebake", icon="FILE_REFRESH").index = index


def _draw_error(layout: Any, sentence: str, log: str, width: float, *, index: int | None, title: str = "") -> None:
    box = layout.box()
    if title:
        box.label(text=title, icon="FILE_IMAGE")
    paragraph(box, sentence, width, icon="ERROR")
    row = box.row(align=True)
    row.operator("headstitch.copy_text", icon="COPYDOWN").text = "\n".join(filter(None, (title, sentence, log)))
    if log:
        row.operator("headstitch.open_file", text=strings.OPEN_LOG, icon="TEXT").path = log
    row.operator("headstitch.dismiss", icon="X").index = -1 if index is None else index


CLASSES = (MainPanel, DetailsPanel, ScenePanel, BackendPanel, ResultsPanel, HeadPanel)
