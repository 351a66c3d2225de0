"""Samples a HeadField's density on a regular lattice, block by block, skipping blocks that cannot hold surface.

A field with a lattice sampler of its own, as a tri-grid has, is asked for the whole lattice instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..field import HeadField, LatticeSampler

BLOCK = 8  # nodes along the side of a block
_POINTS_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Lattice:
    """Densities on nodes ``origin + spacing * (i, j, k)``."""

    values: np.ndarray  # (X, Y, Z) float32
    origin: np.ndarray  # (3,) float64, world units
    spacing: float  # world units
    evaluated: float  # share of the nodes that the field was asked about

    def to_world(self, nodes: np.ndarray) -> np.ndarray:
        """Fractional node indices (N, 3) to world points (N, 3)."""
        return self.origin + self.spacing * nodes


def sample_lattice(field: HeadField, resolution: int, *, skip: bool = True) -> Lattice:
    """Sample ``field`` with ``resolution`` nodes along the longest side of its box and cubic cells.

    A block is skipped when the field says that it and the cells between it and its neighbours hold no surface; its
    nodes then all get the density of its centre, which lies on the right side of the level, and no edge that crosses
    the level ends in them. A field that can sample a lattice itself does so. ``skip=False`` asks about every node.
    """
    low, high = np.array(field.box.low), np.array(field.box.high)
    spacing = float((high - low).max()) / (resolution - 1)
    shape = np.floor((high - low) / spacing + 1e-6).astype(int) + 1
    if skip and isinstance(field, LatticeSampler):
        sampled, share = field.sample_lattice(field.box.low, spacing, (int(shape[0]), int(shape[1]), int(shape[2])))
        return Lattice(sampled.cpu().numpy(), low, spacing, share)
    blocks = np.ceil(shape / BLOCK).astype(int)

    first = torch.cartesian_prod(*(torch.arange(int(n)) * BLOCK for n in blocks)).to(field.device)  # (B, 3) nodes
    origin = torch.as_tensor(low, dtype=torch.float32, device=field.device)
    block_low = origin + spacing * first
    if skip:
        held = field.may_hold_surface(block_low - spacing, block_low + spacing * BLOCK)
    else:
        held = torch.ones(len(first), dtype=torch.bool, device=field.device)

    # Whole blocks in memory, cropped to the lattice at the end.
    values = torch.empty(*(int(n) * BLOCK for n in blocks), device=field.device)
    tiled = values.view(blocks[0], BLOCK, blocks[1], BLOCK, blocks[2], BLOCK).permute(0, 2, 4, 1, 3, 5)
    within = torch.cartesian_prod(*(torch.arange(BLOCK, device=field.device) for _ in range(3)))  # (BLOCK^3, 3)
    place = (first // BLOCK).unbind(1)

    empty = ~held
    centre = block_low[empty] + spacing * (BLOCK - 1) / 2
    tiled[tuple(axis[empty] for axis in place)] = field.density(centre)[:, None, None, None]
    active = torch.nonzero(held)[:, 0]
    for some in active.split(max(1, _POINTS_AT_ONCE // BLOCK**3)):
        points = origin + spacing * (first[some, None] + within).reshape(-1, 3)
        tiled[tuple(axis[some] for axis in place)] = field.density(points).view(-1, BLOCK, BLOCK, BLOCK)
    cropped = values[: shape[0], : shape[1], : shape[2]].cpu().numpy()
    return Lattice(cropped, low, spacing, float(held.float().mean()))
