"""The encoders against the reference, at full size, and what ``Encoder`` makes of its two stages, at a toy's size.

Full size takes about 20 s on 2 cores, a third of it for drawing 300 million numbers, and 1.3 GB.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from headstitch.backend.camera import Camera
from headstitch.backend.errors import ModelError
from headstitch.backend.networks.config import OFFICIAL, OFFICIAL_ENCODER, EncoderConfig
from headstitch.backend.networks.encoder import Encoder, TrigridEncoder, WPlusEncoder, mirror_camera

W_PREFIX, F_PREFIX = "psp_encoder.", "triplanenet_encoder."
W_OUTPUTS = [f"{rule}{name}" for rule in ("", "B.") for name in ("wplus", "gse.c1", "gse.c2", "gse.c3")]
F_TAPS = ["c0", "c1", "c2", "c3", "c4", "up1", "up2", "up3", "up4", "up5", "final_head_two"]
F_OUTPUTS = [
    *(f"f_{variant}.{name}" for variant in ("upsample", "pixelshuffle") for name in (*F_TAPS, "out")),
    *("f288_upsample.out", "f288_pixelshuffle.out", "B.f_upsample.out", "B.f_pixelshuffle.out"),
]
PLAIN = replace(OFFICIAL_ENCODER, plane_channels=96, hidden=96)
TOY = EncoderConfig(
    image_size=64,
    widths=(8, 16, 24, 32),
    blocks=(1, 1, 2, 1),
    num_ws=10,
    w_dim=48,
    style_width=16,
    plane_channels=36,
    plane_size=64,
    hidden=24,
)


def tapped(network, modules: dict[str, str], *inputs) -> dict[str, torch.Tensor]:
    """The outputs of submodules, by the names they shall have, and of the network as ``out``."""
    seen = {}

    def keep(name):
        return lambda module, given, output: seen.update({name: output})

    hooks = [network.get_submodule(module).register_forward_hook(keep(name)) for name, module in modules.items()]
    seen["out"] = network(*inputs)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.fixture(scope="module")
def w_outputs(encoder_seeding) -> dict[str, torch.Tensor]:
    network = encoder_seeding.network(lambda: WPlusEncoder(OFFICIAL_ENCODER), W_PREFIX)
    image = encoder_seeding.normal("input.image", (1, 3, 256, 256)).clip(-1, 1)
    modules = {"gse.c1": "body.6", "gse.c2": "body.20", "gse.c3": "body.23"}
    found = {}
    with torch.inference_mode():
        for rule in ("", "B."):
            if rule:
                encoder_seeding.spread(network, W_PREFIX)
            seen = tapped(network, modules, image)
            seen["wplus"] = seen.pop("out")
            found |= {rule + name: value for name, value in seen.items()}
    return found


@pytest.fixture(scope="module")
def f_outputs(encoder_seeding) -> dict[str, torch.Tensor]:
    pictures = encoder_seeding.normal("input.fstage9", (1, 9, 256, 256)).clip(-1, 1)
    planes = {
        96: encoder_seeding.normal("input.triplane96", (1, 96, 256, 256)),
        288: encoder_seeding.normal("input.trigrid288", (1, 288, 256, 256)),
    }
    modules = dict(zip(("c0", "c1", "c2", "c3", "c4"), (f"body.{at}" for at in (2, 6, 20, 21, 23)), strict=True))
    modules |= {name: name for name in F_TAPS if name not in modules}
    found, networks, drawn = {}, {}, {}
    with torch.inference_mode():
        for variant in ("upsample", "pixelshuffle"):
            for config in (PLAIN, OFFICIAL_ENCODER):
                config = replace(config, variant=variant)
                network = encoder_seeding.network(lambda: TrigridEncoder(config), F_PREFIX, drawn)  # noqa: B023
                drawn |= network.state_dict()
                channels = config.plane_channels
                name = f"f_{variant}" if channels == 96 else f"f288_{variant}"
                seen = tapped(network, modules if channels == 96 else {}, pictures, planes[channels])
                found |= {f"{name}.{part}": value for part, value in seen.items()}
                networks[name] = network
        for name in ("f_upsample", "f_pixelshuffle"):
            encoder_seeding.spread(networks[name], F_PREFIX)
            found[f"B.{name}.out"] = networks[name](pictures, planes[96])
    return found


@pytest.mark.parametrize("name", W_OUTPUTS)
def test_the_first_stage_agrees_with_the_reference(encoder_reference, w_outputs, name):
    encoder_reference.compare(name, w_outputs[name], 1e-4 if name.endswith("wplus") else 1e-3)


@pytest.mark.parametrize("name", F_OUTPUTS)
def test_the_second_stage_agrees_with_the_reference(encoder_reference, f_outputs, name):
    encoder_reference.compare(name, f_outputs[name], 1e-3)


def test_no_figure_of_the_encoders_is_left_over(encoder_reference):
    looked_at = set().union(*map(encoder_reference.keys, W_OUTPUTS + F_OUTPUTS))
    assert looked_at == {key for key in encoder_reference.arrays if "disc." not in key}


# --- names, shapes, sizes --------------------------------------------------------------------------------------------


def shapes(network: torch.nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in network.state_dict().items()}


def count(network: torch.nn.Module) -> int:
    return sum(value.numel() for value in network.parameters())


def test_the_first_stages_tensors_are_the_published_ones(encoder_params):
    published = encoder_params["GradualStyleEncoder_50_ir_se_14"]
    with torch.device("meta"):
        network = WPlusEncoder(OFFICIAL_ENCODER)
    assert shapes(network) == dict(published["tensors"])
    assert count(network) == published["n_params"] == 209_450_688
    assert count(network.styles) == 178_302_976


@pytest.mark.parametrize("variant", ["upsample", "pixelshuffle"])
@pytest.mark.parametrize("planes", [96, 288])
def test_the_second_stages_tensors_are_the_published_ones(encoder_params, variant, planes):
    published = encoder_params[f"TriPlane_Encoder_v2_{variant}_96"]
    expected = dict(published["tensors"])
    if planes == 288:
        published = encoder_params[f"ADAPTED_TriPlane_Encoder_v2_{variant}_288_DESIGN_CHOICE"]
        expected |= dict(published["tensors"])  # the head alone
    with torch.device("meta"):
        network = TrigridEncoder(replace(OFFICIAL_ENCODER, variant=variant, plane_channels=planes, hidden=planes))
    assert shapes(network) == expected
    assert count(network) == published["n_params"]


@pytest.mark.parametrize(
    ("variant", "planes", "hidden", "parameters"),
    [
        ("upsample", 96, 96, 41_368_416),
        ("pixelshuffle", 96, 96, 42_191_168),
        ("upsample", 288, 96, 41_552_928),
        ("upsample", 288, 288, 42_880_800),
        ("pixelshuffle", 288, 96, 42_375_680),
        ("pixelshuffle", 288, 288, 43_634_432),
    ],
)
def test_parameters_of_every_second_stage(variant, planes, hidden, parameters):
    with torch.device("meta"):
        network = TrigridEncoder(replace(OFFICIAL_ENCODER, variant=variant, plane_channels=planes, hidden=hidden))
    assert count(network) == parameters


def test_a_bundles_encoder_holds_both_stages_and_the_mean():
    with torch.device("meta"):
        encoder = Encoder(OFFICIAL_ENCODER)
        stages = {f"w_plus.{name}" for name in WPlusEncoder(OFFICIAL_ENCODER).state_dict()}
        stages |= {f"trigrid.{name}" for name in TrigridEncoder(OFFICIAL_ENCODER).state_dict()}
    assert set(encoder.state_dict()) == stages | {"latent_avg"}
    assert encoder.latent_avg.shape == (14, 512)


# --- the toy ---------------------------------------------------------------------------------------------------------


def make(config: EncoderConfig) -> Encoder:
    """An encoder whose mean w+ is not zero and whose batch norms do something."""
    torch.manual_seed(0)
    encoder = Encoder(config)
    torch.nn.init.normal_(encoder.latent_avg)
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d) and module.running_mean is not None:
            torch.nn.init.normal_(module.running_mean, std=0.1)
    return encoder.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def toy() -> Encoder:
    return make(TOY)


@pytest.fixture(scope="module")
def pictures() -> tuple[torch.Tensor, ...]:
    """Photo, render and mirrored render, none of them symmetric."""
    torch.manual_seed(1)
    return tuple(torch.rand(2, 3, 128, 128) * 2 - 1 for _ in range(3))


@pytest.fixture(scope="module")
def trigrid() -> torch.Tensor:
    torch.manual_seed(2)
    return torch.randn(2, 3, 12, 64, 64)


def test_a_toy_weighs_half_a_megabyte_in_half_precision(toy):
    assert 2 * count(toy) < 600_000


def test_w_plus_is_the_first_stage_on_the_averaged_photo_plus_the_mean(toy, pictures):
    photo = pictures[0]
    w_plus = toy.encode_w(photo)
    assert w_plus.shape == (2, 10, 48)
    torch.testing.assert_close(w_plus, toy.w_plus(F.avg_pool2d(photo, 2)) + toy.latent_avg)
    assert not torch.allclose(w_plus, toy.w_plus(F.avg_pool2d(photo, 2)))


def test_pictures_of_the_encoders_own_size_are_taken_as_they_are(toy, pictures):
    small = F.avg_pool2d(pictures[0], 2)
    assert torch.equal(toy.encode_w(small), toy.w_plus(small) + toy.latent_avg)


def test_the_second_stage_sees_nine_channels_in_their_order(toy, pictures, trigrid, monkeypatch):
    given = []
    monkeypatch.setattr(toy.trigrid, "forward", lambda *inputs: given.extend(inputs) or inputs[1] + 1)
    refined = toy.refine(trigrid, *pictures)
    seen, planes = given
    photo, render, mirrored = (picture.reshape(2, 3, 64, 2, 64, 2).mean((3, 5)).numpy() for picture in pictures)
    for sample in range(2):
        for color in range(3):
            expected = (
                render[sample, color],
                photo[sample, color] - render[sample, color],
                photo[sample, color, :, ::-1] - mirrored[sample, color],
            )
            for group, picture in enumerate(expected):
                torch.testing.assert_close(seen[sample, 3 * group + color], torch.tensor(picture.copy()))
    assert seen.shape == (2, 9, 64, 64)
    assert torch.equal(planes, trigrid.reshape(2, 36, 64, 64))  # plane by plane
    assert torch.equal(refined, trigrid + 1)


def test_a_photo_like_its_renders_leaves_differences_of_zero(toy, trigrid, monkeypatch):
    photo = torch.rand(2, 3, 64, 64)
    given = []
    monkeypatch.setattr(toy.trigrid, "forward", lambda *inputs: given.extend(inputs) or inputs[1])
    toy.refine(trigrid, photo, photo, photo.flip(-1))
    assert not given[0][:, 3:].any()


def test_a_head_of_zeros_leaves_the_trigrid(pictures, trigrid):
    encoder = make(TOY)
    for value in encoder.trigrid.final_head_two[4].parameters():
        value.zero_()
    assert torch.equal(encoder.refine(trigrid, *pictures), trigrid)


@pytest.mark.parametrize("variant", ["upsample", "pixelshuffle"])
@pytest.mark.parametrize("image_size", [64, 128])
def test_pictures_may_have_twice_the_size_of_the_planes(pictures, trigrid, variant, image_size):
    encoder = make(replace(TOY, variant=variant, image_size=image_size))
    assert encoder.encode_w(pictures[0]).shape == (2, 10, 48)
    refined = encoder.refine(trigrid, *pictures)
    assert refined.shape == trigrid.shape
    assert not torch.allclose(refined, trigrid)


def test_samples_of_a_batch_do_not_see_one_another(toy, pictures, trigrid):
    refined = toy.refine(trigrid, *pictures)
    for sample in range(2):
        one = slice(sample, sample + 1)
        torch.testing.assert_close(
            toy.refine(trigrid[one], *(picture[one] for picture in pictures)), refined[one], atol=1e-5, rtol=0
        )


def test_no_gradient_of_the_second_stage_reaches_the_first(pictures, trigrid):
    encoder = make(TOY).requires_grad_(True)
    given, render, mirrored = (value.clone().requires_grad_() for value in (trigrid, *pictures[1:]))
    encoder.refine(given, pictures[0], render, mirrored).square().sum().backward()
    assert given.grad is None
    assert render.grad is None
    assert mirrored.grad is None
    trained = [value.grad for value in encoder.trigrid.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in trained)


def test_every_parameter_of_the_first_stage_learns(pictures):
    encoder = make(TOY).requires_grad_(True)
    encoder.encode_w(pictures[0]).square().sum().backward()
    for name, value in encoder.w_plus.named_parameters():
        assert value.grad is not None
        # The one channel inside a toy's squeeze and excitation may be off.
        assert value.grad.any() or ".fc" in name, name


@pytest.mark.parametrize("yaw", [0.0, 0.5, -1.2])
def test_the_mirrored_camera_sees_points_mirrored(yaw):
    camera = Camera.from_angles(yaw, 0.3, 0.2)
    label = torch.from_numpy(camera.label)
    mirrored = Camera.from_label(mirror_camera(label[None])[0].numpy())
    points = torch.randn(20, 3, dtype=torch.float64).mul(0.2).numpy()
    expected = camera.project(points)
    expected[:, 0] = 1 - expected[:, 0]  # the picture turned left to right
    found = mirrored.project(points * [-1, 1, 1])
    torch.testing.assert_close(torch.from_numpy(found), torch.from_numpy(expected), atol=1e-5, rtol=0)
    assert torch.equal(mirror_camera(mirror_camera(label)), label)


def test_the_mirrored_camera_negates_five_entries():
    label = torch.arange(1.0, 26.0)
    changed = (mirror_camera(label) == -label).nonzero()[:, 0].tolist()
    assert changed == [0 * 4 + 1, 0 * 4 + 2, 0 * 4 + 3, 1 * 4 + 0, 2 * 4 + 0]
    assert (mirror_camera(label).abs() == label).all()


# --- what does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"num_ws": 10}, "rows of w+ 10 instead of 14"),
        ({"w_dim": 256}, "numbers in a row of w+ 256 instead of 512"),
        ({"plane_channels": 96}, "channels of the planes 96 instead of 288"),
        ({"plane_size": 128}, "cells along a plane 128 instead of 256"),
    ],
)
def test_an_encoder_of_another_generator_is_named(change, says):
    config = replace(OFFICIAL_ENCODER, **change)
    if says is None:
        config.check_fits(OFFICIAL)
        return
    with pytest.raises(ModelError, match=re.escape(f"does not fit the generator: {says}; import an encoder")):
        config.check_fits(OFFICIAL)


def test_everything_that_does_not_fit_is_named_at_once():
    with pytest.raises(ModelError, match=r"rows of w\+ 10 instead of 14, .*, channels of the planes 36 instead of 288"):
        TOY.check_fits(OFFICIAL)


@pytest.mark.parametrize("shape", [(2, 3, 4, 64, 64), (2, 3, 12, 32, 32), (2, 12, 64, 64)])
def test_a_trigrid_of_another_generator_is_refused(toy, pictures, shape):
    with pytest.raises(ModelError, match=rf"tri-grid of \(B, 3, 12, 64, 64\), but got {re.escape(str(shape))}"):
        toy.refine(torch.zeros(shape), *pictures)


def test_plain_planes_are_refused_by_an_encoder_of_trigrids(toy):
    with pytest.raises(ModelError, match=r"tri-grid of \(B, 36, 64, 64\), but got \(1, 12, 64, 64\)"):
        toy.trigrid(torch.zeros(1, 9, 64, 64), torch.zeros(1, 12, 64, 64))


@pytest.mark.parametrize("shape", [(2, 3, 48, 48), (2, 3, 128, 64), (2, 1, 128, 128), (3, 128, 128)])
def test_a_picture_that_the_stages_cannot_see_is_refused(toy, pictures, trigrid, shape):
    wrong = torch.zeros(shape)
    says = re.escape(f"has the shape {shape}; give the encoder (B, 3, H, H) with H at least 64")
    with pytest.raises(ModelError, match=f"The photo {says}"):
        toy.encode_w(wrong)
    with pytest.raises(ModelError, match=f"The mirrored render {says}"):
        toy.refine(trigrid, *pictures[:2], wrong)


def test_a_second_stage_of_another_kind_is_refused(pictures, trigrid):
    with pytest.raises(ModelError, match="takes 6 channels of pictures, not 9"):
        make(replace(TOY, inputs=6)).refine(trigrid, *pictures)


# --- the configuration -----------------------------------------------------------------------------------------------


def test_a_configuration_comes_back_from_its_record():
    for config in (OFFICIAL_ENCODER, TOY):
        record = config.to_dict()
        assert isinstance(record["widths"], list)  # JSON has no tuples
        assert EncoderConfig.from_dict(record) == config


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"widths": [8, 16, 24]}, "four"),
        ({"blocks": 3}, "four"),
        ({"widths": [8, 16, 20, 32]}, "multiples of 8"),
        ({"blocks": [1, 1, 0, 1]}, "from 1 on"),
        ({"hidden": 1.5}, "from 1 on"),
        ({"num_ws": True}, "from 1 on"),
        ({"image_size": 16, "plane_size": 16}, "power of two"),
        ({"image_size": 96, "plane_size": 96}, "power of two"),
        ({"plane_size": 32}, None),
        ({"plane_size": 16}, "half of it"),
        ({"plane_channels": 32}, "multiple of 3"),
        ({"variant": "bilinear"}, "upsample or pixelshuffle"),
        ({"depth": 3}, "unknown: .'depth'."),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change, says):
    record = TOY.to_dict() | change
    if says is None:
        EncoderConfig.from_dict(record)
        return
    with pytest.raises(ValueError, match=says):
        EncoderConfig.from_dict(record)


def test_a_configuration_that_lacks_a_key_is_refused():
    record = TOY.to_dict()
    del record["hidden"]
    with pytest.raises(ValueError, match="hidden"):
        EncoderConfig.from_dict(record)
