"""Head: the end of the journey, in memory and as a folder on the disk."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from ..camera import Camera
from ..errors import ResultsError
from ..meshing.mesh import Mesh, SurfaceReport, TexturedMesh
from .folder import PRODUCT, own_files, recover, told, write_folder
from .glb import METRES_PER_UNIT, write_glb
from .pictures import decode_png, encode_png
from .provenance import SENTENCE
from .record import SCHEMA, pack_origin, unpack_origin
from .report import QualityReport

PHOTO, DEBUG = "photo.png", "debug.png"
LATENT = "latent.safetensors"
RECORD = "record"  # array in it: where the head comes from
UNITS = (
    "World units: y up, x to the viewer's right of a frontal face, z out of the face, origin at the head's centre. "
    "Cameras are OpenCV's: x right, y down, z forward; intrinsics in image widths."
)


@dataclass(frozen=True, eq=False)
class Head:
    """A finished head.

    As a folder: ``head.glb`` (for every 3D program; metres), ``head.npz`` (welded mesh, UVs and camera; world units),
    ``albedo.png``, ``latent.safetensors`` (what the field was made from), ``preview.png``, and ``head.json``
    (provenance, quality, and the SHA-256 of the other files); ``photo.png`` where a photo was, and ``debug.png`` where
    it was asked for.
    """

    mesh: TexturedMesh
    camera: Camera  # the photo's
    surface: SurfaceReport
    latent: dict[str, np.ndarray]
    record: dict[str, Any]  # see ``record.make_record``
    preview: np.ndarray  # (H, W, 3) uint8 sRGB
    quality: QualityReport | None = None
    photo: np.ndarray | None = None  # (S, S, 3) uint8 sRGB, the square of it that the camera sees
    debug: np.ndarray | None = None  # (H, W, 3) uint8 sRGB, how the model came to it
    folder: Path | None = None  # where it lies, once it was saved or loaded

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the journey found worth saying; the quality report has warnings of its own."""
        return tuple(self.record.get("warnings", ()))

    def save(self, folder: Path | str) -> Head:
        """Write the head as ``folder``, whole or not at all, and return it with its ``folder`` set.

        Same head, same bytes, except for what stands under ``run`` in head.json.

        Raises:
            ResultsError: something that is no head of ours is there, or the disk refuses. The folder is as before.
        """
        return replace(self, folder=write_folder(Path(folder), self._files()))

    @staticmethod
    def load(folder: Path | str) -> Head:
        """Read a head that ``save`` wrote.

        Raises:
            ResultsError: the folder holds no head, a part is missing or cannot be read, or a newer version wrote it.
        """
        folder = Path(folder)
        with told(folder):
            recover(folder)
        record = read_record(folder)
        try:
            mesh, camera = _unpack((folder / "head.npz").read_bytes())
            return Head(
                mesh=TexturedMesh(*mesh, decode_png((folder / "albedo.png").read_bytes())),
                camera=camera,
                surface=SurfaceReport(**record.pop("surface")),
                latent=_without_record(safetensors.load((folder / LATENT).read_bytes())),
                preview=decode_png((folder / "preview.png").read_bytes()),
                quality=None if (quality := record.pop("quality")) is None else QualityReport.from_dict(quality),
                photo=_read_extra(folder, PHOTO),
                debug=_read_extra(folder, DEBUG),
                record={key: value for key, value in record.items() if key not in ("camera", "files")},
                folder=folder,
            )
        except FileNotFoundError as error:
            raise ResultsError(f"{folder} lacks {Path(error.filename).name}; make this head anew.") from error
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            SafetensorError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise ResultsError(f"The head in {folder} cannot be read ({error}); make it anew.") from error

    def _files(self) -> dict[str, bytes]:
        """Name to content, head.json last because it holds the others' hashes."""
        png = encode_png(self.mesh.albedo)
        origin = {name: self.record.get(name) for name in ("product", "version", "photo", "model")}
        arrays = {**self.latent, RECORD: pack_origin(self.record)}
        latent = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
        files = {
            "head.glb": write_glb(self.mesh, watertight=self.surface.watertight, png=png, extras=origin),
            "head.npz": _pack(self.mesh, self.camera),
            "albedo.png": png,
            # One key of metadata only: safetensors writes several in no fixed order.
            LATENT: safetensors.save(latent, metadata={"generated_content": SENTENCE}),
            "preview.png": encode_png(self.preview),
        }
        if self.photo is not None:
            files[PHOTO] = encode_png(self.photo, generated=False)
        if self.debug is not None:
            files[DEBUG] = encode_png(self.debug)
        record = {
            **self.record,
            "camera": {
                "cam2world": np.asarray(self.camera.cam2world, np.float64).tolist(),
                "intrinsics": np.asarray(self.camera.intrinsics, np.float64).tolist(),
            },
            "surface": asdict(self.surface),
            "quality": None if self.quality is None else self.quality.to_dict(),
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
        }
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
        return {**files, "head.json": f"{text}\n".encode()}


@dataclass(frozen=True, eq=False)
class Origin:
    """What a head can be made again from, with its model."""

    path: Path  # of the head's folder, or of the latent.safetensors
    latent: dict[str, np.ndarray]
    camera: Camera  # the photo's
    record: dict[str, Any]  # of the head; from the file alone, what is always the same of it
    photo: np.ndarray | None = None  # (S, S, 3) uint8 sRGB, the square of it that the camera sees
    debug: np.ndarray | None = None  # (H, W, 3) uint8 sRGB

    @staticmethod
    def load(path: Path | str) -> Origin:
        """Read a head's folder, or nothing but its latent.safetensors, wherever it lies now.

        Raises:
            ResultsError: there is neither, a part is missing or cannot be read, or a newer version wrote it.
        """
        path = Path(path)
        if not path.is_file():
            head = Head.load(path)
            return Origin(path, head.latent, head.camera, _origin_told(head.record, path), head.photo, head.debug)
        try:
            latent = safetensors.load(path.read_bytes())
            record = unpack_origin(latent[RECORD])
            camera = Camera.from_label(latent["camera"])
        except (OSError, SafetensorError) as error:
            raise ResultsError(
                f"{path} cannot be read as a head's {LATENT} ({error}); give that file, or the head's folder."
            ) from error
        except (KeyError, ValueError, RecursionError) as error:
            raise ResultsError(
                f"{path} does not tell what head it is of ({error}); give the head's folder, or make the head anew."
            ) from error
        return Origin(path, _without_record(latent), camera, _origin_told(checked_record(record, path), path))


def changed_files(folder: Path) -> tuple[str, ...]:
    """The files of a head that are missing or are not those that were written with it, by their hashes in head.json.

    Raises:
        ResultsError: the folder holds no head.
    """
    hashes = read_record(folder).get("files", {})
    changed = []
    for name in own_files(folder)[:-1]:
        try:
            same = hashlib.sha256((folder / name).read_bytes()).hexdigest() == hashes.get(name)
        except FileNotFoundError:
            same = False
        if not same:
            changed.append(name)
    return tuple(changed)


def read_record(folder: Path) -> dict[str, Any]:
    """What head.json says.

    Raises:
        ResultsError: the folder holds no head, or another version wrote it.
    """
    try:
        record = json.loads((folder / "head.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"{folder} holds no head; give a folder that headstitch reconstruct made.") from error
    return checked_record(record, folder)


def _origin_told(record: dict[str, Any], path: Path) -> dict[str, Any]:
    """A record that tells of which photo and model the head is."""
    for part in ("photo", "model"):
        origin = record.get(part)
        if not isinstance(origin, dict) or not all(isinstance(origin.get(key), str) for key in ("name", "sha256")):
            raise ResultsError(f"The record of {path} does not tell the head's {part}; make the head anew.")
    return record


def checked_record(record: Any, path: Path) -> dict[str, Any]:
    """A record that this version can read.

    Args:
        record: as it came out of JSON.
        path: where it was found, for the sentence.

    Raises:
        ResultsError: it is no head's, or another version's.
    """
    if not isinstance(record, dict) or record.get("product") != PRODUCT:
        raise ResultsError(f"{path} holds no head of Headstitch; give a folder that headstitch reconstruct made.")
    if record.get("schema") != SCHEMA:
        raise ResultsError(
            f"The head in {path} has format {record.get('schema')}, and this version reads {SCHEMA}; "
            "make it anew, or install the version that made it."
        )
    return record


def _without_record(latent: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays that the field was made from; the record goes its own way."""
    return {name: array for name, array in latent.items() if name != RECORD}


def _read_extra(folder: Path, name: str) -> np.ndarray | None:
    """An optional picture; a head is whole without it, also where someone has thrown it away."""
    if name not in own_files(folder) or not (folder / name).exists():
        return None
    return decode_png((folder / name).read_bytes())


def _pack(head: TexturedMesh, camera: Camera) -> bytes:
    """head.npz. NumPy writes every entry with the same old date, so equal arrays give equal bytes."""
    stream = io.BytesIO()
    np.savez(
        stream,
        vertices=np.asarray(head.mesh.vertices, np.float32),
        faces=np.asarray(head.mesh.faces, np.int32),
        corner_uvs=np.asarray(head.corner_uvs, np.float32),
        cam2world=np.asarray(camera.cam2world, np.float64),
        intrinsics=np.asarray(camera.intrinsics, np.float64),
        metres_per_unit=np.float64(METRES_PER_UNIT),
        note=np.array(f"{SENTENCE} {UNITS}"),
    )
    return stream.getvalue()


def _unpack(data: bytes) -> tuple[tuple[Mesh, np.ndarray], Camera]:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        vertices, faces, uvs = arrays["vertices"], arrays["faces"], arrays["corner_uvs"]
        camera = Camera(arrays["cam2world"], arrays["intrinsics"])
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or uvs.shape != (*faces.shape, 2):
        raise ValueError("head.npz has arrays of the wrong shapes")
    if len(faces) and not (faces.min() >= 0 and faces.max() < len(vertices)):
        raise ValueError("head.npz has faces without vertices")
    if camera.cam2world.shape != (4, 4) or camera.intrinsics.shape != (3, 3):
        raise ValueError("head.npz has no proper camera")
    return (Mesh(vertices, faces), uvs), camera.checked()
