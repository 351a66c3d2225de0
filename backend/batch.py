"""A folder of photos becomes a folder of heads with one page: resumes, and lists what failed. Stands on reconstruct."""

from __future__ import annotations

import hashlib
import json
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path

from . import stop
from .errors import HeadstitchError, PhotoError, ResultsError
from .options import TEMPLATE, Options
from .progress import Listener, Progress
from .results.folder import own_files, told, write_file
from .results.page import NAME as PAGE
from .results.page import Entry, write_page
from .system import check_libraries, choose_device, plain_errors

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff"})
STATE = "batch.json"  # in the batch's folder: which photo went where, and why others did not
ERRORS = "errors"  # folder of the tracebacks of defects


@dataclass(frozen=True)
class Outcome:
    """What became of one photo."""

    photo: str  # path below the folder of photos, forward slashes
    head: Path | None  # folder of the head
    error: str | None = None  # the sentence, when there is no head
    kept: bool = False  # the head was there already: same photo, options and version


@dataclass(frozen=True)
class BatchReport:
    """What became of all of them."""

    page: Path
    outcomes: tuple[Outcome, ...]

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The photos that gave no head."""
        return tuple(outcome for outcome in self.outcomes if outcome.error is not None)


def find_photos(folder: Path, *, recursive: bool = False, skip: Path | None = None) -> list[Path]:
    """The photos of a folder by their suffix, sorted by path; hidden files and folders of heads are passed over.

    Args:
        folder: where to look.
        recursive: look into the folders below as well.
        skip: a folder below ``folder`` that is not looked into: where the heads go.

    Raises:
        PhotoError: the folder is not there or cannot be read.
    """
    if not folder.is_dir():
        raise PhotoError(f"{folder} is not a folder; give the folder that holds the photos.")

    def unreadable(error: OSError) -> None:
        raise PhotoError(f"Cannot read the folder {error.filename} ({error.strerror}); check its permissions.")

    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=unreadable):
        here = Path(place)
        folders[:] = [
            name
            for name in folders
            if recursive
            and not name.startswith(".")
            and not (skip and (here / name).resolve() == skip.resolve())
            and not (here / name / "head.json").exists()
        ]
        found += [here / name for name in files if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES]
    return sorted(found, key=lambda photo: (photo.as_posix().casefold(), photo.as_posix()))


def make_heads(
    folder: Path,
    out: Path,
    *,
    options: Options = Options(),  # noqa: B008 - frozen
    recursive: bool = False,
    progress: Listener | None = None,
    tell: Callable[[Outcome], None] | None = None,
) -> BatchReport:
    """Make a head of every photo of a folder.

    A head that is already in ``out`` is kept when its photo, options and version are the same; photos that failed are
    tried again. The state and the page are written after every photo, so that nothing is lost when the job is stopped.
    Photos that are put into the folder meanwhile are taken as well.

    Args:
        folder: the photos.
        out: where the heads, the page and the state go; made when it is not there.
        options: for every photo.
        recursive: take the photos of the folders below as well.
        progress: told of every stage, with the fraction of the whole batch.
        tell: called with each photo's outcome.

    Raises:
        PhotoError: the folder cannot be read or holds no photo.
        ResultsError: ``out`` belongs to something else, or cannot be written.
        ResourceError: the machine lacks what every photo would need.
    """
    photos = find_photos(folder, recursive=recursive, skip=out)
    if not photos:
        hint = "" if recursive else "; give --recursive to look into the folders below"
        raise PhotoError(f"{folder} holds no photo ({', '.join(sorted(SUFFIXES))}){hint}.")
    batch = _Batch(folder, out, options)
    outcomes: list[Outcome] = []
    seen: set[Path] = set()
    clock = _BatchClock(progress)
    while waiting := [photo for photo in photos if photo not in seen]:
        for number, photo in enumerate(waiting):
            seen.add(photo)
            clock.begin(photo.name, len(outcomes), len(outcomes) + len(waiting) - number)
            outcome = batch.make(photo, clock)
            clock.end(worked=not outcome.kept)
            outcomes.append(outcome)
            if tell is not None:
                tell(outcome)
        photos = find_photos(folder, recursive=recursive, skip=out)
    batch.write()
    clock.finish()
    return BatchReport(out / PAGE, tuple(outcomes))


class _Batch:
    """The state of a batch: which photo goes into which folder, and what became of it."""

    def __init__(self, folder: Path, out: Path, options: Options) -> None:
        self.folder, self.out, self.options = folder, out, options
        self._prepared = False
        self._model = model_of(options)  # a model that is not there is found before the work
        self._photos: dict[str, dict[str, str | None]] = {}  # photo -> {"head": folder's name, "error": sentence}
        with told(out):
            out.mkdir(parents=True, exist_ok=True)
            try:
                if (out / STATE).exists():
                    self._photos = _read_state(out / STATE)
                elif (out / PAGE).exists():
                    raise ResultsError(f"{out} holds an {PAGE} that is not a batch's; choose another folder with -o.")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ResultsError(f"{out / STATE} is not a batch's state; choose another folder with -o.") from error
        gone = [
            name for name, state in self._photos.items() if state["error"] is not None and not (folder / name).exists()
        ]
        for name in gone:
            del self._photos[name]
        self.write()  # an unwritable folder is found before the work

    def make(self, photo: Path, listener: Listener) -> Outcome:
        """One photo, whatever happens to it; with a sentence where it gave no head."""
        name = photo.relative_to(self.folder).as_posix()
        head = self.out / self._place(name)
        error = None
        kept = False
        try:
            kept = is_finished(head, photo, self.options, self._model)
        except HeadstitchError as problem:
            error = str(problem)
        if not kept and error is None:
            self._prepare()
            error = self._work(photo, head, listener)
        self._photos[name] = {"head": head.name, "error": error}
        self.write()
        return Outcome(name, None if error else head, error, kept)

    def _prepare(self) -> None:
        """Before the first photo that needs work: what would fail for every photo ends the batch instead."""
        if not self._prepared:
            check_libraries()
            choose_device(self.options.device)
            self._prepared = True

    def _work(self, photo: Path, head: Path, listener: Listener) -> str | None:
        try:
            with plain_errors():
                with stop.held():
                    from .reconstruct import reconstruct

                reconstruct(photo, head, options=self.options, progress=listener)
        except Exception as problem:  # noqa: BLE001 - one photo's defect must not end the batch; it is listed
            stop.check()  # but a stop may come back as a library's error
            if isinstance(problem, HeadstitchError):
                return str(problem)
            return self._defect(head.name, problem)
        return None

    def write(self) -> None:
        """Write the state and the page, each in one piece."""
        text = json.dumps({"headstitch_batch": self._photos}, indent=1, sort_keys=True)
        with told(self.out):
            write_file(self.out / STATE, f"{text}\n".encode())
        write_page(self.out, [self._entry(name) for name in sorted(self._photos, key=str.casefold)])

    def _entry(self, name: str) -> Entry:
        state = self._photos[name]
        if state["error"] is not None:
            return Entry(photo=name, error=state["error"])
        try:
            return replace(Entry.of_head(self.out, self.out / str(state["head"])), photo=name)
        except ResultsError as error:  # someone took the head away
            return Entry(photo=name, error=str(error))

    def _place(self, name: str) -> str:
        """The name of a photo's folder: always the same once given, and no other photo's, on any file system."""
        if name in self._photos:
            return str(self._photos[name]["head"])
        taken = {str(state["head"]).casefold() for state in self._photos.values()} | {PAGE, STATE, ERRORS}
        below = Path(name)
        stem = "-".join([*below.parent.parts, below.stem]).strip(". ") or "photo"
        suffix = below.suffix.lstrip(".").lower()
        numbered = (f"{stem}-{suffix}-{number}" for number in count(2))
        return next(
            free
            for free in chain([stem, f"{stem}-{suffix}"], numbered)
            if free.casefold() not in taken and self._is_free(free, below.name)
        )

    def _is_free(self, place: str, photo: str) -> bool:
        """Whether a folder may become the photo's: not there, or a head of such a photo (the state was lost)."""
        folder = self.out / place
        if not folder.exists():
            return True
        try:
            return Entry.of_head(self.out, folder).photo == photo
        except ResultsError:
            return False

    def _defect(self, head: str, problem: Exception) -> str:
        """Keep the traceback of an error that nobody foresaw, and say where it is."""
        folder = self.out / ERRORS
        log = folder / f"{head}.txt"
        with told(folder):
            text = "".join(traceback.format_exception(problem))
            write_file(log, text.encode("utf-8", "backslashreplace"))
        return f"A defect of Headstitch ({type(problem).__name__}: {problem}); please report it with {log}."


def _read_state(path: Path) -> dict[str, dict[str, str | None]]:
    """What ``_Batch.write`` wrote; ValueError, KeyError, TypeError or AttributeError where it is anything else."""
    photos = json.loads(path.read_text("utf-8"))["headstitch_batch"]
    for state in photos.values():
        head, error = state["head"], state["error"]
        if Path(head).name != head or not head.strip(". ") or "\0" in head or not isinstance(error, str | None):
            raise ValueError(f"no state of a photo: {state}")
    return photos


def model_of(options: Options) -> dict[str, str] | None:
    """Name and hash of the model that the options name; None for the template, which changes with the version alone.

    Raises:
        ModelError: there is no such model.
    """
    if options.model == TEMPLATE:
        return None
    with plain_errors():
        from .models.bundle import load_bundle

        bundle = load_bundle(options.model)
    return {"name": bundle.name, "sha256": bundle.sha256}


def is_finished(head: Path, photo: Path, options: Options, model: dict[str, str] | None = None) -> bool:
    """Whether a folder holds the whole head of this photo, made with these options and model by this version.

    Args:
        head: the folder.
        photo: the photo's file.
        options: of the job.
        model: as ``model_of`` tells it.

    Raises:
        PhotoError: the photo cannot be read.
    """
    from .. import __version__

    wanted = options.to_dict()
    if model is not None:
        wanted["model"] = model["name"]  # the record has the name, where the options may have a folder
    try:
        record = json.loads((head / "head.json").read_text("utf-8"))
        same = record["options"] == wanted and record["version"] == __version__
        same = same and (model is None or record["model"]["sha256"] == model["sha256"])
        complete = all((head / name).is_file() for name in own_files(head))
        known = record["photo"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return same and complete and known == _sha256(photo)


def _sha256(photo: Path) -> str:
    try:
        with photo.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PhotoError(f"Cannot read {photo} ({error.strerror}); check that it is still there.") from error


class _BatchClock:
    """Turns the progress of one photo into that of the batch; the time left comes from the photos worked on so far."""

    def __init__(self, listener: Listener | None) -> None:
        self._listener = listener
        self._name, self._done, self._total = "", 0, 1
        self._start = 0.0
        self._worked: list[float] = []  # seconds of the photos that were not kept
        self._fraction = 0.0

    def begin(self, name: str, done: int, total: int) -> None:
        self._name, self._done, self._total = name, done, total
        self._start = time.perf_counter()

    def end(self, *, worked: bool) -> None:
        if worked:
            self._worked.append(time.perf_counter() - self._start)

    def __call__(self, progress: Progress) -> None:
        """Told by the journey of one photo."""
        if progress.fraction == 1.0:  # the outcome itself says that this photo is done
            return
        left = progress.seconds_left
        waiting = self._total - self._done - 1
        if waiting and self._worked:
            each = sum(self._worked) / len(self._worked)
            left = waiting * each + (each * (1 - progress.fraction) if left is None else left)
        elif waiting:
            left = None
        stage = f"{self._name} ({self._done + 1} of {self._total}): {progress.stage}"
        self._tell(stage, (self._done + progress.fraction) / self._total, left)

    def finish(self) -> None:
        self._tell("done", 1.0, 0.0)

    def _tell(self, stage: str, fraction: float, left: float | None) -> None:
        self._fraction = max(
            self._fraction, min(1.0, fraction)
        )  # new photos make the whole larger, never the bar shorter
        if self._listener is not None:
            self._listener(Progress(stage, self._fraction, left))
