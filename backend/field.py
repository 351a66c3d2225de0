"""HeadField: the one interface through which everything after the inversion sees a head. Below the meshing floor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class Box:
    """An axis-aligned box in world units."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]


class HeadField(Protocol):
    """A head as a field of density and colour over world space."""

    @property
    def box(self) -> Box:
        """The part of the world that holds the head; the field is empty outside, and the neck is cut at its floor."""
        ...

    @property
    def level(self) -> float:
        """The density at the surface: more is inside, less outside."""
        ...

    @property
    def device(self) -> torch.device:
        """Where points must live that the field is asked about."""
        ...

    def density(self, points: torch.Tensor) -> torch.Tensor:
        """Density (N,) float32, >= 0, at world points (N, 3) float32."""
        ...

    def color(self, points: torch.Tensor) -> torch.Tensor:
        """Colour (N, 3) float32, sRGB-encoded in [0, 1], of the surface at world points (N, 3) on or near it."""
        ...

    def may_hold_surface(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """For B boxes with corners ``low``, ``high`` (B, 3): bool (B,), False only where the density certainly stays on
        one side of ``level`` in the whole box. A field that cannot tell answers True.
        """
        ...
