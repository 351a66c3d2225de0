"""Pictures in the panel, read by Blender in the background; and the photo that an Image Editor shows, as a file."""
# pyright: reportAttributeAccessIssue=false, reportMissingImports=false
# (the bpy package carries no types)

from __future__ import annotations

import itertools
import struct
import tempfile
import threading
import zlib
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


class Writing(threading.Thread):
    """Writes pixels as a PNG, which takes seconds for a large image.

    Args:
        values: (H * W * channels) float32, Blender's first row the lowest.
        size: width and height.
        linear: whether they are linear light; others are what is shown.
        target: the file, which is there as a whole or not at all.
        name: of the image.
    """

    def __init__(self, values: np.ndarray, size: tuple[int, int], linear: bool, target: Path, name: str) -> None:
        super().__init__(name="headstitch image", daemon=True)
        self.error = ""
        self._values, self._size, self._linear, self._target, self._image = values, size, linear, target, name
        self.start()

    def run(self) -> None:
        """In the thread; touches nothing of Blender."""
        pixels = self._values.reshape(self._size[1], self._size[0], -1)[::-1]
        if self._linear:
            colour = np.clip(pixels[:, :, :3], 0, 1)
            curved = np.where(colour <= 0.0031308, 12.92 * colour, 1.055 * colour ** (1 / 2.4) - 0.055)
            pixels = np.concatenate([curved, pixels[:, :, 3:]], axis=2)
        beside = self._target.with_suffix(".partial")
        try:
            beside.write_bytes(encode_png((np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)))
            beside.replace(self._target)
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            self.error = strings.IMAGE_NOT_SAVED.format(image=self._image, reason=reason)


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
    values = np.empty(len(image.pixels), np.float32)
    if not values.size:
        raise TaskError(strings.IMAGE_NOT_SAVED.format(image=image.name, reason=strings.NO_PIXELS))
    image.pixels.foreach_get(values)
    return target, Writing(values, tuple(image.size), image.is_float, target, image.name)


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


def encode_png(pixels: np.ndarray) -> bytes:
    """A PNG of pixels (H, W, 1, 3 or 4) uint8, row 0 at the top; Blender ships nothing that writes arrays."""
    height, width, channels = pixels.shape

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    body = zlib.compress(rows.tobytes(), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


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
