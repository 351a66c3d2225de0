"""Pickles and files of torch.save written byte by byte, from the documentation of the opcodes and of the layouts.

Independent of ``pickle`` and ``torch.save``: what the reader is held to must not come from the reader's own family.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

STORAGE_KINDS = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
}


@dataclass(frozen=True)
class Global:
    module: str
    name: str


@dataclass(eq=False)
class Call:
    """REDUCE."""

    function: Any
    arguments: tuple


@dataclass(eq=False)
class Filled(Call):
    """A call whose result is filled with items."""

    items: dict


@dataclass(eq=False)
class New:
    """NEWOBJ, with items of a dict and a state where there are some."""

    kind: Any
    items: dict = field(default_factory=dict)
    state: Any = None


@dataclass(eq=False)
class Built:
    """A value with BUILD."""

    value: Any
    state: Any


@dataclass(eq=False)
class Persistent:
    """BINPERSID."""

    value: Any


@dataclass(frozen=True)
class Raw:
    """Opcodes as they are; they must leave one value."""

    code: bytes


class Writer:
    """One pickle. Protocol 4 has frames and MEMOIZE, protocol 2 BINPUT and GLOBAL."""

    def __init__(self, protocol: int) -> None:
        self.protocol = protocol
        self.done = bytearray(struct.pack("<BB", 0x80, protocol))
        self.frame = bytearray()
        self.memo: dict[Any, int] = {}
        self.kept: list[Any] = []  # so that no id is given twice

    def write(self, value: Any) -> bytes:
        self.put(value)
        self.frame += b"."
        self.close()
        return bytes(self.done)

    def close(self) -> None:
        if self.protocol >= 4 and len(self.frame) >= 4:
            self.done += b"\x95" + struct.pack("<Q", len(self.frame))
        self.done += self.frame
        self.frame.clear()

    def emit(self, code: bytes) -> None:
        self.frame += code
        if self.protocol >= 4 and len(self.frame) >= 1 << 16:
            self.close()

    def remember(self, key: Any) -> None:
        number = self.memo[key] = len(self.memo)
        if self.protocol >= 4:
            self.emit(b"\x94")
        else:
            self.emit(b"q" + struct.pack("<B", number) if number < 256 else b"r" + struct.pack("<I", number))

    def recalled(self, key: Any) -> bool:
        if key not in self.memo:
            return False
        number = self.memo[key]
        self.emit(b"h" + struct.pack("<B", number) if number < 256 else b"j" + struct.pack("<I", number))
        return True

    def put(self, value: Any) -> None:
        if value is None or value is True or value is False:
            self.emit({None: b"N", True: b"\x88", False: b"\x89"}[value])
        elif isinstance(value, int):
            self.integer(value)
        elif isinstance(value, float):
            self.emit(b"G" + struct.pack(">d", value))
        elif isinstance(value, str):
            self.text(value)
        elif isinstance(value, bytes | bytearray):
            self.bytes(bytes(value))
        elif isinstance(value, Global):
            self.named(value)
        elif isinstance(value, Raw):
            self.emit(value.code)
        elif isinstance(value, Persistent):
            self.put(value.value)
            self.emit(b"Q")
        elif not self.recalled(id(value)):
            self.kept.append(value)
            self.compound(value)

    def compound(self, value: Any) -> None:
        if isinstance(value, tuple):
            self.sequence(value)
            if value:
                self.remember(id(value))
        elif isinstance(value, list):
            self.emit(b"]")
            self.remember(id(value))
            self.many(value, b"e")
        elif isinstance(value, set):
            self.emit(b"\x8f")
            self.remember(id(value))
            self.many(sorted(value), b"\x90")
        elif isinstance(value, dict):
            self.emit(b"}")
            self.remember(id(value))
            self.many([part for pair in value.items() for part in pair], b"u")
        elif isinstance(value, Call):
            self.put(value.function)
            self.put(value.arguments)
            self.emit(b"R")
            self.remember(id(value))
            if isinstance(value, Filled):
                self.many([part for pair in value.items.items() for part in pair], b"u")
        elif isinstance(value, New):
            self.put(value.kind)
            self.emit(b")\x81")
            self.remember(id(value))
            self.many([part for pair in value.items.items() for part in pair], b"u")
            if value.state is not None:
                self.put(value.state)
                self.emit(b"b")
        elif isinstance(value, Built):
            self.put(value.value)
            self.put(value.state)
            self.emit(b"b")
        else:
            raise TypeError(type(value))

    def many(self, values: Any, end: bytes) -> None:
        if not values:
            return
        self.emit(b"(")
        for value in values:
            self.put(value)
        self.emit(end)

    def sequence(self, values: tuple) -> None:
        if len(values) > 3:
            self.emit(b"(")
        for value in values:
            self.put(value)
        self.emit({0: b")", 1: b"\x85", 2: b"\x86", 3: b"\x87"}.get(len(values), b"t"))

    def integer(self, value: int) -> None:
        if 0 <= value < 256:
            self.emit(b"K" + struct.pack("<B", value))
        elif 0 <= value < 65536:
            self.emit(b"M" + struct.pack("<H", value))
        elif -(1 << 31) <= value < 1 << 31:
            self.emit(b"J" + struct.pack("<i", value))
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            self.emit(b"\x8a" + struct.pack("<B", len(data)) + data)

    def text(self, value: str) -> None:
        if self.recalled(value):
            return
        data = value.encode()
        short = self.protocol >= 4 and len(data) < 256
        self.emit((b"\x8c" + struct.pack("<B", len(data)) if short else b"X" + struct.pack("<I", len(data))) + data)
        self.remember(value)

    def bytes(self, value: bytes) -> None:
        head = b"C" + struct.pack("<B", len(value)) if len(value) < 256 else b"B" + struct.pack("<I", len(value))
        if len(value) >= 1 << 16:  # large ones lie outside of frames
            self.close()
            self.done += head + value
        else:
            self.emit(head + value)
        self.remember((bytes, len(self.memo)))

    def named(self, value: Global) -> None:
        if self.recalled(value):
            return
        if self.protocol >= 4:
            self.text(value.module)
            self.text(value.name)
            self.emit(b"\x93")
        else:
            self.emit(f"c{value.module}\n{value.name}\n".encode())
        self.remember(value)


def pickled(value: Any, protocol: int = 4) -> bytes:
    return Writer(protocol).write(value)


# --- tensors ---------------------------------------------------------------------------------------------------------

ORDERED = Global("collections", "OrderedDict")
REBUILD = Global("torch._utils", "_rebuild_tensor_v2")
PARAMETER = Global("torch._utils", "_rebuild_parameter")
MAGIC = 119547037146038801333356


def ordered(values: dict) -> Filled:
    """An OrderedDict, which is called and then filled."""
    return Filled(ORDERED, (), values)


def kind_of(array: np.ndarray) -> str:
    return STORAGE_KINDS[str(array.dtype)]


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of a tensor without gaps."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.insert(0, step)
        step *= size
    return tuple(steps)


def storage_bytes(array: np.ndarray, key: str = "94007696956672", kind: str | None = None) -> bytes:
    """A storage as it lies inside another pickle: a legacy file of torch.save."""
    kind = kind or kind_of(array)
    reference = ("storage", Global("torch", kind), key, "cpu", array.size, None)
    return legacy_head() + pickled(Persistent(reference), 2) + pickled([key], 2) + legacy_numbers(array)


def legacy_head(magic: int = MAGIC, version: int = 1001, *, little: bool = True) -> bytes:
    system = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    return pickled(magic, 2) + pickled(version, 2) + pickled(system, 2)


def legacy_numbers(array: np.ndarray) -> bytes:
    return struct.pack("<q", array.size) + np.ascontiguousarray(array).tobytes()


def inner_tensor(array: np.ndarray, *, parameter: bool = False) -> Call:
    """A tensor as it is pickled outside of torch.save."""
    storage = Call(Global("torch.storage", "_load_from_bytes"), (storage_bytes(array),))
    tensor = Call(REBUILD, (storage, 0, array.shape, strides(array.shape), False, Call(ORDERED, ())))
    return Call(PARAMETER, (tensor, True, Call(ORDERED, ()))) if parameter else tensor


class TorchFile:
    """A file of torch.save: values with tensors, each of which refers to numbers behind the pickle."""

    def __init__(self, *, legacy: bool = False) -> None:
        self.legacy = legacy
        self.arrays: dict[str, np.ndarray] = {}
        self.kinds: dict[str, str] = {}

    def storage(self, array: np.ndarray, kind: str | None = None) -> str:
        key = str(len(self.arrays))
        self.arrays[key] = np.ascontiguousarray(array).reshape(-1)
        self.kinds[key] = kind or kind_of(array)
        return key

    def reference(self, key: str) -> Persistent:
        kind = self.kinds[key]
        module = "torch.storage" if kind == "UntypedStorage" else "torch"
        reference = ("storage", Global(module, kind), key, "cuda:0", self.arrays[key].size)
        return Persistent((*reference, None) if self.legacy else reference)

    def view(self, key: str, shape: tuple[int, ...], stride: tuple[int, ...] | None = None, offset: int = 0) -> Call:
        arguments = (self.reference(key), offset, shape, strides(shape) if stride is None else stride, False)
        return Call(REBUILD, (*arguments, Call(ORDERED, ())))

    def tensor(self, array: np.ndarray, kind: str | None = None, shape: tuple[int, ...] | None = None) -> Call:
        return self.view(self.storage(array, kind), array.shape if shape is None else shape)

    def write(self, value: Any) -> bytes:
        if self.legacy:
            rest = b"".join(map(legacy_numbers, self.arrays.values()))
            return legacy_head() + pickled(value, 2) + pickled(list(self.arrays), 2) + rest
        parts = {"data.pkl": pickled(value, 2), "byteorder": b"little", ".format_version": b"1"}
        parts |= {f"data/{key}": array.tobytes() for key, array in self.arrays.items()}
        return archive({f"archive/{name}": data for name, data in {**parts, "version": b"3\n"}.items()})


def archive(
    parts: dict[str, bytes] | list[tuple[str, bytes]], *, method: int = 0, crc: bool = True, aligned: bool = True
) -> bytes:
    """A zip archive as torch.save writes it: nothing packed, every part at a multiple of 64 bytes."""
    done, table, items = bytearray(), bytearray(), parts.items() if isinstance(parts, dict) else parts
    count = 0
    for name, data in items:
        count += 1
        packed = _deflated(data) if method else data
        encoded = name.encode()
        padding = -(len(done) + 30 + len(encoded) + 4) % 64 if aligned else 0
        extra = struct.pack("<2sH", b"FB", padding) + bytes(padding) if aligned else b""
        common = (method, 0, 0, zlib.crc32(data) if crc else 0, len(packed), len(data), len(encoded))
        table += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 0, 0, 0x800, *common, 0, 0, 0, 0, 0, len(done))
        table += encoded
        done += struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 0, 0x800, *common, len(extra)) + encoded + extra + packed
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(table), len(done), 0)
    return bytes(done + table + end)


def _deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()
