from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from headstitch.kernels.modulated_conv import modulated_conv
from headstitch.kernels.resample import filter_4x4


def by_definition(x, weight, styles, up: int, demodulate: bool) -> torch.Tensor:
    """One sample, one output pixel of the weights at a time."""
    made = []
    for sample, style in zip(x, styles, strict=True):
        w = weight * style[None, :, None, None]
        if demodulate:
            w = w / (w.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        size = w.shape[-1]
        if up == 1:
            made.append(F.conv2d(sample[None], w, padding=size // 2)[0])
            continue
        height, width = sample.shape[1:]
        spread = torch.zeros(len(w), 2 * height + 1, 2 * width + 1, dtype=x.dtype)
        for row in range(size):
            for column in range(size):
                add = torch.einsum("oi,ihw->ohw", w[:, :, row, column], sample)
                spread[:, row : row + 2 * height : 2, column : column + 2 * width : 2] += add
        kernel = (4 * filter_4x4()).to(x.dtype)[None, None]
        made.append(F.conv2d(F.pad(spread, (1, 1, 1, 1))[:, None], kernel)[:, 0])
    return torch.stack(made)


def example(batch: int, size: int = 3):
    draw = torch.Generator().manual_seed(batch)
    x = torch.randn(batch, 5, 4, 6, generator=draw, dtype=torch.float64)
    weight = torch.randn(7, 5, size, size, generator=draw, dtype=torch.float64)
    styles = 1 + 0.5 * torch.randn(batch, 5, generator=draw, dtype=torch.float64)
    return x, weight, styles


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(("up", "size"), [(1, 3), (1, 1), (2, 3)])
@pytest.mark.parametrize("batch", [1, 3])
def test_convolves_with_the_weights_that_the_styles_make(batch, up, size, demodulate, layout):
    x, weight, styles = example(batch, size)
    ours = modulated_conv(x.contiguous(memory_format=layout), weight, styles, up=up, demodulate=demodulate)
    assert ours.shape == (batch, 7, 4 * up, 6 * up)
    torch.testing.assert_close(ours, by_definition(x, weight, styles, up, demodulate), atol=1e-10, rtol=0)


@pytest.mark.parametrize("up", [1, 2])
def test_a_sample_does_not_notice_its_batch(up):
    x, weight, styles = example(3)
    together = modulated_conv(x, weight, styles, up=up)
    alone = torch.cat([modulated_conv(x[i : i + 1], weight, styles[i : i + 1], up=up) for i in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-12, rtol=0)


def test_a_style_of_zeros_gives_zeros():
    x, weight, styles = example(1)
    assert (modulated_conv(x, weight, styles * 0) == 0).all()


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_reach_everything(batch, up):
    x, weight, styles = (part[..., :3, :3] if part.ndim == 4 else part for part in example(batch))
    inputs = [part.detach().clone().requires_grad_() for part in (x, weight, styles)]
    assert torch.autograd.gradcheck(lambda *given: modulated_conv(*given, up=up), inputs, fast_mode=True)
