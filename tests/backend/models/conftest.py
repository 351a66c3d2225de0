"""Tiny models and their files: in the official layout, byte by byte."""

from __future__ import annotations

import importlib.util
import os
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from headstitch.backend.models import importer
from headstitch.backend.models.importer import Files
from headstitch.backend.networks.config import EncoderConfig
from headstitch.backend.networks.encoder import Encoder

ENCODER = EncoderConfig(
    image_size=64,
    widths=(8, 16, 24, 32),
    blocks=(1, 1, 2, 2),
    num_ws=10,
    style_width=16,
    plane_size=64,
    hidden=8,
)


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Bundles are written by the dozen here; whether they would outlive a power cut is not what is asked."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="session")
def o() -> types.ModuleType:
    """The writer of opcodes."""
    return load("opcodes")


@pytest.fixture(scope="session")
def official() -> types.ModuleType:
    return load("official")


@pytest.fixture(scope="session")
def generator_arrays(seeding) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in seeding.generator_state(seeding.TINY).items()}


@pytest.fixture(scope="session")
def tiny_pickle(o, official, generator_arrays) -> bytes:
    """The PanoHead pickle of the tiny generator."""
    return official.PanoHeadFile(o, official.params(), generator_arrays).write()


def encoder_arrays(config: EncoderConfig = ENCODER, seed: int = 0) -> dict[str, np.ndarray]:
    """Random tensors of both stages, under their local names after ``w_plus.`` and ``trigrid.``; no mean."""
    with torch.device("meta"):
        state = Encoder(config).state_dict()
    random = np.random.default_rng(seed)
    arrays = {
        name: np.array(3) if value.dtype == torch.int64 else random.standard_normal(value.shape, dtype=np.float32) / 10
        for name, value in state.items()
    }
    for name in [name for name in arrays if name.endswith("running_var")]:
        arrays[name] = np.exp(arrays[name])
    del arrays["latent_avg"]
    return arrays


@pytest.fixture(scope="session")
def visible_arrays() -> dict[str, np.ndarray]:
    return encoder_arrays()


@pytest.fixture(scope="session")
def occluded_arrays() -> dict[str, np.ndarray]:
    return encoder_arrays(seed=1)


def prefixed(arrays: dict[str, np.ndarray], w_plus: str | None, trigrid: str | None) -> dict[str, np.ndarray]:
    """The tensors under other prefixes; without the stage whose prefix is None."""
    found = {}
    for name, array in arrays.items():
        stage, _, local = name.partition(".")
        prefix = w_plus if stage == "w_plus" else trigrid
        if prefix is not None:
            found[prefix + local] = array
    return found


@pytest.fixture(scope="session")
def tiny_encoder() -> EncoderConfig:
    """What the arrays of the encoders are of; it fits the tiny generator."""
    return ENCODER


@pytest.fixture(scope="session")
def arrays_of() -> Callable[..., dict[str, np.ndarray]]:
    return encoder_arrays


@pytest.fixture(scope="session")
def under() -> Callable[..., dict[str, np.ndarray]]:
    return prefixed


@dataclass
class Shelf:
    """A folder of official files and a models folder."""

    folder: Path
    models: Path
    files: Files
    told: list[str]

    def import_(self, name: str = "tiny", **options: Any) -> Any:
        files = replace(self.files, **{key: options.pop(key) for key in list(options) if hasattr(self.files, key)})
        return importer.import_model(files, name, tell=self.told.append, **options)

    def there(self) -> list[str]:
        """All that is in the models folder."""
        return sorted(str(path.relative_to(self.models)) for path in self.models.rglob("*"))


@pytest.fixture
def checkpoint(o, tmp_path) -> Callable[..., Path]:
    """Writes a file of torch.save with arrays, or with whatever ``around`` makes of the dictionary of tensors."""

    def write(
        name: str,
        arrays: dict[str, np.ndarray],
        *,
        legacy: bool = False,
        around: Callable[[Any, Any], Any] = lambda tensors, file: tensors,
    ) -> Path:
        file = o.TorchFile(legacy=legacy)
        tensors = o.ordered({key: file.tensor(array) for key, array in arrays.items()})
        path = tmp_path / name
        path.write_bytes(file.write(around(tensors, file)))
        return path

    return write


@pytest.fixture
def shelf(tmp_path, monkeypatch, tiny_pickle, checkpoint, visible_arrays, occluded_arrays) -> Shelf:
    models = tmp_path / "models"
    monkeypatch.setenv("HEADSTITCH_MODELS", str(models))
    pickle = tmp_path / "G.pkl"
    pickle.write_bytes(tiny_pickle)
    files = []
    for name, arrays in (("visible.pt", visible_arrays), ("occluded.pt", occluded_arrays)):
        tensors = prefixed(arrays, "psp_encoder.", "triplanenet_encoder.")
        files.append(checkpoint(name, tensors, around=lambda inner, _: {"state_dict": inner, "opts": {"a": 1}}))
    mean = tmp_path / "latent_avg.npy"
    np.save(mean, np.linspace(-1, 1, 512, dtype=np.float32))
    return Shelf(tmp_path, models, Files(pickle, [files[0]], [files[1]], mean), [])
