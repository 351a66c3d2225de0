"""Makes the frozen test set: 200 heads by quotas, in the files that ``headstitch evaluate synthetic`` reads."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import stop
from ..errors import HeadstitchError, ResultsError
from ..evaluation import frozen
from ..evaluation.frozen import Match, load_frozen
from ..evaluation.truth import Truth, find_truths
from ..progress import Listener, Progress
from ..results.folder import told, write_file
from .chance import quota
from .dataset.make import check_space
from .dataset.options import TEST_SEEDS
from .dataset.version import sampler_version
from .hair.styles import STYLES
from .head import draw_lot, make_head
from .lock import NAME as LOCK
from .lock import locked
from .workers import default_workers, in_order

NAME = "test_set.json"  # in the folder: which sampler made what is there
SEED = TEST_SEEDS.start
COUNT = 200
PHOTO = 512  # pixels
POINTS = 40_000
HEAD_BYTES = 3 << 20  # that a head takes, about
# 14 of each style, and one more of those that are worn most.
STYLE_QUOTA = {style: 14 + (style in ("crop", "parting", "long straight", "tied back")) for style in STYLES}
# At most; a little more than fits, so that the last head of a style need not be the one of its kind in thousands.
SEX_QUOTA = {"female": 105, "male": 105}
YEARS_QUOTA = {"under 25": 44, "25 to 39": 64, "40 to 54": 64, "55 and over": 44}
TONE_QUOTA = {"light": 55, "medium": 55, "brown": 55, "dark": 55}
_YEARS, _TONES = (25.0, 40.0, 55.0), (0.55, 0.85, 1.20)  # where the next class begins; melanin of the skin
_MOST_TRIES = 100_000


@dataclass(frozen=True)
class Planned:
    """One head of the set, before it is drawn."""

    name: str
    number: int
    style: str
    sex: str
    years: float
    tone: float

    @staticmethod
    def of(name: str, number: int, attributes: Mapping[str, Any]) -> Planned:
        """A head by its lot's attributes."""
        return Planned(name, number, *(attributes[each] for each in ("style", "sex", "years", "tone")))

    @property
    def classes(self) -> tuple[str, str, str, str]:
        """What the quotas count: style, sex, class of years and of tone."""
        years = list(YEARS_QUOTA)[sum(self.years >= limit for limit in _YEARS)]
        tone = list(TONE_QUOTA)[sum(self.tone >= limit for limit in _TONES)]
        return self.style, self.sex, years, tone


def plan_test_set(count: int = COUNT) -> list[Planned]:
    """The heads of the set: the first of the seed's numbers for which all four quotas have room. Draws no head.

    ``count``: only the first so many.
    """
    room = [Counter(quotas) for quotas in (STYLE_QUOTA, SEX_QUOTA, YEARS_QUOTA, TONE_QUOTA)]
    plan: list[Planned] = []
    for number in range(_MOST_TRIES):
        if len(plan) == count:
            return plan
        style = quota(SEED, number, STYLES)
        if not room[0][style]:
            continue
        name = f"{len(plan):03d}_{style.replace(' ', '_')}"
        head = Planned.of(name, number, draw_lot(SEED, number).attributes)
        if all(left[each] for left, each in zip(room, head.classes, strict=True)):
            plan.append(head)
            for left, each in zip(room, head.classes, strict=True):
                left[each] -= 1
    raise ResultsError(
        f"The first {_MOST_TRIES} heads of seed {SEED} do not fill the quotas; mend them in test_set.py."
    )


def make_test_set(
    folder: Path,
    *,
    workers: int | None = None,
    progress: Listener | None = None,
    tell: Callable[[str], None] | None = None,
    count: int = COUNT,
    strands: float = 1.0,
) -> list[Path]:
    """Make the heads that are missing in the folder, and return the files of all.

    A head that is there is kept where it is the frozen one; while none is frozen, where this very sampler made it.

    Args:
        folder: NAME.npz and NAME.png of each head.
        workers: processes; None: one a core; 0: this one.
        progress: told of every head.
        tell: told in a sentence what is kept.
        count: for trials: only the first so many heads.
        strands: for trials: a share of the strands, which makes other heads than the frozen ones.

    Raises:
        ResultsError: the folder holds something else, another process writes there, or the disk is too small or
            refuses.
        ResourceError: there is not the memory for so many workers, or one of them was killed.
    """
    tell = tell or (lambda line: None)
    plan = _frozen_plan() or plan_test_set(count)
    with contextlib.ExitStack() as stack:
        with told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_strangers(folder, plan)
            stack.enter_context(locked(folder))
            for leftover in folder.glob(".*.partial-*"):  # nobody else writes here
                leftover.unlink(missing_ok=True)
            missing = _missing(folder, plan)
            if len(missing) < len(plan):
                tell(f"{len(plan) - len(missing)} of {len(plan)} heads are there and kept.")
            check_space(folder, len(missing) * HEAD_BYTES, f"{len(missing)} heads of the test set")
            write_file(folder / NAME, f"{json.dumps({'sampler': sampler_version()})}\n".encode())
        jobs = [(folder, head, strands) for head in missing]
        workers = default_workers() if workers is None else workers
        made = stack.enter_context(contextlib.closing(in_order(_make, jobs, min(workers, len(jobs)))))
        for place, _ in enumerate(made, 1):
            if progress is not None:
                progress(Progress(f"heads, {place} of {len(jobs)}", place / len(jobs), None))
    return [folder / f"{head.name}.npz" for head in plan]


def _refuse_strangers(folder: Path, plan: list[Planned]) -> None:
    known = {LOCK, NAME, *(f"{head.name}{suffix}" for head in plan for suffix in (".npz", ".png"))}
    for entry in sorted(folder.iterdir()):
        if entry.name not in known and ".partial-" not in entry.name:
            raise ResultsError(
                f"{folder} already holds {entry.name}, which is not of the test set; choose another folder."
            )


def check_test_set(folder: Path, *, progress: Listener | None = None) -> Match:
    """Compare every head of a folder with the frozen set.

    Raises:
        ResultsError: the folder holds no head, or the shipped record is damaged.
    """
    match = Match(load_frozen())
    paths = find_truths(folder)
    for place, path in enumerate(paths):
        if progress is not None:
            progress(Progress(f"comparing, {place} of {len(paths)}", place / len(paths), None))
        try:
            match.add(path.stem, Truth.load(path))
        except ResultsError as error:
            stop.check()
            match.differing.append(str(error))
    return match


def freeze_test_set(folder: Path, file: Path | None = None) -> Path:
    """Write the shipped record of the set that ``make_test_set`` has just made, and return its path.

    Raises:
        ResultsError: a set is frozen already, the folder lacks a head, another sampler made it, or the disk refuses.
    """
    file = file or frozen.FILE
    if file.exists():
        raise ResultsError(
            f"A test set is frozen already in {file}, and figures that were measured on it would mean nothing with "
            "another; delete that file first where none were."
        )
    plan = plan_test_set()
    if _sampler_of(folder) != sampler_version() or _missing(folder, plan):
        raise ResultsError(f"{folder} does not hold the whole test set of this sampler; make it first.")
    heads = []
    for head in plan:
        truth = Truth.load(folder / f"{head.name}.npz")
        about = {"name": head.name, "number": head.number, "attributes": truth.attributes}
        heads.append({**about, "sha256": frozen.digest_of(truth), "signs": frozen.signs_of(truth)})
    record = {
        "headstitch_test_set": frozen.FORMAT,
        "seed": SEED,
        "sampler": sampler_version(),
        "sha256": frozen.set_hash({head["name"]: head for head in heads}),
    }
    lines = ",\n".join(json.dumps(head, sort_keys=True, allow_nan=False, separators=(",", ":")) for head in heads)
    text = json.dumps(record, indent=1)[:-2] + f',\n "heads": [\n{lines}\n]}}\n'
    with told(file):
        write_file(file, text.encode())
    return file


def _frozen_plan() -> list[Planned] | None:
    known = load_frozen()
    if known is None:
        return None
    if known.seed != SEED:
        raise ResultsError(
            f"The frozen test set has seed {known.seed}, and this version {SEED}; install Headstitch again."
        )
    return [Planned.of(name, head["number"], head["attributes"]) for name, head in known.heads.items()]


def _missing(folder: Path, plan: list[Planned]) -> list[Planned]:
    """The heads that are not there, or are not the right ones."""
    match, same_sampler = Match(load_frozen()), _sampler_of(folder) == sampler_version()
    missing = []
    for head in plan:
        stop.check()
        try:
            truth = Truth.load(folder / f"{head.name}.npz")
        except ResultsError:
            missing.append(head)
            continue
        kept = same_sampler and truth.attributes["number"] == head.number
        if not (match.add(head.name, truth) if match.frozen_set is not None else kept):
            missing.append(head)
    return missing


def _sampler_of(folder: Path) -> str | None:
    try:
        return json.loads((folder / NAME).read_text("utf-8"))["sampler"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _make(job: tuple[Path, Planned, float]) -> None:
    from .ground_truth import measure_head
    from .views import draw_views

    folder, planned, strands = job
    head = make_head(SEED, planned.number, share=strands)
    about: dict[str, Any] = head.attributes
    drawn = Planned.of(planned.name, planned.number, about)
    if drawn != planned:
        raise HeadstitchError(
            f"Head {planned.number} of the test set is {drawn}, and was planned as {planned}: the sampler has changed "
            "since the set was fixed; install the version that fixed it."
        )
    view = draw_views(head, photos=1, around=0, size=PHOTO)[0]
    about = {**about, "seed": SEED, "number": planned.number, "photo": view.attributes}
    Truth.of(measure_head(head, POINTS), view.image, view.camera, about).save(folder / f"{planned.name}.npz")
