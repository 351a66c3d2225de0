"""What the backend's environment will hold: the add-on's list of packages, the choices, the sizes. Imports no bpy."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import environment_texts as texts
from .environment_failures import EnvironmentFailure
from .environment_files import Layout, canonical, installed, read_json
from .environment_jobs import Job
from .environment_system import (
    PYTHONS,
    Gpu,
    Python,
    ask_python,
    find_gpu,
    find_python,
    free_disk,
    size_in_words,
    too_long_for_windows,
)

LOCK = Path(__file__).parent / "data" / "environment.json"
TORCH_INDEX = Path(__file__).parents[1] / "backend" / "data" / "torch-index.txt"
OWN_PYTHON_SIZE = (55_000_000, 170_000_000)  # uv and a Python by it: bytes to download, bytes on the disk; about
DISK_MARGIN = 300_000_000  # bytes: logs, compiled files, temporary files

# NVIDIA's minor version compatibility: the oldest driver for every release of a CUDA major, by system; and the compute
# capabilities that PyTorch's builds are compiled for, below and from CUDA 12.8 on.
OLDEST_DRIVER = {"linux": {12: 525, 13: 580}, "win32": {12: 528, 13: 580}}


@dataclass(frozen=True)
class Wheel:
    """One file to install. ``sha256`` is empty where only the index that it comes from knows it."""

    file: str
    name: str
    version: str
    sha256: str
    size: int


@dataclass(frozen=True)
class Build:
    """One build of PyTorch: locked wheels, or what one of PyTorch's own indices gives.

    ``index`` is the address of the index, empty for locked wheels; ``size`` in bytes, ``exact`` where it is known.
    """

    name: str
    wheels: tuple[Wheel, ...] = ()
    index: str = ""
    size: int = 0
    exact: bool = True

    @property
    def cuda(self) -> tuple[int, int] | None:
        """The CUDA release, as (12, 6) for cu126; None for the CPU build."""
        match = re.fullmatch(r"cu(\d+)(\d)", self.name)
        return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True)
class Wishes:
    """What the user chose; see ``Environment.make``."""

    online: bool
    build: str = "auto"
    python: Path | None = None
    wheels: Path | None = None
    keep_wheels: bool = False


@dataclass(frozen=True)
class Plan:
    """What ``make`` would do. ``problems`` are sentences; with any of them ``make`` refuses with the first."""

    target: str
    python: Python | None  # None: one of its own is to be obtained
    python_short: str  # the Python that the environment will have, as "3.11"
    build: str  # of PyTorch
    builds: dict[str, int]  # every build for this system: bytes to download
    gpu: str
    wheels: tuple[Wheel, ...]  # all of them but those that only PyTorch's own index names
    present: tuple[str, ...]  # names of packages that are there already
    download: int  # bytes that are still to come
    installed: int  # bytes on the disk when done, about
    needed: int  # bytes of free disk that it takes meanwhile
    free: int
    exact: bool  # whether ``download`` is known to the byte
    obtains_python: bool  # whether uv and a Python are obtained, which needs consent
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()  # other builds to try when the index lacks the chosen one

    @property
    def sentence(self) -> str:
        """The sizes in words."""
        words = {"installed": size_in_words(self.installed), "free": size_in_words(self.free)}
        if not self.download:
            return texts.PLAN_NOTHING.format(**words)
        about = "" if self.exact else texts.ABOUT
        return texts.PLAN.format(about=about, download=size_in_words(self.download), **words)


class Lock:
    """The add-on's list of packages, and PyTorch's own indices.

    Raises:
        EnvironmentFailure: the list cannot be read.
    """

    def __init__(self, path: Path = LOCK, torch_index: Path = TORCH_INDEX) -> None:
        try:
            data = json.loads(path.read_text("utf-8"))
            self._wheels = {file: Wheel(file, *row) for file, row in data["wheels"].items()}
            self._targets: dict[str, Any] = data["targets"]
            self.requires: tuple[str, ...] = tuple(data["requires"])
            self.imports: dict[str, str] = data["imports"]
            self.unpacked: float = data["unpacked"]
            self.longest_path: int = data["longest_path"]
            lines = torch_index.read_text("utf-8").splitlines()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EnvironmentFailure(texts.DAMAGED_LOCK.format(reason=error)) from error
        self._indices = dict(line.split() for line in lines if line.strip() and not line.startswith("#"))

    @property
    def oldest(self) -> dict[str, tuple[int, ...]]:
        """The systems that have packages, each with the oldest release that all of them run on."""
        return {target: tuple(entry["oldest"]) for target, entry in self._targets.items()}

    def packages(self, target: str, python: str) -> tuple[Wheel, ...]:
        """All but PyTorch and what only its GPU builds need."""
        return tuple(self._wheels[file] for file in self._targets[target]["python"][python]["packages"])

    def tool(self, target: str, python: str, name: str) -> Wheel:
        """The wheel of ``pip`` or ``uv``."""
        return self._wheels[self._targets[target]["python"][python]["tools"][name]]

    @functools.cached_property
    def torch_version(self) -> str:
        """The pinned release of PyTorch; empty where a list has none."""
        pins = [line for line in self.requires if line.startswith("torch==")]
        return pins[0].partition("==")[2] if pins else ""

    def builds(self, target: str, python: str) -> dict[str, Build]:
        """Every build of PyTorch for a target, by name: cpu, cu126..."""
        found: dict[str, Build] = {}
        for kind, entry in self._targets[target]["python"][python]["builds"].items():
            wheels = tuple(self._wheels[file] for file in entry.get("wheels", ()))
            size = sum(wheel.size for wheel in wheels) or entry.get("size", 0)
            if kind == "index":  # the ordinary index's own build: its wheels are locked
                name = "cu" + entry["cuda"].replace(".", "")
                found[name] = Build(name, wheels, size=size)
            elif kind == "cuda":
                for name, index in self._indices.items():
                    if name != "cpu" and name not in found:
                        found[name] = Build(name, index=index, size=size, exact=False)
            else:
                found[kind] = Build(kind, wheels, "" if wheels else self._indices.get(kind, ""), size)
        return found

    def fingerprint(self, target: str, python: str, build: str) -> str:
        """A hash of all that this choice installs: it changes when an environment has to be made anew."""
        chosen = self.builds(target, python).get(build, Build(build))
        wheels = [*self.packages(target, python), *chosen.wheels]
        lines = sorted(f"{wheel.name}=={wheel.version} {wheel.sha256}" for wheel in wheels)
        lines.append(f"torch=={self.torch_version} {build}")
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def fitting_builds(builds: dict[str, Build], gpu: Gpu, system: str = sys.platform) -> list[str]:
    """The builds that make use of the GPU, newest CUDA first, and the CPU build last."""
    fitting = []
    for name, build in builds.items():
        cuda = build.cuda
        if cuda is None or gpu.driver == 0:
            continue
        driver = OLDEST_DRIVER.get(system, {}).get(cuda[0])
        known = gpu.capability <= (9, 0) if cuda < (12, 8) else gpu.capability >= (7, 5)
        if driver is not None and gpu.driver >= driver and known:
            fitting.append((cuda, name))
    return [name for _, name in sorted(fitting, reverse=True)] + [name for name in builds if name == "cpu"]


@dataclass(frozen=True)
class Planner:
    """Makes plans for the environment in ``layout``."""

    lock: Lock
    layout: Layout
    blender_python: Path

    def plan(self, job: Job[Any], tmp: Path, wishes: Wishes) -> Plan:
        """The plan for what the user chose; ``tmp`` is for temporary files."""
        job.progress(texts.STAGE_PYTHON, 0)
        folder = self.layout.folder
        problems: list[str] = []
        notes: list[str] = []
        python = self._python_for(job, tmp, wishes.python)
        if python is None:  # then the packages are those of the system that Blender's own interpreter is of
            target = self._ask(job, tmp, self.blender_python).target
            notes.append(texts.NO_PYTHON.format(size=size_in_words(OWN_PYTHON_SIZE[0])))
            if not wishes.online:
                problems.append(texts.NO_PYTHON_OFFLINE)
            elif not target:
                problems.append(texts.UNSUPPORTED.format(system=sys.platform))
        else:
            target = python.target
            if python.problem:
                problems.append(python.problem)
        if (python is not None and (python.problem or not target)) or not target:
            free = free_disk(folder)
            return Plan("", python, "", "", {}, "", (), (), 0, 0, 0, free, False, False, tuple(problems), tuple(notes))
        short = python.short if python is not None else ".".join(map(str, PYTHONS[0]))
        builds = self.lock.builds(target, short)
        gpu = find_gpu(job, tmp)
        chosen, fallbacks = self._choose_build(builds, wishes.build, gpu)
        if chosen not in builds:
            problems.append(texts.UNKNOWN_BUILD.format(build=chosen, builds=", ".join(builds)))
        plan = self._sizes(target, short, builds, chosen, python, wishes)
        if wishes.wheels is not None and not wishes.wheels.is_dir():
            problems.append(texts.OFFLINE_FOLDER_MISSING.format(folder=wishes.wheels))
        elif not wishes.online and wishes.wheels is None and plan.download:
            problems.append(texts.OFFLINE)
        if plan.free < plan.needed:
            words = {"needed": size_in_words(plan.needed), "free": size_in_words(plan.free), "folder": folder}
            problems.append(texts.DISK_FULL_AHEAD.format(**words))
        if too_long_for_windows(folder, self.lock.longest_path):
            problems.append(texts.LONG_PATHS.format(folder=folder))
        return replace(
            plan,
            gpu=gpu.name,
            problems=tuple(problems),
            notes=tuple(notes),
            fallbacks=tuple(name for name in fallbacks if builds[name].index),
        )

    def _ask(self, job: Job[Any], tmp: Path, path: Path) -> Python:
        return ask_python(job, self.lock.oldest, path, tmp)

    def _python_for(self, job: Job[Any], tmp: Path, named: Path | None) -> Python | None:
        """The interpreter to build on: the named one, else the one it was built on, else the first that suits."""
        if named is not None:
            return self._ask(job, tmp, named)
        stamp = read_json(self.layout.stamp) or {}
        config = self.layout.venv / "pyvenv.cfg"
        before = str(stamp.get("base", ""))
        if not before and config.is_file():
            lines = [line.partition("=") for line in config.read_text("utf-8", "replace").splitlines()]
            before = next((value.strip() for key, _, value in lines if key.strip() == "executable"), "")
        if before and Path(before).is_file():
            python = self._ask(job, tmp, Path(before))
            if not python.problem:
                return python
        return find_python(job, self.lock.oldest, self.layout.own_python, tmp)

    def _choose_build(self, builds: dict[str, Build], wish: str, gpu: Gpu) -> tuple[str, tuple[str, ...]]:
        """The build to install, and others that would do when an index lacks it; an update keeps the choice."""
        before = str((read_json(self.layout.stamp) or {}).get("build", ""))
        if wish != "auto" or before in builds:
            return (wish if wish != "auto" else before), ()
        fitting = fitting_builds(builds, gpu) or ["cpu"]
        return fitting[0], tuple(fitting[1:])

    def _sizes(
        self, target: str, short: str, builds: dict[str, Build], chosen: str, python: Python | None, wishes: Wishes
    ) -> Plan:
        """The bytes: what is there already, in the environment, our downloads or the user's folder, is not fetched."""
        build = builds.get(chosen, Build(chosen))
        wanted = (*self.lock.packages(target, short), *build.wheels)
        there = {name: version for name, (version, _) in installed(self.layout.site()).items()}
        folders = [folder for folder in (self.layout.wheels, wishes.wheels) if folder is not None and folder.is_dir()]

        def fetched(wheel: Wheel) -> bool:
            paths = [folder / wheel.file for folder in folders]
            return any(path.is_file() and path.stat().st_size == wheel.size for path in paths)

        present = [wheel.name for wheel in wanted if there.get(canonical(wheel.name)) == wheel.version]
        to_unpack = [wheel for wheel in wanted if wheel.name not in present]
        to_have = wanted if wishes.keep_wheels else to_unpack
        download = sum(wheel.size for wheel in to_have if not fetched(wheel))
        unpack = sum(wheel.size for wheel in to_unpack)
        exact = True
        if not build.wheels and self.lock.torch_version:  # PyTorch by its own index
            label = f"{self.lock.torch_version}+{chosen}"
            if there.get("torch") == label:
                present.append("torch")
            else:
                unpack += build.size
            have = any(list(folder.glob(f"torch-{label}-*.whl")) for folder in folders)
            if not have and ("torch" not in present or wishes.keep_wheels):
                download += build.size
                exact = build.exact
        pip = self.lock.tool(target, short, "pip")
        has_pip = (self.layout.tools / f"pip-{pip.version}").is_dir() or fetched(pip)
        if wishes.online and not has_pip:
            download += pip.size
        installed_bytes = int(
            (sum(wheel.size for wheel in wanted) + (0 if build.wheels else build.size)) * self.lock.unpacked
        )
        needed = download + int(unpack * self.lock.unpacked) + (DISK_MARGIN if unpack else 0)
        if python is None:
            download += OWN_PYTHON_SIZE[0]
            needed += sum(OWN_PYTHON_SIZE)
            installed_bytes += OWN_PYTHON_SIZE[1]
            exact = False
        return Plan(
            target=target,
            python=python,
            python_short=short,
            build=chosen,
            builds={name: one.size for name, one in builds.items()},
            gpu="",
            wheels=wanted,
            present=tuple(present),
            download=download,
            installed=installed_bytes,
            needed=needed,
            free=free_disk(self.layout.folder),
            exact=exact,
            obtains_python=python is None,
        )
