from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from headstitch.backend import protocol
from headstitch.backend.protocol import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Answer,
    Failure,
    Lines,
    ProtocolError,
    Request,
    decode_reply,
    decode_request,
    encode,
    read_answer,
)
from hypothesis import given
from hypothesis import strategies as st

REQUESTS = [
    protocol.Hello(1, "a test", "/tmp/ü 頭"),
    protocol.ListModels(),
    protocol.Reconstruct("/photos/Zoë.jpg", "/heads/zoë", {"seed": 3, "inversion": {"mask": "planes"}, "crop": None}),
    protocol.Rebake("/heads/a", "/heads/b", None, "panohead", {"faces": 500}),
    protocol.Cancel(7),
    protocol.Cancel("seven"),
    protocol.Shutdown(),
]
NOTIFICATIONS = [
    protocol.Progress(3, "finding the face", 0.5, None),
    protocol.Progress("a", "done", 1, 0),
    protocol.Preview(3, "/tmp/preview.png", "head"),
    protocol.Alive(1.5),
]
MODEL = protocol.Model("panohead", "panohead", "non-commercial", 1 << 32, "model.json is missing")
ANSWERS = {
    "hello": protocol.Welcome(1, "0.1.0", "3.11.7", 42, {"torch": "2.13.0"}, ("open3d is missing",)),
    "models": protocol.Models((MODEL,), None),
    "reconstruct": protocol.Finished("/heads/a", {"passed": True}, ("small face",), {"schema": 1}, 3.25),
    "cancel": protocol.Cancelling("running"),
    "shutdown": None,
}


@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: type(message).__name__)
def test_a_request_is_the_same_after_the_way(message):
    line = encode(Request(5, message))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert decode_request(line) == Request(5, message)


@pytest.mark.parametrize("message", NOTIFICATIONS, ids=str)
def test_a_notification_is_the_same_after_the_way(message):
    assert decode_reply(encode(message)) == message
    assert "id" not in json.loads(encode(message))


@pytest.mark.parametrize("method", ANSWERS)
def test_an_answer_is_the_same_after_the_way(method):
    reply = decode_reply(encode(Answer("x", ANSWERS[method])))
    assert isinstance(reply, Answer)
    assert reply.id == "x"
    assert read_answer(method, reply.result) == ANSWERS[method]


@pytest.mark.parametrize("number", [3, "x", None])
def test_a_failure_is_the_same_after_the_way(number):
    failure = Failure(number, protocol.FAILED, "No face; give another photo.", "FaceError", 4, "/tmp/log.txt")
    assert decode_reply(encode(failure)) == failure
    assert json.loads(encode(failure))["error"]["message"] == "No face; give another photo."


def test_a_failure_of_another_server_needs_only_what_json_rpc_wants():
    line = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}'
    assert decode_reply(line) == Failure(None, -32700, "Parse error")


def test_paths_that_are_no_unicode_come_through():
    path = b"/photos/\xff\xfe.png".decode("utf-8", "surrogateescape")
    assert decode_request(encode(Request(1, protocol.Reconstruct(path, "/out")))).message.photo == path


def test_a_message_that_is_no_json_is_refused_by_its_sender():
    for value in (float("nan"), float("inf"), object(), {1, 2}):
        with pytest.raises(ValueError, match=r"."):
            encode(Answer(1, {"value": value}))


BAD = {
    "nothing like it": (b"hello", PARSE_ERROR, None),
    "half": (b'{"jsonrpc":"2.0","id":1', PARSE_ERROR, None),
    "not UTF-8": (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', PARSE_ERROR, None),
    "NaN": (b'{"jsonrpc":"2.0","id":NaN}', PARSE_ERROR, None),
    "very deep": (b"[" * 100_000, PARSE_ERROR, None),
    "a very long number": (b'{"jsonrpc":"2.0","id":' + b"1" * 5000 + b"}", PARSE_ERROR, None),
    "batch": (b"[]", INVALID_REQUEST, None),
    "number": (b"1", INVALID_REQUEST, None),
    "no version": (b'{"id":1,"method":"models"}', INVALID_REQUEST, 1),
    "other version": (b'{"jsonrpc":"1.0","id":1,"method":"models"}', INVALID_REQUEST, 1),
    "no method": (b'{"jsonrpc":"2.0","id":1}', INVALID_REQUEST, 1),
    "method is no text": (b'{"jsonrpc":"2.0","id":1,"method":7}', INVALID_REQUEST, 1),
    "id null": (b'{"jsonrpc":"2.0","id":null,"method":"models"}', INVALID_REQUEST, None),
    "id true": (b'{"jsonrpc":"2.0","id":true,"method":"models"}', INVALID_REQUEST, None),
    "id half": (b'{"jsonrpc":"2.0","id":1.5,"method":"models"}', INVALID_REQUEST, None),
    "id list": (b'{"jsonrpc":"2.0","id":[1],"method":"models"}', INVALID_REQUEST, None),
    "unknown method": (b'{"jsonrpc":"2.0","id":1,"method":"explode"}', METHOD_NOT_FOUND, 1),
    "positional": (b'{"jsonrpc":"2.0","id":1,"method":"hello","params":[1]}', INVALID_PARAMS, 1),
    "params null": (b'{"jsonrpc":"2.0","id":1,"method":"models","params":null}', INVALID_PARAMS, 1),
    "one missing": (b'{"jsonrpc":"2.0","id":1,"method":"hello"}', INVALID_PARAMS, 1),
    "one too many": (b'{"jsonrpc":"2.0","id":1,"method":"models","params":{"x":1}}', INVALID_PARAMS, 1),
    "text for number": (b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":"1"}}', INVALID_PARAMS, 1),
    "truth for number": (b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"protocol":true}}', INVALID_PARAMS, 1),
    "options a list": (
        b'{"jsonrpc":"2.0","id":1,"method":"reconstruct","params":{"photo":"/a","out":"/b","options":[]}}',
        INVALID_PARAMS,
        1,
    ),
    "id to cancel a list": (b'{"jsonrpc":"2.0","id":1,"method":"cancel","params":{"id":[]}}', INVALID_PARAMS, 1),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_has_its_code_and_a_sentence_and_its_id_where_it_can_be_read(name):
    line, code, number = BAD[name]
    with pytest.raises(ProtocolError) as error:
        decode_request(line)
    assert (error.value.code, error.value.id) == (code, number)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_wrong_parameters_are_named():
    for params, said in (
        ({"photo": "/a"}, "reconstruct: the parameter out is missing."),
        ({"photo": "/a", "out": 3}, "reconstruct: out must be a text."),
        ({"photo": "/a", "out": "/b", "ouch": 1}, "reconstruct: there is no parameter 'ouch'."),
    ):
        line = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "reconstruct", "params": params}).encode()
        with pytest.raises(ProtocolError) as error:
            decode_request(line)
        assert str(error.value) == said


@pytest.mark.parametrize(
    "line",
    [
        b"Python 3.11.7",
        b"[]",
        b'{"jsonrpc":"2.0"}',
        b'{"jsonrpc":"2.0","id":1}',
        b'{"jsonrpc":"2.0","id":null,"result":1}',
        b'{"jsonrpc":"2.0","id":1,"error":7}',
        b'{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":"y"}}',
        b'{"jsonrpc":"2.0","method":"explode","params":{}}',
        b'{"jsonrpc":"2.0","method":"progress","params":{"job":1,"stage":"x","fraction":"much"}}',
        b'{"jsonrpc":"2.0","method":"progress","params":{"job":1,"stage":"x","fraction":1e999}}',
    ],
)
def test_what_is_no_message_of_a_backend_is_refused(line):
    with pytest.raises(ProtocolError):
        decode_reply(line)


def test_a_newer_backend_may_say_more_but_not_something_else():
    welcome = {**dataclasses.asdict(ANSWERS["hello"]), "colour": "blue"}
    assert read_answer("hello", welcome) == ANSWERS["hello"]
    with pytest.raises(ProtocolError, match="pid must be a whole number"):
        read_answer("hello", {**welcome, "pid": "many"})
    with pytest.raises(ProtocolError, match="packages\\.torch must be a text"):
        read_answer("hello", {**welcome, "packages": {"torch": None}})


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), st.integers(1, 40))
def test_lines_come_out_whole_however_the_pipe_cuts_them(lines, size):
    data = b"".join(line + b"\n" for line in lines)
    cutter = Lines(1000)
    got = [line for start in range(0, len(data), size) for line in cutter.feed(data[start : start + size])]
    assert got == [line.strip() for line in lines if line.strip()]


@given(st.integers(1, 500))
def test_a_line_that_is_too_long_is_told_once_and_the_next_is_whole(size):
    cutter = Lines(100)
    data = b"a" * 100 + b"\n" + b"b" * 5000 + b"\nc\n" + b"d" * 101 + b"\ne\n"
    got = [line for start in range(0, len(data), size) for line in cutter.feed(data[start : start + size])]
    assert got == [b"a" * 100, None, b"c", None, b"e"]


def test_both_sides_import_it_without_anything_else():
    code = (
        "import sys; before = set(sys.modules)\n"
        "import headstitch.backend.protocol\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['headstitch']"
