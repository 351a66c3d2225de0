"""The reference of the encoders and the discriminator, and networks with the weights that it was made with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

DATA = Path(__file__).parents[2] / "data"


class EncoderReference:
    """``encoders.npz``: figures of one output after another, and whether another network's output has the same."""

    def __init__(self) -> None:
        with np.load(DATA / "encoders.npz") as file:
            self.arrays = dict(file)

    def keys(self, name: str) -> set[str]:
        """The arrays about one output: one of its name, or several of its name and a suffix."""
        return {key for key in self.arrays if key == name or key.rpartition(".")[0] == name}

    def compare(self, name: str, value: torch.Tensor, tolerance: float) -> None:
        """Compare an output with everything that the file holds about it."""
        found = value.double().numpy()
        for key in self.keys(name):
            expected = self.arrays[key]
            part = "whole" if key == name else key.rpartition(".")[2]
            if part == "idx":
                assert expected.shape == (300,)  # says where val is
                continue
            there = {
                "whole": lambda: found.reshape(expected.shape),  # noqa: B023 - called at once
                "shape": lambda: np.array(found.shape),
                "val": lambda: found.ravel()[self.arrays[f"{name}.idx"]],
                "stat": lambda: np.array([found.mean(), found.std(), found.min(), found.max()]),
                "chmean": lambda: found.mean((0, 2, 3)),
            }[part]()
            np.testing.assert_allclose(there, expected, rtol=0, atol=tolerance, err_msg=key)


class EncoderSeeding:
    """Weights that the names give, by the two rules of the reference; not those of the generator's reference."""

    def normal(self, name: str, shape: tuple[int, ...]) -> torch.Tensor:
        """Normal numbers, drawn in float64 and cast."""
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))

    def network(
        self, build: Callable[[], nn.Module], prefix: str, like: dict[str, torch.Tensor] | None = None
    ) -> nn.Module:
        """A network by rule A: drawn weights, batch norms that change nothing, slopes of 0.25.

        Args:
            build: makes the network.
            prefix: of its names when they are seeds.
            like: tensors of another network of that prefix by rule A, which need not be drawn again.
        """
        with torch.device("meta"):
            network = build()
        shapes = network.state_dict()
        state = {
            name: like[name] for name in shapes if like and name in like and like[name].shape == shapes[name].shape
        }
        missing = [name for name in shapes if name not in state]
        with ThreadPoolExecutor() as pool:
            drawn = pool.map(lambda name: self._draw(network, prefix, name, shapes[name]), missing)
            state |= dict(zip(missing, drawn, strict=True))
        network.load_state_dict(state, assign=True)
        return network.eval().requires_grad_(False)

    def _draw(self, network: nn.Module, prefix: str, name: str, value: torch.Tensor) -> torch.Tensor:
        layer, _, last = name.rpartition(".")
        module = network.get_submodule(layer)
        if isinstance(module, nn.PReLU):
            return torch.full_like(value, 0.25, device="cpu")
        if isinstance(module, nn.BatchNorm2d):
            return torch.full_like(value, float(last in ("weight", "running_var")), device="cpu")
        numbers = self.normal(prefix + name, tuple(value.shape))
        if last == "bias":
            return numbers.mul_(0.05)
        return numbers.div_(float(np.sqrt(np.float32(value[0].numel())))) if value.ndim == 4 else numbers

    def spread(self, network: nn.Module, prefix: str) -> None:
        """From rule A to rule B: values in batch norms and slopes, so that a mix-up of them shows."""
        for name, value in network.state_dict().items():
            layer, _, last = name.rpartition(".")
            module = network.get_submodule(layer)
            if last == "num_batches_tracked" or not isinstance(module, nn.BatchNorm2d | nn.PReLU):
                continue
            numbers = self.normal(prefix + name, tuple(value.shape))
            if isinstance(module, nn.PReLU):
                value.copy_(0.25 + 0.05 * numbers)
            elif last == "running_var":
                value.copy_(torch.exp(0.2 * numbers))
            else:
                value.copy_(0.1 * numbers + float(last == "weight"))


@pytest.fixture(scope="session")
def encoder_reference() -> EncoderReference:
    return EncoderReference()


@pytest.fixture(scope="session")
def encoder_seeding() -> EncoderSeeding:
    return EncoderSeeding()


@pytest.fixture(scope="session")
def encoder_params() -> dict:
    """Of each published network: ``n_params`` and ``tensors``, a list of name and shape."""
    return json.loads((DATA / "encoder_params.json").read_text())
