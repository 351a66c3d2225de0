"""The tri-grid discriminator of the dual encoder (Bilecen et al. 2024, table 6). Only training needs it."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from ..errors import ModelError


class TrigridDiscriminator(nn.Sequential):
    """Tells masked tri-grids of the generator from those of an encoder: five convolutions at full resolution.

    The names of its tensors are the positions of the layers in the table.

    Args:
        channels: of all three planes together.
        widths: of the layers between; the table's unless told otherwise.
    """

    def __init__(self, channels: int = 288, widths: tuple[int, ...] = (64, 128, 256, 512)) -> None:
        layers: list[nn.Module] = [_conv(channels, widths[0]), nn.LeakyReLU(0.2, inplace=True)]
        for inputs, outputs in pairwise(widths):
            layers += [_conv(inputs, outputs), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2, inplace=True)]
        # The table prints a pooling of window 1 and one number as its result: pooled to 1 x 1, that is.
        super().__init__(*layers, _conv(widths[-1], 1, padding=0), nn.AdaptiveAvgPool2d(1))
        self.channels = channels

    def forward(self, trigrid: torch.Tensor) -> torch.Tensor:
        """(B, 3, C, R, R), zero where the photo sees it, to a score (B, 1): higher is more like the generator's.

        Raises:
            ModelError: the tri-grid has other channels than the discriminator.
        """
        planes = trigrid.flatten(1, -3)
        if planes.shape[1] != self.channels:
            raise ModelError(
                f"The discriminator takes tri-grids of {self.channels} channels, but this one has the shape "
                f"{tuple(trigrid.shape)}; make it for this generator."
            )
        return super().forward(planes).flatten(1)


def _conv(inputs: int, outputs: int, *, padding: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, 1, padding, bias=False)
