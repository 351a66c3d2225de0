"""The loop that every training runs in: steps, checkpoints, resuming, log, sheets, and when to stop."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from .. import stop
from ..disk import resolved
from ..errors import OptionError, TrainingError
from ..progress import Listener, Progress
from ..terminal import time_left
from ..training.lock import locked
from .checkpoint import best_of, checkpoints, load_checkpoint, read_checkpoint, tidy, write_checkpoint
from .journal import Journal, told
from .task import Task, Turn
from .workers import ALONE, Workers

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Schedule:
    """How long a run takes and what it keeps. The last three decide what is learnt, so they must stay on resuming."""

    steps: int = 500_000
    """Steps in all, those before a resumption included."""
    minutes: float | None = None
    """Stop after so many minutes, with a checkpoint."""
    checkpoint_every: int = 1000
    keep: int = 3
    """How many of the last checkpoints stay, beside the best."""
    sheet_every: int = 1000
    """Steps from one sheet to the next; 0 writes none."""
    log_every: int = 50
    seed: int = 0
    clip: float | None = None
    """The largest norm of a gradient of one optimiser."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of matrix products and convolutions; auto is bfloat16 on CUDA and float32 elsewhere."""

    def __post_init__(self) -> None:
        for name in ("steps", "checkpoint_every", "keep", "log_every"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; give a number from 1 on.")
        if self.sheet_every < 0 or self.seed < 0:
            raise OptionError("sheet_every and seed cannot be negative; give 0 or more.")
        for name in ("minutes", "clip"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise OptionError(f"{name} is {value}; give a number above 0.")

    @property
    def lasting(self) -> dict[str, Any]:
        """What must be the same on resuming."""
        return {name: getattr(self, name) for name in ("seed", "clip", "precision")}


@dataclass(frozen=True)
class Outcome:
    """How a run ended that nobody stopped."""

    step: int
    """Steps done in all."""
    why: Literal["done", "minutes"]
    """All steps are done, or the time is up."""
    checkpoint: Path
    """The last one."""
    best: Path | None
    """The one with the lowest score, if the task measures one and it is still there."""


def run(
    task: Task,
    config: Mapping[str, Any],
    folder: Path,
    schedule: Schedule,
    *,
    device: torch.device | str = "cpu",
    workers: Workers = ALONE,
    progress: Listener | None = None,
    tell: Tell | None = None,
) -> Outcome:
    """Train, or go on with a training.

    Where the folder holds checkpoints the run goes on from the last one, exactly: on a CPU, N steps in one go give the
    same bits as N steps with any number of stops and kills between. A checkpoint is written every
    ``schedule.checkpoint_every`` steps, at the end, when the time is up, and on Ctrl-C after the step that runs.

    Args:
        task: the training, freshly made, its networks on the device.
        config: all that the training was made from, as JSON; on resuming it must be the same.
        folder: of the run: checkpoints/, log.jsonl, sheets/, config.json. Made if it is not there.
        schedule: how long, and what is kept.
        device: where the networks are.
        workers: the processes that train together (``workers.joined``).
        progress: told after each step.
        tell: handed a line for each line of the log, and what else a person may want to know.

    Raises:
        TrainingError: a loss or a gradient is no finite number; the configuration is not that of the checkpoints.
        ResultsError: the disk refuses, or another run is writing to the folder. The last checkpoint stays in any case.
        ModelError: a checkpoint is damaged or does not fit.
        KeyboardInterrupt: Ctrl-C, a polite kill, or the listener raised it; the step was finished and is kept.
    """
    device = torch.device(device)
    folder = resolved(folder)
    tell = tell or (lambda line: None)
    whole = json.loads(json.dumps({**config, "schedule": schedule.lasting}, allow_nan=False))
    with stop.polite_stop(), stop.held(), ExitStack() as stack:
        journal = None
        if workers.first:
            with told(folder):
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(folder))
        step = _resume(task, whole, folder, tell)
        if workers.first:
            journal = stack.enter_context(closing(Journal(folder, step, whole)))
        return _Loop(task, whole, folder, schedule, device, workers, journal, progress, tell).go(step)


def _resume(task: Task, config: dict[str, Any], folder: Path, tell: Tell) -> int:
    there = checkpoints(folder)
    if not there:
        return 0
    latest = read_checkpoint(there[-1])
    changed = differing(latest.config, config)
    if changed:
        said = "; ".join(f"{key} is {new} and was {old}" for key, old, new in changed)
        raise TrainingError(
            f"{folder} holds a training of another configuration ({said}); give the same one to go on, "
            "or another --out to begin anew."
        )
    load_checkpoint(latest, task)
    tell(f"Going on from step {latest.step} ({latest.path.name}).")
    return latest.step


def differing(old: Any, new: Any, key: str = "") -> list[tuple[str, str, str]]:
    """Where two configurations differ: (key, old value, new value), keys of inner ones after dots."""
    if isinstance(old, dict) and isinstance(new, dict):
        names = [*old, *(name for name in new if name not in old)]
        return [
            found
            for name in names
            for found in differing(old.get(name, _MISSING), new.get(name, _MISSING), f"{key}.{name}" if key else name)
        ]
    return [] if old == new and type(old) is type(new) else [(key, _short(old), _short(new))]


_MISSING = object()


def _short(value: Any) -> str:
    text = "missing" if value is _MISSING else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


@dataclass
class _Loop:
    """One run from where it begins to where it ends."""

    task: Task
    config: dict[str, Any]
    folder: Path
    schedule: Schedule
    device: torch.device
    workers: Workers
    journal: Journal | None
    progress: Listener | None
    tell: Tell

    def go(self, step: int) -> Outcome:
        """From ``step`` to the end."""
        schedule = self.schedule
        bfloat16 = schedule.precision == "bfloat16" or (schedule.precision == "auto" and self.device.type == "cuda")
        self.begin = self.logged = step
        self.began = self.logged_at = time.perf_counter()
        stopped = late = False
        while step < schedule.steps and not (stopped or late):
            turn = Turn(
                number=step,
                seed=schedule.seed,
                device=self.device,
                workers=self.workers,
                clip=schedule.clip,
                bfloat16=bfloat16,
                optimizers=self.task.optimizers,
            )
            figures = {**self.task.step(turn), **turn.figures}
            self.workers.average_buffers(self.task.networks)
            step += 1
            stopped = self.workers.any(self._told_to_stop(step), self.device)
            late = self.workers.any(
                time.perf_counter() - self.began >= 60 * (schedule.minutes or math.inf), self.device
            )
            ending = stopped or late or step == schedule.steps
            if self.journal is not None:
                self._report(self.journal, step, figures, ending=ending)
            if ending or step % schedule.checkpoint_every == 0:
                self._save(step)
        if stopped:
            self.tell(f"Stopped after step {step}; the same command goes on from there.")
            raise KeyboardInterrupt
        there = checkpoints(self.folder)
        return Outcome(step, "minutes" if step < schedule.steps else "done", there[-1], best_of(there))

    def _told_to_stop(self, step: int) -> bool:
        """Tell the listener how far it is, and ask whether to go on: it may raise, as a held-back Ctrl-C does."""
        pace, left = self._pace(step)
        try:
            stop.check()
            if self.progress is not None:
                stage = f"training, step {step} of {self.schedule.steps}, {pace:.3g} steps/s"
                self.progress(Progress(stage, step / self.schedule.steps, left))
        except KeyboardInterrupt:
            return True
        return False

    def _pace(self, step: int) -> tuple[float, float]:
        """Steps a second since this start, and the seconds left."""
        seconds = time.perf_counter() - self.began
        pace = (step - self.begin) / max(seconds, 1e-9)
        left = (self.schedule.steps - step) / pace
        return pace, left if self.schedule.minutes is None else min(left, 60 * self.schedule.minutes - seconds)

    def _report(
        self, journal: Journal, step: int, figures: Mapping[str, float | torch.Tensor], *, ending: bool
    ) -> None:
        """The log and the sheet."""
        every = self.schedule.sheet_every
        if every and (step % every == 0 or step == self.schedule.steps):
            with torch.no_grad():
                picture = self.task.sheet()
            if picture is not None:
                journal.sheet(step, picture)
        if ending or step % self.schedule.log_every == 0:
            values = {name: float(value) for name, value in figures.items()}
            now = time.perf_counter()
            recent = (step - self.logged) / max(now - self.logged_at, 1e-9)
            self.logged, self.logged_at = step, now
            journal.write(step, {**values, "steps_per_second": round(recent, 4)})
            shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            left = time_left(self._pace(step)[1])
            self.tell(f"step {step}: {shown}; {recent:.3g} steps/s{left and f', {left}'}")

    def _save(self, step: int) -> None:
        if self.workers.first:
            with torch.no_grad():
                score = self.task.score()
            if score is not None and not math.isfinite(score):
                raise TrainingError(
                    f"Step {step}: the score is {score}, no finite number; the last checkpoint is kept. Go on from it "
                    "with a smaller learning rate, or with --clip."
                )
            write_checkpoint(self.folder, step, self.task, self.config, score)
            tidy(self.folder, self.schedule.keep)
        self.workers.wait()
