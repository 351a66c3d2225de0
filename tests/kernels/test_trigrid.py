from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from headstitch.kernels.trigrid import DecoderWeights, decode, look_up, sample_trigrid, to_rows

AXES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))  # width, height, depth of the three planes


def by_grid_sample(trigrid: torch.Tensor, points: torch.Tensor, depth: int, box_warp: float) -> torch.Tensor:
    """The look-up by torch's own trilinear sampling, (B, 3, N, F)."""
    batch, _, channels, size, _ = trigrid.shape
    found = []
    for plane, axes in enumerate(AXES):
        volume = trigrid[:, plane].reshape(batch, channels // depth, depth, size, size)
        grid = (points * 2 / box_warp)[:, :, axes].view(batch, 1, 1, -1, 3)
        found.append(F.grid_sample(volume, grid, padding_mode="zeros", align_corners=False)[:, :, 0, 0].mT)
    return torch.stack(found, 1)


def example(batch: int = 2, depth: int = 3, size: int = 8, count: int = 300):
    draw = torch.Generator().manual_seed(depth)
    trigrid = torch.randn(batch, 3, 4 * depth, size, size, generator=draw)
    points = (torch.rand(batch, count, 3, generator=draw) - 0.5) * 1.6  # some far outside the box
    return trigrid, points


def decoder(activation: str = "none") -> DecoderWeights:
    draw = torch.Generator().manual_seed(9)
    shapes = ((6, 4), (6,), (5, 6), (5,))
    return DecoderWeights(*(torch.randn(shape, generator=draw) for shape in shapes), activation)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("box_warp", [1.0, 1.3])
def test_looks_up_as_trilinear_sampling_does(depth, box_warp):
    trigrid, points = example(depth=depth)
    expected = by_grid_sample(trigrid, points, depth, box_warp)
    torch.testing.assert_close(look_up(trigrid, points, depth=depth, box_warp=box_warp), expected, atol=5e-6, rtol=0)


def test_a_feature_runs_slower_than_its_slices():
    trigrid = torch.zeros(1, 3, 6, 4, 4)
    trigrid[0, 0, 1 * 3 + 2, 3, 0] = 1.0  # plane 0: feature 1, slice 2 (+z), top row (+y), first column (-x)
    found = look_up(trigrid, torch.tensor([[[-0.375, 0.375, 1 / 3]]]))
    expected = torch.zeros(1, 3, 1, 2)
    expected[0, 0, 0, 1] = 1
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_points_far_outside_hold_nothing_however_far():
    trigrid, _ = example(batch=1)
    points = torch.tensor([[[1e30, 0, 0], [0, -1e30, 1e30], [float("inf"), 0.0, 0.0], [9.0, 9.0, 9.0]]])
    found = look_up(trigrid, points)
    assert torch.isfinite(found).all()
    assert (found[:, :, 3] == 0).all()
    assert (found[:, :2, 0] == 0).all()  # plane 0 and 1 have x for their width


def test_no_points_are_no_trouble():
    trigrid, points = example()
    assert look_up(trigrid, points[:, :0]).shape == (2, 3, 0, 4)
    sigma, features = sample_trigrid(trigrid, points[:, :0], decoder())
    assert (sigma.shape, features.shape) == ((2, 0), (2, 0, 4))


@pytest.mark.parametrize("activation", ["none", "sigmoid", "lrelu"])
def test_decodes_with_two_layers(activation):
    weights = decoder(activation)
    features = torch.randn(2, 10, 4, generator=torch.Generator().manual_seed(3))
    hidden = torch.log1p(torch.exp(features @ weights.weight0.T + weights.bias0))
    decoded = hidden @ weights.weight1.T + weights.bias1
    color = {
        "none": decoded[..., 1:],
        "sigmoid": 1.002 / (1 + torch.exp(-decoded[..., 1:])) - 0.001,
        "lrelu": torch.where(decoded[..., 1:] < 0, 0.2, 1.0) * decoded[..., 1:] * 2**0.5,
    }[activation]
    torch.testing.assert_close(decode(features, weights), (decoded[..., 0], color), atol=1e-5, rtol=0)


def test_samples_the_mean_of_the_planes_also_from_rows():
    trigrid, points = example()
    expected = decode(look_up(trigrid, points).mean(1), decoder())
    torch.testing.assert_close(sample_trigrid(trigrid, points, decoder()), expected, atol=5e-6, rtol=0)
    torch.testing.assert_close(sample_trigrid(to_rows(trigrid), points, decoder()), expected, atol=5e-6, rtol=0)
    torch.testing.assert_close(look_up(to_rows(trigrid), points), look_up(trigrid, points))


def test_rows_of_one_are_the_batch_cut_up():
    trigrid, points = example()
    for number in range(2):
        alone = look_up(to_rows(trigrid).one(number), points[number : number + 1])
        torch.testing.assert_close(alone, look_up(trigrid, points)[number : number + 1])


def test_density_alone_is_the_same_density():
    trigrid, points = example()
    sigma, features = sample_trigrid(trigrid, points, decoder().density_only())
    assert features.shape == (2, 300, 0)
    torch.testing.assert_close(sigma, sample_trigrid(trigrid, points, decoder())[0])


def test_gradients_are_those_of_trilinear_sampling():
    trigrid, points = example(batch=1, count=40)
    pull = torch.randn(1, 3, 40, 4, generator=torch.Generator().manual_seed(5))
    gradients = []
    for sample in (lambda t, p: look_up(t, p), lambda t, p: by_grid_sample(t, p, 3, 1.0)):
        inputs = [trigrid.clone().requires_grad_(), points.clone().requires_grad_()]
        gradients.append(torch.autograd.grad((sample(*inputs) * pull).sum(), inputs))
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-4)
