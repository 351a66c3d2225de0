"""A bundle: the folder that holds one model, model.json and three safetensors files. What inversion loads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import nn

from ... import __version__
from ..disk import sync, write_synced
from ..errors import ModelError
from ..networks.config import EncoderConfig, GeneratorConfig
from ..networks.encoder import Encoder
from ..networks.generator import Generator
from . import disk, weights
from .safefile import open_tensors, write_tensors
from .store import NAME, find_model

FORMAT = 1
ARCHITECTURE = "panohead"
AGAIN = "import the model again."
MARGIN = 16 << 20  # bytes beyond the weights that a bundle is let take

Which = Literal["visible", "occluded"]
Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Source:
    """A file that a model was made of."""

    name: str
    sha256: str


@dataclass(frozen=True, eq=False)
class Bundle:
    """A model on the disk. Its networks are loaded when asked for, and kept only where ``kept`` is given."""

    name: str
    folder: Path
    architecture: str
    config: GeneratorConfig
    encoders: Mapping[Which, EncoderConfig]
    sha256: str
    """Hash of the model: over its configurations and the hashes of its files. Its name and its origin are no part."""
    licence: str
    sources: tuple[Source, ...]
    made_by: str
    files: Mapping[str, tuple[str, int]]
    """SHA-256 and bytes of each file of weights."""
    kept: dict[tuple[str, str], nn.Module] | None = None
    """The networks that were loaded, by file and device, where they shall stay for the next head."""

    def generator(self, device: torch.device | str = "cpu") -> Generator:
        """The generator, in evaluation mode, without gradients, float32.

        Raises:
            ModelError: the file is damaged, or its tensors are not those of the configuration.
        """
        return self._load(Generator, self.config, disk.GENERATOR, device)

    def encoder(self, which: Which, device: torch.device | str = "cpu") -> Encoder:
        """One of the encoders, likewise.

        Raises:
            ModelError: the file is damaged, or its tensors are not those of the configuration.
        """
        return self._load(Encoder, self.encoders[which], disk.ENCODERS[which], device)

    @cached_property
    def parameters_bytes(self) -> int:
        """Memory in bytes of the weights that an inversion holds at once: the generator and the larger encoder.

        Raises:
            ModelError: a file is damaged.
        """
        sizes = {
            name: sum(4 * torch.Size(shape).numel() for shape in self._shapes(name).values()) for name in self.files
        }
        return sizes[disk.GENERATOR] + max(sizes[name] for name in disk.ENCODERS.values())

    def verify(self) -> None:
        """Check everything: the hashes of the files, the names and shapes of all tensors, that all are numbers.

        Raises:
            ModelError: something is wrong; the sentence says what.
        """
        for name, (sha256, _) in self.files.items():
            path = self.folder / name
            with disk.told(path, "read"):
                changed = disk.sha256_of(path) != sha256
            if changed:
                raise ModelError(f"{path} is not what was written there; import the model again.")
        for name, expected in _expected(self.config, self.encoders).items():
            self._check(name, expected)
            with open_tensors(self.folder / name, AGAIN) as file:
                for tensor in file.keys():  # noqa: SIM118 - no mapping
                    weights.check_finite(tensor, file.get_tensor(tensor), str(self.folder / name), "import it again.")

    def _load(self, build: Any, config: Any, name: str, device: torch.device | str) -> Any:
        key = name, str(device)
        if self.kept is not None and key in self.kept:
            return self.kept[key]
        network = self._read(build, config, name, device)
        if self.kept is not None:
            self.kept[key] = network
        return network

    def _read(self, build: Any, config: Any, name: str, device: torch.device | str) -> Any:
        with torch.device("meta"):
            network = build(config)
        expected = weights.shapes_of(network.state_dict())
        self._check(name, expected)
        state = {}
        with open_tensors(self.folder / name, AGAIN) as file:
            for key in expected:
                value = file.get_tensor(key)  # a view of the file, which may be replaced while we work: copied
                dtype = torch.float32 if value.is_floating_point() else None
                state[key] = value.to(device, dtype, copy=True)
        network.load_state_dict(state, assign=True)
        return network.eval().requires_grad_(False)

    def _check(self, name: str, expected: Mapping[str, tuple[int, ...]]) -> None:
        """Names, shapes and kinds of the numbers in a file."""
        path = self.folder / name
        weights.check_shapes(self._shapes(name), expected, str(path), AGAIN, counters=True)
        with open_tensors(path, AGAIN) as file:
            for key in expected:
                kind = file.get_slice(key).get_dtype()
                if kind not in (("I64",) if key.endswith(weights.COUNTER) else ("F16", "F32")):
                    raise ModelError(f"{path} holds {weights.shown(kind)} in {key}; import the model again.")

    def _shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        with open_tensors(self.folder / name, AGAIN) as file:
            return {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118 - no mapping


def load_bundle(name_or_path: str | Path) -> Bundle:
    """The model of that name in the models folder, or of that folder.

    Reads model.json and the sizes of the files, not the weights: ``Bundle.verify`` does.

    Raises:
        ModelError: there is no such model, it is damaged, of a newer format or of another architecture.
    """
    folder = find_model(name_or_path)
    with disk.told(folder, "read"):
        disk.recover(folder)
    record = disk.read_record(folder)
    damaged = f"{folder / disk.RECORD} is damaged; import the model again."
    if type(record["format"]) is not int or record["format"] < 1:
        raise ModelError(damaged)
    if record["format"] > FORMAT:
        raise ModelError(
            f"The model {weights.shown(folder.name)} was written by a newer Headstitch (format {record['format']}, and "
            f"this one reads {FORMAT}); update Headstitch."
        )
    if record["architecture"] != ARCHITECTURE:
        raise ModelError(
            f"The model {weights.shown(folder.name)} has the architecture {weights.shown(record['architecture'])}, and "
            f"this Headstitch knows {ARCHITECTURE}; update Headstitch or take another model."
        )
    try:
        bundle = _from_record(folder, record)
        weights.check_config(bundle.config)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(damaged) from error
    for encoder in bundle.encoders.values():
        encoder.check_fits(bundle.config)
    if record["sha256"] != _sha256_of_model(bundle.config, bundle.encoders, bundle.files):
        raise ModelError(damaged)
    for file, (_, size) in bundle.files.items():
        path = folder / file
        if not path.is_file():
            raise ModelError(f"The model {weights.shown(folder.name)} lacks {file}; import it again.")
        if path.stat().st_size != size:
            raise ModelError(f"{path} has {path.stat().st_size} bytes instead of {size}; import the model again.")
    return bundle


def write_bundle(
    folder: Path,
    *,
    name: str,
    generator: weights.Weights,
    config: GeneratorConfig,
    encoders: Mapping[Which, tuple[weights.Weights, EncoderConfig]],
    licence: str,
    sources: Sequence[Source] = (),
    half: bool = False,
    replace: bool = False,
) -> Bundle:
    """Write a model, whole or not at all, and return it as it was loaded again.

    Args:
        folder: the bundle's own folder; ``store.folder_of(name)`` in the models folder.
        name: of the model.
        generator: the tensors of a ``Generator``, by name.
        config: what it is built from.
        encoders: of both, the tensors of an ``Encoder`` by name (counters of batch norms may be missing), and what it
            is built from.
        licence: one or two sentences; shown to whoever uses the model.
        sources: the files that it was made of.
        half: keep weights of layers in half precision; they are float32 again in memory.
        replace: take the place of a model that is already there.

    Raises:
        ModelError: the tensors do not fit the configurations, or the parts each other; a number is none; something
            that may not be replaced is there; the disk refuses. The folder is as it was before.
    """
    if set(encoders) != set(disk.ENCODERS):
        raise ModelError(f"A model has the encoders visible and occluded, not {weights.listed(encoders)}.")
    configs: dict[Which, EncoderConfig] = {which: encoder for which, (_, encoder) in encoders.items()}
    for encoder in configs.values():
        encoder.check_fits(config)
    try:
        expected = _expected(config, configs)
    except ValueError as error:
        raise ModelError(f"No generator can be built ({error}); take the files from their official source.") from error
    parts = {disk.GENERATOR: generator} | {disk.ENCODERS[which]: encoders[which][0] for which in configs}
    whose = {disk.GENERATOR: "The generator"} | {disk.ENCODERS[which]: f"The {which} encoder" for which in configs}
    for file, tensors in parts.items():
        weights.check_shapes(
            weights.shapes_of(tensors), expected[file], whose[file], "take the files from their official source."
        )
    needed = MARGIN + sum(_bytes(shapes, half=half) for shapes in expected.values())
    with disk.written_whole(folder, needed, replace=replace) as partial:
        files = {}
        for file, tensors in parts.items():
            _save(partial / file, tensors, expected[file], whose[file], half=half)
            files[file] = (disk.sha256_of(partial / file), (partial / file).stat().st_size)
        record = {
            "format": FORMAT,
            "name": name,
            "architecture": ARCHITECTURE,
            "generator": config.to_dict(),
            "encoders": {which: encoder.to_dict() for which, encoder in configs.items()},
            "level": config.level,
            "licence": licence,
            "sources": [{"name": source.name, "sha256": source.sha256} for source in sources],
            "made_by": f"headstitch {__version__}",
            "files": {file: {"sha256": sha256, "bytes": size} for file, (sha256, size) in files.items()},
            "sha256": _sha256_of_model(config, configs, files),
        }
        write_synced(partial / disk.RECORD, (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())
    return load_bundle(folder)


def _from_record(folder: Path, record: Mapping[str, Any]) -> Bundle:
    """Raises a KeyError, TypeError or ValueError where the record is not one that ``write_bundle`` writes."""
    config = GeneratorConfig.from_dict(record["generator"])
    encoders: dict[Which, EncoderConfig] = {
        which: EncoderConfig.from_dict(record["encoders"][which]) for which in ("visible", "occluded")
    }
    files = {name: (record["files"][name]["sha256"], record["files"][name]["bytes"]) for name in disk.WEIGHTS}
    texts = [
        record["name"],
        record["licence"],
        record["made_by"],
        record["sha256"],
        *(sha for sha, _ in files.values()),
    ]
    sources = tuple(Source(source["name"], source["sha256"]) for source in record["sources"])
    texts += [text for source in sources for text in (source.name, source.sha256)]
    if not all(isinstance(text, str) for text in texts) or not all(type(size) is int for _, size in files.values()):
        raise TypeError("a value of another type")
    if not NAME.fullmatch(record["name"]):
        raise ValueError("no model has such a name")
    if record["level"] != config.level or set(record["files"]) != set(files):
        raise ValueError("parts of the record contradict each other")
    return Bundle(
        name=record["name"],
        folder=folder,
        architecture=record["architecture"],
        config=config,
        encoders=encoders,
        sha256=record["sha256"],
        licence=record["licence"],
        sources=sources,
        made_by=record["made_by"],
        files=files,
    )


def _expected(
    config: GeneratorConfig, encoders: Mapping[Which, EncoderConfig]
) -> dict[str, Mapping[str, tuple[int, ...]]]:
    """Of each file, names and shapes of its tensors."""
    return {disk.GENERATOR: weights.expected_generator(config)} | {
        disk.ENCODERS[which]: weights.expected_encoder(encoder) for which, encoder in encoders.items()
    }


def _sha256_of_model(
    config: GeneratorConfig, encoders: Mapping[Which, EncoderConfig], files: Mapping[str, tuple[str, int]]
) -> str:
    parts = {
        "generator": config.to_dict(),
        "encoders": {which: encoder.to_dict() for which, encoder in encoders.items()},
        "files": {name: sha256 for name, (sha256, _) in files.items()},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _dtype(name: str, shape: tuple[int, ...], *, half: bool) -> torch.dtype:
    """Half precision is for the large ones, where a relative error of 5e-4 does no harm."""
    if name.endswith(weights.COUNTER):
        return torch.int64
    return torch.float16 if half and name.endswith(".weight") and len(shape) > 1 else torch.float32


def _bytes(shapes: Mapping[str, tuple[int, ...]], *, half: bool) -> int:
    return sum(torch.Size(shape).numel() * _dtype(name, shape, half=half).itemsize for name, shape in shapes.items())


def _save(
    path: Path, tensors: weights.Weights, shapes: Mapping[str, tuple[int, ...]], whose: str, *, half: bool
) -> None:
    """Write one file, one tensor after another: no more than one is in memory."""

    def value(name: str) -> torch.Tensor:
        if name not in tensors:
            return torch.zeros(shapes[name], dtype=torch.int64)  # a counter of a batch norm
        value = weights.numbers(tensors[name]).cpu()
        if name.endswith(weights.COUNTER):
            return value
        if not value.is_floating_point():
            raise ModelError(f"{whose} has whole numbers in {name}; take the files from their official source.")
        value = value.float()
        weights.check_finite(name, value, whose, "take the files from their official source.")
        if kinds[name][0] == torch.float16:
            value = value.half()
            weights.check_finite(name, value, f"In half precision {whose.lower()}", "import it without --half.")
        return value

    kinds = {name: (_dtype(name, shape, half=half), shape) for name, shape in shapes.items()}
    write_tensors(path, kinds, value)
    sync(path)
