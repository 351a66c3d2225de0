from dataclasses import replace

import numpy as np
import pytest
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.learning.examples import Example
from headstitch.backend.learning.run import Schedule, run
from headstitch.backend.learning.starter import (
    Batch,
    StarterTask,
    StarterTraining,
    decoded,
    losses,
    make_batch,
    mirrored,
    pick,
)
from headstitch.backend.networks.starter import Decoded, StarterConfig, plane_points, unproject
from headstitch.backend.training.body import Label

NETWORK = StarterConfig(
    z_dim=8, w_dim=8, channel_base=128, channel_max=16, trigrid_size=16, features=4, decoder_hidden=16, image_size=32,
    widths=(8, 16),
)  # fmt: skip
TRAINING = StarterTraining(network=NETWORK, batch=2, places=300, learning_rate=5e-3, warm_up=5, steps=40, kept_out=2)
RADIUS = 0.2  # of the template, a ball; the heads are larger balls


def ball(number, radius):
    """A head that is a ball, where the template is a smaller one; seen twice."""
    random = np.random.default_rng(number)
    around = random.uniform(-0.4, 0.4, (600, 3))
    normals = random.normal(size=(400, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    places = np.concatenate([around, radius * normals]).astype(np.float32)
    length = np.linalg.norm(places, axis=1)
    cells = np.linalg.norm(plane_points(16, 3).numpy(), axis=-1) - RADIUS
    # Rest coordinates behind and above the face, so that the gate is open.
    rest = places * [0.0, 1.0, 0.0] + [0.0, 0.2, -0.2]
    near = np.column_stack([length - RADIUS, length - RADIUS, rest]).astype(np.float16)
    at = (np.arange(32) + 0.5) / 32 - 0.5
    inside = np.hypot(*np.meshgrid(at, at)) < radius * 4.2647 / 2.7
    picture = np.where(inside[..., None], np.array([200, 120, 60, 255]), 0).astype(np.uint8)
    return Example(
        number=number,
        picture=np.stack([picture, picture]),
        camera=np.stack([Camera.from_angles(yaw).label for yaw in (0.0, 0.3)]).astype(np.float32),
        planes=np.broadcast_to(cells, (2, 2, *cells.shape)).astype(np.float16),
        places=places,
        leaning=np.stack([near, near]),
        distance=(length - radius).astype(np.float32),
        normals=normals.astype(np.float32),
        colors=np.broadcast_to(np.array([200, 120, 60], np.uint8), (400, 3)),
        labels=np.where(normals[:, 1] > 0, Label.HAIR, Label.SKIN).astype(np.uint8),
        found=np.array([True, True]),
        fit=np.zeros((2, 69), np.float32),
    )


@pytest.fixture(scope="module")
def heads():
    return [ball(number, 0.22 + 0.06 * (number % 5) / 4) for number in range(20)]


def task(heads, **changes):
    return StarterTask(heads, replace(TRAINING, **changes), torch.device("cpu"))


def test_it_learns_how_far_heads_are_from_the_template_and_what_is_hair(tmp_path):
    heads = [ball(number, 0.24) for number in range(20)]
    made = task(heads, hair=1.0)
    assert len(made.apart) == 2
    run(made, TRAINING.to_dict(), tmp_path, Schedule(steps=40, checkpoint_every=40, sheet_every=0))
    error = {name: np.mean([row[name] for row in made.errors()]) for name in ("surface", "template")}
    assert error["template"] == pytest.approx(4, abs=0.1)
    made.networks["generator_average"], made.networks["visible_average"] = made.generator, made.encoder
    learnt = {name: np.mean([row[name] for row in made.errors()]) for name in ("surface", "template")}
    assert learnt["surface"] < 0.5 * learnt["template"]
    batch = make_batch([pick(heads[0], 0, np.arange(10), np.arange(600, 1000))])
    _, fine = made.trigrids(batch)
    found = decoded(made.generator, fine, batch)
    assert ((found.hair[0, 10:] > 0) == (batch.label[0] == Label.HAIR)).float().mean() > 0.7


def test_a_run_goes_on_to_the_bit_after_a_stop(heads, tmp_path):
    whole, half, rest = task(heads), task(heads), task(heads)
    kept = {"checkpoint_every": 2, "sheet_every": 0}
    run(whole, {}, tmp_path / "whole", Schedule(steps=4, **kept))
    run(half, {}, tmp_path / "parts", Schedule(steps=2, **kept))
    run(rest, {}, tmp_path / "parts", Schedule(steps=4, **kept))
    for name, network in whole.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, rest.networks[name].state_dict()[key]), (name, key)


def test_kept_out_heads_are_never_drawn(heads):
    made = task(heads)
    drawn = {made._order[at] for at in range(100)}
    assert drawn == set(range(2, 20))


def test_gradients_reach_all_but_the_mapping_and_the_averages(heads):
    made = task(heads)
    for head in (*made.encoder.refiner.heads, made.generator.decoder[-1]):
        torch.nn.init.normal_(head.weight)
    batch = make_batch([pick(heads[k], 0, np.arange(50), np.arange(600, 700)) for k in (0, 1)])
    coarse, fine = made.trigrids(batch)
    sum(
        value for each in (coarse, fine) for value in losses(decoded(made.generator, each, batch), batch, 0.1).values()
    ).backward()
    reached = {
        f"{name}.{key}"
        for name, network in made.networks.items()
        for key, weight in network.named_parameters()
        if weight.grad is not None and weight.grad.abs().sum() > 0
    }
    every = {
        f"{name}.{key}"
        for name in ("generator", "visible")
        for key, _ in made.networks[name].named_parameters()
        if not key.startswith("mapping")
    }
    assert reached == every


def test_a_mirrored_head_is_seen_by_the_mirrored_camera_where_it_was(heads):
    """Twice mirrored is the same; and the places of a mirrored head are unprojected to the mirrored pixels."""
    batch = pick(heads[3], 1, np.arange(40), np.arange(600, 640))
    picture = torch.rand(1, 5, 32, 32)
    batch = Batch(**{**vars(batch), "picture": picture})
    again = mirrored(mirrored(batch))
    for name, value in vars(batch).items():
        torch.testing.assert_close(getattr(again, name), value)
    other = mirrored(batch)
    torch.testing.assert_close(
        unproject(other.picture, other.camera, other.places),
        unproject(batch.picture, batch.camera, batch.places),
        atol=1e-4,
        rtol=0,
    )
    cells, turned = plane_points(16, 3), plane_points(16, 3) * torch.tensor([-1.0, 1, 1])
    planes = cells[None, None, ..., 0].expand(1, 2, -1, -1, -1, -1)  # a value that follows x
    flipped = mirrored(Batch(**{**vars(batch), "planes": planes})).planes
    torch.testing.assert_close(flipped, turned[None, None, ..., 0].expand(1, 2, -1, -1, -1, -1))


def test_losses_are_the_stated_means():
    batch = Batch(
        picture=torch.zeros(1, 5, 4, 4), camera=torch.zeros(1, 25), planes=torch.zeros(1, 2, 3, 3, 4, 4),
        places=torch.zeros(1, 4, 3), leaning=torch.zeros(1, 4, 5), distance=torch.tensor([[0.5, -0.02, 0.0, 0.0]]),
        color=torch.tensor([[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]),
        label=torch.tensor([[Label.HAIR, Label.CLOTHES]]),
    )  # fmt: skip
    found = Decoded(distance=torch.tensor([[0.3, 0.02, 0.01, 0.0]]), color=torch.zeros(1, 4, 3), hair=torch.zeros(1, 4))
    values = losses(found, batch, far=0.1)
    assert values["distance"].item() == pytest.approx((0 + 0.04 + 0.01 + 0) / 4)
    assert values["color"].item() == pytest.approx(1 / 3)  # clothes do not count
    assert values["hair"].item() == pytest.approx(np.log(2))
