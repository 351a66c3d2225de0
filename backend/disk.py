"""How a folder reaches the disk: written beside, then renamed, so that its place holds a whole one or none.

While a folder is written its parent holds ``.NAME.partial-XXXX``; while an older one is replaced also
``.NAME.old-XXXX``. After a kill at any moment ``recover`` puts the older one back or finishes the replacement, so
nothing is lost. What such a folder is (a head, a model) its ``Kind`` says, and what is said when the disk refuses,
whoever calls. Stands beside system.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
STALE = 600.0  # seconds without a write after which a partial folder is a leftover


@dataclass(frozen=True)
class Kind:
    """What the folders of one kind are."""

    is_one: Callable[[Path], bool]
    """Whether a folder holds one: one of its files says so."""
    files: Callable[[Path], tuple[str, ...]]
    """The names of its files in a folder, there or not, the one that says so last. A person's own are none of them."""
    names: frozenset[str]
    """All names that its files may have."""


@contextlib.contextmanager
def written_whole(folder: Path, kind: Kind, refuse: Callable[[], None]) -> Iterator[Path]:
    """Within it a folder beside ``folder`` is filled; afterwards it stands in its place, or nothing changed.

    One of the kind that is there is replaced; a person's own files in it move over. OSErrors pass.

    Args:
        folder: where it goes, as ``resolved`` gives it.
        kind: what it is.
        refuse: raises where something stands there that may not be replaced; asked before and after.
    """
    recover(folder, kind)
    refuse()
    made: list[Path] = []
    partial = beside(folder, "partial")
    try:
        _make_parents(folder.parent, made)
        partial.mkdir()
        yield partial
        sync_folder(partial)
        refuse()  # it may have come meanwhile
        _swap(partial, folder, kind)
    except BaseException:  # a Ctrl-C too leaves nothing half-written
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):
            recover(folder, kind)
        with contextlib.suppress(OSError):
            for parent in reversed(made):
                parent.rmdir()
        raise


def recover(folder: Path, kind: Kind) -> None:
    """Mend what a kill within ``written_whole`` may have left beside ``folder``; does nothing otherwise."""
    if not folder.parent.is_dir():
        return
    hidden = f".{glob.escape(folder.name)}"
    for old in sorted(folder.parent.glob(f"{hidden}.old-*")):
        if not kind.is_one(old):  # what a finished replacement left, or none of ours
            with contextlib.suppress(OSError):  # only what is empty goes
                old.rmdir()
        elif not folder.exists():
            old.rename(folder)
        elif kind.is_one(folder):
            _retire(old, folder, kind)
    for partial in folder.parent.glob(f"{hidden}.partial-*"):
        with contextlib.suppress(FileNotFoundError):  # whoever writes there has just finished
            if _is_leftover(partial, kind):
                shutil.rmtree(partial, ignore_errors=True)


def write_synced(path: Path, content: bytes) -> None:
    """Write a file that was not there, and make sure that it has reached the disk."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def beside(path: Path, kind: str) -> Path:
    """A fresh hidden name in the same folder, for what is not finished or not needed any more."""
    return path.with_name(f".{path.name}.{kind}-{secrets.token_hex(4)}")


def resolved(folder: Path) -> Path:
    """The absolute path with links followed, so that a link to a folder stays a link."""
    return Path(os.path.realpath(folder.expanduser()))


def sync(path: Path) -> None:
    """Make sure that a file has reached the disk."""
    _sync(path, os.O_RDWR)


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder have reached the disk."""
    if os.name != "nt":  # folders cannot be opened there
        _sync(folder, os.O_RDONLY)


def _sync(path: Path, mode: int) -> None:
    handle = os.open(path, mode)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _is_leftover(partial: Path, kind: Kind) -> bool:
    """Whether nobody writes there any more, and nothing is in it but ours."""
    if not partial.is_dir():
        return False
    entries = list(partial.iterdir())
    latest = max(entry.stat().st_mtime for entry in [partial, *entries])  # a large file takes minutes
    return kind.names.issuperset(entry.name for entry in entries) and time.time() - latest > STALE


def _swap(partial: Path, folder: Path, kind: Kind) -> None:
    """Put ``partial`` in the place of ``folder`` by renames alone."""
    if not kind.is_one(folder):
        if folder.exists():
            folder.rmdir()  # it is empty
        partial.rename(folder)
        sync_folder(folder.parent)
        return
    old = beside(folder, "old")
    folder.rename(old)
    partial.rename(folder)
    sync_folder(folder.parent)
    # The new one is in place: what is left to do cannot fail the job, and recover() would finish it.
    with contextlib.suppress(OSError):
        _retire(old, folder, kind)


def _retire(old: Path, folder: Path, kind: Kind) -> None:
    """Remove what was replaced; what a person had put into its folder moves over, or stays where it is."""
    ours = kind.files(old)
    for entry in old.iterdir():
        if entry.name not in ours and not (folder / entry.name).exists():
            entry.rename(folder / entry.name)
    for name in ours:  # the one that tells what this is comes last: until then recover() knows it
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
