"""Pictures of a finished head: sides as PNG and a turntable. Stands on results, below the command line."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .errors import OptionError
from .progress import Listener, StageClock
from .results.folder import told, write_file
from .results.head import Head
from .results.pictures import encode_png, turntable, write_turntable
from .results.views import Viewer, orbit
from .system import check_memory

FRAMES = 72  # of a turn: every 5 degrees, 3 seconds


def render_head(
    folder: Path,
    out: Path,
    yaws: Sequence[float],
    *,
    pitch: float = 0.0,
    size: int = 512,
    with_turntable: bool = False,
    progress: Listener | None = None,
) -> list[Path]:
    """Write pictures of the head in ``folder`` and return their paths.

    Args:
        folder: a head's.
        out: where the pictures go; made when it is not there. Files of the same names are replaced, each in one piece.
        yaws: sides in degrees, 0 the front, 90 the viewer's right; each gives ``yaw_+090.png`` and so on.
        pitch: height of the camera in degrees, from -90 to 90; positive looks from above.
        size: side of the pictures in pixels.
        with_turntable: write ``turntable.webp`` as well.
        progress: told of every picture.

    Raises:
        ResultsError: there is no head in ``folder``, or ``out`` cannot be written.
        OptionError: ``yaws`` is empty and no turntable is asked for.
        ResourceError: the memory does not suffice for pictures of this size.
    """
    sides = {name_of(yaw): math.radians(yaw) for yaw in yaws}
    if not sides and not with_turntable:
        raise OptionError("There is nothing to render; give a side with --yaw, a number with --views, or --turntable.")
    check_memory(_memory_needed(size, FRAMES if with_turntable else 0), "--size")
    frames = [f"turntable, {frame} of {FRAMES}" for frame in range(1, FRAMES + 1)] if with_turntable else []
    clock = StageClock({"reading the head": 10.0, **dict.fromkeys([*sides, *frames], 1.0), "writing": 5.0}, progress)
    with clock.stage("reading the head"):
        viewer = Viewer(Head.load(folder).mesh)
    written = []
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
        for name, yaw in sides.items():
            with clock.stage(name):
                picture = viewer.render(orbit(viewer.mesh, yaw, math.radians(pitch)), size).image
                write_file(out / name, encode_png(picture))
            written.append(out / name)
    if with_turntable:
        turn = list(_timed(turntable(viewer, FRAMES, size, pitch=math.radians(pitch)), clock, frames))
        with clock.stage("writing"):
            written.append(write_turntable(turn, out / "turntable.webp"))
    clock.finish()
    return written


def name_of(yaw: float) -> str:
    """The file of a side: its yaw in degrees, from -179 to 180, so that one side has one name."""
    turned = 180.0 - (180.0 - yaw) % 360.0
    whole = round(turned)
    if abs(turned - whole) < 0.05:
        return f"yaw_{180 if whole == -180 else whole:+04d}.png"
    return f"yaw_{turned:+06.1f}.png"


def _memory_needed(size: int, frames: int) -> int:
    """Bytes that the pictures take at their peak, as measured and rounded up; WebP's encoder wants all frames at once,
    and holds them three times.
    """
    one_picture = 0.1e9 + 12 * size**2
    return int(one_picture + (10 * frames + 90 * (frames > 0)) * size**2)


def _timed(pictures: Iterator[np.ndarray], clock: StageClock, stages: Sequence[str]) -> Iterator[np.ndarray]:
    """The pictures, each made within its stage."""
    for stage in stages:
        with clock.stage(stage):
            picture = next(pictures)
        yield picture
