"""The data commands of the command line: make, check, sheet, test-set. Under ``cli``.

What is heavy is imported when a command runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from . import stop
from .errors import OptionError
from .system import plain_errors
from .terminal import Bar
from .training.dataset.options import DataOptions

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
Picture = Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="PNG")]
Flat = Annotated[DataOptions, tyro.conf.arg(name="")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
_LISTED = 10  # heads that differ; more tell nothing more
Workers = Annotated[int | None, tyro.conf.arg(metavar="N")]


@dataclass(frozen=True)
class DataMake:
    """Make a data set of synthetic heads to train on, or what is missing of it.

    Run it again to go on where it stopped: finished files are kept where their hash is right, and give more --heads to
    let a data set grow. The bytes are the same in one run or many.
    """

    folder: Folder
    """The folder of the data set."""
    options: Flat = DataOptions()  # noqa: RUF009 - frozen
    workers: Workers = None
    """Processes, each of one core and up to 2 GB of memory; by default one a core."""
    debug: Flag = False
    """Show the traceback of an error."""

    def run(self) -> int:
        """Make it and tell how large it is."""
        _check_workers(self.workers)
        with Bar() as bar, plain_errors("give fewer --workers"):
            with stop.held():
                from .training.dataset.make import make_dataset

            made = make_dataset(self.folder, self.options, workers=self.workers, progress=bar, tell=bar.say)
        print(
            f"{made.folder} holds {made.heads} heads in {made.bytes / 1e6:.1f} MB; {made.made} were made now, and "
            f"{made.kept} were there."
        )
        return 0


@dataclass(frozen=True)
class DataCheck:
    """Compare every file of a data set with the hash that it was written with. The exit code is 1 where one differs."""

    folder: Folder
    """The folder of the data set."""
    debug: Flag = False
    """Show the traceback of an error."""

    def run(self) -> int:
        """Check it and tell what is wrong."""
        with Bar() as bar:
            from .training.dataset.check import check_dataset

            report = check_dataset(self.folder, progress=bar)
        for sentence in report.damaged:
            print(sentence)
        print(report.summary)
        return 0 if report.whole else 1


@dataclass(frozen=True)
class DataSheet:
    """Make a contact sheet of a data set: each head from the front, three quarters, side and back, and its photos."""

    folder: Folder
    """The folder of the data set."""
    out: Picture = Path("sheet.png")
    """The picture."""
    heads: int = 14
    """How many heads, evenly over the data set."""
    size: int = 192
    """Side of each tile in pixels, 64 to 512."""
    workers: Workers = None
    """Processes; by default one a core."""
    debug: Flag = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        if not 1 <= self.heads <= 200:
            raise OptionError(f"--heads is {self.heads}; give a number of heads from 1 to 200.")
        if not 64 <= self.size <= 512:
            raise OptionError(f"--size is {self.size}; give a number from 64 to 512.")

    def run(self) -> int:
        """Draw it and tell where it is."""
        _check_workers(self.workers)
        with Bar() as bar, plain_errors("give fewer --workers"):
            with stop.held():
                from .training.sheet import write_sheet

            path = write_sheet(
                self.folder, self.out, heads=self.heads, size=self.size, workers=self.workers, progress=bar
            )
        print(path)
        return 0


@dataclass(frozen=True)
class DataTestSet:
    """Make the frozen test set of 200 heads, or what is missing of it, and compare it with the shipped hashes.

    It is for headstitch evaluate synthetic alone: nothing may be trained on it or tuned to it.
    """

    folder: Folder
    """The folder of the test set."""
    check: Flag = False
    """Only compare what is there; make nothing."""
    freeze: Flag = False
    """For developers: make it, and write its hashes into the source tree. Once only."""
    workers: Workers = None
    """Processes; by default one a core."""
    debug: Flag = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        if self.check and self.freeze:
            raise OptionError("--check makes nothing and --freeze makes the set; give one of them.")

    def run(self) -> int:
        """Make or check it, and tell whether it is the frozen one."""
        _check_workers(self.workers)
        with Bar() as bar, plain_errors("give fewer --workers"):
            with stop.held():
                from .training.test_set import check_test_set, freeze_test_set, make_test_set

            if not self.check:
                make_test_set(self.folder, workers=self.workers, progress=bar, tell=bar.say)
            if self.freeze:
                print(freeze_test_set(self.folder))
            match = check_test_set(self.folder, progress=bar)
        for sentence in match.differing[:_LISTED]:
            print(sentence)
        print(match.sentence)
        nothing_to_compare = match.frozen_set is None and not self.check
        return 0 if match.frozen or nothing_to_compare else 1


@dataclass(frozen=True)
class Data:
    """Make, check and show data sets of synthetic heads, and the frozen test set."""

    command: Annotated[
        Annotated[DataMake, tyro.conf.subcommand("make", prefix_name=False)]
        | Annotated[DataCheck, tyro.conf.subcommand("check", prefix_name=False)]
        | Annotated[DataSheet, tyro.conf.subcommand("sheet", prefix_name=False)]
        | Annotated[DataTestSet, tyro.conf.subcommand("test-set", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]
    """What to do."""

    def run(self) -> int:
        """Run the command that was given."""
        command: Any = self.command
        return command.run()


def _check_workers(workers: int | None) -> None:
    if workers is not None and not 1 <= workers <= 512:
        raise OptionError(f"--workers is {workers}; give a number of processes from 1 to 512.")
