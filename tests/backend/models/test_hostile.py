"""Files that want to run something, or to take all memory or time: one sentence, nothing run, nothing written."""

from __future__ import annotations

import builtins
import os
import pickle
import re
import struct
import subprocess
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from headstitch.backend.errors import ModelError
from headstitch.backend.models import importer
from headstitch.backend.models.encoders import read_tensors
from headstitch.backend.models.panohead import read_panohead
from headstitch.backend.models.weights import expected_generator
from headstitch.backend.networks.config import OFFICIAL
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SENTINEL = "somebody-ran-me"
TOUCH = f"touch {SENTINEL}"
CODE = f"open({SENTINEL!r}, 'w')"


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def stack_named(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def call(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def two(code: bytes) -> bytes:
    return b"\x80\x02" + code + b"."


def four(code: bytes) -> bytes:
    return b"\x80\x04\x95" + struct.pack("<Q", len(code) + 1) + code + b"."


SYSTEM = named("os", "system")
GETATTR = named("builtins", "getattr")
ORDERED = named("collections", "OrderedDict")
REBUILD = named("torch._utils", "_rebuild_tensor_v2")
PERSISTENCE = named("torch_utils.persistence", "_reconstruct_persistent_obj")
LOAD = named("torch.storage", "_load_from_bytes")
EVIL = two(call(SYSTEM, text(TOUCH)))
COLLIDING = b"".join(
    b"\x8a\x0a" + (number * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for number in range(1, 60_000)
)

PICKLES: dict[str, tuple[bytes, str]] = {
    "os.system": (two(call(SYSTEM, text(TOUCH))), "asks for os.system, which"),
    "posix.system": (four(call(stack_named("posix", "system"), text(TOUCH))), "asks for posix.system"),
    "nt.system": (four(call(stack_named("nt", "system"), text(TOUCH))), "asks for nt.system"),
    "subprocess.Popen": (two(call(named("subprocess", "Popen"), text(TOUCH))), "asks for subprocess.Popen"),
    "builtins.eval": (two(call(named("builtins", "eval"), text(CODE))), "asks for builtins.eval"),
    "builtins.exec": (four(call(stack_named("builtins", "exec"), text(CODE))), "asks for builtins.exec"),
    "eval of Python 2": (two(call(named("__builtin__", "eval"), text(CODE))), "asks for __builtin__.eval"),
    "an import": (
        two(call(named("importlib", "import_module"), text("antigravity"))),
        "asks for importlib.import_module",
    ),
    "a chain of getattr": (
        two(call(call(GETATTR, named("os", "path"), text("os")), text("system"))),
        "asks for builtins.getattr",
    ),
    "attrgetter": (two(call(named("operator", "attrgetter"), text("os.system"))), "asks for operator.attrgetter"),
    "a dotted name": (
        four(call(stack_named("torch._utils", "_rebuild_tensor_v2.__globals__"), text("a"))),
        "asks for torch._utils._rebuild_tensor_v2.__globals__",
    ),
    "a method of a known class": (
        four(call(stack_named("collections", "OrderedDict.fromkeys"), text("ab"))),
        "asks for collections.OrderedDict.fromkeys",
    ),
    "a known name, split elsewhere": (
        four(stack_named("torch", "_utils._rebuild_tensor_v2")),
        "asks for torch._utils._rebuild_tensor_v2",
    ),
    "pickle.loads": (
        two(call(named("pickle", "loads"), b"B" + struct.pack("<I", len(EVIL)) + EVIL)),
        "asks for pickle.loads",
    ),
    "torch.load": (two(call(named("torch", "load"), text("x.pt"))), "asks for torch.load"),
    "a reconstructor": (
        two(call(named("copyreg", "_reconstructor"), named("builtins", "object"), named("builtins", "object"), b"N")),
        "asks for copyreg._reconstructor",
    ),
    "INST": (two(b"(" + text(TOUCH) + b"ios\nsystem\n"), "uses INST, which"),
    "OBJ": (two(b"(" + SYSTEM + text(TOUCH) + b"o"), "asks for os.system"),
    "OBJ of a known name": (two(b"(" + ORDERED + b"o"), "uses OBJ, which"),
    "EXT1": (two(b"\x82\x01"), "uses EXT1, which"),
    "EXT2": (two(b"\x83\x01\x00"), "uses EXT2, which"),
    "EXT4": (two(b"\x84\x01\x00\x00\x00"), "uses EXT4, which"),
    "PERSID": (two(b"Pevil\n"), "uses PERSID, which"),
    "BINPERSID": (two(text("evil") + b"Q"), "refers to data outside of itself"),
    "NEXT_BUFFER": (four(b"\x97"), "uses NEXT_BUFFER, which"),
    "BYTEARRAY8": (four(b"\x96" + struct.pack("<Q", 1) + b"x"), "uses BYTEARRAY8, which"),
    "evil inside of a storage": (
        two(call(LOAD, b"B" + struct.pack("<I", len(EVIL)) + EVIL)),
        "asks for os.system",
    ),
    "a number that is called": (two(b"K\x01)R"), "calls a int, which"),
    "a text that is called": (two(call(text("os.system"), text(TOUCH))), "calls a str, which"),
    "a class that is called": (two(call(named("dnnlib.util", "EasyDict"))), "calls dnnlib.util.EasyDict, which"),
    "a call without a tuple": (two(ORDERED + b"NR"), "calls collections.OrderedDict, which"),
    "a function as a class": (two(REBUILD + b")\x81"), "makes an instance of torch._utils._rebuild_tensor_v2, which"),
    "keywords": (four(stack_named("dnnlib.util", "EasyDict") + b")" + b"}" + text("a") + b"Ns\x92"), "with keywords"),
    "a state for a name": (
        two(ORDERED + b"}" + text("__class__") + b"Nsb"),
        "gives a state to collections.OrderedDict",
    ),
    "a state for a dict": (two(b"}}b"), "gives a state to a dict"),
    "items for a name": (two(ORDERED + text("a") + b"Ns"), "it fills collections.OrderedDict as if it were a dict"),
    "an append to a dict": (two(b"}Na"), "it fills a dict as if it were a list"),
    "arguments of OrderedDict": (two(call(ORDERED, b"]")), "calls collections.OrderedDict with 1 values"),
    "a memo that is not there": (two(b"h\x05"), "asks for a memo that it never made"),
    "a memo by text": (two(b"g-1\n"), "a number in it is none"),
    "a memo of four billion": (two(b"Nr\xff\xff\xff\xff"), "numbers its memo out of order"),
    "a memo by a long text": (two(b"Np99999999999999999999\n"), "a number in it is none"),
    "bytes without an end": (four(b"\x8e" + struct.pack("<Q", 1 << 63)), "claims to hold more than it does"),
    "a text without an end": (four(b"\x8d" + struct.pack("<Q", (1 << 64) - 1)), "claims to hold more than it does"),
    "a frame without an end": (
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
        "claims to hold more than it does",
    ),
    "a huge number": (two(b"\x8b" + struct.pack("<i", (1 << 31) - 1)), "holds a number of 2147483647 bytes"),
    "a number of negative length": (two(b"\x8b" + struct.pack("<i", -1)), "holds a number of -1 bytes"),
    "a number of many digits": (two(b"L" + b"9" * 900 + b"L\n"), "a number in it is none"),
    "a line without an end": (two(b"c" + b"a" * 5000), "a line in it has no end"),
    "a list as a key": (two(b"}]Ns"), "has a list for a key"),
    "a key without its value": (two(b"}(Nu"), "a key lacks its value"),
    "keys that hash alike": (two(b"}(" + COLLIDING + b"u"), "holds no PanoHead generator"),
    "marks within marks": (two(b"(" * 100_000), "is nested deeper than any model is"),
    "tuples within tuples": (two(b")" + b"\x85" * 200_000), "holds no PanoHead generator"),
    "a billion laughs": (two(text("ha") + b"2\x86" * 400), "holds no PanoHead generator"),
    "more objects than memory": (two(b"(" + b"N" * 3_000_000 + b"t"), "holds far more objects than any model does"),
    "a list of itself": (two(b"]q\x00h\x00a"), "holds no PanoHead generator"),
    "no value at its end": (two(b""), "an operation lacks its value"),
    "values left over": (two(b"NN"), "values are left over"),
    "an append to nothing": (two(b"(a"), "an operation lacks its value"),
    "a tuple without a mark": (two(b"Nt"), "an operation lacks its mark"),
    "a text that is none": (two(b"X\x02\x00\x00\x00\xff\xff"), "a text in it is none"),
    "an opcode that is not": (two(b"\xff"), "there is no opcode 255"),
    "a protocol that is not": (b"\x80\x09N.", "has the pickle protocol 9"),
    "something after its end": (two(b"N") + b"cos\nsystem\n", "goes on after its end"),
    "a name full of tricks": (
        two(named("os\x1b[2J\x07", "system" + "m" * 500)),
        "asks for os?[2J?.system" + "m" * 52,
    ),
    "a module of no class": (two(call(PERSISTENCE, b"N")), "keeps its modules in a way that is not known"),
    "no pickle": (b"GIF89a", "is no pickle of PanoHead"),
}


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path, monkeypatch):
    """Whatever a pickle could reach is watched; afterwards nobody was called and no file is there that was not."""
    monkeypatch.chdir(tmp_path)
    expected_generator(OFFICIAL)  # the first network on torch's meta device imports what is about to be watched
    ran: list[Any] = []

    def watch(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            if name == "eval" and SENTINEL not in str(arguments):  # namedtuple's own
                return real(*arguments, **options)
            return ran.append((name, arguments))

        monkeypatch.setattr(owner, name, watched)

    for owner, names in (
        (os, ("system", "popen", "execv")),
        (builtins, ("eval",)),
        (subprocess, ("Popen",)),
        (pickle, ("load", "loads", "Unpickler", "_Unpickler")),
        (torch, ("load",)),
    ):
        for name in names:
            watch(owner, name)
    yield
    assert ran == []
    assert not (tmp_path / SENTINEL).exists()


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(shelf: Any, fragment: str, **files: Any) -> str:
    """Import, and hold that it ends with one sentence, that the disk is as it was, and that it took no time."""
    before = everything(shelf.folder)
    start = time.perf_counter()
    with pytest.raises(ModelError) as error:
        shelf.import_(**files)
    assert time.perf_counter() - start < 10
    assert everything(shelf.folder) == before
    assert not shelf.models.exists()
    sentence = str(error.value)
    assert fragment in sentence
    assert "\n" not in sentence
    assert len(sentence) < 1000
    assert all(character.isprintable() for character in sentence)
    return sentence


@pytest.mark.parametrize("name", PICKLES)
def test_a_pickle_that_wants_more_than_to_be_read_is_refused_by_name(name, shelf):
    data, fragment = PICKLES[name]
    path = shelf.folder / "evil.pkl"
    path.write_bytes(data)
    sentence = refused(shelf, fragment, generator=path)
    assert sentence.startswith(str(path))
    assert sentence.endswith(".")


def test_every_kind_of_attack_that_is_known_is_on_the_list():
    kinds = {
        "REDUCE on os": ("os.system", "posix.system", "nt.system", "subprocess.Popen", "builtins.exec"),
        "getattr chains": ("a chain of getattr", "attrgetter", "a dotted name"),
        "nested loads": ("pickle.loads", "torch.load", "evil inside of a storage"),
        "memo tricks": ("a memo that is not there", "a memo by text", "a memo of four billion", "a billion laughs"),
        "huge lengths": ("bytes without an end", "a frame without an end", "a huge number", "more objects than memory"),
        "truncated opcodes": ("a line without an end", "a text without an end", "no value at its end"),
    }
    assert not {name for names in kinds.values() for name in names} - set(PICKLES)


# --- checkpoints -----------------------------------------------------------------------------------------------------

ONES = np.ones(12, np.float32)


def _zip(change: Callable[[list[tuple[str, bytes]]], Any] = lambda parts: parts, **how: Any) -> Callable[[Any], bytes]:
    """A small checkpoint in an archive, with its parts changed."""

    def make(o: Any) -> bytes:
        file = o.TorchFile()
        program = o.pickled({"a": file.tensor(ONES)}, 2)
        parts = [
            ("m/data.pkl", program),
            ("m/byteorder", b"little"),
            ("m/data/0", ONES.tobytes()),
            ("m/version", b"3\n"),
        ]
        return o.archive(change(parts) or parts, **how)

    return make


def _tensor(make: Callable[[Any, Any], Any], *, legacy: bool = False) -> Callable[[Any], bytes]:
    """A checkpoint with one tensor that is made by hand."""

    def write(o: Any) -> bytes:
        file = o.TorchFile(legacy=legacy)
        return file.write({"a": make(o, file)})

    return write


def _storage(o: Any, file: Any, *reference: Any) -> Any:
    key = file.storage(ONES)
    parts = list(("storage", o.Global("torch", "FloatStorage"), key, "cpu", 12))
    parts[: len(reference)] = reference
    return o.Call(o.REBUILD, (o.Persistent(tuple(parts)), 0, (12,), (1,), False, None))


def _patched(at: bytes, offset: int, form: str, value: int, **how: Any) -> Callable[[Any], bytes]:
    """An archive with a number changed after the last place where ``at`` stands."""

    def make(o: Any) -> bytes:
        data = bytearray(_zip(**how)(o))
        struct.pack_into(form, data, data.rindex(at) + offset, value)
        return bytes(data)

    return make


def _legacy(
    o: Any, *, key: str = "0", keys: Any = ("0",), count: int = 12, numbers: bytes = ONES.tobytes(), **head: Any
) -> bytes:
    reference = ("storage", o.Global("torch", "FloatStorage"), key, "cpu", 12, None)
    tensor = o.Call(o.REBUILD, (o.Persistent(reference), 0, (12,), (1,), False, None))
    rest = struct.pack("<q", count) + numbers
    return o.legacy_head(**head) + o.pickled({"a": tensor}, 2) + o.pickled(list(keys), 2) + rest


def _bomb(o: Any) -> bytes:
    return o.archive([("m/data.pkl", bytes(64 << 20))], method=8)


CENTRAL = b"PK\x01\x02"
END = b"PK\x05\x06"
CHECKPOINTS: dict[str, tuple[Callable[[Any], bytes], str]] = {
    "os.system in an archive": (
        _tensor(lambda o, file: o.Call(o.Global("os", "system"), (TOUCH,))),
        "asks for os.system",
    ),
    "os.system in a legacy file": (
        _tensor(lambda o, file: o.Call(o.Global("os", "system"), (TOUCH,)), legacy=True),
        "asks for os.system",
    ),
    "os.system in the magic number": (lambda o: o.legacy_head() + EVIL, "asks for os.system"),
    "a module of PanoHead": (
        _tensor(lambda o, file: o.Call(o.Global("torch_utils.persistence", "_reconstruct_persistent_obj"), ({},))),
        "asks for torch_utils.persistence._reconstruct_persistent_obj",
    ),
    "a whole network": (
        _tensor(lambda o, file: o.New(o.Global("torch.nn.modules.conv", "Conv2d"), state={})),
        "asks for torch.nn.modules.conv.Conv2d",
    ),
    "os.system as a storage's kind": (
        _tensor(lambda o, file: _storage(o, file, "storage", o.Global("os", "system"))),
        "asks for os.system",
    ),
    "Size as a storage's kind": (
        _tensor(lambda o, file: _storage(o, file, "storage", o.Global("torch", "Size"))),
        "holds numbers of a kind that no model has",
    ),
    "a reference to something else": (_tensor(lambda o, file: _storage(o, file, "module")), "refers to something else"),
    "a storage's key that leads away": (
        _tensor(lambda o, file: _storage(o, file, "storage", o.Global("torch", "FloatStorage"), "../../secret")),
        "refers to numbers that cannot be",
    ),
    "a storage that is not there": (
        _tensor(lambda o, file: _storage(o, file, "storage", o.Global("torch", "FloatStorage"), "77")),
        "lacks the numbers data/77",
    ),
    "a storage of a negative size": (
        _tensor(lambda o, file: _storage(o, file, "storage", o.Global("torch", "FloatStorage"), "0", "cpu", -12)),
        "refers to numbers that cannot be",
    ),
    "a storage said to be larger": (
        _tensor(lambda o, file: _storage(o, file, "storage", o.Global("torch", "FloatStorage"), "0", "cpu", 13)),
        "has 48 bytes for 13 numbers",
    ),
    "a storage of another kind": (
        _tensor(lambda o, file: _storage(o, file, "storage", o.Global("torch", "DoubleStorage"))),
        "has 48 bytes for 12 numbers of 8 bytes",
    ),
    "a storage of two kinds": (
        _tensor(
            lambda o, file: [
                _storage(o, file),
                o.Persistent(("storage", o.Global("torch", "IntStorage"), "0", "cpu", 12)),
            ]
        ),
        "says two things about the same numbers",
    ),
    "a part of a storage": (
        _tensor(
            lambda o, file: _storage(o, file, *("storage", o.Global("torch", "FloatStorage"), "0", "cpu", 12, (1, 2)))
        ),
        "a part of another one",
    ),
    "a tensor longer than its storage": (
        _tensor(lambda o, file: file.view(file.storage(ONES), (13,))),
        "reaches beyond its 12",
    ),
    "an offset beyond": (
        _tensor(lambda o, file: file.view(file.storage(ONES), (4,), offset=9)),
        "reaches beyond its 12",
    ),
    "a negative offset": (
        _tensor(lambda o, file: file.view(file.storage(ONES), (4,), offset=-1)),
        "whose shape is none",
    ),
    "a stride beyond": (
        _tensor(lambda o, file: file.view(file.storage(ONES), (3, 4), (8, 1))),
        "reaches beyond its 12",
    ),
    "a huge stride of a single row": (
        _tensor(lambda o, file: file.view(file.storage(ONES), (1,), (2**100,))),
        "whose shape is none",
    ),
    "a negative stride": (_tensor(lambda o, file: file.view(file.storage(ONES), (4,), (-1,))), "whose shape is none"),
    "a stride of another length": (
        _tensor(lambda o, file: file.view(file.storage(ONES), (3, 4), (1,))),
        "whose shape is none",
    ),
    "a negative size": (_tensor(lambda o, file: file.view(file.storage(ONES), (-3, -4))), "whose shape is none"),
    "a size that is none": (_tensor(lambda o, file: file.view(file.storage(ONES), (True, 12))), "whose shape is none"),
    "one number for a trillion": (
        _tensor(lambda o, file: file.view(file.storage(ONES), (1 << 40,), (0,))),
        "reaches beyond its 12",
    ),
    "an axis without an end": (
        _tensor(lambda o, file: file.view(file.storage(ONES), (0, 1 << 80), (1, 1))),
        "whose shape is none",
    ),
    "a thousand axes": (_tensor(lambda o, file: file.view(file.storage(ONES), (1,) * 1000)), "whose shape is none"),
    "a tensor of a text": (
        _tensor(lambda o, file: o.Call(o.REBUILD, ("text", 0, (1,), (1,), False, None))),
        "something that holds no numbers",
    ),
    "a tensor of too few values": (_tensor(lambda o, file: o.Call(o.REBUILD, (1, 2))), "with 2 values"),
    "a parameter of a text": (_tensor(lambda o, file: o.Call(o.PARAMETER, ("text", True, None))), "that is no tensor"),
    "a codec": (
        _tensor(lambda o, file: o.Call(o.Global("_codecs", "encode"), ("x", "rot13"))),
        "calls _codecs.encode for something else",
    ),
    "objects in an array": (
        _tensor(lambda o, file: o.Call(o.Global("numpy", "dtype"), ("O", False, True))),
        "a number of a kind that no model has",
    ),
    "no dictionary": (lambda o: o.TorchFile().write([1, 2]), "holds no dictionary of tensors"),
    "a dictionary of itself": (
        lambda o: o.TorchFile().write(o.Raw(b"}q\x00X\x01\x00\x00\x00ah\x00s")),
        "W+ stage is not in",
    ),
    "another byte order": (_zip(lambda parts: parts.__setitem__(1, ("m/byteorder", b"big"))), "another byte order"),
    "another byte order, legacy": (lambda o: _legacy(o, little=False), "another byte order"),
    "a legacy version that is not": (lambda o: _legacy(o, version=9), "in a version that is not known"),
    "a legacy key that is not": (lambda o: _legacy(o, keys=("1",)), "other numbers behind its tensors"),
    "a legacy key twice": (lambda o: _legacy(o, keys=("0", "0")), "other numbers behind its tensors"),
    "a legacy key of another kind": (lambda o: _legacy(o, keys=(0,)), "other numbers behind its tensors"),
    "a legacy count beyond": (lambda o: _legacy(o, count=1 << 60), "is cut off, or has"),
    "a negative legacy count": (lambda o: _legacy(o, count=-1), "is cut off, or has"),
    "a legacy file with too few": (lambda o: _legacy(o, numbers=ONES.tobytes()[:-1]), "is cut off, or has"),
    "a legacy file with too many": (lambda o: _legacy(o, numbers=ONES.tobytes() + b"x"), "goes on after its end"),
    "two parts of a name": (_zip(lambda parts: [*parts, ("m/data/0", bytes(48))]), "two parts data/0"),
    "two programs": (_zip(lambda parts: [*parts, ("m/data.pkl", EVIL)]), "two parts data.pkl"),
    "a way out": (_zip(lambda parts: [*parts, ("m/../../evil", b"x")]), "a part m/../../evil, which no model has"),
    "a way out of the root": (_zip(lambda parts: [*parts, ("/etc/passwd", b"x")]), "its parts are not in one folder"),
    "a way out for Windows": (_zip(lambda parts: [*parts, ("m/..\\evil", b"x")]), "which no model has"),
    "code in an archive": (
        _zip(lambda parts: [*parts, ("m/code/evil.py", CODE.encode())]),
        "a part m/code/evil.py, which",
    ),
    "no program": (_zip(lambda parts: parts[1:]), "it lacks data.pkl"),
    "a packed archive": (_zip(method=8), "a packed part"),
    "a bomb": (_bomb, "a packed part data.pkl"),
    "a locked archive": (_patched(CENTRAL, 8, "<H", 0x801), "a packed part"),
    "a part beyond the end": (_patched(CENTRAL, 42, "<I", 1 << 30), "is a damaged archive"),
    "parts over each other": (_patched(CENTRAL, 42, "<I", 0), "is a damaged archive"),
    "a part that is larger than it is": (
        _patched(CENTRAL, 20, "<Q", (1 << 20) * ((1 << 32) + 1)),
        "is a damaged archive",
    ),
    "a table of contents beyond the end": (_patched(END, 12, "<I", 1 << 31), "is a damaged archive"),
    "a damaged part": (
        lambda o: _zip()(o).replace(ONES.tobytes(), bytes(48)),
        "W+ stage is not in",
    ),
    "a damaged program": (
        lambda o: _zip()(o).replace(b"FloatStorage", b"HalfStorage\n"),
        "the check sum of a part differs",
    ),
    "no checkpoint": (lambda o: b"GIF89a and more", "is neither a file of torch.save nor safetensors"),
    "nothing": (lambda o: b"", "is empty"),
    "safetensors beyond the end": (lambda o: struct.pack("<Q", 12) + b'{"a":{"dtyp}', "is damaged"),
    "safetensors over each other": (
        lambda o: (
            struct.pack("<Q", len(text := b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,400]}}'))
            + text
            + bytes(36)
        ),
        "is damaged",
    ),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_checkpoint_that_is_none_is_refused_by_name(name, shelf, o, monkeypatch):
    write, fragment = CHECKPOINTS[name]
    panohead = read_panohead(shelf.files.generator)
    monkeypatch.setattr(importer, "read_panohead", lambda path: panohead)
    path = shelf.folder / "evil.pt"
    path.write_bytes(write(o))
    refused(shelf, fragment, visible=[path])


def test_a_damaged_part_is_noticed_when_its_numbers_are_asked_for(o, tmp_path):
    path = tmp_path / "damaged.pt"
    path.write_bytes(_zip()(o).replace(ONES.tobytes(), bytes(48)))
    with pytest.raises(ModelError, match=r"damaged\.pt is damaged \(the check sum"):
        read_tensors(path)["a"].load()


def test_an_archive_without_check_sums_is_read(o, tmp_path):
    path = tmp_path / "unchecked.pt"
    path.write_bytes(_zip(crc=False)(o))
    assert read_tensors(path)["a"].load().tolist() == ONES.tolist()


@pytest.mark.parametrize("mebi", [3, 40])
def test_a_table_of_contents_without_an_end_is_not_walked_and_takes_no_memory(mebi, tmp_path, monkeypatch):
    walked = []
    monkeypatch.setattr(zipfile, "ZipInfo", walked.append)
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", CENTRAL, *[0] * 9, 1, *[0] * 6) + b"x"
    count = (mebi << 20) // len(entry)
    table = entry * count
    end = struct.pack("<4sHHHHIIH", END, 0, 0, 0xFFFF, 0xFFFF, len(table), 30, 0)
    path = tmp_path / "many.pt"
    path.write_bytes(b"PK\x03\x04" + bytes(26) + table + end)
    tracemalloc.start()
    with pytest.raises(ModelError, match="far more parts than any model"):
        read_tensors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20
    assert not walked


@pytest.mark.parametrize("kind", ["archive", "legacy", "panohead"])
def test_a_file_cut_at_any_byte_is_refused(kind, o, official, tmp_path):
    """And the whole one is not, or for another reason."""
    path = tmp_path / "cut"
    if kind == "panohead":
        small = official.PanoHeadFile(o, official.params(), {"decoder.net.0.weight": np.ones((64, 32), np.float32)})
        small.sources = ["source", "more source"]
        data, read = small.write(), read_panohead
        expected = "has tensors that do not fit"
    else:
        data, read = _legacy(o) if kind == "legacy" else _zip()(o), read_tensors
        expected = None
    cuts = (
        range(len(data)) if len(data) < 4000 else sorted({*range(0, len(data), 23), *range(len(data) - 200, len(data))})
    )
    for length in cuts:
        path.write_bytes(data[:length])
        with pytest.raises(ModelError) as error:
            read(path)
        assert re.search("cut off|is empty|is no|neither|damaged", str(error.value)), length
    path.write_bytes(data)
    if expected:
        with pytest.raises(ModelError, match=expected):
            read(path)
    else:
        assert set(read(path)) == {"a"}


@pytest.mark.parametrize("kind", ["archive", "legacy", "panohead"])
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(data=st.data())
def test_a_changed_file_is_read_or_refused_and_nothing_else(kind, data, o, official, tmp_path):
    path = tmp_path / "changed"
    if kind == "panohead":
        arrays = {"decoder.net.0.weight": np.ones((4, 2), np.float32), "torgb.bias": np.ones(3, np.float32)}
        file = official.PanoHeadFile(o, official.params(), arrays)
        file.sources = ["source", "more source"]
        whole, read = file.write(), read_panohead
    else:
        whole, read = _legacy(o) if kind == "legacy" else _zip()(o), read_tensors
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        what = data.draw(st.sampled_from(("byte", "number", "delete", "repeat", "opcode")))
        if what == "byte":
            changed[at] = data.draw(st.integers(0, 255))
        elif what == "number":
            changed[at : at + 4] = struct.pack(
                "<I", data.draw(st.sampled_from((0, 1, 255, 1 << 16, 1 << 31, (1 << 32) - 1)))
            )
        elif what == "delete":
            del changed[at : at + data.draw(st.integers(1, 40))]
        elif what == "repeat":
            changed[at:at] = changed[at : at + data.draw(st.integers(1, 40))]
        else:
            changed[at:at] = data.draw(
                st.sampled_from((b"R", b"b", b"\x81", b"0", b"2", b"(", b"t", b".", b"u", b"h\x03", b"Q"))
            )
        if not changed:
            changed += b"x"
    path.write_bytes(changed)
    try:
        found = read(path)
        for tensor in found.values() if isinstance(found, dict) else ():
            tensor.load()
    except ModelError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - it may also be read
