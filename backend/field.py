"""HeadField: the one interface through which everything after the inversion sees a head. Below the meshing floor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from ..kernels.lattice_density import lattice_density
from ..kernels.trigrid import DecoderWeights, Rows, sample_trigrid, to_rows
from .rendering import BORDER, Crop

_POINTS_AT_ONCE = 1 << 18
_OFFICIAL_BORDER = 60 / 511  # of the box's side: the official mesh scripts blank 60 of 512 nodes on every side


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
        """Density (N,) float32, any real number, at world points (N, 3) float32."""
        ...

    def color(self, points: torch.Tensor) -> torch.Tensor:
        """Colour (N, 3) float32, sRGB-encoded in [0, 1], of the surface at world points (N, 3) on or near it."""
        ...

    def may_hold_surface(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """For B boxes with corners ``low``, ``high`` (B, 3): bool (B,), False only where the density certainly stays on
        one side of ``level`` in the whole box. A field that cannot tell answers True.
        """
        ...


@runtime_checkable
class LatticeSampler(Protocol):
    """A field that knows a faster way to its density on a lattice than being asked point by point."""

    def sample_lattice(
        self, origin: tuple[float, float, float], spacing: float, shape: tuple[int, int, int]
    ) -> tuple[torch.Tensor, float]:
        """The density (X, Y, Z) float32 at nodes ``origin + spacing * (i, j, k)``, and the share of them evaluated.

        A node from which no edge of the lattice crosses the level may hold any number on its side of the level.
        """
        ...


class TrigridShape(Protocol):
    """What a field has to know of the configuration of a tri-grid's model."""

    @property
    def box_warp(self) -> float:
        """Side in world units of the cube that the planes span."""
        ...

    @property
    def trigrid_depth(self) -> int:
        """Slices of a plane."""
        ...


class TrigridField:
    """A tri-grid and its decoder as a HeadField. Its density is the decoder's raw one, any real number.

    Args:
        trigrid: (3, 96, R, R), or its rows in single precision; the field lives on its device.
        decoder: the decoder's effective values.
        config: of the model that made the tri-grid.
        level: the raw density at the surface.
        crop: the part of the cube that holds the head. "same": what pictures show, all of the height and 0.1 less on
            the other four sides; "official": without the border that the official mesh scripts blank on six sides.
        color: sRGB-encoded colours in [0, 1] of world points, (N, 3) to (N, 3). Without it the first three decoded
            features are the colour, from -1 to 1.
    """

    def __init__(
        self,
        trigrid: torch.Tensor | Rows,
        decoder: DecoderWeights,
        *,
        config: TrigridShape,
        level: float,
        crop: Crop = "same",
        color: Callable[[torch.Tensor], torch.Tensor] | None = None,
    ) -> None:
        self.level = level
        half = config.box_warp / 2
        border = BORDER if crop == "same" else _OFFICIAL_BORDER * config.box_warp
        side, height = half - border, half if crop == "same" else half - border
        self.box = Box((-side, -height, -side), (side, height, side))
        rows = trigrid if isinstance(trigrid, Rows) else to_rows(trigrid[None].float(), depth=config.trigrid_depth)
        self.device = rows.table.device
        self._rows = rows
        self._decoder = decoder
        self._box_warp = config.box_warp
        self._color = color

    @torch.no_grad()
    def density(self, points: torch.Tensor) -> torch.Tensor:
        """(N,) the raw density at world points (N, 3)."""
        decoder = self._decoder.density_only()
        parts = [self._sample(some, decoder)[0] for some in points.split(_POINTS_AT_ONCE)]
        return torch.cat(parts)

    @torch.no_grad()
    def color(self, points: torch.Tensor) -> torch.Tensor:
        """(N, 3) sRGB-encoded in [0, 1] at world points (N, 3)."""
        if self._color is not None:
            return self._color(points)
        parts = [self._sample(some, self._decoder)[1][:, :3] for some in points.split(_POINTS_AT_ONCE)]
        return ((torch.cat(parts) + 1) / 2).clamp(0, 1)

    def may_hold_surface(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """True (B,) for all boxes: what this field knows of them is in ``sample_lattice``."""
        return torch.ones(len(low), dtype=torch.bool, device=low.device)

    @torch.no_grad()
    def sample_lattice(
        self, origin: tuple[float, float, float], spacing: float, shape: tuple[int, int, int]
    ) -> tuple[torch.Tensor, float]:
        """As ``LatticeSampler``: exact at every node where it matters for the surface."""
        return lattice_density(
            self._rows, self._decoder, origin, spacing, shape, level=self.level, box_warp=self._box_warp
        )

    def _sample(self, points: torch.Tensor, decoder: DecoderWeights) -> tuple[torch.Tensor, torch.Tensor]:
        sigma, features = sample_trigrid(self._rows, points[None], decoder, box_warp=self._box_warp)
        return sigma[0], features[0]
