"""The add-on in a real Blender with a stand-in for the backend, and a clock that beats by hand."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from headstitch.addon.environment import OWN_CODE

ROOT = Path(__file__).parents[3]
STAND_IN = Path(__file__).with_name("stand_in.py")
EXTENSION = "bl_ext.user_default.headstitch"
PYTHON = os.environ.get("HEADSTITCH_BACKEND_PYTHON", sys.executable)  # the backend's; Blender's may be too new for it
ISOLATED = [PYTHON, "-I", "-u", "-X", "utf8", "-c", OWN_CODE.format(extension=str(ROOT))]
RUN = f"import runpy\nrunpy.run_path({str(STAND_IN)!r}, run_name='__main__')\n"
DEADLINE = 60.0  # seconds for what takes none, on a machine that has much else to do


class Addon:
    """The add-on's modules as Blender runs them, and what a test does with them."""

    def __init__(self, bpy: Any, tmp_path: Path) -> None:
        self.bpy = bpy
        self.tmp_path = tmp_path
        self.heads = tmp_path / "heads"

    def __getattr__(self, name: str) -> Any:
        """A module of the add-on."""
        return importlib.import_module(f"{EXTENSION}.addon.{name}")

    @property
    def session(self) -> Any:
        return self.heartbeat.session()

    def photo(self, name: str) -> Path:
        """A file that the stand-in takes for a photo; its name says what happens to it."""
        path = self.tmp_path / f"{name}.png"
        path.write_bytes((self.tmp_path / "model head" / "albedo.png").read_bytes())
        return path

    def add(self, *names: str) -> list[Any]:
        """What the panel's button does where Blender has a window."""
        tasks, refused = self.queueing.add(self.bpy.context, [self.photo(name) for name in names])
        assert refused == []
        return tasks

    def beat_until(self, done: Callable[[], Any], seconds: float = DEADLINE) -> None:
        """What Blender's timer does."""
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"not in time: {[(t.name, t.state, t.sentence) for t in self.session.tasks]}"
            self.heartbeat.beat()
            time.sleep(0.005)

    def finish(self, *tasks: Any, seconds: float = DEADLINE) -> None:
        self.beat_until(lambda: all(task.over for task in tasks), seconds)

    def reach(self, task: Any, stage: str = "extracting the surface") -> None:
        self.beat_until(lambda: task.over or task.job.stage == stage)
        assert task.job.stage == stage, task.sentence


@pytest.fixture
def addon(
    bpy: Any, write_head: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Addon]:
    """The add-on with preferences of its own, an environment that counts as ready, and the stand-in."""
    head = write_head("model head")
    entry = bpy.context.preferences.addons.new()
    entry.module = EXTENSION
    mine = Addon(bpy, tmp_path)
    entry.preferences.heads_folder = str(mine.heads)
    heartbeat = mine.heartbeat
    heartbeat.stop()
    heartbeat.start()
    ready = importlib.import_module(f"{EXTENSION}.addon.environment").Status("ready", "ready", sys.executable, "cpu")
    monkeypatch.setattr(heartbeat.upkeep(), "status", ready)
    command = [*ISOLATED[:-1], ISOLATED[-1] + RUN, str(head)]
    monkeypatch.setattr(heartbeat, "backend_command", lambda: command)
    yield mine
    now, _ = heartbeat.existing()
    pid = now.client.pid if now is not None else None
    heartbeat.stop(5)
    heartbeat.start()
    mine.properties.reset()
    bpy.context.preferences.addons.remove(entry)
    assert pid is None or gone(pid)


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether a process ends within a time; one that only waits to be buried has ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


class Layout:
    """Takes every call that ``UILayout`` knows and writes it down; what Blender would refuse is refused here."""

    def __init__(self, bpy: Any, calls: list[SimpleNamespace] | None = None) -> None:
        self.__dict__.update(bpy=bpy, calls=[] if calls is None else calls)
        self.__dict__["known"] = {name: each for name, each in bpy.types.UILayout.bl_rna.functions.items()}

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in self.bpy.types.UILayout.bl_rna.properties, name

    def __getattr__(self, name: str) -> Callable[..., Any]:
        function = self.known[name]

        def call(*positional: Any, **named: Any) -> Any:
            parameters = {each.identifier: each for each in function.parameters}
            for key, value in named.items():
                assert key in parameters, f"{name} takes no {key}"
                if parameters[key].type == "ENUM" and key == "icon":
                    assert value in parameters[key].enum_items, f"there is no icon {value}"
            if name == "prop":
                assert positional[1] in positional[0].bl_rna.properties, positional[1]
            self.calls.append(SimpleNamespace(name=name, positional=positional, **named))
            if name in ("row", "column", "box", "split"):
                return Layout(self.bpy, self.calls)
            if name == "operator":
                group, _, what = positional[0].partition(".")
                kind = getattr(getattr(self.bpy.ops, group), what).get_rna_type()
                self.calls[-1].set = set = SimpleNamespace()
                return set_only(kind.properties.keys(), set)
            return None

        return call

    def texts(self) -> str:
        """All labels, joined: a paragraph stands in it as it was before it was broken into lines."""
        words = [str(call.text) for call in self.calls if getattr(call, "text", None)]
        return " ".join(words)

    def operators(self) -> list[str]:
        return [call.positional[0] for call in self.calls if call.name == "operator"]

    def of(self, operator: str) -> SimpleNamespace:
        """What was set on the first button of an operator."""
        return next(call.set for call in self.calls if call.name == "operator" and call.positional[0] == operator)

    def props(self) -> list[str]:
        return [call.positional[1] for call in self.calls if call.name == "prop"]


def set_only(names: list[str], into: SimpleNamespace) -> Any:
    """Something whose attributes can be set to ``into``, those of ``names`` alone."""

    class Properties:
        def __setattr__(self, name: str, value: Any) -> None:
            assert name in names, name
            setattr(into, name, value)

    return Properties()


@pytest.fixture
def draw(bpy: Any, addon: Addon, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Layout]:
    """Calls the ``draw`` of a panel or of the preferences in a wide region, and returns what it drew."""
    monkeypatch.setattr(addon.panel, "width_of", lambda context: 1e6)

    def call(kind: Any, itself: Any = None) -> Layout:
        layout = Layout(bpy)
        stub = SimpleNamespace(layout=layout, bl_rna=getattr(itself, "bl_rna", None))
        kind.draw(stub, bpy.context)
        return layout

    return call
