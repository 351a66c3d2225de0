"""A starter model's tri-grid and the template that it leans on as a HeadField. Between inversion and surface."""

from __future__ import annotations

import torch

from ...kernels.trigrid import to_rows
from ..field import Box
from ..networks.starter import Decoded, StarterGenerator
from ..template.distance import FLOOR
from ..template.field import BETA, density_of
from ..template.lean import LeaningGrid

_POINTS_AT_ONCE = 1 << 17
_COARSE = 0.02  # world units between the places at which the whole box is looked over beforehand
# Between two such places the distance may fall faster than a true one would: by how much, and what noise adds.
_STEEPEST, _SLACK = 2.0, 0.006


class StarterField:
    """Density comes from the decoded distance as the template's does (``density_of``).

    Args:
        generator: whose decoder it is; the field lives where it does.
        trigrid: (1, 3, F * slices, R, R).
        grid: of the fitted template.
        picture: (1, ``SHOWN``, S, S) of the photo, ``template.lean.shown``.
        camera: (1, 25) its label.
    """

    def __init__(
        self,
        generator: StarterGenerator,
        trigrid: torch.Tensor,
        grid: LeaningGrid,
        picture: torch.Tensor,
        camera: torch.Tensor,
    ) -> None:
        self.device = trigrid.device
        self.level = 0.5 / BETA
        half = generator.config.box_warp / 2
        self.box = Box((-half, FLOOR, -half), (half, half, half))
        self._generator = generator
        self._rows = to_rows(trigrid.float(), depth=generator.config.trigrid_depth)
        self._grid = grid
        self._outline, self._camera = picture[:, 4:], camera
        self._low = torch.tensor(self.box.low, device=self.device)
        self._least = self._look_over()

    @torch.no_grad()
    def decode(self, points: torch.Tensor) -> Decoded:
        """Distance, colour and hair at world points (N, 3): N of one head."""
        parts = [self._decode(some[None]) for some in points.split(_POINTS_AT_ONCE)]
        return Decoded(*(torch.cat([getattr(part, name) for part in parts], 1) for name in Decoded.__annotations__))

    def density(self, points: torch.Tensor) -> torch.Tensor:
        """(N,) at world points (N, 3), in 1 / world unit."""
        return density_of(self.decode(points).distance[0])

    def color(self, points: torch.Tensor) -> torch.Tensor:
        """(N, 3) sRGB-encoded in [0, 1] at world points (N, 3)."""
        return ((self.decode(points).color[0] + 1) / 2).clamp(0, 1)

    def may_hold_surface(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """For boxes (B, 3), (B, 3): False where all places around them that were looked at are too far away."""
        middle, reach = (low + high) / 2, (high - low).norm(dim=1) / 2
        cell = ((middle - self._low) / _COARSE).round().long()
        cell = cell.clamp(torch.zeros(3, dtype=torch.long, device=self.device), self._shape - 1)
        apart = (middle - (self._low + cell * _COARSE)).norm(dim=1)
        return self._least[cell.unbind(1)] <= _STEEPEST * (reach + apart) + _SLACK

    def _decode(self, points: torch.Tensor) -> Decoded:
        bald, hairy, rest = (part[None] for part in self._grid.sample(points[0]))
        return self._generator.decode_leaning(
            self._rows, points, bald, hairy, rest, outline=self._outline, cameras=self._camera
        )

    def _look_over(self) -> torch.Tensor:
        """(X, Y, Z) abs(distance) on a coarse lattice over the box."""
        axes = [
            torch.arange(low, high + _COARSE, _COARSE, device=self.device)
            for low, high in zip(self.box.low, self.box.high, strict=True)
        ]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        self._shape = torch.tensor(points.shape[:3], device=self.device)
        return self.decode(points.view(-1, 3)).distance[0].abs().view(points.shape[:3])
