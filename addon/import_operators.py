"""The operators of heads in the scene: import, rebuild, version, turntable. They gather, call and report."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false, reportInvalidTypeForm=false
# (the bpy package carries no types, and Blender reads an operator's properties from its annotations)

from __future__ import annotations

import traceback
from math import pi
from pathlib import Path

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    FloatVectorProperty,
    IntProperty,
    StringProperty,
)
from mathutils import Vector

from . import strings
from .head_folder import RECORD, HeadFolder, HeadFolderError, read_head_folder
from .head_import import NewData, grid, import_head, look_as_the_photo, obstacle
from .head_versions import check_not_edited, check_own, find_head, is_head, rebuild_head, restore_version, versions
from .head_view import frame_in_view
from .turntable import add_turntable


class ImportHead(bpy.types.Operator):
    """File > Import > Headstitch head (folder): those whose record is selected, or the folder that is open."""

    bl_idname = "import_scene.headstitch_head"
    bl_label = strings.IMPORT_LABEL
    bl_description = strings.IMPORT_DESCRIPTION
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012  Blender reads a plain set

    # Blender's file browser never hands over several folders: to accept with one selected is to enter it. So it shows
    # the records of the heads below the open folder, and they are what is selected.
    directory: StringProperty(name=strings.FOLDER, description=strings.FOLDER_DESCRIPTION, subtype="DIR_PATH")
    files: CollectionProperty(type=bpy.types.OperatorFileListElement, options={"SKIP_SAVE", "HIDDEN"})
    filter_glob: StringProperty(default="*.json", options={"SKIP_SAVE", "HIDDEN"})
    place: EnumProperty(
        name=strings.PLACE,
        description=strings.PLACE_DESCRIPTION,
        items=(
            ("CURSOR", strings.PLACE_CURSOR, strings.PLACE_CURSOR_DESCRIPTION),
            ("WORLD", strings.PLACE_WORLD, strings.PLACE_WORLD_DESCRIPTION),
            ("GIVEN", strings.PLACE_GIVEN, strings.PLACE_GIVEN_DESCRIPTION),
        ),
        default="CURSOR",
    )
    location: FloatVectorProperty(
        name=strings.LOCATION, description=strings.LOCATION_DESCRIPTION, subtype="TRANSLATION", unit="LENGTH"
    )
    with_camera: BoolProperty(name=strings.CAMERA, description=strings.CAMERA_DESCRIPTION, default=True)
    photo_view: BoolProperty(name=strings.PHOTO_VIEW, description=strings.PHOTO_VIEW_DESCRIPTION, default=False)
    frame_view: BoolProperty(name=strings.FRAME_VIEW, description=strings.FRAME_VIEW_DESCRIPTION, default=False)
    as_asset: BoolProperty(name=strings.AS_ASSET, description=strings.AS_ASSET_DESCRIPTION, default=True)
    # Not remembered: the next head would take the place of the one that was rebuilt last.
    replace: StringProperty(name=strings.REPLACE, description=strings.REPLACE_DESCRIPTION, options={"SKIP_SAVE"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """Ask for the folder. A person who asks for a head wants to see it; a script may not."""
        if not self.properties.is_property_set("frame_view"):
            self.frame_view = True
        context.window_manager.fileselect_add(self)
        bpy.app.timers.register(_list_folders_below, first_interval=0.1)  # the browser opens after this call
        return {"RUNNING_MODAL"}

    def draw(self, context: bpy.types.Context) -> None:
        """The options, without the folder that the file browser shows already."""
        layout = self.layout
        layout.use_property_split = True
        layout.prop_search(self, "replace", bpy.data, "objects")
        column = layout.column()
        column.enabled = not self.replace
        column.prop(self, "place")
        if self.place == "GIVEN":
            column.prop(self, "location")
        column.prop(self, "as_asset")
        layout.prop(self, "with_camera")
        row = layout.row()
        row.enabled = self.with_camera
        row.prop(self, "photo_view")
        layout.prop(self, "frame_view")

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Import all, as one undo step; of a head that fails nothing stays, and the others come all the same."""
        folders = self._folders()
        why_not = self._refusal(context, folders)
        if why_not is not None:
            self.report({"ERROR"}, why_not)
            return {"CANCELLED"}
        heads: list[bpy.types.Object] = []
        for folder, place in zip(folders, self._places(context, len(folders)), strict=True):
            try:
                head = read_head_folder(folder)
                heads.append(self._rebuild(context, head) if self.replace else self._add(context, head, place, heads))
            except HeadFolderError as error:
                self.report({"ERROR"}, str(error))
            except Exception as error:  # noqa: BLE001  what was made is gone again; the person has a sentence
                traceback.print_exc()
                reason = f"{type(error).__name__}: {error}"
                self.report({"ERROR"}, strings.IMPORT_DEFECT.format(reason=reason))
        if not heads:
            return {"CANCELLED"}
        if not self.replace:
            _select(context, heads)
        if len(folders) > 1:
            self.report({"INFO"}, strings.IMPORTED_SEVERAL.format(count=len(heads), all=len(folders)))
        return {"FINISHED"}

    def _folders(self) -> list[Path]:
        """Heads named in ``directory`` by folder or by record; with none named, the folder itself."""
        if not self.directory:
            return []
        folder = Path(bpy.path.abspath(self.directory))
        named = [folder / each.name for each in self.files if each.name]
        return list(dict.fromkeys(path.parent if path.name == RECORD else path for path in named)) or [folder]

    def _refusal(self, context: bpy.types.Context, folders: list[Path]) -> str | None:
        if not folders:
            return strings.CHOOSE_FOLDER
        if self.replace and len(folders) > 1:
            return strings.REPLACE_TAKES_ONE.format(count=len(folders), name=self.replace)
        return obstacle(context.scene)

    def _places(self, context: bpy.types.Context, count: int) -> list[Vector]:
        starts = {"CURSOR": context.scene.cursor.location, "WORLD": (0, 0, 0), "GIVEN": self.location}
        return grid(context.scene, Vector(starts[self.place]), count)

    def _add(
        self, context: bpy.types.Context, head: HeadFolder, place: Vector, others: list[bpy.types.Object]
    ) -> bpy.types.Object:
        _leave_mode(context)
        with NewData():
            obj, camera = import_head(context.scene, head, place, self.with_camera, self.photo_view, self.as_asset)
            self._look(context, [*others, obj], camera)
        self._tell(obj, head)
        return obj

    def _rebuild(self, context: bpy.types.Context, head: HeadFolder) -> bpy.types.Object:
        obj = find_head(self.replace)
        if obj.mode != "OBJECT":
            _leave_mode(context)
        check_not_edited(obj)
        camera, warnings = rebuild_head(context.scene, obj, head, self.with_camera, self.photo_view)
        self._look(context, [obj], camera)
        for warning in warnings:
            self.report({"WARNING"}, warning)
        self._tell(obj, head)
        return obj

    def _look(self, context: bpy.types.Context, heads: list[bpy.types.Object], camera: bpy.types.Object | None) -> None:
        """The viewport and the scene's camera, as chosen; the last of what can fail comes first."""
        if self.frame_view:
            frame_in_view(context, heads)
        if camera is not None and self.with_camera and self.photo_view:
            look_as_the_photo(context.scene, camera)

    def _tell(self, obj: bpy.types.Object, head: HeadFolder) -> None:
        counts = {"vertices": len(head.vertices), "faces": len(head.faces)}
        self.report({"INFO"}, strings.IMPORTED.format(name=obj.name, **counts))


class RestoreVersion(bpy.types.Operator):
    """Back to an older mesh of the active head."""

    bl_idname = "headstitch.restore_version"
    bl_label = strings.RESTORE_LABEL
    bl_description = strings.RESTORE_DESCRIPTION
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    version: StringProperty(name=strings.RESTORE_VERSION, description=strings.RESTORE_VERSION_DESCRIPTION)

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A head with another version is active."""
        if not is_head(context.active_object):
            cls.poll_message_set(strings.NO_HEAD_ACTIVE)
            return False
        if not versions(context.active_object):
            cls.poll_message_set(strings.NO_VERSIONS)
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Exchange the meshes, or say why not."""
        obj = context.active_object
        kept = versions(obj)
        mesh = next((mesh for mesh in kept if mesh.name == self.version), None) if self.version else kept[-1]
        try:
            why_not = obstacle(context.scene)
            if why_not is not None:
                raise HeadFolderError(why_not)  # noqa: TRY301  one way to refuse
            if mesh is None:
                raise HeadFolderError(strings.NO_SUCH_VERSION.format(version=self.version, name=obj.name))  # noqa: TRY301
            check_own(obj)
            _leave_mode(context)
            warnings = restore_version(obj, mesh)
        except HeadFolderError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        for warning in warnings:
            self.report({"WARNING"}, warning)
        self.report({"INFO"}, strings.RESTORED.format(name=obj.name, version=obj.data.name))
        return {"FINISHED"}


class Turntable(bpy.types.Operator):
    """A camera that goes around the active head."""

    bl_idname = "headstitch.turntable"
    bl_label = strings.TURNTABLE_LABEL
    bl_description = strings.TURNTABLE_DESCRIPTION
    bl_options = {"REGISTER", "UNDO"}  # noqa: RUF012

    frames: IntProperty(
        name=strings.TURNTABLE_FRAMES,
        description=strings.TURNTABLE_FRAMES_DESCRIPTION,
        default=120,
        min=2,
        soft_max=1000,
        max=100_000,
    )
    pitch: FloatProperty(
        name=strings.TURNTABLE_PITCH,
        description=strings.TURNTABLE_PITCH_DESCRIPTION,
        default=0.0,
        min=-pi / 3,
        max=pi / 3,
        subtype="ANGLE",
    )
    set_scene: BoolProperty(
        name=strings.TURNTABLE_SET_SCENE, description=strings.TURNTABLE_SET_SCENE_DESCRIPTION, default=True
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A head is active."""
        if not is_head(context.active_object):
            cls.poll_message_set(strings.NO_HEAD_ACTIVE)
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Add the rig, or say why not."""
        why_not = obstacle(context.scene)
        if why_not is not None:
            self.report({"ERROR"}, why_not)
            return {"CANCELLED"}
        obj = context.active_object
        rig, _ = add_turntable(context, obj, self.frames, self.pitch, self.set_scene)
        self.report({"INFO"}, strings.TURNTABLE_ADDED.format(name=rig.name, frames=self.frames))
        return {"FINISHED"}


CLASSES = (ImportHead, RestoreVersion, Turntable)


def register() -> None:
    """Called by the add-on's ``register``."""
    for kind in CLASSES:
        bpy.utils.register_class(kind)
    bpy.types.TOPBAR_MT_file_import.append(_draw_import_entry)


def unregister() -> None:
    """Called by the add-on's ``unregister``."""
    bpy.types.TOPBAR_MT_file_import.remove(_draw_import_entry)
    for kind in reversed(CLASSES):
        bpy.utils.unregister_class(kind)


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


def _list_folders_below() -> None:
    """Let the file browser that asks for heads list what lies one folder deeper, too."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            space = area.spaces.active
            if area.type == "FILE_BROWSER" and isinstance(space.active_operator, ImportHead) and space.params:
                space.params.recursion_level = "ALL_1"


def _select(context: bpy.types.Context, heads: list[bpy.types.Object]) -> None:
    """Select ``heads`` and nothing else; the first is active."""
    for selected in context.selected_objects:
        selected.select_set(False)
    for obj in heads:
        obj.select_set(True)
    context.view_layer.objects.active = heads[0]
