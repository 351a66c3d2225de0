"""From a photo's file, or its pixels, to upright 8-bit sRGB: the first step of the portrait.

Only pixels survive: no place, no camera, nothing else that the file says about the person.
"""

from __future__ import annotations

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from ..errors import PhotoError

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")  # JPEG takes the MPO files of some phones with it
MAX_BYTES = 256 * 2**20
MAX_PIXELS = 150_000_000  # more is a decompression bomb; stays below Pillow's own limit of 179 million
MAX_SIDE = 4096  # longest side that is kept: a face fills 2048 texture pixels long before that
MIN_SIDE = 32
# What lies under a transparent pixel. Grey, because the rim of a cut-out then shows the smallest halo on both black
# hair, where white would shine through, and white hair, where black would.
BACKDROP = 128

_TURNS = {  # EXIF orientation -> what makes the picture upright
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a.swapaxes(0, 1)[::-1],
}
_ORIENTATION = 0x0112
# What Pillow's parsers raise on spoiled files
_DAMAGED = (OSError, SyntaxError, ValueError, OverflowError, EOFError, struct.error, zlib.error)
_DAMAGED = (*_DAMAGED, KeyError, IndexError, TypeError)  # from tags of the wrong kind
_NOT_OURS = {  # first bytes of files that people try, and what they are
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF document",
    b"\xff\x0a": "a JPEG XL picture",
    b"v/1\x01": "an OpenEXR picture",
    b"PK\x03\x04": "a zip archive or office document",
}


@dataclass(frozen=True, eq=False)
class Photo:
    """An upright photo in memory."""

    pixels: np.ndarray  # (H, W, 3) uint8 sRGB, longest side at most MAX_SIDE
    alpha: np.ndarray | None  # (H, W) uint8, 255 = opaque; None when the photo is opaque everywhere
    scale: float  # its pixels per pixel of the upright original; 1 unless the original was larger than MAX_SIDE
    sha256: str  # of the file, or of the array
    warnings: tuple[str, ...] = ()


def load_photo(source: str | Path | np.ndarray) -> Photo:
    """Read a photo.

    Args:
        source: a JPEG, PNG, WebP or TIFF file (8 or 16 bits a channel; grey, RGB, CMYK or indexed, with or without
            alpha), or a uint8 array: (H, W) grey, (H, W, 3) sRGB or (H, W, 4) sRGB with straight alpha.

    Raises:
        PhotoError: it cannot be read, or is not an image that we take; the sentence says what to do.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if not isinstance(source, str | Path):
        raise PhotoError(
            f"The photo is a {type(source).__name__}; give the path of its file, or its pixels as a NumPy array "
            "(numpy.asarray makes one of a Pillow image)."
        )
    path = Path(source)
    data = _read(path)
    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata; what matters comes as an exception
        image, size, orientation = _decode(data, path.name, notes)
        pixels, alpha = _to_srgb(image, path.name, notes)
    turn = _TURNS.get(orientation)
    if turn is not None:
        pixels = turn(pixels)
        alpha = None if alpha is None else turn(alpha)
    return _finish(pixels, alpha, max(size), hashlib.sha256(data).hexdigest(), tuple(notes))


def _from_array(array: np.ndarray) -> Photo:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise PhotoError(
            f"The photo is an array of {array.dtype} and shape {array.shape}; "
            "give uint8 of shape (H, W), (H, W, 3) or (H, W, 4)."
        )
    if array.shape[0] * array.shape[1] > MAX_PIXELS:
        raise PhotoError(f"The photo is an array of {array.shape[1]}x{array.shape[0]} pixels; give a smaller one.")
    _require_size(array.shape[1], array.shape[0], "The photo")
    digest = hashlib.sha256(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes()).hexdigest()
    alpha = None
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    elif array.shape[2] == 4:
        array, alpha = _composite(array)
    return _finish(array, alpha, max(array.shape[:2]), digest, ())


def _read(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise PhotoError(f"{path} is a folder; give one photo, or use 'headstitch batch' for a folder.")
        size = path.stat().st_size
        if size == 0:
            raise PhotoError(f"{path.name} is empty; copy or download the photo again.")
        if size > MAX_BYTES:
            raise PhotoError(
                f"{path.name} has {size / 2**20:.0f} MB, more than the {MAX_BYTES // 2**20} MB we read; "
                "save it as a JPEG first."
            )
        return path.read_bytes()
    except FileNotFoundError as error:
        raise PhotoError(f"There is no file {path}; check the name and the folder.") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or error
        raise PhotoError(f"{path} cannot be read ({reason}); check its permissions, or copy it elsewhere.") from error


def _decode(data: bytes, name: str, notes: list[str]) -> tuple[Image.Image, tuple[int, int], int]:
    """The decoded image (maybe reduced), its size as stored, and its EXIF orientation."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        size = image.size
        if size[0] * size[1] > MAX_PIXELS:
            raise PhotoError(_bomb(name, f"{size[0]}x{size[1]}"))
        _require_size(*size, name)
        orientation = _orientation(image, name, notes)
        share = MAX_SIDE / max(size)
        if share < 1:  # a JPEG can be decoded at 1/2, 1/4, 1/8: the largest photos cost no more memory than the others
            image.draft(None, (round(size[0] * share), round(size[1] * share)))  # pyright: ignore[reportArgumentType]
        image.load()
    except Image.DecompressionBombError as error:
        raise PhotoError(_bomb(name, "far too many")) from error
    except UnidentifiedImageError as error:
        raise PhotoError(
            f"{name} {_what_it_is(data)}; save it as JPEG, PNG, WebP or TIFF with 8 or 16 bits."
        ) from error
    except _DAMAGED as error:
        raise PhotoError(f"{name} is damaged or cut short ({error}); export or download it again.") from error
    return image, size, orientation


def _bomb(name: str, pixels: str) -> str:
    return f"{name} has {pixels} pixels, more than the {MAX_PIXELS // 10**6} million we decode; make it smaller first."


def _require_size(width: int, height: int, name: str) -> None:
    if min(width, height) < MIN_SIDE:
        raise PhotoError(f"{name} has only {width}x{height} pixels; use a photo whose face is at least 64 pixels wide.")


def _what_it_is(data: bytes) -> str:
    for magic, kind in _NOT_OURS.items():
        if data.startswith(magic):
            return f"is {kind}"
    if data[4:8] == b"ftyp":
        return "is a HEIC or AVIF picture, or a video"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "is a TIFF of a kind we do not read (floating point, or an uncommon layout), or a raw camera file"
    return "is not an image we can read"


def _orientation(image: Image.Image, name: str, notes: list[str]) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGED:
        notes.append(f"The EXIF data of {name} is damaged: the photo is taken as it is stored, perhaps not upright.")
        return 1


def _to_srgb(image: Image.Image, name: str, notes: list[str]) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, 3) uint8 sRGB and, where not opaque, (H, W) uint8 alpha of a decoded image of any mode."""
    if image.mode in ("F", "I"):
        raise PhotoError(f"{name} holds floating-point or 32-bit pixels; save it with 8 or 16 bits a channel.")
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        # a full 16-bit range to a full 8-bit one; Pillow's own conversion would clip everything above 255 to white
        image = Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8))
    try:
        if max(image.size) >= 2 * MAX_SIDE:
            image = _flat(image).reduce(max(image.size) // MAX_SIDE)  # before the costlier steps
        alpha = None
        if image.has_transparency_data:
            image = image.convert("RGBA")
            alpha = np.asarray(image.getchannel("A"))
            image = image.convert("RGB")
        elif image.mode not in ("L", "RGB", "CMYK"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        if profile:
            image = _apply_profile(image, profile, name, notes)
        pixels = np.asarray(image.convert("RGB"))
    except (ValueError, OSError) as error:
        raise PhotoError(f"{name} holds pixels of an uncommon kind ({image.mode}); save it as RGB.") from error
    if alpha is None:
        return pixels, None
    return _composite(np.dstack([pixels, alpha]))


def _flat(image: Image.Image) -> Image.Image:
    """An image whose channels may be averaged: no palette, colours multiplied by alpha."""
    if image.has_transparency_data:
        return image.convert("RGBA").convert("RGBa")
    return image.convert("RGB") if image.mode in ("P", "1") else image


def _apply_profile(image: Image.Image, profile: bytes, name: str, notes: list[str]) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(source).strip().lower().startswith("srgb"):
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        notes.append(
            f"The colour profile of {name} cannot be used: its colours are taken as sRGB and may be slightly off."
        )
        return image
    return image if converted is None else converted


def _composite(rgba: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    alpha = rgba[..., 3]
    if alpha.min() == 255:
        return rgba[..., :3], None
    weight = alpha[..., None].astype(np.uint16)
    mixed = rgba[..., :3] * weight + BACKDROP * (255 - weight)
    return ((mixed + 127) // 255).astype(np.uint8), alpha


def _finish(pixels: np.ndarray, alpha: np.ndarray | None, longest: int, sha256: str, notes: tuple[str, ...]) -> Photo:
    """Cap the size and lay the arrays out afresh (the caller's own array is never kept)."""
    share = MAX_SIDE / max(pixels.shape[:2])
    if share < 1:
        size = (max(1, round(pixels.shape[1] * share)), max(1, round(pixels.shape[0] * share)))
        pixels = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)
        if alpha is not None:
            alpha = cv2.resize(np.ascontiguousarray(alpha), size, interpolation=cv2.INTER_AREA)
    return Photo(
        pixels=np.array(pixels, order="C"),
        alpha=None if alpha is None else np.array(alpha, order="C"),
        scale=max(pixels.shape[:2]) / longest,
        sha256=sha256,
        warnings=notes,
    )
