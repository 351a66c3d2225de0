"""The models commands of the command line: list, import, verify, remove. Under ``cli``.

What is heavy is imported when a command runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from . import stop
from .errors import OptionError
from .options import TEMPLATE
from .system import ELSEWHERE, plain_errors

Debug = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Flag = Annotated[bool, tyro.conf.FlagCreatePairsOff]
Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
Mebi = 1 << 20


@dataclass(frozen=True)
class ListModels:
    """List the models that are there, and what is wrong with those that are not whole."""

    debug: Debug = False
    """Show the traceback of an error."""

    @plain_errors(ELSEWHERE)
    def run(self) -> int:
        """Print one model after another."""
        with stop.held():
            from .models.shelf import list_models
            from .models.store import models_folder
            from .template import LICENCE

        found = list_models()
        print(f"{TEMPLATE}: comes with Headstitch, complete\n  {LICENCE}")
        for model in found:
            size = f"{model.bytes / Mebi:.0f} MB"
            if model.bundle is None:
                print(f"{model.name}: {size}, not usable\n  {model.wrong}")
            else:
                print(f"{model.name}: {model.bundle.architecture}, {size}, complete\n  {model.bundle.licence}")
        if not found:
            print(f"There are no other models in {models_folder()}; headstitch models import brings one in.")
        return 0


@dataclass(frozen=True)
class ImportModel:
    """Import the official files of PanoHead and of the two encoders, without executing anything in them.

    The official files carry licences for non-commercial use (CC BY-NC-SA 4.0, NVIDIA); whoever uses them keeps to that.
    """

    generator: Annotated[Path, tyro.conf.arg(metavar="FILE")]
    """The PanoHead pickle (.pkl)."""
    visible: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE [FILE]")]
    """The encoder of what the photo shows: one file of torch.save or safetensors, or two, one for each stage."""
    occluded: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE [FILE]")]
    """The encoder of what the photo hides, likewise."""
    latent_avg: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The mean w+ of the encoders (.npy, .npz, .pt, .safetensors), where it is not in their files."""
    name: str = "panohead"
    """What the model shall be called; --model takes this name."""
    half: Flag = False
    """Keep it in half precision: half the size, the same speed."""
    licence: Annotated[str | None, tyro.conf.arg(metavar="TEXT")] = None
    """The terms of these files, in a sentence; by default a note on those of the official ones."""
    replace: Flag = False
    """Take the place of a model of this name."""
    debug: Debug = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        for option, files in (("--visible", self.visible), ("--occluded", self.occluded)):
            if not 1 <= len(files) <= 2:
                raise OptionError(f"{option} has {len(files)} files; give one, or two with a stage in each.")

    @plain_errors(ELSEWHERE)
    def run(self) -> int:
        """Import, telling what was read."""
        with stop.held():
            from .models.importer import Files, import_model

        files = Files(self.generator, self.visible, self.occluded, self.latent_avg)
        bundle = import_model(files, self.name, licence=self.licence, half=self.half, replace=self.replace)
        print(f"The model {bundle.name} is in {bundle.folder}; use it with --model {bundle.name}.")
        return 0


@dataclass(frozen=True)
class VerifyModel:
    """Check every byte of a model, its tensors' names, shapes and numbers."""

    name: Name
    """The model's name, or its folder."""
    debug: Debug = False
    """Show the traceback of an error."""

    @plain_errors(ELSEWHERE)
    def run(self) -> int:
        """Check, and say that it is whole."""
        with stop.held():
            from .models.shelf import verify_model

        bundle = verify_model(self.name)
        print(f"The model {bundle.name} in {bundle.folder} is whole (hash {bundle.sha256[:12]}).")
        return 0


@dataclass(frozen=True)
class RemoveModel:
    """Remove a model from the disk, without asking. Heads that were made with it stay."""

    name: Name
    """The model's name."""
    debug: Debug = False
    """Show the traceback of an error."""

    @plain_errors(ELSEWHERE)
    def run(self) -> int:
        """Remove, and say what is gone."""
        with stop.held():
            from .models.shelf import remove_model

        folder, size, left = remove_model(self.name)
        print(f"Removed the model {self.name} ({size / Mebi:.0f} MB) from {folder.parent}.")
        if left:
            print(f"Other files stay in {folder}: {', '.join(left)}.")
        return 0


@dataclass(frozen=True)
class Models:
    """List, import, verify or remove models."""

    command: Annotated[
        Annotated[ListModels, tyro.conf.subcommand("list", prefix_name=False)]
        | Annotated[ImportModel, tyro.conf.subcommand("import", prefix_name=False)]
        | Annotated[VerifyModel, tyro.conf.subcommand("verify", prefix_name=False)]
        | Annotated[RemoveModel, tyro.conf.subcommand("remove", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]
    """What to do."""

    def run(self) -> int:
        """Run the command that was given."""
        command: Any = self.command
        return command.run()
