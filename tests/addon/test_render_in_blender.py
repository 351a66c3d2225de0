"""The sheet of sides that scripts/render_in_blender.py draws."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import headstitch
import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "render_in_blender.py"


def sheet_of(folder, path, *options):
    command = [sys.executable, str(SCRIPT), str(folder), "-o", str(path), "--size", "48", "--samples", "1", *options]
    found = [str(Path(headstitch.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, found))}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def test_the_sides_of_a_head_stand_in_rows_from_the_front_on(bpy, write_head, tmp_path):
    finished = sheet_of(write_head(), tmp_path / "sheet.png", "--sides", "4", "--columns", "3", "--clay")
    assert finished.returncode == 0, finished.stderr
    image = bpy.data.images.load(str(tmp_path / "sheet.png"))
    assert tuple(image.size) == (3 * 48, 2 * 48)
    pixels = np.empty(3 * 48 * 2 * 48 * 4, np.float32)
    image.pixels.foreach_get(pixels)
    sheet = pixels.reshape(2, 48, 3, 48, 4)[::-1, ::-1, ..., :3].transpose(0, 2, 1, 3, 4)  # row, column, y, x, colour
    front, right, back, left, *blank = sheet.reshape(6, 48, 48, 3)
    backdrop = front[0, 0]
    widths = [(np.abs(side - backdrop).max(axis=-1) > 0.03).any(axis=0) for side in (front, right, back, left)]
    assert all(10 < covered.sum() < 48 for covered in widths)
    # the ear stands on the head's +x: at the right of the front view, at the left of the back view
    assert covered_beyond(widths[0]) > 0 > covered_beyond(widths[2])
    assert all((empty == 1).all() for empty in blank)


def covered_beyond(covered):
    """How far the covered columns reach to the right of the middle, less how far they reach to its left."""
    columns = np.flatnonzero(covered)
    return columns.max() + columns.min() - 47


@pytest.mark.usefixtures("extension")
def test_a_folder_without_a_head_is_told_in_one_sentence(tmp_path):
    refused = sheet_of(tmp_path, tmp_path / "sheet.png")
    assert refused.returncode == 1
    assert refused.stderr.strip().startswith("The folder ")
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "sheet.png").exists()
