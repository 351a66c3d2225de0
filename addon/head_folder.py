"""Reads a finished head folder and turns it into Blender's axes and metres. Plain NumPy: knows nothing of bpy."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from . import strings

METRES_PER_UNIT = 0.01 / 0.02366  # 1 cm is 0.02366 of PanoHead's world units
WORLD_TO_BLENDER = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])  # y up, z front to Z up, -Y front
OPENCV_TO_BLENDER = np.diag([1.0, -1.0, -1.0])  # a camera's own axes: y down, z forward to y up, z backward
NECK_BAND = 0.02  # the part of the head's height that counts as its lowest ring
LARGEST_SIDE = 16384  # pixels of a picture; more than any graphics card takes
LARGEST_HEAD = 1 << 30  # bytes of all arrays together; a head of 200,000 faces takes 10 MB

ARRAYS: Mapping[str, tuple[tuple[int | None, ...], str]] = {  # shape (None: any), kinds of numbers as in dtype.kind
    "vertices": ((None, 3), "f"),
    "faces": ((None, 3), "iu"),
    "corner_uvs": ((None, 3, 2), "f"),
    "cam2world": ((4, 4), "f"),
    "intrinsics": ((3, 3), "f"),
}
RECORD = "head.json"
PRODUCT = "headstitch"  # as head.json says
SCHEMA = 1  # of head.json that this add-on reads
PROPERTY = "headstitch"  # custom property: head.json to the letter; beside it, to read in the sidebar:
SHOWN = (
    ("version",),
    ("generated_content",),
    ("generated_content_note",),
    ("digital_source_type",),
    ("photo", "name"),
    ("photo", "sha256"),
    ("model", "name"),
    ("model", "sha256"),
)
KIND_WORDS = {"f": "real numbers", "iu": "whole numbers"}


class HeadFolderError(Exception):
    """The folder holds no head that can be imported; ``str(error)`` is one sentence that says what to do next."""


@dataclass(frozen=True, eq=False)
class HeadFolder:
    """A finished head as its folder holds it: PanoHead's world, y up, z out of the face."""

    name: str
    vertices: np.ndarray  # (V, 3) float32, world units
    faces: np.ndarray  # (F, 3) int32, counter-clockwise seen from outside
    corner_uvs: np.ndarray  # (F, 3, 2) float32, origin at the texture's bottom left corner
    cam2world: np.ndarray  # (4, 4) float64, OpenCV camera to world
    intrinsics: np.ndarray  # (3, 3) float64, in image widths, origin at the picture's top left corner
    albedo: Path
    photo: Path | None  # the photo's square crop that the camera sees
    preview: Path | None  # views of the head on one sheet
    provenance: Mapping[str, Any]  # what head.json says
    provenance_text: str  # head.json to the letter


@dataclass(frozen=True)
class Lens:
    """A pinhole camera in Blender's words."""

    focal: float  # focal length in sensor widths
    shift_x: float  # in sensor widths
    shift_y: float


def read_head_folder(folder: Path) -> HeadFolder:
    """Read and check a head folder. Pickled arrays are refused, never loaded.

    Raises:
        HeadFolderError: a file is missing, unreadable or damaged, or an array has the wrong shape or impossible values.
    """
    if not folder.is_dir():
        raise HeadFolderError(strings.NOT_A_FOLDER.format(folder=folder))
    npz, albedo, record = folder / "head.npz", folder / "albedo.png", folder / RECORD
    for file in (npz, albedo, record):
        if not file.is_file():
            raise HeadFolderError(strings.FILE_MISSING.format(folder=folder, file=file.name))
    photo, preview = _if_there(folder / "photo.png"), _if_there(folder / "preview.png")
    for picture in filter(None, (albedo, photo, preview)):
        _check_size(picture)
    arrays = _read_arrays(npz)
    _check_mesh(npz, arrays["vertices"], arrays["faces"], arrays["corner_uvs"])
    _check_camera(npz, arrays["cam2world"], arrays["intrinsics"])
    text, provenance = _read_provenance(record)
    return HeadFolder(
        name=folder.resolve().name,
        vertices=arrays["vertices"].astype(np.float32),
        faces=arrays["faces"].astype(np.int32),
        corner_uvs=arrays["corner_uvs"].astype(np.float32),
        cam2world=arrays["cam2world"].astype(np.float64),
        intrinsics=arrays["intrinsics"].astype(np.float64),
        albedo=albedo,
        photo=photo,
        preview=preview,
        provenance=provenance,
        provenance_text=text,
    )


def neck_base(vertices: np.ndarray) -> np.ndarray:
    """The centre (3,) of the lowest ring of ``vertices`` (V, 3), y up, at the height of the lowest vertex.

    The middle of the ring's extent, not the mean of its vertices, which would lean to where the mesh is denser.
    """
    height = vertices[:, 1]
    low, high = float(height.min()), float(height.max())
    ring = vertices[height <= low + NECK_BAND * (high - low)].astype(np.float64)
    centre = (ring.min(axis=0) + ring.max(axis=0)) / 2
    centre[1] = low
    return centre


def to_blender(points: np.ndarray, origin: np.ndarray, scale: float = METRES_PER_UNIT) -> np.ndarray:
    """World points (N, 3) in Blender's axes, (N, 3) float64: ``origin`` at zero, ``scale`` Blender units a unit."""
    return (np.asarray(points, np.float64) - origin) @ WORLD_TO_BLENDER.T * scale


def camera_rotation(cam2world: np.ndarray) -> np.ndarray:
    """The rotation (3, 3) of a Blender camera, from its own axes to Blender's world."""
    return WORLD_TO_BLENDER @ cam2world[:3, :3] @ OPENCV_TO_BLENDER


def lens(intrinsics: np.ndarray) -> Lens:
    """Normalised intrinsics (3, 3) as Blender gives them for a square picture.

    Blender shifts the window over the picture, so a principal point left of the middle is a shift to the right.
    """
    return Lens(
        focal=float(intrinsics[0, 0]), shift_x=float(0.5 - intrinsics[0, 2]), shift_y=float(intrinsics[1, 2] - 0.5)
    )


def provenance_properties(text: str) -> dict[str, str | int | float | bool]:
    """A head's custom properties: all of head.json as ``text``, and what a person asks first as values of their own."""
    properties: dict[str, str | int | float | bool] = {PROPERTY: text}
    provenance = json.loads(text)
    for path in SHOWN:
        value: Any = provenance
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str | bool | int | float):
            properties["_".join([PROPERTY, *path])] = value
    return properties


def _if_there(file: Path) -> Path | None:
    return file if file.is_file() else None


def _check_size(picture: Path) -> None:
    """Refuse a PNG that would unpack to gigabytes. What is no PNG at all, Blender finds out."""
    try:
        with picture.open("rb") as file:
            start = file.read(24)
    except OSError as error:
        raise HeadFolderError(strings.FILE_UNREADABLE.format(file=picture, reason=error.strerror or error)) from error
    if start[:8] == b"\x89PNG\r\n\x1a\n" and len(start) == 24:
        width, height = struct.unpack(">II", start[16:])
        if max(width, height) > LARGEST_SIDE:
            raise _damaged(picture, strings.PICTURE_TOO_LARGE.format(width=width, height=height, limit=LARGEST_SIDE))


def _read_arrays(npz: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(npz, allow_pickle=False) as archive:
            arrays = _take_arrays(npz, archive)
    except HeadFolderError:
        raise
    except OSError as error:
        raise HeadFolderError(strings.FILE_UNREADABLE.format(file=npz, reason=error.strerror or error)) from error
    except Exception as error:  # a damaged archive raises nearly anything: zip, zlib, struct, token, memory errors
        raise _damaged(npz, strings.NOT_AN_ARCHIVE) from error
    for key, (shape, kinds) in ARRAYS.items():
        _check_array(npz, key, arrays[key], shape, kinds)
    return arrays


def _take_arrays(npz: Path, archive: Any) -> dict[str, np.ndarray]:
    if not isinstance(archive, NpzFile):  # np.load also takes a lone .npy
        raise _damaged(npz, strings.NOT_AN_ARCHIVE)
    size = sum(member.file_size for member in archive.zip.infolist())
    if size > LARGEST_HEAD:
        raise _damaged(npz, strings.TOO_LARGE.format(size=size >> 20, limit=LARGEST_HEAD >> 20))
    missing = [key for key in ARRAYS if key not in archive.files]
    if missing:
        raise _damaged(npz, strings.ARRAY_MISSING.format(array=missing[0]))
    return {key: archive[key] for key in ARRAYS}


def _check_array(npz: Path, key: str, array: np.ndarray, shape: tuple[int | None, ...], kinds: str) -> None:
    fits = array.ndim == len(shape) and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if not fits:
        wanted = "(" + ", ".join("any" if side is None else str(side) for side in shape) + ")"
        raise _damaged(npz, strings.ARRAY_SHAPE.format(array=key, shape=array.shape, wanted=wanted))
    if array.dtype.kind not in kinds:
        raise _damaged(npz, strings.ARRAY_KIND.format(array=key, kind=array.dtype, wanted=KIND_WORDS[kinds]))
    if not np.isfinite(array).all():
        raise _damaged(npz, strings.ARRAY_NOT_FINITE.format(array=key))


def _check_mesh(npz: Path, vertices: np.ndarray, faces: np.ndarray, corner_uvs: np.ndarray) -> None:
    if len(faces) == 0:
        raise _damaged(npz, strings.NO_FACES)
    if corner_uvs.shape[0] != len(faces):
        wanted = (len(faces), 3, 2)
        raise _damaged(npz, strings.ARRAY_SHAPE.format(array="corner_uvs", shape=corner_uvs.shape, wanted=wanted))
    strays = faces[(faces < 0) | (faces >= len(vertices))]
    if len(strays):
        raise _damaged(npz, strings.FACE_RANGE.format(index=strays[0], vertices=len(vertices)))
    if np.any(faces == np.roll(faces, 1, axis=1)):
        raise _damaged(npz, strings.FACE_COLLAPSED)
    if np.ptp(vertices[:, 1]) <= 0:
        raise _damaged(npz, strings.FLAT_MESH)


def _check_camera(npz: Path, cam2world: np.ndarray, intrinsics: np.ndarray) -> None:
    rotation = cam2world[:3, :3].astype(np.float64)
    turns = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and np.linalg.det(rotation) > 0
    if not turns or not np.allclose(cam2world[3], [0, 0, 0, 1], atol=1e-6):
        raise _damaged(npz, strings.CAMERA_ROTATION)
    focal = intrinsics[0, 0]
    principal = intrinsics[:2, 2]
    plain = np.array([[focal, 0, principal[0]], [0, focal, principal[1]], [0, 0, 1]])
    if focal <= 0 or not np.allclose(intrinsics, plain, rtol=1e-3, atol=1e-6):
        raise _damaged(npz, strings.CAMERA_LENS)


def _read_provenance(record: Path) -> tuple[str, Mapping[str, Any]]:
    try:
        text = record.read_text(encoding="utf-8")
        provenance = json.loads(text)
    except OSError as error:
        raise HeadFolderError(strings.FILE_UNREADABLE.format(file=record, reason=error.strerror or error)) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(record, strings.NOT_JSON) from error
    if not isinstance(provenance, dict) or provenance.get("product") != PRODUCT:
        raise _damaged(record, strings.NOT_A_RECORD)
    if provenance.get("schema") != SCHEMA:
        raise HeadFolderError(
            strings.OTHER_SCHEMA.format(folder=record.parent, schema=provenance.get("schema"), reads=SCHEMA)
        )
    return text, provenance


def _damaged(file: Path, reason: str) -> HeadFolderError:
    return HeadFolderError(strings.FILE_DAMAGED.format(file=file, reason=reason))
