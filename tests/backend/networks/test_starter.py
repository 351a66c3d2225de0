import numpy as np
import pytest
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.networks.starter import (
    CONDITIONS,
    SHOWN,
    StarterConfig,
    StarterEncoder,
    StarterGenerator,
    conditions,
    face_gate,
    plane_points,
    unproject,
)
from headstitch.kernels.trigrid import look_up

SMALL = StarterConfig(
    z_dim=8, w_dim=8, channel_base=128, channel_max=16, trigrid_size=16, features=4, decoder_hidden=8, image_size=32,
    widths=(8, 16),
)  # fmt: skip


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(1)
    generator = StarterGenerator(SMALL)
    torch.nn.init.normal_(generator.decoder[-1].weight)
    return generator


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(2)
    return StarterEncoder(SMALL)


def cameras(*angles):
    return torch.tensor(np.stack([Camera.from_angles(*each).label for each in angles]), dtype=torch.float32)


def shown(batch):
    torch.manual_seed(3)
    return torch.rand(batch, SHOWN, 32, 32), torch.rand(batch, 2, 3, 3, 16, 16) * 0.2 - 0.1


def test_the_default_has_the_size_that_the_package_bears():
    config = StarterConfig()
    generator, encoder = StarterGenerator(config), StarterEncoder(config)
    count = sum(p.numel() for p in generator.parameters()) + 2 * sum(p.numel() for p in encoder.parameters())
    assert 2 * count < 40e6  # bytes in half precision


def test_a_configuration_comes_back_from_its_record():
    assert StarterConfig.from_dict(SMALL.to_dict()) == SMALL
    with pytest.raises(ValueError, match="unknown"):
        StarterConfig.from_dict({**SMALL.to_dict(), "depth": 3})


@pytest.mark.parametrize(
    "wrong",
    [{"features": 0}, {"trigrid_size": 24}, {"widths": (8,) * 6}, {"widths": (9,)}, {"widths": 8}, {"reach": -1.0}],
)
def test_sizes_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError):
        StarterConfig.from_dict({**SMALL.to_dict(), **wrong})


def test_plane_points_are_where_the_look_up_finds_the_cells():
    """A grid that holds in each cell the place of it is looked up at the cells' own places."""
    points = plane_points(8, 3, box_warp=1.2)
    for plane in range(3):
        trigrid = torch.zeros(1, 3, 3 * 3, 8, 8)
        trigrid[0, plane] = points[plane].permute(3, 0, 1, 2).flatten(0, 1)  # feature * slices + slice
        inside = points[plane].reshape(1, -1, 3)
        found = look_up(trigrid, inside, depth=3, box_warp=1.2)[0, plane]
        torch.testing.assert_close(found, inside[0], atol=1e-5, rtol=0)


def test_a_picture_is_unprojected_as_the_camera_projects():
    camera = Camera.from_angles(0.4, -0.2, 0.1)
    size = 64
    column, row = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size)
    picture = torch.tensor(np.stack([column, row])[None], dtype=torch.float32)
    points = np.random.default_rng(0).uniform(-0.2, 0.2, (50, 3))
    seen = unproject(picture, cameras((0.4, -0.2, 0.1)), torch.tensor(points, dtype=torch.float32))
    np.testing.assert_allclose(seen[0].T.numpy(), camera.project(points)[:, :2], atol=1e-5)


def test_the_encoder_gives_w_plus_and_at_first_leaves_the_trigrid_as_it_is(generator, encoder):
    picture, template = shown(2)
    inputs = encoder.inputs(picture, cameras((0.0,), (0.5,)), template)
    assert inputs.shape == (2, 3, 3 * (SHOWN + 2) + 3, 16, 16)
    w_plus = encoder.encode_w(inputs)
    assert w_plus.shape == (2, SMALL.num_ws, SMALL.w_dim)
    trigrid = generator.trigrid(w_plus)
    assert trigrid.shape == (2, 3, SMALL.plane_channels, 16, 16)
    torch.testing.assert_close(encoder.refine(trigrid, inputs), trigrid, atol=0, rtol=0)


def test_inputs_show_the_template_at_the_cells_and_where_they_lie(encoder):
    picture, template = shown(1)
    inputs = encoder.inputs(picture, cameras((0.0,)), template)
    slices = SMALL.trigrid_depth
    torch.testing.assert_close(inputs[:, :, SHOWN * slices : (SHOWN + 1) * slices], template[:, 0] / 0.2)
    torch.testing.assert_close(inputs[0, :, -3:], 2 * plane_points(16, 3)[:, 0].movedim(-1, 1))


def test_without_a_residual_the_surface_is_the_templates(generator):
    points = torch.rand(1, 20, 3) - 0.5
    hairy, rest = torch.rand(1, 20) * 0.1, torch.rand(1, 20, 3) - 0.5
    told = conditions(hairy + 0.01, hairy, rest, hairy)
    assert told.shape == (1, 20, CONDITIONS)
    trigrid = generator.trigrid(generator.map(torch.randn(1, SMALL.z_dim)))
    free = generator.decode(trigrid, points, told, hairy=hairy, gate=torch.ones(1, 20))
    held = generator.decode(trigrid, points, told, hairy=hairy, gate=torch.zeros(1, 20))
    torch.testing.assert_close(held.distance, hairy, atol=0, rtol=0)
    untrained = StarterGenerator(SMALL).decode(trigrid, points, told, hairy=hairy, gate=torch.ones(1, 20))
    torch.testing.assert_close(untrained.distance, hairy, atol=0, rtol=0)
    assert (free.distance - hairy).abs().max() > 1e-4
    torch.testing.assert_close(free.color, held.color)


def test_the_residual_is_held_back_on_the_face_alone():
    nose, crown, nape, chest = ([0, -0.03, 0.2], [0, 0.25, -0.1], [0, -0.1, -0.3], [0, -0.4, 0.1])
    gate = face_gate(torch.tensor([nose, crown, nape, chest]))
    np.testing.assert_allclose(gate, [0.15, 1, 1, 1], atol=0.01)


def test_gradients_reach_every_weight(generator, encoder):
    picture, template = shown(2)
    inputs = encoder.inputs(picture, cameras((0.0,), (0.5,)), template)
    torch.nn.init.normal_(encoder.refiner.heads[0].weight)
    trigrid = encoder.refine(generator.trigrid(encoder.encode_w(inputs)), inputs)
    points = torch.rand(2, 50, 3) - 0.5
    near = torch.rand(2, 50) * 0.1
    told = conditions(near, near, points, near)
    decoded = generator.decode(trigrid, points, told, hairy=near, gate=torch.ones(2, 50))
    (decoded.distance.sum() + decoded.color.sum() + decoded.hair.sum()).backward()
    parts = [
        *encoder.named_parameters(),
        *generator.synthesis.named_parameters(),
        *generator.decoder.named_parameters(),
    ]
    missing = [name for name, weight in parts if weight.grad is None or not weight.grad.abs().sum() > 0]
    # The heads are still zero, so nothing behind them is reached but for the one that was set; noise has no strength.
    assert [name for name in missing if "noise" not in name and "heads" not in name and "refiner" not in name] == []
