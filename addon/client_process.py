"""The backend as a child process: its pipes served by threads, its end by signal. Imports no bpy."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ..backend.protocol import LONGEST_ANSWER, Lines
from .environment_system import child_environment

TAIL = 16 << 10  # bytes of what it last said that are kept in memory
LONGEST_LOG = 8 << 20  # bytes; what comes after is read and forgotten


class Process:
    """A running backend. Nothing here waits but ``kill`` on Windows.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        log: the file that takes what it writes to stderr.
        tell: called from other threads with every line of stdout, None for one that is too long; at its end with b"".

    Raises:
        OSError: it cannot be started, or the log not be written.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, log: Path, tell: Callable[[Process, bytes | None], None]
    ) -> None:
        self._tell = tell
        self._tail = b""
        self._drained = threading.Event()
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._log = log.open("ab", buffering=0)
        how = {}
        if sys.platform == "win32":  # from Python's and Windows' documentation
            how["creationflags"] = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
        else:
            how["start_new_session"] = True  # so that a Ctrl-C in Blender's terminal is not for the backend
        try:
            self._child = subprocess.Popen(
                [*command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=folder,
                env=child_environment(Path(tempfile.gettempdir())),
                **how,
            )
        except BaseException:
            self._log.close()
            raise
        for work in (self._read, self._drain, self._write):
            threading.Thread(target=work, name="headstitch backend", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._child.poll()

    @property
    def drained(self) -> bool:
        """Whether all that it wrote to stderr is in the log and in ``tail``."""
        return self._drained.is_set()

    @property
    def tail(self) -> list[str]:
        """The last lines that it wrote to stderr, without empty ones."""
        lines = self._tail.decode("utf-8", "replace").splitlines()
        return [line.strip() for line in lines if line.strip()]

    def send(self, line: bytes) -> None:
        """Write a line to its stdin, soon."""
        self._outgoing.put(line)

    def close_stdin(self) -> None:
        """Close its stdin when all is written: it then ends by itself."""
        self._outgoing.put(None)

    def kill(self) -> None:
        """End it at once, and its children."""
        if self._child.poll() is not None:
            return
        if sys.platform == "win32":
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                line = ["taskkill", "/F", "/T", "/PID", str(self._child.pid)]
                subprocess.run(line, capture_output=True, creationflags=subprocess.CREATE_NO_WINDOW, timeout=2)
        else:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
        self._child.kill()

    # --- threads -----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        stream = self._child.stdout
        lines = Lines(LONGEST_ANSWER)
        with contextlib.closing(stream) as stdout:  # pyright: ignore[reportArgumentType]
            while data := os.read(stdout.fileno(), 1 << 16):
                for line in lines.feed(data):
                    self._tell(self, line)
        self._tell(self, b"")

    def _drain(self) -> None:
        """Read stderr: a child whose stderr is full stands still."""
        stream, room = self._child.stderr, LONGEST_LOG
        with contextlib.closing(stream) as stderr, self._log:  # pyright: ignore[reportArgumentType]
            while data := os.read(stderr.fileno(), 1 << 16):
                self._tail = (self._tail + data)[-TAIL:]
                with contextlib.suppress(OSError):  # a full disk must not stop the reading; ``tail`` has the end of it
                    self._log.write(data[:room])
                room = max(0, room - len(data))
        self._drained.set()

    def _write(self) -> None:
        stream = self._child.stdin
        with contextlib.suppress(OSError), contextlib.closing(stream) as stdin:  # pyright: ignore[reportArgumentType]
            while (line := self._outgoing.get()) is not None:
                stdin.write(line)
                stdin.flush()
