"""What both encoders and the stitching did, as labelled pictures for ``--debug-images``. After the inversion."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from ...kernels.trigrid import AXES, to_rows
from ..camera import Camera
from ..options import Inversion
from .invert import Inverted, picture_for_comparison
from .latent import to_uint8
from .visibility import SEEN

SIDE = 256  # of a picture, pixels
PICTURES = 12  # that the sheet renders: of three heads the photo's view and those of YAWS
YAWS = {"viewer's left": -90.0, "viewer's right": 90.0, "back": 180.0}  # degrees; the first view is the photo's own


@torch.inference_mode()
def draw_debug(inverted: Inverted, camera: Camera, options: Inversion) -> tuple[list[np.ndarray], int]:
    """Pictures (256, 256, 3) uint8 sRGB for a sheet, row by row, and the number of its columns.

    A row for each plane: the photo, its view's depth, or how the visible encoder's head differs from the photo; and the
    masks of the plane's slices, drawn with the world's up upwards. Then a row for each head (visible, occluded,
    stitched): as the photo saw it, from both sides, from behind.

    Args:
        inverted: the photo, inverted.
        camera: the photo's.
        options: the inversion's.
    """
    slices = inverted.mask.shape[1]
    columns = max(1 + slices, 1 + len(YAWS))
    heads = {
        "visible": (inverted.visible.trigrid, inverted.visible.w_plus),
        "occluded": (inverted.occluded.trigrid, inverted.occluded.w_plus),
        "stitched": (inverted.stitched, inverted.w),
    }
    views = {name: list(_views(inverted, *head, camera, options)) for name, head in heads.items()}
    first = [
        _label(_picture(inverted.photo), "photo"),
        _label(_depth(inverted), "depth of its view"),
        _label(_difference(inverted.photo, views["visible"][0]), "visible encoder - photo"),
    ]
    rows = [[tile, *_masks(inverted.mask, plane)] for plane, tile in enumerate(first)]
    for name, pictures in views.items():
        titles = (f"{name}: {view}" for view in ("photo's view", *YAWS))
        rows.append([_label(_picture(image), title) for image, title in zip(pictures, titles, strict=True)])
    blank = np.full((SIDE, SIDE, 3), 255, np.uint8)
    return [tile for row in rows for tile in (row + [blank] * columns)[:columns]], columns


def _views(
    inverted: Inverted, trigrid: torch.Tensor, w_plus: torch.Tensor, camera: Camera, options: Inversion
) -> Iterator[torch.Tensor]:
    """Renders (1, 3, H, H) from the photo's camera and from ``YAWS``."""
    generator = inverted.generator
    rows = to_rows(trigrid, depth=generator.config.trigrid_depth)
    for each in (camera, *(Camera.from_angles(np.radians(yaw)) for yaw in YAWS.values())):
        label = torch.from_numpy(each.label)[None].to(trigrid.device)
        yield picture_for_comparison(generator, rows, w_plus, label, options)


def _masks(mask: torch.Tensor, plane: int) -> Iterator[np.ndarray]:
    """The masks of a plane's slices."""
    column, row, across = ("xyz"[axis] for axis in AXES[plane])
    slices = mask.shape[1]
    for number, each in enumerate(mask[plane].cpu().numpy()):
        grey = np.repeat((each[::-1, :, None] * 255).astype(np.uint8), 3, axis=2)
        at = (number + 0.5) / slices - 0.5
        yield _label(_fit(grey), f"mask {column}{row}, slice {across} = {at:+.2f}")


def _picture(image: torch.Tensor) -> np.ndarray:
    """(1, 3, H, H) in [-1, 1] as a tile."""
    return _fit(to_uint8(image))


def _difference(photo: torch.Tensor, render: torch.Tensor) -> np.ndarray:
    """The render minus the photo; grey where they agree."""
    return _picture((_resize(render) - _resize(photo)).clamp(-1, 1))


def _depth(inverted: Inverted) -> np.ndarray:
    """Near is bright; black beside the head."""
    depth, hit = inverted.depth[0, 0].cpu().numpy(), inverted.weight[0, 0].cpu().numpy() > SEEN
    grey = np.zeros_like(depth)
    if hit.any():
        near, far = depth[hit].min(), depth[hit].max()
        grey[hit] = 255 - 191 * (depth[hit] - near) / max(float(far - near), 1e-6)
    return _fit(np.repeat(grey[..., None].astype(np.uint8), 3, axis=2))


def _resize(image: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(image, (SIDE, SIDE), mode="bilinear", antialias=True)


def _fit(image: np.ndarray) -> np.ndarray:
    how = cv2.INTER_AREA if image.shape[0] > SIDE else cv2.INTER_LINEAR
    return cv2.resize(image, (SIDE, SIDE), interpolation=how)


def _label(tile: np.ndarray, text: str) -> np.ndarray:
    """The tile with a line of text at its foot, legible on any picture."""
    labelled = tile.copy()
    for color, width in (((255, 255, 255), 3), ((0, 0, 0), 1)):
        cv2.putText(labelled, text, (6, SIDE - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.42, color, width, cv2.LINE_AA)
    return labelled
