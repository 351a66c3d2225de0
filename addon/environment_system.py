"""What this machine offers the backend's environment: interpreters, the GPU, disk. Imports no bpy."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import environment_texts as texts
from .environment_failures import EnvironmentFailure
from .environment_jobs import Job

PYTHONS = ((3, 11), (3, 12))
WINDOWS_LONGEST = 259
Oldest = Mapping[str, tuple[int, ...]]  # the oldest release of each supported system that all packages run on

# One line of JSON about an interpreter; runs under any Python 3.
PROBE_PYTHON = """
import glob, json, os, platform, struct, sys, sysconfig
try:
    import ensurepip
    pips = glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))
except ImportError:
    pips = []
pips += glob.glob("/usr/share/python-wheels/pip-*.whl")
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, OSError, ValueError):
    libc = ""
print(json.dumps({
    "version": list(sys.version_info[:3]), "executable": sys.executable,
    "base": getattr(sys, "_base_executable", "") or sys.executable, "bits": 8 * struct.calcsize("P"),
    "system": sys.platform, "machine": platform.machine(), "platform": sysconfig.get_platform(), "libc": libc,
    "macos": platform.mac_ver()[0], "pip": pips[0] if pips else ""}))
"""


@dataclass(frozen=True)
class Python:
    """An interpreter that was asked about itself."""

    path: Path
    base: Path  # what ``path`` itself is built on, where it is an environment's
    version: tuple[int, int, int]
    target: str  # as in the list of packages; empty where none of them fits
    problem: str = ""  # why it does not suit, as a sentence
    pip: str = ""  # a pip wheel that comes with it

    @property
    def short(self) -> str:
        """As "3.11"."""
        return f"{self.version[0]}.{self.version[1]}"


@dataclass(frozen=True)
class Gpu:
    """What the NVIDIA driver says of the first GPU; ``driver`` 0 where there is none."""

    name: str = ""
    driver: int = 0
    capability: tuple[int, int] = (0, 0)


# --- interpreters ----------------------------------------------------------------------------------------------------


def candidates(own: Path) -> Iterator[Path]:
    """Where a Python 3.11 or 3.12 may lie; a window's PATH is short, so known places are looked at too."""
    home = Path.home()
    data = os.environ.get("UV_PYTHON_INSTALL_DIR") or _uv_data(home)
    program = "python.exe" if sys.platform == "win32" else "bin/python3"
    for major, minor in PYTHONS:
        version = f"{major}.{minor}"
        name = f"cpython-{version}.*"
        yield from sorted(own.glob(f"{name}/{program}"), reverse=True)
        found = shutil.which(f"python{version}")
        if found:
            yield Path(found)
        for folder in (Path("/usr", "bin"), Path("/usr", "local", "bin"), Path("/opt", "homebrew", "bin")):
            yield folder / f"python{version}"
        yield home / ".local" / "bin" / f"python{version}"
        yield Path("/Library", "Frameworks", "Python.framework", "Versions", version, "bin", "python3")
        pyenv = home / ".pyenv" / ("pyenv-win/versions" if sys.platform == "win32" else "versions")
        yield from sorted(Path(data).glob(f"{name}/{program}"), reverse=True)
        yield from sorted(pyenv.glob(f"{version}.*/{program}"), reverse=True)
        if sys.platform == "win32":
            for variable in ("LOCALAPPDATA", "ProgramFiles"):
                base = Path(os.environ.get(variable, ""))
                middle = "Programs/Python" if variable == "LOCALAPPDATA" else ""
                yield base / middle / f"Python{major}{minor}" / "python.exe"
    for name in ("python3", "python"):
        found = shutil.which(name)
        if found:
            yield Path(found)


def _uv_data(home: Path) -> str:
    if sys.platform == "win32":
        return str(Path(os.environ.get("APPDATA", str(home))) / "uv" / "python")
    data = os.environ.get("XDG_DATA_HOME") or str(home / ".local" / "share")
    return str(Path(data) / "uv" / "python")


def find_python(job: Job[Any], oldest: Oldest, own: Path, tmp: Path) -> Python | None:
    """The first interpreter here that suits; on Windows the py launcher is asked too."""
    seen: set[str] = set()
    for path in candidates(own):
        key = os.path.normcase(Path.cwd() / path)
        # Apple's own python3 is a stub that opens a window about developer tools.
        if key in seen or not path.is_file() or (sys.platform == "darwin" and path.parent == Path("/usr/bin")):
            continue
        seen.add(key)
        python = ask_python(job, oldest, path, tmp)
        if not python.problem:
            return python
    launcher = shutil.which("py") if sys.platform == "win32" else None
    for major, minor in PYTHONS if launcher else ():
        python = ask_python(job, oldest, Path(str(launcher)), tmp, f"-{major}.{minor}")
        if not python.problem:
            return python
    return None


def ask_python(job: Job[Any], oldest: Oldest, path: Path, tmp: Path, *options: str) -> Python:
    """What the interpreter at ``path`` is, and what speaks against it."""
    if not path.is_file():
        return Python(path, path, (0, 0, 0), "", texts.PYTHON_NOT_THERE.format(python=path))
    try:
        done = job.run([path, *options, "-I", "-c", PROBE_PYTHON], env=child_environment(tmp), timeout=15)
        lines = [line for line in done.lines if line.startswith("{")]
        told = json.loads(lines[-1]) if lines and done.code == 0 else None
        reason = done.last
    except (OSError, EnvironmentFailure, ValueError) as error:
        told, reason = None, str(error)
    if told is None:
        return Python(path, path, (0, 0, 0), "", texts.PYTHON_DOES_NOT_RUN.format(python=path, reason=reason))
    version = tuple(told["version"])
    # In a pyenv or launcher the program itself lies elsewhere.
    real = Path(told["executable"]) if told["executable"] else path
    target, problem = _target(oldest, told)
    if version[:2] not in PYTHONS:
        problem = texts.PYTHON_WRONG.format(python=path, version=".".join(map(str, version)))
    elif told["bits"] != 64:
        problem = texts.PYTHON_32_BIT.format(python=path)
    return Python(real, Path(told["base"] or real), version, target, problem, told["pip"])


def _target(oldest: Oldest, told: dict[str, Any]) -> tuple[str, str]:
    """The target that an interpreter belongs to, and what speaks against the system; one of them is empty."""
    machine = told["machine"].lower()
    target = {
        ("linux", "x86_64"): "linux-x86_64",
        ("darwin", "arm64"): "macos-arm64",
    }.get((told["system"], machine), "")
    if told["platform"] == "win-amd64":
        target = "windows-amd64"
    if target not in oldest:
        return "", texts.UNSUPPORTED.format(system=told["platform"])
    found, name = "", ""
    if target == "linux-x86_64":
        if not told["libc"].startswith("glibc "):
            return "", texts.NOT_GLIBC
        found, name = told["libc"].partition(" ")[2], "glibc"
    elif target == "macos-arm64" and not told["macos"].startswith("10."):  # 10.16 is what compatibility mode says
        found, name = told["macos"], "macOS"
    if found and tuple(map(int, re.findall(r"\d+", found)[:2])) < oldest[target]:
        needed = ".".join(map(str, oldest[target]))
        return "", texts.OLD_SYSTEM.format(name=name, needed=needed, found=found)
    return target, ""


# --- the GPU ---------------------------------------------------------------------------------------------------------


def find_gpu(job: Job[Any], tmp: Path) -> Gpu:
    """What nvidia-smi says; nothing where there is none, or where the driver does not answer."""
    places = [shutil.which("nvidia-smi")]
    if sys.platform == "win32":
        places.append(str(Path(os.environ.get("SYSTEMROOT", "C:\\Windows")) / "System32" / "nvidia-smi.exe"))
    program = next((place for place in places if place and Path(place).is_file()), None)
    if program is None:
        return Gpu()
    question = [program, "--query-gpu=name,driver_version,compute_cap", "--format=csv,noheader"]
    try:
        done = job.run(question, env=child_environment(tmp), timeout=10)
    except (OSError, EnvironmentFailure):
        return Gpu()
    gpus = []
    for line in done.lines if done.code == 0 else ():
        match = re.fullmatch(r"\s*(.+?),\s*(\d+)\.[\d.]+,\s*(\d+)\.(\d+)\s*", line)
        if match:
            gpus.append(Gpu(match[1], int(match[2]), (int(match[3]), int(match[4]))))
    return max(gpus, key=lambda gpu: gpu.capability, default=Gpu())


def child_environment(tmp: Path, *, pip: bool = False) -> dict[str, str]:
    """The environment of a child: nothing that leads a Python astray, temporary files on our own disk.

    Args:
        tmp: the folder for temporary files.
        pip: keep what says where packages come from (index, proxy, certificate); everything else that PIP_* variables
            may ask for (another target, a dry run...) is left out in any case.
    """
    keep = {"INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "TRUSTED_HOST", "PROXY", "CERT", "CLIENT_CERT"}
    keep |= {"DEFAULT_TIMEOUT", "TIMEOUT", "RETRIES", "CONFIG_FILE", "KEYRING_PROVIDER", "USE_DEPRECATED"}
    dropped = {"VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "CONDA_PREFIX"}
    env = {}
    for name, value in os.environ.items():
        upper = name.upper()
        if upper.startswith("PYTHON") or upper in dropped:
            continue
        if upper.startswith("PIP_") and not (pip and upper.removeprefix("PIP_") in keep):
            continue
        env[name] = value
    if pip:
        env.setdefault("PIP_DEFAULT_TIMEOUT", "30")
        env.setdefault("PIP_RETRIES", "3")
        env["PIP_USER"] = "0"  # over a setting in pip's own file
    else:
        env["PIP_CONFIG_FILE"] = os.devnull
    env |= {"TMPDIR": str(tmp), "TEMP": str(tmp), "TMP": str(tmp)}
    return env


def free_disk(folder: Path) -> int:
    """Bytes that are free where ``folder`` is or will be."""
    for place in (folder, *folder.parents):
        if place.exists():
            return shutil.disk_usage(place).free
    return shutil.disk_usage(os.curdir).free


def size_in_words(size: float) -> str:
    """Bytes as "1.4 GB" (powers of ten, as disks are sold)."""
    if size < 999_500:
        return f"{max(0, round(size / 1e3))} kB"
    if size < 999_500_000:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.1f} GB"


def too_long_for_windows(folder: Path, longest: int) -> bool:
    """Whether files under the environment's site-packages would pass what Windows allows by default."""
    if sys.platform != "win32" or len(str(folder / "venv" / "Lib" / "site-packages")) + 1 + longest <= WINDOWS_LONGEST:
        return False
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return winreg.QueryValueEx(key, "LongPathsEnabled")[0] != 1
    except OSError:
        return True
