"""Synthetic heads made ready for the starter model: each photo with the template fitted to it, measured at all places.

What costs much and never changes (landmarks, fit, distances) is done once for each head of a data set and kept as one
safetensors file a head. Several processes share the work; it goes on where it was left.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from .. import stop
from ..errors import OptionError, ResultsError
from ..networks.starter import plane_points
from ..portrait.detectors import detect_meshes
from ..portrait.portrait import Crop, Portrait
from ..progress import Listener, Progress
from ..results.folder import told, write_file
from ..template.fit import TemplateFit
from ..template.lean import Leaning, lean, leaning
from ..training.dataset.packing import pack_places, unpack_places
from ..training.dataset.read import open_dataset
from ..training.dataset.record import StoredHead
from ..training.workers import in_order

NAME = "examples.json"
FORMAT = 1
_PORTRAIT = 512  # pixels of the picture in which landmarks are looked for
_MISSED = 0.0035  # image widths by which true landmarks are moved where no face is found: as found ones err


@dataclass(frozen=True)
class ExampleOptions:
    """What decides the bytes of the examples, beside the data set."""

    size: int = 128
    """Side of the pictures in pixels."""
    planes: int = 64
    """Cells along the side of a plane at which the template is measured."""
    slices: int = 3
    """Slices of a plane."""
    samples: int = 12000
    """Places around the surface; the first of each head's."""
    points: int = 8000
    """Points on the surface; likewise."""


@dataclass(frozen=True, eq=False)
class Example:
    """One head with V photos. P = samples + points places: those around the surface, then those on it."""

    number: int
    picture: np.ndarray  # (V, S, S, 4) uint8: sRGB, matte
    camera: np.ndarray  # (V, 25) float32 labels
    planes: np.ndarray  # (V, 2, 3, slices, R, R) float16: the fitted template's distances at the cells, bald and hairy
    places: np.ndarray  # (P, 3) float32
    leaning: np.ndarray  # (V, P, 5) float16: at the places, distances bald and hairy, rest coordinates
    distance: np.ndarray  # (P,) float32: the true signed distance; 0 on the surface
    normals: np.ndarray  # (points, 3) float32
    colors: np.ndarray  # (points, 3) uint8
    labels: np.ndarray  # (points,) uint8
    found: np.ndarray  # (V,) bool: MediaPipe found the face
    fit: np.ndarray  # (V, K + 9) float32: the fitted template's coefficients, rotation, shift, log_scale, thickness

    def leaning_of(self, view: int) -> Leaning:
        """The template as it was fitted to one of the photos."""
        coefficients, rotation, shift, log_scale, thickness = np.split(
            self.fit[view].astype(np.float64), np.cumsum([self.fit.shape[1] - 9, 3, 3, 1])
        )
        return leaning(TemplateFit(coefficients, rotation, shift, float(log_scale[0]), float("nan")), thickness)


class Examples:
    """The examples of a folder; made by ``open_examples``.

    Args:
        folder: where they lie.
        options: what they were made with.
        numbers: of the heads.
        source: the record of the data set they were made of, as it stands in their own.
    """

    def __init__(self, folder: Path, options: ExampleOptions, numbers: list[int], source: Mapping[str, str]) -> None:
        self.folder, self.options, self.numbers, self.source = folder, options, numbers, source

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> Example:
        """The example at ``place``.

        Raises:
            ResultsError: its file is missing or damaged.
        """
        number = self.numbers[place]
        path = self.folder / _file(number)
        try:
            arrays = load(path.read_bytes())
            places = unpack_places(arrays.pop("places"))
            arrays["found"] = arrays["found"].astype(bool)
            return Example(number, places=places, **arrays)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ResultsError(
                f"{path} is damaged or missing; delete it and run headstitch train prepare again."
            ) from error


def prepare(
    dataset: Path,
    folder: Path,
    options: ExampleOptions,
    *,
    workers: int = 1,
    heads: int | None = None,
    progress: Listener | None = None,
) -> Examples:
    """Make the examples of all finished heads of a data set that are not there yet.

    Args:
        dataset: its folder.
        folder: where the examples go.
        options: they cannot change once a folder has been begun.
        workers: processes; 0 works in this one.
        heads: at most so many, the first by number.
        progress: told of each head.

    Raises:
        ResultsError: the data set cannot be read, or the disk refuses.
        OptionError: the folder holds examples of other options or of another data set.
        ResourceError: there is not the memory for so many workers.
    """
    source = open_dataset(dataset)
    if source.options.photos < 1:
        raise OptionError(f"The data set in {dataset} has no photos; make one with --photos 1 or more.")
    record = {
        "headstitch_examples": FORMAT,
        "options": vars(options),
        "source": {"sampler": source.manifest.sampler, "options": json.dumps(source.options.record, sort_keys=True)},
    }
    _begin(folder, record)
    wanted = source.numbers[:heads]
    missing = [number for number in wanted if not (folder / _file(number)).exists()]
    jobs = [(dataset, folder, options, number) for number in missing]
    with contextlib.closing(in_order(_make, jobs, workers)) as results:
        for done, _ in enumerate(results):
            stop.check()
            if progress is not None:
                progress(Progress(f"head {missing[done]}", (done + 1) / len(missing), None))
    return open_examples(folder)


def open_examples(folder: Path) -> Examples:
    """The examples in a folder; none is read now.

    Raises:
        ResultsError: there are none, or their record is damaged or of another format.
    """
    path = folder / NAME
    again = "run headstitch train prepare."
    try:
        record = json.loads(path.read_bytes())
        if record["headstitch_examples"] != FORMAT:
            raise ResultsError(f"{path} is of another format; {again}")
        options, source = ExampleOptions(**record["options"]), dict(record["source"])
    except FileNotFoundError as error:
        raise ResultsError(f"{folder} holds no examples ({NAME} is missing); {again}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} is damaged; {again}") from error
    numbers = sorted(int(found.stem.removeprefix("head_")) for found in folder.glob("head_*.safetensors"))
    if not numbers:
        raise ResultsError(f"{folder} holds no example yet; {again}")
    return Examples(folder, options, numbers, source)


def make_example(head: StoredHead, options: ExampleOptions) -> Example:
    """The example of one head.

    Raises:
        ResultsError: the head's record is damaged.
    """
    dice = np.random.default_rng([head.number, options.size])
    photos = [view for view, about in enumerate(head.about["views"]) if about["kind"] == "photo"]
    places = np.concatenate([head.samples[: options.samples], head.points[: options.points]])
    cells = plane_points(options.planes, options.slices).numpy()
    everywhere = np.concatenate([places, cells.reshape(-1, 3)]).astype(np.float32)
    pictures, cameras, planes, leanings, found, fits = [], [], [], [], [], []
    for view in photos:
        portrait, was_found = _portrait(head, view, dice)
        lent = lean(portrait)
        bald, hairy, rest = lent.measure(everywhere)
        near = np.stack([bald, hairy])
        both = np.dstack([portrait.image, np.rint(255 * portrait.matte).astype(np.uint8)])
        pictures.append(cv2.resize(both, (options.size, options.size), interpolation=cv2.INTER_AREA))
        cameras.append(portrait.camera.label)
        planes.append(near[:, len(places) :].reshape(2, *cells.shape[:-1]))
        leanings.append(np.concatenate([near[:, : len(places)].T, rest[: len(places)]], axis=1))
        found.append(was_found)
        fit = lent.fit
        fits.append([*fit.coefficients, *fit.rotation, *fit.shift, fit.log_scale, *lent.thickness])
    on_surface = np.zeros(len(head.points[: options.points]), np.float32)
    return Example(
        number=head.number,
        picture=np.stack(pictures),
        camera=np.stack(cameras).astype(np.float32),
        planes=np.stack(planes).astype(np.float16),
        places=places,
        leaning=np.stack(leanings).astype(np.float16),
        distance=np.concatenate([head.distances[: options.samples, 0], on_surface]),
        normals=head.normals[: options.points],
        colors=head.colors[: options.points],
        labels=head.labels[: options.points],
        found=np.array(found),
        fit=np.array(fits, np.float32),
    )


def _portrait(head: StoredHead, view: int, dice: np.random.Generator) -> tuple[Portrait, bool]:
    """A photo of the head as ``make_portrait`` would hand it on, but with its true camera and matte."""
    camera, lens = head.cameras(view)
    image, matte = (
        cv2.resize(picture, (_PORTRAIT, _PORTRAIT), interpolation=cv2.INTER_CUBIC)
        for picture in (head.image(view), head.matte(view))
    )
    meshes = [mesh / _PORTRAIT for mesh in detect_meshes(image)]
    true = lens.project(head.landmarks)[:, :2]
    # A face in a background is not this one's.
    near = [mesh for mesh in meshes if np.linalg.norm(mesh[:, :2] - true, axis=1).mean() < 0.05]
    landmarks = near[0][:, :2] if near else true + dice.normal(0, _MISSED, true.shape)
    crop = Crop(_PORTRAIT / 2, _PORTRAIT / 2, _PORTRAIT, 0.0)
    placed = np.column_stack([landmarks, np.zeros(len(landmarks))]).astype(np.float32)
    return Portrait(image, crop, image, matte.astype(np.float32) / 255, placed, camera, ""), bool(near)


def _make(job: tuple[Path, Path, ExampleOptions, int]) -> None:
    dataset, folder, options, number = job
    cv2.setNumThreads(1)
    example = make_example(_dataset(dataset).head(number), options)
    arrays = {name: np.ascontiguousarray(value) for name, value in vars(example).items() if name != "number"}
    arrays["places"], arrays["found"] = pack_places(example.places), example.found.astype(np.uint8)
    with told(folder):
        write_file(folder / _file(number), save(arrays))


_dataset = functools.lru_cache(1)(open_dataset)


def _file(number: int) -> str:
    return f"head_{number:07d}.safetensors"


def _begin(folder: Path, record: Mapping[str, object]) -> None:
    path = folder / NAME
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            if any(folder.glob("head_*.safetensors")):
                raise ResultsError(f"{path} is missing beside its examples; choose another folder.")
            write_file(path, f"{json.dumps(record, indent=1)}\n".encode())
    try:
        there = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} is damaged; choose another folder.") from error
    if there != json.loads(json.dumps(record)):
        raise OptionError(f"{folder} holds examples of another data set or of other options; choose another folder.")
