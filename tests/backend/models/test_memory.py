"""Import and verify where memory is short, by a real limit on the process: one sentence, and nothing half-imported."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from headstitch.backend.errors import ResourceError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS, and /proc to know what is taken")

LIMITED = """
    import re, resource, sys
    from pathlib import Path
    from headstitch.backend import cli
    from headstitch.backend.models import importer, shelf
    if sys.argv[2] == "unchecked":
        importer.check_memory = shelf.check_memory = lambda *needed, **how: None
    taken = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (taken + (int(sys.argv[1]) << 20),) * 2)
    raise SystemExit(cli.main(sys.argv[3:]))
"""
IN_VAIN = "; close other programs, or do it on another machine (a model is a folder, which may be copied).\n"


def run(shelf, mebi: int, check: str, *arguments: object) -> subprocess.CompletedProcess:
    """The command line with so many MiB of address space more than its libraries take."""
    code = [sys.executable, "-c", textwrap.dedent(LIMITED), str(mebi), check]
    return subprocess.run([*code, *map(str, arguments)], capture_output=True, text=True, check=False)


def importing(shelf) -> list[object]:
    files = shelf.files
    return [
        "models",
        "import",
        "--generator",
        files.generator,
        "--visible",
        *files.visible,
        "--occluded",
        *files.occluded,
    ]


def test_an_import_that_would_not_fit_is_refused_before_it_begins(shelf):
    done = run(shelf, 128, "checked", *importing(shelf))
    assert done.returncode == ResourceError.exit_code
    assert done.stdout == ""
    assert done.stderr.startswith(
        "This job needs about 0.2 GiB of memory, but the limit on this process (ulimit -v) leaves 0.1 GiB beside"
    )
    assert done.stderr.endswith(IN_VAIN)
    assert not shelf.models.exists()


def test_an_import_that_runs_out_of_memory_ends_with_a_sentence_and_nothing(shelf):
    done = run(shelf, 6, "unchecked", *importing(shelf))
    assert (done.returncode, done.stderr) == (ResourceError.exit_code, "The memory ran out" + IN_VAIN)
    assert not shelf.models.exists()


def test_a_model_is_verified_in_little_memory_or_told_that_there_is_too_little(shelf):
    shelf.import_()
    done = run(shelf, 1, "unchecked", "models", "verify", "tiny")
    assert (done.returncode, done.stderr) == (ResourceError.exit_code, "The memory ran out" + IN_VAIN)
    done = run(shelf, 256, "checked", "models", "verify", "tiny")
    assert (done.returncode, done.stderr) == (0, "")
