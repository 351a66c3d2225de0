"""The trunk: what it takes and where it is tapped. That its numbers are right is held by the encoders' own tests."""

from __future__ import annotations

import pytest
import torch
from headstitch.backend.networks.irse import Block, SqueezeExcitation, Trunk

WIDTHS, BLOCKS = (8, 16, 24, 32), (2, 1, 3, 2)


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    torch.manual_seed(0)
    return Trunk(5, WIDTHS, BLOCKS).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("inputs", "network"), [(3, "GradualStyleEncoder_50_ir_se_14"), (9, "TriPlane_Encoder_v2_upsample_96")]
)
def test_names_and_shapes_are_the_published_ones(encoder_params, inputs, network):
    with torch.device("meta"):
        trunk = Trunk(inputs, (64, 128, 256, 512), (3, 4, 14, 3))
    published = encoder_params[network]["tensors"]
    expected = {name: shape for name, shape in published if name.startswith(("input_layer.", "body."))}
    assert {name: list(value.shape) for name, value in trunk.state_dict().items()} == expected


def test_taps_are_the_ends_of_the_stages_and_the_first_block_of_the_last(trunk):
    after = []
    hooks = [block.register_forward_hook(lambda *args: after.append(args[2])) for block in trunk.body]
    taps = trunk.taps(torch.randn(2, 5, 64, 64))
    for hook in hooks:
        hook.remove()
    for tap, number in zip(taps, (1, 2, 5, 6, 7), strict=True):
        assert tap is after[number]
    assert [tap.shape[1:] for tap in taps] == [(8, 32, 32), (16, 16, 16), (24, 8, 8), (32, 4, 4), (32, 4, 4)]


def test_a_last_stage_of_one_block_is_tapped_twice():
    taps = Trunk(3, WIDTHS, (1, 1, 1, 1)).taps(torch.randn(1, 3, 32, 32))
    assert taps.c3 is taps.c4


def test_a_block_without_a_change_of_width_passes_every_second_pixel_on():
    block = Block(8, 8, 2).eval()
    x = torch.randn(1, 8, 6, 6)
    torch.testing.assert_close(block(x) - block.res_layer(x), x[:, :, ::2, ::2])


def test_squeeze_and_excitation_keeps_at_least_one_channel_inside():
    assert SqueezeExcitation(8).fc1.out_channels == 1
    assert SqueezeExcitation(64).fc1.out_channels == 4
