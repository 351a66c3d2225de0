"""Checkpoints of a run: one safetensors file each, tensors and, as JSON in its header, all the rest.

A file is written beside, synced and renamed, so that its place holds a whole one or none. No pickles: reading executes
nothing. Names of tensors are ``network/NAME/KEY`` and ``optimizer/NAME/NUMBER/KEY``.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from ..disk import DENIED, FULL, beside, sync, sync_folder
from ..errors import ModelError, ResultsError
from .task import Task

FORMAT = 1
FOLDER = "checkpoints"
NAME = "step-{:08d}.safetensors"
_NAME = re.compile(r"step-(\d{8,})\.safetensors")
_LEFTOVER = re.compile(r"\.step-\d{8,}\.safetensors\.partial-[0-9a-f]{8}")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")
MARGIN = 1 << 20  # bytes beyond the tensors


@dataclass(frozen=True)
class Checkpoint:
    """What the header of a checkpoint says."""

    path: Path
    step: int
    """Steps that were done."""
    config: dict[str, Any]
    """Of the training: a run goes on only with the same one."""
    score: float | None
    task: dict[str, Any]
    """What ``Task.state`` gave."""
    optimizers: dict[str, Any]
    """By name: groups of parameters, and what of their states is no tensor."""


def write_checkpoint(folder: Path, step: int, task: Task, config: Mapping[str, Any], score: float | None) -> Checkpoint:
    """Write one, whole or not at all.

    Args:
        folder: of the run.
        step: how many steps were done.
        task: its networks, optimisers and state.
        config: of the training, as JSON.
        score: of ``Task.score``.

    Raises:
        ResultsError: the disk refuses; what was there stays as it was.
    """
    tensors, optimizers = _gather(task)
    header = {
        "format": FORMAT,
        "step": step,
        "config": config,
        "score": score,
        "task": task.state(),
        "optimizers": optimizers,
    }
    text = json.dumps(header, allow_nan=False)
    path = folder / FOLDER / NAME.format(step)
    partial = beside(path, "partial")
    needed = MARGIN + len(text) + sum(tensor.numel() * tensor.itemsize for tensor in tensors.values())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
        if free < needed:
            raise ResultsError(
                f"A checkpoint takes {_mb(needed)} and only {_mb(free)} are free at {path.parent}; "
                "free some space and run the same command again: it goes on from the last checkpoint."
            )
        save_file(tensors, partial, {"headstitch": text})
        sync(partial)
        partial.replace(path)
        sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        raise ResultsError(_sentence(path, error)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return Checkpoint(path, step, dict(config), score, header["task"], optimizers)


def read_checkpoint(path: Path) -> Checkpoint:
    """What the header of one says.

    Raises:
        ModelError: it is not there, is damaged, or of a newer format.
    """
    if not path.is_file():
        raise ModelError(f"There is no checkpoint {path}; check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})["headstitch"])
        if header["format"] > FORMAT:
            raise ModelError(f"{path} was written by a newer Headstitch; update Headstitch.")
        return Checkpoint(path, header["step"], header["config"], header["score"], header["task"], header["optimizers"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged; remove it, and the run goes on from the checkpoint before it.") from error


def load_checkpoint(checkpoint: Checkpoint, task: Task) -> None:
    """Put networks, optimisers and state of a checkpoint into a task.

    Raises:
        ModelError: its tensors are not those of the task; the sentence names some.
    """
    with safe_open(checkpoint.path, framework="pt") as file:
        found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    for name, network in task.networks.items():
        _load_network(network, _beneath(found, f"network/{name}/"), f"{checkpoint.path}, {name}")
    if set(checkpoint.optimizers) != set(task.optimizers):
        raise ModelError(
            f"{checkpoint.path} has the optimisers {sorted(checkpoint.optimizers)}, and the training has "
            f"{sorted(task.optimizers)}; start in another folder."
        )
    for name, optimizer in task.optimizers.items():
        kept = checkpoint.optimizers[name]
        states: dict[int, dict[str, Any]] = {int(number): dict(values) for number, values in kept["values"].items()}
        for key, tensor in _beneath(found, f"optimizer/{name}/").items():
            number, _, field = key.partition("/")
            states.setdefault(int(number), {})[field] = tensor
        try:
            optimizer.load_state_dict({"state": states, "param_groups": kept["groups"]})
        except ValueError as error:
            raise ModelError(
                f"{checkpoint.path} has other parameters in the optimiser {name}; start in another folder."
            ) from error
    task.restore(checkpoint.task)


def load_network(path: Path, name: str, network: nn.Module) -> Checkpoint:
    """Put one network of a checkpoint into ``network``; returns what its header says.

    Raises:
        ModelError: the checkpoint has no such network, or another one of that name.
    """
    checkpoint = read_checkpoint(path)
    with safe_open(path, framework="pt") as file:
        prefix = f"network/{name}/"
        state = {key[len(prefix) :]: file.get_tensor(key) for key in file.keys() if key.startswith(prefix)}  # noqa: SIM118
    if not state:
        raise ModelError(f"{path} holds no network {name}; give a checkpoint of the right training.")
    _load_network(network, state, f"{path}, {name}")
    return checkpoint


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints of a run, the latest last."""
    found = [(int(match[1]), path) for path in (folder / FOLDER).glob("*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def best_of(paths: list[Path]) -> Path | None:
    """The one with the lowest score, the earliest of equals; None where none has a score."""
    scored = [(score, path) for path in paths if (score := read_checkpoint(path).score) is not None]
    return min(scored, default=(0.0, None), key=lambda pair: pair[0])[1]


def tidy(folder: Path, keep: int) -> None:
    """Remove all checkpoints but the last ``keep`` and the best, and what a kill has left of one. OSErrors pass."""
    there = checkpoints(folder)
    staying = {*there[-keep:], best_of(there)}
    for path in there:
        if path not in staying:
            path.unlink()
    for path in (folder / FOLDER).glob(".*"):
        if _LEFTOVER.fullmatch(path.name):
            path.unlink()


def _gather(task: Task) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors = {
        f"network/{name}/{key}": value
        for name, network in task.networks.items()
        for key, value in network.state_dict().items()
    }
    optimizers: dict[str, Any] = {}
    for name, optimizer in task.optimizers.items():
        state = optimizer.state_dict()
        values: dict[str, dict[str, Any]] = {}
        for number, entries in state["state"].items():
            values[str(number)] = {}
            for key, value in entries.items():
                if isinstance(value, torch.Tensor):
                    tensors[f"optimizer/{name}/{number}/{key}"] = value
                else:
                    values[str(number)][key] = value
        optimizers[name] = {"groups": state["param_groups"], "values": values}
    # Copies of what is no plain block of memory of its own, as files of safetensors want it.
    return {name: value.detach().to("cpu").contiguous() for name, value in tensors.items()}, optimizers


def _load_network(network: nn.Module, state: Mapping[str, torch.Tensor], where: str) -> None:
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    wrong = sorted(name for name in expected.keys() | shapes if expected.get(name) != shapes.get(name))
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelError(
            f"The tensors of {where} are not those of this training ({', '.join(wrong[:3])}{more}); "
            "start in another folder."
        )
    network.load_state_dict(dict(state))


def _beneath(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _sentence(path: Path, error: OSError | SafetensorError) -> str:
    match = _OS_ERROR.search(str(error))  # safetensors keeps only the system's words
    number = error.errno if isinstance(error, OSError) else int(match[1]) if match else None
    if number in FULL:
        return (
            f"The disk is full, so the checkpoint {path} was not written; free some space and run the same command "
            "again: it goes on from the last checkpoint."
        )
    if number in DENIED:
        return f"{path} cannot be written, for lack of permission; change that, or give another --out."
    return f"The checkpoint {path} cannot be written ({error}); check the disk, or give another --out."


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
