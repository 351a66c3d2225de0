from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from headstitch.kernels.resample import filter_4x4, smooth, upsample2


def by_definition(image: torch.Tensor) -> torch.Tensor:
    """Zeros between the pixels, 2 before and 1 after, the filter with gain 4."""
    batch, channels, height, width = image.shape
    spread = torch.zeros(batch, channels, 2 * height, 2 * width, dtype=image.dtype)
    spread[:, :, ::2, ::2] = image
    spread = F.pad(spread, (2, 1, 2, 1)).flatten(0, 1)[:, None]
    kernel = (4 * filter_4x4()).to(image.dtype)[None, None]
    return F.conv2d(spread, kernel).view(batch, channels, 2 * height, 2 * width)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 4, 4), (1, 5, 3, 7)])
def test_doubling_is_zero_insertion_and_the_filter_also_at_the_border(shape):
    image = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(upsample2(image), by_definition(image), atol=1e-12, rtol=0)


def test_doubling_has_the_closed_form():
    image = torch.tensor([1.0, 5.0, -3.0]).view(1, 1, 1, 3)
    row = upsample2(image)[0, 0, 0] / 0.75  # the one row is its own neighbour above zeros
    expected = torch.tensor([3 * 1, 3 * 1 + 5, 1 + 3 * 5, 3 * 5 - 3, 5 - 3 * 3, 3 * -3]) / 4
    torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_smoothing_is_the_filter_over_a_frame_of_one_zero(layout):
    image = torch.randn(2, 6, 9, 5, generator=torch.Generator().manual_seed(2))
    padded = F.pad(image, (1, 1, 1, 1)).unfold(2, 4, 1).unfold(3, 4, 1)
    expected = (padded * (4 * filter_4x4())).sum((-2, -1))
    torch.testing.assert_close(smooth(image.contiguous(memory_format=layout)), expected, atol=1e-5, rtol=0)


def test_the_filter_keeps_a_constant():
    assert filter_4x4().sum() == 1
    assert (upsample2(torch.ones(1, 1, 6, 6))[:, :, 1:-1, 1:-1] == 1).all()
