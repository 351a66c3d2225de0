import numpy as np
import pytest
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.inversion.starter_field import StarterField
from headstitch.backend.meshing.surface import extract_surface
from headstitch.backend.networks.starter import StarterConfig, StarterGenerator
from headstitch.backend.options import Options
from headstitch.backend.template.fit import average_fit
from headstitch.backend.template.lean import LeaningGrid, leaning, shown
from headstitch.backend.template.morphable import load_morphable

CONFIG = StarterConfig(
    z_dim=8, w_dim=8, channel_base=128, channel_max=16, trigrid_size=16, features=4, decoder_hidden=8, image_size=32,
    widths=(8, 16),
)  # fmt: skip
SHIFT = 0.03


@pytest.fixture(scope="module")
def lent():
    return leaning(average_fit(load_morphable()), np.zeros(2))


def make_field(lent, residual):
    """The mean head with a residual that is the same everywhere but on the face."""
    torch.manual_seed(0)
    generator = StarterGenerator(CONFIG).eval().requires_grad_(False)
    generator.decoder[-1].bias[0] = residual / CONFIG.reach
    generator.decoder[-1].bias[1:4] = torch.tensor([1.0, 0.0, -1.0])
    trigrid = generator.trigrid(generator.map(torch.zeros(1, 8)))
    picture = torch.from_numpy(shown(np.zeros((32, 32, 3), np.uint8), np.ones((32, 32))))[None]
    camera = torch.from_numpy(Camera.from_angles().label).float()[None]
    return StarterField(generator, trigrid, LeaningGrid(lent), picture, camera)


@pytest.fixture(scope="module")
def field(lent):
    return make_field(lent, -SHIFT)


def test_its_surface_lies_a_residual_outside_the_templates(field, lent):
    points = np.array([[0.0, 0.3, -0.1], [0.25, 0.1, -0.1], [0.0, 0.05, -0.4]], np.float32)
    expected = lent.measure(points)[1] - SHIFT
    found = field.decode(torch.from_numpy(points)).distance[0]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    density = field.density(torch.from_numpy(points)).numpy()
    np.testing.assert_array_equal(density > field.level, expected < 0)
    np.testing.assert_allclose(field.color(torch.from_numpy(points)), [[1, 0.5, 0]] * 3, atol=1e-6)


def test_no_box_with_surface_in_it_is_passed_over(field):
    random = torch.Generator().manual_seed(1)
    low = torch.rand(3000, 3, generator=random) * torch.tensor([0.9, 0.75, 0.9]) + torch.tensor([-0.5, -0.345, -0.5])
    high = low + 0.05
    inside = low[:, None] + torch.rand(3000, 27, 3, generator=random) * 0.05
    above = (field.density(inside.view(-1, 3)) > field.level).view(3000, 27)
    crossed = above.any(1) & ~above.all(1)
    answer = field.may_hold_surface(low, high)
    assert crossed.sum() > 100
    assert answer[crossed].all()
    assert (~answer).float().mean() > 0.3  # or it would be of no use


def test_the_mesh_of_it_is_the_template_grown_by_the_residual(field, lent):
    mesh, _ = extract_surface(field, Options(resolution=96))
    crown = mesh.vertices[np.abs(mesh.vertices[:, 0]).argsort()[:200]][:, 1].max()
    bare = lent.bald.body.vertex.positions.numpy()[:, 1].max()
    assert crown == pytest.approx(bare + SHIFT, abs=0.006)
