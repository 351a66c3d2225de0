"""The 4 x 4 low-pass filter of StyleGAN2 and what is built from it: doubling an image, smoothing after a transposed
convolution. Stands under every synthesis block.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

TAPS = (1.0, 3.0, 3.0, 1.0)  # along each axis; the filter is their outer product over 64


def filter_4x4() -> torch.Tensor:
    """(4, 4) float32, sums to one."""
    # Of plain numbers: arithmetic on the meta device, where models are made, would load PyTorch's compiler.
    return torch.tensor([[a * b / 64 for a in TAPS] for b in TAPS])


def upsample2(image: torch.Tensor) -> torch.Tensor:
    """Double an image: zeros between the pixels, padded by 2 before and 1 after, filtered with gain 4.

    That is (x[i-1] + 3 x[i]) / 4 and (3 x[i] + x[i+1]) / 4 along each axis with zeros outside, which is bilinear
    doubling of the image framed by one zero.

    Args:
        image: (B, C, H, W)

    Returns:
        (B, C, 2 H, 2 W)
    """
    framed = F.pad(image, (1, 1, 1, 1))
    return F.interpolate(framed, scale_factor=2, mode="bilinear", align_corners=False)[:, :, 2:-2, 2:-2]


def smooth(image: torch.Tensor) -> torch.Tensor:
    """The filter with gain 4 over an image padded by one zero: what follows a transposed convolution of stride 2.

    Args:
        image: (B, C, H, W)

    Returns:
        (B, C, H - 1, W - 1)
    """
    channels = image.shape[1]
    kernel = (4 * filter_4x4()).to(image).expand(channels, 1, 4, 4)
    return F.conv2d(image, kernel, padding=1, groups=channels)
