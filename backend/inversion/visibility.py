"""Which cells of the tri-grid the photo sees: the input view's depth, carried back to the planes. Between the two
encoders and the stitching.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch

from ...kernels.trigrid import AXES
from ..camera import Camera
from ..errors import OptionError
from ..networks.config import PLANES
from ..options import Inversion

LEAST_RAYS = 256  # along a side; with 128, a third of the cells that are seen would be hit by no ray
SEEN = 0.5  # of a ray's weight must lie on the head: the depth of the others means nothing


def seen_points(depth: torch.Tensor, weight: torch.Tensor, camera: Camera) -> np.ndarray:
    """(N, 3) float64 world points where the rays of a view meet the head (Bilecen et al. 2024, equation 3).

    Args:
        depth: (1, 1, S, S) along each ray, world units.
        weight: (1, 1, S, S) in [0, 1], how much of each ray the head stops.
        camera: of the view.

    Raises:
        OptionError: there are fewer than 256 rays along a side.
    """
    size = depth.shape[-1]
    if size < LEAST_RAYS:
        raise OptionError(f"{size} rays along a side leave holes in the mask; give --inversion.mask-rays 256 or more.")
    hit = weight[0, 0].cpu().numpy() > SEEN
    rays = camera.rays(size)[hit].astype(np.float64)
    return rays[:, :3] + depth[0, 0].cpu().numpy()[hit, None] * rays[:, 3:]


def visible_mask(
    points: np.ndarray, options: Inversion, *, size: int, slices: int, box_warp: float = 1.0
) -> torch.Tensor:
    """(3, slices, R, R) float32 in [0, 1]: how far each cell of the planes is the visible encoder's.

    A cell of column i, row j covers the world from (i / R - 1/2, j / R - 1/2) * box_warp on, without a flip. A point
    reads two slices, each with its weight; a slice that gives ``options.mask_whole`` of it or more is seen wholly.
    Where points share a cell the greatest counts. Rays leave gaps: the mask is closed, small holes are filled, its rim
    grows a little and is softened.

    Args:
        points: (N, 3) world points that the photo sees; those outside the box are passed over.
        options: the mask's own choices.
        size: R, cells along the side of a plane.
        slices: of a plane.
        box_warp: side of the tri-grid's cube in world units.
    """
    inside = points[(np.abs(points) < box_warp / 2).all(axis=1)] / box_warp  # in [-1/2, 1/2]
    mask = np.zeros((PLANES, slices, size, size), np.float32)
    for plane, axes in zip(mask, AXES, strict=True):
        column, row = (np.floor((inside[:, axis] + 0.5) * size).astype(np.intp) for axis in axes[:2])
        if options.mask == "planes":
            plane[:, row, column] = 1.0
        else:
            _splat(plane, row, column, (inside[:, axes[2]] + 0.5) * slices - 0.5, options.mask_whole)
    if options.mixed_planes == "front":
        mask[1:] = 1.0
    mended = [[_mend(one, options) for one in plane] for plane in mask]
    return torch.from_numpy(np.array(mended, np.float32))


def _splat(plane: np.ndarray, row: np.ndarray, column: np.ndarray, at: np.ndarray, whole: float) -> None:
    """Mark cells of ``plane`` (slices, R, R) at the fractional slices ``at`` (N,)."""
    first = np.floor(at).astype(np.intp)
    for index in (first, first + 1):
        weight = np.minimum(1.0, (1.0 - np.abs(at - index)) / whole).astype(np.float32)
        there = (index >= 0) & (index < len(plane))  # beyond the outer slices' centres the planes fade into nothing
        np.maximum.at(plane, (index[there], row[there], column[there]), weight[there])


def _mend(mask: np.ndarray, options: Inversion) -> np.ndarray:
    """One mask (R, R): closed, filled, grown and softened."""
    if not mask.any() or mask.all():
        return mask
    mask = _morph(mask, cv2.MORPH_CLOSE, options.mask_closing)
    mask = _fill(mask, options.mask_holes)
    mask = _morph(mask, cv2.MORPH_DILATE, 2 * options.mask_growth + 1)
    if options.mask_softness:
        side = 2 * math.ceil(2 * options.mask_softness) + 1
        mask = cv2.GaussianBlur(mask, (side, side), options.mask_softness, borderType=cv2.BORDER_REPLICATE)
    return mask.clip(0.0, 1.0)


def _morph(mask: np.ndarray, how: int, diameter: int) -> np.ndarray:
    if diameter < 2:
        return mask
    diameter |= 1  # an even one would shift the mask
    return cv2.morphologyEx(mask, how, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter)))


def _fill(mask: np.ndarray, largest: int) -> np.ndarray:
    """Holes of at most so many cells get the mean of their rims. Larger ones are meant: what lies in front of a slice
    is missing in the middle of it.
    """
    _, label, stats, _ = cv2.connectedComponentsWithStats((mask == 0).astype(np.uint8), connectivity=4)
    at_border = np.unique(np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]]))
    filled = mask.copy()
    for hole in np.setdiff1d(np.nonzero(stats[:, cv2.CC_STAT_AREA] <= largest)[0], [0, *at_border]):
        left, top, width, height = stats[hole, :4]
        near = (slice(top - 1, top + height + 1), slice(left - 1, left + width + 1))  # with its rim
        inside = label[near] == hole
        around = cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
        filled[near][inside] = mask[near][around & ~inside].mean()
    return filled
