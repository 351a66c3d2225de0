"""A real head through Blender's Cycles: from the photo's camera it covers the person and has the face where it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import headstitch

SIDE = 512
PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.jpg"
PYTHON = os.environ.get("HEADSTITCH_BACKEND_PYTHON", sys.executable)  # the backend's; Blender's may lack its libraries


def ask(*words):
    """What ``photo_judge.py`` says."""
    command = [PYTHON, str(Path(__file__).with_name("photo_judge.py")), *map(str, words)]
    found = [str(Path(headstitch.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, found))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().rpartition("\n")[2]


def render(bpy, path):
    bpy.context.scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    return path


def test_from_the_photos_camera_the_head_covers_the_person_and_over_the_photo_its_face_is_in_place(bpy, tmp_path):
    folder = tmp_path / "portrait"
    ask("make", PORTRAIT, folder)
    scene = bpy.context.scene
    for name in ("Cube", "Light"):
        bpy.data.objects[name].hide_render = True
    world = scene.world.node_tree.nodes["Background"]
    world.inputs["Color"].default_value, world.inputs["Strength"].default_value = (1, 1, 1, 1), 1.0
    bpy.ops.import_scene.headstitch_head(directory=f"{folder}/", photo_view=True)
    assert scene.camera.name == "portrait Camera"
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.seed, scene.cycles.use_denoising = 16, 0, False
    scene.render.resolution_x = scene.render.resolution_y = SIDE
    scene.view_settings.view_transform = "Standard"
    over = render(bpy, tmp_path / "over.png")
    bpy.data.objects["portrait Backdrop"].hide_render = True
    scene.render.film_transparent = True
    alpha = render(bpy, tmp_path / "alpha.png")

    said = json.loads(ask("judge", PORTRAIT, alpha, over))
    assert said["iou"] >= 0.85
    assert said["iou_mirrored"] < said["iou"] - 0.04  # a mirrored head would be seen
    assert said["landmark_percent"] <= 3.0  # of the face's width
    assert said["rim_pixels"] > 5000
    assert said["rim_error"] <= 4  # behind the head is the photo itself, at its place
