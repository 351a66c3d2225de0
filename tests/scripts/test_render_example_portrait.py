"""The example portrait's renderer, at a size that takes seconds."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from headstitch.backend.camera import Camera
from PIL import Image

ROOT = Path(__file__).parents[2]
SIZE = 96
LIPS = (16, 85, 315, 17, 84, 314, 86, 316, 12)  # MediaPipe landmarks
SKIN = (151, 337, 108, 50, 280, 205, 425, 101, 330)
CHEEKS = (280, 50)  # of the person's left and right

pytestmark = pytest.mark.skipif(find_spec("bpy") is None, reason="the bpy package is not installed")


def render(out: Path, *more: str) -> Path:
    """Run the script small and noisy; the path of the picture."""
    size = ["--size", str(SIZE), "--samples", "48", "--strands", "1500", "--no-denoise"]
    command = [sys.executable, str(ROOT / "scripts/render_example_portrait.py"), "--out", str(out), *size, *more]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("portrait")


@pytest.fixture(scope="module")
def cutout(folder):
    """(SIZE, SIZE, 4) float in [0, 1] without the backdrop."""
    return np.asarray(Image.open(render(folder / "cutout.png", "--alpha")), np.float64) / 255


@pytest.fixture(scope="module")
def truth(folder, cutout):
    return json.loads((folder / "cutout.json").read_text())


def pixels(truth: dict, landmarks: tuple[int, ...]) -> np.ndarray:
    """Rows and columns (N, 2) of the truth's landmarks."""
    return np.floor(np.array(truth["landmarks"])[list(landmarks), ::-1] * SIZE).astype(int)


def test_head_and_shoulders_stand_in_the_picture_with_room_around(cutout):
    alpha = cutout[..., 3]
    assert alpha[:6].max() == 0  # room above the hair
    assert alpha[:40, :12].max() == 0
    assert alpha[:40, -12:].max() == 0
    assert alpha[-1, 30:70].min() > 0.95  # the shirt reaches the lower edge
    assert 0.3 < alpha.mean() < 0.6
    row, column = (SIZE * 45 // 100, SIZE // 2)
    assert alpha[row, column] > 0.99


def test_truth_says_where_the_face_is(cutout, truth):
    assert (truth["yaw"], truth["pitch"], truth["roll"]) == (13.0, 2.0, 1.5)
    np.testing.assert_allclose(Camera.from_label(np.array(truth["camera"])).angles, np.radians([13, 2, 1.5]), atol=1e-5)
    lips, skin = (np.mean([cutout[r, c] for r, c in pixels(truth, where)], axis=0) for where in (LIPS, SKIN))
    assert lips[0] / lips[1] > 1.08 * skin[0] / skin[1]  # lips are redder, and they are where the truth says


def test_eyes_are_darker_than_the_skin(cutout, truth):
    light = cutout[..., :3].mean(axis=2)
    eyes = np.floor(np.array(truth["eyes"])[:, ::-1] * SIZE).astype(int)
    for (row, column), cheek in zip(eyes, pixels(truth, CHEEKS), strict=True):
        iris = light[row - 1 : row + 2, column - 1 : column + 2].min()
        skin = np.median(light[cheek[0] - 1 : cheek[0] + 2, cheek[1] - 1 : cheek[1] + 2])
        assert iris < 0.75 * skin


def test_hair_covers_the_top_of_the_head(cutout):
    column = cutout[:, SIZE // 2]
    top = int(np.argmax(column[:, 3] > 0.9))
    hair, skin = column[top + 1 : top + 4, :3].mean(), column[SIZE * 32 // 100 : SIZE * 36 // 100, :3].mean()
    assert hair < 0.7 * skin


def test_same_seed_gives_the_same_picture_and_another_seed_another(folder, cutout):
    again, other = (
        np.asarray(Image.open(render(folder / f"{name}.png", "--alpha", *more)), np.float64) / 255
        for name, more in (("again", ()), ("other", ("--seed", "8")))
    )
    np.testing.assert_array_equal(again, cutout)
    assert np.abs(other - cutout).max() > 0.1


def test_shipped_portrait_matches_its_truth():
    truth = json.loads((ROOT / "examples/portrait.json").read_text())
    with Image.open(ROOT / "examples/portrait.jpg") as picture:
        assert picture.size == (truth["size"],) * 2 == (1024, 1024)
        assert not picture.getexif()
        face = np.asarray(picture.convert("RGB"), float)[380:560, 400:600]
    assert (face[..., 0] > face[..., 2]).mean() > 0.9  # skin
