"""The folder of a head on the disk: what is ours in it, and what is said when it cannot be written.

It holds a whole head or none (``backend.disk``); ``recover`` is called by everything that opens or writes one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from .. import disk
from ..errors import ResultsError

HEAD_FILES = ("head.glb", "head.npz", "albedo.png", "latent.safetensors", "preview.png", "head.json")
EXTRA_FILES = ("photo.png", "debug.png")  # of a head only where its head.json names them; else a person's own
PRODUCT = "headstitch"
NEEDED = 48 << 20  # bytes that a head takes at the defaults, generously


def is_head(path: Path) -> bool:
    """Whether the folder holds a head of ours: a head.json that says so."""
    try:
        record = json.loads((path / "head.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(record, dict) and record.get("product") == PRODUCT


def own_files(folder: Path) -> tuple[str, ...]:
    """The files of the head in ``folder``, there or not, head.json last. What a person put beside them is none."""
    try:
        named = json.loads((folder / "head.json").read_text("utf-8"))["files"]
        extra = tuple(name for name in EXTRA_FILES if name in named)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        extra = ()
    return (*extra, *HEAD_FILES)


HEAD = disk.Kind(is_head, own_files, frozenset({*HEAD_FILES, *EXTRA_FILES}))


def check_writable(folder: Path, needed: int = NEEDED) -> None:
    """Ask whether a head can be written to ``folder``, before the long job begins. Leaves nothing behind.

    Args:
        folder: where the head shall go; it and its parents need not exist.
        needed: bytes that must be free.

    Raises:
        ResultsError: something else is there, the place cannot be written, or the disk is too full.
    """
    folder = disk.resolved(folder)
    with told(folder):
        disk.recover(folder, HEAD)
        _refuse_strangers(folder)
        above = folder.parent
        while not above.exists():
            above = above.parent
        probe = disk.beside(above / folder.name, "partial")
        probe.mkdir()
        probe.rmdir()
        free = shutil.disk_usage(above).free
    if free < needed:
        raise ResultsError(
            f"Only {free >> 20} MB are free where {folder} shall go, and a head takes up to {needed >> 20} MB; "
            "free some space or choose another folder with -o."
        )


def write_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write ``files`` (name to content) as ``folder``, whole or not at all, and return its resolved path.

    A head of ours that is there is replaced once the new one is complete; a person's own files in it move over.

    Raises:
        ResultsError: something that is no head of ours is there, or the disk refuses. The folder is as it was before.
    """
    folder = disk.resolved(folder)
    with told(folder), disk.written_whole(folder, HEAD, lambda: _refuse_strangers(folder)) as partial:
        for name, content in files.items():
            disk.write_synced(partial / name, content)
    return folder


def write_file(path: Path, content: bytes) -> None:
    """Write one file in one piece: beside, then renamed. OSErrors pass; see ``told``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = disk.beside(path, "partial")
    try:
        disk.write_synced(partial, content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def recover(folder: Path) -> None:
    """Mend what a kill in the middle of ``write_folder`` may have left beside ``folder``; does nothing otherwise."""
    disk.recover(disk.resolved(folder), HEAD)


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn an OSError of the disk into a ResultsError whose sentence names ``path``."""
    try:
        yield
    except OSError as error:
        raise ResultsError(_sentence(path, error)) from error


def _sentence(path: Path, error: OSError) -> str:
    if error.errno in disk.FULL:
        return f"The disk is full, so {path} was not written; free some space or choose another place with -o."
    if error.errno == errno.EFBIG:
        return f"A file of {path} would exceed the size limit set for this process; raise it or choose another place."
    if error.errno in disk.DENIED:
        return f"{path} cannot be written (no permission in {path.parent}); choose another place with -o."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"{path} cannot be made because a file stands in its way; choose another place with -o."
    return f"{path} cannot be written ({error.strerror or error}); choose another place with -o."


def _refuse_strangers(folder: Path) -> None:
    if not folder.exists() or is_head(folder):
        return
    if not folder.is_dir():
        raise ResultsError(f"{folder} is a file, and a head needs a folder; choose another one with -o.")
    if any(folder.iterdir()):
        raise ResultsError(
            f"{folder} already holds something that is no head of Headstitch, and is left alone; "
            "choose another folder with -o."
        )
