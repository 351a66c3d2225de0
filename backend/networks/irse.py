"""The trunk of both stages of an encoder: IR-SE50, the face recogniser of pSp and of ArcFace's followers, without its
last layers. Tensors carry the names of its published weights.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

REDUCTION = 16  # of the channels inside a squeeze-and-excitation


class Taps(NamedTuple):
    """What the trunk sees at its sizes; W is the width of the stage, S the side of the picture."""

    c0: torch.Tensor  # (B, W0, S / 2, S / 2), end of the first stage
    c1: torch.Tensor  # (B, W1, S / 4, S / 4)
    c2: torch.Tensor  # (B, W2, S / 8, S / 8)
    c3: torch.Tensor  # (B, W3, S / 16, S / 16), first block of the last stage
    c4: torch.Tensor  # (B, W3, S / 16, S / 16), end


class SqueezeExcitation(nn.Module):
    """Factors on the channels, from their means (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // REDUCTION)
        self.fc1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.fc2 = nn.Conv2d(inner, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same."""
        means = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(means))))


class Block(nn.Module):
    """A residual block (Deng et al. 2019, "IR") with squeeze and excitation.

    Args:
        inputs, outputs: channels.
        stride: 2 halves the size.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.shortcut_layer = None
        if inputs != outputs:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W) to (B, out, H / stride, W / stride)."""
        passed = x[:, :, :: self.stride, :: self.stride] if self.shortcut_layer is None else self.shortcut_layer(x)
        return self.res_layer(x) + passed


class Trunk(nn.Module):
    """Input layer and four stages, each of which halves the size in its first block.

    A network is a trunk with something on top, not a holder of one: published names have no part for it.

    Args:
        inputs: channels of the picture.
        widths, blocks: of the four stages; IR-SE50 has 64, 128, 256, 512 and 3, 4, 14, 3.
    """

    def __init__(self, inputs: int, widths: tuple[int, int, int, int], blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.input_layer = nn.Sequential(
            nn.Conv2d(inputs, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.PReLU(widths[0])
        )
        self.body = nn.ModuleList()
        self._taken: list[int] = []  # the blocks after which the taps are
        before = widths[0]
        for width, count in zip(widths, blocks, strict=True):
            first = len(self.body)
            self.body.append(Block(before, width, 2))
            self.body.extend(Block(width, width, 1) for _ in range(count - 1))
            before = width
            self._taken.append(len(self.body) - 1)
        self._taken.insert(3, first)

    def taps(self, image: torch.Tensor) -> Taps:
        """(B, inputs, S, S) to what the trunk sees; S is a multiple of 16."""
        x = self.input_layer(image)
        seen = []
        for block in self.body:
            x = block(x)
            seen.append(x)
        return Taps(*(seen[number] for number in self._taken))
