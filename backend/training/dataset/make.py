"""Makes a data set, shard after shard, by several processes; goes on where it was stopped or killed."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from .... import __version__
from ... import stop
from ...errors import OptionError, ResultsError
from ...progress import Listener, Progress
from ...results.folder import told
from ..blender import find_blender
from ..lock import NAME as LOCK
from ..lock import locked
from ..workers import default_workers, in_order
from .manifest import NAME, Manifest, Shard, damage_of, read_manifest, told_with_need
from .options import TEST_SEEDS, DataOptions
from .shards import ShardWriter, shard_name
from .version import sampler_version

MARGIN = 64 << 20  # bytes that are left free


@dataclass(frozen=True)
class Made:
    """What a run did."""

    folder: Path
    heads: int  # in the data set
    made: int  # heads by this run
    kept: int  # heads that were there
    bytes: int


def make_dataset(
    folder: Path,
    options: DataOptions,
    *,
    workers: int | None = None,
    progress: Listener | None = None,
    tell: Callable[[str], None] | None = None,
) -> Made:
    """Make the data set, or what is missing of it.

    Shards that are finished are kept where their hash is right. The bytes are the same in one run or many, and with any
    number of workers (on one kind of machine: see docs/datasets.md).

    Args:
        folder: where it goes; made where it is not there.
        options: what it is made with. A data set that is there may only grow.
        workers: processes, each of about one core; None: one a core; 0: this process alone.
        progress: told of every head.
        tell: told in a sentence what is kept, mended and finished.

    Raises:
        OptionError: the seed is a test set's, or the options differ from those of the data set that is there.
        ResultsError: the folder holds something else or another format, another process writes there, or the disk is
            too small or refuses.
        ResourceError: there is not the memory for so many workers, one of them was killed, or a share of the heads
            shall be drawn by Cycles and there is no Blender.
    """
    if options.seed in TEST_SEEDS:
        raise OptionError(
            f"--seed {options.seed} belongs to the frozen test set, which no training may see; give another seed "
            f"than {TEST_SEEDS.start} to {TEST_SEEDS.stop - 1}."
        )
    if options.realistic:
        find_blender()  # before the work
    tell = tell or (lambda line: None)
    workers = default_workers() if workers is None else workers
    try:
        with told(folder):
            return _make(folder, options, workers, progress, tell)
    except _SamplingError as error:  # no trouble of the folder's
        raise error.args[0] from None


class _SamplingError(Exception):
    """An OSError of a worker, on its way past all that would take it for the disk's."""


def _make(
    folder: Path, options: DataOptions, workers: int, progress: Listener | None, tell: Callable[[str], None]
) -> Made:
    folder.mkdir(parents=True, exist_ok=True)
    _refuse_strangers(folder)
    with locked(folder):
        for leftover in folder.glob(".*.partial-*"):  # nobody else writes here
            leftover.unlink(missing_ok=True)
        manifest = _begin(folder, options, tell)
        missing = sum(len(options.heads_of(number)) for number in manifest.missing)
        check_space(folder, missing * _each(manifest), f"the {missing} heads that are missing")
        manifest.write(folder)
        manifest = _fill(folder, manifest, workers, progress, tell)
    size = sum(shard.bytes for shard in manifest.shards.values())
    return Made(folder, options.heads, missing, options.heads - missing, size)


def _refuse_strangers(folder: Path) -> None:
    if not (folder / NAME).exists() and any(entry.name != LOCK for entry in folder.iterdir()):
        raise ResultsError(
            f"{folder} already holds something that is no data set of Headstitch, and is left alone; choose another "
            "folder."
        )


def _begin(folder: Path, options: DataOptions, tell: Callable[[str], None]) -> Manifest:
    """The manifest from which to go on, without the shards that are damaged."""
    if not (folder / NAME).exists():
        return Manifest(__version__, sampler_version(), options, {})
    old = read_manifest(folder)
    _check_same(folder, old, options)
    sound: dict[int, Shard] = {}
    grown = replace(old, options=options)
    for number, shard in old.shards.items():
        stop.check()
        if number in grown.missing:
            continue  # it held the last heads, and now shall hold more
        damage = damage_of(folder, number, shard)
        if damage is None:
            sound[number] = shard
        else:
            tell(f"{folder / shard_name(number)} {damage}; it is made again.")
    if sound:
        tell(f"{len(sound)} of {options.shards} shards are there and kept.")
    return replace(grown, shards=sound)


def _check_same(folder: Path, old: Manifest, options: DataOptions) -> None:
    for name, value in old.options.record.items():
        given = options.record[name]
        if name != "heads" and given != value:
            raise OptionError(
                f"The data set in {folder} was made with --{name} {value}, and now --{name} is {given}; give the same "
                "value, or choose another folder."
            )
    if options.heads < old.options.heads:
        raise OptionError(
            f"The data set in {folder} has {old.options.heads} heads, and --heads is {options.heads}; give as many or "
            "more, or choose another folder."
        )
    if old.sampler != sampler_version():
        raise ResultsError(
            f"The data set in {folder} was made by another sampler ({old.sampler} of Headstitch {old.version}; this is "
            f"{sampler_version()}), whose heads do not mix with these; choose another folder, or install that version."
        )


def _fill(
    folder: Path, manifest: Manifest, workers: int, progress: Listener | None, tell: Callable[[str], None]
) -> Manifest:
    options, missing = manifest.options, manifest.missing
    jobs = [number for shard in missing for number in options.heads_of(shard)]
    clock = _Clock(len(jobs), progress)
    with contextlib.closing(in_order(partial(_record, options), jobs, min(workers, len(jobs)))) as records:
        for shard in missing:
            left = len(jobs) - clock.done
            need = f"the {left} heads that are missing take about {_megabytes(left * _each(manifest))}"
            with told_with_need(folder, need), ShardWriter(folder / shard_name(shard)) as writer:
                for number in options.heads_of(shard):
                    writer.add(number, _next(records))
                    clock.tick()
                sha256 = writer.finish()
                finished = Shard(len(options.heads_of(shard)), writer.bytes, sha256)
                manifest = manifest.having(shard, finished)
                manifest.write(folder)
            tell(f"{shard_name(shard)} is finished: {finished.heads} heads, {finished.bytes / 1e6:.1f} MB.")
    return manifest


def _next(records: Iterator[dict[str, bytes]]) -> dict[str, bytes]:
    try:
        return next(records)
    except OSError as error:
        raise _SamplingError(error) from error


def _record(options: DataOptions, number: int) -> dict[str, bytes]:
    from .sample import make_record  # slow to import, and the workers alone need it

    try:
        return make_record(options.seed, number, options)
    except Exception as error:
        error.add_note(f"while making head {number} of seed {options.seed}")
        raise


def expected_bytes(options: DataOptions) -> int:
    """About what a head takes."""
    pictures = (options.photos + options.around) * options.size**2
    return int(12 * options.points + 10 * options.samples + 2.0 * pictures) + 40_000


def _each(manifest: Manifest) -> float:
    """About what a head takes, by those that are there."""
    done = sum(shard.heads for shard in manifest.shards.values())
    return sum(shard.bytes for shard in manifest.shards.values()) / done if done else expected_bytes(manifest.options)


def check_space(folder: Path, needed: float, what: str) -> None:
    """Refuse what the disk cannot hold before it begins.

    Raises:
        ResultsError: fewer than ``needed`` bytes are free, which ``what`` takes.
    """
    free = shutil.disk_usage(folder).free
    if needed and free < needed + MARGIN:
        raise ResultsError(
            f"Only {_megabytes(free)} are free where {folder} is, and {what} take about {_megabytes(needed)}; free "
            "some space, or choose another folder."
        )


def _megabytes(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


class _Clock:
    """Tells how many heads are made, how fast, and how long the rest takes."""

    def __init__(self, total: int, listener: Listener | None) -> None:
        self._total, self._listener = total, listener
        self._start = time.monotonic()
        self.done = 0
        self._tell()

    def tick(self) -> None:
        """One head more."""
        self.done += 1
        self._tell()

    def _tell(self) -> None:
        if self._listener is None or not self._total:
            return
        stage, left = f"heads, {self.done} of {self._total}", None
        if self.done:
            pace = self.done / max(time.monotonic() - self._start, 1e-6)
            stage, left = f"{stage}, {pace:.2f} heads/s", (self._total - self.done) / pace
        self._listener(Progress(stage, self.done / self._total, left))
