"""Reads uncompressed OpenEXR pictures of many layers, as Blender writes passes. numpy only."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

_MAGIC = 20000630
_KINDS = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}
_MOST = 1 << 14  # pixels of a side; Blender's own limit is 65536, ours are hundreds


def read_layers(path: Path) -> dict[str, np.ndarray]:
    """Channel name to (H, W) float32, rows from the top.

    Single-part scanline files without compression, by the public "OpenEXR File Layout"; nothing else is read.

    Raises:
        ValueError: the file is not one of those, or ends too early.
        OSError: it cannot be read.
    """
    content = path.read_bytes()
    try:
        return _decoded(content)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} ends too early, or is no OpenEXR picture: {error}") from error


def _decoded(content: bytes) -> dict[str, np.ndarray]:
    magic, version = struct.unpack_from("<II", content)
    if magic != _MAGIC or version & 0xFF != 2 or version & 0x1A00:
        raise ValueError("this is no OpenEXR picture of one part in scanlines")
    attributes, at = _attributes(content)
    if attributes["compression"] != b"\0":
        raise ValueError("the OpenEXR picture is compressed")
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    if not (0 < width <= _MOST and 0 < height <= _MOST):
        raise ValueError(f"the OpenEXR picture says it has {width} x {height} pixels")
    channels = _channels(attributes["channels"])
    row = np.dtype([(name, kind, (width,)) for name, kind in channels])
    offsets = struct.unpack_from(f"<{height}Q", content, at)
    rows = np.empty(height, row)
    for offset in offsets:
        line, size = struct.unpack_from("<ii", content, offset)
        if size != row.itemsize or offset + 8 + size > len(content):
            raise ValueError("the OpenEXR picture ends too early")
        rows[line - top] = np.frombuffer(content, row, 1, offset + 8)[0]
    return {name: rows[name].astype(np.float32) for name, _ in channels}


def _attributes(content: bytes) -> tuple[dict[str, bytes], int]:
    """Attributes of the header by name, and where the header ends."""
    found, at = {"compression": b"", "dataWindow": b"", "channels": b""}, 8
    while content[at]:
        name, at = _text(content, at)
        _, at = _text(content, at)
        (size,) = struct.unpack_from("<I", content, at)
        found[name] = content[at + 4 : at + 4 + size]
        at += 4 + size
    return found, at + 1


def _channels(listed: bytes) -> list[tuple[str, np.dtype]]:
    found, at = [], 0
    while listed[at]:
        name, at = _text(listed, at)
        kind, _, wide, high = struct.unpack_from("<iIii", listed, at)
        if kind not in _KINDS or (wide, high) != (1, 1):
            raise ValueError(f"the channel {name} of the OpenEXR picture is of an unknown kind")
        found.append((name, _KINDS[kind]))
        at += 16
    return found


def _text(content: bytes, at: int) -> tuple[str, int]:
    end = content.index(b"\0", at)
    return content[at:end].decode("ascii"), end + 1
