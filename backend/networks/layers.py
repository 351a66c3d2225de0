"""The layers that StyleGAN2's networks are made of. Under mapping, synthesis, decoder and super-resolution."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from ...kernels.modulated_conv import modulated_conv
from ...kernels.resample import filter_4x4

Noise = Literal["const", "none", "random"]
"""const: the stored pattern, the same every time; none; random: fresh numbers every time."""


class FullyConnected(nn.Module):
    """A linear layer that stores weights of unit variance and scales them when used.

    Args:
        inputs, outputs: widths.
        activation: linear, or lrelu (leaky ReLU of slope 0.2 times sqrt(2)).
        lr_mul: factor on weight and bias; the stored values are as much larger.
        bias: what the effective bias starts at.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        activation: Literal["linear", "lrelu"] = "linear",
        lr_mul: float = 1.0,
        bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.lr_mul = lr_mul
        # In place: on the meta device, where models are made, anything else would load PyTorch's compiler.
        self.weight = nn.Parameter(torch.randn(outputs, inputs).div_(lr_mul))
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr_mul))

    def effective(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight (out, in) and bias (out,) with their gains applied."""
        return self.weight * (self.lr_mul / self.weight.shape[1] ** 0.5), self.bias * self.lr_mul

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        y = F.linear(x, *self.effective())
        return F.leaky_relu(y, 0.2) * 2**0.5 if self.activation == "lrelu" else y


class SynthesisLayer(nn.Module):
    """A modulated 3 x 3 convolution with noise, bias and leaky ReLU.

    Args:
        inputs, outputs: channels.
        w_dim: width of the w that styles it.
        resolution: of its output.
        up: 2 where the layer doubles the size.
        clamp: bound on the magnitude of the output.
    """

    noise_const: torch.Tensor

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, resolution: int, *, up: int = 1, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.up = up
        self.clamp = clamp
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))
        # Nothing reads it, the filter is always the same; official files hold one here, and so do ours.
        self.register_buffer("resample_filter", filter_4x4())
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.affine = FullyConnected(w_dim, inputs, bias=1.0)

    def forward(
        self, x: torch.Tensor, w: torch.Tensor, *, noise: Noise = "const", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """(B, in, H, W) and w (B, w_dim) to (B, out, H * up, W * up)."""
        x = modulated_conv(x, self.weight, self.affine(w), up=self.up)
        if noise != "none":
            x = x + self._noise(x, noise, generator) * self.noise_strength
        return activate(x, self.bias, gain=2**0.5, slope=0.2, clamp=self.clamp)

    def _noise(self, x: torch.Tensor, noise: Noise, generator: torch.Generator | None) -> torch.Tensor:
        if noise == "const":
            return self.noise_const
        device = x.device if generator is None else generator.device
        size = (len(x), 1, *x.shape[-2:])
        return torch.randn(size, generator=generator, device=device, dtype=x.dtype).to(x.device)


class ToRGB(nn.Module):
    """A modulated 1 x 1 convolution without demodulation: features to an image."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, *, clamp: float | None = None) -> None:
        super().__init__()
        self.clamp = clamp
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.affine = FullyConnected(w_dim, inputs, bias=1.0)

    def styles(self, w: torch.Tensor) -> torch.Tensor:
        """The factors (B, in) on the input channels."""
        return self.affine(w) / self.weight.shape[1] ** 0.5

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W) and w (B, w_dim) to (B, out, H, W)."""
        image = modulated_conv(x, self.weight, self.styles(w), demodulate=False)
        return activate(image, self.bias, clamp=self.clamp)


def normalize(x: torch.Tensor) -> torch.Tensor:
    """Scale (..., F) to a mean square of one."""
    return x * (x.square().mean(-1, keepdim=True) + 1e-8).rsqrt()


def activate(
    x: torch.Tensor, bias: torch.Tensor, *, gain: float = 1.0, slope: float = 1.0, clamp: float | None = None
) -> torch.Tensor:
    """Bias (C,), leaky ReLU of a slope, gain and clamp over (B, C, H, W).

    Overwrites x where no gradient is wanted: at 512 pixels a fresh tensor for each of the four costs time and memory.
    """
    wanted = torch.is_grad_enabled() and (x.requires_grad or bias.requires_grad)
    bias = bias[:, None, None]
    if wanted:
        x = x + bias
        x = F.leaky_relu(x, slope) * gain if slope != 1 else x * gain
        return x if clamp is None else x.clamp(-clamp, clamp)
    x = x.add_(bias)
    if slope != 1:
        F.leaky_relu_(x, slope)
    if gain != 1:
        x.mul_(gain)
    return x if clamp is None else x.clamp_(-clamp, clamp)
