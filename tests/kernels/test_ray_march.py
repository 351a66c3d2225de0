from __future__ import annotations

import math

import pytest
import torch
from headstitch.kernels.ray_march import march


def by_definition(depths: list[float], sigma: list[float], features: list[list[float]]):
    """One ray in Python's own numbers."""
    through, weight_sum, depth, weights = 1.0, 0.0, 0.0, []
    composited = [0.0] * len(features[0])
    for k in range(len(depths) - 1):
        density = math.log1p(math.exp((sigma[k] + sigma[k + 1]) / 2 - 1))
        alpha = 1 - math.exp(-density * (depths[k + 1] - depths[k]))
        weight = alpha * through
        through *= 1 - alpha + 1e-10
        weights.append(weight)
        weight_sum += weight
        depth += weight * (depths[k] + depths[k + 1]) / 2
        composited = [
            sum_ + weight * (a + b) / 2 for sum_, a, b in zip(composited, features[k], features[k + 1], strict=True)
        ]
    return composited, depth / weight_sum, weight_sum, weights


def example(dtype: torch.dtype = torch.float64):
    draw = torch.Generator().manual_seed(4)
    depths = torch.rand(2, 5, 9, generator=draw, dtype=dtype).sort(-1).values + 2
    sigma = 6 * torch.randn(2, 5, 9, generator=draw, dtype=dtype)
    return depths, sigma, torch.randn(2, 5, 9, 3, generator=draw, dtype=dtype)


def test_composites_as_the_definition_does():
    depths, sigma, features = example()
    ours = march(depths, sigma, features)
    for b in range(2):
        for n in range(5):
            one = by_definition(depths[b, n].tolist(), sigma[b, n].tolist(), features[b, n].tolist())
            for mine, expected in zip(ours, one, strict=True):
                torch.testing.assert_close(mine[b, n], torch.tensor(expected, dtype=torch.float64), atol=1e-9, rtol=0)


def test_unsorted_samples_with_their_order_are_sorted_ones():
    depths, sigma, features = example()
    shuffle = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    mixed = depths[..., shuffle], sigma[..., shuffle], features[..., shuffle, :]
    ours = march(*mixed, order=mixed[0].argsort(-1))
    torch.testing.assert_close(ours, march(depths, sigma, features), atol=1e-12, rtol=0)


def test_an_empty_ray_has_no_weight_and_the_farthest_depth():
    depths, sigma, features = example(torch.float32)
    sigma[0, 0] = -1000
    found, depth, weight_sum, weights = march(depths, sigma, features)
    assert (found[0, 0] == 0).all()
    assert weight_sum[0, 0] == 0
    assert (weights[0, 0] == 0).all()
    assert depth[0, 0] == depths.max()
    assert march(depths, sigma, features, clamp=False)[1][0, 0] == float("inf")


def test_a_cropped_neighbour_empties_the_whole_interval():
    depths = torch.tensor([[[1.0, 2.0, 3.0]]])
    weights = march(depths, torch.tensor([[[50.0, -1000.0, 50.0]]]), torch.zeros(1, 1, 3, 1))[3]
    assert (weights == 0).all()


def test_an_opaque_wall_is_all_that_is_seen():
    depths = torch.linspace(1, 2, 11).view(1, 1, -1)
    sigma = torch.where(depths < 1.45, -1000.0, 900.0)
    features = depths[..., None].clone()
    found, depth, weight_sum, _ = march(depths, sigma, features)
    torch.testing.assert_close(weight_sum, torch.ones(1, 1))
    torch.testing.assert_close(depth, torch.full((1, 1), 1.55))
    torch.testing.assert_close(found, torch.full((1, 1, 1), 1.55))


def test_depth_alone_needs_no_features():
    depths, sigma, features = example()
    found, *rest = march(depths, sigma, features[..., :0])
    assert found.shape == (2, 5, 0)
    torch.testing.assert_close(rest, list(march(depths, sigma, features)[1:]))


@pytest.mark.parametrize("ordered", [True, False])
def test_gradients_reach_density_and_features(ordered):
    depths, sigma, features = example()
    order = None if ordered else depths.argsort(-1)
    inputs = (sigma.requires_grad_(), features.requires_grad_())
    assert torch.autograd.gradcheck(lambda s, f: march(depths, s, f, order=order)[:3], inputs, fast_mode=True)
