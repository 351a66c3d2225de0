from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.networks.config import GeneratorConfig
from headstitch.backend.networks.generator import Generator
from headstitch.kernels.trigrid import look_up, sample_trigrid, to_rows

LITTLE = GeneratorConfig(
    z_dim=8, w_dim=16, channel_base=1024, channel_max=8, trigrid_size=16, features=4, decoder_hidden=6, image_size=128,
    superresolution="2X", render_size=8, coarse_samples=8, fine_samples=8,
)  # fmt: skip


def camera(*yaws: float) -> torch.Tensor:
    return torch.from_numpy(np.stack([Camera.from_angles(yaw).label for yaw in yaws]))


def latent(batch: int = 1, width: int = 512) -> torch.Tensor:
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(7))


def little(**changes) -> Generator:
    torch.manual_seed(3)
    return Generator(replace(LITTLE, **changes)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def head(tiny_generator):
    """W+ and tri-grid of a seeded head."""
    w_plus = tiny_generator.map(latent(), camera(0.0))
    return w_plus, tiny_generator.trigrid(w_plus)


@pytest.fixture
def nobody(tiny_generator, monkeypatch):
    """The seeded generator with a decoder that finds nothing anywhere."""
    weights = tiny_generator.decoder_weights()
    nothing = weights.bias1.clone()
    nothing[0] = -1e4
    monkeypatch.setattr(tiny_generator.decoder, "weights", lambda: weights._replace(bias1=nothing))
    return tiny_generator


# --- mapping ---------------------------------------------------------------------------------------------------------


def test_truncation_draws_the_first_rows_to_the_mean(tiny_generator):
    z, front = latent(2), camera(0.0, 0.4)
    mean = tiny_generator.backbone.mapping.w_avg
    plain = tiny_generator.map(z, front)
    assert plain.shape == (2, 10, 512)
    torch.testing.assert_close(tiny_generator.map(z, front, truncation=0), mean.expand(2, 10, 512))
    half = tiny_generator.map(z, front, truncation=0.5, cutoff=4)
    torch.testing.assert_close(half[:, :4], (plain[:, :4] + mean) / 2)
    assert (half[:, 4:] == plain[:, 4:]).all()


def test_a_mapping_without_a_camera_does_not_see_one():
    z, one, other = latent(width=8), camera(0.0), camera(1.0)
    told, untold = little(), little(zero_camera=True)
    assert (told.map(z, one) != told.map(z, other)).any()
    assert (untold.map(z, one) == untold.map(z, other)).all()
    assert (untold.map(z, one) == untold.map(z, one * 0)).all()


# --- the tri-grid ----------------------------------------------------------------------------------------------------


def test_the_stored_noise_is_always_the_same_and_random_noise_follows_its_seed(tiny_generator, head):
    w_plus, stored = head
    assert (tiny_generator.trigrid(w_plus) == stored).all()

    def random(seed: int) -> torch.Tensor:
        return tiny_generator.trigrid(w_plus, noise="random", generator=torch.Generator().manual_seed(seed))

    silent = tiny_generator.trigrid(w_plus, noise="none")
    assert (random(1) == random(1)).all()
    assert (random(1) != random(2)).any()
    assert (silent != stored).any()
    assert (random(1) != silent).any()


def test_a_batch_is_its_heads(tiny_generator):
    w_plus = tiny_generator.map(latent(2), camera(0.0, 0.0))
    both = tiny_generator.trigrid(w_plus)
    assert both.shape == (2, 3, 96, 64, 64)
    pictures = tiny_generator.render(both, w_plus, camera(0.0, 0.5), size=16)
    for number, yaw in enumerate((0.0, 0.5)):
        one = slice(number, number + 1)
        torch.testing.assert_close(tiny_generator.trigrid(w_plus[one]), both[one], atol=1e-4, rtol=0)
        alone = tiny_generator.render(both[one], w_plus[one], camera(yaw), size=16)
        torch.testing.assert_close(alone.image, pictures.image[one], atol=1e-3, rtol=0)


def test_gradients_change_no_value_and_reach_w_plus_and_weights():
    made = little()
    w_plus = torch.randn(1, made.config.num_ws, 16, generator=torch.Generator().manual_seed(1))
    without = made.render(made.trigrid(w_plus), w_plus, camera(0.2)).image
    w_plus.requires_grad_()
    made.requires_grad_()
    image = made.render(made.trigrid(w_plus), w_plus, camera(0.2)).image
    torch.testing.assert_close(image, without, atol=1e-5, rtol=1e-5)
    image.square().sum().backward()
    assert w_plus.grad is not None
    assert (w_plus.grad[0].abs().sum(-1) > 0).all()
    silent = {name for name, value in made.named_parameters() if value.grad is None}
    assert all(name.startswith(("backbone.mapping", "t_mapping", "superresolution")) for name in silent)
    assert {name for name in silent if name.startswith("superres")} == {
        f"superresolution.block{b}.conv{c}.noise_strength" for b in (0, 1) for c in (0, 1)
    }


# --- pictures --------------------------------------------------------------------------------------------------------


def test_renders_a_ready_tri_grid_the_same_way_every_time(tiny_generator, head):
    w_plus, trigrid = head
    made = tiny_generator.render(trigrid, w_plus, camera(0.3), size=32)
    assert made.image.shape == (1, 3, 128, 128)
    assert made.raw.shape == (1, 3, 32, 32)
    assert made.mask.shape == made.depth.shape == (1, 1, 32, 32)
    for again in (trigrid, to_rows(trigrid)):
        repeated = tiny_generator.render(again, w_plus, camera(0.3), size=32)
        assert (repeated.image == made.image).all()
        assert (repeated.depth == made.depth).all()
    other = tiny_generator.render(trigrid.flip(1), w_plus, camera(0.3), size=32)
    assert (other.raw - made.raw).abs().max() > 0.01


def test_jitter_moves_the_samples_and_follows_its_seed(tiny_generator, head):
    w_plus, trigrid = head

    def depth(seed: int) -> torch.Tensor:
        jitter = torch.Generator().manual_seed(seed)
        return tiny_generator.render(trigrid, w_plus, camera(0.3), size=16, jitter=jitter).depth

    assert (depth(1) == depth(1)).all()
    assert (depth(1) != depth(2)).any()


def test_depth_is_that_of_the_picture(tiny_generator, head):
    w_plus, trigrid = head
    made = tiny_generator.render(trigrid, w_plus, camera(0.3), size=24, crop="same")
    depth, mask = tiny_generator.depth(trigrid, camera(0.3), size=24, crop="same")
    torch.testing.assert_close(depth, made.depth, atol=1e-5, rtol=0)
    torch.testing.assert_close(mask, made.mask, atol=1e-5, rtol=0)


def test_single_points_have_the_colours_of_the_raw_picture(tiny_generator, head):
    w_plus, trigrid = head
    made = tiny_generator.render(trigrid, w_plus, camera(0.3), size=16)
    points = made.features.flatten(2).mT  # (1, 256, 32)
    colors = tiny_generator.raw_color(points, w_plus)
    torch.testing.assert_close(colors, made.raw.flatten(2).mT, atol=1e-5, rtol=0)


@pytest.mark.parametrize("color", [(1.0, 1.0, 1.0), (-1.0, 0.25, 0.5)])
def test_a_constant_stands_behind_the_head_before_super_resolution(nobody, head, color):
    w_plus, trigrid = head
    made = nobody.render(trigrid, w_plus, camera(0.3), size=16, background=color)
    wanted = torch.tensor(color).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    torch.testing.assert_close(made.raw, wanted, atol=1e-5, rtol=0)
    assert (made.mask < 0).all()


def test_a_constants_features_are_the_shortest_of_its_colour(tiny_generator, head):
    w_plus, _ = head
    short = tiny_generator.background(w_plus, 8, (0.5, -0.5, 0.0))[:, :, 0, 0]  # (1, 32)
    draw = torch.randn(32, 200, generator=torch.Generator().manual_seed(2))
    matrix = tiny_generator.torgb.weight[:, :, 0, 0] * tiny_generator.torgb.styles(w_plus[:, -1])  # (3, 32)
    unseen = draw - torch.linalg.pinv(matrix) @ (matrix @ draw)  # changes that show no colour
    assert (unseen.norm(dim=0) > 1).all()
    torch.testing.assert_close(short @ unseen, torch.zeros(1, 200), atol=1e-4, rtol=0)


def test_no_background_is_features_of_zero_and_the_learned_one_the_networks(nobody, head):
    w_plus, trigrid = head
    without = nobody.render(trigrid, w_plus, camera(0.3), size=16, background=None)
    assert (without.features == 0).all()
    torch.testing.assert_close(without.raw, nobody.torgb.bias.view(1, 3, 1, 1).expand(1, 3, 16, 16))
    learned = nobody.render(trigrid, w_plus, camera(0.3), size=64)
    torch.testing.assert_close(learned.features, nobody.bcg_synthesis(w_plus))
    silent = nobody.render(trigrid, w_plus, camera(0.3), size=64, noise="none")
    assert (silent.features != learned.features).any()


def test_a_head_in_front_hides_its_background(tiny_generator, head):
    w_plus, trigrid = head
    white, black = (
        tiny_generator.render(trigrid, w_plus, camera(0.3), size=16, background=(value,) * 3) for value in (1.0, -1.0)
    )
    through = 1 - (white.mask + 0.001) / 1.002
    torch.testing.assert_close(white.raw - black.raw, 2 * through.expand(1, 3, 16, 16), atol=1e-5, rtol=0)


def test_the_crop_is_handed_on(tiny_generator, head):
    _, trigrid = head
    above = torch.from_numpy(Camera.from_angles(0.0, 1.2, focal=2.0).label)[None]
    official = tiny_generator.depth(trigrid, above, size=16)[1]
    same = tiny_generator.depth(trigrid, above, size=16, crop="same")[1]
    assert official.sum() > 1.1 * same.sum()


def test_the_decoder_weights_decode_what_the_renderer_decodes(tiny_generator, head):
    _, trigrid = head
    points = torch.rand(1, 50, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    weights = tiny_generator.decoder_weights()
    assert [tuple(value.shape) for value in weights[:4]] == [(64, 32), (64,), (33, 64), (33,)]
    net = tiny_generator.decoder.net  # its layers apply their gains themselves
    decoded = net(look_up(trigrid, points).mean(1))
    found = sample_trigrid(trigrid, points, weights)
    torch.testing.assert_close(found, (decoded[..., 0], decoded[..., 1:]), atol=1e-5, rtol=0)


# --- configurations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variant", "size", "channels"), [("8XDC", 512, 256), ("8X", 512, 128), ("4X", 256, 128)])
def test_every_super_resolution_makes_its_size(variant, size, channels):
    made = little(superresolution=variant, image_size=size)
    w_plus = torch.randn(1, made.config.num_ws, 16, generator=torch.Generator().manual_seed(1))
    rendering = made.render(made.trigrid(w_plus), w_plus, camera(0.2))
    assert rendering.image.shape == (1, 3, size, size)
    assert torch.isfinite(rendering.image).all()
    assert made.superresolution.block0.conv1.weight.shape[0] == channels
    assert ("superresolution.resample_filter" in made.state_dict()) == (variant != "8XDC")


def test_a_size_that_the_super_resolution_does_not_make_is_refused():
    with pytest.raises(ValueError, match="makes 128 pixels, but the configuration says 512"):
        Generator(replace(LITTLE, image_size=512))


def test_super_resolution_bounds_its_layers(tiny_generator, head):
    w_plus, _ = head
    large = torch.full((1, 32, 64, 64), 1e6)
    seen = []
    hook = tiny_generator.superresolution.block0.conv1.register_forward_hook(lambda *a: seen.append(a[2]))
    image = tiny_generator.superresolution(large, torch.zeros(1, 3, 64, 64), w_plus[:, -1])
    hook.remove()
    assert seen[0].abs().max() == 256
    assert image.abs().max() <= 2 * 256


def test_a_configuration_comes_back_from_its_record():
    assert GeneratorConfig.from_dict(json.loads(json.dumps(LITTLE.to_dict()))) == LITTLE


def test_a_fresh_generator_starts_as_training_does():
    made = little()
    for name, value in made.state_dict().items():
        last = name.rpartition(".")[2]
        if last in ("noise_strength", "w_avg") or (last == "bias" and "affine" not in name):
            assert (value == 0).all(), name
        elif last == "bias":
            assert (value == 1).all(), name
        elif name.startswith("backbone.mapping.fc"):
            assert 50 < value.std() < 150, name
        elif last in ("weight", "const", "noise_const"):
            assert 0.5 < value.std() < 1.5, name
