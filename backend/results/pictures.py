"""Pictures that a person gets: marked PNGs, sheets of views, the preview, and the turntable. Above ``views``."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..camera import Camera
from ..errors import ResultsError
from ..meshing.mesh import TexturedMesh
from . import folder, provenance
from .views import BACKGROUND, Viewer, orbit

TILE = 256  # side of one view of the preview, pixels


def encode_png(image: np.ndarray, *, generated: bool = True) -> bytes:
    """An image (H, W, 3) uint8 sRGB as PNG, marked as generated content if so; the same bytes for the same pixels."""
    # Run lengths at level 1 are the fastest and, on photographic pixels, also the smallest of OpenCV's choices.
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    _, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), settings)
    return provenance.mark_png(data.tobytes()) if generated else data.tobytes()


def decode_png(data: bytes) -> np.ndarray:
    """(H, W, 3) uint8 sRGB.

    Raises:
        ValueError: this is no PNG.
    """
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ValueError("not a PNG")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def sheet(
    images: Sequence[np.ndarray], columns: int | None = None, background: tuple[int, int, int] = BACKGROUND
) -> np.ndarray:
    """Images of one size (H, W, 3) uint8 side by side, row by row; as square as it goes unless ``columns`` is given."""
    columns = columns or math.ceil(math.sqrt(len(images)))
    height, width = images[0].shape[:2]
    rows = math.ceil(len(images) / columns)
    tiled = np.empty((rows * height, columns * width, 3), np.uint8)
    tiled[:] = background
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        tiled[row * height : (row + 1) * height, column * width : (column + 1) * width] = image
    return tiled


def preview(
    head: TexturedMesh, camera: Camera, photo: np.ndarray | None = None, viewer: Viewer | None = None
) -> np.ndarray:
    """The contact sheet of a head, (512, 1024, 3) uint8, or (512, 768, 3) without a photo.

    Above: the photo's crop, the textured head through the photo's own camera, from three quarters and from the side;
    below: the back, and the bare shape in the same three views. The sides are those that the photo shows better.

    Args:
        head: what to show.
        camera: the photo's.
        photo: (S, S, 3) uint8 sRGB, the aligned crop.
        viewer: of the same head, where there is one already.
    """
    viewer = viewer or Viewer(head)
    side = -1.0 if camera.angles[0] < 0 else 1.0
    cameras = [camera, *(orbit(head.mesh, side * angle) for angle in (math.pi / 4, math.pi / 2))]
    pairs = [[view.image for view in viewer.render_looks(each, ["lit", "clay"], TILE)] for each in cameras]
    back = viewer.render(orbit(head.mesh, math.pi), TILE, "lit").image
    above, below = [lit for lit, _ in pairs], [clay for _, clay in pairs]
    if photo is None:
        return sheet([*above, back, *below[1:]], columns=3)
    crop = cv2.resize(photo, (TILE, TILE), interpolation=cv2.INTER_AREA)
    return sheet([crop, *above, back, *below], columns=4)


def write_turntable(frames: Iterable[np.ndarray], path: Path, fps: float = 24.0) -> Path:
    """Write the frames as one WebP, in one piece, and return its path: every colour, endless, plays in browsers.

    Raises:
        ResultsError: there are no frames, or the file cannot be written.
    """
    pictures = [Image.fromarray(frame) for frame in frames]
    if not pictures:
        raise ResultsError("A turntable needs at least one frame.")
    stream = io.BytesIO()
    pictures[0].save(
        stream,
        "webp",
        save_all=True,
        append_images=pictures[1:],
        duration=round(1000 / fps),
        loop=0,
        quality=85,
        method=2,
        xmp=provenance.xmp(),
    )
    with folder.told(path):
        folder.write_file(path, stream.getvalue())
    return path
