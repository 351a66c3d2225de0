from __future__ import annotations

import numpy as np
import pytest
import torch
from headstitch.backend.field import LatticeSampler, TrigridField
from headstitch.backend.meshing.lattice import sample_lattice
from headstitch.backend.meshing.surface import extract_surface, march
from headstitch.backend.networks.config import GeneratorConfig
from headstitch.backend.options import Options
from headstitch.backend.rendering import inside
from headstitch.kernels.trigrid import DecoderWeights, sample_trigrid

CONFIG = GeneratorConfig(trigrid_size=48)
LEVEL = 10.0


def ball(size: int = 48) -> tuple[torch.Tensor, DecoderWeights]:
    """A tri-grid and decoder of the official shapes whose level is a dented ball of radius 0.3 or so."""
    place = (torch.arange(size) + 0.5) / size - 0.5
    draw = torch.Generator().manual_seed(0)
    cells = 0.02 * torch.randn(3, 32, 3, size, size, generator=draw)
    cells[:, :2] = 0.15 - place[:, None] ** 2 - place**2
    weights = [0.3 * torch.randn(shape, generator=draw) for shape in ((64, 32), (64,), (33, 64), (33,))]
    # Of x and -x softplus differs by x itself: the first two features are the ball, the others its dents.
    weights[0][:2, :2] += torch.tensor([[90.0, 0], [0, -90.0]])
    weights[2][0] *= 0.05
    weights[2][0, :2] = torch.tensor([8.0, -8.0])
    return cells.reshape(3, 96, size, size), DecoderWeights(*weights)


@pytest.fixture(scope="module")
def field() -> TrigridField:
    trigrid, weights = ball()
    return TrigridField(trigrid, weights, config=CONFIG, level=LEVEL)


def test_density_is_the_decoders_raw_one(field):
    trigrid, weights = ball()
    points = torch.rand(1000, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    expected, _ = sample_trigrid(trigrid[None], points[None], weights)
    assert expected.min() < 0 < LEVEL < expected.max()
    torch.testing.assert_close(field.density(points), expected[0], atol=1e-4, rtol=0)


def test_many_points_are_asked_in_parts(field, monkeypatch):
    points = torch.rand(1000, 3, generator=torch.Generator().manual_seed(2)) - 0.5
    whole = field.density(points), field.color(points)
    monkeypatch.setattr("headstitch.backend.field._POINTS_AT_ONCE", 77)
    torch.testing.assert_close(field.density(points), whole[0])
    torch.testing.assert_close(field.color(points), whole[1])


def test_no_points_have_no_density(field):
    assert field.density(torch.zeros(0, 3)).shape == (0,)
    assert field.color(torch.zeros(0, 3)).shape == (0, 3)


def test_the_box_of_the_same_crop_is_what_pictures_show(field):
    assert field.box.low == pytest.approx((-0.4, -0.5, -0.4))
    assert field.box.high == pytest.approx((0.4, 0.5, 0.4))
    points = (torch.rand(5000, 3, generator=torch.Generator().manual_seed(3)) - 0.5) * 1.1
    low, high = torch.tensor(field.box.low), torch.tensor(field.box.high)
    shown = inside(points, 1.0, "same")
    torch.testing.assert_close(((points >= low) & (points <= high)).all(1), shown)


def test_the_official_box_is_what_the_official_mesh_keeps():
    trigrid, weights = ball()
    field = TrigridField(trigrid, weights, config=CONFIG, level=LEVEL, crop="official")
    nodes = np.linspace(-0.5, 0.5, 512)
    border = int(30 * 512 / 256)
    np.testing.assert_allclose(field.box.low, nodes[[border] * 3])
    np.testing.assert_allclose(field.box.high, nodes[[511 - border] * 3])


def test_a_wider_cube_has_a_wider_box():
    trigrid, weights = ball()
    config = GeneratorConfig(trigrid_size=48, box_warp=2.0)
    field = TrigridField(trigrid, weights, config=config, level=LEVEL)
    assert field.box.high == pytest.approx((0.9, 1.0, 0.9))
    plain = TrigridField(trigrid, weights, config=CONFIG, level=LEVEL)
    points = torch.rand(100, 3, generator=torch.Generator().manual_seed(4)) - 0.5
    torch.testing.assert_close(field.density(2 * points), plain.density(points), atol=1e-4, rtol=0)
    values, _ = field.sample_lattice((-1.0, -1.0, -1.0), 2 / 31, (32, 32, 32))
    smaller, _ = plain.sample_lattice((-0.5, -0.5, -0.5), 1 / 31, (32, 32, 32))
    torch.testing.assert_close(values > LEVEL, smaller > LEVEL)


def test_without_a_painter_the_first_features_are_the_colour(field):
    trigrid, weights = ball()
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(5)) - 0.5
    _, features = sample_trigrid(trigrid[None], points[None], weights)
    torch.testing.assert_close(field.color(points), ((features[0, :, :3] + 1) / 2).clamp(0, 1), atol=1e-5, rtol=0)


def test_a_painter_gives_the_colour():
    trigrid, weights = ball()
    field = TrigridField(trigrid, weights, config=CONFIG, level=LEVEL, color=lambda points: points.abs())
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(6))
    torch.testing.assert_close(field.color(points), points)


@pytest.mark.parametrize("crop", ["same", "official"])
@pytest.mark.parametrize("resolution", [40, 63, 96])
def test_the_fast_lattice_has_the_surface_of_every_node_asked(crop, resolution):
    trigrid, weights = ball()
    field = TrigridField(trigrid, weights, config=CONFIG, level=LEVEL, crop=crop)
    assert isinstance(field, LatticeSampler)
    fast, dense = (sample_lattice(field, resolution, skip=skip) for skip in (True, False))
    assert fast.values.shape == dense.values.shape
    np.testing.assert_array_equal(fast.origin, dense.origin)
    assert fast.spacing == dense.spacing
    assert fast.evaluated < dense.evaluated == 1
    np.testing.assert_array_equal(fast.values > LEVEL, dense.values > LEVEL)
    one, other = (march(lattice, LEVEL, closed_neck=True) for lattice in (fast, dense))
    np.testing.assert_array_equal(one.faces, other.faces)
    np.testing.assert_allclose(one.vertices, other.vertices, rtol=0, atol=1e-3 * fast.spacing)


def test_a_box_of_which_nothing_is_known_may_hold_surface(field):
    low = torch.tensor([[-0.5, -0.5, -0.5], [0.0, 0.0, 0.0]])
    assert field.may_hold_surface(low, low + 0.1).all()


def test_negative_densities_end_in_a_closed_mesh(field):
    mesh, report = extract_surface(field, Options(resolution=64, faces=0, smoothing=0))
    assert report.watertight
    assert report.components == 1
    middle = np.abs(mesh.vertices).max(axis=0)
    assert (middle > 0.2).all()
