"""What the evaluation writes and prints: tables, JSON, and sheets of eight views."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .. import disk
from ..errors import HeadstitchError, ResultsError
from ..meshing.mesh import TexturedMesh
from ..results.folder import told, write_file
from ..results.pictures import encode_png, sheet
from ..results.views import Viewer, orbit

VIEWS = tuple(range(0, 360, 45))  # degrees
TILE = 160  # pixels
ROWS = 16  # heads on one sheet
SCHEMA = 1


@dataclass(frozen=True)
class Report:
    """What a command tells."""

    table: str
    record: dict[str, Any]  # as it stands in the JSON
    failures: tuple[str, ...]  # one sentence each
    written: tuple[Path, ...]


class Sheets:
    """Sheets of photos with their heads, written whenever one is full: NAME_01.png and so on in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._rows: list[np.ndarray] = []
        self.written: list[Path] = []

    def add(self, photo: np.ndarray, head: TexturedMesh) -> None:
        """One row: the photo (S, S, 3) uint8 sRGB, and the head from ``VIEWS``.

        Raises:
            ResultsError: the disk refuses.
        """
        viewer = Viewer(head)
        crop = cv2.resize(photo, (TILE, TILE), interpolation=cv2.INTER_AREA)
        views = [viewer.render(orbit(head.mesh, math.radians(yaw)), TILE, "lit").image for yaw in VIEWS]
        self._rows.append(sheet([crop, *views], columns=1 + len(VIEWS)))
        if len(self._rows) == ROWS:
            self.close()

    def close(self) -> None:
        """Write what is left.

        Raises:
            ResultsError: the disk refuses.
        """
        if self._rows:
            path = self._folder / f"{self._name}_{len(self.written) + 1:02d}.png"
            with told(path):
                write_file(path, encode_png(np.concatenate(self._rows)))
            self.written.append(path)
            self._rows = []


def prepare(out: Path, name: str) -> Path:
    """The folder for the results, made where it is not there; asked before the work whether it can be written.

    Args:
        out: the folder.
        name: of the JSON that will be written.

    Raises:
        ResultsError: it cannot be written, or holds a file of that name that is none of ours.
    """
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
        probe = disk.beside(out / name, "partial")
        probe.mkdir()
        probe.rmdir()
        path = out / name
        if path.exists():
            _check_ours(path)
    return out


def _check_ours(path: Path) -> None:
    try:
        ours = "headstitch_evaluation" in json.loads(path.read_text("utf-8"))
    except (ValueError, TypeError):
        ours = False
    if not ours:
        raise ResultsError(f"{path} is no evaluation of Headstitch and is left alone; choose another folder with -o.")


def write_json(path: Path, record: dict[str, Any]) -> None:
    """The record as JSON, in one piece; the same record gives the same bytes.

    Raises:
        ResultsError: the disk refuses.
    """
    text = json.dumps({"headstitch_evaluation": SCHEMA, **record}, indent=1, sort_keys=True, allow_nan=False)
    with told(path):
        write_file(path, f"{text}\n".encode())


def sentence(error: Exception) -> str:
    """What a person reads of a failure that must not end the rest."""
    if isinstance(error, HeadstitchError):
        return str(error)
    return f"A defect of Headstitch ({type(error).__name__}: {error}); please report it."


def mean(values: Sequence[float | None]) -> float | None:
    """Of those that were measured; None where none was."""
    known = [value for value in values if value is not None and math.isfinite(value)]
    return statistics.fmean(known) if known else None


def align(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as a table: the first column to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [f"{row[0]:<{widths[0]}}"]
        cells += [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def digits(value: float | None, places: int) -> str:
    """The number as it stands in a table."""
    return "-" if value is None else f"{value:.{places}f}"
