"""The paper's two trainings at tiny sizes: what learns when, what is hidden, the game, and that resuming is exact."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from headstitch.backend.camera import Camera
from headstitch.backend.errors import ModelError
from headstitch.backend.learning import adversary
from headstitch.backend.learning.adversary import dense_depth, hidden_cells, play, random_w_plus, slope
from headstitch.backend.learning.checkpoint import checkpoints
from headstitch.backend.learning.config import Adversary, Losses, load_config
from headstitch.backend.learning.dual import OccludedTask, VisibleTask, encoder_config, mean_w
from headstitch.backend.learning.journal import read_log
from headstitch.backend.learning.perceptual import GradientDistance
from headstitch.backend.learning.photos import Photos, find_photos
from headstitch.backend.learning.ranger import Ranger
from headstitch.backend.learning.run import Schedule, run
from headstitch.backend.learning.task import Turn
from headstitch.backend.networks.discriminator import TrigridDiscriminator
from headstitch.backend.networks.generator import Rendering
from headstitch.backend.options import Inversion
from torch import nn

TINY = load_config("tiny")
CPU = torch.device("cpu")


@pytest.fixture
def make(tiny_generator, photo_folder):
    def make(kind, **changes):
        config = replace(TINY, **{"batch": 1, **changes})
        torch.manual_seed(0)
        photos = Photos(find_photos([photo_folder]), size=config.image_size, mirror=config.mirror)
        return kind(tiny_generator, photos, config, perceptual=GradientDistance())

    return make


def step(task, number):
    turn = Turn(number, 0, CPU, optimizers=task.optimizers)
    return {**task.step(turn), **turn.figures}


def snapshot(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    return {
        name.partition(".")[0] for name, value in module.state_dict().items() if not torch.equal(value, before[name])
    }


# --- what learns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [VisibleTask, OccludedTask])
@pytest.mark.parametrize(
    ("number", "learning"),
    [(0, {"w_plus"}), (1, {"w_plus"}), (2, {"w_plus", "trigrid"}), (4, {"w_plus", "trigrid"}), (5, {"trigrid"})],
)
def test_the_stages_learn_when_it_is_their_turn(make, kind, number, learning):
    task = make(kind, w_alone=2, w_until=5)
    encoder, generator = snapshot(task.encoder), snapshot(task.generator)
    figures = step(task, number)
    assert changed(task.encoder, encoder) == learning  # what batch norms have seen counts too
    assert not changed(task.generator, generator)
    assert {name.partition("/")[0] for name in figures if name.endswith("/l2")} == learning
    for stage in ("w_plus", "trigrid"):
        reached = [p.grad is not None for p in task.encoder.get_submodule(stage).parameters()]
        assert all(reached) if stage in learning else not any(reached)


@pytest.mark.parametrize("kind", [VisibleTask, OccludedTask])
def test_no_gradient_reaches_generator_or_judges(make, kind):
    task = make(kind)
    step(task, 3)
    assert all(p.grad is None and not p.requires_grad for p in task.generator.parameters())


def test_gradients_of_the_second_stage_do_not_reach_the_first(make):
    task = make(VisibleTask)
    photo, cameras = task._batch(Turn(3, 0, CPU))
    made = task._invert(Turn(3, 0, CPU), photo, cameras)
    task.losses(made["trigrid"], photo)["l2"].backward()
    assert all(p.grad is None for p in task.encoder.w_plus.parameters())
    assert any(p.grad.abs().sum() > 0 for p in task.encoder.trigrid.parameters() if p.grad is not None)


def test_the_discriminator_is_frozen_while_the_encoder_learns(make, monkeypatch):
    task = make(OccludedTask)
    before = dict(task.discriminator.named_parameters())
    before = {name: value.detach().clone() for name, value in before.items()}
    seen = []

    def look(turn, discriminator, settings, fake, real, hidden):
        seen.append([p.grad is None for p in discriminator.parameters()])
        assert all(torch.equal(value, before[name]) for name, value in discriminator.named_parameters())

    monkeypatch.setattr("headstitch.backend.learning.dual.play", look)
    figures = step(task, 3)
    assert all(seen[0])
    assert figures["trigrid/adversarial"] > 0
    assert "w_plus/adversarial" in figures


def test_the_game_changes_the_discriminator_alone(make):
    task = make(OccludedTask)
    encoder, discriminator = snapshot(task.encoder), snapshot(task.discriminator)
    fake, real = (torch.randn(2, 3, 12, 32, 32, requires_grad=True) for _ in range(2))
    turn = Turn(3, 0, CPU, optimizers=task.optimizers)
    play(turn, task.discriminator, Adversary(), fake, real, torch.ones(2, 3, 12, 32, 32))
    assert fake.grad is None
    assert real.grad is None
    assert changed(task.discriminator, discriminator)
    assert not changed(task.encoder, encoder)
    task.step(turn)
    assert changed(task.encoder, encoder)


def test_the_adversarial_term_pulls_the_encoder_by_its_weight(make):
    """With all other weights at nothing the update is the game's alone, and the larger the weight the larger it is."""
    norms = []
    for weight in (0.001, 1.0):
        task = make(OccludedTask, losses=Losses(0.0, 0.0, 0.0, weight))
        norms.append(step(task, 3)["gradient/trigrid"])
    assert norms[0] > 0
    assert norms[1] == pytest.approx(1000 * norms[0], rel=1e-3)


# --- what is hidden --------------------------------------------------------------------------------------------------


def ball(generator, size=64):
    """Depth and opacity of a ball of radius 0.25 from the front, as a picture of the generator's."""
    rays = torch.from_numpy(Camera.from_angles().rays(size)).double()
    origin, direction = rays[..., :3], rays[..., 3:]
    middle = -(origin * direction).sum(-1)
    square = 0.25**2 - (origin.square().sum(-1) - middle**2)
    depth = torch.where(square > 0, middle - square.clamp(min=0).sqrt(), 3.3).float()[None, None]
    mask = (square > 0).float()[None, None]
    blank = torch.zeros(1, 3, size, size)
    return Rendering(blank, blank, mask, depth, blank)


def test_what_the_view_sees_is_not_hidden_and_all_features_of_a_slice_agree(tiny_generator):
    camera = torch.from_numpy(Camera.from_angles().label)[None]
    hidden = hidden_cells(ball(tiny_generator), camera, tiny_generator, Inversion(mask_growth=0))
    assert hidden.shape == (1, 3, 12, 32, 32)
    by_slice = hidden.view(1, 3, 4, 3, 32, 32)  # features, slices
    assert torch.equal(by_slice, by_slice[:, :, :1].expand_as(by_slice))
    assert hidden[0, 0, 2, 16, 16] == 0  # the front slice, seen in the middle
    assert hidden[0, 0, 0, 16, 16] == 1  # the one behind
    assert hidden[0, 1, :, :12].min() == 1  # rows of the plane from above are z: the back of the head
    assert hidden[0, 0, :, 0, 0].min() == 1


def test_few_rays_make_a_depth_without_holes_or_averages_with_the_background(tiny_generator):
    coarse, fine = ball(tiny_generator, 64), ball(tiny_generator, 256)
    depth, mask = dense_depth(coarse.depth, coarse.mask)
    assert depth.shape == mask.shape == (1, 1, 256, 256)
    inside = (mask > 0.5) & (fine.mask > 0.5)
    assert inside.sum() > 0.95 * fine.mask.sum()
    away = (depth - fine.depth).abs()[inside]
    assert away.max() < 0.2  # the ball's rim; the background is 0.6 behind
    assert away.median() < 1e-3
    same = dense_depth(fine.depth, fine.mask)
    assert same[0] is fine.depth


def test_what_the_photo_sees_is_zero_in_all_that_the_discriminator_gets(make, monkeypatch):
    task = make(OccludedTask)
    monkeypatch.setattr(
        "headstitch.backend.learning.dual.hidden_cells",
        lambda picture, cameras, generator, options: hidden_cells(ball(generator), cameras, generator, options),
    )
    given = []
    task.discriminator.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0].detach()))
    step(task, 0)
    assert len(given) == 3  # the encoder's step, the discriminator's, and the penalty's
    seen = given[0][0] == 0
    assert 0.001 < seen.float().mean() < 0.5
    for real, fake in given:
        assert torch.equal(real == 0, seen)
        assert torch.equal(fake == 0, seen)
        assert not torch.equal(real, fake)
    assert all(torch.equal(grids, given[0]) for grids in given)


# --- the game --------------------------------------------------------------------------------------------------------


def test_the_penalty_comes_every_sixteenth_step_with_its_factor(make):
    task = make(OccludedTask)
    seen = [number for number in (0, 1, 15, 16, 17, 32) if "r1" in step(task, number)]
    assert seen == [0, 16, 32]


def test_the_penalty_is_half_the_coefficient_times_the_interval(monkeypatch):
    taken = []
    discriminator = TrigridDiscriminator(6, (4, 8))
    turn = Turn(32, 0, CPU, optimizers={"discriminator": Ranger(discriminator.parameters())})
    update = turn.minimize
    turn.minimize = lambda optimizers, terms, weights=None: (
        taken.append((optimizers, set(terms), weights)),
        update(optimizers, terms, weights),
    )
    grid = torch.randn(2, 3, 2, 8, 8)
    play(turn, discriminator, Adversary(r1=10.0, r1_every=16), grid, grid, torch.ones_like(grid))
    assert taken[0] == ("discriminator", {"discriminator/real", "discriminator/fake"}, None)
    assert taken[1] == ("discriminator", {"r1"}, {"r1": 80.0})


def test_the_slope_of_a_linear_score_is_its_weights_squared():
    weight = torch.tensor([3.0, 4.0])
    score = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    score[1].weight.data.copy_(weight[None])
    assert slope(score, torch.randn(5, 1, 1, 1, 2)).item() == pytest.approx(25)


@pytest.mark.parametrize("joint", [True, False])
def test_the_game_is_the_corrected_pair(joint):
    """Real scores are pushed up and fake ones down, by half a softplus each."""
    score = nn.Sequential(nn.Flatten(), nn.Linear(1, 1))
    score[1].weight.data.fill_(1.0)
    score[1].bias.data.fill_(0.0)
    turn = Turn(1, 0, CPU, optimizers={"discriminator": torch.optim.SGD(score.parameters(), 0.1)})
    real, fake = torch.full((2, 1, 1, 1, 1), 2.0), torch.full((2, 1, 1, 1, 1), -1.0)
    play(turn, score, Adversary(joint=joint), fake, real, torch.ones(2, 1, 1, 1, 1))
    assert turn.figures["discriminator/real"] == pytest.approx(0.5 * np.log1p(np.exp(-2)))
    assert turn.figures["discriminator/fake"] == pytest.approx(0.5 * np.log1p(np.exp(-1)))
    assert score[1].weight.item() > 1
    assert adversary.fooling_loss(torch.tensor([[2.0]])).item() == pytest.approx(np.log1p(np.exp(-2)))


def test_the_discriminator_learns_to_tell_separable_tri_grids_apart():
    torch.manual_seed(0)
    discriminator = TrigridDiscriminator(12, (8, 16))
    optimizers = {"discriminator": Ranger(discriminator.parameters(), lr=2e-2)}
    hidden = (torch.rand(1, 3, 4, 16, 16) > 0.3).float()
    losses = []
    for number in range(40):
        turn = Turn(number, 0, CPU, optimizers=optimizers)
        fake, real = (torch.randn(2, 3, 4, 16, 16) for _ in range(2))
        real = F.avg_pool2d(real.flatten(0, 1), 3, 1, 1).view_as(real)  # smooth
        play(turn, discriminator, Adversary(r1=0.1), fake, real, hidden.expand_as(real))
        losses.append(turn.figures["discriminator/real"] + turn.figures["discriminator/fake"])
    assert np.mean(losses[:3]) > 0.6
    assert np.mean(losses[-5:]) < 0.3


# --- real samples, means ---------------------------------------------------------------------------------------------


def test_every_row_of_a_real_sample_has_a_latent_of_its_own(tiny_generator):
    torch.manual_seed(3)
    w_plus = random_w_plus(tiny_generator, 2, 1.0, CPU)
    rows = tiny_generator.config.num_ws
    torch.manual_seed(3)
    z = torch.randn(2 * rows, 8)
    front = torch.from_numpy(Camera.from_angles().label)[None]
    for number in (0, 1, rows, 2 * rows - 1):
        expected = tiny_generator.backbone.mapping(z[number : number + 1], front)[0]
        torch.testing.assert_close(w_plus.view(-1, 8)[number], expected)
    assert not torch.allclose(w_plus[0, 0], w_plus[0, 1])
    mean = random_w_plus(tiny_generator, 1, 0.0, CPU)
    torch.testing.assert_close(mean, tiny_generator.backbone.mapping.w_avg.expand_as(mean))


def test_the_first_stage_starts_from_the_mean_of_mapped_latents(make):
    task = make(VisibleTask, mean_of=5000)
    front = torch.from_numpy(Camera.from_angles().label).expand(5000, -1)
    with torch.no_grad():
        z = torch.cat([torch.randn(n, 8, generator=g) for g in [torch.Generator().manual_seed(0)] for n in (4096, 904)])
        expected = task.generator.backbone.mapping(z, front).mean(0)
    torch.testing.assert_close(
        task.encoder.latent_avg, expected.expand_as(task.encoder.latent_avg), rtol=1e-4, atol=1e-6
    )
    assert torch.equal(mean_w(task.generator, 100), mean_w(task.generator, 100))


def test_some_samples_are_the_generators_own_heads(make):
    for share in (0.0, 1.0):
        task = make(VisibleTask, synthetic=share, batch=2)
        turn = Turn(0, 0, CPU)
        photo, cameras = task._batch(turn)
        given = [task.photos.sample(at) for at in range(2)]
        same = [torch.equal(mine, theirs[0]) for mine, theirs in zip(photo, given, strict=True)]
        assert same == [share == 0] * 2
        assert all(torch.equal(mine, theirs[1]) for mine, theirs in zip(cameras, given, strict=True))


# --- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [VisibleTask, OccludedTask])
def test_resuming_a_training_is_exact(make, kind, tmp_path):
    schedule = Schedule(steps=4, checkpoint_every=2, log_every=1, sheet_every=0)
    run(make(kind, batch=2), TINY.to_dict(), tmp_path / "straight", schedule)
    run(make(kind, batch=2), TINY.to_dict(), tmp_path / "halves", replace(schedule, steps=3))
    run(make(kind, batch=2), TINY.to_dict(), tmp_path / "halves", schedule)
    one, two = (checkpoints(tmp_path / name)[-1].read_bytes() for name in ("straight", "halves"))
    assert one == two
    assert all(np.isfinite(value) for line in read_log(tmp_path / "straight") for value in line.values())


def test_the_second_encoder_learns_to_look_like_its_photo(make):
    """One photo again and again: its loss falls."""
    task = make(VisibleTask, w_alone=0, synthetic=0.0, mirror=False, learning_rate=2e-2)
    task.photos._order = [0] * 100
    losses = [step(task, number)["trigrid/l2"] for number in range(10)]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_a_sheet_and_a_score_leave_no_trace(make):
    task = make(VisibleTask)
    task.kept_out = [task.photos.sample(0)]
    step(task, 3)
    before = snapshot(task.encoder)
    with torch.no_grad():
        picture, score = task.sheet(), task.score()
    assert picture.shape == (3 * 32, 5 * 32, 3)
    assert picture.dtype == np.uint8
    photo = task.photos.sample(0)[0]
    shown = torch.from_numpy(picture[:32, :32]).permute(2, 0, 1).float() / 127.5 - 1
    torch.testing.assert_close(shown, photo, rtol=0, atol=0.01)
    assert 0 < score < 1000
    assert not changed(task.encoder, before)
    assert task.encoder.w_plus.training


def test_a_generator_of_other_sizes_is_refused(tiny_generator):
    with pytest.raises(ModelError, match=r"does not go with the model's generator .plane_size is 32"):
        encoder_config(replace(TINY, image_size=128), tiny_generator.config)


def test_the_papers_numbers_are_those_of_the_paper():
    paper = load_config("paper")
    assert (paper.steps, paper.batch, paper.learning_rate, paper.image_size) == (500_000, 3, 1e-4, 256)
    assert paper.losses == Losses(l2=1.0, perceptual=0.8, identity=0.5, adversarial=0.001)
    assert paper.adversary == Adversary((64, 128, 256, 512), 1e-4, 10.0, 16, 1.0, joint=True)
    assert (paper.w_alone, paper.w_until, paper.perceptual) == (20_000, 500_000, "lpips")
