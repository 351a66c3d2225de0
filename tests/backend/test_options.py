from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from headstitch.backend.errors import OptionError
from headstitch.backend.options import Options
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
    back = {name: tuple(value) if isinstance(value, list) else value for name, value in record.items()}
    assert Options(**back) == options


def test_every_field_is_explained():
    source = __import__("inspect").getsource(Options)
    for field in dataclasses.fields(Options):
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
