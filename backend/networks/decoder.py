"""The decoder: what a tri-grid holds at a point to density and features. Part of the generator."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from ...kernels.trigrid import DecoderWeights, decode
from .layers import FullyConnected


class Decoder(nn.Module):
    """Two fully connected layers with a softplus between them.

    Args:
        features: numbers in a cell, and of a decoded point.
        hidden: width between the layers.
        activation: of the features.
    """

    def __init__(self, features: int, hidden: int, activation: Literal["none", "sigmoid", "lrelu"] = "none") -> None:
        super().__init__()
        self.activation = activation
        self.net = nn.Sequential(FullyConnected(features, hidden), nn.Softplus(), FullyConnected(hidden, 1 + features))

    def weights(self) -> DecoderWeights:
        """The effective values, gains applied."""
        first, last = self.net[0], self.net[2]
        assert isinstance(first, FullyConnected)
        assert isinstance(last, FullyConnected)
        return DecoderWeights(*first.effective(), *last.effective(), self.activation)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The mean over the planes (B, N, F) to raw density (B, N) and features (B, N, F)."""
        return decode(features, self.weights())
