"""The encoders' files: every layout, found by names and shapes; and what does not fit."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from headstitch.backend.errors import ModelError
from headstitch.backend.models.encoders import build_config, read_mean, read_stages, read_tensors, shape_mean, state_of
from headstitch.backend.models.weights import StoredTensor
from headstitch.backend.networks.config import OFFICIAL, OFFICIAL_ENCODER
from headstitch.backend.networks.encoder import Encoder
from safetensors.numpy import save_file

DATA = Path(__file__).parents[2] / "data"

# Of the dictionary of tensors and the file that they are written to, what is written.
LAYOUTS = {
    "bare": lambda tensors, file: tensors,
    "under state_dict": lambda tensors, file: {"state_dict": tensors},
    "under model": lambda tensors, file: {"model": tensors, "epoch": 3},
    "under net": lambda tensors, file: {"net": tensors},
    "under params": lambda tensors, file: {"params": tensors},
    "under ema": lambda tensors, file: {"ema": tensors},
    "TriPlaneNet's": lambda tensors, file: {
        "state_dict": tensors,
        "opts": {"exp_dir": "x", "seed": None, "lambdas": [0.8, 1.0], "device": "cuda:0"},
        "best_val_loss": 0.25,
        "step": 500000,
        "triplane_optimizer": {
            "state": {0: {"exp_avg": file.tensor(np.ones((2, 3), np.float32)), "step": 5}, 140234: {}},
            "param_groups": [{"lr": 1e-4, "betas": (0.95, 0.999), "params": [0, 1]}],
        },
        "dis_state_dict": {"0.weight": file.tensor(np.ones(3, np.float32))},
    },
}
PREFIXES = {
    "TriPlaneNet's": ("psp_encoder.", "triplanenet_encoder."),
    "with module": ("module.psp_encoder.", "module.triplane_encoder."),
    "others": ("encoder.", "f_encoder."),
    "more": ("w_encoder.", "triplanenet_encoder."),
    "short": ("e_w.", "f."),
    "W+ bare": ("", "triplanenet_encoder."),
    "F bare": ("e_w.", ""),
}


@pytest.fixture
def check(tiny_encoder, seeding, visible_arrays):
    """Read files and hold that both stages came out whole."""

    def read(*paths: Path):
        stages = read_stages(paths, "visible")
        assert build_config(stages, seeding.TINY, "visible") == tiny_encoder
        state = state_of(stages, torch.zeros(tiny_encoder.num_ws, 512))
        for name, array in visible_arrays.items():
            np.testing.assert_array_equal(state[name].load().numpy(), array, err_msg=name)
        assert set(state) - {"latent_avg"} == set(visible_arrays)
        return stages

    return read


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "legacy"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read(layout, legacy, check, checkpoint, visible_arrays, under):
    tensors = under(visible_arrays, "psp_encoder.", "triplanenet_encoder.")
    check(checkpoint("V.pt", tensors, legacy=legacy, around=LAYOUTS[layout]))


@pytest.mark.parametrize("prefixes", PREFIXES)
def test_every_prefix_is_found(prefixes, check, checkpoint, visible_arrays, under):
    check(checkpoint("V.pt", under(visible_arrays, *PREFIXES[prefixes])))


@pytest.mark.parametrize("w_plus", ["", "encoder."])
@pytest.mark.parametrize("trigrid", ["", "module.triplanenet_encoder."])
def test_the_stages_may_lie_in_two_files_in_either_order(w_plus, trigrid, check, checkpoint, visible_arrays, under):
    first = checkpoint("W.pt", under(visible_arrays, w_plus, None))
    second = checkpoint("F.pt", under(visible_arrays, None, trigrid), legacy=True)
    check(first, second)
    check(second, first)


def test_each_stage_may_have_a_dictionary_of_its_own(check, checkpoint, visible_arrays, under):
    def nested(_, file):
        parts = {"w": under(visible_arrays, "", None), "f": under(visible_arrays, None, "")}
        return {key: {name: file.tensor(array) for name, array in arrays.items()} for key, arrays in parts.items()}

    check(checkpoint("V.pt", {}, around=nested))


def test_other_networks_in_the_file_are_passed_over(check, checkpoint, visible_arrays, under):
    extra = {
        "decoder.backbone.mapping.fc0.weight": np.ones(3, np.float32),
        "generator.x": np.ones(3, np.float32),
        "G.y": np.ones(3, np.float32),
        "discriminator.0.weight": np.ones(3, np.float32),
        "id_loss.facenet.input_layer.0.weight": np.ones((8, 3, 3, 3), np.float32),
        "id_loss.facenet.body.0.weight": np.ones(3, np.float32),
    }
    check(checkpoint("V.pt", under(visible_arrays, "psp_encoder.", "triplanenet_encoder.") | extra))
    check(
        checkpoint("W.pt", under(visible_arrays, "", None) | extra),
        checkpoint("F.pt", under(visible_arrays, None, "") | extra),
    )


def test_counters_of_batch_norms_may_be_missing(tiny_encoder, seeding, checkpoint, visible_arrays, under):
    tensors = under(visible_arrays, "encoder.", "f_encoder.")
    lean = {name: array for name, array in tensors.items() if not name.endswith("num_batches_tracked")}
    assert len(lean) < len(tensors)
    stages = read_stages([checkpoint("V.pt", lean)], "visible")
    assert build_config(stages, seeding.TINY, "visible") == tiny_encoder


def test_safetensors_are_read(check, visible_arrays, under, tmp_path):
    path = tmp_path / "V.safetensors"
    save_file(under(visible_arrays, "psp_encoder.", "triplanenet_encoder."), path)
    check(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "legacy"])
def test_files_that_torch_itself_saved_are_read(legacy, check, tiny_encoder, visible_arrays, under, tmp_path):
    """The second source: a real network, real optimiser, real options."""
    network = Encoder(tiny_encoder)
    network.load_state_dict(
        {name: torch.from_numpy(array) for name, array in visible_arrays.items()} | {"latent_avg": torch.zeros(10, 512)}
    )
    optimizer = torch.optim.Adam(network.parameters())
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state = network.state_dict()
    optimizer.step()
    for name, array in visible_arrays.items():  # as they were before the step
        state[name].copy_(torch.from_numpy(array))
    names = under(
        {name: np.array(name) for name in visible_arrays}, "module.psp_encoder.", "module.triplanenet_encoder."
    )
    saved = {
        "state_dict": {
            name: torch.nn.Parameter(state[str(full)]) if state[str(full)].ndim else state[str(full)]
            for name, full in names.items()
        },
        "opts": argparse.Namespace(lr=0.1, device=torch.device("cpu"), size=torch.Size([2, 3])),
        "best_val_loss": np.float64(0.5),
        "optimizer": optimizer.state_dict(),
    }
    path = tmp_path / "V.pt"
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    check(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["archive", "legacy"])
def test_kinds_of_numbers_and_views_of_them(legacy, o, tmp_path):
    numbers = np.arange(24, dtype=np.float32)
    file = o.TorchFile(legacy=legacy)
    shared = file.storage(numbers)
    half = torch.arange(6, dtype=torch.bfloat16)
    tensors = {
        "whole": file.view(shared, (2, 3, 4)),
        "turned": file.view(shared, (4, 6), (1, 4)),
        "part": file.view(shared, (2, 2), (8, 2), 5),
        "scalar": file.view(shared, (), offset=23),
        "repeated": file.view(shared, (3, 4), (0, 1)),
        "none": file.view(shared, (0, 4)),
        "float64": file.tensor(np.array([1e-300, 2.0])),
        "float16": file.tensor(np.array([0.5, 65504.0], np.float16)),
        "bfloat16": file.tensor(half.view(torch.int16).numpy(), "BFloat16Storage"),
        "int64": file.tensor(np.array([-(1 << 62), 3])),
        "bytes": file.tensor(np.array([1, 255], np.uint8), "UntypedStorage"),
        "parameter": o.Call(o.PARAMETER, (file.view(shared, (2,)), True, o.Call(o.ORDERED, ()))),
        "stateful": o.Call(
            o.Global("torch._utils", "_rebuild_parameter_with_state"), (file.view(shared, (2,)), True, None, {})
        ),
    }
    path = tmp_path / "kinds.pt"
    path.write_bytes(file.write(tensors))
    found = {name: tensor.load() for name, tensor in read_tensors(path).items()}
    assert all(found[name].shape == tensor.shape for name, tensor in read_tensors(path).items())
    np.testing.assert_array_equal(found["whole"], numbers.reshape(2, 3, 4))
    np.testing.assert_array_equal(found["turned"], numbers.reshape(6, 4).T)
    np.testing.assert_array_equal(found["part"], [[5, 7], [13, 15]])
    assert found["scalar"].item() == 23
    np.testing.assert_array_equal(found["repeated"], [numbers[:4]] * 3)
    assert found["none"].shape == (0, 4)
    assert found["float64"].tolist() == [1e-300, 2.0]
    assert found["float16"].tolist() == [0.5, 65504.0]
    assert torch.equal(found["bfloat16"], half)
    assert found["int64"].tolist() == [-(1 << 62), 3]
    assert found["bytes"].tolist() == [1, 255]
    assert found["parameter"].tolist() == found["stateful"].tolist() == [0, 1]


# --- what they are of ------------------------------------------------------------------------------------------------


def published(which: str) -> dict[str, StoredTensor]:
    """The names and shapes of a published network, without numbers."""
    tensors = json.loads((DATA / "encoder_params.json").read_text())[which]["tensors"]
    return {name: StoredTensor(tuple(shape), lambda: torch.empty(0)) for name, shape in tensors}


def stages_of(w_plus, trigrid):
    from headstitch.backend.models.encoders import Stages

    return Stages(w_plus, trigrid, None, ())


@pytest.mark.parametrize("variant", ["upsample", "pixelshuffle"])
def test_published_shapes_give_the_published_configuration(variant):
    w_plus = published("GradualStyleEncoder_50_ir_se_14")
    narrow = published(f"TriPlane_Encoder_v2_{variant}_96")
    head = published(f"ADAPTED_TriPlane_Encoder_v2_{variant}_288_DESIGN_CHOICE")
    assert set(head) <= set(narrow)
    wide = {**narrow, **head}
    expected = replace(OFFICIAL_ENCODER, variant=variant)
    assert build_config(stages_of(w_plus, wide), OFFICIAL, "visible") == expected
    slim = {
        **wide,
        "final_head_two.0.weight": StoredTensor((96, wide["final_head_two.0.weight"].shape[1], 3, 3), torch.empty),
        "final_head_two.2.weight": StoredTensor((96, 96, 3, 3), torch.empty),
        "final_head_two.4.weight": StoredTensor((288, 96, 1, 1), torch.empty),
        **{
            f"final_head_two.{name}": StoredTensor((96,), torch.empty)
            for name in ("0.bias", "1.weight", "2.bias", "3.weight")
        },
    }
    assert build_config(stages_of(w_plus, slim), OFFICIAL, "visible") == replace(expected, hidden=96)
    with pytest.raises(ModelError) as error:
        build_config(stages_of(w_plus, narrow), OFFICIAL, "visible")
    assert "channels of the planes 96 instead of 288" in str(error.value)


@pytest.fixture
def changed(checkpoint, visible_arrays, under, seeding):
    """The sentence of an encoder whose arrays ``change`` changed."""

    def sentence(change) -> str:
        arrays = dict(visible_arrays)
        change(arrays)
        path = checkpoint("V.pt", under(arrays, "psp_encoder.", "triplanenet_encoder."))
        with pytest.raises(ModelError) as error:
            build_config(read_stages([path], "occluded"), seeding.TINY, "occluded")
        assert "\n" not in str(error.value)
        return str(error.value)

    return sentence


def _set(name, shape):
    return lambda arrays: arrays.update({name: np.zeros(shape, np.float32)})


def _remove(*names):
    return lambda arrays: [arrays.pop(name) for name in names]


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (
            _set("trigrid.input_layer.0.weight", (8, 6, 3, 3)),
            "encoder's F stage takes 6 channels of pictures (input_layer.0.weight is (8, 6, 3, 3)) and not 9",
        ),
        (_set("trigrid.input_layer.0.weight", (8, 12, 3, 3)), "input_layer.0.weight is (8, 12, 3, 3)"),
        (
            _set("w_plus.latlayer1.weight", (7, 24, 1, 1)),
            "of other shapes: w_plus.latlayer1.weight is (7, 24, 1, 1) instead of (32, 24, 1, 1)",
        ),
        (
            _remove("w_plus.latlayer1.bias", "trigrid.up1.conv.double_conv.1.bias"),
            "missing: w_plus.latlayer1.bias (32), trigrid.up1",
        ),
        (_set("w_plus.latlayer9.weight", (3,)), "unexpected: w_plus.latlayer9.weight"),
        (_set("trigrid.body.1.res_layer.1.weight", (9, 9, 3, 3)), "trigrid.body.1.res_layer.1.weight is (9, 9, 3, 3)"),
        (_set("w_plus.body.1.res_layer.1.weight", (8, 8, 3, 3)), "trunk has 3 widths in 6 blocks, and not 4"),
        (_remove("w_plus.body.1.res_layer.1.weight"), "tensor body.1.res_layer.1.weight is missing"),
        (_set("w_plus.styles.0.linear.weight", (512,)), "styles.0.linear.weight is (512,), and not of 2 axes"),
        (
            _set("trigrid.final_head_two.4.weight", (96, 8, 1, 1)),
            "trigrid.final_head_two.4.bias is (288) instead of (96)",
        ),
        (_set("trigrid.final_head_two.4.weight", (100_000, 8, 1, 1)), "layers of more channels than any model"),
        (_set("trigrid.final_head_two.4.weight", (289, 8, 1, 1)), "plane_channels is 289; it must be a multiple of 3"),
    ],
)
def test_an_encoder_that_does_not_fit_itself_says_which_tensors(change, fragment, changed):
    assert fragment in changed(change)


def test_an_encoder_for_another_generator_is_refused(checkpoint, arrays_of, under, tiny_encoder, seeding):
    flat = arrays_of(replace(tiny_encoder, plane_channels=96))
    stages = read_stages([checkpoint("V.pt", under(flat, "a.", "b."))], "visible")
    with pytest.raises(ModelError, match="does not fit the generator: channels of the planes 96 instead of 288"):
        build_config(stages, seeding.TINY, "visible")
    with pytest.raises(ModelError, match=r"rows of w\+ 10 instead of 14.*cells along a plane 64 instead of 256"):
        build_config(stages, OFFICIAL, "visible")


def test_planes_of_half_the_pictures_size_are_understood(checkpoint, arrays_of, under, tiny_encoder, seeding):
    half = replace(tiny_encoder, image_size=128)
    stages = read_stages([checkpoint("V.pt", under(arrays_of(half), "a.", "b."))], "visible")
    assert build_config(stages, seeding.TINY, "visible") == half


def test_a_missing_stage_says_what_there_is(checkpoint, visible_arrays, under):
    path = checkpoint("W.pt", under(visible_arrays, "psp_encoder.", None))
    with pytest.raises(ModelError) as error:
        read_stages([path], "visible")
    assert f"The visible encoder's F stage is not in {path} (it would have input_layer.0.weight" in str(error.value)
    assert "final_head_two.4.weight under one prefix; there are psp_encoder.input_layer.0.weight (8, 3, 3, 3), " in str(
        error.value
    )


def test_a_stage_that_is_there_twice_is_refused(checkpoint, visible_arrays, under):
    both = checkpoint("V.pt", under(visible_arrays, "a.", "b."))
    with pytest.raises(ModelError, match=r"W\+ stage is there twice, in .*V.pt, under a and .*V.pt, under a; give"):
        read_stages([both, both], "visible")
    twins = checkpoint("T.pt", under(visible_arrays, "a.", "b.") | under(visible_arrays, "c.", None))
    with pytest.raises(ModelError, match=r"holds more than one W\+ stage, under a\., c\.; give"):
        read_stages([twins], "visible")


def test_of_weights_and_their_average_the_weights_are_taken(checkpoint, visible_arrays, under, o):
    def around(tensors, file):
        average = {name: file.tensor(array * 0) for name, array in under(visible_arrays, "a.", "b.").items()}
        return {"ema": average, "state_dict": tensors}

    stages = read_stages([checkpoint("V.pt", under(visible_arrays, "a.", "b."), around=around)], "visible")
    np.testing.assert_array_equal(stages.w_plus["latlayer1.weight"].load(), visible_arrays["w_plus.latlayer1.weight"])


# --- the mean --------------------------------------------------------------------------------------------------------

MEAN = np.linspace(-1, 1, 512, dtype=np.float32)


@pytest.mark.parametrize("shape", [(512,), (1, 512), (10, 512), (1, 10, 512)], ids=str)
@pytest.mark.parametrize("kind", ["npy", "npz", "pt", "safetensors", "key"])
def test_a_mean_of_any_shape_in_any_file(shape, kind, o, tiny_encoder, tmp_path):
    mean = np.broadcast_to(MEAN, shape).copy()
    path = tmp_path / f"mean.{kind}"
    if kind == "npy":
        np.save(path, mean.astype(np.float64))
    elif kind == "npz":
        np.savez_compressed(path, latent_avg=mean, other=np.zeros(2))
    elif kind == "safetensors":
        save_file({"latent_avg": mean}, path)
    else:
        file = o.TorchFile()
        tensor = file.tensor(mean)
        path.write_bytes(file.write(tensor if kind == "pt" else {"state_dict": {}, "latent_avg": tensor}))
    found = shape_mean(read_mean(path), tiny_encoder, "x")
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found, np.broadcast_to(MEAN, (10, 512)))


@pytest.mark.parametrize("shape", [(14, 512), (256,), (512, 1), (2, 10, 512), ()], ids=str)
def test_a_mean_of_another_shape_is_refused(shape, tiny_encoder):
    with pytest.raises(ModelError, match=r"needs \(512\) or \(10, 512\)"):
        shape_mean(torch.zeros(shape), tiny_encoder, "mean.npy")


def test_a_mean_with_nan_is_refused(tiny_encoder):
    with pytest.raises(ModelError, match=r"mean\.npy holds numbers that are none"):
        shape_mean(torch.full((512,), float("nan")), tiny_encoder, "mean.npy")


def _npy(array, **how) -> bytes:
    import io

    file = io.BytesIO()
    np.save(file, array, **how)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("a.npy", _npy(np.array([{}], object), allow_pickle=True), "is no array of numbers"),
        ("a.npy", _npy(np.array(["x"])), "is no array of numbers"),
        ("a.npy", _npy(np.zeros(512))[:300], "is no array of numbers"),
        ("a.npy", _npy(np.zeros(5)).replace(b"(5,)", b"(10000000000,)"), "is no array of numbers"),
        ("a.npz", b"PK\x03\x04 and more", "is a damaged archive"),
        ("a.npy", b"", "is empty"),
        ("a.txt", b"0.5 0.5", "is neither a file of torch.save nor safetensors"),
    ],
    ids=["objects", "texts", "cut", "huge", "npz", "empty", "text"],
)
def test_a_file_that_holds_no_mean_is_refused(name, content, fragment, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError) as error:
        read_mean(path)
    assert fragment in str(error.value)


def test_a_checkpoint_without_a_mean_says_so(checkpoint):
    path = checkpoint("x.pt", {"a": MEAN, "b": MEAN})
    with pytest.raises(ModelError, match=r"x\.pt holds no latent_avg; give the file of the mean"):
        read_mean(path)


def test_a_file_that_is_not_there_says_so(tmp_path):
    for read in (read_mean, read_tensors):
        with pytest.raises(ModelError, match=r"nowhere\.pt is not there; check the path"):
            read(tmp_path / "nowhere.pt")
        with pytest.raises(ModelError, match="is a folder; give a file"):
            read(tmp_path)
