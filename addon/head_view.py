"""Frames heads in the 3D viewport that a person looks at. Moves no other view."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

import math
from collections.abc import Sequence

import bpy
import numpy as np
from mathutils import Vector

MARGIN = 1.1
SENSOR = 72.0  # mm, of a viewport: twice a camera's


def frame_in_view(context: bpy.types.Context, heads: Sequence[bpy.types.Object]) -> bool:
    """Move the viewport of ``context`` (or the largest of its window) so that ``heads`` fill it; its angle stays.

    Returns False where there is no viewport.
    """
    area = _viewport(context)
    if area is None:
        return False
    space = area.spaces.active
    region = next(region for region in area.regions if region.type == "WINDOW")
    view = space.region_3d
    context.view_layer.update()  # a new object has no world matrix yet
    corners = np.array([obj.matrix_world @ Vector(corner) for obj in heads for corner in obj.bound_box])
    radius = float(np.linalg.norm(corners.max(axis=0) - corners.min(axis=0))) / 2
    if space.local_view is not None:
        for obj in heads:
            obj.local_view_set(space, True)
    if view.view_perspective == "CAMERA":
        view.view_perspective = "PERSP"
    view.view_location = (corners.max(axis=0) + corners.min(axis=0)) / 2
    longer, shorter = max(region.width, region.height, 1), max(min(region.width, region.height), 1)
    half = math.atan(SENSOR / 2 / space.lens * shorter / longer)  # the lens is that of the longer side
    view.view_distance = MARGIN * radius / math.sin(half)
    return True


def _viewport(context: bpy.types.Context) -> bpy.types.Area | None:
    if context.area is not None and context.area.type == "VIEW_3D":
        return context.area
    if context.window is None:
        return None
    areas = [area for area in context.window.screen.areas if area.type == "VIEW_3D"]
    return max(areas, key=lambda area: area.width * area.height, default=None)
