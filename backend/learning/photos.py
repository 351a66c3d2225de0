"""Folders of photos with camera labels, as PanoHead and EG3D lay them out: what the paper's encoders learn from.

A folder holds aligned square crops (JPEG, PNG or WebP, also in folders below) and dataset.json: ``{"labels": [[name, 25
numbers], ...]}``. A photo's transparency is its matte; an opaque one is cut out by ours.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ..camera import Camera
from ..errors import PhotoError, TrainingError
from ..networks.encoder import mirror_camera
from ..portrait.image import load_photo
from ..portrait.matte import make_matte
from .order import Order

LABELS = "dataset.json"
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
BIN = math.radians(10)  # of yaw, in which poses are counted
MOST_BROKEN = 20  # in a row: then it is not single photos that are broken
NO_LANDMARKS = np.full((478, 3), np.nan, np.float32)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Photos and their cameras, not yet read."""

    paths: tuple[Path, ...]
    names: tuple[str, ...]
    labels: np.ndarray  # (N, 25) float32
    unlabelled: tuple[str, ...]
    """Photos that no label names; they are left out."""

    @property
    def sha256(self) -> str:
        """Of the names and the labels: the same data, wherever they lie."""
        return hashlib.sha256("\n".join(self.names).encode() + self.labels.tobytes()).hexdigest()

    def split(self, count: int) -> tuple[Labelled, Labelled]:
        """All but ``count`` photos, and these, evenly spread; at most a tenth of all is split off."""
        count = min(count, len(self.paths) // 10)
        apart = np.unique(np.linspace(0, len(self.paths) - 1, count).round().astype(np.int64))
        return self._some(np.setdiff1d(np.arange(len(self.paths)), apart)), self._some(apart)

    def _some(self, which: np.ndarray) -> Labelled:
        paths, names = (tuple(every[number] for number in which) for every in (self.paths, self.names))
        return Labelled(paths, names, self.labels[which], self.unlabelled)  # pyright: ignore[reportArgumentType]

    def repeats(self, power: float, most: int) -> np.ndarray:
        """How often each photo comes in a round, (N,) whole numbers from 1 to ``most``: the scarcer its yaw, the more.

        Left and right are counted together, in steps of 10 degrees; the scarcity is to the commonest step's.
        """
        yaw = np.array([Camera.from_label(label).angles[0] for label in self.labels])
        step = np.abs(yaw) // BIN
        _, inverse, counts = np.unique(step, return_inverse=True, return_counts=True)
        return np.clip(np.round((counts.max() / counts) ** power), 1, most).astype(np.int64)[inverse]


def find_photos(folders: Sequence[Path]) -> Labelled:
    """The labelled photos of all folders, each folder's in the order of its dataset.json. Reads no picture.

    Raises:
        TrainingError: a folder has no labels, a label is none or names a photo that is not there.
    """
    paths: list[Path] = []
    names: list[str] = []
    labels: list[np.ndarray] = []
    unlabelled: list[str] = []
    for folder in folders:
        found = _labels(folder)
        there = {
            path.relative_to(folder).as_posix(): path
            for path in sorted(folder.rglob("*"))
            if path.suffix.lower() in SUFFIXES and path.is_file()
        }
        missing = [name for name in found if name not in there]
        if missing:
            raise TrainingError(
                f"{folder / LABELS} names {_some(missing, 'photo')} that {'is' if len(missing) == 1 else 'are'} not "
                "there; put them beside it, or take their labels out."
            )
        unlabelled += [str(folder / name) for name in there if name not in found]
        paths += [there[name] for name in found]
        names += list(found)
        labels += list(found.values())
    if not paths:
        raise TrainingError("There is no labelled photo; give folders of photos with a dataset.json in each.")
    return Labelled(tuple(paths), tuple(names), np.stack(labels), tuple(unlabelled))


class Photos:
    """Photos as tensors, in an order that a step's number decides.

    A photo that cannot be read is told of once and passed over: the next in the order takes its place, the same one
    on every run.

    Args:
        found: the photos.
        size: side that they are averaged down to.
        background: colour in [-1, 1] that they are laid over.
        seed: of the order.
        repeats: of each photo in a round.
        mirror: whether each comes mirrored as well, with its camera.
        tell: handed a sentence about each photo that is passed over.
    """

    def __init__(
        self,
        found: Labelled,
        *,
        size: int,
        background: tuple[float, float, float] = (1.0, 1.0, 1.0),
        seed: int = 0,
        repeats: np.ndarray | None = None,
        mirror: bool = True,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.found, self.size, self.background, self.mirror, self._tell = found, size, background, mirror, tell
        once = np.ones(len(found.paths), np.int64) if repeats is None else repeats
        self._order = Order(seed, np.concatenate([once, once]) if mirror else once)
        self._broken: set[int] = set()

    def sample(self, at: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The photo (3, S, S) float32 in [-1, 1] that comes after ``at`` others, and its camera's label (25,).

        Raises:
            TrainingError: this photo and those that come next are all broken.
        """
        for later in range(MOST_BROKEN):
            number = self._order[at + later]
            mirrored, which = divmod(number, len(self.found.paths))
            if which not in self._broken:
                try:
                    picture = self.read(self.found.paths[which])
                except PhotoError as error:
                    self._broken.add(which)
                    self._tell(f"{self.found.paths[which]} is passed over: {error}")
                else:
                    label = torch.from_numpy(self.found.labels[which])
                    return (picture.flip(-1), mirror_camera(label)) if mirrored else (picture, label)
        raise TrainingError(
            f"{MOST_BROKEN} photos in a row cannot be read, the last one {self.found.paths[which]}; "
            "check that the disk is there and that these are photos."
        )

    def read(self, path: Path) -> torch.Tensor:
        """A photo as it is (3, S, S) float32 in [-1, 1], before the background.

        Raises:
            PhotoError: it cannot be read, is not square, or is smaller than half of what is asked for.
        """
        photo = load_photo(path)
        height, width = photo.pixels.shape[:2]
        if height != width or 2 * height < self.size:
            raise PhotoError(f"It has {width}x{height} pixels; give square crops of at least {self.size // 2}.")
        if photo.alpha is None:
            side = min(height, 512)  # what the matte is made for
            small = cv2.resize(photo.pixels, (side, side), interpolation=cv2.INTER_AREA)
            matte = make_matte(small, NO_LANDMARKS, np.ones((side, side), np.float32))
        else:
            matte = photo.alpha.astype(np.float32) / 255
        pixels = _resized(photo.pixels.astype(np.float32) / 127.5 - 1, self.size)
        matte = _resized(matte, self.size)[..., None]
        color = np.array(self.background, np.float32)
        return torch.from_numpy((color + matte * (pixels - color)).transpose(2, 0, 1).copy())


def _resized(image: np.ndarray, size: int) -> np.ndarray:
    if image.shape[0] == size:
        return image
    how = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=how)


def _labels(folder: Path) -> dict[str, np.ndarray]:
    """The labels (25,) float32 of a folder by the names of the photos."""
    if not folder.is_dir():
        raise TrainingError(f"{folder} is no folder; give a folder of photos with a {LABELS}.")
    path = folder / LABELS
    if not path.is_file():
        raise TrainingError(f"{folder} has no {LABELS}; its photos need camera labels to learn from.")
    try:
        entries: Any = json.loads(path.read_text("utf-8"))["labels"]
        pairs = [(str(name), numbers) for name, numbers in entries]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f'{path} does not hold {{"labels": [[name, 25 numbers], ...]}}; write it as PanoHead\'s tools do.'
        ) from error
    found: dict[str, np.ndarray] = {}
    for name, numbers in pairs:
        try:
            found[name] = Camera.from_label(np.asarray(numbers, np.float64)).label
        except (ValueError, TypeError) as error:
            raise TrainingError(f"The label of {name} in {path} is no camera; make it anew or take it out.") from error
    return found


def _some(names: Sequence[str], what: str) -> str:
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return f"the {what}{'s' if len(names) > 1 else ''} {shown}"
