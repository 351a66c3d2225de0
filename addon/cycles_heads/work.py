"""The drawing process's loop: each line of stdin names a folder with a scene, each answer is a line on stdout.

A folder holds ``scene.json`` and ``arrays.npz``; ``picture-K.exr`` and ``data-K.exr`` come beside them, one of each a
view: colour as Cycles made it, and depth, normals and materials at twice its size. Answers are JSON after ``MARK``, so
that Blender's own chatter cannot be taken for one: ``{"ready": version}`` once, then for each folder ``{"view": K}``
after each view and at its end ``{"done": seconds}`` or ``{"error": text}``.
"""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# (the bpy package carries no types)

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

MARK = "headstitch-cycles "
DETAIL = 2  # data pictures have as many times more pixels to each side

Answer = Callable[[dict[str, Any]], None]


def main() -> None:
    """Work until stdin closes. Python's and Blender's own words go to stderr."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        channel.write(MARK + json.dumps(message) + "\n")
        channel.flush()

    import bpy

    answer({"ready": bpy.app.version_string})
    for line in sys.stdin:
        started = time.monotonic()
        try:
            draw(Path(line.rstrip("\r\n")), answer)
        except Exception as error:  # noqa: BLE001 - whatever it was, the other side hears of it and goes on
            answer({"error": f"{type(error).__name__}: {' '.join(str(error).split())}"})
        else:
            answer({"done": round(time.monotonic() - started, 3)})


def draw(folder: Path, answer: Answer) -> None:
    """Draw all views of the scene in ``folder``."""
    import numpy as np

    from . import materials, stage

    wanted = json.loads((folder / "scene.json").read_text("utf-8"))
    scene = stage.empty_scene(wanted["device"], wanted["threads"])
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        graphs = list(_built(wanted, arrays))
    lights: list[Any] = []
    for number, view in enumerate(wanted["views"]):
        stage.place_camera(scene, np.array(view["cam2world"]), np.array(view["intrinsics"]))
        lights = stage.relight(scene, lights, view["lights"], view["world"])
        stage.set_quality(scene, wanted["size"], wanted["samples"], wanted["seed"] + number)
        stage.write_layers(scene, folder / f"picture-{number}.exr")
        answer({"view": number})
    for graph in graphs:
        materials.make_plain(graph)
    stage.relight(scene, lights, [], dict.fromkeys(stage.SKY, (0.0, 0.0, 0.0)))
    stage.set_data_quality(scene, DETAIL * wanted["size"])
    for number, view in enumerate(wanted["views"]):
        stage.place_camera(scene, np.array(view["cam2world"]), np.array(view["intrinsics"]))
        stage.write_layers(scene, folder / f"data-{number}.exr")


def _built(wanted: dict[str, Any], arrays: Any) -> Iterator[Any]:
    """Put the scene's meshes and strands up; yields their materials."""
    from . import materials, stage

    made: dict[str, Any] = {}

    def material(part: dict[str, Any]) -> Any:
        key = json.dumps(part, sort_keys=True)
        if key not in made:
            made[key] = getattr(materials, part["kind"])(**part.get("settings", {}))
            made[key].pass_index = part["label"] + 1  # 0 is where nothing is
        return made[key]

    for number, mesh in enumerate(wanted["meshes"]):
        prefix = f"mesh{number}_"
        thing = stage.add_mesh(
            f"mesh {number}", arrays[prefix + "vertices"], arrays[prefix + "faces"], [material(p) for p in mesh]
        )
        if len(mesh) > 1:
            thing.data.polygons.foreach_set("material_index", arrays[prefix + "slot"].astype("int32"))
        _attributes(thing, prefix, arrays, "POINT")
    for number, part in enumerate(wanted["strands"]):
        prefix = f"strands{number}_"
        thing = stage.add_strands(
            f"strands {number}", arrays[prefix + "points"], arrays[prefix + "radius"], [material(part)]
        )
        _attributes(thing, prefix, arrays, "CURVE")
    yield from made.values()


def _attributes(thing: Any, prefix: str, arrays: Any, domain: str) -> None:
    from . import stage

    for name in ("tint", "rest", "lips"):
        if prefix + name in arrays.files:
            stage.set_attribute(thing.data, name, arrays[prefix + name], domain)
