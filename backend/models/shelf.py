"""What stands in the models folder: listed, verified, removed. Under the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError
from ..system import ELSEWHERE, check_memory
from . import disk
from .bundle import Bundle, load_bundle
from .store import NAME, TAKEN, find_model, folder_of, models_folder

VERIFYING = 128 << 20  # bytes of memory that it takes beside the file that it looks at, generously
LEFTOVER = re.compile(rf"\.({NAME.pattern})\.(?:old|partial)-[0-9a-f]+")


@dataclass(frozen=True)
class Listed:
    """A model in the models folder."""

    name: str
    bytes: int  # on the disk
    bundle: Bundle | None  # None where something is wrong
    wrong: str | None  # the sentence that says what


def list_models() -> list[Listed]:
    """All models of the models folder by name, whole or not. Mends what a kill left there.

    Raises:
        ModelError: the folder cannot be read.
    """
    folder = models_folder()
    with disk.told(folder, "read"):
        if not folder.is_dir():
            return []
        for leftover in list(folder.iterdir()):
            if match := LEFTOVER.fullmatch(leftover.name):
                disk.recover(folder / match[1])
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and disk.is_bundle(entry))
    return [_listed(folder / name) for name in names]


def verify_model(name_or_path: str) -> Bundle:
    """Check every byte of a model, and that all of its tensors are what they should be.

    Raises:
        ModelError: something is wrong; the sentence says what.
        ResourceError: there is too little memory.
    """
    if name_or_path.lower() in TAKEN:
        raise ModelError(
            f"The {name_or_path.lower()} comes with Headstitch and is as whole as that; name an imported model."
        )
    bundle = load_bundle(name_or_path)
    check_memory(VERIFYING, mapped=max(size for _, size in bundle.files.values()), otherwise=ELSEWHERE)
    bundle.verify()
    return bundle


def remove_model(name: str) -> tuple[Path, int, list[str]]:
    """Remove a model of the models folder, damaged ones too.

    Returns:
        Its folder, the bytes that are free now, and the names of what stays there because it is not ours.

    Raises:
        ModelError: there is no such model, or the disk refuses.
    """
    if name.lower() in TAKEN:
        raise ModelError(f"The {name.lower()} comes with Headstitch and cannot be removed; name an imported model.")
    if not NAME.fullmatch(name):
        raise ModelError(
            f"{name[:200]!r} is no model's name; give a name that headstitch models list shows (what lies outside of "
            f"{models_folder()} is removed by hand)."
        )
    folder = folder_of(name)
    with disk.told(folder, "removed"):
        disk.recover(folder)
    if not folder.is_dir():
        find_model(name)  # says where it was looked for
        raise ModelError(f"{name} is a folder outside of {models_folder()}; remove it by hand.")
    disk.read_record(folder)
    size = _size(folder)
    return folder, size, disk.delete(folder)


def _listed(folder: Path) -> Listed:
    size = _size(folder)
    try:
        return Listed(folder.name, size, load_bundle(folder), None)
    except ModelError as error:
        return Listed(folder.name, size, None, str(error))


def _size(folder: Path) -> int:
    with disk.told(folder, "read"):
        return sum((folder / name).stat().st_size for name in disk.OURS if (folder / name).is_file())
