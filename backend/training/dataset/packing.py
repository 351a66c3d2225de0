"""Numbers in few bytes, each with the error that this costs at most. numpy and the picture codecs alone.

=================  ===========================  =========================================================
what               as                           error at most
=================  ===========================  =========================================================
places             int16, 1 / 65534 units       0.0000077 units (0.0003 mm) on each axis, within half a unit
signed distances   int16, 1 / 32767 units       0.0000153 units (0.0006 mm), within 1 unit
normals            uint8 x 2, octahedral        0.96 degrees (mean 0.33)
colours            uint8                        1 / 510
depth              uint16, 1 / 1024 units       0.00049 units (0.2 mm; a pixel of 256 is 1 mm wide), up to 63.9
pictures           JPEG, quality 90, 4:4:4      1 to 2.5 of 255 in the mean
matte, labels      PNG                          none
=================  ===========================  =========================================================
"""

from __future__ import annotations

import io

import cv2
import numpy as np
from PIL import Image

PLACE, DISTANCE, DEPTH = 65534.0, 32767.0, 1024.0  # steps in a world unit
NOWHERE = 255  # both numbers of a normal that is none
_QUALITY = 90


def pack_places(points: np.ndarray) -> np.ndarray:
    """Points (..., 3) within half a unit of the origin as int16. ValueError for any outside."""
    return _whole(points, PLACE, 32767)


def unpack_places(packed: np.ndarray) -> np.ndarray:
    """(..., 3) float32 world units."""
    return (packed / PLACE).astype(np.float32)


def pack_distances(distances: np.ndarray) -> np.ndarray:
    """Signed distances within 1 unit as int16. ValueError for any beyond."""
    return _whole(distances, DISTANCE, 32767)


def unpack_distances(packed: np.ndarray) -> np.ndarray:
    """(...) float32 world units."""
    return (packed / DISTANCE).astype(np.float32)


def pack_normals(normals: np.ndarray) -> np.ndarray:
    """Normals (..., 3) of any length as (..., 2) uint8; such as have none (zero) as ``NOWHERE``.

    Octahedral: the sphere projected on an octahedron that is unfolded into a square (Meyer et al., On Floating-Point
    Normal Vectors, 2010).
    """
    normals = np.asarray(normals, np.float32)
    total = np.abs(normals).sum(axis=-1, keepdims=True)
    flat = normals[..., :2] / np.maximum(total, 1e-20)
    folded = (1 - np.abs(flat[..., ::-1])) * np.where(flat < 0, -1, 1)
    flat = np.where(normals[..., 2:] < 0, folded, flat)
    return np.where(total > 0, np.rint(127 * (flat + 1)), NOWHERE).astype(np.uint8)


def unpack_normals(packed: np.ndarray) -> np.ndarray:
    """(..., 3) float32 of length 1, or 0 where there is none."""
    flat = packed.astype(np.float32) / 127 - 1
    up = 1 - np.abs(flat).sum(axis=-1, keepdims=True)
    flat = np.where(up < 0, (1 - np.abs(flat[..., ::-1])) * np.where(flat < 0, -1, 1), flat)
    normals = np.concatenate([flat, up], axis=-1)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
    return np.where((packed == NOWHERE).all(axis=-1, keepdims=True), np.float32(0), normals).astype(np.float32)


def pack_colors(colors: np.ndarray) -> np.ndarray:
    """Colours in [0, 1] as uint8."""
    return np.clip(np.rint(np.asarray(colors) * 255.0), 0, 255).astype(np.uint8)


def pack_depth(depth: np.ndarray) -> np.ndarray:
    """Depth (H, W) as uint16, 0 where nothing is (inf). ValueError for what is no depth of a picture."""
    steps = np.where(np.isfinite(depth), np.rint(depth * DEPTH), 0)
    if not (np.isfinite(depth) | np.isposinf(depth)).all() or steps.min() < 0 or steps.max() > 65535:
        raise ValueError(f"depth must be inf or in [0, {65535 / DEPTH:.2f}]")
    return steps.astype(np.uint16)


def unpack_depth(packed: np.ndarray) -> np.ndarray:
    """(H, W) float32 world units, inf where nothing is."""
    return np.where(packed > 0, packed / DEPTH, np.inf).astype(np.float32)


def encode_jpeg(image: np.ndarray) -> bytes:
    """An image (S, S, 3) uint8 sRGB at a quality that adds no damage that one could see."""
    settings = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    settings += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)[1].tobytes()


def encode_plane(plane: np.ndarray) -> bytes:
    """A plane (H, W) uint8 or uint16 as PNG, without loss."""
    return cv2.imencode(".png", plane, [cv2.IMWRITE_PNG_COMPRESSION, 6])[1].tobytes()


def decode_picture(data: bytes, shape: tuple[int, ...], kind: type) -> np.ndarray:
    """A JPEG (H, W, 3) uint8 or a PNG (H, W) uint8 or uint16; its size is known before anything is unpacked.

    Raises:
        ValueError: it is no such picture; the text is a part of a sentence.
    """
    mode, name = ("RGB", "JPEG") if len(shape) == 3 else ("I;16" if kind is np.uint16 else "L", "PNG")
    try:
        with Image.open(io.BytesIO(data), formats=[name]) as image:
            if image.size != (shape[1], shape[0]) or image.mode != mode:
                raise ValueError(
                    f"it is {image.size[0]} x {image.size[1]} {image.mode}, not {shape[1]} x {shape[0]} {mode}"
                )
            return np.array(image, kind)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises for broken files
        raise ValueError(f"it is no {name} that can be read") from error


def _whole(values: np.ndarray, steps: float, largest: int) -> np.ndarray:
    whole = np.rint(np.asarray(values, np.float64) * steps)
    if not (np.abs(whole) <= largest).all():  # what is no number is neither
        raise ValueError(f"values must lie within {largest / steps:.4f} of 0")
    return whole.astype(np.int16)
