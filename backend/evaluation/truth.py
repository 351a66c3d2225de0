"""A synthetic head with all that is known of it, in memory and as two files: NAME.npz and its photo, NAME.png."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..camera import Camera
from ..errors import ResultsError
from ..meshing.mesh import Mesh
from ..results.folder import told, write_file
from ..results.pictures import decode_png, encode_png

FORMAT = 1
LARGEST = 512 << 20  # bytes of one array; what claims more is no head


class Part(IntEnum):
    """What a point of a head belongs to; the numbers stand in the files."""

    SKIN = 0
    HAIR = 1
    EYE = 2
    BROW = 3
    CLOTHES = 4
    MOUTH = 5  # teeth, tongue, and the dark between the lips


class GroundTruth(Protocol):
    """What is known of a head's surface; whoever makes one need not know this file. World units."""

    @property
    def points(self) -> np.ndarray:
        """(N, 3) float32 on the surface; where they lie denser, errors count for more."""
        ...

    @property
    def normals(self) -> np.ndarray:
        """(N, 3) float32 unit, outwards."""
        ...

    @property
    def colors(self) -> np.ndarray:
        """(N, 3) sRGB, unlit: uint8, or float in [0, 1]."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """(N,) uint8, of ``Part``."""
        ...

    @property
    def body(self) -> Mesh:
        """The head without hair; closed, or closed parts that overlap."""
        ...

    @property
    def hair(self) -> Mesh | None:
        """The hull of the hair; None for the bald."""
        ...

    @property
    def landmarks(self) -> np.ndarray:
        """(478, 3) float32, MediaPipe's points on the surface."""
        ...

    @property
    def head_height(self) -> float:
        """From the chin to the top of the bare skull."""
        ...


@dataclass(frozen=True, eq=False)
class Truth:
    """A ``GroundTruth`` with its photo: one head of a test set."""

    points: np.ndarray  # (N, 3) float32
    normals: np.ndarray  # (N, 3) float32
    colors: np.ndarray  # (N, 3) uint8
    labels: np.ndarray  # (N,) uint8
    body: Mesh
    hair: Mesh | None
    landmarks: np.ndarray  # (478, 3) float32
    head_height: float
    photo: np.ndarray  # (S, S, 3) uint8 sRGB, PanoHead's crop
    camera: Camera  # the photo's
    attributes: dict[str, Any]  # hair style, age and so on; plain JSON

    @staticmethod
    def of(truth: GroundTruth, photo: np.ndarray, camera: Camera, attributes: Mapping[str, Any]) -> Truth:
        """A head's ground truth together with a photo of it.

        Raises:
            ResultsError: something in it is none that can be.
        """
        made = Truth(
            points=np.asarray(truth.points, np.float32),
            normals=np.asarray(truth.normals, np.float32),
            colors=_to_uint8(truth.colors),
            labels=np.asarray(truth.labels, np.uint8),
            body=truth.body,
            hair=truth.hair,
            landmarks=np.asarray(truth.landmarks, np.float32),
            head_height=float(truth.head_height),
            photo=photo,
            camera=camera,
            attributes=dict(attributes),
        )
        try:
            _check_photo(photo)
            _check_arrays(made.arrays(bytes(32)))
        except ValueError as error:
            raise ResultsError(f"This is no ground truth of a head: {error}; make it anew.") from error
        return made

    def save(self, path: Path) -> Path:
        """Write ``path`` (NAME.npz) and NAME.png beside it, each in one piece; same head, same bytes.

        Raises:
            ResultsError: the disk refuses. An NPZ without its PNG never stays.
        """
        png = encode_png(self.photo)
        stream = io.BytesIO()
        np.savez_compressed(stream, **self.arrays(hashlib.sha256(png).digest()))
        with told(path):
            write_file(path.with_suffix(".png"), png)
            write_file(path, stream.getvalue())
        return path

    @staticmethod
    def load(path: Path) -> Truth:
        """Read what ``save`` wrote; every array is checked, for the files may come from anywhere.

        Raises:
            ResultsError: a file is missing or damaged, of another format, or the photo is another head's.
        """
        try:
            arrays = _read_arrays(path)
            _check_arrays(arrays)
            png = path.with_suffix(".png").read_bytes()
            photo = _decode_photo(png, arrays["photo.sha256"])
        except FileNotFoundError as error:
            raise ResultsError(f"{Path(error.filename)} is missing; bring it back, or make the head anew.") from error
        except OSError as error:
            raise ResultsError(f"{path} cannot be read ({error.strerror or error}); make the head anew.") from error
        except KeyError as error:
            raise _damaged(path, f"it lacks {error}") from error
        except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
            raise _damaged(path, str(error)) from error
        hair = Mesh(arrays["hair.vertices"], arrays["hair.faces"])
        return Truth(
            points=arrays["points"],
            normals=arrays["normals"],
            colors=arrays["colors"],
            labels=arrays["labels"],
            body=Mesh(arrays["body.vertices"], arrays["body.faces"]),
            hair=hair if len(hair.faces) else None,
            landmarks=arrays["landmarks"],
            head_height=float(arrays["head_height"]),
            photo=photo,
            camera=Camera.from_label(arrays["camera"]),
            attributes=json.loads(arrays["attributes"].tobytes()),
        )

    def arrays(self, photo_sha256: bytes) -> dict[str, np.ndarray]:
        """All arrays of the NPZ by their names there; ``photo_sha256``: the hash that stands for the photo."""
        hair = self.hair or Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
        attributes = json.dumps(self.attributes, sort_keys=True, allow_nan=False).encode()
        return {
            "format": np.array(FORMAT, np.int64),
            "points": self.points,
            "normals": self.normals,
            "colors": self.colors,
            "labels": self.labels,
            "body.vertices": self.body.vertices.astype(np.float32),
            "body.faces": self.body.faces.astype(np.int32),
            "hair.vertices": hair.vertices.astype(np.float32),
            "hair.faces": hair.faces.astype(np.int32),
            "landmarks": self.landmarks,
            "head_height": np.array(self.head_height, np.float64),
            "camera": self.camera.label,
            "attributes": np.frombuffer(attributes, np.uint8),
            "photo.sha256": np.frombuffer(photo_sha256, np.uint8),
        }


def find_truths(folder: Path) -> list[Path]:
    """The heads of a folder, sorted by name; hidden files are passed over.

    Raises:
        ResultsError: the folder is not there, cannot be read, or holds no head.
    """
    try:
        found = sorted(path for path in folder.iterdir() if path.suffix == ".npz" and not path.name.startswith("."))
    except NotADirectoryError as error:
        raise ResultsError(f"{folder} is not a folder; give the folder that holds the synthetic heads.") from error
    except FileNotFoundError as error:
        raise ResultsError(f"{folder} is not there; give the folder that holds the synthetic heads.") from error
    except OSError as error:
        raise ResultsError(f"Cannot read the folder {folder} ({error.strerror}); check its permissions.") from error
    if not found:
        raise ResultsError(f"{folder} holds no synthetic head (.npz with its .png); give the folder of a test set.")
    return found


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:  # sizes are known before anything is unpacked
        large = [entry.filename for entry in archive.infolist() if entry.file_size > LARGEST]
        if large:
            raise ValueError(f"{large[0]} claims to be larger than {LARGEST >> 20} MB")
    with np.load(path, allow_pickle=False) as data:
        if "format" in data and (version := data["format"]).shape == () and int(version) != FORMAT:
            raise ResultsError(
                f"The head in {path} has format {int(version)}, and this version reads {FORMAT}; make the test set "
                "anew, or install the version that made it."
            )
        return {name: data[name] for name in data.files}


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError with a part of a sentence, or KeyError."""
    count = len(np.atleast_1d(arrays["points"]))
    if count < 2:
        raise ValueError(f"it has {count} points")
    wanted = {
        "format": ((), np.int64),
        "points": ((count, 3), np.float32),
        "normals": ((count, 3), np.float32),
        "colors": ((count, 3), np.uint8),
        "labels": ((count,), np.uint8),
        "landmarks": ((478, 3), np.float32),
        "head_height": ((), np.float64),
        "camera": ((25,), np.float32),
        "attributes": ((arrays["attributes"].size,), np.uint8),
        "photo.sha256": ((32,), np.uint8),
    }
    for part in ("body", "hair"):
        wanted[f"{part}.vertices"] = ((len(np.atleast_1d(arrays[f"{part}.vertices"])), 3), np.float32)
        wanted[f"{part}.faces"] = ((len(np.atleast_1d(arrays[f"{part}.faces"])), 3), np.int32)
    for name, (shape, kind) in wanted.items():
        array = arrays[name]
        if array.shape != shape or array.dtype != kind:
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, not {np.dtype(kind)} of {shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds what is no number")
    if int(arrays["labels"].max()) > max(Part):
        raise ValueError(f"labels holds {arrays['labels'].max()}, and the largest is {max(Part)}")
    if np.abs(np.linalg.norm(arrays["normals"], axis=1) - 1).max() > 1e-2:
        raise ValueError("normals are not of length 1")
    if not arrays["head_height"] > 0:
        raise ValueError(f"head_height is {arrays['head_height']}")
    for part in ("body", "hair"):
        vertices, faces = arrays[f"{part}.vertices"], arrays[f"{part}.faces"]
        if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
            raise ValueError(f"{part}.faces name vertices that are not there")
    if len(arrays["body.faces"]) == 0:
        raise ValueError("body has no faces")
    camera = Camera.from_label(arrays["camera"])
    turn = camera.cam2world[:3, :3]
    rigid = np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) and np.linalg.det(turn) > 0
    if not rigid or not np.array_equal(camera.cam2world[3], [0, 0, 0, 1]) or not camera.intrinsics[0, 0] > 0:
        raise ValueError("camera is none that can be")
    if type(json.loads(arrays["attributes"].tobytes())) is not dict:
        raise ValueError("attributes is not a JSON object")


def _to_uint8(colors: np.ndarray) -> np.ndarray:
    """Colours as they stand in the files, of uint8 or of floats in [0, 1]."""
    colors = np.asarray(colors)
    if colors.dtype == np.uint8:
        return colors
    return np.clip(np.rint(colors * 255.0), 0, 255).astype(np.uint8)


def _decode_photo(png: bytes, sha256: np.ndarray) -> np.ndarray:
    """Raises ValueError with a part of a sentence."""
    if hashlib.sha256(png).digest() != sha256.tobytes():
        raise ValueError("the PNG beside it is not the photo that was written with it")
    photo = decode_png(png)
    _check_photo(photo)
    return photo


def _check_photo(photo: np.ndarray) -> None:
    if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[0] != photo.shape[1] or photo.shape[2] != 3:
        raise ValueError(f"the photo is {photo.dtype} of shape {photo.shape}, not uint8 of (S, S, 3)")
    if not 64 <= len(photo) <= 4096:
        raise ValueError(f"the photo is {len(photo)} pixels wide, not 64 to 4096")


def _damaged(path: Path, why: str) -> ResultsError:
    return ResultsError(f"The head in {path} is damaged: {why}; make it anew.")
