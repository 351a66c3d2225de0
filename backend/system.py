"""What this machine offers: its device, its free memory, its shared libraries. Stands beside options.

Imports torch only where a device is asked for.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import OptionError, ResourceError

if TYPE_CHECKING:
    import torch

LIBRARIES = Path(__file__).parent / "data" / "debian-libraries.txt"
PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
GIB = 1 << 30
LIMIT = "the limit on this process (ulimit -v)"
SMALLER = "give a smaller --resolution or --texture-size"
ELSEWHERE = "do it on another machine (a model is a folder, which may be copied)"  # what no option makes smaller


def choose_device(name: str = "auto") -> torch.device:
    """The device where tensors shall live.

    Args:
        name: ``auto`` takes CUDA when it is there, then MPS, then the CPU; else ``cpu``, ``cuda`` or ``mps``.

    Raises:
        ResourceError: the named device is not there.
        OptionError: there is no device of that name.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, found in there.items() if found))
    if name not in there:
        raise OptionError(f"--device is {name!r}; give auto, cpu, cuda or mps.")
    if not there[name]:
        what = "no CUDA GPU" if name == "cuda" else "no Apple GPU (MPS)"
        hint = ""
        if name == "cuda" and torch.version.cuda is None:
            hint = " (this PyTorch was built without CUDA; docs/install.md tells how to get the other build)"
        raise ResourceError(f"PyTorch finds {what} here{hint}; use --device auto or --device cpu.")
    return torch.device(name)


@contextmanager
def repeatable() -> Iterator[None]:
    """Make a CUDA GPU give the same bytes for the same numbers, and single precision where single precision is meant.

    Convolutions in TF32 have 10 bits of mantissa, and an autotuned algorithm may be another one on the next run. The
    settings are the process's, and come back afterwards. The CPU needs none of this.
    """
    import torch

    if not torch.cuda.is_available():
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts; cuBLAS repeats itself only so
    precision = torch.get_float32_matmul_precision()
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic  # its attribute is a property of the module, unknown to type checkers
    filling = memory.fill_uninitialized_memory
    try:
        torch.set_float32_matmul_precision("highest")
        torch.use_deterministic_algorithms(True, warn_only=True)  # an op that cannot is better than no head
        memory.fill_uninitialized_memory = False  # we read none, and filling takes time
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        memory.fill_uninitialized_memory = filling
        torch.use_deterministic_algorithms(strict, warn_only=warn)
        torch.set_float32_matmul_precision(precision)


def check_memory(
    needed: int, smaller: str = "--resolution or --texture-size", *, mapped: int = 0, otherwise: str | None = None
) -> None:
    """Refuse a job that this machine cannot hold, before it begins.

    Args:
        needed: bytes that the job will take beyond what the process holds now.
        smaller: the options that would make it take less.
        mapped: bytes of files that it maps besides; they count only against a limit on the process.
        otherwise: what to do where no option helps, a clause in place of a smaller ``smaller``.

    Raises:
        ResourceError: less is free, by the kernel's account, a control group's limit or the process's own limit.
    """
    bounds = [bound for bound in (available_memory(), _address_space(mapped)) if bound is not None]
    free, where = min(bounds, default=(needed, ""))
    if free >= needed:
        return
    left = f"{max(0, free) / GIB:.1f} GiB"
    if mapped and where == LIMIT:
        left += f" beside {mapped / GIB:.1f} GiB of files"
    raise ResourceError(
        f"This job needs about {needed / GIB:.1f} GiB of memory, but {where} leaves {left}; "
        f"close other programs, or {otherwise or f'give a smaller {smaller}'}."
    )


def available_memory() -> tuple[int, str] | None:
    """Bytes that this process may still take, and what sets that bound; None where the system does not tell."""
    bounds = [bound for bound in (_kernel_memory(), _group_memory(), _address_space()) if bound is not None]
    return min(bounds, default=None)


def _kernel_memory() -> tuple[int, str] | None:
    """What is free on the machine, swap included."""
    table = _table(_read(PROC / "meminfo"))
    if "MemAvailable" not in table:
        return None
    return (table["MemAvailable"] + table.get("SwapFree", 0)) * 1024, "this machine"


def _group_memory() -> tuple[int, str] | None:
    """The tightest memory limit among our control group and those above it (versions 1 and 2)."""
    rooms = []
    for line in (_read(PROC / "self" / "cgroup") or "").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            root, limit_name, usage_name, cache_name = CGROUP, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            root, limit_name, usage_name = CGROUP / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache_name = "total_inactive_file"
        else:
            continue
        group = root / path.strip("/")
        for folder in [group, *group.parents]:
            if not folder.is_relative_to(root):
                break
            limit, usage = _read(folder / limit_name), _read(folder / usage_name)
            if limit is None or usage is None or not limit.isdigit():  # "max" means no limit
                continue
            cache = _table(_read(folder / "memory.stat")).get(cache_name, 0)  # given back when memory runs short
            rooms.append(int(limit) - int(usage) + cache)
    return (min(rooms), "this container's limit") if rooms else None


def _address_space(mapped: int = 0) -> tuple[int, str] | None:
    """What ``ulimit -v`` leaves beside files of so many bytes."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _read(PROC / "self" / "statm")
    if limit == resource.RLIM_INFINITY or pages is None:
        return None
    return limit - int(pages.split()[0]) * resource.getpagesize() - mapped, LIMIT


def _read(path: Path) -> str | None:
    """The text of one of the system's small files, or None where there is none."""
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return None


def _table(text: str | None) -> dict[str, int]:
    """Lines of a name and a number, as in /proc/meminfo and memory.stat."""
    return {name: int(value) for name, value in re.findall(r"^(\w+):?\s+(\d+)", text or "", re.MULTILINE)}


@contextmanager
def plain_errors(otherwise: str = SMALLER) -> Iterator[None]:
    """Turn what libraries raise when memory or a shared library is missing into a ResourceError with its sentence.

    Args:
        otherwise: what to do, beside closing other programs, when the memory ran out: a clause that ends the sentence.
    """
    try:
        yield
    except Exception as error:
        sentence = _memory_sentence(error, otherwise) or _library_sentence(error)
        if sentence is None:
            raise
        raise ResourceError(sentence) from error


def _memory_sentence(error: BaseException, otherwise: str) -> str | None:
    said = str(error).lower()
    torch = sys.modules.get("torch")
    short = isinstance(error, MemoryError) or (torch is not None and isinstance(error, torch.OutOfMemoryError))
    if isinstance(error, RuntimeError):  # torch's CPU allocator and MPS raise a plain one
        short |= any(words in said for words in ("out of memory", "not enough memory", "can't allocate memory"))
    if isinstance(error, ImportError | OSError):  # the loader could not map a library
        short |= "cannot allocate memory" in said or "failed to map segment" in said
    if type(error).__module__ == "cv2":
        short |= "insufficient memory" in said
    if not short:
        return None
    return f"The memory ran out; close other programs, or {otherwise}."


def _library_sentence(error: BaseException) -> str | None:
    """Names every missing library at once, so that one apt-get line mends them all."""
    if not isinstance(error, ImportError | OSError):
        return None
    match = re.search(r"([\w.+-]+\.so[\d.]*): cannot open shared object file", str(error))
    if match is None:
        return None
    packages = dict.fromkeys(package for name, package, _ in known_libraries() if name == match[1] or not _loads(name))
    if not packages:
        return f"The shared library {match[1]} is missing; install the package of your system that holds it."
    return (
        f"The shared library {match[1]} is missing; on Debian or Ubuntu run: "
        f"sudo apt-get install -y {' '.join(packages)}"
    )


def known_libraries() -> list[tuple[str, str, str]]:
    """Every library that the Python packages need from the system: its name, its Debian package, and who needs it."""
    lines = (line.partition("#")[0].split() for line in LIBRARIES.read_text("utf-8").splitlines())
    return [(fields[0], fields[1], fields[2]) for fields in lines if fields]


def check_libraries() -> None:
    """Import what leans on the system's shared libraries.

    Raises:
        ResourceError: one is missing; the sentence holds the apt-get line.
    """
    with plain_errors():
        import cv2  # noqa: F401
        import open3d  # noqa: F401


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
