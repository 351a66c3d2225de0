"""The mapping: a latent and a camera to one vector, w or the learned camera offset. The generator's first part."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from .config import CAMERA
from .layers import FullyConnected, normalize


class Mapping(nn.Module):
    """Embeds a camera beside z and sends both through a few fully connected layers.

    Args:
        z_dim: width of the latent.
        w_dim: width of what comes out, of the camera's embedding and of the layers between.
        layers: how many fully connected layers.
        lr_mul: factor on their weights.
        last: activation of the last one.
        camera_scale: factor on the camera label.
        zero_camera: give the network zeros for a camera.
    """

    w_avg: torch.Tensor

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        *,
        layers: int = 2,
        lr_mul: float = 0.01,
        last: Literal["linear", "lrelu"] = "lrelu",
        camera_scale: float = 1.0,
        zero_camera: bool = False,
    ) -> None:
        super().__init__()
        self.layers = layers
        self.camera_factor = 0.0 if zero_camera else camera_scale
        self.register_buffer("w_avg", torch.zeros(w_dim))
        self.embed = FullyConnected(CAMERA, w_dim)
        for number in range(layers):
            inputs = z_dim + w_dim if number == 0 else w_dim
            activation = last if number == layers - 1 else "lrelu"
            self.add_module(f"fc{number}", FullyConnected(inputs, w_dim, activation=activation, lr_mul=lr_mul))

    def forward(self, z: torch.Tensor, camera: torch.Tensor) -> torch.Tensor:
        """Z (B, z_dim), normal numbers, and camera labels (B, 25) to w (B, w_dim)."""
        embedded = normalize(self.embed(camera.float() * self.camera_factor))
        w = torch.cat([normalize(z.float()), embedded], 1)
        for number in range(self.layers):
            w = self.get_submodule(f"fc{number}")(w)
        return w

    def rows(
        self, z: torch.Tensor, camera: torch.Tensor, count: int, *, truncation: float = 1.0, cutoff: int | None = None
    ) -> torch.Tensor:
        """W repeated to (B, count, w_dim), the first ``cutoff`` rows (None: all) drawn towards the mean w.

        A truncation of 1 leaves w as it is, 0 gives the mean.
        """
        w = self(z, camera)[:, None].repeat(1, count, 1)
        if truncation != 1:
            w[:, :cutoff] = self.w_avg.lerp(w[:, :cutoff], truncation)
        return w
