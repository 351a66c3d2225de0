"""Cycles draws the same head as the fast renderer, where bpy is there; and what is said when it cannot."""

import errno
import shutil
from collections import namedtuple
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from headstitch.backend.camera import CENTIMETRE, Camera
from headstitch.backend.errors import ResourceError
from headstitch.backend.training import realistic
from headstitch.backend.training.body import Label
from headstitch.backend.training.draw import Picture, draw, light_head, stage_head
from headstitch.backend.training.glasses import GLASSES, make_glasses
from headstitch.backend.training.head import make_head
from headstitch.backend.training.lights import Lamp, Light
from headstitch.backend.training.realistic import RealisticRenderer, draw_realistic_views
from headstitch.backend.training.views import draw_views

SIZE = 48
SKY = np.full((3, 3), 0.15)
LEFT, RIGHT = np.array([-1.0, 0.0, 0.6]) / np.hypot(1, 0.6), np.array([1.0, 0.0, 0.6]) / np.hypot(1, 0.6)
CAMERAS = (Camera.from_angles(0.4, 0.15, 0.2), Camera.from_angles(-1.5, 0.0, radius=1.6, focal=2.4))

needs_bpy = pytest.mark.skipif(find_spec("bpy") is None, reason="the bpy package is not installed")


@pytest.fixture(scope="module")
def head():
    return make_head(3, 1, style="bob", share=0.3)


@pytest.fixture(scope="module")
def passes(head) -> list[Picture]:
    """Both cameras with a lamp at the left, then the first with one at the right, and one in the dark."""
    lamps = [(Lamp(way, np.array([1.0, 0.9, 0.8]), 0.3),) for way in (LEFT, LEFT, RIGHT)] + [()]
    lenses = (*CAMERAS, CAMERAS[0], CAMERAS[0])
    skies = (SKY, SKY, SKY, np.zeros((3, 3)))
    lights = [Light("test", *each) for each in zip(lamps, skies, strict=True)]
    with RealisticRenderer(device="cpu", threads=1, samples=4) as renderer:
        return renderer.draw(head, list(zip(lenses, lights, strict=True)), SIZE)


@needs_bpy
@pytest.mark.parametrize("number", [0, 1])
def test_it_agrees_with_the_fast_renderer_on_outline_depth_and_labels(head, passes, number):
    fast, ours = draw(light_head(stage_head(head)), CAMERAS[number], SIZE), passes[number]
    mine, theirs = ours.alpha > 0.5, fast.alpha > 0.5
    assert (mine & theirs).sum() / (mine | theirs).sum() > 0.95
    skin = (ours.label == Label.SKIN) & (fast.label == Label.SKIN)
    assert skin.sum() > 100
    assert np.median(np.abs(ours.depth[skin] - fast.depth[skin])) < 0.01 * CENTIMETRE
    both = (ours.label != 255) & (fast.label != 255)
    assert (ours.label == fast.label)[both].mean() > 0.9
    kinds, pixels = np.unique(fast.label, return_counts=True)  # at the side, hair leaves two pixels of the eye
    assert {Label.SKIN, Label.HAIR} | ({Label.EYE} if number == 0 else set()) <= set(kinds)
    assert set(kinds[pixels > 3]) <= set(np.unique(ours.label))


@needs_bpy
def test_landmarks_lie_where_the_camera_puts_them(head, passes):
    nose = head.landmarks[[4]]
    column, row, far = CAMERAS[0].project(nose)[0]
    pixel = int(row * SIZE), int(column * SIZE)
    assert passes[0].depth[pixel] == pytest.approx(far, abs=0.3 * CENTIMETRE)
    assert passes[0].label[pixel] == Label.SKIN


@needs_bpy
def test_normals_are_of_the_world_and_look_at_the_camera(passes):
    for view, camera in zip(passes, CAMERAS, strict=False):
        hit = view.label == Label.SKIN
        rays = camera.rays(SIZE)[..., 3:]
        assert np.abs(np.linalg.norm(view.normals[hit], axis=1) - 1).max() < 0.01
        assert ((view.normals * rays).sum(axis=2)[hit] < 0.1).mean() > 0.97
        assert not view.normals[view.label == 255].any()
        assert np.isinf(view.depth[view.label == 255]).all()


@needs_bpy
def test_lamps_stand_where_they_are_said_to_and_are_the_only_light(passes):
    def sides(view: Picture) -> tuple[float, float]:
        skin = view.label == Label.SKIN
        facing = view.normals[..., 0]
        light = view.linear.mean(axis=2)
        return float(light[skin & (facing < -0.5)].mean()), float(light[skin & (facing > 0.5)].mean())

    left, right = sides(passes[0]), sides(passes[2])
    assert left[0] > 1.5 * left[1]
    assert right[1] > 1.5 * right[0]
    assert passes[3].linear.max() < 1e-4
    np.testing.assert_array_equal(passes[3].depth, passes[0].depth)


@needs_bpy
def test_colour_is_premultiplied_and_linear(passes):
    view = passes[0]
    assert not view.linear[view.alpha == 0].any()
    reddest = view.linear[view.label == Label.SKIN].mean(axis=0)
    assert reddest[0] > reddest[1] > reddest[2] > 0


class Pretended:
    """A Blender that writes nothing, or ``content`` in the place of each picture."""

    def __init__(self, content: bytes | None = None):
        self.content, self.folders = content, []

    def draw(self, folder: Path) -> float:
        self.folders.append(folder)
        if self.content is None:
            raise ResourceError("Blender could not draw the head: RuntimeError: it failed.")
        for name in ("picture-0.exr", "data-0.exr"):
            (folder / name).write_bytes(self.content)
        return 0.1

    def close(self) -> None:
        pass


@pytest.fixture
def pretend(monkeypatch):
    def make(content: bytes | None = None) -> tuple[RealisticRenderer, Pretended]:
        blender = Pretended(content)
        monkeypatch.setattr(realistic, "Blender", lambda *_, **__: blender)
        return RealisticRenderer(), blender

    return make


@pytest.fixture
def sight() -> tuple[Camera, Light]:
    return CAMERAS[0], Light("test", (), SKY)


def test_a_picture_that_cannot_be_read_is_one_sentence_and_leaves_nothing(pretend, head, sight):
    renderer, blender = pretend(b"half a picture")
    with pytest.raises(ResourceError, match=r"^Blender's picture cannot be read: .*\.$"):
        renderer.draw(head, [sight], SIZE)
    assert not blender.folders[0].exists()


def test_what_blender_says_passes(pretend, head, sight):
    renderer, _ = pretend()
    with pytest.raises(ResourceError, match="RuntimeError: it failed"):
        renderer.draw(head, [sight], SIZE)


def test_a_full_disk_is_one_sentence_whoever_met_it(pretend, head, sight, monkeypatch):
    renderer, blender = pretend()
    said = r"^The disk of .* is full, and Blender's pictures go through it; free some space, or .* TMPDIR\.$"
    usage = namedtuple("usage", "free")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage(1000))
        with pytest.raises(ResourceError, match=said):  # Blender's error
            renderer.draw(head, [sight], SIZE)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(ResourceError, match=said):  # ours
        renderer.draw(head, [sight], SIZE)
    assert len(blender.folders) == 1
    assert not blender.folders[0].exists()


@needs_bpy
def test_views_are_those_of_the_fast_renderer_but_for_the_picture(head):
    fast = draw_views(head, 1, 1, SIZE)
    views = draw_realistic_views(head, 1, 1, SIZE, samples=2)
    for ours, theirs in zip(views, fast, strict=True):
        assert {**theirs.attributes, "renderer": "cycles"} == ours.attributes
        assert ours.kind == theirs.kind
        np.testing.assert_array_equal(ours.camera.label, theirs.camera.label)
        np.testing.assert_array_equal(ours.lens.label, theirs.lens.label)
        mine, other = ours.matte > 127, theirs.matte > 127
        assert (mine & other).sum() / (mine | other).sum() > 0.95
        assert ours.image.dtype == np.uint8
        seen = mine & other
        difference = ours.image[seen].astype(float).mean(axis=0) - theirs.image[seen].astype(float).mean(axis=0)
        assert np.abs(difference).max() < 40  # lit alike
        behind = (ours.matte == 0) & (theirs.matte == 0)
        assert np.abs(ours.image.astype(int) - theirs.image)[behind].mean() < 12  # the same background


@needs_bpy
def test_glasses_are_worn_in_pictures_and_seen_through(head):
    pair = make_glasses("square", head.body, np.random.default_rng(2))
    with RealisticRenderer(device="cpu", threads=1, samples=2) as renderer:
        [view] = renderer.draw(replace(head, glasses=pair), [(Camera.from_angles(), Light("test", (), SKY))], 96)
    assert (view.label == GLASSES).sum() > 30
    assert (view.label == Label.EYE).sum() > 10  # behind the lenses
