"""When a finished head waits, into which window it goes, and what an operator's refusal sounds like."""

from __future__ import annotations

import importlib
from types import SimpleNamespace

import pytest

EXTENSION = "bl_ext.user_default.headstitch"


@pytest.fixture
def handover(addon):
    return importlib.import_module(f"{EXTENSION}.addon.handover")


@pytest.fixture
def wait(handover):
    return importlib.import_module(f"{EXTENSION}.addon.session").NotNow


def blender(running="", tools=(), scenes=("Scene",), busy=0):
    """As much of Blender as the question where and when takes."""
    windows = [
        SimpleNamespace(
            scene=SimpleNamespace(name=name),
            modal_operators=[SimpleNamespace(bl_idname=tool) for tool in (tools if number == busy else ())],
        )
        for number, name in enumerate(scenes)
    ]
    return SimpleNamespace(
        app=SimpleNamespace(is_job_running=lambda job: job == running, background=False),
        data=SimpleNamespace(scenes={name: None for name in ("Scene", "Other")}),
        context=SimpleNamespace(window=None, window_manager=SimpleNamespace(windows=windows)),
    )


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"running": "RENDER"}, "waits until the render is over"),
        ({"running": "OBJECT_BAKE"}, "waits until the bake is over"),
        ({"tools": ["SCREEN_OT_animation_step", "TRANSFORM_OT_translate"]}, "waits until the tool in use ends"),
        ({"tools": ["SCULPT_OT_brush_stroke"]}, "waits until the tool in use ends"),
        ({"tools": ["UV_OT_minimize_stretch"]}, "waits until the tool in use ends"),
        ({"tools": ["POSE_OT_push"], "scenes": ("Scene", "Scene"), "busy": 1}, "waits until the tool in use ends"),
    ],
)
def test_a_head_waits_while_its_import_would_disturb(handover, wait, monkeypatch, state, said):
    monkeypatch.setattr(handover, "bpy", blender(**state))
    task = SimpleNamespace(placement=SimpleNamespace(scene="Scene"))
    with pytest.raises(wait, match=said):
        handover.hand_over(task)


def test_a_head_waits_until_its_scene_is_shown_again(handover, wait, monkeypatch):
    monkeypatch.setattr(handover, "bpy", blender(scenes=("Other",)))
    task = SimpleNamespace(placement=SimpleNamespace(scene="Scene"))
    with pytest.raises(wait, match=r'waits until the scene "Scene" is shown again; cancel it to import it elsewhere$'):
        handover.hand_over(task)


def test_the_head_goes_to_the_window_that_shows_its_scene(handover, monkeypatch):
    both = blender(scenes=("Scene", "Other"))
    monkeypatch.setattr(handover, "bpy", both)
    first, second = both.context.window_manager.windows
    assert handover._window("Other") is second
    assert handover._window("Deleted") is first
    both.context.window = second
    assert handover._window("Deleted") is second
    monkeypatch.setattr(handover, "bpy", blender(scenes=()))
    assert handover._window("Scene") is None


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("Error: The disk is full; make room.\n", "The disk is full; make room"),
        ("Error: one reason\nError: another\n", "one reason"),
        ("Error: Python: Traceback (most recent call last):\n  File x\nValueError: no\n\n", "ValueError: no"),
        (
            "Operator bpy.ops.x.poll() failed, context is incorrect",
            "Operator bpy.ops.x.poll() failed, context is incorrect",
        ),
        ("", "Blender gave no reason"),
    ],
)
def test_an_operators_refusal_in_plain_words(handover, raised, said):
    assert handover.plain(RuntimeError(raised)) == said
