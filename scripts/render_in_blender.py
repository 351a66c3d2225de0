"""A head folder as Blender shows it: imported by the add-on, rendered from N sides by Cycles, one sheet.

    python scripts/render_in_blender.py HEAD_FOLDER -o sheet.png --size 256 --samples 16

Needs the bpy package. The first side is the front; each next one is seen from further to the viewer's right.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

# Before bpy is imported: the user's own settings stay out of it.
os.environ["BLENDER_USER_RESOURCES"] = tempfile.mkdtemp(prefix="headstitch-blender-")

import bpy
import numpy as np
from headstitch.addon.head_folder import METRES_PER_UNIT, HeadFolderError, read_head_folder
from headstitch.addon.head_import import import_head
from mathutils import Matrix, Vector

DISTANCE = 2.7 * METRES_PER_UNIT  # metres, that of PanoHead's cameras
SENSOR = 36.0  # mm
MARGIN = 1.04  # of the picture around the head's bounding cylinder
BACKDROP = 0.55  # grey of the world, which also lights the head from all sides
KEY_STRENGTH = 2.0  # of a sun that stands above the left shoulder of the camera


def main() -> int:
    """Render the sheet; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("head", type=Path, help="a head folder")
    parser.add_argument("-o", "--output", type=Path, default=Path("sheet.png"), help="the picture to write (PNG)")
    parser.add_argument("--sides", type=int, default=8, help="how many sides, evenly around the head")
    parser.add_argument("--columns", type=int, default=4, help="sides in a row of the sheet")
    parser.add_argument("--size", type=int, default=256, help="pixels of one side's edge")
    parser.add_argument("--samples", type=int, default=16, help="of Cycles in a pixel")
    parser.add_argument("--pitch", type=float, default=0.0, help="degrees above the horizon")
    parser.add_argument("--clay", action="store_true", help="without the texture, to judge the shape")
    wishes = parser.parse_args()
    if min(wishes.sides, wishes.columns, wishes.size, wishes.samples) < 1:
        parser.error("--sides, --columns, --size and --samples must be 1 or more")
    try:
        head = read_head_folder(wishes.head)
    except HeadFolderError as error:
        print(error, file=sys.stderr)
        return 1
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    obj, _ = import_head(scene, head, with_camera=False)
    if wishes.clay:
        make_clay(obj)
    set_stage(scene, wishes.size, wishes.samples)
    yaws = [2 * np.pi * side / wishes.sides for side in range(wishes.sides)]
    sheet = tile([render_side(scene, obj, yaw, np.radians(wishes.pitch)) for yaw in yaws], wishes.columns)
    save(sheet, wishes.output)
    print(wishes.output)
    return 0


def make_clay(obj: bpy.types.Object) -> None:
    """Take the texture off."""
    tree = obj.active_material.node_tree
    colour = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED").inputs["Base Color"]
    tree.links.remove(colour.links[0])
    colour.default_value = (0.6, 0.55, 0.5, 1)


def set_stage(scene: bpy.types.Scene, size: int, samples: int) -> None:
    """Camera, light, backdrop and Cycles on the CPU, same bytes on each run."""
    world = bpy.data.worlds.new("Backdrop")
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (BACKDROP, BACKDROP, BACKDROP, 1)
    scene.world = world
    camera = bpy.data.objects.new("Side", bpy.data.cameras.new("Side"))
    camera.data.sensor_width = SENSOR
    camera.data.clip_start = 0.01
    key = bpy.data.objects.new("Key", bpy.data.lights.new("Key", "SUN"))
    key.data.energy = KEY_STRENGTH
    key.data.angle = np.radians(20)
    for thing in (camera, key):
        scene.collection.objects.link(thing)
    scene.camera = camera
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = samples
    scene.cycles.seed = 0
    scene.cycles.use_denoising = False
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.view_settings.view_transform = "Standard"  # the albedo's own colours, not a film's


def render_side(scene: bpy.types.Scene, obj: bpy.types.Object, yaw: float, pitch: float) -> np.ndarray:
    """One side, (size, size, 4) float32 as stored in an 8-bit picture, bottom row first."""
    points = np.empty(3 * len(obj.data.vertices), np.float32)
    obj.data.vertices.foreach_get("co", points)
    points = points.reshape(-1, 3)
    middle = (points.min(axis=0) + points.max(axis=0)) / 2
    middle[:2] = 0  # turn about the neck
    reach = np.hypot(points[:, 0], points[:, 1]).max()
    half = MARGIN * max(reach, np.ptp(points[:, 2]) / 2)
    camera, key = scene.camera, scene.objects["Key"]
    camera.data.lens = SENSOR * (DISTANCE - reach) / (2 * half)
    direction = Vector((np.sin(yaw) * np.cos(pitch), -np.cos(yaw) * np.cos(pitch), np.sin(pitch)))
    turn = direction.to_track_quat("Z", "Y")
    camera.matrix_world = Matrix.LocRotScale(Vector(middle) + direction * DISTANCE, turn, None)
    key.rotation_euler = (turn @ Vector((-0.5, 0.6, 0.8))).to_track_quat("Z", "Y").to_euler()
    with tempfile.TemporaryDirectory() as folder:
        scene.render.filepath = str(Path(folder) / "side.png")
        bpy.ops.render.render(write_still=True)
        picture = bpy.data.images.load(scene.render.filepath)
        pixels = np.empty((picture.size[1], picture.size[0], 4), np.float32)
        picture.pixels.foreach_get(pixels.ravel())
        bpy.data.images.remove(picture)
    return pixels


def tile(pictures: list[np.ndarray], columns: int) -> np.ndarray:
    """Pictures of one size on a sheet, row by row from the top left; all have their bottom row first."""
    columns = min(columns, len(pictures))
    blank = np.ones_like(pictures[0])
    pictures = pictures + [blank] * (-len(pictures) % columns)
    rows = [np.concatenate(pictures[start : start + columns], axis=1) for start in range(0, len(pictures), columns)]
    return np.concatenate(rows[::-1], axis=0)


def save(sheet: np.ndarray, path: Path) -> None:
    """Write (H, W, 4) as a PNG."""
    image = bpy.data.images.new("Sheet", sheet.shape[1], sheet.shape[0])
    image.pixels.foreach_set(np.ascontiguousarray(sheet, np.float32).ravel())
    image.file_format = "PNG"
    image.filepath_raw = str(path.resolve())
    image.save()


if __name__ == "__main__":
    code = main()
    shutil.rmtree(os.environ["BLENDER_USER_RESOURCES"])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # bpy as a module may hang while the interpreter shuts down
