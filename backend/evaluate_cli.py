"""The evaluate commands of the command line: synthetic, photos. Under ``cli``.

What is heavy is imported when a command runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from . import stop
from .errors import OptionError
from .options import TEMPLATE, Options
from .system import plain_errors
from .terminal import Bar

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
Out = Annotated[Path | None, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
Names = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME...")]
Device = Literal["auto", "cpu", "cuda", "mps"]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
TEXTURE = 1024  # pixels; what is measured is no finer


@dataclass(frozen=True)
class EvaluateSynthetic:
    """Measure heads against the ground truth of a folder of synthetic ones. The templates are always measured first.

    The exit code is 0 when every head could be measured, and 1 when some could not.
    """

    folder: Folder
    """The folder of a test set: NAME.npz and NAME.png of each head."""
    model: Names = ()
    """Names or folders of the models to measure beside the mean template and the fitted one."""
    out: Out = None
    """Folder of synthetic.json and of the sheets; by default evaluation/ and the folder's name."""
    heads: int | None = None
    """Take only so many heads, the first by name."""
    device: Device = "auto"
    """Where tensors live."""
    resolution: int = 256
    """Nodes along each side of the lattice on which the density is sampled; 32 to 512."""
    debug: Flag = False
    """Show the traceback of an error."""

    def run(self) -> int:
        """Measure, print the tables, write the files."""
        if self.heads is not None and self.heads < 1:
            raise OptionError(f"--heads is {self.heads}; give a number of heads, 1 or more.")
        options = Options(device=self.device, resolution=self.resolution, texture_size=TEXTURE, quality=False)
        with Bar() as bar, plain_errors():
            with stop.held():
                from .evaluation.synthetic import evaluate_synthetic

            out = self.out or Path("evaluation") / self.folder.resolve().name
            report = evaluate_synthetic(
                self.folder, out, models=_others(self.model), options=options, heads=self.heads, progress=bar
            )
        return _tell(report)


@dataclass(frozen=True)
class EvaluatePhotos:
    """Make a head of every photo in a folder, measure its quality, and show it from eight sides. Keeps no heads.

    The exit code is 0 when every photo gave its heads, and 1 when some did not.
    """

    folder: Folder
    """The folder of photos."""
    model: Names = (TEMPLATE,)
    """Names or folders of the models."""
    out: Out = None
    """Folder of photos.json and of the sheets; by default evaluation/ and the folder's name."""
    device: Device = "auto"
    """Where tensors live."""
    resolution: int = 256
    """Nodes along each side of the lattice on which the density is sampled; 32 to 512."""
    debug: Flag = False
    """Show the traceback of an error."""

    def run(self) -> int:
        """Measure, print the tables, write the files."""
        if not self.model:
            raise OptionError("--model names no model; give template, or names that headstitch models list shows.")
        options = Options(device=self.device, resolution=self.resolution)
        with Bar() as bar, plain_errors():
            with stop.held():
                from .evaluation.photos import evaluate_photos

            out = self.out or Path("evaluation") / self.folder.resolve().name
            models = tuple(dict.fromkeys(self.model))
            report = evaluate_photos(self.folder, out, models=models, options=options, progress=bar)
        return _tell(report)


@dataclass(frozen=True)
class Evaluate:
    """Measure how good the heads are: against synthetic ground truth, or on photos."""

    command: Annotated[
        Annotated[EvaluateSynthetic, tyro.conf.subcommand("synthetic", prefix_name=False)]
        | Annotated[EvaluatePhotos, tyro.conf.subcommand("photos", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]
    """What to do."""

    def run(self) -> int:
        """Run the command that was given."""
        command: Any = self.command
        return command.run()


def _others(models: tuple[str, ...]) -> tuple[str, ...]:
    """Each model once, without the template, which is measured anyway."""
    return tuple(name for name in dict.fromkeys(models) if name != TEMPLATE)


def _tell(report: Any) -> int:
    print(report.table)
    for sentence in report.failures:
        print(f"Failed: {sentence}")
    for path in report.written:
        print(path)
    return 1 if report.failures else 0
