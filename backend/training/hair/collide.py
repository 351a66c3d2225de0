"""What keeps strands out of the body: its signed distance on a grid, and a bubble in front of the face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates, zoom

from ..body import Body
from ..vectors import unit

SPACING = 0.010  # world units between nodes (4 mm)
_LOW, _HIGH = np.array([-0.56, -0.84, -0.46]), np.array([0.56, 0.40, 0.42])
_COARSE = 4
_BAND = 0.030  # world units around the surface in which every node is measured
_BUBBLE_CENTRE = np.array([0.0, -0.055, 0.150])  # in front of the face: hair that is no fringe goes round it
_BUBBLE_RADII = np.array([0.128, 0.215, 0.150])


@dataclass(frozen=True, eq=False)
class Collider:
    """Signed distance of the body for places of strands, trilinear."""

    distance: np.ndarray  # (X, Y, Z) float32
    slope: tuple[np.ndarray, np.ndarray, np.ndarray]  # its derivative along each axis

    def measure(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance (...,) and outward unit vector (..., 3) at points (..., 3)."""
        nodes = _nodes(points)
        slope = np.stack([map_coordinates(s, nodes, order=1, mode="nearest") for s in self.slope], axis=-1)
        distance = map_coordinates(self.distance, nodes, order=1, mode="nearest")
        return distance.reshape(points.shape[:-1]), unit(slope).reshape(points.shape)

    def push_out(self, points: np.ndarray, gap: np.ndarray) -> np.ndarray:
        """Points (..., 3) moved outwards until they are ``gap`` (...,) away from the body."""
        distance = map_coordinates(self.distance, _nodes(points), order=1, mode="nearest").reshape(points.shape[:-1])
        close = distance < gap
        moved = points.copy()
        for _ in range(2):
            distance, outward = self.measure(moved[close])
            moved[close] += np.maximum(gap[close] - distance, 0)[:, None] * outward
        return moved


def make_collider(body: Body) -> Collider:
    """Measure a body: every node near its surface, every fourth one elsewhere."""
    cells = np.ceil((_HIGH - _LOW) / (SPACING * _COARSE)).astype(int)
    coarse = body.signed_distance(_grid(cells + 1, SPACING * _COARSE)).reshape(cells + 1)
    size = cells * _COARSE + 1
    distance = np.asarray(zoom(coarse, size / np.array(coarse.shape), order=1, grid_mode=False), np.float32)
    near = np.abs(distance) < _BAND
    distance[near] = body.signed_distance(_grid(size, SPACING)[near.ravel()])
    slopes = np.gradient(distance, SPACING)
    return Collider(distance, (slopes[0], slopes[1], slopes[2]))


def clear_face(points: np.ndarray, wide: np.ndarray) -> np.ndarray:
    """Points (N, 3) moved sideways out of the bubble in front of the face, which is ``wide`` (N,) times as wide."""
    inside = (points - _BUBBLE_CENTRE) / _BUBBLE_RADII
    room = 1 - inside[:, 1] ** 2 - inside[:, 2] ** 2
    half = np.sqrt(np.maximum(room, 0)) * _BUBBLE_RADII[0] * wide
    moved = points.copy()
    side = np.where(points[:, 0] >= 0, 1.0, -1.0)
    moved[:, 0] = np.where((room > 0) & (np.abs(points[:, 0]) < half), side * half, points[:, 0])
    return moved


def _nodes(points: np.ndarray) -> np.ndarray:
    return ((points.reshape(-1, 3) - _LOW) / SPACING).T


def _grid(size: np.ndarray, spacing: float) -> np.ndarray:
    axes = [low + spacing * np.arange(count) for low, count in zip(_LOW, size, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
