"""Super-resolution: the feature image and the raw picture to the finished one. The last part of the generator."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from ...kernels.resample import filter_4x4
from .synthesis import SynthesisBlock


class Layout(NamedTuple):
    """What one of the official classes is made of."""

    input_size: int
    channels: tuple[int, int]  # of the two blocks
    up: tuple[int, int]  # 2 where a block doubles the size
    own_filter: bool  # whether official files hold one more filter, outside the blocks

    @property
    def output_size(self) -> int:
        """Side of the finished picture."""
        return self.input_size * self.up[0] * self.up[1]


Variant = Literal["8XDC", "8X", "4X", "2X"]
LAYOUTS: dict[Variant, Layout] = {
    "8XDC": Layout(128, (256, 128), (2, 2), own_filter=False),
    "8X": Layout(128, (128, 64), (2, 2), own_filter=True),
    "4X": Layout(128, (128, 64), (1, 2), own_filter=True),
    "2X": Layout(64, (128, 64), (1, 2), own_filter=True),
}


class SuperResolution(nn.Module):
    """Two synthesis blocks without noise, both styled by the last row of w+ alone.

    Args:
        variant: the official class, by the end of its name.
        features: channels of the feature image.
        w_dim: width of w.
        clamp: bound on the magnitude of every layer's output.
    """

    def __init__(self, variant: Variant, features: int, w_dim: int, *, clamp: float | None) -> None:
        super().__init__()
        layout = self.layout = LAYOUTS[variant]
        if layout.own_filter:
            self.register_buffer("resample_filter", filter_4x4())
        middle = layout.input_size * layout.up[0]
        first, second = layout.channels
        self.block0 = SynthesisBlock(features, first, 3, w_dim, middle, up=layout.up[0], clamp=clamp)
        self.block1 = SynthesisBlock(first, second, 3, w_dim, layout.output_size, up=layout.up[1], clamp=clamp)

    def forward(self, features: torch.Tensor, raw: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """Features (B, F, S, S), raw picture (B, 3, S, S) and w (B, w_dim) to the picture (B, 3, size, size)."""
        size = self.layout.input_size
        ws = w[:, None].expand(-1, 3, -1)
        x, image = resize(features, size), resize(raw, size)
        x, image = self.block0(x, image, ws, noise="none")
        _, image = self.block1(x, image, ws, noise="none")
        return image


def resize(image: torch.Tensor, size: int) -> torch.Tensor:
    """(B, C, H, W) to (B, C, size, size): bilinear, antialiased where it shrinks."""
    if image.shape[-1] == size:
        return image
    return F.interpolate(image, (size, size), mode="bilinear", align_corners=False, antialias=True)
