"""Tri-grid look-up and decoder: from points in the world to density and features. The innermost step of every render.

A tri-grid is three planes of R x R cells with a few slices of depth; a cell of a slice holds F features. A point is
looked up in each plane by trilinear interpolation, the three results are averaged, and a network of two layers decodes
the average.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

AXES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))  # of each plane, the world axes along its width, its height, its slices
WIDTH, HEIGHT, DEPTH = (tuple(axes[part] for axes in AXES) for part in range(3))

_BLOCK = 1 << 15  # points that a CPU samples at once: all that is made on the way stays in its cache


class DecoderWeights(NamedTuple):
    """The decoder's effective values, all gains applied: ``F.linear`` can use them as they are."""

    weight0: torch.Tensor  # (64, 32)
    bias0: torch.Tensor  # (64,)
    weight1: torch.Tensor  # (33, 64), the first row gives the density
    bias1: torch.Tensor  # (33,)
    activation: str = "none"  # of the features: none, sigmoid or lrelu

    def density_only(self) -> DecoderWeights:
        """The same density without features: ``decode`` then gives features (B, N, 0)."""
        return self._replace(weight1=self.weight1[:1], bias1=self.bias1[:1])


class Rows(NamedTuple):
    """A tri-grid as a table with one row for each cell, the layout that look-ups are fast in."""

    table: torch.Tensor  # (B * 3 * slices * R * R, F); slowest to fastest: batch, plane, slice, height, width
    batch: int
    slices: int
    size: int

    def float(self) -> Rows:
        """In single precision, which look-ups work in."""
        return self._replace(table=self.table.float())

    def one(self, number: int) -> Rows:
        """The rows of one tri-grid of the batch, a view."""
        count = len(self.table) // self.batch
        return Rows(self.table[number * count : (number + 1) * count], 1, self.slices, self.size)


def to_rows(trigrid: torch.Tensor, *, depth: int = 3) -> Rows:
    """Lay a tri-grid out as rows. Worth it once where one tri-grid is looked up many times.

    Args:
        trigrid: (B, 3, F * depth, R, R); the channel of a plane is feature * depth + slice.
        depth: slices of a plane.
    """
    batch, planes, channels, size, _ = trigrid.shape
    cells = trigrid.reshape(batch, planes, channels // depth, depth, size, size)
    table = cells.permute(0, 1, 3, 4, 5, 2).reshape(-1, channels // depth)
    return Rows(table.contiguous(), batch, depth, size)


def look_up(
    trigrid: torch.Tensor | Rows, points: torch.Tensor, *, depth: int = 3, box_warp: float = 1.0
) -> torch.Tensor:
    """What each plane holds at the points: trilinear, zero outside the planes' cells, centres at (i + 0.5) / size.

    Args:
        trigrid: (B, 3, F * depth, R, R), or its rows.
        points: (B, N, 3) in world units.
        depth: slices of a plane; rows know theirs.
        box_warp: side in world units of the cube that the planes span.

    Returns:
        (B, 3, N, F)
    """
    rows = trigrid if isinstance(trigrid, Rows) else to_rows(trigrid, depth=depth)
    batch, count, _ = points.shape
    index, weight = _corners(rows, points, box_warp)  # (B, N, 3, 8)
    found = F.embedding_bag(index.view(-1, 8), rows.table, mode="sum", per_sample_weights=weight.view(-1, 8))
    return found.view(batch, count, 3, rows.table.shape[1]).transpose(1, 2)


def decode(features: torch.Tensor, weights: DecoderWeights) -> tuple[torch.Tensor, torch.Tensor]:
    """Decode looked-up features.

    Args:
        features: (B, N, 32), the mean over the planes.
        weights: of the decoder.

    Returns:
        The raw density (B, N), any real number, and the features (B, N, 32).
    """
    hidden = F.softplus(F.linear(features, weights.weight0, weights.bias0))
    decoded = F.linear(hidden, weights.weight1, weights.bias1)
    sigma, features = decoded[..., 0], decoded[..., 1:]
    if weights.activation == "sigmoid":
        features = torch.sigmoid(features) * 1.002 - 0.001
    elif weights.activation == "lrelu":
        features = F.leaky_relu(features, 0.2) * 2**0.5
    return sigma, features


def sample_trigrid(
    trigrid: torch.Tensor | Rows,
    points: torch.Tensor,
    weights: DecoderWeights,
    *,
    depth: int = 3,
    box_warp: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """``look_up``, mean over the planes and ``decode`` in one: (B, N, 3) to raw density (B, N), features (B, N, 32)."""
    rows = trigrid if isinstance(trigrid, Rows) else to_rows(trigrid, depth=depth)
    batch, count, _ = points.shape
    block = max(1, _BLOCK // batch) if points.device.type == "cpu" else max(1, count)
    parts = [_sample(rows, part, weights, box_warp) for part in points.split(block, 1)]
    if len(parts) == 1:
        return parts[0]
    return torch.cat([sigma for sigma, _ in parts], 1), torch.cat([features for _, features in parts], 1)


def _sample(
    rows: Rows, points: torch.Tensor, weights: DecoderWeights, box_warp: float
) -> tuple[torch.Tensor, torch.Tensor]:
    batch, count, _ = points.shape
    index, weight = _corners(rows, points, box_warp)  # (B, N, 3, 8)
    weight = weight.view(-1, 24) / 3
    mean = F.embedding_bag(index.view(-1, 24), rows.table, mode="sum", per_sample_weights=weight)
    return decode(mean.view(batch, count, rows.table.shape[1]), weights)


def _corners(rows: Rows, points: torch.Tensor, box_warp: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows (B, N, 3, 8) int32 of the eight cells around each point in each plane, and their weights."""
    # Points run fastest until the end: on a CPU that is half the time of the layout that the look-up wants.
    grid = (points * (2 / box_warp)).permute(2, 0, 1).contiguous()  # (3 axes, B, N)
    across_at, across_share = neighbours(grid, rows.size, 0)  # (2, 3, B, N)
    deep_at, deep_share = neighbours(grid, rows.slices, 0)
    plane = torch.arange(3, dtype=torch.int32, device=points.device).view(3, 1, 1) * rows.slices
    first = torch.arange(rows.batch, dtype=torch.int32, device=points.device).view(-1, 1) * (3 * rows.slices)
    deep = (first + plane + deep_at[:, DEPTH]) * (rows.size * rows.size)  # (2, 3 planes, B, N)
    flat = (across_at[:, HEIGHT] * rows.size)[:, None] + across_at[:, WIDTH]  # (2, 2, 3, B, N)
    share = across_share[:, HEIGHT][:, None] * across_share[:, WIDTH]
    index = deep[:, None, None] + flat  # (2, 2, 2, 3, B, N)
    weight = deep_share[:, DEPTH][:, None, None] * share
    return _points_first(index), _points_first(weight)


def _points_first(corners: torch.Tensor) -> torch.Tensor:
    """(2, 2, 2, 3, B, N) to (B, N, 3, 8)."""
    return corners.flatten(0, 2).permute(2, 3, 1, 0).contiguous()


def neighbours(grid: torch.Tensor, size: int, dim: int = -1) -> tuple[torch.Tensor, torch.Tensor]:
    """The two cells int32 around a coordinate (...) in [-1, 1] on an axis of ``size`` cells, and their weights.

    Both get a new dimension of two at ``dim``.

    A cell outside the axis keeps a valid number and gets no weight: that is the zero padding.
    """
    place = ((grid + 1) * size - 1) * 0.5
    # Far outside nothing depends on how far: bounded, so that a stray point cannot overflow the integers.
    place = place.clamp(-2, size + 1)
    low = place.detach().floor()
    share = place - low
    cells = torch.stack([low, low + 1], dim)
    weight = torch.stack([1 - share, share], dim)
    weight = weight * ((cells >= 0) & (cells < size))
    return cells.clamp(0, size - 1).to(torch.int32), weight
