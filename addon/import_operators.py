"""The operators that bring a head into the scene: they gather, call and report; the work is in ``head_import``."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false, reportInvalidTypeForm=false
# (the bpy package carries no types, and Blender reads an operator's properties from its annotations)

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from . import strings
from .head_folder import HeadFolderError, read_head_folder
from .head_import import import_head, look_as_the_photo


class ImportHead(bpy.types.Operator):
    """File > Import > Headstitch head (folder)."""

    bl_idname = "import_scene.headstitch_head"
    bl_label = strings.IMPORT_LABEL
    bl_description = strings.IMPORT_DESCRIPTION
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012  Blender reads a plain set

    # With a directory and no filepath, Blender's file browser shows folders only.
    directory: StringProperty(name=strings.FOLDER, description=strings.FOLDER_DESCRIPTION, subtype="DIR_PATH")
    place: EnumProperty(
        name=strings.PLACE,
        description=strings.PLACE_DESCRIPTION,
        items=(
            ("CURSOR", strings.PLACE_CURSOR, strings.PLACE_CURSOR_DESCRIPTION),
            ("WORLD", strings.PLACE_WORLD, strings.PLACE_WORLD_DESCRIPTION),
        ),
        default="CURSOR",
    )
    with_camera: BoolProperty(name=strings.CAMERA, description=strings.CAMERA_DESCRIPTION, default=True)
    photo_view: BoolProperty(name=strings.PHOTO_VIEW, description=strings.PHOTO_VIEW_DESCRIPTION, default=False)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the folder."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        """The options, without the folder that the file browser shows already."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "place")
        layout.prop(self, "with_camera")
        row = layout.row()
        row.enabled = self.with_camera
        row.prop(self, "photo_view")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import, or say why not and leave the scene as it is."""
        if not self.directory:
            self.report({"ERROR"}, strings.CHOOSE_FOLDER)
            return {"CANCELLED"}
        try:
            head = read_head_folder(Path(bpy.path.abspath(self.directory)))
            _leave_mode(context)
            place = context.scene.cursor.location.copy() if self.place == "CURSOR" else None
            obj, camera = import_head(context.scene, head, place, self.with_camera)
        except HeadFolderError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        for selected in context.selected_objects:
            selected.select_set(False)
        obj.select_set(True)
        context.view_layer.objects.active = obj
        if camera is not None and self.photo_view:
            look_as_the_photo(context.scene, camera)
        counts = {"vertices": len(head.vertices), "faces": len(head.faces)}
        self.report({"INFO"}, strings.IMPORTED.format(name=obj.name, **counts))
        return {"FINISHED"}


def register() -> None:
    """Called by the add-on's ``register``."""
    bpy.utils.register_class(ImportHead)
    bpy.types.TOPBAR_MT_file_import.append(_draw_import_entry)


def unregister() -> None:
    """Called by the add-on's ``unregister``."""
    bpy.types.TOPBAR_MT_file_import.remove(_draw_import_entry)
    bpy.utils.unregister_class(ImportHead)


def _draw_import_entry(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    self.layout.operator(ImportHead.bl_idname, text=strings.IMPORT_MENU)


def _leave_mode(context: bpy.types.Context) -> None:
    """Go to object mode: what is being edited is written back before the new head becomes the active object."""
    if context.mode == "OBJECT":
        return
    if bpy.ops.object.mode_set.poll():
        bpy.ops.object.mode_set(mode="OBJECT")
    if context.mode != "OBJECT":
        raise HeadFolderError(strings.CANNOT_LEAVE_MODE)
