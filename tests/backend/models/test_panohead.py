"""The PanoHead pickle: what is read of it, whatever wrote it, and what is refused."""

from __future__ import annotations

import pickle
import sys
import tracemalloc
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from headstitch.backend.errors import ModelError
from headstitch.backend.models.panohead import read_panohead


@pytest.fixture
def pickled(o, official, generator_arrays, tmp_path):
    """Writes the tiny generator's pickle, changed by ``change``, and gives its path."""

    def write(change=lambda file: None, **how):
        file = official.PanoHeadFile(o, official.params(), generator_arrays, sentinel=tmp_path / "ran", **how)
        change(file)
        path = tmp_path / "G.pkl"
        path.write_bytes(file.write())
        return path

    return write


def assert_same(panohead, arrays):
    assert set(panohead.weights) == set(arrays)
    for name, array in arrays.items():
        found = panohead.weights[name].load()
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found.numpy(), array, err_msg=name)


@pytest.mark.parametrize(
    ("how", "writer"),
    [
        ({"torch": "1.11", "numpy": 1, "protocol": 4}, "the official training"),
        ({"torch": "2", "numpy": 2, "protocol": 4}, "newer libraries"),
        ({"torch": "1.11", "numpy": 1, "protocol": 3}, "an older protocol, without frames"),
        ({"torch": "2", "numpy": 2, "protocol": 5}, "the newest protocol"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_tensor_and_the_configuration_come_out_whoever_wrote_the_file(
    how, writer, pickled, generator_arrays, seeding, tmp_path
):
    panohead = read_panohead(pickled(**how))
    assert_same(panohead, generator_arrays)
    assert panohead.config == seeding.TINY
    assert not (tmp_path / "ran").exists()


def test_a_pickle_by_pythons_own_writer_is_read(generator_arrays, official, seeding, tmp_path, monkeypatch):
    """The second source: objects of classes with the official names, through pickle.dump and torch's own reductions."""

    def module(name, **members):
        made = types.ModuleType(name)
        for key, value in members.items():
            value.__module__, value.__qualname__ = name, key
            setattr(made, key, value)
        monkeypatch.setitem(sys.modules, name, made)

    def reconstruct(meta):
        raise AssertionError("it was called")

    class Persistent(torch.nn.Module):
        kind = "SynthesisLayer"

        def __reduce__(self):
            source = "raise AssertionError('it was run')"
            meta = {
                "type": "class",
                "version": 6,
                "module_src": source,
                "class_name": self.kind,
                "state": self.__dict__,
            }
            return reconstruct, (meta,)

    class EasyDict(dict):
        pass

    class RaySampler(torch.nn.Module):
        pass

    class TriPlaneGenerator(Persistent):
        kind = "TriPlaneGenerator"

    for package in ("torch_utils", "dnnlib", "training", "training.volumetric_rendering"):
        module(package)
    module("torch_utils.persistence", _reconstruct_persistent_obj=reconstruct)
    module("dnnlib.util", EasyDict=EasyDict)
    module("training.volumetric_rendering.ray_sampler", RaySampler=RaySampler)
    params = official.params()
    root = TriPlaneGenerator()
    for tensor in params["tensors"]:
        *way, last = tensor["name"].split(".")
        node = root
        for step in way:
            if step not in node._modules:
                node.add_module(step, torch.nn.Sequential() if node is root._modules.get("decoder") else Persistent())
            node = node._modules[step]
        value = torch.from_numpy(generator_arrays[tensor["name"]])
        if tensor["kind"] == "parameter":
            node.register_parameter(last, torch.nn.Parameter(value))
        else:
            node.register_buffer(last, value)
    root._modules["decoder"]._modules["net"].add_module("1", torch.nn.Softplus())
    root.add_module("ray_sampler", RaySampler())
    root.gain = np.float64(1.4142)
    root._init_args, root._init_kwargs = (), EasyDict(params["config"])
    root.rendering_kwargs = EasyDict(params["config"]["rendering_kwargs"])
    root.neural_rendering_resolution = 64
    path = tmp_path / "G.pkl"
    with path.open("wb") as file:
        pickle.dump({"training_set_kwargs": {}, "G": None, "D": None, "G_ema": root, "augment_pipe": None}, file)
    panohead = read_panohead(path)
    assert_same(panohead, generator_arrays)
    assert panohead.config == seeding.TINY


def test_the_configuration_of_the_official_super_resolution_is_read(o, official, seeding, tmp_path):
    params = official.params("small")
    arrays = {tensor["name"]: np.zeros(tensor["shape"], np.float32) for tensor in params["tensors"]}
    path = tmp_path / "G.pkl"
    path.write_bytes(official.PanoHeadFile(o, params, arrays).write())
    assert read_panohead(path).config == seeding.SMALL


def test_settings_come_from_the_pickle(pickled, seeding):
    def change(file):
        file.rendering |= {
            "ray_start": 2.35,
            "box_warp": 1.2,
            "depth_resolution": 96,
            "c_gen_conditioning_zero": True,
            "decoder_activation": "sigmoid",
        }
        file.attributes["neural_rendering_resolution"] = 128
        file.arguments["sr_num_fp16_res"] = 0

    expected = replace(
        seeding.TINY,
        ray_start=2.35,
        box_warp=1.2,
        coarse_samples=96,
        zero_camera=True,
        decoder_activation="sigmoid",
        render_size=128,
        superresolution_clamp=None,
    )
    assert read_panohead(pickled(change)).config == expected


def test_what_training_changed_wins_over_what_the_generator_was_made_with(pickled):
    def change(file):
        file.arguments["rendering_kwargs"] = dict(file.rendering, ray_start=1.0)

    assert read_panohead(pickled(change)).config.ray_start == 2.25


def _rendering(**values):
    return lambda file: file.rendering.update(values)


def _arguments(**values):
    return lambda file: file.arguments.update(values)


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        (_rendering(clamp_mode="relu"), "has clamp_mode 'relu', where only softplus is supported"),
        (_rendering(disparity_space_sampling=True), "has disparity_space_sampling True, where only False is"),
        (_rendering(use_background=False), "has use_background False, where only True is supported"),
        (_rendering(sr_antialias=False), "has sr_antialias False, where only True is supported"),
        (_rendering(density_noise=0.5), "has density_noise 0.5, where only 0 is supported"),
        (_arguments(sr_num_fp16_res="4"), "has sr_num_fp16_res '4', which is no whole number"),
        (lambda file: file.arguments.pop("sr_num_fp16_res"), "lacks sr_num_fp16_res, which says whether its super-res"),
        (_rendering(superresolution_module="evil.Module"), "has the super-resolution 'evil.Module', and only"),
        (_rendering(superresolution_module=None), "has the super-resolution None, and only"),
        (_rendering(ray_start="auto"), "has ray_start 'auto', which is no number"),
        (_rendering(ray_end=1.0), "ray_start is 2.25, not less than ray_end, 1"),
        (_rendering(triplane_size=63), "trigrid_size is 63, not a power of two"),
        (_rendering(triplane_size=1 << 40), "trigrid_size is 1099511627776, not a number from 8 to 1024"),
        (_rendering(triplane_depth="3"), "has triplane_depth '3', which is no whole number"),
        (_rendering(decoder_activation="relu"), "decoder_activation is relu, not none, sigmoid or lrelu"),
        (_rendering(box_warp=float("nan")), "has box_warp nan, which is no number"),
        (_rendering(decoder_activation=[1]), "decoder_activation is [1], not none, sigmoid or lrelu"),
        (_rendering(c_gen_conditioning_zero=1), "zero_camera is 1, not true or false"),
        (_rendering(c_gen_conditioning_zero=[1]), "zero_camera is [1], not true or false"),
        (_rendering(c_gen_conditioning_zero={}), "zero_camera is {}, not true or false"),
        (_arguments(conv_clamp=256), "has conv_clamp 256, where only None is supported"),
        (_arguments(architecture="resnet"), "has architecture 'resnet', where only skip is supported"),
        (_arguments(img_resolution=512), "image_size is 512, but super-resolution 2X makes 128"),
        (_arguments(mapping_kwargs=[]), "has mapping_kwargs of a list, which are no settings"),
        (
            lambda file: setattr(file, "rendering", {}) or file.arguments.pop("rendering_kwargs"),
            "lacks rendering_kwargs",
        ),
        (lambda file: file.attributes.update(neural_rendering_resolution=4), "render_size is 4, not a number from 8"),
        (lambda file: file.meta.update(version=7), "keeps its modules in a way that is not known"),
        (lambda file: file.meta.update(class_name="Generator"), "holds no PanoHead generator"),
        (lambda file: file.meta.update(state=None), "keeps its modules in a way that is not known"),
    ],
)
def test_settings_that_we_cannot_honour_are_refused_by_name(change, fragment, pickled):
    path = pickled(change)
    with pytest.raises(ModelError) as error:
        read_panohead(path)
    assert str(error.value).startswith(str(path))
    assert fragment in str(error.value)


def test_settings_that_nobody_knows_are_told(pickled):
    assert read_panohead(pickled()).unknown == ()

    def change(file):
        file.rendering["cull"] = 0.5
        file.arguments |= {"use_noise": False, "mapping_kwargs": {"num_layers": 2, "lr_multiplier": 1}}

    assert read_panohead(pickled(change)).unknown == ("cull", "lr_multiplier", "use_noise")


def test_tensors_that_do_not_fit_are_all_told_with_what_was_expected(pickled, generator_arrays):
    def change(file):
        del file.arrays["torgb.bias"]
        file.arrays["evil.weight"] = np.zeros(2, np.float32)
        file.arrays["decoder.net.2.bias"] = np.zeros(34, np.float32)

    with pytest.raises(ModelError) as error:
        read_panohead(pickled(change))
    assert str(error.value).endswith(
        "has tensors that do not fit (of other shapes: decoder.net.2.bias is (34) instead of (33); "
        "missing: torgb.bias (3); unexpected: evil.weight); take the official PanoHead pickle."
    )


def test_many_tensors_that_do_not_fit_are_counted(pickled):
    with pytest.raises(ModelError, match=r"missing: backbone\..* and \d+ more"):
        read_panohead(pickled(lambda file: setattr(file, "arrays", {"torgb.bias": np.zeros(3, np.float32)})))


def test_tensors_of_other_precision_are_read(pickled, generator_arrays):
    def change(file):
        file.arrays["torgb.bias"] = generator_arrays["torgb.bias"].astype(np.float64)
        file.arrays["torgb.weight"] = generator_arrays["torgb.weight"].astype(np.float16)

    weights = read_panohead(pickled(change)).weights
    assert weights["torgb.bias"].load().dtype == torch.float64
    assert weights["torgb.weight"].load().dtype == torch.float16


def test_modules_within_modules_without_an_end_are_refused(o, official, tmp_path):
    """A module that is its own child, and one whose way down forks thirty times."""
    file = official.PanoHeadFile(o, official.params(), {})
    state: dict = {"_modules": {}}
    loop = o.Call(
        o.Global("torch_utils.persistence", "_reconstruct_persistent_obj"),
        ({"type": "class", "version": 6, "class_name": "TriPlaneGenerator", "state": state},),
    )
    forks = file.module("Leaf", {})
    for _ in range(30):
        forks = file.module("TriPlaneGenerator", {"_modules": {"a": forks, "b": forks}})
    path = tmp_path / "G.pkl"
    # G has the empty state; then its modules, which the memo still knows, get G itself.
    both = o.Writer(4)
    both.put({"G_ema": loop})
    both.recalled(id(state["_modules"]))
    both.put("itself")
    both.recalled(id(loop))
    both.emit(b"s0.")
    both.close()
    for data in (bytes(both.done), o.pickled({"G_ema": forks})):
        path.write_bytes(data)
        with pytest.raises(ModelError, match="modules within modules without an end"):
            read_panohead(path)


def test_one_dictionary_of_many_modules_takes_no_memory(o, official, tmp_path):
    file = official.PanoHeadFile(o, official.params(), {})
    shared = {f"n{number}": None for number in range(2000)}
    leaf = file.module("Leaf", {"_parameters": shared})
    many = file.module("TriPlaneGenerator", {"_modules": {f"m{number}": leaf for number in range(2000)}})
    path = tmp_path / "G.pkl"
    path.write_bytes(o.pickled({"G_ema": many}))
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="modules within modules without an end"):
            read_panohead(path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_a_module_that_is_none_is_told_by_its_place(o, official, tmp_path):
    file = official.PanoHeadFile(o, official.params(), {}, torch="2")
    path = tmp_path / "G.pkl"
    for children, fragment in (
        ({"_modules": {"a": file.module("X", {"_modules": {"b": 5}})}}, "has no module at a.b."),
        ({"_parameters": {"weight": "text"}}, "has no tensor at weight"),
        ({"_buffers": [1]}, "has a module whose _buffers are none"),
    ):
        path.write_bytes(o.pickled({"G_ema": file.module("TriPlaneGenerator", children)}))
        with pytest.raises(ModelError, match=fragment):
            read_panohead(path)
