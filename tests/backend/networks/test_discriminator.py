"""The tri-grid discriminator against the reference, at full size: 6 s and 0.5 GB on 2 cores."""

from __future__ import annotations

import pytest
import torch
from headstitch.backend.errors import ModelError
from headstitch.backend.networks.discriminator import TrigridDiscriminator

PREFIX = "discriminator."
OUTPUTS = ("disc.pre_last", "disc.score", "B.disc.score")


@pytest.fixture(scope="module")
def outputs(encoder_seeding) -> dict[str, torch.Tensor]:
    network = encoder_seeding.network(TrigridDiscriminator, PREFIX)
    trigrid = encoder_seeding.normal("input.trigrid288", (1, 288, 256, 256)).view(1, 3, 96, 256, 256)
    seen = {}
    hook = network[10].register_forward_hook(lambda *args: seen.update({"disc.pre_last": args[2]}))
    with torch.inference_mode():
        seen["disc.score"] = network(trigrid)
        hook.remove()
        encoder_seeding.spread(network, PREFIX)
        seen["B.disc.score"] = network(trigrid)
    return seen


@pytest.mark.parametrize("name", OUTPUTS)
def test_it_agrees_with_the_reference(encoder_reference, outputs, name):
    encoder_reference.compare(name, outputs[name], 1e-3 if name.endswith("pre_last") else 1e-4)


def test_no_figure_of_it_is_left_over(encoder_reference):
    looked_at = set().union(*map(encoder_reference.keys, OUTPUTS))
    assert looked_at == {key for key in encoder_reference.arrays if "disc." in key}


def test_names_shapes_and_parameters_are_those_of_the_table(encoder_params):
    published = encoder_params["TriplaneDiscriminator_Table6"]
    with torch.device("meta"):
        network = TrigridDiscriminator()
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == dict(published["tensors"])
    assert sum(value.numel() for value in network.parameters()) == published["n_params"] == 1_720_576


def test_a_small_one_scores_every_trigrid_of_a_batch():
    torch.manual_seed(0)
    network = TrigridDiscriminator(12, (4, 8)).eval()
    trigrids = torch.randn(3, 3, 4, 16, 16)
    scores = network(trigrids)
    assert scores.shape == (3, 1)
    for trigrid, score in zip(trigrids, scores, strict=True):
        torch.testing.assert_close(network(trigrid[None])[0], score)
    scores.sum().backward()
    assert all(value.grad is not None for value in network.parameters())


def test_a_trigrid_of_another_generator_is_refused():
    with pytest.raises(ModelError, match=r"288 channels.*\(1, 3, 32, 8, 8\)"):
        TrigridDiscriminator()(torch.zeros(1, 3, 32, 8, 8))
