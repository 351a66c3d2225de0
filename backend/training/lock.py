"""One writer of a folder at a time: a lock of the system's, which ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..errors import ResultsError

NAME = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Within it no other process may enter it for the same folder. OSErrors pass.

    Raises:
        ResultsError: another process is within.
    """
    # Never deleted: who opened it before the deletion would hold a lock on nothing.
    descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _take(descriptor):
            raise ResultsError(f"Another process is writing to {folder}; wait for it, or choose another folder.")
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
