"""The template's field on a GPU is the field on the CPU."""

import numpy as np
import pytest
import torch
from headstitch.backend.meshing.lattice import sample_lattice
from headstitch.backend.template.distance import measure_grid
from headstitch.backend.template.field import TemplateField
from headstitch.backend.template.morphable import load_morphable
from headstitch.backend.template.palette import Palette
from headstitch.backend.template.solid import make_solids

DEVICES = [
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")),
    pytest.param("mps", marks=pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU here")),
]
PALETTE = Palette((0.8, 0.6, 0.5), (0.2, 0.1, 0.05), 0.4)


@pytest.fixture(scope="module")
def grid():
    return measure_grid(make_solids(load_morphable().mean))


@pytest.mark.parametrize("device", DEVICES)
def test_density_and_colour_are_those_of_the_cpu(grid, device):
    on_cpu, on_gpu = TemplateField(grid, PALETTE), TemplateField(grid, PALETTE, torch.device(device))
    points = torch.rand(20_000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    # The density is at most 1 / beta = 100 and interpolation rounds at 1e-6 of it.
    np.testing.assert_allclose(on_gpu.density(points.to(device)).cpu(), on_cpu.density(points), atol=1e-2)
    np.testing.assert_allclose(on_gpu.color(points.to(device)).cpu(), on_cpu.color(points), atol=2e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_the_lattice_lies_on_the_same_sides(grid, device):
    on_cpu, on_gpu = TemplateField(grid, PALETTE), TemplateField(grid, PALETTE, torch.device(device))
    ours, theirs = sample_lattice(on_gpu, 64), sample_lattice(on_cpu, 64)
    unsure = np.abs(theirs.values - on_cpu.level) < 1e-2
    np.testing.assert_array_equal((ours.values > on_gpu.level)[~unsure], (theirs.values > on_cpu.level)[~unsure])
