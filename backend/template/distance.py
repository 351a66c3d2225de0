"""Exact signed distance and skin attributes of the fitted head on a regular grid, and their interpolation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from ..geometry import as_tensor, make_scene
from .solid import Solids

SPACING = 0.0045  # world units between nodes (1.9 mm)
MARGIN = 0.02  # world units kept free around the head
FLOOR = -0.345  # world height of the cut through the neck, just above the shoulders
_COARSE = 4  # every 4th node is measured everywhere; all nodes only where the surface is near
_BAND = 2.0 * SPACING  # half-width of the shell in which every node is measured exactly
_FAR_INNER = 0.03  # world units beyond a plug's or eyeball's own box where it cannot be nearer than the body


@dataclass(frozen=True, eq=False)
class DistanceGrid:
    """Signed distance (negative inside) and what the nearest skin is, on nodes ``origin + SPACING * (i, j, k)``.

    Within 2 nodes of the surface every node holds the exact distance to the union of the head's solids; farther away
    nodes hold exact values on every 4th node and trilinear interpolation between them.
    """

    origin: np.ndarray  # (3,) float64
    distance: torch.Tensor  # (X, Y, Z) float32, world units
    skin: torch.Tensor  # (X, Y, Z, 5) float32: rest coordinates, scalp, openness; known within 2 nodes of the surface

    def sample_distance(self, points: torch.Tensor) -> torch.Tensor:
        """Trilinear signed distance (N,) at world points (N, 3); the border's value outside the grid."""
        return trilinear(self.distance[..., None], self._to_nodes(points))[:, 0]

    def sample_skin(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Trilinear rest coordinates (N, 3), scalp (N,) and openness (N,) at world points (N, 3) near the surface."""
        sampled = trilinear(self.skin, self._to_nodes(points))
        return sampled[:, :3], sampled[:, 3], sampled[:, 4]

    def _to_nodes(self, points: torch.Tensor) -> torch.Tensor:
        return (points - torch.as_tensor(self.origin, dtype=points.dtype, device=points.device)) / SPACING

    def to(self, device: torch.device) -> DistanceGrid:
        """The grid with its tensors on ``device``."""
        return DistanceGrid(self.origin, self.distance.to(device), self.skin.to(device))


def measure_grid(solids: Solids) -> DistanceGrid:
    """Measure the grid around a head, down to ``FLOOR``."""
    positions = solids.body.vertex.positions.numpy()
    head = positions[positions[:, 1] > FLOOR]
    low = np.maximum(head.min(axis=0), -0.5) - MARGIN
    low[1] = FLOOR - MARGIN
    high = np.minimum(head.max(axis=0), 0.5) + MARGIN
    # A whole number of coarse cells along each axis.
    cells = np.ceil((high - low) / (SPACING * _COARSE)).astype(int)
    coarse_nodes = _nodes(low, cells + 1, SPACING * _COARSE)
    coarse = measure(solids, coarse_nodes.reshape(-1, 3))[0].reshape(cells + 1)

    shape = tuple(int(n) for n in cells * _COARSE + 1)
    volume = torch.from_numpy(coarse)[None, None]
    distance = F.interpolate(volume, size=shape, mode="trilinear", align_corners=True)[0, 0].numpy()
    # A distance changes by at most the way one goes: a node is nearer to the surface than the band only if its nearest
    # coarse node is nearer than the band plus the way between the two.
    upsampled = F.interpolate(torch.from_numpy(np.abs(coarse))[None, None], size=shape, mode="nearest-exact")
    near = upsampled[0, 0].numpy() - _way_to_coarse(shape) < _BAND
    index = np.stack(np.nonzero(near), axis=1)
    skin = np.zeros((*shape, 5), np.float32)
    skin[..., 4] = 1.0  # the cut through the neck, which is no skin, is not dark
    exact, exact_skin = measure(solids, (low + index * SPACING).astype(np.float32))
    distance[tuple(index.T)] = exact
    skin[tuple(index.T)] = exact_skin
    return DistanceGrid(low, torch.from_numpy(distance), torch.from_numpy(skin))


def _nodes(low: np.ndarray, counts: np.ndarray, spacing: float) -> np.ndarray:
    axes = [low[axis] + spacing * np.arange(counts[axis]) for axis in range(3)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)


def _way_to_coarse(shape: tuple[int, ...]) -> np.ndarray:
    """World distance from each fine node to the coarse node that nearest-exact upsampling assigns to it."""
    squares = []
    for count in shape:
        coarse_count = (count - 1) // _COARSE + 1
        assigned = np.minimum(((np.arange(count) + 0.5) * coarse_count / count).astype(int), coarse_count - 1)
        squares.append((SPACING * (np.arange(count) - assigned * _COARSE)) ** 2)
    return np.sqrt(squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :])


def measure(solids: Solids, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact signed distance (N,) to the union at world points (N, 3), and the attributes (N, 5) of the nearest skin:
    rest coordinates, scalp, openness; all float32.
    """
    corners = solids.body.triangle.indices.numpy()
    scene = make_scene(solids.body.vertex.positions.numpy(), corners)
    query = as_tensor(points)
    nearest = scene.compute_closest_points(query)
    distance = np.linalg.norm(nearest["points"].numpy() - points, axis=1)
    distance *= 1.0 - 2.0 * scene.compute_occupancy(query).numpy()
    corners = corners[nearest["primitive_ids"].numpy().astype(np.int64)]
    u, v = nearest["primitive_uvs"].numpy().T
    weights = torch.from_numpy(np.stack([1 - u - v, u, v], axis=1))
    attributes = np.concatenate([solids.skin.rest, solids.skin.scalp[:, None], solids.skin.openness[:, None]], axis=1)
    table = torch.from_numpy(attributes)
    skin = F.embedding_bag(torch.from_numpy(corners), table, per_sample_weights=weights, mode="sum").numpy()
    for part in solids.inner:
        box = part.get_axis_aligned_bounding_box()
        low, high = box.min_bound.numpy() - _FAR_INNER, box.max_bound.numpy() + _FAR_INNER
        close = ((points > low) & (points < high)).all(axis=1)
        inner = make_scene(part.vertex.positions.numpy(), part.triangle.indices.numpy())
        distance[close] = np.minimum(distance[close], inner.compute_signed_distance(as_tensor(points[close])).numpy())
    return distance.astype(np.float32), skin


def trilinear(grid: torch.Tensor, nodes: torch.Tensor) -> torch.Tensor:
    """Grid (X, Y, Z, C) at fractional node indices (N, 3) -> (N, C); indices are clamped to the grid."""
    size = torch.tensor(grid.shape[:3], dtype=nodes.dtype, device=nodes.device)
    where = nodes / (size - 1) * 2 - 1  # grid_sample wants (z, y, x) order for a (D, H, W) volume
    volume = grid.permute(3, 0, 1, 2)[None]
    sampled = F.grid_sample(
        volume, where.flip(1)[None, None, None], mode="bilinear", padding_mode="border", align_corners=True
    )
    return sampled[0, :, 0, 0].T
