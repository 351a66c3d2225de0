"""The harness for Blender measures what it says it does; ten kills stand in ``panel/test_generate.py``."""

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
def test_the_harness_kills_and_cancels_and_tells_how_it_went(write_head, tmp_path):
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
        [*command, "--kills", "3", "--cancels", "1", "--jobs", "1", "--without-hand-over"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
        check=False,
    )
    assert (tmp_path / "j").is_file(), finished.stderr
    figures = json.loads((tmp_path / "j").read_text(encoding="utf-8"))
    assert figures["kills"]["wrong"] == []
    assert figures["kills"]["count"] == figures["kills"]["failed"] + figures["kills"]["imported"] == 3
    assert figures["kills"]["failed"] >= 1
    assert figures["blocks"]["looks"] > 50
    assert 0 < figures["blocks"]["median_seconds"] <= figures["blocks"]["longest_seconds"]
    assert figures["job_seconds"]["warm"] >= 0.5
    assert figures["cancels"]["longest_seconds"] <= 2.0
