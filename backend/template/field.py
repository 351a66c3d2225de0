"""TemplateField: the fitted CC0 head as a HeadField. Density comes from signed distance as in VolSDF."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ..field import Box
from .distance import FLOOR, MARGIN, SPACING, DistanceGrid
from .palette import Palette, triple
from .regions import strand_shade

BETA = 0.01  # world units; scale of the Laplace distribution, the width of the shell in which density rises
_POOL = 2  # nodes along the side of a cell whose extreme distances are kept
_STRAND_CONTRAST = 0.3  # of the unevenness seen in the photo's hair; the rest of it is shading and highlights
_HAIRLINE_SHARPNESS, _HAIRLINE_NOISE = 1.6, 0.15
# Where the scalp mask is less, not even the longest strand reaches.
_HAIRLESS = 0.5 - (0.5 + 2.5 * _HAIRLINE_NOISE) / _HAIRLINE_SHARPNESS
_CAVITY_SHADE = 0.6  # how much darker skin is where nothing of the sky is in sight, as photos show ears and nostrils


def density_of(distance: torch.Tensor) -> torch.Tensor:
    """Density, in 1 / world unit, of signed distances in world units: Psi(-distance) / beta.

    Psi is the Laplace distribution's cumulative function of scale beta = ``BETA`` (Yariv et al., Volume Rendering of
    Neural Implicit Surfaces, 2021, equations 2 and 3 with alpha = 1 / beta).
    """
    tail = 0.5 * torch.exp(-distance.abs() / BETA)
    return torch.where(distance > 0, tail, 1 - tail) / BETA


class TemplateField:
    """Density and colour of the fitted template.

    The surface, at distance 0, has density 0.5 / beta (``density_of``).
    """

    def __init__(self, grid: DistanceGrid, palette: Palette, device: torch.device | None = None) -> None:
        self.device = device or torch.device("cpu")
        self.level = 0.5 / BETA
        self._grid = grid.to(self.device)
        self._palette = palette
        shape = np.array(grid.distance.shape)
        low = grid.origin.copy()
        low[1] = FLOOR
        high = grid.origin + SPACING * (shape - 1) - MARGIN / 2
        self.box = Box(triple(low), triple(high))
        self._lowest, self._highest = _extremes(self._grid.distance)

    def density(self, points: torch.Tensor) -> torch.Tensor:
        """(N,) at world points (N, 3), in 1 / world unit."""
        return density_of(self._grid.sample_distance(points))

    def color(self, points: torch.Tensor) -> torch.Tensor:
        """(N, 3) sRGB-encoded in [0, 1]: skin, and hair where hair grows."""
        rest, scalp, openness = self._grid.sample_skin(points)
        shade = 1 - _CAVITY_SHADE * (1 - openness).clamp(0, 1)
        color = torch.tensor(self._palette.skin, dtype=rest.dtype, device=rest.device) * shade[:, None]
        hairy = torch.nonzero(scalp > _HAIRLESS)[:, 0]
        strands = strand_shade(rest[hairy]).clamp(-2.5, 2.5)
        # Strands end at different heights: noise moves the hairline, not only its colour.
        grown = ((scalp[hairy] - 0.5) * _HAIRLINE_SHARPNESS + _HAIRLINE_NOISE * strands + 0.5).clamp(0, 1)[:, None]
        hair = torch.tensor(self._palette.hair, dtype=rest.dtype, device=rest.device)
        hair = hair * (1 + _STRAND_CONTRAST * self._palette.hair_unevenness * strands)[:, None]
        color[hairy] += grown * (hair - color[hairy])
        return color.clamp(0, 1)

    def may_hold_surface(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """For boxes (B, 3), (B, 3): False where all nodes that interpolation there can touch lie on one side."""
        origin = torch.as_tensor(self._grid.origin, dtype=low.dtype, device=low.device)
        size = torch.tensor(self._lowest.shape, device=low.device)
        # Cell c of the pooled grid covers nodes c * _POOL to (c + 1) * _POOL; beyond the grid its border counts.
        first = ((low - origin) / SPACING / _POOL).floor().long().clamp(torch.zeros_like(size), size - 1)
        last = ((high - origin) / SPACING / _POOL).floor().long().clamp(torch.zeros_like(size), size - 1)
        if len(low) == 0:
            return torch.zeros(0, dtype=torch.bool, device=low.device)
        # One window that is wide enough for the widest of the boxes serves them all.
        window = ((last - first).max(dim=0).values + 1).tolist()
        lowest = -_window_max(-self._lowest, window)[first.unbind(1)]
        highest = _window_max(self._highest, window)[first.unbind(1)]
        return (lowest <= 0) & (highest >= 0)


def _window_max(values: torch.Tensor, window: list[int]) -> torch.Tensor:
    """Greatest of ``values`` (X, Y, Z) over the window that begins at each cell, as far as there are cells."""
    pad = [extra for size in reversed(window) for extra in (0, size - 1)]
    values = F.pad(values[None, None], pad, value=-torch.inf)
    for axis, size in enumerate(window):  # a box's maximum, one axis after the other
        kernel = [1, 1, 1]
        kernel[axis] = size
        values = F.max_pool3d(values, kernel, stride=1)
    return values[0, 0]


def _extremes(distance: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Least and greatest distance over the nodes of each pooled cell, neighbours' shared nodes included."""
    volume = distance[None, None]
    pad = [extra for count in reversed(distance.shape) for extra in (0, -(count - 1) % _POOL)]
    volume = F.pad(volume, pad, mode="replicate")
    highest = F.max_pool3d(volume, _POOL + 1, _POOL)[0, 0]
    lowest = -F.max_pool3d(-volume, _POOL + 1, _POOL)[0, 0]
    return lowest, highest
