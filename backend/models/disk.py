"""How a bundle reaches the disk: written beside, then renamed, so that a folder holds a whole model or none.

While a bundle is written the parent holds ``.NAME.partial-XXXX``; while an older one is replaced also
``.NAME.old-XXXX``. After a kill at any moment ``recover`` puts the older one back or finishes the replacement.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ..errors import ModelError

RECORD = "model.json"
GENERATOR = "generator.safetensors"
ENCODERS: dict[Literal["visible", "occluded"], str] = {
    "visible": "encoder_visible.safetensors",
    "occluded": "encoder_occluded.safetensors",
}
WEIGHTS = (GENERATOR, *ENCODERS.values())
OURS = (*WEIGHTS, RECORD)
STALE = 600.0  # seconds without a write after which a partial folder is a leftover
LONGEST_RECORD = 1 << 20  # bytes


def read_record(folder: Path) -> dict[str, Any]:
    """The content of a bundle's model.json.

    Raises:
        ModelError: there is none, or it is no JSON object of ours.
    """
    path = folder / RECORD
    with told(folder, "read"):
        if not path.is_file():
            raise ModelError(
                f"{folder} holds no model ({RECORD} is missing); headstitch models list shows what is there."
            )
        with path.open("rb") as file:
            content = file.read(LONGEST_RECORD + 1)
    try:
        if len(content) > LONGEST_RECORD:
            raise ValueError("it is too long")  # noqa: TRY301
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged; import the model again.") from error
    if not isinstance(record, dict) or "architecture" not in record or "format" not in record:
        raise ModelError(f"{path} does not describe a model of Headstitch; import the model again.")
    return record


def is_bundle(folder: Path) -> bool:
    """Whether a folder holds a model of ours, whole or not: its model.json says so."""
    try:
        read_record(folder)
    except ModelError:
        return False
    return True


@contextlib.contextmanager
def written_whole(folder: Path, needed: int, *, replace: bool) -> Iterator[Path]:
    """Within it a folder beside ``folder`` is filled; afterwards it stands in its place, or nothing changed.

    Args:
        folder: where the bundle goes; a bundle that is there is replaced only if ``replace``.
        needed: bytes that it takes.
        replace: as said; a person's own files in the older one move over.

    Raises:
        ModelError: something is there that may not be replaced, or the disk refuses.
    """
    folder = Path(os.path.realpath(folder.expanduser()))
    with told(folder, "written"):
        recover(folder)
        refuse(folder, replace=replace)
        made: list[Path] = []
        partial = beside(folder, "partial")
        try:
            _make_parents(folder.parent, made)
            _check_space(folder, needed)
            partial.mkdir()
            yield partial
            _sync_folder(partial)
            refuse(folder, replace=replace)  # it may have come meanwhile
            _swap(partial, folder)
        except BaseException:  # a Ctrl-C too leaves nothing half-written
            shutil.rmtree(partial, ignore_errors=True)
            with contextlib.suppress(OSError):
                recover(folder)
            with contextlib.suppress(OSError):
                for parent in reversed(made):
                    parent.rmdir()
            raise


def refuse(folder: Path, *, replace: bool) -> None:
    """Raise a ModelError when something stands in ``folder`` that may not be replaced."""
    if not folder.exists() and not folder.is_symlink():
        return
    if is_bundle(folder):
        if not replace:
            raise ModelError(
                f"There is already a model {folder.name} in {folder.parent}; give another --name, or --replace to "
                "put the new one in its place."
            )
    elif not folder.is_dir() or any(folder.iterdir()):
        raise ModelError(
            f"{folder} is something else than a model of Headstitch, and is left alone; give another --name."
        )


def recover(folder: Path) -> None:
    """Mend what a kill in the middle of a replacement may have left beside ``folder``; does nothing otherwise."""
    if not folder.parent.is_dir():
        return
    hidden = f".{glob.escape(folder.name)}"
    for old in sorted(folder.parent.glob(f"{hidden}.old-*")):
        if not is_bundle(old):  # what a finished replacement left, or none of ours
            with contextlib.suppress(OSError):  # only what is empty goes
                old.rmdir()
        elif not folder.exists():
            old.rename(folder)
        elif is_bundle(folder):
            _retire(old, folder)
    for partial in folder.parent.glob(f"{hidden}.partial-*"):
        with contextlib.suppress(FileNotFoundError):  # whoever writes there has just finished
            entries = list(partial.iterdir()) if partial.is_dir() else []
            latest = max(entry.stat().st_mtime for entry in [partial, *entries])
            if {entry.name for entry in entries} <= set(OURS) and time.time() - latest > STALE:
                shutil.rmtree(partial, ignore_errors=True)


def delete(folder: Path) -> list[str]:
    """Remove a bundle's files, model.json last, and its folder unless something else is in it.

    Returns:
        The names of what stays.
    """
    with told(folder, "removed"):
        if folder.is_symlink():  # whoever made the link decides about what it leads to
            folder.unlink()
            return []
        for name in OURS:
            (folder / name).unlink(missing_ok=True)
        left = sorted(entry.name for entry in folder.iterdir())
        if not left:
            folder.rmdir()
    return left


def sha256_of(path: Path) -> str:
    """The hash of a file, as hexadecimal digits. OSErrors pass; see ``told``."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Make sure that a file has reached the disk."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def told(path: Path, done: str) -> Iterator[None]:
    """Turn an OSError of the disk into a ModelError: ``path`` could not be ``done`` (read, written, removed)."""
    try:
        yield
    except OSError as error:
        raise ModelError(_sentence(path, done, error)) from error


def full(error: BaseException) -> bool:
    """Whether an error of the safetensors library tells of a full disk; it keeps only the system's words."""
    return any(f"(os error {number})" in str(error) for number in (errno.ENOSPC, errno.EDQUOT))


def _sentence(path: Path, done: str, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"The disk is full, so {path} was not {done}; free some space, or set HEADSTITCH_MODELS to a folder on "
            "another disk."
        )
    if error.errno == errno.ENOENT and done == "read":
        return f"{path} is not there; check the path."
    if error.errno == errno.EISDIR:
        return f"{path} is a folder; give a file."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{path} cannot be {done}, for lack of permission; change that, or choose another place."
    return f"{path} cannot be {done} ({error.strerror or error}); choose another place."


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise ModelError(
            f"Only {free >> 20} MB are free where {folder} shall go, and the model takes {needed >> 20} MB; "
            "free some space, or set HEADSTITCH_MODELS to a folder on another disk."
        )


def _swap(partial: Path, folder: Path) -> None:
    """Put ``partial`` in the place of ``folder`` by renames alone."""
    if not is_bundle(folder):
        if folder.exists():
            folder.rmdir()  # it is empty
        partial.rename(folder)
        _sync_folder(folder.parent)
        return
    old = beside(folder, "old")
    folder.rename(old)
    partial.rename(folder)
    _sync_folder(folder.parent)
    with contextlib.suppress(OSError):  # the new one is in place; recover() would finish the rest
        _retire(old, folder)


def _retire(old: Path, folder: Path) -> None:
    """Remove a replaced bundle; what a person had put into its folder moves over, or stays where it is."""
    for entry in old.iterdir():
        if entry.name not in OURS and not (folder / entry.name).exists():
            entry.rename(folder / entry.name)
    for name in OURS:  # model.json last: until then recover() knows what this is
        (old / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # something of the same name is in the new folder: keep both
        old.rmdir()


def beside(path: Path, kind: str) -> Path:
    """A fresh hidden name in the same folder, for what is not finished or not needed any more."""
    return path.with_name(f".{path.name}.{kind}-{secrets.token_hex(4)}")


def _make_parents(parent: Path, made: list[Path]) -> None:
    missing = []
    while not parent.exists():
        missing.append(parent)
        parent = parent.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        made.append(each)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
