"""What a run writes for people: log.jsonl, one line of JSON for every so many steps, TensorBoard, and sheets.

TensorBoard is written where the package ``tensorboard`` is installed (the extra "train"), into the run's folder.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..disk import FULL
from ..errors import ResultsError
from ..results.folder import write_file

LOG = "log.jsonl"
CONFIG = "config.json"
SHEETS = "sheets"


class Journal:
    """The log of one run; only the first process has one.

    Args:
        folder: of the run, which is there.
        step: from which it goes on: lines of later steps, of a run that was killed, are taken out.
        config: written as config.json.

    Raises:
        ResultsError: the disk refuses, here and in every method.
    """

    def __init__(self, folder: Path, step: int, config: Mapping[str, Any]) -> None:
        self._folder = folder
        self._path = folder / LOG
        self._began = time.perf_counter()
        self._board: Any = None
        with told(self._path):
            write_file(folder / CONFIG, (json.dumps(config, indent=2) + "\n").encode())
            if self._path.exists():
                _cut(self._path, step)
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """One line: the number of steps done, seconds since this start, and the figures, null for what is no number."""
        line = {
            "step": step,
            "seconds": round(time.perf_counter() - self._began, 3),
            **{name: value if math.isfinite(value) else None for name, value in figures.items()},
        }
        with told(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
        if self._board is not None:
            for name, value in figures.items():
                self._board.add_scalar(name, value, step)

    def sheet(self, step: int, picture: np.ndarray) -> Path:
        """Write a picture (H, W, 3) uint8 sRGB as sheets/STEP.png."""
        path = self._folder / SHEETS / f"{step:08d}.png"
        _, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        with told(path):
            write_file(path, data.tobytes())
        if self._board is not None:
            self._board.add_image("sheet", picture, step, dataformats="HWC")
        return path

    def close(self) -> None:
        """Let TensorBoard finish its file."""
        if self._board is not None:
            self._board.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (folder / LOG).read_text("utf-8").splitlines()]


def _cut(path: Path, step: int) -> None:
    """Take out the lines of steps after ``step``, and one that a kill has left unfinished."""
    lines = path.read_text("utf-8").splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    if kept != lines:
        write_file(path, "".join(kept).encode())


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn an OSError of the disk into a ResultsError about ``path``."""
    try:
        yield
    except OSError as error:
        why = "the disk is full" if error.errno in FULL else error.strerror or str(error)
        raise ResultsError(
            f"{path} cannot be written ({why}); mend that and run the same command again: "
            "it goes on from the last checkpoint."
        ) from error
