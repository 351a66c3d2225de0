"""The shipped list of packages against pyproject, and the choices: the build for a GPU, the Python, the sizes."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from headstitch.addon import environment_plan, environment_system
from headstitch.addon.environment import EnvironmentFailure, Plan
from headstitch.addon.environment_plan import Build, Lock, fitting_builds
from headstitch.addon.environment_system import Gpu, Python, child_environment, size_in_words
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

PYTHON = Path(os.environ.get("HEADSTITCH_BACKEND_PYTHON", sys.executable))  # that the backend is to have

ROOT = Path(__file__).parents[3]
LOCK = Lock()
PLACES = [(target, python) for target in LOCK.oldest for python in ("3.11", "3.12")]
each_place = pytest.mark.parametrize(("target", "python"), PLACES)


def dependencies() -> list[str]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]


def all_wheels(target, python):
    """Every locked wheel of a place, those of every build of PyTorch with it."""
    builds = LOCK.builds(target, python).values()
    return [*LOCK.packages(target, python), *(wheel for build in builds for wheel in build.wheels)]


# --- the list --------------------------------------------------------------------------------------------------------


def test_the_list_was_made_from_todays_pyproject():
    assert list(LOCK.requires) == dependencies(), "run scripts/lock_environment.py"
    assert set(LOCK.imports) == {canonicalize_name(Requirement(line).name) for line in dependencies()}


@each_place
def test_every_dependency_is_listed_in_a_version_that_pyproject_allows(target, python):
    versions: dict[str, str] = {canonicalize_name(wheel.name): wheel.version for wheel in all_wheels(target, python)}
    versions["torch"] = LOCK.torch_version
    for line in dependencies():
        wanted = Requirement(line)
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)]), line


@each_place
def test_every_wheel_runs_there_and_is_known_by_hash_and_size(target, python):
    system = {"linux": r"manylinux.*_x86_64", "macos": r"macosx_.*_(arm64|universal2)", "windows": r"win_amd64"}
    wheels = all_wheels(target, python)
    assert len({wheel.name for wheel in wheels}) == len(wheels)
    for wheel in [*wheels, LOCK.tool(target, python, "pip"), LOCK.tool(target, python, "uv")]:
        name, version, _, tags = parse_wheel_filename(wheel.file)
        assert (name, str(version)) == (canonicalize_name(wheel.name), wheel.version)
        assert any(re.fullmatch(f"any|{system[target.split('-')[0]]}", tag.platform) for tag in tags)
        assert {tag.interpreter for tag in tags} & {"py3", f"cp{python.replace('.', '')}"} or any(
            tag.abi == "abi3" for tag in tags
        )
        assert re.fullmatch(r"[0-9a-f]{64}", wheel.sha256)
        assert wheel.size > 1000


def test_the_list_names_no_address():
    text = environment_plan.LOCK.read_text("utf-8")
    assert "://" not in text
    assert len(text) < 200_000


def test_every_build_can_be_had():
    builds = {place: LOCK.builds(*place) for place in PLACES}
    for (target, _), found in builds.items():
        assert "cpu" in found
        assert all(build.wheels or build.index for build in found.values())
        assert all(build.size > 50_000_000 for build in found.values())
        assert ("cu126" in found) == (target != "macos-arm64")
    linux = builds["linux-x86_64", "3.11"]
    assert {wheel.name for wheel in linux["cu130"].wheels} >= {"torch", "triton", "nvidia-cublas"}
    assert not any(wheel.name.startswith("nvidia") for wheel in LOCK.packages("linux-x86_64", "3.11"))


def test_the_fingerprint_changes_with_what_is_installed_and_with_nothing_else():
    first = LOCK.fingerprint("linux-x86_64", "3.11", "cpu")
    assert first == Lock().fingerprint("linux-x86_64", "3.11", "cpu")
    others = {LOCK.fingerprint(*place, build) for place in PLACES for build in LOCK.builds(*place)}
    assert len(others) == sum(len(LOCK.builds(*place)) for place in PLACES)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"wheels": {}}', '{"wheels": {"a": [1]}, "targets": {}}'])
def test_a_damaged_list_is_one_sentence(tmp_path, text):
    path = tmp_path / "environment.json"
    path.write_text(text)
    with pytest.raises(EnvironmentFailure, match="install the add-on again"):
        Lock(path)


# --- the GPU ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gpu", "system", "chosen"),
    [
        (Gpu(), "linux", ["cpu"]),
        (Gpu("GTX 1060", 560, (6, 1)), "linux", ["cu126", "cpu"]),
        (Gpu("GTX 1060", 580, (6, 1)), "linux", ["cu126", "cpu"]),
        (Gpu("RTX 3080", 535, (8, 6)), "linux", ["cu128", "cu126", "cpu"]),
        (Gpu("RTX 3080", 580, (8, 6)), "linux", ["cu130", "cu128", "cu126", "cpu"]),
        (Gpu("RTX 5090", 570, (12, 0)), "linux", ["cu128", "cpu"]),
        (Gpu("RTX 3080", 527, (8, 6)), "win32", ["cpu"]),
        (Gpu("RTX 3080", 528, (8, 6)), "win32", ["cu128", "cu126", "cpu"]),
        (Gpu("Tesla K80", 470, (3, 7)), "linux", ["cpu"]),
        (Gpu("RTX 3080", 580, (8, 6)), "darwin", ["cpu"]),
    ],
)
def test_the_build_follows_the_driver_and_the_card(gpu, system, chosen):
    names = ["cpu", "cu126", "cu128", *(["cu130"] if system != "win32" else [])]
    assert fitting_builds({name: Build(name) for name in names}, gpu, system) == chosen


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for the driver")
@pytest.mark.parametrize(
    ("says", "code", "build", "name"),
    [
        ("NVIDIA GeForce RTX 3080, 535.183.01, 8.6", 0, "cu126", "NVIDIA GeForce RTX 3080"),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9, "cpu", ""),
    ],
)
def test_the_plan_asks_the_driver(world, finish, monkeypatch, tmp_path, says, code, build, name):
    if sys.platform == "darwin":
        pytest.skip("no CUDA on macOS")
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "{says}"\nexit {code}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    world.builds["cuda"] = {"size": 2_000_000_000}
    (world.root / "torch-index.txt").write_text("")
    world.requires.insert(0, "torch==2.0.0")
    world.builds["cpu"] = {"size": 200_000_000}
    environment = world.environment(torch_index=one_index(tmp_path))
    plan = finish(environment.plan(online=True, python=PYTHON))
    assert (plan.build, plan.gpu) == (build, name)
    assert plan.builds == {"cpu": 200_000_000, "cu126": 2_000_000_000}
    assert plan.download - plan.builds[build] == sum(row[3] for row in world.wheels.values() if row[0] != "pip")
    assert plan.sentence.startswith("about ") == (build == "cu126")


def one_index(folder):
    path = folder / "one-index.txt"
    path.write_text("# the only one\ncu126 index/cu126\ncpu index/cpu\n")
    return path


# --- the Python ------------------------------------------------------------------------------------------------------


def told(**changes):
    known = {"version": [3, 11, 4], "executable": "/bin/python", "base": "/bin/python", "bits": 64, "system": "linux"}
    known |= {"machine": "x86_64", "platform": "linux-x86_64", "libc": "glibc 2.36", "macos": "", "pip": ""}
    return known | changes


@pytest.mark.parametrize(
    ("changes", "target", "sentence"),
    [
        ({}, "linux-x86_64", ""),
        ({"libc": "glibc 2.31"}, "", "need glibc 2.35 or newer and this system has 2.31"),
        ({"libc": ""}, "", "need a Linux with the GNU C library"),
        ({"machine": "aarch64", "platform": "linux-aarch64"}, "", r"\(linux-aarch64\) has no ready packages"),
        ({"system": "darwin", "machine": "arm64", "platform": "macosx-11.0-arm64", "macos": "15.1"}, "macos-arm64", ""),
        ({"system": "darwin", "machine": "arm64", "platform": "macosx-11.0-arm64", "macos": "13.6"}, "", "macOS 14.0"),
        ({"system": "darwin", "machine": "x86_64", "platform": "macosx-10.9-x86_64", "macos": "12"}, "", "no ready"),
        ({"system": "win32", "machine": "AMD64", "platform": "win-amd64", "libc": ""}, "windows-amd64", ""),
        ({"system": "win32", "machine": "ARM64", "platform": "win-arm64", "libc": ""}, "", "no ready packages"),
        ({"system": "win32", "machine": "AMD64", "platform": "mingw_x86_64", "libc": ""}, "", "no ready packages"),
    ],
)
def test_a_system_that_the_packages_do_not_run_on_is_said(changes, target, sentence):
    found, problem = environment_system._target(LOCK.oldest, told(**changes))
    assert found == target
    assert re.search(sentence, problem) if sentence else problem == ""


def test_a_python_is_found_and_the_first_that_suits_is_taken(world, finish, monkeypatch, tmp_path):
    nothing = tmp_path / "not-there"
    monkeypatch.setattr(environment_system, "candidates", lambda own: iter([nothing, PYTHON]))
    plan = finish(world.environment().plan(online=True))
    assert plan.python is not None
    assert plan.python.version[:2] in ((3, 11), (3, 12))
    assert not plan.obtains_python
    assert not world.folder.joinpath("venv").exists()


def test_known_places_are_looked_at_beside_the_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("UV_PYTHON_INSTALL_DIR", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    own = tmp_path / "environment" / "python"
    program = "python.exe" if sys.platform == "win32" else "bin/python3"
    places = [own / "cpython-3.11.9-x" / program, tmp_path / ".pyenv" / "versions" / "3.12.4" / program]
    if sys.platform != "win32":
        places.append(tmp_path / ".local" / "share" / "uv" / "python" / "cpython-3.11.2-linux" / program)
        for place in places:
            place.parent.mkdir(parents=True)
            place.touch()
        assert set(places) <= set(environment_system.candidates(own))


# --- small things ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "words"),
    [(0, "0 kB"), (1500, "2 kB"), (999_500, "1 MB"), (916_835_308, "917 MB"), (2_640_000_000, "2.6 GB")],
)
def test_sizes_read_as_disks_are_sold(size, words):
    assert size_in_words(size) == words


def test_the_plan_in_words():
    python = Python(Path("python"), Path("python"), (3, 11, 1), "linux-x86_64")
    known = {"target": "linux-x86_64", "python": python, "python_short": "3.11", "build": "cpu", "builds": {}}
    known |= {"gpu": "", "wheels": (), "present": (), "needed": 1, "obtains_python": False}
    plan = Plan(download=917_000_000, installed=2_600_000_000, free=70_000_000_000, exact=False, **known)
    assert plan.sentence == "about 917 MB to download, 2.6 GB on the disk when done; 70.0 GB of the disk are free"
    plan = Plan(download=0, installed=2_600_000_000, free=70_000_000_000, exact=True, **known)
    assert plan.sentence.startswith("Nothing to download")


def test_children_get_the_users_index_and_nothing_that_leads_them_astray(monkeypatch, tmp_path):
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_NO_DEPS", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "x")
    child = child_environment(tmp_path, pip=True)
    assert child["PIP_INDEX_URL"] == "x"
    assert child["TMPDIR"] == str(tmp_path)
    assert child["PIP_USER"] == "0"
    assert not {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PIP_TARGET", "PIP_PREFIX", "PIP_NO_DEPS"} & set(child)
    assert "PIP_INDEX_URL" not in child_environment(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="there it depends on a setting of Windows")
def test_elsewhere_than_on_windows_long_paths_are_fine():
    assert not environment_system.too_long_for_windows(Path("/" + "x" * 250), 171)


def test_json_is_there_whole_or_not_at_all(tmp_path):
    from headstitch.addon.environment_files import read_json, write_whole

    path = tmp_path / "stamp.json"
    write_whole(path, {"a": 1})
    with pytest.raises(TypeError):
        write_whole(path, {"a": object()})
    assert read_json(path) == {"a": 1}
    path.write_text("[1]")
    assert read_json(path) is None
    path.write_text(json.dumps({"a": 1})[:-2])
    assert read_json(path) is None
