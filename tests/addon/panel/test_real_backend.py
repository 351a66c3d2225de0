"""The whole way in Blender with the real backend: the example portrait becomes a head in the scene."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from headstitch.addon.environment import OWN_CODE, RUN

ROOT = Path(__file__).parents[3]
PORTRAIT = ROOT / "examples" / "portrait.jpg"


@pytest.fixture
def real(addon, monkeypatch):
    """The add-on with the backend itself, in its own Python where the tests run in one that is too new for it."""
    python = os.environ.get("HEADSTITCH_BACKEND_PYTHON", sys.executable)
    line = [python, "-I", "-u", "-X", "utf8", "-c", OWN_CODE.format(extension=str(ROOT)) + RUN, "serve"]
    monkeypatch.setattr(addon.heartbeat, "backend_command", lambda: line)
    return addon


def test_the_example_portrait_becomes_a_head_in_the_scene(real, bpy, tmp_path):
    settings = bpy.context.window_manager.headstitch
    settings.preset, settings.resolution, settings.faces, settings.texture_size = "DRAFT", 64, 2000, 256
    settings.quality, settings.photo = False, str(PORTRAIT)
    bpy.context.scene.cursor.location = (1, 2, 3)
    before = {block.name for block in bpy.data.objects}
    bpy.ops.ed.undo_push(message="before")
    gone = tmp_path / "gone.jpg"
    gone.write_bytes(PORTRAIT.read_bytes())
    no_photo = tmp_path / "no photo.png"
    no_photo.write_text("hello")
    (task, deleted, damaged), refused = real.queueing.add(
        bpy.context, [real.queueing.chosen_photo()[0], gone, no_photo]
    )
    assert refused == []
    gone.unlink()
    real.beat_until(lambda: task.over or task.preview, 300)
    assert Path(task.preview).read_bytes().startswith(b"\x89PNG")
    assert task.state == "running"
    real.finish(task, deleted, damaged, seconds=300)

    assert task.state == "imported", task.sentence
    head = bpy.data.objects[task.object_name]
    assert head.name == "portrait"
    assert tuple(head.location) == (1, 2, 3)
    assert tuple(head.scale) == (1, 1, 1)
    assert head.rotation_mode == "XYZ"
    mesh = head.data
    assert 1000 <= len(mesh.polygons) <= 2000
    assert 0.2 < head.dimensions.z < 0.4
    uvs = np.empty(2 * len(mesh.loops), np.float32)
    mesh.uv_layers[0].uv.foreach_get("vector", uvs)
    with np.load(task.out / "head.npz") as stored:
        assert np.array_equal(uvs.reshape(-1, 3, 2), stored["corner_uvs"].astype(np.float32))
    nodes = mesh.materials[0].node_tree.nodes
    (texture,) = [node for node in nodes if node.type == "TEX_IMAGE"]
    assert bytes(texture.image.packed_file.data) == (task.out / "albedo.png").read_bytes()
    assert tuple(texture.image.size) == (256, 256)
    record = json.loads(head["headstitch"])
    assert record["photo"]["name"] == "portrait.jpg"
    assert record["options"]["faces"] == 2000
    assert record["generated_content"] is True
    assert any(each.type == "CAMERA" for each in head.users_collection[0].objects)

    assert deleted.state == "failed"
    assert "gone.jpg" in deleted.sentence
    assert damaged.state == "failed"
    assert "no photo.png" in damaged.sentence

    after = {block.name for block in bpy.data.objects}
    assert after - before
    bpy.ops.ed.undo()
    assert {block.name for block in bpy.data.objects} == before
    bpy.ops.ed.redo()
    assert {block.name for block in bpy.data.objects} == after
    assert real.session.models[0].name == "template"
    assert real.session.models_known
    assert real.session.client.note == ""
