"""The environment's jobs, one at a time, and what the preferences show of them. Imports no bpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .environment import Environment, EnvironmentFailure, Event, Job, Plan, Report, Status


class Upkeep:
    """One environment and the job that works on it. For one thread: Blender's main thread; nothing here waits.

    Args:
        environment: the backend's.
        backend_ends: asks the backend to end, and says whether it has: its files cannot be changed while it runs.
    """

    def __init__(self, environment: Environment, backend_ends: Callable[[], bool]) -> None:
        self.environment = environment
        self.status: Status = environment.status()
        self.kind = ""  # of the job that runs or ran last: plan, make, check, use_existing or remove
        self.job: Job[Any] | None = None  # while it runs
        self.event = Event("progress")  # its latest
        self.cancelling = False
        self.plan: Plan | None = None
        self.report: Report | None = None
        self.error = ""
        self.error_log = ""
        self.changes = 0
        self._backend_ends = backend_ends
        self._start: Callable[[], Job[Any]] | None = None  # of a job that waits for the backend's end

    @property
    def busy(self) -> bool:
        """Whether a job runs or is about to."""
        return self.job is not None or self._start is not None

    def look(self) -> None:
        """Read from the disk how the environment stands; a few small files, not for every redraw."""
        self.status = self.environment.status()
        self.changes += 1

    def begin(self, kind: str, start: Callable[[], Job[Any]]) -> None:
        """Run a job; ``start`` makes it. What changes the environment ends the backend first."""
        if self.busy:
            return
        self.kind, self.error, self.error_log, self.report = kind, "", "", None
        self.event, self.cancelling = Event("progress"), False
        if kind != "make":
            self.plan = None
        self._start = start
        self.tick()

    def cancel(self) -> None:
        """Ask the job to stop; it is over within 2 seconds."""
        self._start = None
        self.cancelling = self.job is not None
        if self.job is not None:
            self.job.cancel()
        self.changes += 1

    def dismiss(self) -> None:
        """Show neither plan nor report nor error any more."""
        self.plan, self.report, self.error, self.error_log = None, None, "", ""
        self.changes += 1

    def forget_existing(self) -> None:
        """Go back from the Python that the user named to our own environment."""
        try:
            self.environment.forget_existing()
        except EnvironmentFailure as failure:
            self.error = str(failure)
        self.look()

    def tick(self) -> None:
        """Take in what happened."""
        if self._start is not None and (self.kind in ("plan", "check") or self._backend_ends()):
            start, self._start = self._start, None
            self.job = start()
            self.changes += 1
        job = self.job
        if job is None:
            return
        for event in job.poll():
            self.event = event
            self.changes += 1
            if event.kind != "progress":
                self._end(job, event)

    def close(self) -> None:
        """Ask for the end of whatever runs."""
        self._start = None
        if self.job is not None:
            self.job.cancel()

    def wait(self, seconds: float) -> None:
        """Wait for the end after ``close``."""
        if self.job is not None:
            self.job.wait(seconds)

    def _end(self, job: Job[Any], event: Event) -> None:
        self.job = None
        if event.kind == "failed":
            self.error, self.error_log = event.text, event.log
        if event.kind == "done":
            if self.kind == "plan":
                self.plan = job.result
            elif self.kind in ("check", "make", "use_existing"):
                self.report = job.result
        if self.kind == "make":
            self.plan = None
        self.look()


def path_or_none(text: str) -> Path | None:
    """A path that was typed, or None where nothing was."""
    return Path(text) if text.strip() else None
