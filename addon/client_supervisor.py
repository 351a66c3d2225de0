"""The thread that owns the backend process: starts it, hands it one job at a time, ends it. Imports no bpy."""

from __future__ import annotations

import contextlib
import os
import queue
import re
import shutil
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..backend import protocol
from ..backend.protocol import Answer, Failure, ProtocolError
from . import client_texts as texts
from .client_process import Process

HELLO = "hello"  # its id; jobs have numbers
OLD_SESSION = 7 * 86400.0  # seconds after which a session's logs are thrown away


@dataclass(frozen=True)
class Patience:
    """How long is waited for what, in seconds."""

    start: float = 120.0  # for the answer to hello
    ask: float = 1.2  # for what was asked to end, before it is killed
    silence: float = 60.0  # without any line; a library may hold Python's lock for long
    stall: float = 300.0  # of a job without a new stage and without work for the processor
    work: float = 0.5  # of the processor, that count as work
    tick: float = 0.05


class Asked(Protocol):
    """A request of the add-on: what it is, and its number."""

    id: int
    message: Any


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    ``kind``: ``starting``, ``ready`` (message: Welcome), ``ended`` (of the process; ``sentence`` is empty where it was
    meant to); of a job ``running``, ``progress`` (Progress), ``preview`` (Preview), and at its end ``done`` (Finished
    or Models), ``failed`` (Failure) or ``cancelled``.
    """

    kind: str
    job: Any = None
    message: Any = None
    sentence: str = ""


class Supervisor:
    """Does what it is told in ``inbox`` and says what happens in ``events``.

    Args:
        command: the backend's command line, or what gives it when the process shall start; what it raises is shown.
        session: a folder of its own, for logs and previews.
        name: who asks, for the backend's log.
        patience: how long is waited.
    """

    def __init__(
        self, command: Sequence[str] | Callable[[], Sequence[str]], session: Path, name: str, patience: Patience
    ) -> None:
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.pid: int | None = None
        self._inbox: queue.SimpleQueue[tuple[str, Any, Any]] = queue.SimpleQueue()
        self._command, self._session, self._name, self._patience = command, session, name, patience
        self._thread = threading.Thread(target=self._run, name="headstitch client", daemon=True)
        self._process: Process | None = None
        self._ready = False
        self._why = ""  # the process shall end: "asked", "cancel", or the sentence of what is wrong
        self._kill_at: float | None = None
        self._waiting: deque[Asked] = deque()
        self._flying: dict[int, Asked] = {}  # sent and not answered
        self._running: Asked | None = None
        self._begun = False  # the running job has reported
        self._again: set[int] = set()  # jobs that were sent to a process that was gone already
        self._cancelling = False
        self._closing = False
        self._clock = self._last = 0.0  # a clock that stands still while the machine sleeps
        self._started = self._heard = self._worked = 0.0
        self._ended: float | None = None  # when stdout ended
        self._cpu = 0.0
        self._swept = False

    # --- for the main thread: none of these waits --------------------------------------------------------------------

    def tell(self, what: str, about: Any = None) -> None:
        """``start``, ``ask`` (a request), ``cancel`` (a request), ``free`` or ``close``."""
        if self._thread.ident is None and what in ("start", "ask"):
            self._thread.start()
        if self._thread.ident is not None:
            self._inbox.put((what, about, None))

    def wait(self, seconds: float) -> None:
        """Wait for the end after ``close``."""
        if self._thread.ident is not None:
            self._thread.join(seconds)

    # --- the thread --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._last = time.monotonic()
        while not (self._closing and self._process is None):
            try:
                what, about, data = self._inbox.get(timeout=self._patience.tick if self._process else None)
            except queue.Empty:
                what, about, data = "", None, None
            now = time.monotonic()
            self._clock += min(now - self._last, 1.0) if self._process else 0.0
            self._last = now
            try:
                self._step(what, about, data)
            except Exception as error:  # noqa: BLE001 - a defect must not leave jobs that never end
                traceback.print_exc()
                self._give_up(f"{type(error).__name__}: {error}")

    def _step(self, what: str, about: Any, data: bytes | None) -> None:
        if what == "line":
            self._line(about, data)
        elif what:
            getattr(self, f"_{what}")(about)
        self._look()

    def _give_up(self, reason: str) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.close_stdin()
            self._process, self.pid = None, None
        for asked in [*self._flying.values(), *self._waiting]:
            self._finish(asked, "failed", sentence=texts.DEFECT.format(reason=_plain(reason)))
        self._waiting.clear()
        self._say("ended")

    def _start(self, _: Any = None) -> None:
        if self._process is not None or self._closing:
            return
        self._say("starting")
        try:
            command = [str(word) for word in (self._command() if callable(self._command) else self._command)]
        except Exception as error:  # noqa: BLE001 - the environment's own sentence
            self._not_started(str(error) or type(error).__name__)
            return
        try:
            self._make_session()
            self._process = Process(command, self._session, self._session / "backend.log", self._hear)
        except OSError as error:
            self._not_started(_why_not_started(error, command[0], self._session))
            return
        self.pid = self._process.pid
        self._ready, self._why, self._kill_at, self._ended, self._cpu = False, "", None, None, 0.0
        self._started = self._heard = self._clock
        self._send(HELLO, protocol.Hello(protocol.PROTOCOL, self._name, str(self._session)))

    def _ask(self, asked: Asked) -> None:
        if self._closing:
            self._finish(asked, "cancelled", sentence=texts.CLOSED)
            return
        self._waiting.append(asked)
        if self._process is None:
            self._start()

    def _cancel(self, asked: Asked) -> None:
        if asked in self._waiting:
            self._waiting.remove(asked)
            self._finish(asked, "cancelled")
        elif asked is self._running and not self._cancelling:
            self._cancelling = True
            self._send(f"cancel-{asked.id}", protocol.Cancel(asked.id))
            self._end("cancel", ask=False)

    def _free(self, _: Any = None) -> None:
        if self._process is not None:
            self._cancelling = self._running is not None
            self._end("asked")

    def _close(self, _: Any = None) -> None:
        self._closing = True
        for asked in self._waiting:
            self._finish(asked, "cancelled", sentence=texts.CLOSED)
        self._waiting.clear()
        self._free()
        if self._process is None:
            self._sweep_own()

    def _end(self, why: str, *, ask: bool = True) -> None:
        """Have the process end: asked, then killed."""
        if self._why in ("", "cancel"):
            self._why = why
        self._kill_at = min(self._kill_at or self._clock + self._patience.ask, self._clock + self._patience.ask)
        if ask and self._process is not None:
            self._send("shutdown", protocol.Shutdown())
            self._process.close_stdin()

    def _kill(self, sentence: str) -> None:
        if self._process is not None and self._why in ("", "cancel"):
            self._why = sentence
            self._process.kill()

    # --- what it says ------------------------------------------------------------------------------------------------

    def _hear(self, process: Process, line: bytes | None) -> None:
        """Called by the process's threads."""
        self._inbox.put(("line", process, line))

    def _line(self, process: Process | None, line: bytes | None) -> None:
        if process is None or process is not self._process:
            return
        self._heard = self._clock
        if line == b"":
            self._ended = self._clock
            self._kill_at = min(self._kill_at or self._clock + self._patience.ask, self._clock + self._patience.ask)
            return
        try:
            if line is None:
                raise ProtocolError(protocol.INVALID_REQUEST, "a line without end")  # noqa: TRY301
            reply = protocol.decode_reply(line)
        except ProtocolError as error:
            if self._ready:  # before, a Python may greet in its own way
                self._kill(texts.GARBLED.format(reason=_plain(str(error))))
            return
        if isinstance(reply, Answer | Failure):
            self._replied(reply)
        elif isinstance(reply, protocol.Alive):
            if reply.cpu_seconds > self._cpu + self._patience.work:
                self._cpu, self._worked = reply.cpu_seconds, self._clock
        elif self._running is not None and reply.job == self._running.id:
            self._worked, self._begun = self._clock, True
            self._say("preview" if isinstance(reply, protocol.Preview) else "progress", self._running, reply)

    def _replied(self, reply: Answer | Failure) -> None:
        if reply.id == HELLO:
            self._greeted(reply)
            return
        asked = self._flying.pop(reply.id, None) if isinstance(reply.id, int) else None
        if asked is None:
            return
        mine = asked is self._running
        if isinstance(reply, Answer):
            try:
                result = protocol.read_answer(protocol.method_of(asked.message), reply.result)
            except ProtocolError as error:
                self._flying[asked.id] = asked
                self._kill(texts.GARBLED.format(reason=_plain(str(error))))
                return
            self._finish(asked, "done", result)
        elif reply.code == protocol.CANCELLED and self._cancelling:
            self._finish(asked, "cancelled")
        else:
            self._finish(asked, "failed", reply, reply.sentence)
        if mine and self._why == "cancel":  # it was in time
            self._why, self._kill_at = "", None

    def _greeted(self, reply: Answer | Failure) -> None:
        try:
            if isinstance(reply, Failure):
                self._kill(texts.OTHER_PROTOCOL.format(reason=_plain(reply.sentence)))
                return
            welcome = protocol.read_answer(HELLO, reply.result)
        except ProtocolError as error:
            self._kill(texts.OTHER_PROTOCOL.format(reason=_plain(str(error))))
            return
        self._ready = True
        self._say("ready", message=welcome)

    # --- what it does not say ----------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Is it there, does it work, may it have the next job?"""
        process, patience = self._process, self._patience
        if process is None:
            return
        if process.returncode is not None:
            if self._ended is None:  # something else may hold its pipe
                self._ended = self._clock
            if process.drained or self._clock > self._ended + 0.5:
                self._gone(process)
            return
        if self._kill_at is not None and self._clock >= self._kill_at:
            process.kill()
        elif not self._ready and self._clock > self._started + patience.start:
            self._kill(texts.SLOW_START.format(seconds=patience.start))
        elif self._ready and self._clock > self._heard + patience.silence:
            self._kill(texts.SILENT.format(seconds=patience.silence))
        elif self._running is not None and self._clock > self._worked + patience.stall:
            self._kill(texts.STALLED.format(seconds=patience.stall))
        elif self._ready and not self._why:
            self._send_next()

    def _send_next(self) -> None:
        for asked in list(self._waiting):
            is_job = not isinstance(asked.message, protocol.ListModels)
            if is_job and self._running is not None:
                continue
            self._waiting.remove(asked)
            self._flying[asked.id] = asked
            self._send(asked.id, asked.message)
            if is_job:
                self._running, self._worked = asked, self._clock
                self._begun = self._cancelling = False
                self._say("running", asked)

    def _gone(self, process: Process) -> None:
        """The process has ended: tell everyone whom it concerns, and start it anew for those who still wait."""
        code = process.returncode or 0
        meant = self._why in ("asked", "cancel")
        sentence = "" if meant else self._why or _why_ended(code, process.tail, started=self._ready)
        process.close_stdin()
        self._process, self.pid = None, None
        again = []
        for asked in list(self._flying.values()):
            if asked is self._running and self._cancelling:
                self._finish(asked, "cancelled")
            elif not self._closing and (meant or self._was_too_late(asked)):
                again.append(asked)
            else:
                self._finish(asked, "failed" if sentence else "cancelled", sentence=sentence or texts.CLOSED)
        self._flying.clear()
        self._running = None
        self._waiting.extendleft(reversed(again))
        if not self._ready and sentence:
            self._not_started(sentence)
        else:
            self._say("ended", sentence=sentence)
        if self._closing:
            self._sweep_own()
        elif self._waiting:
            self._start()

    def _was_too_late(self, asked: Asked) -> bool:
        """Whether the process died before it had begun with this: once, another one gets it."""
        late = self._ready and asked.id not in self._again and not (asked is self._running and self._begun)
        self._again.add(asked.id)
        return late

    def _not_started(self, sentence: str) -> None:
        """It would not start for the next one either."""
        for asked in self._waiting:
            self._finish(asked, "failed", sentence=sentence)
        self._waiting.clear()
        self._say("ended", sentence=sentence)

    # --- small things ------------------------------------------------------------------------------------------------

    def _finish(self, asked: Asked, kind: str, message: Any = None, sentence: str = "") -> None:
        if asked is self._running:
            self._running = None
        self._flying.pop(asked.id, None)
        if kind == "failed" and message is None:
            message = Failure(asked.id, protocol.FAILED, sentence, "Backend", 1, str(self._session / "backend.log"))
        self._say(kind, asked, message, sentence or (texts.CANCELLED if kind == "cancelled" else ""))

    def _say(self, kind: str, job: Any = None, message: Any = None, sentence: str = "") -> None:
        self.events.put(Event(kind, job, message, sentence))

    def _send(self, number: protocol.Id, message: Any) -> None:
        if self._process is not None:
            self._process.send(protocol.encode(protocol.Request(number, message)))

    def _make_session(self) -> None:
        self._session.mkdir(parents=True, exist_ok=True)
        if self._swept:
            return
        self._swept = True
        for old in self._session.parent.glob("session-*"):
            with contextlib.suppress(OSError):  # another Blender sweeps too
                if old.is_dir() and time.time() - old.stat().st_mtime > OLD_SESSION:
                    shutil.rmtree(old)

    def _sweep_own(self) -> None:
        """The previews have been seen; the log stays for a while."""
        for preview in self._session.glob("preview-*"):
            with contextlib.suppress(OSError):
                preview.unlink()


def _why_not_started(error: OSError, program: str, session: Path) -> str:
    reason = error.strerror or str(error)
    if error.filename is not None and Path(os.fsdecode(error.filename)).is_relative_to(session.parent):
        return texts.NO_FOLDER.format(folder=session.parent, reason=reason)
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return texts.NO_PROGRAM.format(program=program)
    if isinstance(error, PermissionError):
        return texts.NOT_ALLOWED.format(program=program)
    return texts.NO_START.format(reason=reason)


def _why_ended(code: int, tail: list[str], *, started: bool) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        reason = texts.SIGNAL.format(name=name)
    else:
        reason = texts.EXIT_CODE.format(code=code if code < 1 << 31 else hex(code))
    if started:
        if sys.platform != "win32" and code == -signal.SIGKILL:
            return texts.KILLED
        return (texts.CRASHED if code < 0 else texts.ENDED).format(reason=reason)
    for line in reversed(tail):
        if match := re.search(r"No module named '?([\w.]+)", line):
            return texts.LACKS_PACKAGE.format(package=match[1].partition(".")[0])
    return texts.NO_START.format(reason=_plain(tail[-1])[:300] if tail else reason)


def _plain(sentence: str) -> str:
    """For use amid another sentence."""
    return sentence.rstrip(". ")
