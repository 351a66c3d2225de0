import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from headstitch.backend.camera import Camera
from headstitch.backend.errors import ModelError
from headstitch.backend.inversion.invert import (
    STAGES,
    compose_photo,
    invert,
    picture_for_comparison,
    stage_seconds,
)
from headstitch.backend.models.bundle import load_bundle
from headstitch.backend.networks.encoder import mirror_camera
from headstitch.backend.options import Inversion
from headstitch.backend.progress import StageClock
from headstitch.kernels.trigrid import to_rows

TOY = Path(__file__).parents[2] / "data" / "toy_model"
CPU = torch.device("cpu")


def run(bundle, portrait, stages, **choices):
    return invert(portrait, bundle, Inversion(**choices), CPU, stages.stage)


@pytest.fixture(scope="module")
def inverted(balls, portrait):
    """The balls, inverted with nothing but defaults."""
    return run(balls.BallBundle(), portrait, StageClock(stage_seconds()))


# --- the photo -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("background", "value"), [("white", 1.0), ("grey", 0.0), ("black", -1.0), ("learned", 1.0)])
def test_the_photo_stands_before_the_chosen_background(portrait, background, value):
    photo = compose_photo(portrait, Inversion(background=background))
    assert photo.shape == (1, 3, 512, 512)
    assert photo.dtype == torch.float32
    assert (photo[:, :, :64] == value).all()  # outside the matte
    plain = torch.from_numpy(portrait.image[300].T.astype(np.float32)) / 127.5 - 1  # (3, 512)
    torch.testing.assert_close(photo[0, :, 300, 256:], plain[:, 256:])  # wholly in it
    torch.testing.assert_close(photo[0, :, 300, :256], (plain[:, :256] + value) / 2)  # half in it


# --- what the encoders are shown -------------------------------------------------------------------------------------


@pytest.mark.parametrize("background", ["white", "learned"])
def test_each_encoder_compares_the_photo_with_its_own_head_from_both_sides(
    balls, bundle, portrait, stages, inverted, monkeypatch, background
):
    options = Inversion(background=background)
    monkeypatch.setattr(balls.BallGenerator, "depth", lambda *_, **__: (inverted.depth, inverted.weight))
    made = run(bundle, portrait, stages, background=background)
    camera = torch.from_numpy(portrait.camera.label)[None]
    behind = "learned" if background == "learned" else (1.0, 1.0, 1.0)
    for which, encoded in (("visible", made.visible), ("occluded", made.occluded)):
        shown, generator = bundle.shown[which], balls.make_generator()
        assert torch.equal(shown["image"], compose_photo(portrait, options))
        assert torch.equal(shown["photo"], shown["image"])
        assert torch.equal(shown["trigrid"], generator.trigrid(encoded.w_plus))
        for name, label in (("render", camera), ("mirrored", mirror_camera(camera))):
            wanted = generator.render(shown["trigrid"], encoded.w_plus, label, background=behind, crop="same")
            if background == "white":
                mask = F.interpolate(wanted.mask.clamp(0, 1), 128, mode="bilinear")
                assert (shown[name] == 1.0)[(mask == 0).expand(-1, 3, -1, -1)].all()
                wanted = replace(wanted, image=1 + (10 * mask).clamp(max=1) * (wanted.image - 1))
            torch.testing.assert_close(shown[name], wanted.image, rtol=0, atol=1e-6)
        assert torch.equal(encoded.render, shown["render"])
        assert torch.equal(encoded.trigrid, balls.ball_planes(balls.COLORS[which]))
    assert not torch.equal(bundle.shown["visible"]["render"], bundle.shown["occluded"]["render"])
    assert list(stages.seconds) == list(STAGES)  # in their order


# --- stitching -------------------------------------------------------------------------------------------------------


def color_from(inverted, yaw, portrait):
    """Mean colour (3,) in [-1, 1] of the middle of the stitched head, ``yaw`` degrees from the photo's camera."""
    camera = type(portrait.camera).from_angles(portrait.camera.angles[0] + np.radians(yaw))
    label = torch.from_numpy(camera.label)[None]
    raw = inverted.generator.render(inverted.stitched, inverted.w, label, background=(1.0, 1.0, 1.0), crop="same").raw
    return raw[0, :, 12:20, 12:20].mean((1, 2)).numpy()


def test_the_photos_side_is_the_visible_encoders_and_the_other_side_the_occluded_ones(portrait, inverted):
    front, back = color_from(inverted, 0, portrait), color_from(inverted, 180, portrait)
    share = [(color[0] - color[1] + 1.6) / 3.2 for color in (front, back)]  # of the visible encoder's red
    assert share[0] > 0.8
    assert share[1] < 0.25


def test_depth_is_the_balls_and_the_mask_is_made_of_it(balls, inverted):
    assert inverted.depth.shape == inverted.weight.shape == (1, 1, 256, 256)
    assert float(inverted.depth[0, 0, 128, 128]) == pytest.approx(2.7 - balls.RADIUS, abs=0.02)
    assert float(inverted.weight[0, 0, 128, 128]) > 0.99
    assert float(inverted.weight[0, 0, 0, 0]) < 0.01
    assert inverted.mask.shape == (3, 3, 64, 64)
    assert 0.05 < float(inverted.mask.mean()) < 0.5


@pytest.fixture
def asked(balls, inverted, monkeypatch):
    """Depths cost no time, and this list tells what was asked: rays, crop and tri-grid."""
    told = []

    def depth(_, trigrid, camera, *, size, crop):
        told.append((size, crop, trigrid))
        return tuple(F.interpolate(each, (size, size)) for each in (inverted.depth, inverted.weight))

    monkeypatch.setattr(balls.BallGenerator, "depth", depth)
    return told


def test_the_mask_has_as_many_rays_as_are_asked_for(bundle, portrait, stages, asked):
    assert run(bundle, portrait, stages, mask_rays=300).depth.shape[-1] == 300
    assert [size for size, _, _ in asked] == [300]


@pytest.mark.parametrize("which", ["visible", "occluded"])
def test_the_mask_is_made_of_the_depth_of_the_encoder_that_is_asked_for(balls, bundle, portrait, stages, asked, which):
    run(bundle, portrait, stages, mask_depth=which)
    assert torch.equal(asked[0][2], balls.ball_planes(balls.COLORS[which]))


def test_slices_share_a_mask_where_that_is_asked_for(bundle, portrait, stages, asked, inverted):
    flat = run(bundle, portrait, stages, mask="planes").mask
    assert torch.equal(flat[:, 0], flat[:, 1])
    assert not torch.equal(inverted.mask[:, 0], inverted.mask[:, 1])


def test_the_side_planes_are_the_visible_encoders_where_that_is_asked_for(bundle, portrait, stages, asked):
    front = run(bundle, portrait, stages, mixed_planes="front")
    assert torch.equal(front.stitched[:, 1:], front.visible.trigrid[:, 1:])
    assert not torch.equal(front.stitched[:, 0], front.visible.trigrid[:, 0])


@pytest.mark.parametrize("which", ["visible", "occluded"])
def test_the_w_of_pictures_is_that_of_the_encoder_that_is_asked_for(bundle, portrait, stages, asked, which):
    made = run(bundle, portrait, stages, appearance=which)
    assert torch.equal(made.w, getattr(made, which).w_plus)
    assert not torch.equal(made.visible.w_plus, made.occluded.w_plus)


def test_a_head_that_the_photo_does_not_see_is_the_occluded_encoders(bundle, portrait, stages, balls, monkeypatch):
    nothing = (torch.full((1, 1, 256, 256), 3.3), torch.zeros(1, 1, 256, 256))
    monkeypatch.setattr(balls.BallGenerator, "depth", lambda *_, **__: nothing)
    made = run(bundle, portrait, stages)
    assert not made.mask.any()
    assert torch.equal(made.stitched, made.occluded.trigrid)


def test_no_number_out_of_an_encoder_is_said_with_the_models_name(balls, bundle, portrait, stages, monkeypatch):
    monkeypatch.setattr(balls.BallEncoder, "refine", lambda self, trigrid, *_: trigrid * float("nan"))
    with pytest.raises(ModelError, match=r"^The visible encoder of the model balls .*no number; .*\.$"):
        run(bundle, portrait, stages)


@pytest.mark.parametrize("background", ["white", "grey", "black"])
def test_outside_the_head_the_render_is_the_background_though_super_resolution_would_change_it(background):
    """With a super-resolution that changes colours, as learned ones do."""
    bundle = load_bundle(TOY)
    generator = bundle.generator()
    with torch.no_grad():
        noise = torch.Generator().manual_seed(0)
        for each in generator.superresolution.parameters():
            each += 0.1 * torch.randn(each.shape, generator=noise)
    w_plus = bundle.encoder("visible").latent_avg[None]
    rows = to_rows(generator.trigrid(w_plus), depth=generator.config.trigrid_depth)
    camera = torch.from_numpy(Camera.from_angles(0.3).label)[None]
    over = {
        where: picture_for_comparison(
            generator, rows, w_plus, camera, Inversion(background=background, background_over=where)
        )
        for where in ("picture", "features")
    }
    mask = F.interpolate(generator.depth(rows, camera, size=64, crop="same")[1].clamp(0, 1), 128, mode="bilinear")
    value = {"white": 1.0, "grey": 0.0, "black": -1.0}[background]
    outside, inside = (mask == 0).expand(-1, 3, -1, -1), (mask > 0.11).expand(-1, 3, -1, -1)
    assert ((mask > 0.11) & (mask < 0.9)).float().mean() > 0.005  # the soft rim stays as the networks have it
    assert 0.2 < outside.float().mean() < 0.9
    assert (over["picture"][outside] == value).all()
    assert (over["features"][outside] - value).abs().mean() > 0.02
    torch.testing.assert_close(over["picture"][inside], over["features"][inside])


# --- real networks ---------------------------------------------------------------------------------------------------


def test_real_networks_give_the_same_twice_and_one_encoder_is_in_memory_at_a_time(
    random_bundle, portrait, stages, monkeypatch
):
    alive: list[weakref.ref] = []
    load = type(random_bundle).encoder

    def counted(self, which, device="cpu"):
        gc.collect()
        assert not any(reference() for reference in alive)
        encoder = load(self, which, device)
        alive.append(weakref.ref(encoder))
        return encoder

    monkeypatch.setattr(type(random_bundle), "encoder", counted)
    first, second = (run(random_bundle, portrait, stages) for _ in range(2))
    gc.collect()
    assert len(alive) == 4
    assert not any(reference() for reference in alive)
    for name in ("photo", "depth", "weight", "mask", "stitched", "w"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert first.stitched.shape == (1, 3, 96, 64, 64)
    assert not torch.equal(first.visible.w_plus, first.occluded.w_plus)
    assert not torch.equal(first.visible.trigrid, first.occluded.trigrid)
