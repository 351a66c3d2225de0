import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.errors import ModelError, ResultsError
from headstitch.backend.inversion import latent as module
from headstitch.backend.inversion.invert import invert, stage_seconds
from headstitch.backend.inversion.latent import Latent, is_of_model, to_uint8
from headstitch.backend.options import Inversion
from headstitch.backend.progress import StageClock

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def inverted(balls, portrait):
    return invert(portrait, balls.BallBundle(), Inversion(), CPU, StageClock(stage_seconds()).stage)


@pytest.fixture(scope="module")
def latent(balls, portrait, inverted):
    return Latent.of(inverted, portrait.camera, balls.BallBundle())


@pytest.fixture
def found(monkeypatch, bundle):
    """The bundle that every name finds, and the names that were asked for."""
    asked = []

    def load(name):
        asked.append(name)
        return bundle

    monkeypatch.setattr(module, "load_bundle", load)
    return types.SimpleNamespace(bundle=bundle, asked=asked)


def test_all_of_it_survives_a_way_through_arrays(latent):
    again = Latent.from_arrays(latent.to_arrays())
    for name in ("visible", "occluded", "w", "trigrid", "mask"):
        assert torch.equal(getattr(again, name), getattr(latent, name)), name
        assert getattr(again, name).dtype == getattr(latent, name).dtype
    np.testing.assert_array_equal(again.camera.label, latent.camera.label)
    assert (again.model, again.model_sha256) == ("balls", "ab" * 32)


def test_what_is_kept_is_the_stitched_head_to_half_precision(inverted, latent):
    torch.testing.assert_close(latent.trigrid.float(), inverted.stitched[0], rtol=1e-3, atol=1e-7)
    torch.testing.assert_close(latent.mask / 255, inverted.mask, rtol=0, atol=0.5 / 255 + 1e-6)
    assert torch.equal(latent.w, inverted.visible.w_plus[0])


def test_the_field_comes_back_to_the_bit(balls, latent):
    generator = balls.make_generator()
    fields = [each.field(generator, Inversion(), CPU) for each in (latent, Latent.from_arrays(latent.to_arrays()))]
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    assert torch.equal(fields[0].density(points), fields[1].density(points))
    assert fields[0].level == balls.CONFIG.level
    on_ball = torch.nn.functional.normalize(points, dim=1) * balls.RADIUS
    assert (fields[0].density(on_ball * 0.96) > fields[0].level).all()
    assert (fields[0].density(on_ball * 1.04) < fields[0].level).all()


def test_the_crop_that_is_asked_for_is_the_fields(balls, latent):
    generator = balls.make_generator()
    same, official = (latent.field(generator, Inversion(crop=crop), CPU).box for crop in ("same", "official"))
    assert same.low == pytest.approx((-0.4, -0.5, -0.4))
    assert official.low[1] > -0.5


def test_the_viewer_shows_each_side_in_its_encoders_color(balls, latent):
    show = latent.viewer(balls.make_generator(), Inversion(background="black"), CPU)
    yaw = latent.camera.angles[0]
    front, back = (show(Camera.from_angles(yaw + turn)) for turn in (0.0, np.pi))
    assert front.shape == (128, 128, 3)
    assert front.dtype == np.uint8
    assert front[64, 64, 0] > 2 * front[64, 64, 1]  # red
    assert back[64, 64, 1] > 2 * back[64, 64, 0]  # green
    assert front[2, 2].max() < 3


def test_its_own_model_is_found_by_its_name_or_by_the_one_that_is_given(latent, found):
    assert latent.find_model() is found.bundle
    assert latent.find_model("elsewhere/balls") is found.bundle
    assert found.asked == ["balls", "elsewhere/balls"]


def test_another_model_of_that_name_is_refused(latent, found):
    found.bundle.sha256 = "cd" * 32
    with pytest.raises(
        ModelError, match=r"made with the model balls of hash abababababab, .*cdcdcdcdcdcd; .*--model\.$"
    ):
        latent.find_model()


def test_a_model_that_is_not_there_is_said_with_its_name(latent, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTITCH_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match=r"^This head was made with the model balls\. There is no model 'balls'.*\.$"):
        latent.find_model()


def test_a_trigrid_that_is_not_the_models_is_refused(latent, found):
    smaller = replace(latent, trigrid=latent.trigrid[..., ::2, ::2].contiguous())
    with pytest.raises(ModelError, match=r"tri-grid of \(3, 96, 32, 32\) is not one of the model balls; .*\.$"):
        smaller.find_model()


def nan_in(array):
    array = np.array(array)
    array.flat[-1] = np.nan
    return array


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        *((name, lambda _: None, f"it lacks '{name}'") for name in ("trigrid", "w", "mask", "camera", "model.sha256")),
        ("trigrid", lambda array: array[0], r"trigrid has the shape \(96, 64, 64\)"),
        ("trigrid", lambda array: array[..., :32], r"trigrid has the shape \(3, 96, 64, 32\)"),
        ("trigrid", lambda array: array[:, :95], "mask has 3 slices, and the tri-grid 95 channels a plane"),
        ("trigrid", lambda array: array.astype(np.float32), "trigrid is float32 .*, not float16"),
        *((name, nan_in, f"{name} holds what is no number") for name in ("trigrid", "w", "w_plus.occluded", "camera")),
        ("w", lambda array: array[0], r"w has the shape \(8,\)"),
        ("w", lambda array: array.astype(np.float64), "w is float64 .*, not float32"),
        ("w_plus.visible", lambda array: array[1:], r"w_plus.visible is float32 of shape \(9, 8\), not .* \(10, 8\)"),
        ("w_plus.occluded", lambda array: array.T, r"w_plus.occluded is float32 of shape \(8, 10\)"),
        ("mask", lambda array: array[..., ::2], r"mask is uint8 of shape \(3, 3, 64, 32\)"),
        ("mask", lambda array: array[0, 0, 0, 0], "mask is uint8 of shape"),
        ("mask", lambda array: array.astype(np.int8), "mask is int8 .*, not uint8"),
        ("camera", lambda array: array[:7], r"camera is float32 of shape \(7,\)"),
        ("model.sha256", lambda array: array[:31], r"model.sha256 is uint8 of shape \(31,\)"),
        ("model.name", lambda _: np.frombuffer(b"\xff\xfe", np.uint8), "utf-8"),
        ("model.name", lambda _: np.frombuffer(b"/somewhere/else", np.uint8), "model.name is '/somewhere/else', which"),
        ("model.name", lambda _: np.frombuffer(b"a" * 5000, np.uint8), "model.name is 'aaa"),
        ("camera", lambda array: 0 * array, "no camera"),
        ("camera", lambda array: 2 * array, "no camera"),
    ],
)
def test_arrays_that_cannot_be_are_refused_with_a_sentence(latent, name, spoil, said):
    arrays = latent.to_arrays()
    spoiled = spoil(arrays.pop(name))
    if spoiled is not None:
        arrays[name] = spoiled
    with pytest.raises(ResultsError, match=rf"^This head's latent.safetensors .*{said}.*; make the head anew\.$"):
        Latent.from_arrays(arrays)


def test_numbers_beyond_half_precision_are_refused(balls, portrait, inverted):
    huge = replace(inverted, stitched=inverted.stitched + 1e5)
    with pytest.raises(ModelError, match=r"the model balls .*beyond 65504; .*\.$"):
        Latent.of(huge, portrait.camera, balls.BallBundle())


def test_a_latent_tells_whose_it_is(latent):
    assert is_of_model(latent.to_arrays())
    assert not is_of_model({"template.coefficients": np.zeros(3)})


def test_pictures_become_bytes_without_wrapping_where_they_overshoot():
    picture = torch.tensor([-1.5, -1.0, 0.0, 1.0, 1.5]).view(1, 1, 1, 5).expand(1, 3, 1, 5)
    assert to_uint8(picture)[0, :, 0].tolist() == [0, 0, 128, 255, 255]
