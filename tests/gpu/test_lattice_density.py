"""Density on a lattice on a GPU is the density on the CPU."""

import pytest
import torch
from headstitch.kernels import lattice_density as kernel
from headstitch.kernels.lattice_density import lattice_density
from headstitch.kernels.trigrid import DecoderWeights

DEVICES = [
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")),
    pytest.param("mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU here")),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("blocks", [True, False])
def test_the_lattice_is_that_of_the_cpu(device, blocks, monkeypatch):
    monkeypatch.setattr(kernel, "_DENSE_SHARE", 2.0 if blocks else -1.0)
    draw = torch.Generator().manual_seed(0)
    trigrid = 0.1 * torch.randn(3, 96, 32, 32, generator=draw)
    weights = DecoderWeights(*(torch.randn(shape, generator=draw) for shape in ((64, 32), (64,), (33, 64), (33,))))
    on_gpu = DecoderWeights(*(tensor.to(device) for tensor in weights[:4]))
    lattice = ((-0.45, -0.5, -0.41), 0.019, (50, 53, 44))
    level = float(lattice_density(trigrid, weights, *lattice, level=0.0, skip=False)[0].quantile(0.9))
    expected, expected_share = lattice_density(trigrid, weights, *lattice, level=level)
    values, share = lattice_density(trigrid.to(device), on_gpu, *lattice, level=level)
    assert values.device.type == device
    torch.testing.assert_close(values.cpu(), expected, atol=1e-3, rtol=0)
    assert share == pytest.approx(expected_share, abs=1e-3)
