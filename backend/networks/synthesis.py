"""StyleGAN2's synthesis in the skip architecture: w+ to an image. It makes the tri-grid, and the background."""

from __future__ import annotations

import torch
from torch import nn

from ...kernels.resample import filter_4x4, upsample2
from .layers import Noise, SynthesisLayer, ToRGB


class SynthesisBlock(nn.Module):
    """Two convolutions and a ToRGB that adds to the image so far; the first block starts from a learned constant.

    Args:
        inputs: channels that come in; 0 makes it a first block, with one convolution.
        outputs: channels that go out.
        image_channels: of the image.
        w_dim: width of w.
        resolution: of its output.
        up: 2 where the block doubles the size; the super-resolution has blocks that do not.
        clamp: bound on the magnitude of every layer's output.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        image_channels: int,
        w_dim: int,
        resolution: int,
        *,
        up: int = 2,
        clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.up = up
        self.convs = 1 if inputs == 0 else 2
        # As in the layers: kept for the official files, read by nothing.
        self.register_buffer("resample_filter", filter_4x4())
        if inputs == 0:
            self.const = nn.Parameter(torch.randn(outputs, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(inputs, outputs, w_dim, resolution, up=up, clamp=clamp)
        self.conv1 = SynthesisLayer(outputs, outputs, w_dim, resolution, clamp=clamp)
        self.torgb = ToRGB(outputs, image_channels, w_dim, clamp=clamp)

    def forward(
        self,
        x: torch.Tensor | None,
        image: torch.Tensor | None,
        ws: torch.Tensor,
        *,
        noise: Noise = "const",
        generator: torch.Generator | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One block.

        Args:
            x: (B, in, H, W); None in a first block.
            image: (B, image_channels, H, W) so far, or None.
            ws: (B, convs + 1, w_dim), the last row for the ToRGB.
            noise: of the convolutions.
            generator: source of random noise.

        Returns:
            x (B, out, H * up, W * up) and the image of that size.
        """
        rows = iter(ws.unbind(1))
        start = self.const[None].expand(len(ws), -1, -1, -1) if x is None else x
        # Everything after keeps this layout: on a CPU the transposed convolutions are two to three times faster in it.
        y = start.contiguous(memory_format=torch.channels_last)
        if self.convs == 2:
            y = self.conv0(y, next(rows), noise=noise, generator=generator)
        y = self.conv1(y, next(rows), noise=noise, generator=generator)
        added = self.torgb(y, next(rows))
        if image is not None:
            added = added + (upsample2(image) if self.up == 2 else image)
        return y, added


class SynthesisNetwork(nn.Module):
    """Blocks from 4 pixels up to a size, named by their resolution.

    Args:
        w_dim: width of w.
        size: of the image.
        image_channels: of the image.
        channel_base, channel_max: a block has min(channel_base // resolution, channel_max) channels.
    """

    def __init__(self, w_dim: int, size: int, image_channels: int, *, channel_base: int, channel_max: int) -> None:
        super().__init__()
        self.resolutions = [2**power for power in range(2, size.bit_length())]
        self.num_ws = 2 * len(self.resolutions)
        inputs = 0
        for resolution in self.resolutions:
            outputs = min(channel_base // resolution, channel_max)
            self.add_module(f"b{resolution}", SynthesisBlock(inputs, outputs, image_channels, w_dim, resolution))
            inputs = outputs

    def forward(
        self, ws: torch.Tensor, *, noise: Noise = "const", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """W+ (B, rows, w_dim) to the image (B, image_channels, size, size).

        Rows beyond ``num_ws`` are not used; where there are fewer, the last one is repeated.
        """
        if ws.shape[1] < self.num_ws:
            ws = torch.cat([ws, ws[:, -1:].expand(-1, self.num_ws - ws.shape[1], -1)], 1)
        # A block's ToRGB and the next block's first convolution share a row.
        x, image = self.get_submodule("b4")(None, None, ws[:, :2], noise=noise, generator=generator)
        for number, resolution in enumerate(self.resolutions[1:]):
            block = self.get_submodule(f"b{resolution}")
            x, image = block(x, image, ws[:, 2 * number + 1 :][:, :3], noise=noise, generator=generator)
        return image
