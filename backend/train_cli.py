"""The train commands of the command line: visible, occluded, export. Under ``cli``.

What is heavy is imported when a command runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import tyro

from . import stop
from .errors import OptionError
from .system import plain_errors
from .terminal import Bar

Folders = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER...")]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]


@dataclass(frozen=True)
class _TrainDual:
    """What both of the paper's trainings take."""

    folders: Folders
    """Folders of aligned photos, each with camera labels in its dataset.json."""
    model: str
    """Name or folder of the model whose generator the encoder inverts into."""
    config: str = "paper"
    """Name of a shipped configuration (paper, tiny), or the path of a JSON file with other numbers."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=("-o",), metavar="DIR")] = None
    """Folder of the run; by default training/ and what is trained. A run that is there goes on from its last
    checkpoint."""
    lpips: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE...")] = ()
    """Weights of AlexNet and of LPIPS (alex), one file or two."""
    identity: Path | None = None
    """Weights of the face recogniser IR-SE50, for the identity loss and to begin the encoder with."""
    own_losses: Flag = False
    """Train without such files: pictures are compared by our own distance, faces not at all."""
    steps: int | None = None
    """Steps in all, those before a resumption included; by default the configuration's."""
    minutes: float | None = None
    """Stop after so many minutes, with a checkpoint."""
    keep: int = 3
    """How many of the last checkpoints stay, beside the best."""
    seed: int = 0
    """Of all chance: same seed, same device, same weights."""
    clip: float | None = None
    """Scale gradients down whose norm is larger."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of the networks that learn; auto: bfloat16 on CUDA, float32 elsewhere."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where tensors live."""
    debug: Flag = False
    """Show the traceback of an error."""

    which: ClassVar[Literal["visible", "occluded"]]

    def run(self) -> int:
        """Train; what there is to tell comes on the way, of several processes from the first alone."""
        if not self.folders:
            raise OptionError("No folder of photos is given; give one or more, each with a dataset.json.")
        if self.steps is not None and self.steps < 1:
            raise OptionError(f"--steps is {self.steps}; give a number from 1 on.")
        with Bar() as bar, plain_errors("give a configuration with a smaller batch"):
            with stop.held():
                from .learning.start import DualRequest, train_dual
                from .system import choose_device

            request = DualRequest(
                which=self.which,
                config=self.config,
                folders=self.folders,
                model=self.model,
                out=self.out or Path("training") / self.which,
                lpips=self.lpips,
                identity=self.identity,
                own_losses=self.own_losses,
                device=str(choose_device(self.device)),
                steps=self.steps,
                minutes=self.minutes,
                keep=self.keep,
                seed=self.seed,
                clip=self.clip,
                precision=self.precision,
            )
            train_dual(request, progress=bar, tell=bar.say)
        return 0


@dataclass(frozen=True)
class TrainVisible(_TrainDual):
    """Train encoder 1, of what a photo shows, as the paper does: L2, perceptual and identity losses."""

    which: ClassVar[Literal["visible", "occluded"]] = "visible"


@dataclass(frozen=True)
class TrainOccluded(_TrainDual):
    """Train encoder 2, of what a photo hides: the same losses, and a discriminator of the tri-grid's hidden part."""

    which: ClassVar[Literal["visible", "occluded"]] = "occluded"


@dataclass(frozen=True)
class TrainExport:
    """Make a model of two trained encoders and the generator that they were trained for."""

    visible: Annotated[Path, tyro.conf.arg(metavar="RUN")]
    """Folder of the run of encoder 1, whose last checkpoint is taken, or a checkpoint."""
    occluded: Annotated[Path, tyro.conf.arg(metavar="RUN")]
    """Likewise of encoder 2."""
    model: str
    """Name or folder of the model that both were trained with."""
    name: str
    """Of the new model."""
    half: Flag = False
    """Keep weights in half precision."""
    replace: Flag = False
    """Take the place of a model of that name."""
    debug: Flag = False
    """Show the traceback of an error."""

    def run(self) -> int:
        """Write the model and tell where it is."""
        with plain_errors():
            with stop.held():
                from .learning.export import export_model

            made = export_model(
                self.visible, self.occluded, self.model, self.name, half=self.half, replace=self.replace
            )
        print(f"The model {made.name} is in {made.folder}")
        return 0


@dataclass(frozen=True)
class Train:
    """Train the networks of a model. With torchrun on several GPUs: docs/train.md tells how."""

    command: Annotated[
        Annotated[TrainVisible, tyro.conf.subcommand("visible", prefix_name=False)]
        | Annotated[TrainOccluded, tyro.conf.subcommand("occluded", prefix_name=False)]
        | Annotated[TrainExport, tyro.conf.subcommand("export", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]
    """What to train."""

    def run(self) -> int:
        """Run the command that was given."""
        command: Any = self.command
        return command.run()
