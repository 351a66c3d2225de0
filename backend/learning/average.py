"""Moving averages of networks' weights, for what is used after training."""

from __future__ import annotations

import copy

import torch
from torch import nn


def averaged(network: nn.Module) -> nn.Module:
    """A copy to hold the average, without gradients, in evaluation mode; put it into ``Task.networks``."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move every weight of the average a share of ``1 - decay`` towards the network's; buffers are copied."""
    for mine, theirs in zip(average.parameters(), network.parameters(), strict=True):
        mine.lerp_(theirs, 1 - decay)
    for mine, theirs in zip(average.buffers(), network.buffers(), strict=True):
        mine.copy_(theirs)
