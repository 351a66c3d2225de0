"""A real head through Blender's Cycles: from the photo's camera it covers the person and has the face where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SIDE = 512
PORTRAIT = Path(__file__).parents[2] / "examples" / "portrait.jpg"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The example portrait as the backend sees it, and the folder of its head, a coarse one."""
    pytest.importorskip("mediapipe", reason="needs the backend's libraries beside Blender")
    import headstitch
    from headstitch.backend.portrait.make import make_portrait

    options = headstitch.Options(resolution=160, faces=12000, texture_size=1024, quality=False)
    folder = tmp_path_factory.mktemp("heads") / "portrait"
    headstitch.reconstruct(PORTRAIT, folder, options=options)
    return make_portrait(PORTRAIT, options), folder


@pytest.fixture
def stage(bpy, made):
    """The head alone in the scene, evenly lit, with the photo's view set up for rendering."""
    _, folder = made
    scene = bpy.context.scene
    for name in ("Cube", "Light"):
        bpy.data.objects[name].hide_render = True
    world = scene.world.node_tree.nodes["Background"]
    world.inputs["Color"].default_value, world.inputs["Strength"].default_value = (1, 1, 1, 1), 1.0
    bpy.ops.import_scene.headstitch_head(directory=f"{folder}/", photo_view=True)
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.seed, scene.cycles.use_denoising = 16, 0, False
    scene.render.resolution_x = scene.render.resolution_y = SIDE
    scene.view_settings.view_transform = "Standard"
    return scene


def render(bpy, path):
    """(512, 512, 4) in [0, 1], row 0 at the top."""
    bpy.context.scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    values = np.empty(SIDE * SIDE * 4, np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(SIDE, SIDE, 4)[::-1]


def test_from_the_photos_camera_the_head_covers_the_person(bpy, made, stage, tmp_path):
    from headstitch.backend.results.quality import silhouette_iou

    portrait, _ = made
    bpy.data.objects["portrait Backdrop"].hide_render = True
    stage.render.film_transparent = True
    alpha = render(bpy, tmp_path / "head.png")[..., 3]
    assert silhouette_iou(alpha, portrait) >= 0.85
    assert silhouette_iou(alpha[:, ::-1], portrait) < 0.8  # a mirrored one would be seen


def test_over_the_photo_the_face_is_where_the_photo_has_it(bpy, made, stage, tmp_path):
    from headstitch.backend.portrait.faces import find_landmarks
    from headstitch.backend.results.quality import landmark_error

    portrait, _ = made
    assert stage.camera.name == "portrait Camera"
    picture = np.rint(render(bpy, tmp_path / "over.png")[..., :3] * 255).astype(np.uint8)
    found = find_landmarks(np.ascontiguousarray(picture))
    assert landmark_error(found / SIDE, portrait.landmarks) <= 3.0
    behind = portrait.matte < 0.01
    behind &= np.abs(np.indices(behind.shape)[1] - SIDE / 2) > SIDE / 2 - 40  # the photo's rim, where no head is
    error = np.abs(picture.astype(int) - portrait.image)[behind].mean(axis=-1)
    assert behind.sum() > 5000
    assert np.median(error) <= 4  # the photo itself, at its place
