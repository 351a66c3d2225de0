"""Every operator that the extension registers runs beside the example photo's head; the whole scene is compared."""

from __future__ import annotations

import hashlib
import importlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from headstitch.addon.environment import OWN_CODE, RUN

ROOT = Path(__file__).parents[3]
PORTRAIT = ROOT / "examples" / "portrait.jpg"
EXTENSION = "bl_ext.user_default.headstitch"
PYTHON = os.environ.get("HEADSTITCH_BACKEND_PYTHON", sys.executable)
SMALL = ["--resolution", "64", "--faces", "2000", "--texture-size", "256", "--no-quality"]

# What each operator does to the scene: the arguments, what comes into it, and what of the head changes.
CHANGING: dict[str, tuple[Callable[[Any], dict[str, Any]], int, set[str]]] = {
    "import_scene.headstitch_head": (lambda at: {"directory": f"{at.example}/"}, 2, set()),
    "import_scene.headstitch_photo": (
        lambda at: {"directory": str(at.tmp_path), "files": [{"name": at.photo(n).name} for n in ("ben", "cleo")]},
        4,
        set(),
    ),
    "headstitch.generate": (lambda at: {"filepath": str(at.photo("ben"))}, 2, set()),
    "headstitch.generate_from_panel": (lambda at: at.choose("ben"), 2, set()),
    "headstitch.import_again": (lambda at: at.keep_one(), 2, set()),
    "headstitch.rebake": (lambda at: at.make_one(), 0, {"mesh", "uvs", "properties"}),
    "headstitch.restore_version": (lambda at: at.rebuild(), 0, {"mesh", "uvs", "properties"}),
    "headstitch.turntable": (lambda at: {"frames": 24}, 2, set()),
}
# These leave the scene as it is.
RESTING: dict[str, Callable[[Any], dict[str, Any]]] = {
    "headstitch.choose_photo": lambda at: {"filepath": str(at.photo("ben"))},
    "headstitch.cancel": lambda at: at.start_one(),
    "headstitch.free_memory": lambda at: at.make_one() and {},
    "headstitch.refresh_models": lambda at: {},
    "headstitch.dismiss": lambda at: at.make_one(),
    "headstitch.copy_text": lambda at: {"text": "a sentence"},
    "headstitch.open_file": lambda at: {"path": str(at.tmp_path)},
    "headstitch.environment_plan": lambda at: {},
    "headstitch.environment_make": lambda at: {},
    "headstitch.environment_check": lambda at: {},
    "headstitch.environment_use_existing": lambda at: {"python": PYTHON},
    "headstitch.environment_forget_existing": lambda at: {},
    "headstitch.environment_remove": lambda at: {},
    "headstitch.environment_cancel": lambda at: at.start_plan(),
    "headstitch.environment_dismiss": lambda at: {},
}


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example photo's head, by the real backend in a process of its own."""
    folder = tmp_path_factory.mktemp("heads") / "portrait"
    code = OWN_CODE.format(extension=str(ROOT)) + RUN
    line = [PYTHON, "-I", "-X", "utf8", "-c", code, "reconstruct", str(PORTRAIT), "-o", str(folder), *SMALL]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Stage:
    """The scene with that head in it, and what an operator needs to have something to do."""

    def __init__(self, addon: Any, bpy: Any, example: Path) -> None:
        self.addon, self.bpy, self.example, self.tmp_path = addon, bpy, example, addon.tmp_path
        bpy.context.scene.cursor.location = (1, 2, 3)
        bpy.ops.import_scene.headstitch_head("EXEC_DEFAULT", False, directory=f"{example}/", place="WORLD")
        self.head = bpy.context.active_object.name

    def photo(self, name: str) -> Path:
        return self.addon.photo(name)

    def choose(self, name: str) -> dict[str, Any]:
        self.bpy.context.window_manager.headstitch.photo = str(self.photo(name))
        return {}

    def make_one(self) -> dict[str, Any]:
        """A head that the list shows; it is the one that is looked at from now on."""
        (task,) = self.addon.add("ada")
        self.addon.finish(task)
        assert task.state == "imported", task.sentence
        self.head = task.object_name
        return {"index": 0}

    def keep_one(self) -> dict[str, Any]:
        (task,) = self.addon.add("ada")
        self.addon.beat_until(lambda: task.job is not None)
        self.addon.session.token += 1  # as if another file had been opened
        self.addon.finish(task)
        assert task.state == "kept"
        return {"index": 0}

    def start_one(self) -> dict[str, Any]:
        (task,) = self.addon.add("slow")
        self.addon.reach(task)
        return {}

    def start_plan(self) -> dict[str, Any]:
        work = self.addon.heartbeat.upkeep()
        slow = self.addon.environment.Job(lambda job: time.sleep(0.5), self.tmp_path / "environment.log")
        work.begin("plan", lambda: slow)
        return {}

    def rebuild(self) -> dict[str, Any]:
        other = self.addon.photo("ada").with_name("model head")
        self.bpy.ops.import_scene.headstitch_head("EXEC_DEFAULT", False, directory=f"{other}/", replace=self.head)
        return {}


@pytest.fixture
def stage(addon, bpy, example, tmp_path, monkeypatch):
    """The stage, an environment whose jobs do nothing, and a program for folders that does nothing."""
    environment, work = addon.environment, addon.heartbeat.upkeep()
    for name in ("plan", "make", "check", "use_existing", "remove"):
        results = {"plan": lambda job: None}
        result = results.get(name, lambda job: environment.Report())
        make = lambda *_, result=result, **__: environment.Job(result, tmp_path / "environment.log")  # noqa: E731
        monkeypatch.setattr(work.environment, name, make)
    monkeypatch.setattr(work.environment, "forget_existing", lambda: None, raising=False)
    monkeypatch.setattr(work, "look", lambda: None)
    program = tmp_path / "bin" / "xdg-open"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    return Stage(addon, bpy, example)


def digest(values: Any, name: str, width: int, kind: type = np.float32) -> str:
    array = np.empty(width * len(values), kind)
    values.foreach_get(name, array)
    return hashlib.sha256(array.tobytes()).hexdigest()


def plain(value: Any) -> Any:
    """A custom property as something that can be compared after an undo."""
    if hasattr(value, "name"):
        return value.name
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value.to_list() if hasattr(value, "to_list") else value


def properties(block: Any) -> dict[str, Any]:
    return {key: plain(block[key]) for key in sorted(block.keys()) if not key.startswith("cycles")}


def of_mesh(mesh: Any) -> dict[str, Any]:
    return {
        "mesh": (digest(mesh.vertices, "co", 3), digest(mesh.loops, "vertex_index", 1, np.int32)),
        "uvs": [(layer.name, digest(layer.uv, "vector", 2)) for layer in mesh.uv_layers],
        "materials": [material and material.name for material in mesh.materials],
        "properties of the mesh": properties(mesh),
    }


def look(bpy: Any) -> dict[str, Any]:
    """All that is in the scene: objects with transforms, meshes with UVs, packed pictures, custom properties."""
    bpy.context.view_layer.update()
    seen: dict[str, Any] = {}
    for obj in bpy.data.objects:
        seen[obj.name] = {
            "matrix": [round(x, 6) for row in obj.matrix_world for x in row],
            "transform": (tuple(obj.location), tuple(obj.scale), obj.rotation_mode, tuple(obj.rotation_euler)),
            "parent": obj.parent and obj.parent.name,
            "homes": sorted(home.name for home in obj.users_collection),
            "properties": properties(obj),
            **(of_mesh(obj.data) if obj.type == "MESH" else {}),
        }
    images = {
        image.name: (tuple(image.size), image.packed_file and hashlib.sha256(image.packed_file.data).hexdigest())
        for image in bpy.data.images
        if image.type == "IMAGE"
    }
    nodes = {
        material.name: [node.image.name for node in material.node_tree.nodes if getattr(node, "image", None)]
        for material in bpy.data.materials
        if material.node_tree is not None
    }
    scene = bpy.context.scene
    camera = scene.camera and scene.camera.name
    return {"objects": seen, "images": images, "nodes": nodes, "scene": (camera, scene.frame_start, scene.frame_end)}


def run(bpy: Any, name: str, given: dict[str, Any]) -> set[str]:
    group, _, operator = name.partition(".")
    return getattr(getattr(bpy.ops, group), operator)("EXEC_DEFAULT", True, **given)


def below(kind: type) -> set[type]:
    return {each for direct in kind.__subclasses__() for each in (direct, *below(direct))}


def test_no_operator_is_left_out(bpy):
    ours = [kind for kind in below(bpy.types.Operator) if kind.__module__.startswith(EXTENSION) and kind.is_registered]
    assert {kind.bl_idname for kind in ours} == {*CHANGING, *RESTING, "headstitch.show_preferences"}
    assert not bpy.ops.headstitch.show_preferences.poll()  # it needs a window
    assert not CHANGING.keys() & RESTING.keys()


@pytest.mark.parametrize("name", CHANGING)
def test_it_changes_what_it_says_and_nothing_else_and_undo_and_redo_hold(stage, bpy, name):
    arguments, new, changed = CHANGING[name]
    given = arguments(stage)
    bpy.ops.ed.undo_push(message="before")
    before = look(bpy)
    assert run(bpy, name, given) == {"FINISHED"}
    after = look(bpy)
    objects, were = after["objects"], before["objects"]
    assert were.keys() <= objects.keys()
    assert len(objects) - len(were) == new
    for other in were:
        differs = {what for what in were[other] if were[other][what] != objects[other][what]}
        if other == stage.head:
            assert differs - {"properties of the mesh", "materials"} == changed
        elif not changed:  # the camera of a head that is rebuilt follows it
            assert not differs, other
    assert all(before["images"][image] == after["images"][image] for image in before["images"])
    assert all(packed for _, packed in after["images"].values())
    heads = 2 if name == "import_scene.headstitch_photo" else 1 if new == 2 and name != "headstitch.turntable" else 0
    made = [each for each in objects.keys() - were.keys() if "mesh" in objects[each]]
    assert len(made) == heads
    assert all(objects[each]["uvs"] and objects[each]["materials"] for each in made)
    for _ in range(max(1, heads)):  # each head is one step
        bpy.ops.ed.undo()
    assert look(bpy) == before
    for _ in range(max(1, heads)):
        bpy.ops.ed.redo()
    assert look(bpy) == after


@pytest.mark.parametrize("name", RESTING)
def test_it_leaves_the_scene_alone_also_after_undo_and_redo(stage, bpy, name):
    given = RESTING[name](stage)
    bpy.ops.ed.undo_push(message="before")
    bpy.data.objects[stage.head].location.x += 1.0
    bpy.ops.ed.undo_push(message="a step of the artist's")
    before = look(bpy)
    assert run(bpy, name, given) == {"FINISHED"}
    stage.addon.beat_until(lambda: not stage.addon.session.waiting)
    assert look(bpy) == before
    bpy.ops.ed.undo()
    undone = look(bpy)
    assert undone["objects"][stage.head]["transform"] != before["objects"][stage.head]["transform"]
    bpy.ops.ed.redo()
    assert look(bpy) == before


def test_the_heads_albedo_is_packed_as_the_backend_wrote_it(stage, bpy):
    names = [name for name in look(bpy)["nodes"]["portrait"]]
    (albedo,) = names
    assert look(bpy)["images"][albedo][1] == hashlib.sha256((stage.example / "albedo.png").read_bytes()).hexdigest()
    with np.load(stage.example / "head.npz") as stored:
        uvs = np.ascontiguousarray(stored["corner_uvs"], np.float32).tobytes()
    assert look(bpy)["objects"]["portrait"]["uvs"] == [("UVMap", hashlib.sha256(uvs).hexdigest())]
    assert importlib.import_module(f"{EXTENSION}.addon.head_versions").is_head(bpy.data.objects["portrait"])
