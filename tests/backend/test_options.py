from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from headstitch.backend.errors import OptionError
from headstitch.backend.options import Inversion, Options
from hypothesis import given
from hypothesis import strategies as st


def test_defaults_are_valid_and_frozen():
    options = Options()
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.seed = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("field", "value", "names"),
    [
        ("resolution", 31, "--resolution"),
        ("resolution", 513, "--resolution"),
        ("resolution", 256.0, "--resolution"),
        ("resolution", "256", "--resolution"),
        ("resolution", True, "--resolution"),
        ("smoothing", -1, "--smoothing"),
        ("texture_size", 128, "--texture-size"),
        ("texture_size", 16384, "--texture-size"),
        ("faces", 499, "--faces"),
        ("faces", -1, "--faces"),
        ("faces", math.nan, "--faces"),
        ("face", 0, "--face"),
        ("face", 1.5, "--face"),
        ("seed", -1, "--seed"),
        ("seed", 2**32, "--seed"),
        ("device", "tpu", "--device"),
        ("neck", "ajar", "--neck"),
        ("angles", (0.0, 0.0), "--angles"),
        ("angles", (0.0, 0.0, math.nan), "--angles"),
        ("angles", (181.0, 0.0, 0.0), "--angles"),
        ("angles", (None, 0.0, 0.0), "--angles"),
        ("crop", (10.0, 10.0, 0.0, 0.0), "--crop"),
        ("crop", (10.0, 10.0, math.nan, 0.0), "--crop"),
        ("crop", (10.0, 10.0, math.inf, 0.0), "--crop"),
        ("crop", (10.0, 10.0, 100.0), "--crop"),
        ("angles", 5, "--angles"),
        ("angles", "123", "--angles"),
        ("angles", np.float32(5), "--angles"),
        ("angles", np.zeros((3, 3)), "--angles"),
        ("crop", 5.0, "--crop"),
        ("quality", "no", "--quality"),
    ],
)
def test_a_value_that_cannot_work_is_named_with_what_would(field, value, names):
    with pytest.raises(OptionError, match=r"[.]$") as caught:
        Options(**{field: value})
    assert str(caught.value).startswith(names + " ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("resolution", 32),
        ("resolution", 512),
        ("faces", 0),
        ("faces", 500),
        ("faces", 2_000_000),
        ("seed", 2**32 - 1),
        ("angles", (-180.0, 0, 180.0)),
        ("crop", (-5.0, 3.5, 0.5, 400.0)),
    ],
)
def test_the_ends_of_each_range_are_taken(field, value):
    assert getattr(Options(**{field: value}), field) == value


@given(
    angles=st.none() | st.tuples(*[st.floats(-180, 180)] * 3),
    seed=st.integers(0, 2**32 - 1),
    neck=st.sampled_from(["open", "closed"]),
    quality=st.booleans(),
)
def test_the_record_survives_json_and_gives_the_same_options_back(angles, seed, neck, quality):
    options = Options(angles=angles, seed=seed, neck=neck, quality=quality)
    record = options.to_dict()
    assert json.loads(json.dumps(record)) == record
    assert Options.from_dict(json.loads(json.dumps(record))) == options


@pytest.mark.parametrize("group", [Options, Inversion])
def test_every_field_is_explained(group):
    source = __import__("inspect").getsource(group)
    for field in dataclasses.fields(group):
        _, _, rest = source.partition(f"\n    {field.name}:")
        assert rest.partition("\n")[2].lstrip().startswith('"""'), field.name


def test_numpys_numbers_and_lists_are_taken_as_plain_ones():
    odd = Options(
        seed=np.int64(7),  # pyright: ignore[reportArgumentType]
        face=np.uint8(2),  # pyright: ignore[reportArgumentType]
        angles=np.float32([1.5, -2, 0]),  # pyright: ignore[reportArgumentType]
        crop=[np.int32(10), 20, 30.5, np.float64(0)],  # pyright: ignore[reportArgumentType]
        resolution=np.int16(64),  # pyright: ignore[reportArgumentType]
        quality=np.bool_(False),  # pyright: ignore[reportArgumentType]
    )
    plain = Options(seed=7, face=2, angles=(1.5, -2.0, 0.0), crop=(10.0, 20.0, 30.5, 0.0), resolution=64, quality=False)
    assert odd == plain
    assert hash(odd) == hash(plain)
    assert json.dumps(odd.to_dict()) == json.dumps(plain.to_dict())


def test_an_inversion_takes_numpys_numbers_as_plain_ones():
    odd = Inversion(mask_rays=np.int64(300), mask_whole=np.float32(0.25), mask_softness=2)  # pyright: ignore[reportArgumentType]
    plain = Inversion(mask_rays=300, mask_whole=0.25, mask_softness=2.0)
    assert odd == plain
    assert json.dumps(Options(inversion=odd).to_dict()) == json.dumps(Options(inversion=plain).to_dict())


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"mask": "cubes"}, "--inversion.mask is cubes; give slices or planes."),
        ({"mask_rays": 64}, "--inversion.mask-rays is 64; give a whole number from 256 to 1024."),
        ({"mask_depth": "both"}, "--inversion.mask-depth is both; give visible or occluded."),
        ({"mask_whole": 0.01}, "--inversion.mask-whole is 0.01; give a number from 0.05 to 1."),
        ({"mask_whole": "half"}, "--inversion.mask-whole is half; give a number from 0.05 to 1."),
        ({"mask_holes": -1}, "--inversion.mask-holes is -1; give a whole number from 0 to 65536."),
        ({"mask_growth": 1.5}, "--inversion.mask-growth is 1.5; give a whole number from 0 to 8."),
        ({"mask_softness": True}, "--inversion.mask-softness is True; give a number from 0 to 10."),
        ({"mask_closing": -1}, "--inversion.mask-closing is -1; give a whole number from 0 to 31."),
        ({"mask_softness": float("nan")}, "--inversion.mask-softness is nan; give a number from 0 to 10."),
        ({"mixed_planes": "side"}, "--inversion.mixed-planes is side; give all or front."),
        ({"appearance": "mine"}, "--inversion.appearance is mine; give visible or occluded."),
        ({"background": "red"}, "--inversion.background is red; give white, grey, black or learned."),
        ({"crop": "none"}, "--inversion.crop is none; give same or official."),
    ],
)
def test_an_inversions_choice_that_cannot_work_is_refused_with_a_sentence(value, sentence):
    with pytest.raises(OptionError) as told:
        Inversion(**value)
    assert str(told.value) == sentence


@pytest.mark.parametrize(
    "value", [{"model": ""}, {"model": None}, {"inversion": {"mask": "slices"}}, {"debug_images": 2}]
)
def test_options_of_the_wrong_kind_are_refused(value):
    with pytest.raises(OptionError):
        Options(**value)


def test_debug_images_are_a_models():
    assert Options(model="mine", debug_images=True).debug_images
    with pytest.raises(OptionError, match=r"^--debug-images .* the template inverts nothing; .*--model\.$"):
        Options(debug_images=True)
