"""A bundle's folder on the disk: what is ours in it, and what is said when it cannot be read, written or removed.

It holds a whole model or none (``backend.disk``). Stands under bundles.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from .. import disk as whole
from ..errors import ModelError

RECORD = "model.json"
GENERATOR = "generator.safetensors"
ENCODERS: dict[Literal["visible", "occluded"], str] = {
    "visible": "encoder_visible.safetensors",
    "occluded": "encoder_occluded.safetensors",
}
WEIGHTS = (GENERATOR, *ENCODERS.values())
OURS = (*WEIGHTS, RECORD)
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


MODEL = whole.Kind(is_bundle, lambda folder: OURS, frozenset(OURS))


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
    folder = whole.resolved(folder)
    with (
        told(folder, "written"),
        whole.written_whole(folder, MODEL, lambda: refuse(folder, replace=replace)) as partial,
    ):
        _check_space(folder, needed)
        yield partial


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
    whole.recover(whole.resolved(folder), MODEL)


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


@contextlib.contextmanager
def told(path: Path, done: str) -> Iterator[None]:
    """Turn an OSError of the disk into a ModelError: ``path`` could not be ``done`` (read, written, removed).

    What is for lack of memory (a file that cannot be mapped) becomes a MemoryError.
    """
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MemoryError(str(error)) from error
        raise ModelError(_sentence(path, done, error)) from error


def _sentence(path: Path, done: str, error: OSError) -> str:
    if error.errno in whole.FULL:
        return (
            f"The disk is full, so {path} was not {done}; free some space, or set HEADSTITCH_MODELS to a folder on "
            "another disk."
        )
    if error.errno == errno.ENOENT and done == "read":
        return f"{path} is not there; check the path."
    if error.errno == errno.EISDIR:
        return f"{path} is a folder; give a file."
    if error.errno in whole.DENIED:
        return f"{path} cannot be {done}, for lack of permission; change that, or choose another place."
    if error.errno in (errno.ENOTDIR, errno.EEXIST) and done == "written":
        return f"{path} cannot be made because a file stands in its way; set HEADSTITCH_MODELS to another folder."
    return f"{path} cannot be {done} ({error.strerror or error}); choose another place."


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise ModelError(
            f"Only {free >> 20} MB are free where {folder} shall go, and the model takes {needed >> 20} MB; "
            "free some space, or set HEADSTITCH_MODELS to a folder on another disk."
        )
