"""The options of a reconstruction: one frozen dataclass behind the command line, the Python API and the messages.

Imports nothing heavy, so that ``--help`` is quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import OptionError


@dataclass(frozen=True)
class Options:
    """How a photo becomes a head. Every field has a default that suits most photos."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where tensors live; auto takes CUDA when there, then MPS, then the CPU."""
    seed: int = 0
    """Seed of everything random; the same photo, options and device give the same head."""
    face: int | None = None
    """Which face to take, counted from 1 in order of size; by default the largest."""
    angles: tuple[float, float, float] | None = None
    """The head's yaw, pitch and roll in degrees, given by hand; needs --crop too where no face is found."""
    crop: tuple[float, float, float, float] | None = None
    """The crop by hand: centre column and row and side in pixels of the upright photo, and rotation in degrees."""
    resolution: int = 256
    """Nodes along each side of the lattice on which the density is sampled; 32 to 512."""
    smoothing: int = 5
    """Rounds of Taubin smoothing of the raw surface; 0 leaves it as marching cubes made it."""
    faces: int = 40_000
    """Triangles after decimation; 0 keeps all of them."""
    neck: Literal["closed", "open"] = "closed"
    """Whether the cut through the neck is capped."""
    texture_size: int = 2048
    """Side of the albedo texture in pixels; 256 to 8192."""
    quality: bool = True
    """Measure the finished head and warn about what looks wrong (adds some seconds)."""

    def __post_init__(self) -> None:
        _within("--resolution", self.resolution, 32, 512)
        _within("--smoothing", self.smoothing, 0, 100)
        _within("--texture-size", self.texture_size, 256, 8192)
        if self.faces != 0 and not 500 <= self.faces <= 2_000_000:
            raise OptionError(f"--faces is {self.faces}; give 0 to keep all triangles, or 500 to 2000000.")
        if self.face is not None and self.face < 1:
            raise OptionError(f"--face is {self.face}; faces are counted from 1, the largest first.")
        if self.crop is not None and self.crop[2] <= 0:
            raise OptionError(f"--crop has a side of {self.crop[2]:g} pixels; the side must be positive.")
        if not 0 <= self.seed < 2**32:
            raise OptionError(f"--seed is {self.seed}; give a number from 0 to 4294967295.")


def _within(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise OptionError(f"{name} is {value}; give a number from {low} to {high}.")
