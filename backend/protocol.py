"""The messages that add-on and backend speak: frozen dataclasses to and from lines of JSON-RPC 2.0. Bottom floor.

Standard library only, because both sides import it: Blender's Python and the backend's. ``docs/protocol.md`` tells the
rules; a change that an older side would misunderstand raises ``PROTOCOL``.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

PROTOCOL = 1
LONGEST_REQUEST = 1 << 20  # bytes of a line to the backend
LONGEST_ANSWER = 16 << 20  # bytes of a line from it

# Codes of errors: those of JSON-RPC 2.0, LSP's of a request that was cancelled, and ours.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603  # a defect; the traceback is in the log that the error names
CANCELLED = -32800
FAILED = -32000  # an error with a sentence for the person who caused it
NOT_GREETED = -32001
OTHER_PROTOCOL = -32002

DEFECT = 70  # exit code of a defect, as the command line has it

Id = int | str
M = TypeVar("M")


# --- requests --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """The first request. Answered by ``Welcome``."""

    protocol: int
    client: str = ""  # who asks, for the log
    folder: str | None = None  # absolute; the client's own, where previews and logs of defects go; None: no previews


@dataclass(frozen=True)
class ListModels:
    """Which models are there? Answered by ``Models``, also while a job runs."""


@dataclass(frozen=True)
class Reconstruct:
    """A job: make a head of a photo. Answered by ``Finished`` when it is done."""

    photo: str  # absolute path
    out: str  # absolute path of the head's folder; a head that is there is replaced when the new one is whole
    options: dict[str, Any] = field(default_factory=dict)  # as ``Options.to_dict``; what is not given is the default


@dataclass(frozen=True)
class Rebake:
    """A job: mesh and bake a finished head again. Answered by ``Finished`` when it is done."""

    head: str  # absolute path of the head's folder
    out: str  # absolute path; may be the same
    photo: str | None = None  # absolute path of the photo that it was made from; None: the model's own colour
    model: str | None = None  # where the model is not known by the name that it had
    options: dict[str, Any] = field(default_factory=dict)  # what shall differ from the options of the head


@dataclass(frozen=True)
class Cancel:
    """End a job, waiting or running. Answered by ``Cancelling`` at once; the job itself by the error CANCELLED."""

    id: Id


@dataclass(frozen=True)
class Shutdown:
    """End the backend, and the running job with it. Answered by null."""


# --- answers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Welcome:
    """What the backend is. ``missing``: a sentence with its mending for every library that is not there."""

    protocol: int
    version: str  # of Headstitch
    python: str
    pid: int
    packages: dict[str, str]  # name to version, of the libraries that it stands on
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Model:
    """One model. ``wrong`` says why it cannot be used."""

    name: str
    architecture: str
    licence: str
    bytes: int
    wrong: str | None = None


@dataclass(frozen=True)
class Models:
    """The models that are there; the template always is. ``warning``: why others may be missing here."""

    models: tuple[Model, ...]
    warning: str | None = None


@dataclass(frozen=True)
class Finished:
    """A head is finished. ``warnings``: those of the journey, then those of the quality report."""

    head: str  # the head's folder
    quality: dict[str, Any] | None  # as ``QualityReport.to_dict``
    warnings: tuple[str, ...]
    record: dict[str, Any]  # as in head.json
    seconds: float


@dataclass(frozen=True)
class Cancelling:
    """What the job that shall end was doing: waiting, running, or unknown (finished before, or never heard of)."""

    state: str


# --- notifications of the backend ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    job: Id
    stage: str
    fraction: float  # 0 to 1, never falls within a job
    seconds_left: float | None = None


@dataclass(frozen=True)
class Preview:
    """A picture of what will be, before the mesh is finished; a file in the client's folder, whole and its own name."""

    job: Id
    path: str
    shows: str  # "portrait": the aligned crop of the photo; "head": the head


@dataclass(frozen=True)
class Alive:
    """Every second: the process is there. ``cpu_seconds`` that it used so far tell work from sleep."""

    cpu_seconds: float
    job: Id | None = None  # that runs


REQUESTS: dict[str, type] = {
    "hello": Hello,
    "models": ListModels,
    "reconstruct": Reconstruct,
    "rebake": Rebake,
    "cancel": Cancel,
    "shutdown": Shutdown,
}
ANSWERS: dict[str, type | None] = {
    "hello": Welcome,
    "models": Models,
    "reconstruct": Finished,
    "rebake": Finished,
    "cancel": Cancelling,
    "shutdown": None,
}
NOTIFICATIONS: dict[str, type] = {"progress": Progress, "preview": Preview, "alive": Alive}
_METHODS = {kind: method for method, kind in (REQUESTS | NOTIFICATIONS).items()}


# --- what carries them -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Request:
    """A request with the number by which it is answered; ``id`` None is a notification, which is not answered."""

    id: Id | None
    message: Any  # one of REQUESTS


@dataclass(frozen=True)
class Answer:
    """A request went well."""

    id: Id
    result: Any  # plain JSON; ``read_answer`` makes it typed


@dataclass(frozen=True)
class Failure:
    """A request failed. ``sentence`` says what to do next."""

    id: Id | None  # None where the request could not be read so far
    code: int
    sentence: str
    kind: str = ""  # the error's class, as PhotoError
    exit_code: int = 1  # that the command line ends with
    log: str | None = None  # path of a file with the traceback


class MisfitError(ValueError):
    """A value does not fit its message; a part of a sentence says why."""


class ProtocolError(Exception):
    """A line that is no proper message. ``id``: of the request, as far as it could be read."""

    def __init__(self, code: int, sentence: str, id: Id | None = None) -> None:
        super().__init__(sentence)
        self.code = code
        self.id = id


def encode(message: Any) -> bytes:
    """A Request, Answer, Failure, or one of the NOTIFICATIONS, as a line: pure ASCII, with its line feed.

    Raises:
        ValueError: a number in it is not finite, or something in it is no JSON.
    """
    body: dict[str, Any] = {"jsonrpc": "2.0"}
    if isinstance(message, Request):
        if message.id is not None:
            body["id"] = message.id
        body |= {"method": _METHODS[type(message.message)], "params": dataclasses.asdict(message.message)}
    elif isinstance(message, Answer):
        result = message.result
        plain = dataclasses.asdict(result) if dataclasses.is_dataclass(type(result)) else result
        body |= {"id": message.id, "result": plain}
    elif isinstance(message, Failure):
        data = {"kind": message.kind, "exit_code": message.exit_code, "log": message.log}
        body |= {"id": message.id, "error": {"code": message.code, "message": message.sentence, "data": data}}
    else:
        body |= {"method": _METHODS[type(message)], "params": dataclasses.asdict(message)}
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    except (TypeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def decode_request(line: bytes) -> Request:
    """What a client wrote.

    Raises:
        ProtocolError: it is no request of ours; the code says which rule it breaks.
    """
    body = _parse(line)
    if not isinstance(body, dict):
        what = "batches are not taken" if isinstance(body, list) else "it is no object"
        raise ProtocolError(INVALID_REQUEST, f"This is no JSON-RPC 2.0 request: {what}; send one object a line.")
    number = body.get("id")
    if not _is_id(number) and number is not None:
        raise ProtocolError(INVALID_REQUEST, "The id of a request must be a whole number or a text.")
    if body.get("jsonrpc") != "2.0" or not isinstance(body.get("method"), str):
        raise ProtocolError(
            INVALID_REQUEST, 'This is no JSON-RPC 2.0 request: it needs "jsonrpc": "2.0" and a "method".', number
        )
    if "id" in body and number is None:
        raise ProtocolError(INVALID_REQUEST, "The id of a request must be a whole number or a text.")
    kind = REQUESTS.get(body["method"])
    if kind is None:
        raise ProtocolError(
            METHOD_NOT_FOUND,
            f"There is no method {body['method'][:80]!r}; there are {', '.join(sorted(REQUESTS))}.",
            number,
        )
    try:
        return Request(number, from_plain(kind, body.get("params", {}), strict=True))
    except MisfitError as error:
        raise ProtocolError(INVALID_PARAMS, f"{body['method']}: {error}.", number) from error


def decode_reply(line: bytes) -> Answer | Failure | Any:
    """What a backend wrote: an Answer, a Failure, or one of NOTIFICATIONS.

    Raises:
        ProtocolError: it is none of them.
    """
    body = _parse(line)
    try:
        return _reply_of(body)
    except (MisfitError, AttributeError, TypeError) as error:
        raise ProtocolError(INVALID_REQUEST, f"This is no message of the backend: {error}.") from error


def _reply_of(body: Any) -> Any:
    if not isinstance(body, dict) or body.get("jsonrpc") != "2.0":
        raise MisfitError("it is no JSON-RPC 2.0")
    if "method" in body:
        kind = NOTIFICATIONS.get(str(body["method"]))
        if kind is None:
            raise MisfitError(f"there is no notification {str(body['method'])[:80]!r}")
        return from_plain(kind, body.get("params", {}))
    if "error" in body:
        error = body["error"]
        values = {"id": body.get("id"), "code": error.get("code"), "sentence": error.get("message")}
        return from_plain(Failure, {**(error.get("data") or {}), **values})
    number = body.get("id")
    if "result" not in body or isinstance(number, bool) or not isinstance(number, int | str):
        raise MisfitError("it answers nothing")
    return Answer(number, body["result"])


def read_answer(method: str, result: Any) -> Any:
    """The typed result of a request.

    Raises:
        ProtocolError: it is not what answers this method.
    """
    kind = ANSWERS[method]
    try:
        return None if kind is None else from_plain(kind, result)
    except MisfitError as error:
        raise ProtocolError(INVALID_PARAMS, f"This is no answer to {method}: {error}.") from error


def method_of(message: Any) -> str:
    """The method's name of a request or notification."""
    return _METHODS[type(message)]


class Lines:
    """Cuts what comes through a pipe into lines; one that is too long is thrown away up to its end, and told of once.

    Args:
        longest: bytes that a line may have.
    """

    def __init__(self, longest: int) -> None:
        self._longest = longest
        self._begun = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """The lines that end in ``data``, without their ends and without empty ones; None for one that is too long."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            if not self._skipping and len(self._begun) + len(end) > self._longest:
                yield None
            elif not self._skipping and (line := bytes(self._begun + end).strip()):
                yield line
            self._begun.clear()
            self._skipping = False
        if not self._skipping:
            self._begun += rest
            if len(self._begun) > self._longest:
                yield None
                self._begun.clear()
                self._skipping = True


# --- plain values to dataclasses -------------------------------------------------------------------------------------


def from_plain(kind: type[M], values: Any, *, strict: bool = False) -> M:
    """A message out of plain JSON, every value checked against its field's type.

    Args:
        kind: the dataclass.
        values: of its fields.
        strict: refuse values that are no field; else they are left out, as a newer side may send more.

    Raises:
        MisfitError: something does not fit.
    """
    if not isinstance(values, Mapping):
        raise MisfitError("its parameters must be an object with names")
    hints = _hints(kind)
    known = {each.name: each for each in dataclasses.fields(typing.cast(Any, kind))}
    unknown = sorted(str(name)[:80] for name in values if name not in known)
    if strict and unknown:
        raise MisfitError(f"there is no parameter {unknown[0]!r}")
    checked = {}
    for name, each in known.items():
        if name in values:
            checked[name] = _checked(hints[name], values[name], name)
        elif each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING:
            raise MisfitError(f"the parameter {name} is missing")
    return kind(**checked)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


_WORDS = {str: "a text", int: "a whole number", bool: "true or false", float: "a finite number", dict: "an object"}


def _checked(hint: Any, value: Any, name: str) -> Any:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in inner:
            return None
        for each in inner:
            try:
                return _checked(each, value, name)
            except MisfitError:
                continue
        words = " or ".join(_WORDS.get(typing.get_origin(each) or each, "null") for each in inner)
        raise MisfitError(f"{name} must be {words}")
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise MisfitError(f"{name} must be a list")
        return tuple(_checked(inner[0], each, name) for each in value)
    if origin is dict:
        if not isinstance(value, dict):
            raise MisfitError(f"{name} must be an object")
        return {key: _checked(inner[1], each, f"{name}.{key}") for key, each in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type, hint), value)
    if hint is float and _is_finite(value):
        return float(value)
    if hint is float or not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise MisfitError(f"{name} must be {_WORDS.get(hint, 'null')}")
    return value


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1 << 1000 if isinstance(value, int) else math.isfinite(value)


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise ProtocolError(PARSE_ERROR, "This line is not UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise ProtocolError(PARSE_ERROR, f"This line is not JSON: {error}.") from error


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
