"""The add-on's side of the backend process: jobs are handed in, events are polled, nothing here waits. Imports no bpy.

    client = Client(environment_command, folder, version="0.1.0")
    job = client.reconstruct(photo, out, {"model": "template"})
    for event in client.poll(): ...            # from a timer
    client.cancel(job)                         # over within 2 seconds
    client.free_memory()                       # the process ends; the next job starts another
    client.close()

``client_supervisor`` has the thread that does the work, ``docs/protocol.md`` the rules.
"""

from __future__ import annotations

import itertools
import os
import queue
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..backend import protocol
from . import client_texts as texts
from .client_supervisor import Event, Patience, Supervisor

__all__ = ["Client", "Event", "Job", "Patience"]

MOST_EVENTS = 200  # that one poll takes


@dataclass(eq=False)
class Job:
    """Something that the backend was asked for. It changes only within ``Client.poll``."""

    id: int
    message: Any  # Reconstruct, Rebake or ListModels
    state: str = "queued"  # then running, done, failed or cancelled
    cancelling: bool = False  # it was asked to end
    stage: str = ""
    fraction: float = 0.0
    seconds_left: float | None = None
    previews: tuple[protocol.Preview, ...] = ()  # the latest is the last
    result: Any = None  # Finished or Models
    sentence: str = ""  # why it failed
    failure: protocol.Failure | None = None  # its kind, its exit code, and the log with the traceback

    @property
    def over(self) -> bool:
        """Whether it is done, failed or cancelled."""
        return self.state in ("done", "failed", "cancelled")


class Client:
    """One backend process, started by the first job. For one thread: Blender's main thread.

    Args:
        command: the backend's command line, as ``Environment.command("serve")``, or what gives it whenever the process
            shall start (what that raises becomes the sentence of the jobs that wait).
        folder: where logs and previews go, each client in a folder of its own; made when needed.
        version: the add-on's.
        patience: how long is waited for what.
    """

    def __init__(
        self,
        command: Sequence[str] | Callable[[], Sequence[str]],
        folder: Path,
        *,
        version: str = "",
        patience: Patience = Patience(),  # noqa: B008 - frozen
    ) -> None:
        self.version = version
        self.session = Path(folder).absolute() / f"session-{os.getpid()}-{secrets.token_hex(4)}"
        self.state = "stopped"  # then starting and ready
        self.welcome: protocol.Welcome | None = None  # what the backend said of itself when it last started
        self._numbers = itertools.count(1)
        self._jobs: list[Job] = []  # that are not over
        self._closed = False
        self._supervisor = Supervisor(command, self.session, f"headstitch add-on {version}".strip(), patience)

    @property
    def log(self) -> Path:
        """What the backend wrote beside its messages; there once it was started."""
        return self.session / "backend.log"

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The jobs that are not over, in their order."""
        return tuple(self._jobs)

    @property
    def pid(self) -> int | None:
        """Of the backend process, while there is one."""
        return self._supervisor.pid

    @property
    def note(self) -> str:
        """A sentence where the backend is of another version than the add-on, else empty."""
        if self.welcome is None or not self.version or self.welcome.version == self.version:
            return ""
        return texts.OTHER_VERSION.format(theirs=self.welcome.version, ours=self.version)

    # --- none of these waits -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the process before there is a job."""
        self._supervisor.tell("start")

    def reconstruct(self, photo: Path | str, out: Path | str, options: Mapping[str, Any] | None = None) -> Job:
        """Queue a head of a photo.

        Args:
            photo: its file.
            out: the head's folder.
            options: as of ``Options.to_dict``; those that are left out have their defaults.
        """
        return self._ask(protocol.Reconstruct(_absolute(photo), _absolute(out), dict(options or {})))

    def rebake(
        self,
        head: Path | str,
        out: Path | str,
        options: Mapping[str, Any] | None = None,
        *,
        photo: Path | str | None = None,
        model: str | None = None,
    ) -> Job:
        """Queue a finished head to be meshed and baked again.

        Args:
            head: its folder.
            out: the folder of the new one, which may be the same.
            options: those that shall change.
            photo: the photo that it was made from; without it the texture is the model's own colour.
            model: where the model is not known by the name that it had.
        """
        photo = None if photo is None else _absolute(photo)
        return self._ask(protocol.Rebake(_absolute(head), _absolute(out), photo, model, dict(options or {})))

    def models(self) -> Job:
        """Ask which models there are; answered beside a running job."""
        return self._ask(protocol.ListModels())

    def cancel(self, job: Job) -> None:
        """Have a job end: asked first; after 1.2 seconds its process is killed, which the next job starts anew."""
        if not job.over:
            job.cancelling = True
            self._supervisor.tell("cancel", job)

    def free_memory(self) -> None:
        """End the process, and the job that runs in it. Those that wait start it again."""
        self._supervisor.tell("free")

    def poll(self) -> list[Event]:
        """What happened since the last call; jobs change as it says."""
        events: list[Event] = []
        try:
            while len(events) < MOST_EVENTS:
                events.append(self._supervisor.events.get_nowait())
                self._apply(events[-1])
        except queue.Empty:
            pass
        return events

    # --- at the end --------------------------------------------------------------------------------------------------

    def close(self, wait: float = 2.0) -> None:
        """End the process and this client; waits until it is over, but not longer than ``wait`` seconds."""
        if not self._closed:
            self._closed = True
            self._supervisor.tell("close")
        self._supervisor.wait(wait)

    def _ask(self, message: Any) -> Job:
        protocol.encode(protocol.Request(0, message))  # what is no JSON is the caller's mistake
        job = Job(next(self._numbers), message)
        self._jobs.append(job)
        if self._closed:
            self._supervisor.events.put(Event("cancelled", job, sentence=texts.CLOSED))
        else:
            self._supervisor.tell("ask", job)
        return job

    def _apply(self, event: Event) -> None:
        job: Job | None = event.job
        if event.kind in ("starting", "ready", "ended"):
            self.state = "stopped" if event.kind == "ended" else event.kind
            self.welcome = event.message if event.kind == "ready" else self.welcome
        elif job is not None and event.kind == "progress":
            job.stage, job.fraction = event.message.stage, max(job.fraction, event.message.fraction)
            job.seconds_left = event.message.seconds_left
        elif job is not None and event.kind == "preview":
            job.previews = (*job.previews, event.message)
        elif job is not None:
            job.state, job.sentence = event.kind, event.sentence
            if event.kind == "done":
                job.result, job.fraction = event.message, 1.0
            elif event.kind == "failed":
                job.failure = event.message
            if job.over:
                self._jobs.remove(job)


def _absolute(path: Path | str) -> str:
    return str(Path(path).absolute())
