"""Progress of a job: named stages, the fraction done, the time left, and what each stage took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One report: the stage that runs, the fraction of the whole job that is done, and an estimate of the time left."""

    stage: str
    fraction: float  # 0 to 1, never falls within a job
    seconds_left: float | None  # None until there is something to estimate from


_ENOUGH = 0.1  # of the work must be done before its pace says how long the rest takes

Listener = Callable[[Progress], None]


class StageClock:
    """Times the stages of one job and tells a listener how far it is.

    Args:
        expected: the stages in their order with the seconds each is expected to take (only their ratios matter for the
            fraction; the time left is scaled by how fast the finished stages really were).
        listener: called at the beginning of each stage and once at the end; may raise to cancel the job.
    """

    def __init__(self, expected: Mapping[str, float], listener: Listener | None = None) -> None:
        self._expected = dict(expected)
        self._listener = listener
        self._done = 0.0  # expected seconds of the finished stages
        self.seconds: dict[str, float] = {}  # what each finished stage took

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Run one stage. ``name`` must be one of the expected stages."""
        expected = self._expected[name]
        self._tell(name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        self._done += expected

    def finish(self) -> None:
        """Report that everything is done."""
        self._done = sum(self._expected.values())
        self._tell("done")

    def _tell(self, name: str) -> None:
        if self._listener is None:
            return
        total = sum(self._expected.values())
        left = None
        if self._done >= _ENOUGH * total:
            left = (total - self._done) * sum(self.seconds.values()) / self._done
        self._listener(Progress(name, min(1.0, self._done / total), left))
