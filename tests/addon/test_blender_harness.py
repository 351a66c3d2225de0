"""Ten kills of the backend at random moments in a real Blender; ``benchmarks/blender_harness.py`` does the whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import headstitch
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "blender_harness.py"


@pytest.mark.skipif(sys.platform == "win32", reason="kills by POSIX signals")
@pytest.mark.usefixtures("extension")
def test_ten_kills_leave_blender_alive_its_scene_unchanged_and_the_next_job_working(write_head, tmp_path):
    head = write_head("model head")
    photo = tmp_path / "short.png"  # what the stand-in for the backend does: half a second of work
    photo.write_bytes((head / "albedo.png").read_bytes())
    command = [
        sys.executable,
        str(SCRIPT),
        "--stand-in",
        str(head),
        "--photo",
        str(photo),
        "--json",
        str(tmp_path / "j"),
    ]
    found = [str(Path(headstitch.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, found))}
    finished = subprocess.run(
        [*command, "--kills", "10", "--cancels", "2", "--jobs", "1", "--without-hand-over"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert (tmp_path / "j").is_file(), finished.stderr
    figures = json.loads((tmp_path / "j").read_text(encoding="utf-8"))
    assert figures["kills"]["wrong"] == []
    assert figures["kills"]["count"] == figures["kills"]["failed"] + figures["kills"]["imported"] == 10
    assert figures["kills"]["failed"] >= 5
    assert figures["cancels"]["longest_seconds"] <= 2.0
