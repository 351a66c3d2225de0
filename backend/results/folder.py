"""How results reach the disk: written beside, then renamed, so that a folder holds a whole head or none.

While ``save`` works the parent holds ``.NAME.partial-XXXX``; while an older head is replaced also ``.NAME.old-XXXX``.
After a kill at any moment ``recover`` (called by everything that opens or writes a head) puts the older head back or
finishes the replacement, so nothing is lost.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import ResultsError

HEAD_FILES = ("head.glb", "head.npz", "albedo.png", "latent.safetensors", "preview.png", "head.json")
EXTRA_FILES = ("photo.png", "debug.png")  # of a head only where its head.json names them; else a person's own
PRODUCT = "headstitch"
NEEDED = 48 << 20  # bytes that a head takes at the defaults, generously
STALE = 600.0  # seconds after which a partial folder is a leftover; writing one takes about a second


def is_head(path: Path) -> bool:
    """Whether the folder holds a head of ours: a head.json that says so."""
    try:
        record = json.loads((path / "head.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and record.get("product") == PRODUCT


def own_files(folder: Path) -> tuple[str, ...]:
    """The files of the head in ``folder``, there or not, head.json last. What a person put beside them is none."""
    try:
        named = json.loads((folder / "head.json").read_text("utf-8"))["files"]
        extra = tuple(name for name in EXTRA_FILES if name in named)
    except (OSError, ValueError, KeyError, TypeError):
        extra = ()
    return (*extra, *HEAD_FILES)


def check_writable(folder: Path, needed: int = NEEDED) -> None:
    """Ask whether a head can be written to ``folder``, before the long job begins. Leaves nothing behind.

    Args:
        folder: where the head shall go; it and its parents need not exist.
        needed: bytes that must be free.

    Raises:
        ResultsError: something else is there, the place cannot be written, or the disk is too full.
    """
    folder = _resolved(folder)
    with told(folder):
        recover(folder)
        _refuse_strangers(folder)
        above = folder.parent
        while not above.exists():
            above = above.parent
        probe = _beside(above / folder.name, "partial")
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
    folder = _resolved(folder)
    with told(folder):
        recover(folder)
        _refuse_strangers(folder)
        partial, made = _beside(folder, "partial"), []
        try:
            _make_parents(folder.parent, made)
            partial.mkdir()
            for name, content in files.items():
                with (partial / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            _sync_folder(partial)
            _swap(partial, folder)
        except BaseException:  # a Ctrl-C too leaves nothing half-written
            shutil.rmtree(partial, ignore_errors=True)
            with contextlib.suppress(OSError):
                recover(folder)
            with contextlib.suppress(OSError):
                for parent in reversed(made):
                    parent.rmdir()
            raise
    return folder


def write_file(path: Path, content: bytes) -> None:
    """Write one file in one piece: beside, then renamed. OSErrors pass; see ``told``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path, "partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def recover(folder: Path) -> None:
    """Mend what a kill in the middle of ``write_folder`` may have left beside ``folder``; does nothing otherwise."""
    folder = _resolved(folder)
    if not folder.parent.is_dir():
        return
    for old in sorted(folder.parent.glob(f".{_literal(folder.name)}.old-*")):
        if not is_head(old):  # what a finished replacement left, or none of ours
            with contextlib.suppress(OSError):  # only what is empty goes
                old.rmdir()
        elif not folder.exists():
            old.rename(folder)
        elif is_head(folder):
            _retire(old, folder)
    for partial in folder.parent.glob(f".{_literal(folder.name)}.partial-*"):
        names = {entry.name for entry in partial.iterdir()} if partial.is_dir() else {"not ours"}
        if names <= {*HEAD_FILES, *EXTRA_FILES} and time.time() - partial.stat().st_mtime > STALE:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn an OSError of the disk into a ResultsError whose sentence names ``path``."""
    try:
        yield
    except OSError as error:
        raise ResultsError(_sentence(path, error)) from error


def _sentence(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full, so {path} was not written; free some space or choose another place with -o."
    if error.errno == errno.EFBIG:
        return f"A file of {path} would exceed the size limit set for this process; raise it or choose another place."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
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


def _swap(partial: Path, folder: Path) -> None:
    """Put ``partial`` in the place of ``folder`` by renames alone."""
    if not is_head(folder):
        if folder.exists():
            folder.rmdir()  # it is empty
        partial.rename(folder)
        _sync_folder(folder.parent)
        return
    old = _beside(folder, "old")
    folder.rename(old)
    partial.rename(folder)
    _sync_folder(folder.parent)
    # The new head is in place: what is left to do cannot fail the job, and recover() would finish it.
    with contextlib.suppress(OSError):
        _retire(old, folder)


def _retire(old: Path, folder: Path) -> None:
    """Remove a replaced head; what a person had put into its folder moves over, or stays where it is."""
    ours = own_files(old)
    for entry in old.iterdir():
        if entry.name not in ours and not (folder / entry.name).exists():
            entry.rename(folder / entry.name)
    for name in ours:  # head.json last: until then recover() knows what this is
        (old / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something of the same name is in the new folder: keep both
        old.rmdir()


def _make_parents(parent: Path, made: list[Path]) -> None:
    """Make the folder and those above it; ``made`` receives those that were not there, outermost first."""
    missing = []
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        made.append(each)


def _beside(path: Path, kind: str) -> Path:
    """A fresh hidden name in the same folder, for what is not finished or not needed any more."""
    return path.with_name(f".{path.name}.{kind}-{secrets.token_hex(4)}")


def _resolved(folder: Path) -> Path:
    """The absolute path with links followed, so that a link to a folder stays a link."""
    return Path(os.path.realpath(folder.expanduser()))


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _literal(name: str) -> str:
    """The name with glob's own characters taken literally."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
