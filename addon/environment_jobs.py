"""Jobs in the background: a thread, its child processes, and events that the main thread polls. Imports no bpy."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from . import environment_texts as texts
from .environment_failures import EnvironmentFailure, Finished, sentence_of

T = TypeVar("T")

TICK = 0.1  # seconds between two looks at the cancel flag
PACE_WINDOW = 20.0  # seconds whose pace says how long the rest takes
KILL_WAIT = 1.0  # seconds that a killed child may take to be gone

# Runs a program and ends it when our end of its stdin closes: all that still works when Blender is killed.
GUARD = """
import os, signal, subprocess, sys, threading
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def watch():
    os.read(0, 1)
    if os.name == "nt":
        subprocess.call(["taskkill", "/F", "/T", "/PID", str(child.pid)])
        os._exit(1)
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=watch, daemon=True).start()
code = child.wait()
os._exit(code if 0 <= code < 256 else 1)
"""


class Cancelled(Exception):  # noqa: N818  it is no error
    """The job was asked to stop."""


@dataclass(frozen=True)
class Event:
    """One thing that a job has to say.

    ``kind`` is ``progress``, ``done``, ``failed`` or ``cancelled``; the last three come once, at the end.
    """

    kind: str
    text: str = ""  # the stage in words, or the sentence of the end
    fraction: float = 0.0  # of the whole job, 0 to 1, never falling
    received: int = 0  # bytes, while something is downloaded
    total: int = 0  # bytes; 0 where nothing is downloaded
    seconds_left: float | None = None  # None while nobody can tell
    log: str = ""  # path of the log; empty where there is none


class Job(Generic[T]):
    """Work in a thread of its own. From Blender's main thread call ``poll``, ``cancel`` and read ``done``: none blocks.

    Args:
        work: does it; gets this job, for ``progress``, ``check`` and ``run``, and returns the result.
        log: where everything that children say is written, once the work has called ``begin_log``.
    """

    def __init__(self, work: Callable[[Job[T]], T], log: Path) -> None:
        self.log = log
        self.outcome = "running"  # then done, failed or cancelled
        self.error = ""  # the sentence, when it failed
        self._result: T | None = None
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._cancel = threading.Event()
        self._fraction = 0.0
        self._steps: deque[tuple[float, float]] = deque()  # (time, fraction), of the last seconds
        self._log_file: Any = None
        self._unlogged: list[str] = []
        self._held: tuple[int, ...] = ()
        self._thread = threading.Thread(target=self._work, args=(work,), name="headstitch environment", daemon=True)
        self._thread.start()

    # --- for the main thread -----------------------------------------------------------------------------------------

    def poll(self) -> list[Event]:
        """What happened since the last call; never waits."""
        events = []
        with contextlib.suppress(queue.Empty):
            while True:
                events.append(self._events.get_nowait())
        return events

    def cancel(self) -> None:
        """Ask the job to stop; it is over within 2 seconds, and ``poll`` says so. What is finished stays."""
        self._cancel.set()

    @property
    def done(self) -> bool:
        """Whether it is over, in whatever way."""
        return self.outcome != "running"

    @property
    def result(self) -> T:
        """What it made.

        Raises:
            EnvironmentFailure: it failed, was cancelled, or still runs.
        """
        if self.outcome != "done":
            raise EnvironmentFailure(self.error or texts.CANCELLED)
        return self._result  # pyright: ignore[reportReturnType]

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end: for scripts and tests, never for Blender's main thread. True when it is over."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # --- for the work ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise Cancelled when the job was asked to stop."""
        if self._cancel.is_set():
            raise Cancelled

    def progress(self, text: str, fraction: float, received: int = 0, total: int = 0) -> None:
        """Say how far the whole job is."""
        self.check()
        self._fraction = max(self._fraction, min(1.0, fraction))
        self._steps.append((time.monotonic(), self._fraction))
        while self._steps[-1][0] - self._steps[0][0] > PACE_WINDOW:
            self._steps.popleft()
        took, gained = (self._steps[-1][number] - self._steps[0][number] for number in (0, 1))
        left = (1 - self._fraction) * took / gained if took > 2 and gained > 0.005 else None
        self._events.put(Event("progress", text, self._fraction, received, total, left, self._log_path))

    def begin_log(self) -> None:
        """Open the log anew: called when nobody else can be writing it. What was said before comes first."""
        with contextlib.suppress(OSError):  # a log that cannot be written must not end the job: it is then left out
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self._log_file = self.log.open("w", encoding="utf-8", errors="replace")
            before, self._unlogged = self._unlogged, []
            for line in before:
                self.write(line)

    def write(self, line: str) -> None:
        """A line for the log."""
        if self._log_file is None:
            self._unlogged.append(line)
            return
        with contextlib.suppress(OSError):
            self._log_file.write(line.rstrip() + "\n")
            self._log_file.flush()

    @property
    def _log_path(self) -> str:
        return "" if self._log_file is None else str(self.log)

    def hold(self, *descriptors: int) -> None:
        """Open files that children keep open too: a lock is free only when the last child is gone."""
        self._held = descriptors

    def run(
        self,
        command: Sequence[str | os.PathLike[str]],
        *,
        env: dict[str, str],
        guard: str | os.PathLike[str] | None = None,
        on_line: Callable[[str], object] | None = None,
        tick: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> Finished:
        """Run a program to its end; its output goes to the log, line by line to ``on_line``, and its tail is returned.

        Args:
            command: program and arguments.
            env: its whole environment.
            guard: a Python that ends the program when we die; None for what is over at once by itself.
            on_line: called with every line of stdout and stderr.
            tick: called about ten times a second.
            timeout: seconds; afterwards the program is killed.

        Raises:
            Cancelled: the job was cancelled; the program is dead.
            EnvironmentFailure: the timeout passed; the program is dead.
            OSError: the program cannot be started.
        """
        words = [os.fspath(word) for word in command]
        self.write("$ " + subprocess.list2cmdline(["(code)" if "\n" in word else word for word in words]))
        ends = None if timeout is None else time.monotonic() + timeout
        if guard is not None:
            words = [os.fspath(guard), "-I", "-c", GUARD, *words]
        with self._start(words, env) as child:
            tail: list[str] = []
            try:
                for line in self._lines(child, tick, ends):
                    tail.append(line)
                    del tail[:-400]
                    if not line.startswith("Progress "):
                        self.write(line)
                    if on_line is not None:
                        on_line(line)
                code = child.wait(timeout=60)
            except TimeoutError:
                kill(child)
                name, seconds = Path(command[0]).name, round(timeout or 0)
                raise EnvironmentFailure(texts.TIMED_OUT.format(name=name, seconds=seconds)) from None
            except BaseException:
                kill(child)
                raise
        self.write(f"(code {code})")
        return Finished(code, tail)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _start(self, words: list[str], env: dict[str, str]) -> subprocess.Popen[bytes]:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        if sys.platform == "win32":
            flags = subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
            child = subprocess.Popen(words, env=env, creationflags=flags, **pipes)
        else:
            child = subprocess.Popen(words, env=env, start_new_session=True, pass_fds=self._held, **pipes)
        return cast("subprocess.Popen[bytes]", child)

    def _lines(
        self, child: subprocess.Popen[bytes], tick: Callable[[], object] | None, ends: float | None
    ) -> Iterator[str]:
        """The child's lines as they come.

        Raises:
            Cancelled: the job was cancelled.
            TimeoutError: the clock passed ``ends``.
        """
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(child, lines), daemon=True).start()
        while True:
            self.check()
            if ends is not None and time.monotonic() > ends:
                raise TimeoutError
            if tick is not None:
                tick()
            try:
                line = lines.get(timeout=TICK)
            except queue.Empty:
                continue
            if line is None:
                return
            yield line

    def _work(self, work: Callable[[Job[T]], T]) -> None:
        try:
            self._result = work(self)
            end = "done", texts.STAGE_DONE
        except Cancelled:
            end = "cancelled", texts.CANCELLED
        except EnvironmentFailure as failure:
            end = "failed", str(failure)
        except OSError as error:
            self.write(traceback.format_exc())
            end = "failed", sentence_of(error)
        except Exception as error:  # noqa: BLE001  whatever happened must reach the panel, not a dead thread
            self.write(traceback.format_exc())
            end = "failed", texts.UNEXPECTED.format(reason=f"{type(error).__name__}: {error}")
        self.write(f"{end[0]}: {end[1]}")
        self.error = "" if end[0] == "done" else end[1]
        path = self._log_path
        if self._log_file is not None:
            with contextlib.suppress(OSError):
                self._log_file.close()
        self.outcome = end[0]  # before the event: whoever reads it may ask for the result
        self._events.put(Event(end[0], end[1], 1.0 if end[0] == "done" else self._fraction, log=path))


def _read(child: subprocess.Popen[bytes], lines: queue.SimpleQueue[str | None]) -> None:
    assert child.stdout is not None
    with contextlib.suppress(OSError, ValueError):  # the pipe was closed when the child was killed
        for line in child.stdout:
            lines.put(line.decode("utf-8", "replace").rstrip("\r\n"))
    lines.put(None)


def kill(child: subprocess.Popen[bytes]) -> None:
    """End a child and all that it started, now."""
    if sys.platform == "win32":  # by the documentation: the tree, then the guard itself if that failed
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            words = ["taskkill", "/F", "/T", "/PID", str(child.pid)]
            subprocess.run(words, check=False, timeout=KILL_WAIT, creationflags=subprocess.CREATE_NO_WINDOW, **quiet)
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        child.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(KILL_WAIT)
