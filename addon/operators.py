"""The panel's operators: they gather, call and report; ``session`` does the work. In the background they wait."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false, reportInvalidTypeForm=false
# (the bpy package carries no types, and Blender reads an operator's properties from its annotations)

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
from bpy.props import CollectionProperty, IntProperty, StringProperty

from . import heartbeat, pictures, properties, queueing, strings
from .head_versions import is_head, object_of
from .session import Task, TaskError

PHOTO_GLOB = ";".join(f"*{suffix}" for suffix in pictures.SUFFIXES)
INTERNAL = {"INTERNAL"}


def finish(operator: bpy.types.Operator, tasks: list[Task], refused: list[str]) -> set[str]:
    """Report how the queueing went; without a window, make the heads now and report how that went."""
    if bpy.app.background and tasks:
        session = heartbeat.session()
        try:
            heartbeat.run_until_over()
        except KeyboardInterrupt:
            session.cancel()
            heartbeat.run_until_over()
            raise
        failed = [task.sentence or strings.CANCELLED for task in tasks if task.state != "imported"]
        defect = [session.error] if session.error else []
        for task in tasks:
            session.dismiss(task)
        session.error = ""
        refused = [*refused, *failed, *defect]
    for sentence in refused:
        operator.report({"ERROR"}, sentence)
    made = [task for task in tasks if not bpy.app.background or task.state == "imported"]
    return {"FINISHED"} if made else {"CANCELLED"}


class GenerateFromPanel(bpy.types.Operator):
    """The panel's button."""

    bl_idname = "headstitch.generate_from_panel"
    bl_label = strings.GENERATE
    bl_description = strings.GENERATE_DESCRIPTION
    bl_options = INTERNAL

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether all is there; reads nothing from the disk."""
        missing = what_is_missing()
        if missing:
            cls.poll_message_set(missing)
        elif properties.values["rebuild"] and not is_head(context.active_object):
            missing = strings.NO_HEAD_TO_REBUILD
            cls.poll_message_set(missing)
        return not missing

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Queue the photo."""
        try:
            photo, writing = queueing.chosen_photo()
        except TaskError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return finish(self, *queueing.add(context, [photo], writing, rebuild=properties.values["rebuild"]))


def what_is_missing() -> str:
    """Why no head can be made of what the panel shows; empty when nothing is missing."""
    values, (now, _) = properties.values, heartbeat.existing()
    model = now.model(values["model"]) if now is not None else None
    if reason := heartbeat.not_ready():
        return reason
    if values["source"] == "FILE" and not values["photo"]:
        return strings.NO_PHOTO
    if values["source"] == "IMAGE" and pictures.shown_image() is None:
        return strings.NO_IMAGE
    return model.wrong or "" if model is not None else ""


class Generate(bpy.types.Operator):
    """For scripts: ``bpy.ops.headstitch.generate(filepath="/path/to/photo.jpg")``; see docs/blender.md."""

    bl_idname = "headstitch.generate"
    bl_label = strings.GENERATE_LABEL
    bl_description = strings.GENERATE_DESCRIPTION
    bl_options = INTERNAL

    filepath: StringProperty(name=strings.PHOTO, description=strings.PHOTO_DESCRIPTION, subtype="FILE_PATH")
    heads: StringProperty(name=strings.HEADS_FOLDER, description=strings.HEADS_FOLDER_DESCRIPTION, subtype="DIR_PATH")
    model: StringProperty(name=strings.MODEL, description=strings.MODEL_DESCRIPTION)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Queue the photo; without a window, wait for its head."""
        try:
            named = (Path(bpy.path.abspath(self.filepath)), None) if self.filepath else None
            photo, writing = named or queueing.chosen_photo()
        except TaskError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        changes = {"model": self.model} if self.model else {}
        heads = Path(bpy.path.abspath(self.heads)) if self.heads else None
        rebuild = properties.values["rebuild"]
        return finish(self, *queueing.add(context, [photo], writing, heads=heads, rebuild=rebuild, **changes))


class ImportPhotos(bpy.types.Operator):
    """File > Import > Headstitch head from photo, and what happens to photos that are dropped into the viewport."""

    bl_idname = "import_scene.headstitch_photo"
    bl_label = strings.IMPORT_PHOTO_LABEL
    bl_description = strings.IMPORT_PHOTO_DESCRIPTION

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    directory: StringProperty(subtype="DIR_PATH", options={"SKIP_SAVE", "HIDDEN"})
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    filter_glob: StringProperty(default=PHOTO_GLOB, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for photos, unless they were dropped."""
        if self.directory and self.files:
            return self.execute(context)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        """The options beside the file browser: the panel's own."""
        settings = context.window_manager.headstitch
        layout = self.layout
        layout.use_property_split = True
        for name in ("model", "preset", "place", "with_camera", "as_asset"):
            layout.prop(settings, name)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Queue all of them."""
        photos = self._photos()
        if not photos:
            self.report({"ERROR"}, strings.NO_PHOTO)
            return {"CANCELLED"}
        tasks, refused = queueing.add(context, photos)
        if tasks and not bpy.app.background:
            self.report({"INFO"}, strings.QUEUED.format(count=len(tasks)))
        return finish(self, tasks, refused)

    def _photos(self) -> list[Path]:
        names = [file.name for file in self.files if file.name]
        folder = Path(bpy.path.abspath(self.directory))
        return [folder / name for name in names] or ([Path(bpy.path.abspath(self.filepath))] if self.filepath else [])


class ChoosePhoto(bpy.types.Operator):
    """A file browser that shows only what the backend reads."""

    bl_idname = "headstitch.choose_photo"
    bl_label = strings.CHOOSE_PHOTO
    bl_description = strings.PHOTO_DESCRIPTION
    bl_options = INTERNAL

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default=PHOTO_GLOB, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take it into the panel."""
        settings = context.window_manager.headstitch
        settings.source, settings.photo = "FILE", self.filepath
        heartbeat.redraw()
        return {"FINISHED"}


class _WhileBusy(bpy.types.Operator):
    """Only while heads are made."""

    bl_options = INTERNAL

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Whether one is."""
        now, _ = heartbeat.existing()
        if now is not None and now.waiting:
            return True
        cls.poll_message_set(strings.NOTHING_RUNS)
        return False


class Cancel(_WhileBusy):
    """End the head that is being made, and drop those that wait."""

    bl_idname = "headstitch.cancel"
    bl_label = strings.CANCEL
    bl_description = strings.CANCEL_DESCRIPTION

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask first; the client kills what does not listen."""
        heartbeat.session().cancel()
        return {"FINISHED"}


class FreeMemory(bpy.types.Operator):
    """End the backend process."""

    bl_idname = "headstitch.free_memory"
    bl_label = strings.FREE_MEMORY
    bl_description = strings.FREE_MEMORY_DESCRIPTION
    bl_options = INTERNAL

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only while there is one."""
        now, _ = heartbeat.existing()
        if now is not None and now.client.state != "stopped":
            return True
        cls.poll_message_set(strings.NO_BACKEND)
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Do it."""
        heartbeat.session().free_memory()
        if not bpy.app.background:
            heartbeat.wake()
        return {"FINISHED"}


class RefreshModels(bpy.types.Operator):
    """Ask the backend for its models."""

    bl_idname = "headstitch.refresh_models"
    bl_label = strings.REFRESH_MODELS
    bl_description = strings.REFRESH_MODELS_DESCRIPTION
    bl_options = INTERNAL

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only with an environment."""
        missing = heartbeat.not_ready()
        if missing:
            cls.poll_message_set(missing)
        return not missing

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask; in the background, wait for the answer."""
        heartbeat.session().refresh_models()
        if bpy.app.background:
            heartbeat.run_until_over()
        else:
            heartbeat.wake()
        return {"FINISHED"}


class _OfTask(bpy.types.Operator):
    """Something with one task that is over; -1 are all of them."""

    bl_options = INTERNAL
    index: IntProperty(default=-1, options={"SKIP_SAVE"})

    def task(self) -> Task | None:
        """The one that is meant."""
        now, _ = heartbeat.existing()
        if now is None or not 0 <= self.index < len(now.finished):
            return None
        return now.finished[self.index]


class Dismiss(_OfTask):
    """Show it no more."""

    bl_idname = "headstitch.dismiss"
    bl_label = strings.DISMISS
    bl_description = strings.DISMISS_DESCRIPTION

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Do it."""
        now, _ = heartbeat.existing()
        if now is not None and (self.index < 0 or self.task() is not None):
            now.dismiss(self.task())
        return {"FINISHED"}


class ImportAgain(_OfTask):
    """Bring a head that stayed on the disk into the file that is open now."""

    bl_idname = "headstitch.import_again"
    bl_label = strings.IMPORT_AGAIN
    bl_description = strings.IMPORT_AGAIN_DESCRIPTION

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Hand it over with the next beat; in the background, now."""
        task = self.task()
        if task is None:
            return {"CANCELLED"}
        rebuilt = task.placement.replace if object_of(task.placement.replace_uid) is not None else ""
        placement = replace(task.placement, scene=context.scene.name, replace=rebuilt)
        heartbeat.session().import_again(task, placement)
        if not bpy.app.background:
            heartbeat.wake()
            return {"FINISHED"}
        heartbeat.run_until_over()
        if task.state != "imported":
            self.report({"ERROR"}, task.sentence)
            return {"CANCELLED"}
        return {"FINISHED"}


class Rebake(_OfTask):
    """Mesh and texture of a finished head anew with the panel's details, from what its folder holds."""

    bl_idname = "headstitch.rebake"
    bl_label = strings.REBAKE
    bl_description = strings.REBAKE_DESCRIPTION

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With an environment, and a head to make again."""
        now, _ = heartbeat.existing()
        made = now is not None and any(task.state == "imported" for task in now.finished)
        missing = heartbeat.not_ready() or ("" if made else strings.NOTHING_TO_REBAKE)
        if missing:
            cls.poll_message_set(missing)
        return not missing

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Queue it; the head in the scene is rebuilt, and what it was is kept as a version."""
        made = self.task()
        try:
            if made is None or made.state != "imported":
                raise TaskError(strings.NOTHING_TO_REBAKE)  # noqa: TRY301  one way to refuse
            task = queueing.add_rebake(context, made)
        except TaskError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return finish(self, [task], [])


class CopyText(bpy.types.Operator):
    """To the clipboard."""

    bl_idname = "headstitch.copy_text"
    bl_label = strings.COPY
    bl_description = strings.COPY_DESCRIPTION
    bl_options = INTERNAL

    text: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Copy."""
        context.window_manager.clipboard = self.text
        return {"FINISHED"}


class OpenFile(bpy.types.Operator):
    """A log or a folder, in the program that the system has for it."""

    bl_idname = "headstitch.open_file"
    bl_label = strings.OPEN_FOLDER
    bl_description = strings.OPEN_DESCRIPTION
    bl_options = INTERNAL

    path: StringProperty(options={"SKIP_SAVE", "HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open it, or say that it is gone."""
        if not Path(self.path).exists():
            self.report({"ERROR"}, strings.PATH_GONE.format(path=self.path))
            return {"CANCELLED"}
        bpy.ops.wm.path_open(filepath=self.path)
        return {"FINISHED"}


class ShowPreferences(bpy.types.Operator):
    """The add-on's preferences."""

    bl_idname = "headstitch.show_preferences"
    bl_label = strings.SHOW_PREFERENCES
    bl_description = strings.SHOW_PREFERENCES_DESCRIPTION
    bl_options = INTERNAL

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only with a window."""
        if bpy.app.background:
            cls.poll_message_set(strings.NO_WINDOW)
        return not bpy.app.background

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Open them; how the environment stands is read anew."""
        from .preferences import PACKAGE

        work = heartbeat.upkeep()
        if work is not None:
            work.look()
        bpy.ops.preferences.addon_show(module=PACKAGE)
        return {"FINISHED"}


CLASSES: tuple[Any, ...] = (
    GenerateFromPanel,
    Generate,
    ImportPhotos,
    ChoosePhoto,
    Cancel,
    FreeMemory,
    RefreshModels,
    Dismiss,
    ImportAgain,
    Rebake,
    CopyText,
    OpenFile,
    ShowPreferences,
)


def draw_import_entry(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    """In the menu File > Import."""
    self.layout.operator(ImportPhotos.bl_idname, text=strings.IMPORT_PHOTO_MENU)
