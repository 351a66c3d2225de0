"""Files of safetensors: opened with sentences for what is wrong, and written tensor by tensor. Under bundles."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ..errors import ModelError
from .disk import told

NAMES = {torch.float32: "F32", torch.float16: "F16", torch.int64: "I64"}  # of the numbers that we write


def open_tensors(path: Path, advice: str) -> Any:
    """A safetensors file, mapped; its tensors are views of it.

    Args:
        path: the file.
        advice: what to do where it is damaged, to end the sentence with.

    Raises:
        ModelError: it cannot be read or is damaged.
        MemoryError: it cannot be mapped.
    """
    try:
        with told(path, "read"):
            return safe_open(path, framework="pt")
    except SafetensorError as error:
        if f"(os error {errno.ENOMEM})" in str(error):  # the library keeps only the system's words
            raise MemoryError(str(error)) from error
        raise ModelError(f"{path} is damaged; {advice}") from error


def write_tensors(
    path: Path, kinds: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], value: Callable[[str], torch.Tensor]
) -> None:
    """Write a safetensors file, the same to the byte as the library does, which would hold all of it in memory.

    Args:
        path: of the file, which is not there yet. OSErrors pass.
        kinds: dtype (float32, float16 or int64) and shape of each tensor, by its name.
        value: gives a tensor by its name, on the CPU; asked for one after another.
    """
    names = sorted(kinds, key=lambda name: (-kinds[name][0].itemsize, name))  # keeps every number at an even place
    header, end = {}, 0
    for name in names:
        dtype, shape = kinds[name]
        start, end = end, end + dtype.itemsize * torch.Size(shape).numel()
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("xb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            dtype, shape = kinds[name]
            tensor = value(name).to(dtype)
            if tuple(tensor.shape) != shape:
                raise ValueError(f"{name} is {tuple(tensor.shape)} and was to be {shape}")
            array = tensor.contiguous().numpy()
            file.write(array.astype(array.dtype.newbyteorder("<"), copy=False).data)
