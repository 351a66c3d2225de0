"""Where the things of the backend's environment lie, and what is done with files there. Imports no bpy."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import re
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# What `import headstitch` finds in the environment: the extension's own folder, whatever its name. A path file would
# make every other extension beside it importable, and would need the folder to be called headstitch.
SHIM = '''"""Leads to the Headstitch extension, whose files these are; made by the extension, and anew when it moves."""
import os as _os
__path__ = [{folder!r}]
__file__ = _os.path.join({folder!r}, "__init__.py")
with open(__file__, "rb") as _file:
    exec(compile(_file.read(), __file__, "exec"))
del _os, _file
'''


@dataclass(frozen=True)
class Layout:
    """Where things lie in the environment's folder."""

    folder: Path

    @property
    def owner(self) -> Path:
        """Says that we made this folder."""
        return self.folder / "made-by-headstitch.json"

    @property
    def stamp(self) -> Path:
        """Written last: there only when the environment is whole."""
        return self.folder / "environment.json"

    @property
    def existing(self) -> Path:
        """Names the Python that the user chose in place of ours."""
        return self.folder / "existing.json"

    @property
    def lock(self) -> Path:
        """Held by whoever works on the folder."""
        return self.folder / "lock"

    @property
    def log(self) -> Path:
        """What the programs of the last job that changed something said."""
        return self.folder / "environment.log"

    @property
    def check_log(self) -> Path:
        """What the programs of the last plan or check said."""
        return self.folder / "check.log"

    @property
    def venv(self) -> Path:
        """The environment itself."""
        return self.folder / "venv"

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.venv / "Scripts" / "python.exe" if sys.platform == "win32" else self.venv / "bin" / "python"

    @property
    def wheels(self) -> Path:
        """Finished downloads, until they are installed."""
        return self.folder / "wheels"

    @property
    def tmp(self) -> Path:
        """Unfinished things; emptied when a job begins and ends."""
        return self.folder / "tmp"

    @property
    def tools(self) -> Path:
        """Our pip and uv."""
        return self.folder / "tools"

    @property
    def own_python(self) -> Path:
        """Where uv puts the Pythons that it obtains."""
        return self.folder / "python"

    @property
    def compiled(self) -> Path:
        """Compiled files: the extension's own folder stays as Blender unpacked it."""
        return self.folder / "compiled"

    def made(self) -> tuple[Path, ...]:
        """All that we ever make here, the stamp first and the mark of the owner last."""
        things = (self.stamp, self.existing, self.venv, self.wheels, self.tmp, self.tools, self.own_python)
        return (*things, self.compiled, self.log, self.check_log, self.lock, self.owner)

    def site(self) -> Path:
        """The environment's site-packages."""
        if sys.platform == "win32":
            return self.venv / "Lib" / "site-packages"
        found = sorted((self.venv / "lib").glob("python3.*/site-packages"))
        return found[0] if found else self.venv / "lib" / "site-packages"


def write_whole(path: Path, data: dict[str, Any]) -> None:
    """JSON that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    with beside.open("w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    move(beside, path)


def read_json(path: Path) -> dict[str, Any] | None:
    """What the file holds; None where it is missing or no JSON object."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def move(source: Path, goal: Path) -> None:
    """Rename; on Windows a scanner may hold a fresh file for a moment."""
    for attempt in range(10):
        try:
            source.replace(goal)
        except PermissionError:
            if sys.platform != "win32" or attempt == 9:
                raise
            time.sleep(0.2)
        else:
            return


def remove_tree(path: Path, check: Callable[[], object]) -> None:
    """Delete a file or folder, following no link; ``check`` is called between files and may raise.

    Raises:
        OSError: something cannot be deleted.
    """
    if path.is_symlink() or not path.is_dir():
        with contextlib.suppress(FileNotFoundError):
            if sys.platform == "win32" and path.exists():
                path.chmod(stat.S_IWRITE)
            path.unlink()
        return
    for inner in list(os.scandir(path)):
        check()
        if inner.is_dir(follow_symlinks=False):
            remove_tree(Path(inner.path), check)
        else:
            with contextlib.suppress(FileNotFoundError):
                if sys.platform == "win32":
                    Path(inner.path).chmod(stat.S_IWRITE)
                Path(inner.path).unlink()
    with contextlib.suppress(FileNotFoundError):
        path.rmdir()


def hash_of(path: Path, check: Callable[[], object]) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            check()
            digest.update(block)
    return digest.hexdigest()


def canonical(name: str) -> str:
    """A distribution's name as indices spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed(site: Path) -> dict[str, tuple[str, Path]]:
    """Version and metadata folder of every package that was installed to its end, by canonical name.

    pip writes RECORD last, so a package without one was cut off.
    """
    found = {}
    with contextlib.suppress(OSError):
        for entry in os.scandir(site):
            match = re.fullmatch(r"(.+?)-([^-]+)\.dist-info", entry.name)
            if match and Path(entry.path, "RECORD").is_file():
                found[canonical(match[1])] = match[2], Path(entry.path)
    return found


def damage(info: Path, check: Callable[[], object]) -> str:
    """The first file of an installed package that is missing or of another size; empty when all are there."""
    site = info.parent
    try:
        with (info / "RECORD").open(encoding="utf-8", newline="") as file:
            for name, _, size in (row[:3] for row in csv.reader(file) if len(row) >= 3):
                if not size:
                    continue
                check()
                try:
                    if os.stat(f"{site}/{name}").st_size != int(size):  # noqa: PTH116  ten thousands of them
                        return name
                except OSError:
                    return name
    except (OSError, ValueError):
        return "RECORD"
    return ""


def sweep(site: Path, check: Callable[[], object]) -> None:
    """Take away what a killed installation left: metadata without RECORD, pip's folders of what it was replacing."""
    with contextlib.suppress(FileNotFoundError):
        for entry in list(os.scandir(site)):
            cut_off = entry.name.endswith(".dist-info") and not Path(entry.path, "RECORD").is_file()
            if cut_off or entry.name.startswith("~"):
                remove_tree(Path(entry.path), check)


def companions(info: Path) -> list[str]:
    """What an installed CUDA build of PyTorch needs beside it and no list of ours names: NVIDIA's packages, Triton."""
    text = (info / "METADATA").read_text("utf-8", "replace").partition("\n\n")[0]
    needed = re.findall(r"^Requires-Dist: ((?:nvidia|cuda|triton)[\w.-]*)(.*)$", text, re.MULTILINE)
    return [canonical(name) for name, rest in needed if "extra ==" not in rest]


def write_shim(site: Path, extension: Path, tmp: Path) -> None:
    """A package headstitch in ``site`` that leads to the extension's folder."""
    folder = site / "headstitch"
    folder.mkdir(parents=True, exist_ok=True)
    tmp.mkdir(parents=True, exist_ok=True)
    beside = tmp / "shim.py"
    beside.write_text(SHIM.format(folder=str(extension)), "utf-8")
    move(beside, folder / "__init__.py")
