"""The command line: reads the arguments, runs one job, and says in plain words how it went. The top floor.

What is heavy (torch, mediapipe, open3d) is imported when a command runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import tyro

from . import stop
from .data_cli import Data
from .errors import HeadstitchError, OptionError, PhotoError
from .evaluate_cli import Evaluate
from .models_cli import Models
from .options import Options
from .system import plain_errors
from .terminal import Bar
from .train_cli import Train

if TYPE_CHECKING:
    from .results.report import QualityReport

DEFECT = 70  # exit code of an error that nobody foresaw (EX_SOFTWARE)

DESCRIPTION = """One portrait photo in, one textured 360-degree head out.

Give a command and --help to see its options; --version tells the version."""

Folder = Annotated[Path | None, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
Flat = Annotated[Options, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Reconstruct:
    """Make a textured head from one portrait photo."""

    photo: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PHOTO")]
    """The photo: JPEG, PNG, WebP or TIFF."""
    out: Folder = None
    """Folder of the head; by default heads/ and the photo's name. A head that is there is replaced, nothing else is."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""
    options: Flat = Options()  # noqa: RUF009 - frozen

    def run(self) -> int:
        """Make the head and tell about it."""
        if self.out is None and self.photo.stem in ("", ".", ".."):
            raise PhotoError(f"{self.photo} is not a photo's file.")
        out = self.out or Path("heads") / self.photo.stem
        with Bar() as bar:
            with stop.held():
                from .reconstruct import reconstruct

            head = reconstruct(self.photo, out, options=self.options, progress=bar)
        print(f"The head is in {head.folder}")
        _tell_quality(head.quality, head.warnings)
        return 0


@dataclass(frozen=True)
class Batch:
    """Make a head of every photo in a folder, and one page with all of them.

    Run it again to go on where it stopped: a head is kept when its photo, the options and the version are the same,
    and photos that failed are tried again. The exit code is 0 when every photo has its head, and 1 when some failed.
    """

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """The folder of photos."""
    out: Folder = None
    """Folder of the heads and of index.html; by default heads/ and the folder's name."""
    recursive: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Look into the folders below as well."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""
    options: Flat = Options()  # noqa: RUF009 - frozen

    def run(self) -> int:
        """Make the heads and tell about each."""
        from .batch import Outcome, make_heads

        out = self.out or Path("heads") / self.folder.resolve().name
        with Bar() as bar:

            def tell(outcome: Outcome) -> None:
                state = "kept" if outcome.kept else "failed" if outcome.error else "made"
                bar.say(f"{state:<7} {outcome.photo}" + (f": {outcome.error}" if outcome.error else ""))

            report = make_heads(
                self.folder, out, options=self.options, recursive=self.recursive, progress=bar, tell=tell
            )
        failed = len(report.failed)
        print(f"{len(report.outcomes) - failed} of {len(report.outcomes)} photos became heads; see {report.page}")
        return 1 if failed else 0


@dataclass(frozen=True)
class Remesh:
    """Mesh and bake a finished head again, from what it was made from: no photo and no encoders are needed.

    What is not given stays as the head was made. With nothing given the mesh is the same to the bit.
    """

    head: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="HEAD")]
    """The head's folder, or nothing but its latent.safetensors."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",), metavar="DIR")]
    """Folder of the new head, which may be the same: then the new one takes its place."""
    photo: Path | None = None
    """The photo that the head was made from, to bake it in again; without it the texture is the model's own colour."""
    model: str | None = None
    """Name or folder of the model that the head was made with, where it is not known here by the name that it had."""
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None
    """Where tensors live."""
    seed: int | None = None
    """Seed of the texture's grain."""
    resolution: int | None = None
    """Nodes along each side of the lattice on which the density is sampled; 32 to 512."""
    smoothing: int | None = None
    """Rounds of Taubin smoothing of the raw surface."""
    faces: int | None = None
    """Triangles after decimation; 0 keeps all of them."""
    neck: Literal["closed", "open"] | None = None
    """Whether the cut through the neck is capped."""
    texture_size: int | None = None
    """Side of the albedo texture in pixels; 256 to 8192."""
    uv: Literal["parts", "open3d"] | None = None
    """How the texture is laid out."""
    no_quality: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Do not measure the new head; what compares it with the photo is measured only with --photo."""
    crop: Annotated[Literal["same", "official"] | None, tyro.conf.arg(name="inversion.crop")] = None
    """same: mesh and pictures hold the same part of the box; official: the mesh is cut at its own border."""
    background: Annotated[
        Literal["white", "grey", "black", "learned"] | None, tyro.conf.arg(name="inversion.background")
    ] = None
    """What stands behind the head in the pictures that colour it."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""

    def run(self) -> int:
        """Make the head again and tell about it."""
        names = ("device", "seed", "resolution", "smoothing", "faces", "neck", "texture_size", "uv")
        changes = {name: value for name in names if (value := getattr(self, name)) is not None}
        with Bar() as bar:
            with stop.held():
                from .remesh import options_of, remesh

            options = options_of(self.head)
            if self.no_quality:
                changes["quality"] = False
            inverting = {"crop": self.crop, "background": self.background}
            inverting = {name: value for name, value in inverting.items() if value is not None}
            changes["inversion"] = replace(options.inversion, **inverting)
            options = replace(options, **changes)
            head = remesh(self.head, self.out, photo=self.photo, model=self.model, options=options, progress=bar)
        print(f"The head is in {head.folder}")
        _tell_quality(head.quality, head.warnings)
        return 0


@dataclass(frozen=True)
class Render:
    """Make pictures of a finished head: from given sides, from all around, or as a turntable."""

    head: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="HEAD")]
    """The head's folder; with --from field also nothing but its latent.safetensors."""
    out: Folder = None
    """Folder of the pictures; by default views/ in the head's folder."""
    yaw: tuple[float, ...] = ()
    """Sides in degrees: 0 is the front, 90 the viewer's right, 180 the back."""
    views: int | None = None
    """Take this many sides, evenly spaced, from the front on; 8 when no sides are given."""
    turntable: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Write turntable.webp, an endless turn around the head."""
    pitch: float = 0.0
    """Height of the camera in degrees; positive looks from above."""
    size: int = 512
    """Side of the pictures in pixels; 64 to 4096."""
    source: Annotated[Literal["mesh", "field"], tyro.conf.arg(name="from")] = "mesh"
    """mesh: the finished head with its texture; field: what the model itself shows of the head, before any mesh."""
    model: str | None = None
    """With --from field, the name or folder of the head's model, where it is not known here by the name that it had."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """With --from field, where tensors live."""
    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error."""

    def __post_init__(self) -> None:
        if not 64 <= self.size <= 4096:
            raise OptionError(f"--size is {self.size}; give a number from 64 to 4096.")
        if self.views is not None and not 1 <= self.views <= 360:
            raise OptionError(f"--views is {self.views}; give a number from 1 to 360.")
        if not -90 <= self.pitch <= 90:
            raise OptionError(f"--pitch is {self.pitch:g}; give degrees from -90 to 90.")
        if not all(abs(yaw) <= 360 for yaw in self.yaw):
            raise OptionError("--yaw takes degrees from -360 to 360.")

    def run(self) -> int:
        """Render and tell what was written."""
        out = self.out or (self.head.parent if self.head.is_file() else self.head) / "views"
        count = self.views
        if count is None and not self.yaw and not self.turntable:
            count = 8
        yaws = [*self.yaw, *(360 * step / count for step in range(count or 0))] if count else list(self.yaw)
        with Bar() as bar:
            with stop.held():
                from .render import render_head

            written = render_head(
                self.head,
                out,
                yaws,
                pitch=self.pitch,
                size=self.size,
                with_turntable=self.turntable,
                source=self.source,
                model=self.model,
                device=self.device,
                progress=bar,
            )
        for path in written:
            print(path)
        return 0


@dataclass(frozen=True)
class Serve:
    """Work for another program: JSON-RPC 2.0 lines on stdin and stdout, as docs/protocol.md tells. Ends with stdin."""

    debug: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show the traceback of an error of the server itself."""

    def run(self) -> int:
        """Serve until stdin closes."""
        from .server import serve

        return serve()


COMMANDS = {
    "reconstruct": Reconstruct,
    "batch": Batch,
    "remesh": Remesh,
    "render": Render,
    "serve": Serve,
    "models": Models,
    "evaluate": Evaluate,
    "train": Train,
    "data": Data,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: without the program's name; by default those of the process.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _mend_streams()
    try:
        try:
            return _run(arguments)
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
    except BrokenPipeError:  # whoever read our lines has gone; Python must not flush into nothing at exit
        for stream in (sys.stdout, sys.stderr):
            _let_go(stream)
        return 1


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    # MediaPipe's and TensorFlow Lite's notes to their developers would tear the progress bar.
    os.environ.setdefault("GLOG_minloglevel", "2")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with stop.polite_stop():
            try:
                code = _command(arguments)
            except Exception:
                stop.check()  # a stop in the middle of a library's start comes back as that library's error
                raise
            stop.check()
            return code
    except HeadstitchError as error:
        return _fail(str(error), error.exit_code, debug)
    except KeyboardInterrupt:
        again = " The heads made so far are kept; run it again to go on." if arguments[:1] == ["batch"] else ""
        if arguments[:2] in (["data", "make"], ["data", "test-set"]):
            again = " What is finished is kept; run it again to go on."
        return _fail(f"Stopped; nothing was left half-written.{again}", stop.STOPPED, debug)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence instead of a traceback
        what = f"{type(error).__name__}: {error}"
        where = "" if debug else f" with {_keep_traceback(error)}"
        return _fail(f"A defect of Headstitch ({what}); please report it{where}.", DEFECT, debug)


def _command(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        from .. import __version__

        print(f"headstitch {__version__}")
        return 0
    command = tyro.extras.subcommand_cli_from_dict(
        COMMANDS, prog="headstitch", description=DESCRIPTION, args=arguments or ["--help"]
    )
    with plain_errors():
        return command.run()


def _mend_streams() -> None:
    """Make stdout and stderr take every text, also where the process was started without them."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        # Else the next files that are opened become 0, 1 and 2, and C++ code would print into them.
        while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass
        os.close(number)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell, or pythonw on Windows
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        elif isinstance(stream, io.TextIOWrapper):  # a file's name need not be Unicode
            stream.reconfigure(errors="backslashreplace")


def _let_go(stream: TextIO) -> None:
    try:
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _fail(sentence: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(sentence, file=sys.stderr)
    return code


def _keep_traceback(error: Exception) -> str:
    """Write the traceback where the person can find it."""
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="headstitch-", suffix=".txt", delete=False
        ) as file:
            file.write("".join(traceback.format_exception(error)))
        return file.name
    except OSError:
        return "what --debug shows"


def _tell_quality(quality: QualityReport | None, warnings: Sequence[str]) -> None:
    """The table of measurements with its warnings, then those of the journey."""
    if quality is not None:
        print(quality)
    for warning in dict.fromkeys(warnings):
        print(f"Warning: {warning}")
