"""The backend process: requests in, one job at a time, notifications out. Stands on the journey and under the command
line; ``docs/protocol.md`` tells what goes over the wire.

Three threads: the main thread works on jobs (signals and interruptions reach it alone), one reads requests and answers
what is quick, one says every second that the process is alive. What is heavy is imported by the first job.
"""

from __future__ import annotations

import _thread
import collections
import contextlib
import math
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from . import protocol, stop
from .errors import HeadstitchError
from .progress import Progress
from .protocol import Answer, Failure, Id, ProtocolError
from .system import plain_errors
from .workshop import Workshop

ALIVE = 1.0  # seconds between two signs of life
GRACE = 3.0  # seconds that a job may take to end itself when the process shall
LOADING = "loading the libraries"


def serve() -> int:
    """Serve the process's own stdin and stdout until stdin closes, and return the exit code.

    From here on descriptor 1 leads where descriptor 2 does, so that nothing a library prints gets between messages.
    """
    incoming, outgoing = os.dup(0), os.dup(1)  # which no child inherits
    os.dup2(2, 1)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    server = Server(incoming, outgoing, Workshop(), last_resort=os._exit)
    code = server.run()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)  # all is said and written; libraries may take their time at exit, or crash


@dataclass(eq=False)
class _Job:
    id: Id
    message: protocol.Reconstruct | protocol.Rebake
    cancelled: bool = False


class Server:
    """Answers requests from one pipe on another.

    Args:
        incoming: descriptor that requests come from.
        outgoing: descriptor that answers go to.
        workshop: does the work.
        last_resort: ends the process when a job does not, a while after it should; None leaves it be.
    """

    def __init__(
        self, incoming: int, outgoing: int, workshop: Workshop, *, last_resort: Callable[[int], Any] | None = None
    ) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._workshop = workshop
        self._last_resort = last_resort
        self._lock = threading.Lock()  # of what follows
        self._waiting: collections.deque[_Job] = collections.deque()
        self._running: _Job | None = None
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()  # may be put to by a signal's handler
        self._ending: str | None = None  # why: "shutdown", "eof" or "signal"
        self._ending_since = math.inf
        self._interruptible = False  # whether the main thread is amid a job's work
        self._postponed = False  # an interruption came at a bad moment
        self._broken_off = False  # the running job's work was interrupted: once is enough, it may be tidying up
        self._interrupts: collections.deque[None] = collections.deque()  # our own that the handler has not seen yet
        self._writing = threading.Lock()
        self._previews: list[Path] = []
        self._jobs = 0  # begun so far
        self._over = threading.Event()
        # Of the reader's thread alone:
        self._folder: Path | None = None
        self._greeted = False

    def run(self) -> int:
        """Serve until stdin closes, a shutdown is asked for, or SIGINT or SIGTERM comes; the exit code."""
        with self._handling_signals():
            for work in (self._read, self._say_alive):
                threading.Thread(target=work, daemon=True).start()
            while self._ending is None:
                self._wake.get()
                with self._lock:
                    job = self._running = self._waiting.popleft() if self._waiting else None
                if job is not None and self._ending is None:
                    self._work(job)
        self._over.set()
        if self._ending != "shutdown":  # nobody is left who could remove them
            for path in self._previews:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        return stop.STOPPED if self._ending == "signal" else 0

    # --- the main thread: jobs ---------------------------------------------------------------------------------------

    def _work(self, job: _Job) -> None:
        """Do a job, and answer it in every case."""
        reply: Answer | Failure | None = None
        try:
            with stop.polite_stop(), self._interruptions():
                try:
                    reply = Answer(job.id, self._do(job))
                except Exception as error:  # noqa: BLE001 - a stop may come back as a library's error
                    reply = None if self._stopped(job) else self._failure(job.id, error)
                except SystemExit as error:
                    reply = self._failure(job.id, error)
                self._interruptible = False
        except KeyboardInterrupt:
            if not self._stopped(job):  # between two handlers
                self._end("signal")
        with self._lock:
            self._running = None
        if reply is None:
            reply = _cancelled(job.id) if job.cancelled else _cancelled(job.id, "The backend was stopped")
        self._reply(reply)

    def _do(self, job: _Job) -> protocol.Finished:
        numbers = iter(range(1 << 30))

        def told(progress: Progress) -> None:
            if self._stopped(job):
                raise KeyboardInterrupt
            with self._uninterrupted():
                self._send(protocol.Progress(job.id, progress.stage, progress.fraction, progress.seconds_left))
            if self._stopped(job):
                raise KeyboardInterrupt

        def show(png: Callable[[], bytes], shows: str) -> None:
            if self._folder is None:
                return
            path = self._folder / f"preview-{os.getpid()}-{self._jobs}-{next(numbers)}.png"
            with self._uninterrupted():
                if self._write(path, png):
                    self._previews.append(path)
                    self._send(protocol.Preview(job.id, str(path), shows))

        self._jobs += 1
        told(Progress(LOADING, 0.0, None))
        with plain_errors():
            with stop.held():
                self._workshop.load()
            if self._stopped(job):
                raise KeyboardInterrupt
            if isinstance(job.message, protocol.Reconstruct):
                return self._workshop.reconstruct(job.message, told, show)
            return self._workshop.rebake(job.message, told, show)

    def _write(self, path: Path, png: Callable[[], bytes]) -> bool:
        """A picture on the way; a full disk does not end the job for it, as the head's own may have room."""
        partial = path.with_suffix(".partial")
        try:
            partial.write_bytes(png())
            partial.replace(path)
        except OSError as error:
            print(f"The preview {path} was not written: {error}", file=sys.stderr)
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            return False
        return True

    def _stopped(self, job: _Job) -> bool:
        return job.cancelled or self._ending is not None

    def _failure(self, number: Id | None, error: BaseException) -> Failure:
        """Every error as a sentence; a defect's traceback goes to a log."""
        kind = type(error).__name__
        if isinstance(error, HeadstitchError):
            return Failure(number, protocol.FAILED, str(error), kind, error.exit_code)
        if isinstance(error, ProtocolError):
            return Failure(number, error.code, str(error), kind)
        text = "".join(traceback.format_exception(error))
        print(text, file=sys.stderr, flush=True)
        log = None
        if self._folder is not None:
            log = self._folder / f"defect-{os.getpid()}-{time.time_ns():x}.txt"
            try:
                log.write_text(text, encoding="utf-8", errors="backslashreplace")
            except OSError as problem:
                print(f"The log {log} was not written: {problem}", file=sys.stderr)
                log = None
        where = f" with {log}" if log else ""
        said = " ".join(f"{kind}: {error}".split())[:300]
        sentence = f"A defect of Headstitch ({said}); please report it{where}."
        return Failure(number, protocol.INTERNAL_ERROR, sentence, kind, protocol.DEFECT, str(log) if log else None)

    # --- interruptions -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _handling_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the server; our own interruptions come by SIGINT too."""
        if threading.current_thread() is not threading.main_thread():  # jobs then end at their next report
            yield
            return
        before = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def _interruptions(self) -> Iterator[None]:
        """Within it a job that shall end is broken off wherever it is, in the way of ``stop.polite_stop``."""
        inner = signal.getsignal(signal.SIGINT)

        def handle(number: int, frame: FrameType | None) -> None:
            self._signalled(number, frame)
            if self._broken_off:
                return
            # A message that is broken off is none; an import that is broken off leaves half a module.
            if not self._interruptible or _is_importing(frame):
                self._postponed = True
            elif callable(inner):
                self._broken_off = True
                inner(number, frame)

        self._postponed = self._broken_off = False
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, handle)  # polite_stop, around this, puts back what was there
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    @contextlib.contextmanager
    def _uninterrupted(self) -> Iterator[None]:
        self._interruptible = False
        try:
            yield
        finally:
            self._interruptible = True

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self._interrupts:
            self._interrupts.popleft()
        else:
            self._end("signal")

    def _interrupt(self) -> None:
        """Break into what the main thread does, from another thread that holds the lock."""
        self._postponed = False
        self._interrupts.append(None)
        _thread.interrupt_main(signal.SIGINT)

    def _end(self, why: str) -> None:
        """Leave: the running job is broken off, waiting ones are dropped. Called from any thread and by handlers."""
        if self._ending is None:
            self._ending_since = time.monotonic()
            self._ending = why
            self._wake.put(None)

    # --- the other threads -------------------------------------------------------------------------------------------

    def _read(self) -> None:
        """Requests, until there is nobody who could send one."""
        lines = protocol.Lines(protocol.LONGEST_REQUEST)
        while self._ending is None:
            try:
                data = os.read(self._incoming, 1 << 16)
            except OSError as error:
                print(f"Requests can no longer be read: {error}", file=sys.stderr)
                break
            if not data:
                break
            for line in lines.feed(data):
                self._take(line)
        self._end("eof")
        with self._lock:
            if self._running is not None:
                self._interrupt()

    def _say_alive(self) -> None:
        """Say so; and look after endings that do not come by themselves."""
        next_time = time.monotonic()
        while not self._over.wait(ALIVE / 4):
            with self._lock:
                job = self._running
                if job is not None and self._postponed and self._stopped(job):
                    self._interrupt()
            now = time.monotonic()
            if now - self._ending_since > GRACE and self._last_resort is not None:
                self._last_resort(stop.STOPPED if self._ending == "signal" else 0)
            if now >= next_time and self._greeted and self._ending is None:
                next_time = now + ALIVE
                self._send(protocol.Alive(time.process_time(), None if job is None else job.id))

    def _take(self, line: bytes | None) -> None:
        """One line: answer it, or see to it that it is answered."""
        if line is None:
            sentence = f"A line is longer than {protocol.LONGEST_REQUEST >> 10} KB; it was left out."
            self._reply(Failure(None, protocol.INVALID_REQUEST, sentence, "ProtocolError", 2))
            return
        number = None
        try:
            request = protocol.decode_request(line)
            number = request.id
            if number is not None:  # else a notification, which asks for no answer: there is none that we know
                self._answer(number, request.message)
        except ProtocolError as error:
            self._reply(Failure(error.id if number is None else number, error.code, str(error), "ProtocolError", 2))
        except Exception as error:  # noqa: BLE001 - the server lives on
            self._reply(self._failure(number, error))

    def _answer(self, number: Id, message: Any) -> None:
        if isinstance(message, protocol.Hello):
            self._reply(Answer(number, self._greet(message)))
        elif isinstance(message, protocol.Shutdown):
            self._reply(Answer(number, None))
            self._end("shutdown")
        elif not self._greeted:
            raise ProtocolError(
                protocol.NOT_GREETED, f"Say hello first, with protocol {protocol.PROTOCOL}; then ask for something."
            )
        elif isinstance(message, protocol.Cancel):
            state, waiting = self._cancel(message.id)
            self._reply(Answer(number, protocol.Cancelling(state)))
            if waiting is not None:
                self._reply(_cancelled(waiting.id))
        elif isinstance(message, protocol.ListModels):
            threading.Thread(target=self._list_models, args=(number,), daemon=True).start()
        else:
            self._workshop.check(message)
            self._queue(_Job(number, message))

    def _greet(self, hello: protocol.Hello) -> protocol.Welcome:
        from .. import __version__

        if hello.protocol != protocol.PROTOCOL:
            raise ProtocolError(
                protocol.OTHER_PROTOCOL,
                f"The add-on speaks protocol {hello.protocol} and this backend (Headstitch {__version__}) speaks "
                f"{protocol.PROTOCOL}; make both the same version.",
            )
        if hello.folder is not None:
            folder = Path(hello.folder)
            if not folder.is_absolute() or not folder.is_dir():
                raise ProtocolError(
                    protocol.INVALID_PARAMS, f"folder is {hello.folder[:200]!r}; give the absolute path of a folder."
                )
            self._folder = folder
        self._greeted = True
        return protocol.Welcome(
            protocol=protocol.PROTOCOL,
            version=__version__,
            python=".".join(map(str, sys.version_info[:3])),
            pid=os.getpid(),
            packages=self._workshop.packages(),
            missing=self._workshop.missing(),
        )

    def _queue(self, job: _Job) -> None:
        with self._lock:
            if any(job.id == other.id for other in (*self._waiting, self._running) if other is not None):
                raise ProtocolError(protocol.INVALID_REQUEST, f"There is a job {job.id!r} already; give another id.")
            self._waiting.append(job)
        self._wake.put(None)

    def _cancel(self, number: Id) -> tuple[str, _Job | None]:
        """What the job did, and the job itself where it was waiting."""
        with self._lock:
            for job in self._waiting:
                if job.id == number:
                    self._waiting.remove(job)
                    return "waiting", job
            if self._running is not None and self._running.id == number:
                if not self._running.cancelled:
                    self._running.cancelled = True
                    self._interrupt()
                return "running", None
        return "unknown", None

    def _list_models(self, number: Id) -> None:
        try:
            with plain_errors():
                reply = Answer(number, self._workshop.models())
        except Exception as error:  # noqa: BLE001 - the server lives on
            reply = self._failure(number, error)
        self._reply(reply)

    # --- what goes out -----------------------------------------------------------------------------------------------

    def _reply(self, reply: Answer | Failure) -> None:
        try:
            self._send(reply)
        except ValueError as error:  # what a head's record may not hold
            if isinstance(reply, Failure):
                raise
            self._send(self._failure(reply.id, error))

    def _send(self, message: Any) -> None:
        """Write a message, whole; nobody there to read it is the end."""
        left = memoryview(protocol.encode(message))
        with self._writing:
            try:
                while left:
                    left = left[os.write(self._outgoing, left) :]
            except OSError:  # as when stdin closes
                self._end("eof")


def _cancelled(number: Id, why: str = "The job was cancelled") -> Failure:
    return Failure(number, protocol.CANCELLED, f"{why}; nothing was left half-written.", "Cancelled", stop.STOPPED)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
