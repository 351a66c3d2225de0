"""Pictures in the panel, read by Blender in the background; and the photo that an Image Editor shows, as a file."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

import itertools
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import bpy.utils.previews
import numpy as np

from . import strings
from .session import FORBIDDEN, TaskError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff")  # what the backend reads
FORMATS = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tif"}  # Blender's names for them
MOST = 40  # pictures that are kept
BAND = 64  # rows of a PNG that are encoded at once

_previews: Any = None
_numbers = itertools.count()
_wanted: dict[str, int] = {}  # when each picture was wanted last
_folder: tempfile.TemporaryDirectory[str] | None = None


def want(path: str) -> int:
    """The icon of a picture's file, 0 where there is none. Blender reads the file when it is drawn, in a thread."""
    if _previews is None or not path:
        return 0
    if path not in _previews:
        while len(_previews) >= MOST:  # what was not wanted for longest
            del _previews[min(_previews, key=lambda kept: _wanted.get(kept, -1))]
        _previews.load(path, path, "IMAGE")
    _wanted[path] = next(_numbers)
    return _previews[path].icon_id


def forget(path: str) -> None:
    """Read a file anew the next time."""
    if _previews is not None and path in _previews:
        del _previews[path]


def shown_image() -> bpy.types.Image | None:
    """The image of the first Image Editor that shows one."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "IMAGE_EDITOR" and area.spaces.active.image is not None:
                return area.spaces.active.image
    return None


class Writing:
    """Writes the pixels of an image as a PNG, which takes seconds for a large one; ``tick`` goes on with it.

    Only the copy out of Blender is on the main thread. It goes into memory that a thread has touched before: getting
    256 MB from the system, as 4096 x 4096 pixels take, would cost more than the copy itself.

    Args:
        image: whose pixels are copied when there is room for them, some hundredths of a second from now.
        target: the file, which is there as a whole or not at all.
    """

    def __init__(self, image: bpy.types.Image, target: Path) -> None:
        self.error = ""
        self._uid, self._name, self._linear = image.session_uid, image.name, image.is_float
        self._size, self._count, self._target = tuple(image.size), len(image.pixels), target
        self._values: np.ndarray | None = None
        self._copied = False
        self._thread = self._begin(self._make_room)

    def tick(self) -> bool:
        """Go on, on Blender's main thread; whether the file is still being written."""
        if self._thread.is_alive():
            return True
        if self._copied or self.error:
            return False
        self._copied = True
        self._copy()
        if not self.error:
            self._thread = self._begin(self._write)
        return not self.error

    def _begin(self, work: Callable[[], None]) -> threading.Thread:
        thread = threading.Thread(target=self._try, args=(work,), name="headstitch image", daemon=True)
        thread.start()
        return thread

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, MemoryError) as error:
            self._fail(getattr(error, "strerror", None) or type(error).__name__)

    def _fail(self, reason: str) -> None:
        self._values = None
        self.error = strings.IMAGE_NOT_SAVED.format(image=self._name, reason=reason)

    def _make_room(self) -> None:
        """In a thread; touches nothing of Blender."""
        self._values = np.full(self._count, 0, np.float32)

    def _copy(self) -> None:
        image = next((image for image in bpy.data.images if image.session_uid == self._uid), None)
        if image is None or len(image.pixels) != self._count:
            self._fail(strings.IMAGE_CHANGED)
        else:
            image.pixels.foreach_get(self._values)

    def _write(self) -> None:
        """In a thread, likewise."""
        assert self._values is not None
        pixels = self._values.reshape(self._size[1], self._size[0], -1)[::-1]
        self._values = None
        beside = self._target.with_suffix(".partial")
        with beside.open("wb") as file:
            file.writelines(png_pieces(pixels, self._linear))
        beside.replace(self._target)


def file_of(image: bpy.types.Image) -> tuple[Path, Writing | None]:
    """A file with what ``image`` shows: its own where it is one that the backend reads, else one for the time being.

    Returns its path, and what still writes it, if anything does.

    Raises:
        TaskError: it has no pixels, or they cannot be written.
    """
    path = Path(bpy.path.abspath(image.filepath, library=image.library)) if image.filepath else Path()
    if image.source == "FILE" and not image.packed_file and not image.is_dirty and path.suffix.lower() in SUFFIXES:
        return path, None
    # A file with the image's name, as the head is called by it.
    name = FORBIDDEN.sub("_", Path(image.name).stem).strip(". ") or "image"
    target = _temporary_folder() / f"{next(_numbers)}" / f"{name}.png"
    try:
        target.parent.mkdir()
        if image.packed_file and not image.is_dirty and image.file_format in FORMATS:
            target = target.with_name(name + FORMATS[image.file_format])
            target.write_bytes(image.packed_file.data)
            return target, None
        if image.type in ("RENDER_RESULT", "COMPOSITING"):
            _save_render(image, target)
            return target, None
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().removeprefix("Error: ").rstrip(".")
        raise TaskError(strings.IMAGE_NOT_SAVED.format(image=image.name, reason=reason)) from error
    # Not by Image.save, which renames the image in older Blenders and takes its time on the main thread.
    if not len(image.pixels):
        raise TaskError(strings.IMAGE_NOT_SAVED.format(image=image.name, reason=strings.NO_PIXELS))
    return target, Writing(image, target)


def _save_render(image: bpy.types.Image, target: Path) -> None:
    """With the colours of the view."""
    settings = bpy.context.scene.render.image_settings
    before = settings.file_format
    settings.file_format = "PNG"
    try:
        image.save_render(str(target))
    finally:
        settings.file_format = before
    if not target.is_file():
        raise RuntimeError(strings.NO_PIXELS)


def png_pieces(pixels: np.ndarray, linear: bool) -> Iterator[bytes]:
    """A PNG of pixels (H, W, 1, 3 or 4) float32, row 0 at the top; Blender ships nothing that writes arrays.

    In bands of rows: one step for all of a large image would hold Python, and with it Blender, for a tenth of a second.

    Args:
        pixels: 0 to 1; what is beyond is cut.
        linear: whether they are linear light, which a PNG does not hold.
    """
    height, width, channels = pixels.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    yield b"\x89PNG\r\n\x1a\n"
    yield chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0))
    deflate = zlib.compressobj(1)
    for first in range(0, height, BAND):
        band = np.clip(pixels[first : first + BAND], 0, 1)
        if linear:
            colour = band[:, :, :3]
            colour[:] = np.where(colour <= 0.0031308, 12.92 * colour, 1.055 * colour ** (1 / 2.4) - 0.055)
        rows = np.zeros((len(band), 1 + width * channels), np.uint8)  # each begins with its filter: none
        rows[:, 1:] = (band * 255 + 0.5).astype(np.uint8).reshape(len(band), -1)
        yield chunk(b"IDAT", deflate.compress(rows.data))
    yield chunk(b"IDAT", deflate.flush())
    yield chunk(b"IEND", b"")


def _temporary_folder() -> Path:
    global _folder
    if _folder is None:
        _folder = tempfile.TemporaryDirectory(prefix="headstitch-", dir=bpy.app.tempdir or None)
    return Path(_folder.name)


def register() -> None:
    """Called by the add-on's ``register``."""
    global _previews
    _previews = bpy.utils.previews.new()


def unregister() -> None:
    """Called by the add-on's ``unregister``."""
    global _previews, _folder
    if _previews is not None:
        bpy.utils.previews.remove(_previews)
        _previews = None
    if _folder is not None:
        _folder.cleanup()
        _folder = None
