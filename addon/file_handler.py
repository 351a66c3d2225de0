"""Photos that are dropped into a 3D viewport become heads, while its sidebar shows our tab."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

import bpy

from . import strings
from .operators import ImportPhotos
from .panel import TAB
from .pictures import SUFFIXES


class PhotoDrop(bpy.types.FileHandler):
    """Without our tab in sight, a dropped picture stays what Blender makes of it: a reference or a background."""

    bl_idname = "HEADSTITCH_FH_photo"
    bl_label = strings.IMPORT_PHOTO_MENU
    bl_import_operator = ImportPhotos.bl_idname
    bl_file_extensions = ";".join(SUFFIXES)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """Over a 3D viewport whose sidebar is open at our tab."""
        area = context.area
        if area is None or area.type != "VIEW_3D" or not area.spaces.active.show_region_ui:
            return False
        return any(region.type == "UI" and region.active_panel_category == TAB for region in area.regions)


CLASSES = (PhotoDrop,)
