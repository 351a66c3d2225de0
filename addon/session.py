"""The photos on their way to heads: their jobs, previews, results and errors, for the panel to show. Imports no bpy.

A ``Task`` is one photo. The backend makes its head in a folder of its own on the disk; then it is handed over to the
open file, unless that is another file by then. Nothing here waits; ``tick`` is called from a timer.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..backend.protocol import Model
from . import strings
from .client import Client, Event, Job
from .wording import in_panel_words

TEMPLATE = "template"  # the model that is always there
LONGEST_NAME = 60  # characters of a head's folder
FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')  # on Windows
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")  # on Windows


class NotNow(Exception):  # noqa: N818  it is no error
    """The head cannot be handed over at this moment; ``str`` says for what it waits."""


class HandOverError(Exception):
    """The open file does not take the head; ``str`` is a part of a sentence that says why."""


class TaskError(Exception):
    """A photo cannot be queued; ``str`` is one sentence that says what to do next."""


class Writing(Protocol):
    """A photo that is still being written, by a thread."""

    error: str  # a sentence, when it could not be written

    def tick(self) -> bool:
        """Go on with it, on the main thread; whether it still is."""
        ...


@dataclass(frozen=True)
class Placement:
    """Where in the open file a head shall stand."""

    scene: str = ""  # its name
    location: tuple[float, float, float] = (0.0, 0.0, 0.0)  # Blender units
    with_camera: bool = True
    photo_view: bool = False
    frame_view: bool = False
    as_asset: bool = True
    replace: str = ""  # the name of a head that is rebuilt
    replace_uid: int = 0  # and Blender's number of it, which stays when it is renamed


@dataclass(eq=False)
class Task:
    """One photo. ``state``: waiting, running, made (on the disk), imported, kept (stays on the disk), failed."""

    photo: Path
    out: Path  # the head's folder
    placement: Placement
    token: int  # of the file that was open when it was asked for
    options: Mapping[str, Any] = field(default_factory=dict)
    writing: Writing | None = None  # until the photo is there; only then it becomes a job
    job: Job | None = None
    state: str = "waiting"
    sentence: str = ""  # why it failed, or is kept, or for what it waits
    log: str = ""
    preview: str = ""  # path of the latest picture
    warnings: tuple[str, ...] = ()
    object_name: str = ""  # of the head in the open file
    object_uid: int = 0  # and Blender's number of it
    remade: Path | None = None  # the folder of the head that is meshed and baked again
    seconds: float = 0.0  # that it took

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in ("imported", "kept", "failed", "cancelled")

    @property
    def name(self) -> str:
        """As the panel calls it."""
        return self.out.name or self.photo.stem


class Session:
    """All tasks and the backend that makes them. For one thread: Blender's main thread.

    Args:
        client: of the backend.
        hand_over: puts the head of a task into the open file and returns the name of its object; may raise NotNow and
            HandOverError.
    """

    def __init__(self, client: Client, hand_over: Callable[[Task], str]) -> None:
        self.client = client
        self.tasks: list[Task] = []  # in their order; those that are over stay until they are dismissed
        self.models: tuple[Model, ...] = (Model(TEMPLATE, TEMPLATE, "", 0),)
        self.models_warning = ""
        self.models_known = False
        self.error = ""  # a defect of ours, outside of any task
        self.error_log = ""
        self.token = 0  # of the open file
        self.changes = 0  # counts what the panel should show anew
        self.idle_since: float | None = None
        self._hand_over = hand_over
        self._models_job: Job | None = None

    # --- what the panel asks -----------------------------------------------------------------------------------------

    @property
    def current(self) -> Task | None:
        """The task that runs, else the first that waits or is handed over."""
        waiting = [task for task in self.tasks if not task.over]
        running = [task for task in waiting if task.state == "running"]
        return (running or waiting or [None])[0]

    @property
    def waiting(self) -> int:
        """How many tasks are not over."""
        return sum(not task.over for task in self.tasks)

    @property
    def finished(self) -> tuple[Task, ...]:
        """The tasks that are over, the latest first."""
        return tuple(task for task in reversed(self.tasks) if task.over)

    @property
    def busy(self) -> bool:
        """Whether something is under way that ``tick`` must follow."""
        return bool(self.waiting or self.client.jobs or self.client.state == "starting")

    def model(self, name: str) -> Model | None:
        """A model that the backend told of."""
        return next((model for model in self.models if model.name == name), None)

    # --- what a person does; none of these waits ---------------------------------------------------------------------

    def add(
        self,
        photo: Path,
        heads: Path,
        options: Mapping[str, Any],
        placement: Placement,
        writing: Writing | None = None,
    ) -> Task:
        """Queue a photo; its head goes to a new folder in ``heads``, called as the photo is.

        Raises:
            TaskError: the photo is not there, or no folder can be made.
        """
        if writing is None and not photo.is_file():
            raise TaskError(strings.PHOTO_NOT_THERE.format(photo=photo))
        return self._queue(Task(photo, _claimed(heads, photo.stem), placement, self.token, options, writing))

    def rebake(self, made: Task, heads: Path, options: Mapping[str, Any], placement: Placement) -> Task:
        """Queue the head of a task to be meshed and baked again from what is in its folder, without a new fit.

        Raises:
            TaskError: its photo or its folder is not there any more, or no new folder can be made.
        """
        if not made.photo.is_file():
            raise TaskError(strings.REBAKE_PHOTO_GONE.format(photo=made.photo))
        if not made.out.is_dir():
            raise TaskError(strings.REBAKE_FOLDER_GONE.format(folder=made.out))
        out = _claimed(heads, made.photo.stem)
        return self._queue(Task(made.photo, out, placement, self.token, options, remade=made.out))

    def _queue(self, task: Task) -> Task:
        if not self.models_known:
            self.refresh_models()
        self.tasks.append(task)
        self._begin(task)
        return task

    def refuse(self, photo: Path, sentence: str) -> None:
        """Show among the tasks why a photo could not be queued."""
        self.tasks.append(Task(photo, Path(), Placement(), self.token, state="failed", sentence=sentence))
        self._changed()

    def cancel(self) -> None:
        """End the task that runs, and drop those that wait; heads that are on the disk already stay there."""
        for task in [task for task in self.tasks if not task.over]:
            if task.state == "made":
                self._keep(task, strings.KEPT_CANCELLED)
            elif task.job is not None:
                self.client.cancel(task.job)
            else:
                self._drop(task)
        self._changed()

    def dismiss(self, task: Task | None = None) -> None:
        """Show a task that is over no more; without one all of them, and our own error."""
        self.tasks = [each for each in self.tasks if not each.over or (task is not None and each is not task)]
        if task is None:
            self.error = self.error_log = ""
        self._changed()

    def import_again(self, task: Task, placement: Placement) -> None:
        """Hand a head that was kept over to the file that is open now, with the next ``tick``."""
        if task.state == "kept":
            task.state, task.sentence, task.token = "made", "", self.token
            task.placement = placement
            self._changed()

    def refresh_models(self) -> None:
        """Ask the backend for its models; starts it."""
        if self._models_job is None or self._models_job.over:
            self._models_job = self.client.models()

    def free_memory(self) -> None:
        """End the backend; what runs in it is cancelled."""
        self.client.free_memory()
        self._changed()

    def file_changed(self) -> None:
        """Another file was opened: heads that were asked for before do not land in it."""
        self.token += 1
        for task in self.tasks:
            if task.state == "imported":
                task.object_name, task.object_uid = "", 0
        self._changed()

    def fail(self, sentence: str, log: str = "") -> None:
        """Show an error of our own."""
        self.error, self.error_log = sentence, log
        self._changed()

    def close(self, wait: float = 2.0) -> None:
        """End everything; waits not longer than ``wait`` seconds."""
        self.client.close(wait)
        for task in self.tasks:
            if task.state in ("waiting", "running"):
                task.state = "cancelled"
                release(task.out)

    # --- from the timer ----------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Take in what happened, and hand over what is finished; one head at a time, so that no call takes long."""
        for event in self.client.poll():
            self._hear(event)
        for task in [task for task in self.tasks if task.writing is not None]:
            self._begin(task)
        made = [task for task in self.tasks if task.state == "made"]
        if made:
            self._deliver(made[0])
        if self.busy or self.client.state == "stopped":
            self.idle_since = None
        elif self.idle_since is None:
            self.idle_since = time.monotonic()

    def _begin(self, task: Task) -> None:
        """Hand a task to the backend as soon as its photo is there."""
        if task.writing is not None and task.writing.tick():
            return
        if task.writing is not None and task.writing.error:
            task.state, task.sentence = "failed", task.writing.error
            release_soon(task.out)
        elif task.remade is not None:
            task.job = self.client.rebake(task.remade, task.out, task.options, photo=task.photo)
        else:
            task.job = self.client.reconstruct(task.photo, task.out, task.options)
        task.writing = None
        self._changed()

    def _drop(self, task: Task) -> None:
        """It was cancelled."""
        release_soon(task.out)
        self.tasks.remove(task)
        task.state, task.writing = "cancelled", None

    def _hear(self, event: Event) -> None:
        self._changed()
        if event.job is None:
            return
        if event.job is self._models_job:
            self._hear_models(event)
            return
        task = next((task for task in self.tasks if task.job is event.job), None)
        if task is None:
            return
        if event.kind == "running":
            task.state = "running"
        elif event.kind == "preview":
            task.preview = event.message.path
        elif event.kind == "done":
            task.state, task.seconds = "made", event.message.seconds
            task.warnings = tuple(in_panel_words(warning) for warning in event.message.warnings)
            if task.token != self.token:
                self._keep(task, strings.KEPT_OTHER_FILE)
            elif task.job is not None and task.job.cancelling:  # it was finished before it heard of that
                self._keep(task, strings.KEPT_CANCELLED)
        elif event.kind == "failed":
            task.state, task.sentence = "failed", in_panel_words(event.sentence)
            task.log = (event.message.log if event.message is not None else "") or ""
            release_soon(task.out)
        elif event.kind == "cancelled":
            self._drop(task)

    def _hear_models(self, event: Event) -> None:
        if event.kind == "done":
            self.models, self.models_known = event.message.models, True
            self.models_warning = event.message.warning or ""
        elif event.kind == "failed":
            self.models_warning = in_panel_words(event.sentence)

    def _deliver(self, task: Task) -> None:
        if task.token != self.token:
            self._keep(task, strings.KEPT_OTHER_FILE)
            return
        try:
            name = self._hand_over(task)
        except NotNow as wait:
            if task.sentence != str(wait):
                task.sentence = str(wait)
                self._changed()
            return
        except HandOverError as error:
            self._keep(task, strings.KEPT_REFUSED.format(reason=error))
            return
        except Exception:
            self._keep(task, strings.KEPT_DEFECT)  # it must not come again with every tick
            raise
        task.state, task.sentence, task.object_name = "imported", "", name
        preview = task.out / "preview.png"
        task.preview = str(preview) if preview.is_file() else task.preview
        self._changed()

    def _keep(self, task: Task, sentence: str) -> None:
        task.state, task.sentence = "kept", sentence
        self._changed()

    def _changed(self) -> None:
        self.changes += 1


def claim(heads: Path, name: str) -> Path:
    """Make a new folder in ``heads`` with a name that every system allows; a number follows where it is taken.

    Raises:
        OSError: it cannot be made.
    """
    heads.mkdir(parents=True, exist_ok=True)
    plain = FORBIDDEN.sub("_", name).lstrip(".")[:LONGEST_NAME].rstrip(". ") or "head"
    if RESERVED.match(plain):
        plain = f"head-{plain}"
    for number in itertools.count(1):
        folder = heads / (plain if number == 1 else f"{plain}-{number}")
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            return folder
    raise AssertionError  # pragma: no cover - the count has no end


def _claimed(heads: Path, name: str) -> Path:
    try:
        return claim(heads, name)
    except OSError as error:
        raise TaskError(strings.NO_HEADS_FOLDER.format(folder=heads, reason=error.strerror or error)) from error


def release(folder: Path) -> None:
    """Take a claimed folder away again if nothing came into it."""
    with contextlib.suppress(OSError):  # a head is in it, or it is gone already
        folder.rmdir()


def release_soon(folder: Path) -> None:
    """Likewise, without waiting for the disk: the caller is Blender's main thread."""
    threading.Thread(target=release, args=(folder,), name="headstitch release").start()
