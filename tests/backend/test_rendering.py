from __future__ import annotations

import headstitch.backend.rendering as rendering
import numpy as np
import pytest
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.rendering import Sampling, camera_rays, coarse_depths, importance_depths, inside, render_rays
from headstitch.kernels.trigrid import DecoderWeights, to_rows

SAMPLING = Sampling(coarse=12, fine=10)
FIELDS = ("features", "depth", "weight_sum")


def cameras(*yaws: float) -> torch.Tensor:
    return torch.from_numpy(np.stack([Camera.from_angles(yaw, 0.1).label for yaw in yaws]))


def field(batch: int = 1, bias: float = 1.0) -> tuple[torch.Tensor, DecoderWeights]:
    """A tri-grid of noise, rather dense, and a decoder; ``bias`` is about its density where planes hold nothing."""
    draw = torch.Generator().manual_seed(1)
    trigrid = torch.randn(batch, 3, 4 * 3, 16, 16, generator=draw)
    weight1 = torch.randn(5, 6, generator=draw)
    weight1[0] *= 10
    bias1 = torch.zeros(5)
    bias1[0] = bias - (np.log(2) * weight1[0]).sum()
    return trigrid, DecoderWeights(torch.randn(6, 4, generator=draw), torch.zeros(6), weight1, bias1)


def same(ours, expected, atol: float = 0.0) -> None:
    for name in FIELDS:
        torch.testing.assert_close(getattr(ours, name), getattr(expected, name), atol=atol, rtol=0)


# --- rays and depths -------------------------------------------------------------------------------------------------


def test_rays_are_the_cameras():
    camera = Camera.from_angles(0.7, -0.3, 0.2, radius=2.5)
    camera.intrinsics[0, 1], camera.intrinsics[1, 2], camera.intrinsics[1, 1] = 0.3, 0.45, 4.0  # skewed, off-centre
    origins, directions = camera_rays(torch.from_numpy(camera.label)[None], 9)
    expected = camera.rays(9).reshape(-1, 6)
    np.testing.assert_allclose(origins[0].expand(81, 3), expected[:, :3], atol=1e-6)
    np.testing.assert_allclose(directions[0], expected[:, 3:], atol=1e-6)


def test_coarse_depths_are_even_and_moved_by_their_jitter():
    depths = coarse_depths(Sampling(coarse=5, start=2, end=4), torch.tensor([[0.0] * 5, [0.5] * 5, [0.99] * 5]))
    torch.testing.assert_close(depths[0], torch.tensor([2, 2.5, 3, 3.5, 4]))
    torch.testing.assert_close(depths[1], depths[0] + 0.25)
    torch.testing.assert_close(depths[2], depths[0] + 0.495)


def test_importance_depths_invert_the_widened_weights():
    draw = np.random.default_rng(0)
    depths = np.sort(draw.uniform(2, 3, (4, 12)), -1)
    weights = draw.uniform(0, 1, (4, 11)) ** 8
    u = draw.uniform(0, 1, (4, 7))
    ours = importance_depths(*(torch.from_numpy(part) for part in (depths, weights, u)))
    for d, w, us, mine in zip(depths, weights, u, ours, strict=True):
        largest = np.maximum(np.append(w, -np.inf), np.insert(w, 0, -np.inf))  # of each two neighbours
        share = ((largest[1:] + largest[:-1]) / 2 + 0.01)[1:-1] + 1e-5
        below = np.insert(np.cumsum(share / share.sum()), 0, 0)
        middles = (d[1:] + d[:-1]) / 2
        np.testing.assert_allclose(mine, np.interp(us, below, middles[:-1]), atol=1e-9)


def test_importance_depths_gather_where_the_weight_is():
    depths = torch.linspace(2, 3, 48)[None]
    weights = torch.zeros(1, 47)
    weights[0, 20] = 1
    fine = importance_depths(depths, weights, torch.linspace(0, 1, 48)[None])
    assert (fine.diff() >= 0).all()
    assert ((fine - depths[0, 20:22].mean()).abs() < 3 / 47).double().mean() > 0.6
    assert depths[0, 0] <= fine.min()
    assert fine.max() <= depths[0, -1]


def test_the_crop_cuts_x_and_z_and_y_only_when_the_same_as_a_meshes():
    points = torch.tensor([[0.39, 0, 0], [0.41, 0, 0], [0, 0, -0.41], [0, 0.49, 0], [0, -0.51, 0]])
    assert inside(points, 1.0, "official").tolist() == [True, False, False, True, True]
    assert inside(points, 1.0, "same").tolist() == [True, False, False, True, False]


# --- rendering -------------------------------------------------------------------------------------------------------


def test_neither_result_nor_jitter_depends_on_the_chunks(monkeypatch):
    trigrid, weights = field(2)
    seen: list[int] = []
    sample = rendering.sample_trigrid
    monkeypatch.setattr(
        rendering,
        "sample_trigrid",
        lambda rows, points, *a, **k: seen.append(points.shape[1]) or sample(rows, points, *a, **k),
    )
    for seed in (None, 5):
        whole, cut, tiny = (
            render_rays(
                trigrid,
                weights,
                cameras(0.3, 2.0),
                size=5,
                sampling=SAMPLING,
                jitter=None if seed is None else torch.Generator().manual_seed(seed),
                chunk=chunk,
            )
            for chunk in (1 << 17, 100, 1)
        )
        same(cut, whole, atol=1e-5)
        same(tiny, whole, atol=1e-5)
    seen.clear()
    render_rays(trigrid, weights, cameras(0.3, 2.0), size=5, sampling=SAMPLING, chunk=100)
    assert max(seen) <= 100


def test_the_same_twice_and_with_the_same_seed():
    trigrid, weights = field()

    def rendered(seed: int | None):
        jitter = None if seed is None else torch.Generator().manual_seed(seed)
        return render_rays(trigrid, weights, cameras(0.3), size=8, sampling=SAMPLING, jitter=jitter)

    same(rendered(None), rendered(None))
    same(rendered(3), rendered(3))
    assert (rendered(3).depth != rendered(4).depth).any()
    assert (rendered(3).depth != rendered(None).depth).any()


def test_a_single_ray_is_the_middle_one_of_nine():
    trigrid, weights = field()
    one, nine = (render_rays(trigrid, weights, cameras(0.3), size=size, sampling=SAMPLING) for size in (1, 3))
    for name in FIELDS:
        torch.testing.assert_close(getattr(one, name)[..., 0, 0], getattr(nine, name)[..., 1, 1], atol=1e-5, rtol=0)


def test_a_batch_is_its_pictures_and_rows_are_their_tri_grid():
    trigrid, weights = field(2, bias=30.0)
    both = render_rays(trigrid, weights, cameras(0.3, 2.0), size=6, sampling=SAMPLING)
    assert both.features.shape == (2, 4, 6, 6)
    assert both.depth.shape == both.weight_sum.shape == (2, 1, 6, 6)
    same(render_rays(to_rows(trigrid), weights, cameras(0.3, 2.0), size=6, sampling=SAMPLING), both)
    for number, yaw in enumerate((0.3, 2.0)):
        alone = render_rays(trigrid[number : number + 1], weights, cameras(yaw), size=6, sampling=SAMPLING)
        for name in FIELDS:
            torch.testing.assert_close(getattr(alone, name)[0], getattr(both, name)[number], atol=1e-5, rtol=0)


def test_rays_that_meet_nothing_have_no_weight_and_the_farthest_depth_of_all_pictures():
    trigrid, weights = field(2)
    away = Camera.from_angles(0.3, radius=9.0).label
    labels = torch.stack([cameras(0.3)[0], torch.from_numpy(away)])
    found = render_rays(trigrid, weights, labels, size=4, sampling=SAMPLING)
    assert (found.weight_sum[1] == 0).all()
    assert (found.features[1] == 0).all()
    step = (SAMPLING.end - SAMPLING.start) / (SAMPLING.coarse - 1)
    torch.testing.assert_close(found.depth[1], torch.full((1, 4, 4), SAMPLING.end + step / 2))
    assert (found.weight_sum[0] > 0).any()


def test_the_official_crop_shows_what_the_decoder_makes_of_nothing_above_the_box():
    trigrid, weights = field(bias=60.0)
    above = torch.from_numpy(Camera.from_angles(0.0, 1.2, focal=1.5).label)[None]
    official, same_crop = (
        render_rays(trigrid, weights, above, size=16, sampling=Sampling(crop=crop, start=1.5, end=4.0))
        for crop in ("official", "same")
    )
    assert (same_crop.weight_sum <= official.weight_sum + 1e-6).all()
    assert official.weight_sum.sum() > 1.2 * same_crop.weight_sum.sum()


def test_depth_alone_is_the_depth():
    trigrid, weights = field()
    full = render_rays(trigrid, weights, cameras(1.0), size=6, sampling=SAMPLING)
    alone = render_rays(trigrid, weights.density_only(), cameras(1.0), size=6, sampling=SAMPLING)
    assert alone.features.shape == (1, 0, 6, 6)
    torch.testing.assert_close(alone.depth, full.depth, atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.weight_sum, full.weight_sum, atol=1e-5, rtol=0)


def test_sigmoid_features_are_composited_in_zero_to_one_and_then_doubled():
    trigrid, weights = field(bias=60.0)
    found = render_rays(trigrid, weights._replace(activation="sigmoid"), cameras(0.0), size=6, sampling=SAMPLING)
    assert found.features.min() >= -1.01
    assert found.features.max() <= 1.01
    assert (found.features < -0.1).any()
    empty = render_rays(
        trigrid,
        weights._replace(activation="sigmoid"),
        torch.from_numpy(Camera.from_angles(radius=9.0).label)[None],
        size=2,
        sampling=SAMPLING,
    )
    assert (empty.features == -1).all()


def test_gradients_reach_the_tri_grid():
    trigrid, weights = field()
    trigrid.requires_grad_()
    found = render_rays(trigrid, weights, cameras(0.3), size=4, sampling=SAMPLING, chunk=200)
    (gradient,) = torch.autograd.grad(found.features.square().sum() + found.weight_sum.sum(), trigrid)
    assert torch.isfinite(gradient).all()
    assert all((gradient[0, plane] != 0).any() for plane in range(3))


@pytest.mark.parametrize("size", [5, 8])
def test_pixels_are_row_by_row_from_the_top_left(size):
    trigrid, weights = field()
    trigrid.zero_()
    trigrid[:, 0, :, 8:, :] = 3.0  # the upper half (+y) of the front plane
    weights = weights._replace(bias0=torch.zeros(6), weight0=torch.ones(6, 4), weight1=torch.ones(5, 6))
    weights = weights._replace(bias1=torch.full((5,), -6 * float(np.log(2)) - 3))
    found = render_rays(trigrid, weights, cameras(0.0), size=size, sampling=SAMPLING)
    assert found.weight_sum[0, 0, 0].mean() > 2 * found.weight_sum[0, 0, -1].mean()
