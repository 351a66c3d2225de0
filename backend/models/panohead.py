"""The official PanoHead pickle: its generator's tensors and configuration, without running what the file carries along.

Every module in such a file comes with the source text of its class, for the official loader to execute. Here that text
is skipped unread, and a module is its class's name and its attributes. Stands under ``importer``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..networks.config import GeneratorConfig
from ..networks.superresolution import LAYOUTS
from .pickles import Budget, Dict, Inert, Reader, RefusalError, Symbol, Symbols, counted
from .torchfile import STORAGES, TENSORS, Storage, instances, read_legacy, reading, told_of
from .weights import StoredTensor, Weights, check_shapes, expected_generator, shapes_of, shown

GENERATOR = "TriPlaneGenerator"
PERSISTENCE = 6  # version of the layout in which modules are kept
MOST_MODULES = 5000
MOST_ENTRIES = 50_000  # in all modules, each as often as it is reached; the official one has some hundreds
DEEPEST = 40
EXTRA = {"dataset_label_std": (25,)}  # what training leaves in the file beyond the network
ADVICE = "take the official PanoHead pickle."

# Settings of the renderer that change what is computed in ways that no published model uses, with the only value known.
FIXED = {
    "clamp_mode": "softplus",
    "disparity_space_sampling": False,
    "use_torgb_raw": True,
    "use_background": True,
    "decoder_lr_mul": 1,
    "superresolution_noise_mode": "none",
    "sr_antialias": True,
    "density_noise": 0,
    "white_back": False,
}
# Arguments of the generator, likewise.
FIXED_ARGUMENTS = {"conv_clamp": None, "architecture": "skip"}
# What is read, or of no account: for training, for scripts, for half precision, or seen in the tensors' shapes.
KNOWN = {
    "rendering_kwargs": (
        *FIXED,
        *("triplane_size", "triplane_depth", "decoder_activation", "superresolution_module", "depth_resolution"),
        *("depth_resolution_importance", "ray_start", "ray_end", "box_warp", "c_gen_conditioning_zero", "c_scale"),
        *("image_resolution", "gpc_reg_prob", "density_reg", "density_reg_p_dist", "reg_type", "trans_reg"),
        *("avg_camera_radius", "avg_camera_pivot"),
    ),
    "mapping_kwargs": ("num_layers",),
    "_init_kwargs": (
        *FIXED_ARGUMENTS,
        *("z_dim", "w_dim", "c_dim", "img_resolution", "img_channels", "channel_base", "channel_max"),
        *("mapping_kwargs", "rendering_kwargs", "sr_num_fp16_res", "num_fp16_res", "sr_kwargs"),
        "fused_modconv_default",
    ),
}


@dataclass(frozen=True, eq=False)
class PanoHead:
    """What the importer takes from the pickle."""

    config: GeneratorConfig
    weights: Weights  # those of a Generator(config), exactly
    unknown: tuple[str, ...]  # settings that nothing here reads


def read_panohead(path: Path) -> PanoHead:
    """The generator (the averaged one, ``G_ema``) of an official pickle.

    Raises:
        ModelError: the file is not there, damaged, no such pickle, names something beyond the list, or has tensors or
            settings that our generator has not.
    """
    with reading(path) as data:
        if data[:1] != b"\x80":
            raise RefusalError("is no pickle of PanoHead, which --generator takes")
        budget = Budget()
        reader = Reader(data, _symbols(budget), budget)
        top = reader.read()
        if reader.position != len(data):
            raise RefusalError("goes on after its end")
        generator = top.get("G_ema") if isinstance(top, dict) else None
        if not isinstance(generator, Inert) or generator.name != GENERATOR:
            raise RefusalError(f"holds no PanoHead generator (a {GENERATOR} under G_ema)")
        found = _tensors(generator)
        config, unknown = _config(generator.state, found)
    try:
        expected = expected_generator(config)
    except ValueError as error:
        raise ModelError(f"{path} has settings that no generator can have ({error}); {ADVICE}") from error
    for name, shape in EXTRA.items():
        if name in found and found[name].shape == shape:
            del found[name]
    check_shapes(shapes_of(found), expected, str(path), ADVICE)
    return PanoHead(config, {name: told_of(path, tensor) for name, tensor in found.items()}, unknown)


# --- what the pickle may name ----------------------------------------------------------------------------------------


def _symbols(budget: Budget) -> Symbols:
    """The complete list of what such a file names (spec of the checkpoint's format); anything else is refused."""

    def storage(args: tuple[Any, ...]) -> Storage:
        (data,) = counted(args, 1, "torch.storage._load_from_bytes")
        if not isinstance(data, memoryview):
            raise RefusalError("holds numbers that are none")
        value = read_legacy(data, STORAGES, budget)
        if not isinstance(value, Storage):
            raise RefusalError("holds numbers that are none")
        return value

    persistence = ("torch_utils.persistence", "_reconstruct_persistent_obj")
    load = ("torch.storage", "_load_from_bytes")
    easy = ("dnnlib.util", "EasyDict")
    return {
        **TENSORS,
        persistence: Symbol(".".join(persistence), call=_module),
        load: Symbol(".".join(load), call=storage),
        easy: Symbol(".".join(easy), new=lambda args: Dict()),
        **dict(
            [
                instances("training.volumetric_rendering.ray_sampler", "RaySampler"),
                instances("torch.nn.modules.container", "Sequential"),
                instances("torch.nn.modules.activation", "Softplus"),
            ]
        ),
    }


def _module(args: tuple[Any, ...]) -> Inert:
    """A module by its class's name and its attributes. Its source text is dropped."""
    (meta,) = counted(args, 1, "torch_utils.persistence._reconstruct_persistent_obj")
    if not isinstance(meta, dict) or meta.get("type") != "class" or meta.get("version") != PERSISTENCE:
        raise RefusalError("keeps its modules in a way that is not known")
    name, state = meta.get("class_name"), meta.get("state")
    if not isinstance(name, str) or not isinstance(state, dict):
        raise RefusalError("keeps its modules in a way that is not known")
    return Inert(name, state)


# --- the generator ---------------------------------------------------------------------------------------------------


def _tensors(generator: Inert) -> dict[str, StoredTensor]:
    """All parameters and buffers, by the way to them."""
    found: dict[str, StoredTensor] = {}
    left, entries_left = MOST_MODULES, MOST_ENTRIES

    def children(state: Mapping[Any, Any], kind: str) -> Iterator[tuple[str, Any]]:
        nonlocal entries_left
        entries = state.get(kind, {})
        if not isinstance(entries, dict):
            raise RefusalError(f"has a module whose {kind} are none")
        entries_left -= len(entries)  # before they are looked at: one dictionary may be many modules'
        if entries_left < 0:
            raise RefusalError("has modules within modules without an end")
        for name, value in entries.items():
            if type(name) is not str:
                raise RefusalError(f"has a module whose {kind} are none")
            if value is not None:
                yield name, value

    def visit(module: Any, prefix: str, depth: int) -> None:
        nonlocal left
        left -= 1
        if depth > DEEPEST or left < 0:
            raise RefusalError("has modules within modules without an end")
        state = module.state if isinstance(module, Inert) else None
        if not isinstance(state, dict):
            raise RefusalError(f"has no module at {shown(prefix or 'G_ema')}")
        for kind in ("_parameters", "_buffers"):
            for name, value in children(state, kind):
                if not isinstance(value, StoredTensor):
                    raise RefusalError(f"has no tensor at {shown(prefix + name)}")
                found[prefix + name] = value
        for name, value in children(state, "_modules"):
            visit(value, f"{prefix}{name}.", depth + 1)

    visit(generator, "", 0)
    return found


def _config(state: Mapping[str, Any], tensors: Mapping[str, StoredTensor]) -> tuple[GeneratorConfig, tuple[str, ...]]:
    """The configuration, from the arguments that the generator was made with and what training changed since.

    The second are the settings that are not known.

    Values are checked by ``expected_generator``; here only what they mean.
    """
    made = _dict(state, "_init_kwargs")
    rendering = _dict(state, "rendering_kwargs") or _dict(made, "rendering_kwargs")
    if not rendering:
        raise RefusalError("lacks rendering_kwargs, the settings of its renderer")
    for values, fixed in ((rendering, FIXED), (made, FIXED_ARGUMENTS)):
        for key, value in fixed.items():
            if key in values and values[key] != value:
                raise RefusalError(f"has {key} {_value(values[key])}, where only {value} is supported")
    if "sr_num_fp16_res" not in made:
        raise RefusalError("lacks sr_num_fp16_res, which says whether its super-resolution is clamped")
    default = GeneratorConfig()
    mapping = _dict(made, "mapping_kwargs")
    groups = {"rendering_kwargs": rendering, "mapping_kwargs": mapping, "_init_kwargs": made}
    unknown = tuple(shown(key) for name, values in groups.items() for key in values if key not in KNOWN[name])
    layout = rendering.get("superresolution_module")
    variant = str(layout).rpartition(".SuperresolutionHybrid")[2] if isinstance(layout, str) else ""
    if variant not in LAYOUTS:
        raise RefusalError(
            f"has the super-resolution {_value(layout)}, and only SuperresolutionHybrid {', '.join(LAYOUTS)} are known"
        )
    decoder = tensors.get("decoder.net.0.weight")
    hidden, features = decoder.shape if decoder is not None and len(decoder.shape) == 2 else (64, 32)
    config = GeneratorConfig(
        z_dim=_whole(made, "z_dim", default.z_dim),
        w_dim=_whole(made, "w_dim", default.w_dim),
        mapping_layers=_whole(mapping, "num_layers", default.mapping_layers),
        channel_base=_whole(made, "channel_base", default.channel_base),
        channel_max=_whole(made, "channel_max", default.channel_max),
        trigrid_size=_whole(rendering, "triplane_size", default.trigrid_size),
        trigrid_depth=_whole(rendering, "triplane_depth", default.trigrid_depth),
        features=features,
        decoder_hidden=hidden,
        decoder_activation=rendering.get("decoder_activation", default.decoder_activation),
        image_size=_whole(made, "img_resolution", default.image_size),
        superresolution=variant,  # pyright: ignore[reportArgumentType]
        superresolution_clamp=default.superresolution_clamp if _whole(made, "sr_num_fp16_res", 0) > 0 else None,
        render_size=_whole(state, "neural_rendering_resolution", default.render_size),
        coarse_samples=_whole(rendering, "depth_resolution", default.coarse_samples),
        fine_samples=_whole(rendering, "depth_resolution_importance", default.fine_samples),
        ray_start=_real(rendering, "ray_start", default.ray_start),
        ray_end=_real(rendering, "ray_end", default.ray_end),
        box_warp=_real(rendering, "box_warp", default.box_warp),
        zero_camera=rendering.get("c_gen_conditioning_zero", default.zero_camera),
        camera_scale=_real(rendering, "c_scale", default.camera_scale),
        level=default.level,
    )
    return config, unknown


def _dict(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key, {})
    if not isinstance(found, dict):
        raise RefusalError(f"has {key} of {_value(found)}, which are no settings")
    return found


def _whole(values: Mapping[str, Any], key: str, default: int) -> int:
    value = values.get(key, default)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise RefusalError(f"has {key} {_value(value)}, which is no whole number")
    return value


def _real(values: Mapping[str, Any], key: str, default: float) -> float:
    value = values.get(key, default)
    if type(value) not in (int, float) or not abs(value) < 1e9 or math.isnan(value):
        raise RefusalError(f"has {key} {_value(value)}, which is no number")
    return float(value)


def _value(value: Any) -> str:
    """A setting as it may stand in a sentence; what is no plain value is named by its kind alone."""
    return (
        shown(repr(value)) if value is None or type(value) in (bool, int, float, str) else f"a {type(value).__name__}"
    )
