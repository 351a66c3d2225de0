"""What the server can have done: the library's entry functions, spoken to in messages. Stands on the journey.

What is heavy is imported by the first that needs it, and stays.
"""

from __future__ import annotations

import ctypes
import gc
import importlib.util
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ModelError, OptionError, ResourceError
from .options import TEMPLATE, Inversion, Options
from .progress import Listener
from .protocol import INVALID_PARAMS, Finished, Model, Models, ProtocolError, Rebake, Reconstruct
from .system import available_memory, known_libraries

if TYPE_CHECKING:
    from .models.bundle import Bundle
    from .reconstruct import Show as ShowPicture
    from .results.head import Head

Show = Callable[[Callable[[], bytes], str], None]
"""Takes what makes a PNG, and what it shows: "portrait" or "head"."""

# The packages that jobs import, by the names under which they are imported and installed.
PACKAGES = {
    "torch": "torch",
    "numpy": "numpy",
    "mediapipe": "mediapipe",
    "cv2": "opencv-contrib-python",
    "open3d": "open3d",
    "mcubes": "PyMCubes",
    "fast_simplification": "fast-simplification",
    "scipy": "scipy",
    "safetensors": "safetensors",
    "PIL": "pillow",
    "pygltflib": "pygltflib",
    "platformdirs": "platformdirs",
}


class Workshop:
    """The work, as the server asks for it. Tests put another one in its place."""

    def __init__(self) -> None:
        self._bundle: Bundle | None = None  # of the last job
        self._importing = threading.Lock()  # packages that are imported from two ends at once may come out half

    def packages(self) -> dict[str, str]:
        """The versions of the packages that are there."""
        found = {}
        for name in PACKAGES.values():
            try:
                found[name] = str(metadata.version(name))
            except metadata.PackageNotFoundError:
                continue  # ``missing`` says so
        return found

    def missing(self) -> tuple[str, ...]:
        """A sentence for everything that is not there and that jobs need; nothing heavy is imported to know."""
        packages = [name for module, name in PACKAGES.items() if importlib.util.find_spec(module) is None]
        said = [_lacks(name) for name in packages]
        libraries = known_libraries() if sys.platform == "linux" else []
        debian = [package for name, package, who in libraries if who == "backend" and not _loads(name)]
        if debian:
            names = " ".join(dict.fromkeys(debian))
            said.append(f"System libraries are missing; on Debian or Ubuntu run: sudo apt-get install -y {names}")
        return tuple(said)

    def check(self, message: Reconstruct | Rebake) -> None:
        """Refuse at once what cannot be done.

        Raises:
            ProtocolError: a path is none, or an option is not known.
            OptionError: an option has a value that cannot work.
        """
        paths = ("photo", "out") if isinstance(message, Reconstruct) else ("head", "out", "photo")
        for name in paths:
            path = getattr(message, name)
            if path is not None and (not _is_path(path) or not Path(path).is_absolute()):
                raise ProtocolError(INVALID_PARAMS, f"{name} is {path[:200]!r}; give an absolute path.")
        changed(Options(), message.options)

    def load(self) -> None:
        """Import what jobs stand on.

        Raises:
            ResourceError: a package is missing.
        """
        with self._importing, _told():
            from . import reconstruct  # noqa: F401

    def models(self) -> Models:
        """The models that are there."""
        with self._importing, _told():
            from .models.shelf import list_models
            from .template.make import LICENCE
        found, warning = [Model(TEMPLATE, TEMPLATE, LICENCE, 0)], None
        try:
            for listed in list_models():
                bundle = listed.bundle
                what = ("", "") if bundle is None else (bundle.architecture, bundle.licence)
                found.append(Model(listed.name, *what, listed.bytes, listed.wrong))
        except ModelError as error:
            warning = str(error)
        return Models(tuple(found), warning)

    def reconstruct(self, message: Reconstruct, progress: Listener, show: Show) -> Finished:
        """A photo becomes a head."""
        with self._importing, _told():
            from .reconstruct import reconstruct

        start = time.monotonic()
        options = changed(Options(), message.options)
        head = reconstruct(
            message.photo,
            message.out,
            options=options,
            progress=progress,
            show=_as_png(show),
            bundle=None if options.model == TEMPLATE else self._loaded(options),
        )
        return _finished(head, start)

    def _loaded(self, options: Options) -> Bundle:
        """The model of a job, its networks kept for the next one where the memory suffices for all of them at once."""
        from .models.bundle import load_bundle
        from .reconstruct import memory_needed

        found = load_bundle(options.model)
        if self._bundle is None or (self._bundle.folder, self._bundle.sha256) != (found.folder, found.sha256):
            self._bundle = None  # before another one comes
            # A job holds the generator and one encoder; kept are the generator and both.
            roomy = _free() > memory_needed(options, found) + found.parameters_bytes
            self._bundle = replace(found, kept={} if roomy else None)
        self._make_room(memory_needed(options, found))
        return self._bundle

    def _make_room(self, needed: int) -> None:
        """Let go of the networks that are kept where a job could else not begin: none is refused for their sake."""
        if self._bundle is not None and self._bundle.kept and _free() < needed:
            self._bundle.kept.clear()
            gc.collect()

    def rebake(self, message: Rebake, progress: Listener, show: Show) -> Finished:
        """A head is made again."""
        with self._importing, _told():
            from .reconstruct import memory_needed
            from .remesh import options_of, remesh

        start = time.monotonic()
        options = changed(options_of(message.head), message.options)
        if self._bundle is not None:
            self._make_room(memory_needed(options, self._bundle, encoders=False))
        head = remesh(
            message.head,
            message.out,
            photo=message.photo,
            model=message.model,
            options=options,
            progress=progress,
            show=_as_png(show),
        )
        return _finished(head, start)


def changed(options: Options, values: dict[str, Any]) -> Options:
    """Options with some of them changed, as they come out of JSON.

    Raises:
        ProtocolError: an option is not known.
        OptionError: an option has a value that cannot work.
    """
    values = dict(values)
    inversion = values.pop("inversion", {})
    try:
        if not isinstance(inversion, dict):
            raise OptionError(f"inversion is {inversion!r}; give its options by name.")
        return replace(options, **values, inversion=replace(options.inversion, **inversion))
    except TypeError as error:
        known = {*Options.__dataclass_fields__, *(f"inversion.{name}" for name in Inversion.__dataclass_fields__)}
        asked = {*values, *(f"inversion.{name}" for name in inversion)}
        strange = sorted(asked - known)
        if not strange:
            raise
        raise ProtocolError(
            INVALID_PARAMS, f"There is no option {strange[0][:80]!r}; add-on and backend may be of two versions."
        ) from error


def _free() -> float:
    """Bytes that this process may still take; endless where the system does not tell."""
    room = available_memory()
    return float("inf") if room is None else room[0]


def _as_png(show: Show) -> ShowPicture:
    """Pictures become bytes only where somebody takes them."""
    from .results.pictures import encode_png

    return lambda picture, shows: show(lambda: encode_png(picture), shows)


def _finished(head: Head, start: float) -> Finished:
    warnings = [*head.warnings, *(head.quality.warnings if head.quality else ())]
    return Finished(
        head=str(head.folder),
        quality=head.quality.to_dict() if head.quality else None,
        warnings=tuple(dict.fromkeys(warnings)),
        record=head.record,
        seconds=time.monotonic() - start,
    )


@contextmanager
def _told() -> Iterator[None]:
    """A package that is missing is no defect of ours."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in PACKAGES:
            raise
        raise ResourceError(_lacks(PACKAGES[name])) from error


def _lacks(package: str) -> str:
    return (
        f"The backend's Python ({sys.executable}) lacks the package {package}; install Headstitch there anew, "
        "in Blender with Make in the extension's preferences."
    )


def _is_path(text: str) -> bool:
    """Whether a file may have this name at all."""
    try:
        return bool(text) and "\0" not in text and bool(Path(text).as_posix().encode(errors="surrogateescape"))
    except UnicodeEncodeError:
        return False


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
