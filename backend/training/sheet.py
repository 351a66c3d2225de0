"""The contact sheet of a data set: each head from four sides, and its stored photos. Above the data set."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..camera import Camera
from ..errors import ResultsError
from ..progress import Listener, Progress
from ..results.folder import told, write_file
from ..results.pictures import encode_png, sheet
from .dataset.read import DataSet, open_dataset
from .workers import default_workers, in_order

SIDES = (0, 45, 90, 180)  # degrees of yaw
_STRIP = 18  # pixels of a caption's height
_PAPER, _INK = 236, 30
_NARROW = 8  # heads up to which one column suffices
_OFF = 1e-4  # world units that landmarks may differ by: rounding


@dataclass(frozen=True)
class _Job:
    seed: int
    number: int
    strands: float
    size: int


def write_sheet(
    folder: Path,
    out: Path,
    *,
    heads: int = 14,
    size: int = 192,
    workers: int | None = None,
    progress: Listener | None = None,
) -> Path:
    """Draw heads of a data set, evenly over it, as one PNG, and return its path.

    The four sides are drawn anew by the sampler, for stored views from around look at each head from elsewhere; the
    photos are those that training sees.

    Args:
        folder: of the data set.
        out: the PNG.
        heads: how many; all where there are fewer.
        size: side of a tile in pixels.
        workers: processes; None: one a core; 0: this one.
        progress: told of every head.

    Raises:
        ResultsError: there is no data set, a shard of it is damaged, the sampler makes other heads by now, or the disk
            refuses.
    """
    dataset = open_dataset(folder)
    count = min(heads, len(dataset))
    numbers = [dataset.numbers[place * len(dataset) // count] for place in range(count)]
    options = dataset.options
    jobs = [_Job(options.seed, number, options.strands, size) for number in numbers]
    rows = []
    workers = default_workers() if workers is None else workers
    with contextlib.closing(in_order(_sides, jobs, min(workers, count))) as drawn:
        for place, number in enumerate(numbers):
            if progress is not None:
                progress(Progress(f"heads, {place} of {count}", place / count, None))
            tiles, landmarks = next(drawn)
            rows.append(_row(dataset, number, tiles, landmarks, size))
    picture = encode_png(sheet(rows, columns=1 if count <= _NARROW else 2))
    with told(out):
        write_file(out, picture)
    return out


def caption(number: int, attributes: Mapping[str, Any]) -> str:
    """What stands above a head: number, style, sex, years, beard, glasses."""
    words = [f"{number}:", str(attributes["style"]), str(attributes["sex"]), f"{float(attributes['years']):.0f}"]
    if attributes["beard"] != "none":
        words.append(f"beard {attributes['beard']}")
    if attributes.get("glasses", "none") not in ("none", 0, False, ""):
        words.append(f"glasses {attributes['glasses']}")
    return "  ".join(words)


def _sides(job: _Job) -> tuple[list[np.ndarray], np.ndarray]:
    """Four pictures (S, S, 3) uint8 of a head, and its landmarks."""
    from .draw import draw, light_head
    from .head import make_head

    head = make_head(job.seed, job.number, share=job.strands)
    lit = light_head(head)
    pictures = [draw(lit, Camera.from_angles(yaw=math.radians(yaw)), job.size).color for yaw in SIDES]
    return [np.rint(255 * picture).astype(np.uint8) for picture in pictures], head.landmarks


def _row(dataset: DataSet, number: int, tiles: list[np.ndarray], landmarks: np.ndarray, size: int) -> np.ndarray:
    stored = dataset.head(number)
    if np.abs(stored.landmarks - landmarks).max() > _OFF:
        raise ResultsError(
            f"The sampler makes another head {number} than the data set in {dataset.folder} holds; show it with "
            f"Headstitch {dataset.manifest.version}, or make the data set anew."
        )
    photos = [stored.image(view) for view in range(dataset.options.photos)]
    photos = [cv2.resize(photo, (size, size), interpolation=cv2.INTER_AREA) for photo in photos]
    pictures = sheet([*tiles, *photos], columns=len(tiles) + len(photos))
    strip = np.full((_STRIP, pictures.shape[1], 3), _PAPER, np.uint8)
    text = caption(number, stored.attributes)
    cv2.putText(strip, text, (4, _STRIP - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (_INK,) * 3, 1, cv2.LINE_AA)
    return np.concatenate([strip, pictures])
