"""The add-on's tests in several versions of Blender, by one command, and a table of what came of it.

    python scripts/test_blenders.py [--cache DIR] [--only 4.2 5.2] [-- pytest's own arguments]

Run it with the Python of the backend's environment: the backend's process needs that one, whatever Blender's is. Makes
one virtual environment for each Blender (the bpy package, about 1 GB each) in a cache folder outside the repository,
and finds it there the next time. Needs uv, which also obtains a Python that is not there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

CHECKOUT = Path(__file__).resolve().parents[1]
PYTEST = "pytest==9.0.1"
LIMIT = 3600.0  # seconds for the tests in one Blender


@dataclass(frozen=True)
class Blender:
    """A version to test with: its bpy package, and the Python and NumPy that this Blender ships."""

    name: str
    bpy: str
    python: str
    numpy: str


BLENDERS = (
    Blender("4.2 LTS", "4.2.0", "3.11", "1.24.3"),  # the oldest that the manifest allows
    Blender("4.5 LTS", "4.5.15", "3.11", "1.26.4"),
    Blender("5.0", "5.0.1", "3.11", "1.26.4"),
    Blender("5.2 LTS", "5.2.3", "3.13", "2.3.4"),
)


@dataclass(frozen=True)
class Outcome:
    """What pytest said in one Blender."""

    blender: Blender
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    note: str = ""

    @property
    def good(self) -> bool:
        """Whether all that ran has passed, and something ran."""
        return self.passed > 0 and self.failed == 0 and not self.note


def main() -> int:
    """Make what is missing, run, print the table; 0 if all passed everywhere."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where the environments are kept")
    parser.add_argument("--only", nargs="+", metavar="VERSION", help="beginnings of versions, for example 4.2 5.2")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after --; tests/addon if there are none")
    wishes = parser.parse_args()
    chosen = [b for b in BLENDERS if not wishes.only or any(b.bpy.startswith(each) for each in wishes.only)]
    if not chosen:
        parser.error(f"no such version; there are {', '.join(b.bpy for b in BLENDERS)}")
    cache = wishes.cache.resolve()
    if cache.is_relative_to(CHECKOUT):
        parser.error("--cache must lie outside the repository, or the extension's zip would swallow it")
    outcomes = [run(blender, cache, wishes.pytest or ["tests/addon"]) for blender in chosen]
    print(table(outcomes))
    return 0 if all(outcome.good for outcome in outcomes) else 1


def default_cache() -> Path:
    """A folder of the user's for what can be made again."""
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "headstitch" / "blenders"


def run(blender: Blender, cache: Path, arguments: list[str]) -> Outcome:
    """The tests in one Blender."""
    print(f"--- Blender {blender.name}: bpy {blender.bpy}, Python {blender.python}", flush=True)
    try:
        python = environment(blender, cache)
    except (OSError, subprocess.CalledProcessError) as error:
        return Outcome(blender, note=f"no environment: {error}")
    report = Path(tempfile.mkdtemp(prefix="headstitch-report-")) / "report.xml"
    start = time.monotonic()
    try:
        finished = subprocess.run(
            [str(python), "-m", "pytest", *arguments, f"--junitxml={report}"],
            cwd=CHECKOUT,
            env=variables(cache),
            timeout=LIMIT,
            check=False,
        )
        outcome = read_report(blender, report, finished.returncode, time.monotonic() - start)
    except subprocess.TimeoutExpired:
        outcome = Outcome(blender, seconds=LIMIT, note=f"stopped after {LIMIT:.0f} s")
    shutil.rmtree(report.parent)
    return outcome


def environment(blender: Blender, cache: Path) -> Path:
    """The interpreter of the virtual environment for ``blender``, made if it is not there."""
    folder = cache / f"bpy-{blender.bpy}-python-{blender.python}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    complete = folder / "complete.txt"
    wanted = [f"bpy=={blender.bpy}", f"numpy=={blender.numpy}", PYTEST]
    if complete.is_file() and complete.read_text() == "\n".join(wanted):
        return python
    uv = shutil.which("uv")
    if uv is None:
        raise FileNotFoundError("uv is not installed; install it with: pip install uv")
    shutil.rmtree(folder, ignore_errors=True)
    cache.mkdir(parents=True, exist_ok=True)
    subprocess.run([uv, "venv", "--quiet", "--seed", "--python", blender.python, str(folder)], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(python), *wanted], check=True)
    complete.write_text("\n".join(wanted))
    return python


def variables(cache: Path) -> dict[str, str]:
    """The checkout as the package ``headstitch``; Blender's settings in a folder of its own (tests/conftest.py)."""
    site = cache / "site"
    link = site / "headstitch"
    site.mkdir(parents=True, exist_ok=True)
    if link.is_symlink():
        link.unlink()
    link.symlink_to(CHECKOUT, target_is_directory=True)
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "BLENDER_USER_RESOURCES")}
    return kept | {"PYTHONPATH": str(site), "HEADSTITCH_BACKEND_PYTHON": sys.executable}


def read_report(blender: Blender, report: Path, code: int, seconds: float) -> Outcome:
    """Count what pytest wrote down. Without a report, Blender ended in its midst."""
    if not report.is_file():
        return Outcome(blender, seconds=seconds, note=f"ended with {code} and no report")
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    tests, failures, errors, skipped = (
        sum(int(suite.get(key, 0)) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    )
    note = "" if code in (0, 1) else f"pytest ended with {code}"
    return Outcome(blender, tests - failures - errors - skipped, failures + errors, skipped, seconds, note)


def table(outcomes: list[Outcome]) -> str:
    """One line for each Blender."""
    lines = [f"{'Blender':<9}{'bpy':<8}{'Python':<8}{'passed':>7}{'failed':>8}{'skipped':>9}{'seconds':>9}"]
    for o in outcomes:
        b = o.blender
        line = f"{b.name:<9}{b.bpy:<8}{b.python:<8}{o.passed:>7}{o.failed:>8}{o.skipped:>9}{o.seconds:>9.0f}"
        lines.append(f"{line}  {o.note}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
