"""Files that torch.save wrote, of any age, read as data: a tree of plain values with tensors that stay in the file.

Three layouts: the zip archive of today, the row of pickles that came before it ("legacy"), and the same row inside the
bytes of another pickle, which is how a tensor travels there. No code of torch's own reader runs.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ModelError
from .archive import Entry, entries_of
from .disk import told
from .pickles import Budget, Buildable, Dict, Inert, Reader, RefusalError, Symbol, Symbols, counted
from .weights import StoredTensor, shown

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_VERSION = 1001
MOST_AXES = 16
LARGEST = 1 << 40  # numbers along an axis, also of a tensor that has none
DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
SCALARS = {"f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "b1"}  # kinds of NumPy's numbers


class Storage:
    """Numbers in a row, somewhere in the file; where, a legacy file tells only after its pickles."""

    def __init__(self, dtype: torch.dtype, count: int) -> None:
        self.dtype = dtype
        self.count = count
        self.data: memoryview | None = None
        self._check: Callable[[], None] | None = None

    def fill(self, data: memoryview, check: Callable[[], None] | None = None) -> None:
        """Say where the numbers are, and how to make sure that they are what was written."""
        if len(data) != self.count * self.dtype.itemsize:
            raise RefusalError(f"has {len(data)} bytes for {self.count} numbers of {self.dtype.itemsize} bytes")
        self.data, self._check = data, check

    def numbers(self) -> torch.Tensor:
        """All of it, (count,); a view of the file where it lies at an even address."""
        if self.data is None:
            raise RefusalError("lacks the numbers of a tensor")
        if self._check is not None:
            self._check()
            self._check = None
        if not self.count:
            return torch.empty(0, dtype=self.dtype)
        raw = torch.frombuffer(self.data, dtype=torch.uint8)
        return (raw.clone() if raw.data_ptr() % self.dtype.itemsize else raw).view(self.dtype)


# --- what the pickles may name ---------------------------------------------------------------------------------------


class NumberKind(Buildable):
    """NumPy's dtype of single numbers, by its code."""

    def __init__(self, code: str) -> None:
        self.code = code

    def build(self, state: Any) -> None:
        """Its byte order is in the state; the rest is of no use."""
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", "|", "="):
            raise RefusalError("holds a number in a byte order that no model has")


def _tensor(args: tuple[Any, ...]) -> StoredTensor:
    storage, offset, shape, stride, *_ = counted(args, 6, "_rebuild_tensor_v2", most=7)
    if not isinstance(storage, Storage):
        raise RefusalError("makes a tensor of something that holds no numbers")
    for axes in (shape, stride):
        if type(axes) is not tuple or len(axes) > MOST_AXES or any(type(size) is not int for size in axes):
            raise RefusalError("holds a tensor whose shape is none")
    if (
        type(offset) is not int
        or len(shape) != len(stride)
        or min((offset, *shape, *stride)) < 0
        or max((offset, *shape, *stride)) > LARGEST
    ):
        raise RefusalError("holds a tensor whose shape is none")
    numel = 1
    for size in shape:
        numel *= size
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True)) if numel else -1
    if last >= storage.count or numel > storage.count:
        raise RefusalError(f"holds a tensor of {shown(shape)} that reaches beyond its {storage.count} numbers")
    return StoredTensor(shape, partial(_load, storage, offset, shape, stride))


def _load(storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> torch.Tensor:
    numbers = storage.numbers()
    return numbers.as_strided(shape, stride, offset) if 0 not in shape else torch.empty(shape, dtype=storage.dtype)


def _parameter(args: tuple[Any, ...]) -> StoredTensor:
    if not args or not isinstance(args[0], StoredTensor):
        raise RefusalError("makes a parameter of something that is no tensor")
    return args[0]


def _encoded(args: tuple[Any, ...]) -> memoryview:
    """Bytes as protocol 2 writes them: a text in Latin-1."""
    text, encoding = counted(args, 2, "_codecs.encode")
    if not isinstance(text, str) or len(text) > 64 or encoding != "latin1":
        raise RefusalError("calls _codecs.encode for something else than a number's bytes")
    try:
        return memoryview(text.encode("latin1"))
    except UnicodeEncodeError as error:
        raise RefusalError("is damaged (a text in it is none)") from error


def _number_kind(args: tuple[Any, ...]) -> NumberKind:
    if not args or not isinstance(args[0], str) or args[0] not in SCALARS:
        raise RefusalError("holds a number of a kind that no model has")
    return NumberKind(args[0])


def _scalar(args: tuple[Any, ...]) -> float | int | bool:
    kind, data = counted(args, 2, "numpy.core.multiarray.scalar")
    if not isinstance(kind, NumberKind) or not isinstance(data, memoryview):
        raise RefusalError("holds a number that is none")
    dtype = np.dtype(f"<{kind.code}")
    if len(data) != dtype.itemsize:
        raise RefusalError("holds a number that is none")
    return np.frombuffer(data, dtype)[0].item()


def _ordered(args: tuple[Any, ...]) -> Dict:
    counted(args, 0, "collections.OrderedDict")
    return Dict()


def instances(module: str, name: str) -> tuple[tuple[str, str], Symbol]:
    """A class whose instances keep their state and do nothing."""
    full = f"{module}.{name}"
    return (module, name), Symbol(full, new=lambda args: Inert(full, args))


def _named(module: str, name: str, call: Callable[[tuple[Any, ...]], Any] | None = None) -> tuple:
    return (module, name), Symbol(f"{module}.{name}", call)


TENSORS: Symbols = dict(
    [
        _named("collections", "OrderedDict", _ordered),
        _named("torch._utils", "_rebuild_tensor_v2", _tensor),
        _named("torch._utils", "_rebuild_parameter", _parameter),
        _named("torch._utils", "_rebuild_parameter_with_state", _parameter),
        _named("numpy.core.multiarray", "scalar", _scalar),
        _named("numpy._core.multiarray", "scalar", _scalar),
        _named("numpy", "dtype", _number_kind),
        _named("_codecs", "encode", _encoded),
    ]
)
STORAGES: Symbols = dict(
    [_named("torch", name) for name in DTYPES]
    + [_named("torch.storage", "UntypedStorage"), _named("torch", "UntypedStorage")]
)
CHECKPOINT: Symbols = {
    **TENSORS,
    **STORAGES,
    **dict(
        [
            _named("torch", "Size", lambda args: args[0] if args and type(args[0]) is tuple else ()),
            _named("torch", "device", lambda args: Inert("torch.device")),
            instances("argparse", "Namespace"),
        ]
    ),
}


# --- files -----------------------------------------------------------------------------------------------------------


@contextmanager
def reading(path: Path) -> Iterator[memoryview]:
    """A file's bytes, mapped into memory; tensors made of them keep the mapping. What is refused becomes a sentence.

    Raises:
        ModelError: the file is not there, or was refused.
    """
    with told(path, "read"), path.open("rb") as file:
        if not file.seek(0, 2):
            raise ModelError(f"{path} is empty; take it from its official source again.")
        # A private copy that is never written: torch warns of memory that it may not write to.
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    with refused_as(path):
        yield data


@contextmanager
def refused_as(path: Path) -> Iterator[None]:
    """Turn a RefusalError into a ModelError that names the file."""
    try:
        yield
    except RefusalError as error:
        raise ModelError(f"{path} {error}; take the file from its official source again.") from error


def told_of(path: Path, tensor: StoredTensor) -> StoredTensor:
    """The same tensor, whose loading tells of the file when it fails."""

    def load() -> torch.Tensor:
        with refused_as(path):
            return tensor.load()

    return StoredTensor(tensor.shape, load)


def read_torch(data: memoryview) -> Any:
    """The value in a file of torch.save.

    Raises:
        RefusalError: it is none, is damaged, or names what no checkpoint needs.
    """
    budget = Budget()
    if data[:4] == b"PK\x03\x04":
        return _read_archive(data, budget)
    if data[:2] != b"\x80\x02":
        raise RefusalError("is neither a file of torch.save nor safetensors")
    return read_legacy(data, CHECKPOINT, budget)


def read_legacy(data: memoryview, symbols: Symbols, budget: Budget) -> Any:
    """The value in a row of pickles with the numbers behind them.

    Args:
        data: the whole file, or the bytes of a storage in another pickle.
        symbols: what the pickle of the value may name.
        budget: of the whole file.

    Raises:
        RefusalError: as for ``read_torch``.
    """
    plain = Reader(data, {}, budget)
    if plain.read() != LEGACY_MAGIC:
        raise RefusalError("is not a file of torch.save")
    if plain.read() != LEGACY_VERSION:
        raise RefusalError("is a file of torch.save in a version that is not known")
    system = plain.read()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise RefusalError("was written on a machine of another byte order")
    storages: dict[str, Storage] = {}
    reader = Reader(data, symbols, budget, partial(_refer, storages))
    reader.position = plain.position
    value = reader.read()
    keys = reader.read()
    if type(keys) is not list or any(type(key) is not str for key in keys) or sorted(keys) != sorted(storages):
        raise RefusalError("has other numbers behind its tensors than they name")
    position = reader.position
    for key in keys:
        storage = storages[key]
        if len(data) - position < 8:
            raise RefusalError("is cut off")
        (count,) = struct.unpack_from("<q", data, position)
        end = position + 8 + storage.count * storage.dtype.itemsize
        if count != storage.count or end > len(data):
            raise RefusalError(f"is cut off, or has {count} numbers where a tensor needs {storage.count}")
        storage.fill(data[position + 8 : end])
        position = end
    if position != len(data):
        raise RefusalError("goes on after its end")
    return value


def _read_archive(data: memoryview, budget: Budget) -> Any:
    entries = entries_of(data)
    order = entries["byteorder"].data if "byteorder" in entries else b"little"
    if len(order) > 8 or bytes(order) != b"little":
        raise RefusalError("was written on a machine of another byte order")
    program = entries["data.pkl"]
    _check_sum(program)
    storages: dict[str, Storage] = {}
    reader = Reader(program.data, CHECKPOINT, budget, partial(_refer, storages))
    value = reader.read()
    if reader.position != len(program.data):
        raise RefusalError("goes on after its end")
    for key, storage in storages.items():
        entry = entries.get(f"data/{key}")
        if entry is None:
            raise RefusalError(f"lacks the numbers data/{shown(key)}")
        storage.fill(entry.data, partial(_check_sum, entry))
    return value


def _check_sum(entry: Entry) -> None:
    if entry.crc and zlib.crc32(entry.data) != entry.crc:  # 0 where it was written without
        raise RefusalError("is damaged (the check sum of a part differs)")


def _refer(storages: dict[str, Storage], reference: Any) -> Storage:
    """What a persistent id stands for: ('storage', kind, key, where it was, how many, view)."""
    if type(reference) is not tuple or not 5 <= len(reference) <= 6 or reference[0] != "storage":
        raise RefusalError("refers to something else than numbers, which no model needs")
    _, kind, key, _, count, *view = reference
    if not isinstance(kind, Symbol) or (found := kind.name.rpartition(".")[2]) not in (*DTYPES, "UntypedStorage"):
        raise RefusalError("holds numbers of a kind that no model has")
    if not isinstance(key, str) or not re.fullmatch(r"[A-Za-z0-9_]{1,64}", key) or type(count) is not int or count < 0:
        raise RefusalError("refers to numbers that cannot be")
    if view not in ([], [None]):
        raise RefusalError("holds a storage that is a part of another one, as no PyTorch of the last years writes")
    dtype = DTYPES.get(found, torch.uint8)
    storage = storages.setdefault(key, Storage(dtype, count))
    if (storage.dtype, storage.count) != (dtype, count):
        raise RefusalError("says two things about the same numbers")
    return storage
