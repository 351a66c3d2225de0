"""One head's record: a few files in a shard, packed from numpy arrays and read back as such. Under the sampler."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...camera import Camera
from ...errors import ResultsError
from .manifest import damaged
from .options import DataOptions
from .packing import (
    decode_picture,
    encode_jpeg,
    encode_plane,
    pack_colors,
    pack_depth,
    pack_distances,
    pack_normals,
    pack_places,
    unpack_depth,
    unpack_distances,
    unpack_normals,
    unpack_places,
)

_LONGEST_JSON = 1 << 20  # bytes
LANDMARKS = 478
HAIR = 1  # of body.Label
KINDS = ("photo", "around")  # of views


@dataclass(frozen=True, eq=False)
class StoredView:
    """A view as ``views.View`` has it, out of a file. Pixels beyond the head have depth inf, normal 0 and label 255.

    Hair has no normals here: those of single strands are noise at this size, and half of what a view would take. The
    hull's are with the points.
    """

    image: np.ndarray  # (S, S, 3) uint8 sRGB
    matte: np.ndarray  # (S, S) uint8
    depth: np.ndarray  # (S, S) float32 world units along the view axis
    normals: np.ndarray  # (S, S, 3) float32 in the world
    labels: np.ndarray  # (S, S) uint8
    camera: Camera  # PanoHead's label
    lens: Camera  # the one that saw it
    kind: str  # "photo" or "around"
    attributes: dict[str, Any]


class StoredHead:
    """One head of a data set. What is asked for is unpacked then, and checked; nothing of it is kept.

    Every attribute raises ResultsError where its file is damaged or missing.
    """

    def __init__(self, number: int, files: Mapping[str, bytes], options: DataOptions, path: Path) -> None:
        self.number = number
        self._files, self._options, self._path = files, options, path

    @cached_property
    def about(self) -> dict[str, Any]:
        """What is no array: ``seed``, ``number``, ``head_height``, ``attributes``, and kind and attributes of views."""
        content = self._file("head.json")
        try:
            about = json.loads(content[:_LONGEST_JSON])
            sound = isinstance(about["attributes"], dict) and float(about["head_height"]) > 0
            sound &= about["number"] == self.number and len(about["views"]) == self.views
            sound &= all(view["kind"] in KINDS and isinstance(view["attributes"], dict) for view in about["views"])
        except (ValueError, TypeError, KeyError, RecursionError):
            sound, about = False, {}
        if not sound:
            raise self._damaged("head.json does not describe it")
        return about

    @property
    def attributes(self) -> dict[str, Any]:
        """Style, sex, years and so on."""
        return self.about["attributes"]

    @property
    def head_height(self) -> float:
        """From the chin to the top of the skull, world units."""
        return float(self.about["head_height"])

    @property
    def points(self) -> np.ndarray:
        """(N, 3) float32 world units, on the surface; denser on the face."""
        return unpack_places(self._array("points", (self._options.points, 3), np.int16))

    @property
    def normals(self) -> np.ndarray:
        """(N, 3) float32 of length 1, outwards."""
        return unpack_normals(self._array("normals", (self._options.points, 2), np.uint8))

    @property
    def colors(self) -> np.ndarray:
        """(N, 3) uint8 sRGB, unlit."""
        return self._array("colors", (self._options.points, 3), np.uint8)

    @property
    def labels(self) -> np.ndarray:
        """(N,) uint8, of ``body.Label``."""
        return self._array("labels", (self._options.points,), np.uint8)

    @property
    def samples(self) -> np.ndarray:
        """(M, 3) float32 places in the cube of half-side 0.5, in random order: near the surface, and all over."""
        return unpack_places(self._array("samples", (self._options.samples, 3), np.int16))

    @property
    def distances(self) -> np.ndarray:
        """(M, 2) float32 signed distance at each sample: of all, and of the body without hair."""
        return unpack_distances(self._array("distances", (self._options.samples, 2), np.int16))

    @property
    def landmarks(self) -> np.ndarray:
        """(478, 3) float32 on the surface."""
        return self._array("landmarks", (LANDMARKS, 3), np.float32)

    @property
    def views(self) -> int:
        """How many there are: first the photos, then those from around."""
        return self._options.photos + self._options.around

    def cameras(self, view: int) -> tuple[Camera, Camera]:
        """PanoHead's label of a view, and the lens that saw it."""
        camera, lens = self._array("cameras", (self.views, 2, 25), np.float32)[view]
        try:
            return Camera.from_label(camera), Camera.from_label(lens)
        except ValueError as error:
            raise self._damaged("cameras.bin holds what is no camera") from error

    def image(self, view: int) -> np.ndarray:
        """(S, S, 3) uint8 sRGB of a view."""
        return self._picture(f"view{view}.jpg", np.uint8, 1, 3)

    def matte(self, view: int) -> np.ndarray:
        """(S, S) uint8 of a view."""
        return self._picture(f"view{view}.matte.png", np.uint8)

    def view(self, view: int) -> StoredView:
        """All of one view; ``image`` and ``matte`` alone are cheaper."""
        camera, lens = self.cameras(view)
        about = self.about["views"][view]
        both = self._picture(f"view{view}.normals.png", np.uint8, 2)
        return StoredView(
            image=self.image(view),
            matte=self.matte(view),
            depth=unpack_depth(self._picture(f"view{view}.depth.png", np.uint16)),
            normals=unpack_normals(np.stack(np.split(both, 2), axis=-1)),
            labels=self._picture(f"view{view}.labels.png", np.uint8),
            camera=camera,
            lens=lens,
            kind=about["kind"],
            attributes=about["attributes"],
        )

    def _file(self, name: str) -> bytes:
        if name not in self._files:
            raise self._damaged(f"{name} is missing")
        return self._files[name]

    def _array(self, name: str, shape: tuple[int, ...], kind: Any) -> np.ndarray:
        content, wanted = self._file(f"{name}.bin"), np.dtype(kind).newbyteorder("<")
        if len(content) != math.prod(shape) * wanted.itemsize:
            raise self._damaged(f"{name}.bin has {len(content)} bytes, not those of {wanted.name} {shape}")
        array = np.frombuffer(content, wanted).reshape(shape)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise self._damaged(f"{name}.bin holds what is no number")
        return array

    def _picture(self, name: str, kind: type, planes: int = 1, *colors: int) -> np.ndarray:
        size = self._options.size
        try:
            return decode_picture(self._file(name), (planes * size, size, *colors), kind)
        except ValueError as error:
            raise self._damaged(f"{name}: {error}") from error

    def _damaged(self, why: str) -> ResultsError:
        return damaged(self._path, f"of head {self.number}, {why}")


def pack_record(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray], views: Sequence[Any]) -> dict[str, bytes]:
    """The files of a head: name to content; the same head gives the same bytes.

    Args:
        about: ``seed``, ``number``, ``head_height``, ``attributes``; plain JSON.
        arrays: points, normals, colors and labels of the surface, samples (M, 3) as ``pack_places`` gives them,
            distances (M, 2), landmarks; all else in the units of ``StoredHead``.
        views: ``views.View``, first the photos.

    Raises:
        ValueError: a value is out of the range that can be packed.
    """
    about = {**about, "views": [{"kind": view.kind, "attributes": view.attributes} for view in views]}
    cameras = [np.stack([view.camera.label, view.lens.label]) for view in views]
    packed = {
        "points": pack_places(arrays["points"]),
        "normals": pack_normals(arrays["normals"]),
        "colors": pack_colors(arrays["colors"]),
        "labels": arrays["labels"].astype(np.uint8),
        "samples": arrays["samples"],
        "distances": pack_distances(arrays["distances"]),
        "landmarks": arrays["landmarks"].astype(np.float32),
        "cameras": np.array(cameras, np.float32).reshape(len(views), 2, 25),
    }
    files = {"head.json": json.dumps(about, sort_keys=True, allow_nan=False).encode()}
    for name, array in packed.items():
        files[f"{name}.bin"] = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    for place, view in enumerate(views):
        normals = pack_normals(np.where(view.labels[..., None] == HAIR, 0, view.normals))
        files[f"view{place}.jpg"] = encode_jpeg(view.image)
        files[f"view{place}.matte.png"] = encode_plane(view.matte)
        files[f"view{place}.labels.png"] = encode_plane(view.labels)
        files[f"view{place}.depth.png"] = encode_plane(pack_depth(view.depth))
        files[f"view{place}.normals.png"] = encode_plane(np.concatenate([normals[..., 0], normals[..., 1]]))
    return files
