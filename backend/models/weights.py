"""Named weights before they are a network: checked against what one expects, never all in memory. Under bundles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from ..errors import ModelError
from ..networks.config import EncoderConfig, GeneratorConfig
from ..networks.encoder import Encoder
from ..networks.generator import Generator
from ..networks.superresolution import LAYOUTS

SHOWN = 4  # names of tensors in a sentence before it says "and so many more"
COUNTER = "num_batches_tracked"  # of batch norms: unused outside of training, and often left out
# Lowest and highest of every size that a generator's configuration may have; far beyond what anyone trains.
RANGES: dict[str, tuple[float, float]] = {
    "z_dim": (1, 4096),
    "w_dim": (1, 4096),
    "mapping_layers": (1, 32),
    "channel_base": (256, 1 << 20),
    "channel_max": (1, 4096),
    "trigrid_size": (8, 1024),
    "trigrid_depth": (1, 32),
    "features": (1, 256),
    "decoder_hidden": (1, 1024),
    "image_size": (64, 2048),
    "superresolution_clamp": (1e-3, 1e6),
    "render_size": (8, 1024),
    "coarse_samples": (4, 1024),
    "fine_samples": (1, 1024),
    "ray_start": (1e-3, 1e3),
    "ray_end": (1e-3, 1e3),
    "box_warp": (1e-3, 1e3),
    "camera_scale": (-1e3, 1e3),
    "level": (-1e6, 1e6),
}


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A tensor that still lies in a file: its shape is known, its numbers come when asked for."""

    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]
    """The numbers, on the CPU; a view of the file where that is possible."""


Weights = Mapping[str, torch.Tensor | StoredTensor]
"""Tensors by their names in a state dict."""


def numbers(value: torch.Tensor | StoredTensor) -> torch.Tensor:
    """The tensor itself, without gradients."""
    return value.load() if isinstance(value, StoredTensor) else value.detach()


def expected_generator(config: GeneratorConfig) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a generator, in order.

    Raises:
        ValueError: no generator can have these sizes.
    """
    check_config(config)  # before the cache, which needs values that can be keys
    return _generator_shapes(config)


@lru_cache(maxsize=8)
def _generator_shapes(config: GeneratorConfig) -> Mapping[str, tuple[int, ...]]:
    return _shapes(lambda: Generator(config))


@lru_cache(maxsize=8)
def expected_encoder(config: EncoderConfig) -> Mapping[str, tuple[int, ...]]:
    """Names and shapes of the tensors of both stages of an encoder and of its mean w+."""
    return _shapes(lambda: Encoder(config))


def shapes_of(weights: Weights) -> dict[str, tuple[int, ...]]:
    """Names and shapes; no numbers are read."""
    return {name: tuple(value.shape) for name, value in weights.items()}


def check_shapes(
    found: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
    what: str,
    advice: str,
    *,
    counters: bool = False,
) -> None:
    """Make sure that tensors are exactly those that are expected.

    Args:
        found: names and shapes of what there is.
        expected: names and shapes of what there should be.
        what: who they are, to begin the sentence with.
        advice: what to do next, to end it.
        counters: whether those of batch norms must be there, too.

    Raises:
        ModelError: tensors are missing, unexpected or of another shape; the sentence names them.
    """
    missing = [name for name in expected if name not in found and (counters or not name.endswith(COUNTER))]
    unexpected = [name for name in found if name not in expected]
    wrong = [
        f"{shown(name)} is {_sizes(found[name])} instead of {_sizes(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    parts = []
    if wrong:
        parts.append(f"of other shapes: {listed(wrong)}")
    if missing:
        parts.append(f"missing: {listed([f'{name} {_sizes(expected[name])}' for name in missing])}")
    if unexpected:
        parts.append(f"unexpected: {listed([shown(name) for name in unexpected])}")
    if parts:
        raise ModelError(f"{what} has tensors that do not fit ({'; '.join(parts)}); {advice}")


def check_finite(name: str, value: torch.Tensor, what: str, advice: str) -> None:
    """Make sure that every number of a tensor is one.

    Raises:
        ModelError: it holds NaN or infinity.
    """
    if not value.is_floating_point() or value.numel() == 0:
        return
    # One pass without a second array, which would tear holes into the heap; a sum that overflows is looked at closely.
    if not torch.isfinite(value.sum()) and not bool(torch.isfinite(value).all()):
        raise ModelError(f"{what} holds numbers that are none (NaN or infinity) in {shown(name)}; {advice}")


def shown(text: object) -> str:
    """A name out of a file as it may stand in a sentence: printable and not long."""
    plain = "".join(character if character.isprintable() else "?" for character in str(text)[:200])
    return plain if len(plain) <= 80 else f"{plain[:77]}..."


def listed(names: Iterable[str]) -> str:
    """``a, b, c, d and 12 more``."""
    names = list(names)
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _sizes(shape: Iterable[int]) -> str:
    return "(" + ", ".join(map(str, shape)) + ")"


def _shapes(build: Callable[[], nn.Module]) -> Mapping[str, tuple[int, ...]]:
    with torch.device("meta"):
        return MappingProxyType(shapes_of(build().state_dict()))


def check_config(config: GeneratorConfig) -> None:
    """Make sure that a generator can be built.

    Raises:
        ValueError: a value has another type than its default, or cannot be.
    """
    for field in fields(GeneratorConfig):
        value: Any = getattr(config, field.name)
        if field.name in RANGES:
            low, high = RANGES[field.name]
            whole = type(field.default) is int
            if field.name == "superresolution_clamp" and value is None:
                continue
            fits = type(value) is int if whole else type(value) in (int, float)
            if not fits or not low <= value <= high:
                raise ValueError(f"{field.name} is {shown(value)}, not a number from {low:g} to {high:g}")
        elif field.name == "superresolution":
            if type(value) is not str or value not in LAYOUTS:
                raise ValueError(f"{field.name} is {shown(value)}, not one of {', '.join(LAYOUTS)}")
        elif field.name == "decoder_activation":
            if value not in ("none", "sigmoid", "lrelu"):
                raise ValueError(f"{field.name} is {shown(value)}, not none, sigmoid or lrelu")
        elif type(value) is not bool:
            raise ValueError(f"{field.name} is {shown(value)}, not true or false")
    if config.trigrid_size & (config.trigrid_size - 1):
        raise ValueError(f"trigrid_size is {config.trigrid_size}, not a power of two")
    if config.ray_start >= config.ray_end:
        raise ValueError(f"ray_start is {config.ray_start:g}, not less than ray_end, {config.ray_end:g}")
    layout = LAYOUTS[config.superresolution]
    if config.image_size != layout.output_size:
        raise ValueError(
            f"image_size is {config.image_size}, but super-resolution {config.superresolution} makes "
            f"{layout.output_size}"
        )
    if min(config.channels(config.trigrid_size), config.channels(layout.input_size, config.channel_base // 2)) < 1:
        raise ValueError(f"channel_base is {config.channel_base}, which leaves a layer without channels")
