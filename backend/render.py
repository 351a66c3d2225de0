"""Pictures of a finished head: sides as PNG and a turntable. Stands on results, below the command line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from .camera import Camera
from .errors import OptionError
from .progress import Listener, StageClock
from .results.folder import told, write_file
from .results.head import Head, Origin
from .results.pictures import encode_png, write_turntable
from .results.record import recorded_options
from .results.views import Viewer, orbit
from .system import check_memory, choose_device, plain_errors, repeatable

Draw = Callable[[float, float], np.ndarray]
"""Yaw and pitch in radians to a picture (size, size, 3) uint8 sRGB."""
FRAMES = 72  # of a turn: every 5 degrees, 3 seconds


@plain_errors()
def render_head(
    folder: Path,
    out: Path,
    yaws: Sequence[float],
    *,
    pitch: float = 0.0,
    size: int = 512,
    with_turntable: bool = False,
    source: Literal["mesh", "field"] = "mesh",
    model: str | None = None,
    device: str = "auto",
    progress: Listener | None = None,
) -> list[Path]:
    """Write pictures of the head in ``folder`` and return their paths.

    Args:
        folder: a head's; with the source ``field`` also nothing but its latent.safetensors.
        out: where the pictures go; made when it is not there. Files of the same names are replaced, each in one piece.
        yaws: sides in degrees, 0 the front, 90 the viewer's right; each gives ``yaw_+090.png`` and so on.
        pitch: height of the camera in degrees, from -90 to 90; positive looks from above.
        size: side of the pictures in pixels.
        with_turntable: write ``turntable.webp`` as well.
        source: mesh draws the finished head; field shows what its model makes of it, through the camera that the model
            knows: as many pixels as the model makes, scaled to ``size``.
        model: of the field, its name or folder; by default the name that it had.
        device: of the field, where tensors live.
        progress: told of every picture.

    Raises:
        ResultsError: there is no head in ``folder``, or ``out`` cannot be written.
        OptionError: ``yaws`` is empty and no turntable is asked for, or the head has no model to show it.
        ModelError: the head's model is not here.
        ResourceError: the memory does not suffice for pictures of this size.
    """
    sides = {name_of(yaw): math.radians(yaw) for yaw in yaws}
    if not sides and not with_turntable:
        raise OptionError("There is nothing to render; give a side with --yaw, a number with --views, or --turntable.")
    check_memory(_memory_needed(size, FRAMES if with_turntable else 0), "--size")
    frames = [f"turntable, {frame} of {FRAMES}" for frame in range(1, FRAMES + 1)] if with_turntable else []
    clock = StageClock({"reading the head": 10.0, **dict.fromkeys([*sides, *frames], 1.0), "writing": 5.0}, progress)
    with clock.stage("reading the head"):
        draw = _of_mesh(folder, size) if source == "mesh" else _of_field(folder, size, model, device)
    written = []
    with told(out):
        out.mkdir(parents=True, exist_ok=True)
        for name, yaw in sides.items():
            with clock.stage(name):
                write_file(out / name, encode_png(draw(yaw, math.radians(pitch))))
            written.append(out / name)
    if with_turntable:
        turning = (draw(2 * math.pi * frame / FRAMES, math.radians(pitch)) for frame in range(FRAMES))
        turn = list(_timed(turning, clock, frames))
        with clock.stage("writing"):
            written.append(write_turntable(turn, out / "turntable.webp"))
    clock.finish()
    return written


def _of_mesh(folder: Path, size: int) -> Draw:
    """Pictures of the finished head by ray casting."""
    if folder.is_file():
        raise OptionError(f"{folder} holds no mesh; give the head's folder, or add --from field.")
    viewer = Viewer(Head.load(folder).mesh)
    return lambda yaw, pitch: viewer.render(orbit(viewer.mesh, yaw, pitch), size).image


def _of_field(path: Path, size: int, model: str | None, device: str) -> Draw:
    """Pictures of the head's tri-grid through its model."""
    import torch  # pictures of the mesh need neither

    from .inversion.latent import Latent, is_of_model

    head = Origin.load(path)
    if not is_of_model(head.latent):
        raise OptionError(
            f"The head in {head.path} is the template's, which makes no pictures itself; leave --from field out."
        )
    latent = Latent.from_arrays(head.latent)
    bundle = latent.find_model(model)
    check_memory(_memory_of_field(bundle.parameters_bytes, latent.trigrid.numel()), "--size")
    where = choose_device(device)
    show = latent.viewer(bundle.generator(where), recorded_options(head.record).inversion, where)

    @repeatable()
    def draw(yaw: float, pitch: float) -> np.ndarray:
        with torch.inference_mode():
            picture = show(Camera.from_angles(yaw, pitch))
        how = cv2.INTER_AREA if size < picture.shape[0] else cv2.INTER_CUBIC
        return picture if size == picture.shape[0] else cv2.resize(picture, (size, size), interpolation=how)

    return draw


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


def _memory_of_field(parameters: int, cells: int) -> int:
    """Bytes that a model's pictures take more: libraries, the weights as they are read, and the tri-grid, which is in
    memory in half precision, in single precision and as rows.

    Args:
        parameters: bytes of the model's weights, in single precision.
        cells: numbers of the tri-grid.
    """
    return int(0.7e9 + parameters + 10 * cells)


def _timed(pictures: Iterator[np.ndarray], clock: StageClock, stages: Sequence[str]) -> Iterator[np.ndarray]:
    """The pictures, each made within its stage."""
    for stage in stages:
        with clock.stage(stage):
            picture = next(pictures)
        yield picture
