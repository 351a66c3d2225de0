"""StyleGAN2's modulated convolution: a convolution whose weights are scaled by a style. The bulk of every synthesis."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .resample import smooth


def modulated_conv(
    x: torch.Tensor, weight: torch.Tensor, styles: torch.Tensor, *, up: int = 1, demodulate: bool = True
) -> torch.Tensor:
    """Convolve each sample with the weights that its styles make (StyleGAN2, sections 2.2 and B).

    Args:
        x: (B, I, H, W); channels last is the fast layout on a CPU, and is kept.
        weight: (O, I, k, k), k odd.
        styles: (B, I), factors on the input channels.
        up: 2 doubles the size: a transposed convolution of stride 2, then the low-pass filter.
        demodulate: scale each output channel so that its weights have unit norm.

    Returns:
        (B, O, H * up, W * up)
    """
    if len(x) == 1:  # modulated weights: smaller than the pictures, and one factor serves both channels
        weight = weight * styles[0][:, None, None]
        if demodulate:
            weight = weight * (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).rsqrt()
        return _convolve(x, weight, up)
    # The same for several samples without a convolution in groups: the factors go to the pictures.
    y = _convolve(x * styles[:, :, None, None], weight, up)
    if demodulate:
        norms = styles.square() @ weight.square().sum((2, 3)).T  # (B, O)
        y = y * (norms + 1e-8).rsqrt()[:, :, None, None]
    return y


def _convolve(x: torch.Tensor, weight: torch.Tensor, up: int) -> torch.Tensor:
    if up == 1:
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return smooth(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2))
