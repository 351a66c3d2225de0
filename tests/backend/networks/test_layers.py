from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from headstitch.backend.networks.layers import FullyConnected, SynthesisLayer, activate, normalize
from headstitch.backend.networks.superresolution import resize
from headstitch.backend.networks.synthesis import SynthesisBlock, SynthesisNetwork


@pytest.mark.parametrize("activation", ["linear", "lrelu"])
def test_a_fully_connected_layer_scales_its_weights_when_used(activation):
    torch.manual_seed(0)
    layer = FullyConnected(9, 4, activation=activation, lr_mul=0.01, bias=0.5)
    assert layer.weight.std() > 50
    torch.testing.assert_close(layer.bias, torch.full((4,), 50.0))
    x = torch.randn(3, 9)
    y = x @ (layer.weight * 0.01 / 3).T + layer.bias * 0.01
    if activation == "lrelu":
        y = torch.where(y < 0, 0.2 * y, y) * 2**0.5
    torch.testing.assert_close(layer(x), y)


def test_normalizing_gives_a_mean_square_of_one():
    x = 5 * torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normalize(x).square().mean(-1), torch.ones(3))
    assert (normalize(torch.zeros(1, 4)) == 0).all()


@pytest.mark.parametrize("wanted", [True, False])
def test_activation_is_bias_slope_gain_and_clamp_in_this_order(wanted):
    x = torch.tensor([-10.0, -1.0, 2.0, 40.0]).view(1, 1, 2, 2).requires_grad_(wanted)
    y = activate(x * 1, torch.tensor([1.0]), gain=2.0, slope=0.2, clamp=5.0)
    assert y.flatten().tolist() == pytest.approx([-3.6, 0.0, 5.0, 5.0])


def test_noise_is_one_pattern_for_all_channels_times_its_strength():
    torch.manual_seed(0)
    layer = SynthesisLayer(3, 5, 4, 6).requires_grad_(False)
    layer.noise_strength.fill_(0.5)
    x, w = torch.randn(2, 3, 6, 6), torch.randn(2, 4)

    def before_activation(noise: str, seed: int = 0) -> torch.Tensor:
        y = layer(x, w, noise=noise, generator=torch.Generator().manual_seed(seed)) / 2**0.5
        return torch.where(y < 0, y / 0.2, y)

    silent = before_activation("none")
    stored = before_activation("const") - silent
    torch.testing.assert_close(stored, (0.5 * layer.noise_const).expand(2, 5, 6, 6), atol=1e-5, rtol=0)
    random = before_activation("random", 1) - silent
    torch.testing.assert_close(random, random[:, :1].expand(2, 5, 6, 6), atol=1e-5, rtol=0)
    assert (random[0] - random[1]).abs().max() > 0.1


def test_a_blocks_torgb_shares_its_row_with_the_next_blocks_first_convolution():
    torch.manual_seed(0)
    network = SynthesisNetwork(8, 16, 2, channel_base=64, channel_max=8).requires_grad_(False)
    assert network.num_ws == 6
    used: dict[int, set[str]] = {}
    ws = torch.randn(1, 6, 8)
    for name, module in network.named_modules():
        if name.endswith(".affine"):

            def note(_module, inputs, _output, name=name):
                row = next(row for row in range(6) if torch.equal(ws[0, row], inputs[0][0]))
                used.setdefault(row, set()).add(name.removesuffix(".affine"))

            module.register_forward_hook(note)
    network(ws)
    assert used == {
        0: {"b4.conv1"},
        1: {"b4.torgb", "b8.conv0"},
        2: {"b8.conv1"},
        3: {"b8.torgb", "b16.conv0"},
        4: {"b16.conv1"},
        5: {"b16.torgb"},
    }


def test_rows_that_are_missing_repeat_the_last_and_those_too_many_are_not_used():
    torch.manual_seed(0)
    network = SynthesisNetwork(8, 16, 2, channel_base=64, channel_max=8).requires_grad_(False)
    ws = torch.randn(1, 4, 8)
    filled = torch.cat([ws, ws[:, -1:], ws[:, -1:]], 1)
    assert (network(ws) == network(filled)).all()
    assert (network(torch.cat([filled, torch.randn(1, 2, 8)], 1)) == network(filled)).all()


def test_a_block_without_doubling_adds_to_the_image_and_leaves_it_alone():
    torch.manual_seed(0)
    block = SynthesisBlock(4, 6, 3, 8, 5, up=1).requires_grad_(False)
    x, image, ws = torch.randn(1, 4, 5, 5), torch.randn(1, 3, 5, 5), torch.randn(1, 3, 8)
    before = image.clone()
    features, made = block(x, image, ws)
    assert (image == before).all()
    torch.testing.assert_close(made, image + block.torgb(features, ws[:, 2]))


def test_resizing_is_antialiased_where_it_shrinks():
    image = torch.randn(1, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    assert resize(image, 16) is image
    kernel = torch.outer(*[torch.tensor([1.0, 3, 3, 1]) / 8] * 2).expand(2, 1, 4, 4)
    inner = F.conv2d(image, kernel, stride=2, groups=2, padding=1)[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(resize(image, 8)[:, :, 1:-1, 1:-1], inner)
