"""The encoders' files in every layout that is about: what is in them is found by names and shapes alone.

A file may hold one stage or both, bare or within other dictionaries, under any prefix. A W+ stage is where there is
``input_layer.0.weight`` with ``styles.0.linear.weight`` beside it, an F stage where ``final_head_two.4.weight`` is.
Stands under ``importer``.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ModelError
from ..networks.config import MOST_CHANNELS, EncoderConfig, GeneratorConfig
from .disk import told
from .pickles import RefusalError
from .safefile import open_tensors
from .torchfile import read_torch, reading, told_of
from .weights import StoredTensor, Weights, check_shapes, expected_encoder, listed, shapes_of, shown

FIRST = "input_layer.0.weight"
W_SIGN = "styles.0.linear.weight"
F_SIGNS = ("final_head_two.4.weight", "final_head.4.weight", "up1.conv.double_conv.1.weight")
MEAN = "latent_avg"
# Where several dictionaries of a file hold a stage, the first of these is taken.
PREFERRED = ("state_dict", "model", "net", "params", "ema")
OTHERS = ("decoder.", "generator.", "G.", "G_ema.", "discriminator.", "dis_state_dict.", "D.", MEAN)
DEEPEST = 6
MOST_NETWORKS = 64  # in one file; official ones hold four or so
LONGEST_NAME = 256
MOST_TENSORS = 100_000
LARGEST_MEAN = 1 << 20  # bytes of a file that holds a mean w+ alone; the official one has 57 kB at the most
ADVICE = "take the encoder's official files."


@dataclass(frozen=True, eq=False)
class Stages:
    """What one or two files hold of an encoder."""

    w_plus: Weights
    trigrid: Weights
    mean: torch.Tensor | None  # of any of the accepted shapes
    read: tuple[str, ...]  # where each was found, for the person


def read_stages(paths: Sequence[Path], which: str) -> Stages:
    """Both stages of an encoder out of its files.

    Args:
        paths: one file with both stages, or one for each, in any order.
        which: visible or occluded, for sentences.

    Raises:
        ModelError: a file is not there, damaged or of an unknown layout; a stage is missing, or there twice.
    """
    found: dict[str, tuple[str, Weights]] = {}
    mean: torch.Tensor | None = None
    names: list[str] = []
    for path in paths:
        tensors = read_tensors(path)
        names += [f"{name} {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:8]]
        for stage, prefix in _prefixes(tensors, path).items():
            where = f"{path}, under {shown(prefix.rstrip('.'))}" if prefix else str(path)
            if stage in found:
                raise ModelError(
                    f"The {which} encoder's {_STAGE[stage]} is there twice, in {found[stage][0]} and {where}; "
                    "give each file once."
                )
            found[stage] = where, _beneath(tensors, prefix)
        if mean is None:
            mean = _mean_of(tensors)
    for stage, said in _STAGE.items():
        if stage not in found:
            raise ModelError(
                f"The {which} encoder's {said} is not in {' or '.join(map(str, paths))} (it would have "
                f"{FIRST} and {W_SIGN if stage == 'w_plus' else F_SIGNS[0]} under one prefix; there are "
                f"{listed(names) or 'no tensors'}); give a file that has it, or two files."
            )
    read = tuple(f"{_STAGE[stage]} from {found[stage][0]}" for stage in _STAGE)
    return Stages(found["w_plus"][1], found["trigrid"][1], mean, read)


def build_config(stages: Stages, generator: GeneratorConfig, which: str) -> EncoderConfig:
    """The configuration that gives tensors of these shapes.

    Args:
        stages: both stages.
        generator: what the encoder was trained for; the size of its planes is nowhere in the encoder's tensors.
        which: visible or occluded, for sentences.

    Raises:
        ModelError: no configuration does, or it does not fit the generator.
    """
    what = f"The {which} encoder"
    w, f = stages.w_plus, stages.trigrid
    inputs = _shape(f, FIRST, 4, what)[1]
    if inputs != 9:
        raise ModelError(
            f"{what}'s F stage takes {inputs} channels of pictures ({FIRST} is {_shape(f, FIRST, 4, what)}) and not 9: "
            f"it is of another version than TriPlaneNet v2; {ADVICE}"
        )
    widths, blocks = trunk_of(w, what)
    planes, hidden = _shape(f, F_SIGNS[0], 4, what)[:2]
    ups = _shape(f, "up2.conv.double_conv.1.weight", 4, what)[1]
    by_shuffle = widths[2] + widths[3] // 4
    heads = {int(match[1]) for name in w if (match := re.match(r"styles\.(\d{1,3})\.", name))}
    halvings = sum(bool(re.fullmatch(r"styles\.0\.convs\.\d{1,3}\.weight", name)) for name in w)
    w_dim, style_width = _shape(w, W_SIGN, 2, what)
    image_size = 16 << min(halvings, 12)
    half = image_size == 2 * generator.trigrid_size
    if max(*widths, planes, hidden, w_dim, style_width) > MOST_CHANNELS:
        raise ModelError(f"{what} has layers of more channels than any model; {ADVICE}")
    try:
        config = EncoderConfig(
            image_size=image_size,
            widths=widths,  # pyright: ignore[reportArgumentType]
            blocks=blocks,  # pyright: ignore[reportArgumentType]
            num_ws=len(heads),
            w_dim=w_dim,
            style_width=style_width,
            plane_channels=planes,
            plane_size=generator.trigrid_size if half else image_size,
            variant="pixelshuffle" if ups == by_shuffle else "upsample",
            hidden=hidden,
        )
        expected = expected_encoder(config)
    except ValueError as error:
        raise ModelError(f"{what} has sizes that none can have ({error}); {ADVICE}") from error
    found = _joined(stages)
    # Its own mean is checked where it is made; here every stage is what it should be.
    check_shapes({**shapes_of(found), MEAN: (config.num_ws, w_dim)}, expected, what, ADVICE)
    config.check_fits(generator)
    return config


def state_of(stages: Stages, mean: torch.Tensor) -> dict[str, torch.Tensor | StoredTensor]:
    """The tensors of an ``Encoder``; ``mean`` is (num_ws, w_dim)."""
    return {**_joined(stages), MEAN: mean}


def read_mean(path: Path) -> torch.Tensor:
    """The mean w+ of a file of its own: .npy, .npz, .pt or .safetensors.

    Raises:
        ModelError: the file is not there or holds no such thing.
    """
    with told(path, "read"):
        small = path.stat().st_size <= LARGEST_MEAN
        with path.open("rb") as file:
            start = file.read(6)
    if small and start == b"\x93NUMPY":
        return _from_numpy(path, path.read_bytes())
    if small and start[:4] == b"PK\x03\x04" and path.suffix.lower() == ".npz":
        return _from_npz(path)
    tensors = read_tensors(path)
    mean = _mean_of(tensors)
    if mean is None and len(tensors) == 1:
        mean = next(iter(tensors.values())).load()
    if mean is None:
        raise ModelError(f"{path} holds no {MEAN}; give the file of the mean w+, latent_avg.npy perhaps.")
    return mean


def shape_mean(mean: torch.Tensor, config: EncoderConfig, where: str) -> torch.Tensor:
    """A mean of any accepted shape as (num_ws, w_dim) float32.

    Raises:
        ModelError: it has another shape, or holds what is no number.
    """
    rows, width = config.num_ws, config.w_dim
    if tuple(mean.shape) not in {(width,), (1, width), (rows, width), (1, rows, width)}:
        raise ModelError(
            f"The mean w+ of {where} is {tuple(mean.shape)}, and the encoder needs ({width}) or ({rows}, {width}); "
            "give the one that belongs to the encoder with --latent-avg."
        )
    if mean.is_complex() or not bool(torch.isfinite(mean).all()):
        raise ModelError(f"The mean w+ of {where} holds numbers that are none (NaN or infinity); {ADVICE}")
    return mean.detach().float().reshape(-1, width).expand(rows, width).contiguous()


def read_tensors(path: Path) -> dict[str, StoredTensor]:
    """All tensors of a file of torch.save or safetensors, by the way to them through its dictionaries.

    Raises:
        ModelError: the file is not there, is damaged, or names what no checkpoint needs.
    """
    with reading(path) as data:
        header = int.from_bytes(data[:8], "little")
        if data[8:9] == b"{" and header <= len(data) - 8:
            return _from_safetensors(path)
        return dict(_flat(read_torch(data), path))


# --- finding ---------------------------------------------------------------------------------------------------------

_STAGE = {"w_plus": "W+ stage", "trigrid": "F stage"}


def _prefixes(tensors: Mapping[str, StoredTensor], path: Path) -> dict[str, str]:
    """The prefix of each stage that is in a file. Other networks with such an input layer are passed over."""
    found: dict[str, list[str]] = {"w_plus": [], "trigrid": []}
    for name in tensors:
        prefix = name.removesuffix(FIRST)
        if prefix == name or (prefix and not prefix.endswith(".")):
            continue
        if prefix + W_SIGN in tensors:
            found["w_plus"].append(prefix)
        elif any(prefix + sign in tensors for sign in F_SIGNS):
            found["trigrid"].append(prefix)
    chosen = {}
    for stage, prefixes in found.items():
        best = min(map(_rank, prefixes), default=0)
        first = [prefix for prefix in prefixes if _rank(prefix) == best]
        if len(first) > 1:
            raise ModelError(
                f"{path} holds more than one {_STAGE[stage]}, under {listed(map(shown, first))}; give a file with one."
            )
        if first:
            chosen[stage] = first[0]
    return chosen


def _rank(prefix: str) -> int:
    outermost = prefix.partition(".")[0]
    return PREFERRED.index(outermost) if outermost in PREFERRED else -1


def _beneath(tensors: Mapping[str, StoredTensor], prefix: str) -> Weights:
    """The tensors of one stage: all under its prefix but those of other networks, which may lie there too."""
    found = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    others = {other for name in found if (other := name.removesuffix(FIRST)) not in ("", name)}
    if len(others) > MOST_NETWORKS:
        raise ModelError(f"A file of the encoder's holds {len(others)} networks; give the official one.")
    foreign = (*OTHERS, *others)
    return {name: value for name, value in found.items() if not name.startswith(foreign)}


def _mean_of(tensors: Mapping[str, StoredTensor]) -> torch.Tensor | None:
    names = [name for name in tensors if name == MEAN or name.endswith(f".{MEAN}")]
    return tensors[min(names, key=lambda name: (name.count("."), name))].load() if names else None


def _joined(stages: Stages) -> dict[str, torch.Tensor | StoredTensor]:
    parts = (("w_plus", stages.w_plus), ("trigrid", stages.trigrid))
    return {f"{part}.{name}": value for part, tensors in parts for name, value in tensors.items()}


def trunk_of(tensors: Weights, what: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Widths and numbers of blocks of the four stages of a trunk: a stage begins where the width changes."""
    count = len({match[1] for name in tensors if (match := re.match(r"body\.(\d{1,3})\.", name))})
    runs: list[list[int]] = []
    for number in range(count):
        width = _shape(tensors, f"body.{number}.res_layer.1.weight", 4, what)[0]
        if runs and runs[-1][0] == width:
            runs[-1][1] += 1
        else:
            runs.append([width, 1])
    if len(runs) != 4:
        raise ModelError(f"{what}'s trunk has {len(runs)} widths in {count} blocks, and not 4; {ADVICE}")
    return tuple(width for width, _ in runs), tuple(blocks for _, blocks in runs)


def _shape(tensors: Weights, name: str, axes: int, what: str) -> tuple[int, ...]:
    shape = tuple(tensors[name].shape) if name in tensors else None
    if shape is None or len(shape) != axes:
        said = "is missing" if shape is None else f"is {shape}, and not of {axes} axes"
        raise ModelError(f"{what}'s tensor {name} {said}; {ADVICE}")
    return shape


# --- files -----------------------------------------------------------------------------------------------------------


def _flat(value: Any, path: Path) -> Iterable[tuple[str, StoredTensor]]:
    """Tensors by the way to them. Optimisers, options and whatever else is no dictionary of tensors is passed over."""
    if isinstance(value, StoredTensor):
        value = {"": value}
    if not isinstance(value, dict):
        raise RefusalError("holds no dictionary of tensors")
    waiting: list[tuple[str, Any, int]] = [("", value, 0)]
    count = 0
    for prefix, entries, depth in waiting:  # grows while it is walked
        for key, entry in entries.items():
            count += 1
            if count > MOST_TENSORS:
                raise RefusalError("holds far more tensors than any model does")
            if type(key) is not str or len(key) > LONGEST_NAME:  # optimisers number their states
                continue
            if isinstance(entry, StoredTensor):
                yield f"{prefix}{key}", told_of(path, entry)
            elif isinstance(entry, dict) and depth < DEEPEST:
                waiting.append((f"{prefix}{key}.", entry, depth + 1))


def _from_safetensors(path: Path) -> dict[str, StoredTensor]:
    file = open_tensors(path, "take the file from its official source again.")
    names = list(file.keys())
    if len(names) > MOST_TENSORS:
        raise RefusalError("holds far more tensors than any model does")
    return {
        name: StoredTensor(tuple(file.get_slice(name).get_shape()), partial(file.get_tensor, name))
        for name in names
        if len(name) <= LONGEST_NAME
    }


def _from_numpy(path: Path, content: bytes) -> torch.Tensor:
    try:
        array = np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
        return torch.from_numpy(array.astype(np.float32, casting="same_kind"))  # complex ones are refused
    except (ValueError, TypeError, EOFError, OSError, OverflowError, MemoryError) as error:
        raise ModelError(f"{path} is no array of numbers; {ADVICE}") from error


def _from_npz(path: Path) -> torch.Tensor:
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            info = parts.get(MEAN) or (next(iter(parts.values())) if len(parts) == 1 else None)
            packed = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
            if info is None or info.file_size > LARGEST_MEAN or info.compress_type not in packed:
                raise ModelError(f"{path} holds no {MEAN}; give the file of the mean w+, latent_avg.npy perhaps.")
            with archive.open(info) as part:
                content = part.read(LARGEST_MEAN)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError, RuntimeError, zlib.error) as error:
        raise ModelError(f"{path} is a damaged archive; {ADVICE}") from error
    return _from_numpy(path, content)
