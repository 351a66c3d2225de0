"""Name-seeded weights: a tensor's name gives its values, so that large reference models need no file.

The rule is the reference's (tests/data/README.md, ``panohead_*.npz``); not the one of the encoders' reference.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from headstitch.backend.networks.config import OFFICIAL, GeneratorConfig
from headstitch.backend.networks.generator import Generator
from headstitch.kernels.resample import filter_4x4

SMALL = GeneratorConfig(channel_base=2048, channel_max=64, trigrid_size=64)
TINY = GeneratorConfig(channel_base=2048, channel_max=64, trigrid_size=64, image_size=128, superresolution="2X")
CONFIGS = {"fullsize": OFFICIAL, "small": SMALL, "tiny": TINY}


def seeded(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The values of the generator's tensor ``name``."""
    last = name.rpartition(".")[2]
    if last == "resample_filter":
        return filter_4x4()
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    n = np.random.default_rng(seed).standard_normal(size=shape, dtype=np.float32)
    n = torch.from_numpy(np.asarray(n, np.float32))
    if name.startswith("backbone.mapping.fc"):
        return n * (100 if last == "weight" else 10)
    if name.startswith("t_mapping.fc1."):
        return n * np.float32(0.05)
    if last == "weight":
        return n
    if name.endswith("affine.bias"):
        return 1 + n * np.float32(0.1)
    if last in ("bias", "noise_strength", "w_avg"):
        return n * np.float32(0.1)
    if last in ("const", "noise_const"):
        return n
    raise ValueError(f"no rule for {name}")


def generator_state(config: GeneratorConfig, *, sharp: bool = False) -> dict[str, torch.Tensor]:
    """The state dict of a whole generator; ``sharp`` stretches its densities so that surfaces are opaque."""
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in Generator(config).state_dict().items()}
    state = {name: seeded(name, shape) for name, shape in shapes.items()}
    return sharpened(state) if sharp else state


def sharpened(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state with the decoder's density row times 40 and its bias b as 40 * (b - 1)."""
    state = dict(state)
    weight, bias = (state[f"decoder.net.2.{part}"].clone() for part in ("weight", "bias"))
    weight[0] *= 40
    bias[0] = 40 * (bias[0] - 1)
    return state | {"decoder.net.2.weight": weight, "decoder.net.2.bias": bias}


def generator(config: GeneratorConfig, *, sharp: bool = False) -> Generator:
    """A seeded generator in evaluation mode, on the CPU, its weights without gradients."""
    return from_state(config, generator_state(config, sharp=sharp))


def from_state(config: GeneratorConfig, state: dict[str, torch.Tensor]) -> Generator:
    """A generator of these very tensors."""
    with torch.device("meta"):
        made = Generator(config)
    made.load_state_dict(state, assign=True)
    return made.eval().requires_grad_(False)
