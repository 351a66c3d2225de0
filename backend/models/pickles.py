"""A pickle read as data: our own interpreter of its opcodes, which imports nothing and calls nothing of the file's.

What a pickle names ("global") becomes an inert symbol when it is on the caller's list, and else the file is refused.
What a pickle would call is answered by a builder of ours. Bytes stay views of the file. Everything is bounded by the
file's own length and by a budget of operations. Stands under ``torchfile`` and ``panohead``.

Opcodes: the documentation of Python's ``pickletools``, protocols 0 to 5 without what model files never use.
"""

from __future__ import annotations

import pickletools
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .weights import shown

OPERATIONS = 1_000_000  # of a file; an official one takes a tenth of that
LONGEST_TEXT = 4096  # bytes; longer ones are some module's source, and nobody asks for that
LONGEST_LINE = 1024  # of the text opcodes
LONGEST_NUMBER = 255  # bytes of a whole number
DEEPEST = 1000  # open marks

NAMES = {opcode.code.encode("latin1")[0]: opcode.name for opcode in pickletools.opcodes}
INTEGER = re.compile(rb"-?[0-9]{1,600}")


class RefusalError(ValueError):
    """Why a file is not read: a clause that goes on after the file's name."""


class Budget:
    """What a file may still cost, in operations; one for the file and for all files inside it."""

    def __init__(self, operations: int = OPERATIONS) -> None:
        self.left = operations

    def spend(self, operations: int) -> None:
        """Take from it.

        Raises:
            RefusalError: nothing is left.
        """
        self.left -= operations
        if self.left < 0:
            raise RefusalError("holds far more objects than any model does")


@dataclass(frozen=True, eq=False)
class Symbol:
    """Something that a pickle names, which we know and never touch."""

    name: str
    call: Callable[[tuple[Any, ...]], Any] | None = None
    """What a call of it gives, by our own hand; None where it is never called."""
    new: Callable[[tuple[Any, ...]], Any] | None = None
    """What a new instance of it is; None where there are none."""


class Buildable:
    """What may be given a state after it was made. Plain objects keep it, others decide themselves."""

    state: Any = None

    def build(self, state: Any) -> None:
        """Take the state; never looks at it."""
        self.state = state


class Inert(Buildable):
    """An instance of a class that we do not have: its name and its state, nothing that acts."""

    def __init__(self, name: str, state: Any = None) -> None:
        self.name = name
        self.state = state


class Dict(dict, Buildable):
    """An instance of some kind of dict that may also have a state."""


@dataclass(frozen=True)
class LongText:
    """Stands for a text that was too long to be a name or a value, and was skipped."""

    length: int


Symbols = Mapping[tuple[str, str], Symbol]
"""By module and name, exactly."""


class Reader:
    """Reads one pickle after another from a file.

    Args:
        data: the file's bytes.
        symbols: all that the pickles may name.
        budget: of the file.
        persistent: what a persistent id stands for; None where there are none.
    """

    def __init__(
        self,
        data: memoryview,
        symbols: Symbols,
        budget: Budget,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._data = data
        self._symbols = symbols
        self._budget = budget
        self._persistent = persistent
        self.position = 0
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: list[Any] = []

    def read(self) -> Any:
        """The next pickle's value: numbers, texts, memoryviews, tuples, lists, dicts, sets, and what builders made.

        Raises:
            RefusalError: the pickle is damaged, names something that is not on the list, or asks for too much.
        """
        self._stack, self._marks, self._memo = [], [], []
        data, spend, actions = self._data, self._budget.spend, _ACTIONS
        while True:
            if self.position >= len(data):
                raise RefusalError("is cut off")
            code = data[self.position]
            self.position += 1
            spend(1)
            if code == _STOP:
                value = self._pop()
                if self._stack or self._marks:
                    raise RefusalError("is damaged (values are left over at its end)")
                return value
            action = actions.get(code)
            if action is None:
                what = NAMES.get(code)
                raise RefusalError(
                    f"is damaged (there is no opcode {code})" if what is None else f"uses {what}, which no model needs"
                )
            action(self)

    # --- bytes -------------------------------------------------------------------------------------------------------

    def _take(self, count: int) -> memoryview:
        if count > len(self._data) - self.position:
            raise RefusalError("is cut off, or claims to hold more than it does")
        self.position += count
        return self._data[self.position - count : self.position]

    def _unpack(self, form: str) -> int:
        return struct.unpack(form, self._take(struct.calcsize(form)))[0]

    def _line(self) -> bytes:
        line, end, _ = bytes(self._data[self.position : self.position + LONGEST_LINE]).partition(b"\n")
        if not end:
            raise RefusalError("is damaged (a line in it has no end)")
        self.position += len(line) + 1
        return line

    def _text(self, length: int, encoding: str = "utf-8") -> str | LongText:
        view = self._take(length)
        return LongText(length) if length > LONGEST_TEXT else _decoded(bytes(view), encoding)

    # --- stack and memo ----------------------------------------------------------------------------------------------

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise RefusalError("is damaged (an operation lacks its value)")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise RefusalError("is damaged (an operation lacks its value)")
        return self._stack[-1]

    def _mark(self) -> None:
        if len(self._marks) >= DEEPEST:
            raise RefusalError("is nested deeper than any model is")
        self._marks.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            raise RefusalError("is damaged (an operation lacks its mark)")
        values, self._stack = self._stack, self._marks.pop()
        return values

    def _remember(self, index: int) -> None:
        value = self._top()
        if index == len(self._memo):
            self._memo.append(value)
        elif 0 <= index < len(self._memo):
            self._memo[index] = value
        else:  # every writer numbers them in order
            raise RefusalError("is damaged (it numbers its memo out of order)")

    def _recall(self, index: int) -> None:
        if not 0 <= index < len(self._memo):
            raise RefusalError("is damaged (it asks for a memo that it never made)")
        self._push(self._memo[index])

    # --- opcodes -----------------------------------------------------------------------------------------------------

    def _protocol(self) -> None:
        if (version := self._unpack("<B")) > 5:
            raise RefusalError(f"has the pickle protocol {version}, which there is not")

    def _frame(self) -> None:
        if self._unpack("<Q") > len(self._data) - self.position:
            raise RefusalError("is cut off, or claims to hold more than it does")

    def _long(self, length: int) -> None:
        if not 0 <= length <= LONGEST_NUMBER:
            raise RefusalError(f"holds a number of {length} bytes, which no model needs")
        self._push(int.from_bytes(self._take(length), "little", signed=True))

    def _integer_line(self, *, truths: bool) -> None:
        line = self._line()
        if truths and line in (b"00", b"01"):
            return self._push(line == b"01")
        line = line.removesuffix(b"L") if not truths else line
        if not INTEGER.fullmatch(line):
            raise RefusalError("is damaged (a number in it is none)")
        return self._push(int(line))

    def _float_line(self) -> None:
        try:
            self._push(float(self._line()))
        except ValueError as error:
            raise RefusalError("is damaged (a number in it is none)") from error

    def _index_line(self) -> int:
        line = self._line()
        if not re.fullmatch(rb"[0-9]{1,10}", line):
            raise RefusalError("is damaged (a number in it is none)")
        return int(line)

    def _append(self) -> None:
        value = self._pop()
        _require(self._top(), list).append(value)

    def _appends(self) -> None:
        values = self._pop_mark()
        _require(self._top(), list).extend(values)

    def _set_item(self) -> None:
        value, key = self._pop(), self._pop()
        _require(self._top(), dict)[_key(key)] = value

    def _set_items(self) -> None:
        values = self._pop_mark()
        _fill(_require(self._top(), dict), values)

    def _add_items(self) -> None:
        values = self._pop_mark()
        _require(self._top(), set).update(map(_key, values))

    def _dict(self) -> None:
        made: dict[Any, Any] = {}
        _fill(made, self._pop_mark())
        self._push(made)

    def _tuple(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._push(tuple(reversed(values)))

    def _pop_value(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._pop_mark()

    def _global(self) -> None:
        module, name = _decoded(self._line()), _decoded(self._line())
        self._push(self._symbol(module, name))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise RefusalError("is damaged (the name of something in it is no text)")
        self._push(self._symbol(module, name))

    def _symbol(self, module: str, name: str) -> Symbol:
        known = self._symbols.get((module, name))
        if known is None:
            raise RefusalError(f"asks for {shown(f'{module}.{name}')}, which no model of this kind needs")
        return known

    def _reduce(self) -> None:
        arguments, symbol = self._pop(), self._pop()
        if type(symbol) is not Symbol or symbol.call is None or type(arguments) is not tuple:
            raise RefusalError(f"calls {_said(symbol)}, which no model needs")
        self._push(symbol.call(arguments))

    def _new(self) -> None:
        arguments, symbol = self._pop(), self._pop()
        if type(symbol) is not Symbol or symbol.new is None or type(arguments) is not tuple:
            raise RefusalError(f"makes an instance of {_said(symbol)}, which no model needs")
        self._push(symbol.new(arguments))

    def _new_with_keywords(self) -> None:
        if self._pop() != {}:
            raise RefusalError("makes an instance with keywords, which no model needs")
        self._new()

    def _build(self) -> None:
        state, made = self._pop(), self._top()
        if not isinstance(made, Buildable):
            raise RefusalError(f"gives a state to {_said(made)}, which no model needs")
        made.build(state)

    def _persistent_id(self) -> None:
        if self._persistent is None:
            raise RefusalError("refers to data outside of itself, which no model needs")
        self._push(self._persistent(self._pop()))


def counted(args: tuple[Any, ...], count: int, name: str, *, most: int | None = None) -> tuple[Any, ...]:
    """The arguments of a call, if there are as many as there may be."""
    if not count <= len(args) <= (most or count):
        raise RefusalError(f"calls {name} with {len(args)} values, which cannot be")
    return args


def _fill(made: dict[Any, Any], values: list[Any]) -> None:
    if len(values) % 2:
        raise RefusalError("is damaged (a key lacks its value)")
    for key, value in zip(values[::2], values[1::2], strict=True):
        made[_key(key)] = value


def _key(value: Any) -> Any:
    """A key of a dict. Numbers get the hash of a text: whole numbers can be chosen so that all hash alike."""
    if type(value) is str:
        return value
    if value is None or type(value) in (bool, int, float):
        return ("number", repr(value))
    raise RefusalError(f"has {_said(value)} for a key, which no model needs")


def _require(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise RefusalError(f"is damaged (it fills {_said(value)} as if it were a {kind.__name__})")
    return value


def _said(value: Any) -> str:
    if isinstance(value, Symbol | Inert):
        return shown(value.name)
    return f"a {type(value).__name__}"


def _decoded(text: bytes, encoding: str = "utf-8") -> str:
    try:
        return text.decode(encoding)
    except UnicodeDecodeError as error:
        raise RefusalError("is damaged (a text in it is none)") from error


_STOP = ord(".")
_BY_NAME: dict[str, Callable[[Reader], Any]] = {
    "PROTO": Reader._protocol,
    "FRAME": Reader._frame,
    "MARK": Reader._mark,
    "POP": Reader._pop_value,
    "POP_MARK": Reader._pop_mark,
    "DUP": lambda r: r._push(r._top()),
    "NONE": lambda r: r._push(None),
    "NEWTRUE": lambda r: r._push(True),
    "NEWFALSE": lambda r: r._push(False),
    "INT": lambda r: r._integer_line(truths=True),
    "LONG": lambda r: r._integer_line(truths=False),
    "BININT": lambda r: r._push(r._unpack("<i")),
    "BININT1": lambda r: r._push(r._unpack("<B")),
    "BININT2": lambda r: r._push(r._unpack("<H")),
    "LONG1": lambda r: r._long(r._unpack("<B")),
    "LONG4": lambda r: r._long(r._unpack("<i")),
    "FLOAT": Reader._float_line,
    "BINFLOAT": lambda r: r._push(r._unpack(">d")),
    "SHORT_BINSTRING": lambda r: r._push(r._text(r._unpack("<B"))),
    "BINSTRING": lambda r: r._push(r._text(r._unpack("<I"))),
    "UNICODE": lambda r: r._push(_decoded(r._line(), "raw-unicode-escape")),
    "SHORT_BINUNICODE": lambda r: r._push(r._text(r._unpack("<B"))),
    "BINUNICODE": lambda r: r._push(r._text(r._unpack("<I"))),
    "BINUNICODE8": lambda r: r._push(r._text(r._unpack("<Q"))),
    "SHORT_BINBYTES": lambda r: r._push(r._take(r._unpack("<B"))),
    "BINBYTES": lambda r: r._push(r._take(r._unpack("<I"))),
    "BINBYTES8": lambda r: r._push(r._take(r._unpack("<Q"))),
    "EMPTY_LIST": lambda r: r._push([]),
    "APPEND": Reader._append,
    "APPENDS": Reader._appends,
    "LIST": lambda r: r._push(r._pop_mark()),
    "EMPTY_TUPLE": lambda r: r._push(()),
    "TUPLE": lambda r: r._push(tuple(r._pop_mark())),
    "TUPLE1": lambda r: r._tuple(1),
    "TUPLE2": lambda r: r._tuple(2),
    "TUPLE3": lambda r: r._tuple(3),
    "EMPTY_DICT": lambda r: r._push({}),
    "DICT": Reader._dict,
    "SETITEM": Reader._set_item,
    "SETITEMS": Reader._set_items,
    "EMPTY_SET": lambda r: r._push(set()),
    "ADDITEMS": Reader._add_items,
    "FROZENSET": lambda r: r._push(set(map(_key, r._pop_mark()))),
    "GET": lambda r: r._recall(r._index_line()),
    "BINGET": lambda r: r._recall(r._unpack("<B")),
    "LONG_BINGET": lambda r: r._recall(r._unpack("<I")),
    "PUT": lambda r: r._remember(r._index_line()),
    "BINPUT": lambda r: r._remember(r._unpack("<B")),
    "LONG_BINPUT": lambda r: r._remember(r._unpack("<I")),
    "MEMOIZE": lambda r: r._remember(len(r._memo)),
    "GLOBAL": Reader._global,
    "STACK_GLOBAL": Reader._stack_global,
    "REDUCE": Reader._reduce,
    "NEWOBJ": Reader._new,
    "NEWOBJ_EX": Reader._new_with_keywords,
    "BUILD": Reader._build,
    "BINPERSID": Reader._persistent_id,
}
_ACTIONS = {code: _BY_NAME[name] for code, name in NAMES.items() if name in _BY_NAME}
