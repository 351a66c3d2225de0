"""Ctrl-C and a polite kill: one handler for both, and a flag that outlives what swallows the exception. Bottom floor.

A KeyboardInterrupt that reaches C++ code (a library's start, above all) may come back as an ImportError, or not at all,
or abort the process: slow imports are ``held``, and who catches errors, or reports progress, asks ``check`` first.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 130  # exit code after either

_stopped = threading.Event()
_holds = 0  # how many ``held`` blocks we are in


def check() -> None:
    """Raise KeyboardInterrupt when the job was told to stop."""
    if _stopped.is_set():
        raise KeyboardInterrupt


@contextmanager
def held() -> Iterator[None]:
    """Within it a stop waits, and is raised at the end. For the start of libraries, which bear no interruption."""
    global _holds
    _holds += 1
    try:
        yield
    finally:
        _holds -= 1
    if not _holds:
        check()


@contextmanager
def polite_stop() -> Iterator[None]:
    """Within it SIGINT and SIGTERM set the flag and raise KeyboardInterrupt; outside the main thread, nothing changes.

    A SIGINT that is ignored, as shells have it for jobs in the background, stays ignored.
    """
    within = signal.getsignal(signal.SIGTERM) is _stop
    if within or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    _stopped.clear()
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, _stop)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _stopped.clear()


def _stop(number: int, frame: FrameType | None) -> None:
    _stopped.set()
    if not _holds:
        raise KeyboardInterrupt
