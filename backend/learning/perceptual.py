"""How alike two pictures look: LPIPS, whose weights a person brings, and a distance of our own that needs no file.

Pictures are (B, 3, H, W) float32 in [-1, 1]; a distance is (B,), 0 for the same picture. Networks out of files are
frozen, and files are read without executing anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ModelError
from ..models.encoders import read_tensors
from ..models.weights import StoredTensor

# AlexNet's convolutions (Krizhevsky 2014): the layer's number, as torchvision and LPIPS call it, stride and padding.
ALEX = ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1))
POOLED = (1, 2)  # before these, 3 x 3 with stride 2
MEAN, SPREAD = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of the colours, in units of [-1, 1]
SCALES = 5


class Lpips(nn.Module):
    """LPIPS over AlexNet (Zhang et al. 2018, version 0.1).

    Args:
        convolutions: weight (out, in, k, k) and bias (out,) of the five layers.
        heads: (1, out, 1, 1), how much each channel of each layer counts.
    """

    def __init__(
        self, convolutions: Sequence[tuple[torch.Tensor, torch.Tensor]], heads: Sequence[torch.Tensor]
    ) -> None:
        super().__init__()
        for number, (weight, bias) in enumerate(convolutions):
            self.register_buffer(f"weight{number}", weight.float())
            self.register_buffer(f"bias{number}", bias.float())
            self.register_buffer(f"head{number}", heads[number].float())
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("spread", torch.tensor(SPREAD).view(1, 3, 1, 1))

    @staticmethod
    def from_files(paths: Sequence[Path]) -> Lpips:
        """Out of one file with all of it, or two: AlexNet's and that of the heads (``alex.pth`` of version 0.1).

        Raises:
            ModelError: a tensor is missing or has another shape, or a file is damaged.
        """
        tensors: dict[str, StoredTensor] = {}
        for path in paths:
            tensors |= read_tensors(path)
        where = " and ".join(map(str, paths))
        convolutions, heads, inputs = [], [], 3
        for number, (layer, _, _) in enumerate(ALEX):
            names = (f"features.{layer}", f"slice{number + 1}.{layer}")
            weight = _find(tensors, [f"{name}.weight" for name in names], where)
            if weight.ndim != 4 or weight.shape[1] != inputs:
                raise ModelError(
                    f"{where}: {names[0]}.weight is {tuple(weight.shape)}, not AlexNet's; check the files."
                )
            inputs = weight.shape[0]
            convolutions.append((weight, _find(tensors, [f"{name}.bias" for name in names], where, (inputs,))))
            heads.append(_find(tensors, [f"lin{number}.model.1.weight"], where, (1, inputs, 1, 1)))
        return Lpips(convolutions, heads)

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """(B,)"""
        pairs = zip(self.layers(one), self.layers(other), strict=True)
        heads = [self.get_buffer(f"head{number}") for number in range(len(ALEX))]
        parts = [
            F.conv2d((_unit(a) - _unit(b)).square(), head).mean((1, 2, 3))
            for (a, b), head in zip(pairs, heads, strict=True)
        ]
        return torch.stack(parts).sum(0)

    def layers(self, x: torch.Tensor) -> list[torch.Tensor]:
        """What each of the five layers makes of pictures."""
        x = (x - self.get_buffer("mean")) / self.get_buffer("spread")
        seen = []
        for number, (_, stride, padding) in enumerate(ALEX):
            if number in POOLED:
                x = F.max_pool2d(x, 3, 2)
            x = F.relu(
                F.conv2d(x, self.get_buffer(f"weight{number}"), self.get_buffer(f"bias{number}"), stride, padding)
            )
            seen.append(x)
        return seen


class GradientDistance(nn.Module):
    """Our own: how differently colours change from pixel to pixel, at five sizes, beside how they differ when coarse.

    Edges that are out of place cost at every size at which they can be seen, a shift of the whole colour only in the
    coarsest one: that is what a pixel-wise loss does not tell apart.
    """

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """(B,)"""
        parts = []
        difference = one - other  # everything before the absolute value is linear
        for _ in range(SCALES):
            across, down = difference.diff(dim=-1), difference.diff(dim=-2)
            parts += [part.square().add(1e-6).sqrt().sub(1e-3).mean((1, 2, 3)) for part in (across, down)]
            difference = F.avg_pool2d(difference, 2)
        coarse = difference.square().mean((1, 2, 3))
        return torch.stack(parts).mean(0) + coarse


def _unit(x: torch.Tensor) -> torch.Tensor:
    """Every pixel's channels scaled to length one."""
    return x / (x.square().sum(1, keepdim=True).add(1e-20).sqrt() + 1e-10)


def _find(
    tensors: Mapping[str, StoredTensor], names: Sequence[str], where: str, shape: tuple[int, ...] | None = None
) -> torch.Tensor:
    for name, tensor in tensors.items():
        if any(name == wanted or name.endswith(f".{wanted}") for wanted in names):
            if shape is not None and tuple(tensor.shape) != shape:
                raise ModelError(f"{where}: {name} is {tuple(tensor.shape)} instead of {shape}; check the files.")
            return tensor.load()
    raise ModelError(
        f"{where} lacks {names[0]}; give AlexNet's weights and those of LPIPS (alex), in one file or in two."
    )
