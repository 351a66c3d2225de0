from __future__ import annotations

import contextlib
import json
import os
import queue
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import headstitch
import pytest
from headstitch.addon.environment import OWN_CODE, RUN
from headstitch.backend import protocol
from headstitch.backend.errors import OptionError
from headstitch.backend.options import Options
from headstitch.backend.protocol import Hello, ProtocolError, Rebake, Reconstruct
from headstitch.backend.results.folder import HEAD_FILES, is_head
from headstitch.backend.workshop import Workshop, changed

ROOT = Path(__file__).parents[2]
PRETEND = Path(__file__).with_name("pretend.py")
ISOLATED = [sys.executable, "-I", "-u", "-X", "utf8", "-c"]
HOME = OWN_CODE.format(extension=str(ROOT))
REAL = [*ISOLATED, HOME + RUN, "serve"]
FAKE = [*ISOLATED, HOME + f"import runpy\nrunpy.run_path({str(PRETEND)!r}, run_name='__main__')\n"]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these tests kill by POSIX signals")
PATIENCE = 30.0  # seconds for what takes none, on a machine that has much else to do


class Wire:
    """A backend and what it says, line by line."""

    def __init__(self, command: list[str], folder: Path | None) -> None:
        self.folder = folder
        self.child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
        self.said: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.stderr = b""
        for work in (self._read, self._drain):
            threading.Thread(target=work, daemon=True).start()

    def _read(self) -> None:
        assert self.child.stdout is not None
        with open(self.child.stdout.fileno(), "rb", closefd=False) as lines:
            for line in lines:
                self.said.put(json.loads(line))  # a line that is no message shows itself here
        self.said.put(None)

    def _drain(self) -> None:
        assert self.child.stderr is not None
        while data := self.child.stderr.read(1 << 16):
            self.stderr += data

    def write(self, data: bytes) -> None:
        assert self.child.stdin is not None
        left = memoryview(data)
        while left:
            left = left[self.child.stdin.write(left) or 0 :]

    def send(self, number: int | str, method: str, **params: Any) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n")

    def job(self, number: int, out: Path, **options: Any) -> None:
        self.send(number, "reconstruct", photo="/photo.png", out=str(out), options=options)

    def next(self) -> dict[str, Any] | None:
        """The next message that is no heartbeat; None at the end."""
        while True:
            message = self.said.get(timeout=PATIENCE)
            if message is None or message.get("method") != "alive":
                return message

    def until(self, fits: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """All messages up to the one that fits."""
        messages = []
        while True:
            message = self.next()
            assert message is not None, f"it ended: {self.stderr.decode()}"
            messages.append(message)
            if fits(message):
                return messages

    def reply(self, number: Any) -> dict[str, Any]:
        return self.until(lambda message: "id" in message and message["id"] == number)[-1]

    def stage(self, job: int, stage: str) -> None:
        self.until(lambda message: message.get("params", {}).get("stage") == stage and message["params"]["job"] == job)

    def greet(self) -> dict[str, Any]:
        self.send("hello", "hello", protocol=1, folder=None if self.folder is None else str(self.folder))
        return self.reply("hello")

    def close_stdin(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()

    def end(self, seconds: float = PATIENCE) -> int:
        return self.child.wait(seconds)


@contextlib.contextmanager
def running(command: list[str], folder: Path | None) -> Iterator[Wire]:
    wire = Wire(command, folder)
    try:
        yield wire
    finally:
        wire.child.kill()
        wire.child.wait()
        for stream in (wire.child.stdin, wire.child.stdout, wire.child.stderr):
            with contextlib.suppress(OSError):
                stream.close()  # pyright: ignore[reportOptionalMemberAccess]


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Wire]:
    """One pretended backend for all tests that it must survive."""
    with running(FAKE, tmp_path_factory.mktemp("shared")) as wire:
        assert "result" in wire.greet()
        yield wire
        wire.send("bye", "shutdown")
        assert wire.reply("bye")["result"] is None
        assert wire.end() == 0


@pytest.fixture
def wire(tmp_path) -> Iterator[Wire]:
    """One of its own for a test that ends it."""
    folder = tmp_path / "client"
    folder.mkdir()
    with running(FAKE, folder) as one:
        one.greet()
        yield one


def nothing_half_written(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if ".partial" in path.name or ".old-" in path.name]


# --- greeting --------------------------------------------------------------------------------------------------------


def test_it_says_what_it_is(shared):
    welcome = protocol.read_answer("hello", shared.greet()["result"])
    assert welcome.protocol == protocol.PROTOCOL
    assert welcome.version == headstitch.__version__
    assert welcome.python == ".".join(map(str, sys.version_info[:3]))
    assert welcome.pid == shared.child.pid
    assert welcome.packages == {"torch": "2.0"}
    assert welcome.missing == ("open3d is missing; install it.",)


def test_nobody_is_served_before_hello_nor_with_another_protocol(tmp_path):
    with running(FAKE, None) as wire:
        wire.send(1, "models")
        assert wire.reply(1)["error"]["code"] == protocol.NOT_GREETED
        wire.send(2, "hello", protocol=2)
        error = wire.reply(2)["error"]
        assert error["code"] == protocol.OTHER_PROTOCOL
        assert "speaks protocol 2" in error["message"]
        wire.job(3, tmp_path / "head")
        assert wire.reply(3)["error"]["code"] == protocol.NOT_GREETED
        assert "result" in wire.greet()
        wire.send(4, "models")
        assert "result" in wire.reply(4)


@pytest.mark.parametrize("folder", ["relative", "/no/such/folder", ""])
def test_a_folder_that_is_none_is_refused(shared, folder):
    shared.send(1, "hello", protocol=1, folder=folder)
    assert shared.reply(1)["error"]["code"] == protocol.INVALID_PARAMS


def test_what_is_missing_has_a_sentence(monkeypatch):
    import importlib.util as util

    find = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "open3d" else find(name))
    (said,) = Workshop().missing()
    assert "lacks the package open3d" in said
    assert sys.executable in said


# --- lines -----------------------------------------------------------------------------------------------------------

BAD = [
    (b"hello\n", protocol.PARSE_ERROR, None),
    (b"\xff\xfe\x00\n", protocol.PARSE_ERROR, None),
    (b'{"jsonrpc":"2.0","id":1\n', protocol.PARSE_ERROR, None),
    (b"[" * 60_000 + b"\n", protocol.PARSE_ERROR, None),
    (b'[{"jsonrpc":"2.0","id":1,"method":"models"}]\n', protocol.INVALID_REQUEST, None),
    (b'{"id":9,"method":"models"}\n', protocol.INVALID_REQUEST, 9),
    (b'{"jsonrpc":"2.0","id":9,"method":"explode"}\n', protocol.METHOD_NOT_FOUND, 9),
    (b'{"jsonrpc":"2.0","id":9,"method":"cancel"}\n', protocol.INVALID_PARAMS, 9),
    (b'{"jsonrpc":"2.0","id":9,"method":"models","params":[]}\n', protocol.INVALID_PARAMS, 9),
    (b"x" * (3 << 20) + b"\n", protocol.INVALID_REQUEST, None),
]


@pytest.mark.parametrize(("line", "code", "number"), BAD, ids=range(len(BAD)))
def test_a_bad_line_is_answered_and_the_server_lives_on(shared, line, code, number):
    shared.write(line)
    message = shared.next()
    assert message["error"]["code"] == code
    assert message["id"] == number
    assert message["error"]["message"].endswith(".")
    shared.send("next", "models")
    assert "result" in shared.reply("next")


def test_empty_lines_and_notifications_are_not_answered(shared):
    shared.write(b'\n  \n\r\n{"jsonrpc":"2.0","method":"models"}\n')
    shared.send("next", "models")
    assert shared.next()["id"] == "next"


def test_no_line_ends_it(shared):
    chance = random.Random(3)
    whole = b'{"jsonrpc":"2.0","id":1,"method":"cancel","params":{"id":1}}'
    for number in range(300):
        line = bytearray(whole if number % 2 else chance.randbytes(chance.randrange(1, 80)))
        for _ in range(chance.randrange(1, 4)):
            line[chance.randrange(len(line))] = chance.choice(b'\x00\xff{}[]",:0 e-')
        shared.write(bytes(line).replace(b"\n", b" ") + b"\n")
    shared.send("next", "models")
    replies = shared.until(lambda message: message.get("id") == "next")
    assert len(replies) > 250  # blank lines and what became notifications are not answered
    assert all(set(reply) == {"jsonrpc", "id", "error"} or reply.get("result") for reply in replies)


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"photo": "photo.png"}, "photo is 'photo.png'"),
        ({"photo": ""}, "photo is ''"),
        ({"photo": "/a\0b"}, "photo is "),
        ({"photo": "/\ud800"}, "photo is "),
        ({"out": "../head"}, "out is '../head'"),
        ({"options": {"colour": 1}}, "There is no option 'colour'"),
        ({"options": {"inversion": {"x": 1}}}, "There is no option 'inversion.x'"),
    ],
)
def test_parameters_that_cannot_be_are_refused_at_once(params, said):
    with pytest.raises(ProtocolError) as error:
        Workshop().check(Reconstruct(**{"photo": "/photo.png", "out": "/head", **params}))
    assert error.value.code == protocol.INVALID_PARAMS
    assert str(error.value).startswith(said)


def test_an_option_that_cannot_work_says_so_before_the_job(shared, tmp_path):
    shared.job(1, tmp_path, do="anything")
    assert shared.reply(1)["error"]["code"] == protocol.INVALID_PARAMS  # "do" is no option
    with pytest.raises(OptionError, match="--faces is 3"):
        Workshop().check(Rebake("/head", "/out", options={"faces": 3}))
    with pytest.raises(OptionError, match="give its options by name"):
        Workshop().check(Rebake("/head", "/out", options={"inversion": "fast"}))


def test_options_come_through_json_whole_or_in_part():
    some = Options(faces=500, angles=(1.0, 2.0, 3.0), crop=(1.0, 2.0, 3.0, 4.0))
    assert changed(Options(), json.loads(json.dumps(some.to_dict()))) == some
    assert changed(some, {"inversion": {"mask": "planes"}}).inversion.mask == "planes"
    assert changed(some, {"seed": 4}).faces == 500


# --- jobs ------------------------------------------------------------------------------------------------------------


def test_a_job_reports_shows_a_preview_before_its_end_and_is_answered(shared, tmp_path):
    shared.job(1, tmp_path / "head")
    messages = shared.until(lambda message: message.get("id") == 1)
    progress = [message["params"] for message in messages if message.get("method") == "progress"]
    assert progress[0]["stage"] == "loading the libraries"
    assert [each["fraction"] for each in progress] == sorted(each["fraction"] for each in progress)
    assert progress[-1]["stage"] == "done"
    (preview,) = [message["params"] for message in messages if message.get("method") == "preview"]
    assert preview["job"] == 1
    assert preview["shows"] == "portrait"
    assert Path(preview["path"]).read_bytes() == b"a picture"
    assert Path(preview["path"]).parent == shared.folder
    finished = protocol.read_answer("reconstruct", messages[-1]["result"])
    assert finished.head == str(tmp_path / "head")
    assert finished.warnings == ("a warning",)
    assert is_head(tmp_path / "head")


def test_previews_have_names_of_their_own(shared, tmp_path):
    paths = []
    for number in (1, 2):
        shared.job(number, tmp_path / "head")
        messages = shared.until(lambda message, number=number: message.get("id") == number)
        paths += [message["params"]["path"] for message in messages if message.get("method") == "preview"]
    assert len(set(paths)) == 2


def test_jobs_run_one_after_another_in_one_warm_process(shared, tmp_path):
    for number in (1, 2, 3):
        shared.job(number, tmp_path / str(number))
    messages = shared.until(lambda message: message.get("id") == 3)
    order = [message["params"]["job"] for message in messages if message.get("method") == "progress"]
    assert order == sorted(order)
    loads = [message["result"]["record"]["loads"] for message in messages if "result" in message]
    assert loads == [loads[0], loads[0] + 1, loads[0] + 2]  # the same workshop


def test_an_id_that_a_job_has_is_not_given_twice(shared, tmp_path):
    shared.job(1, tmp_path / "a", do="spin")
    shared.job(1, tmp_path / "b")
    error = shared.until(lambda message: "id" in message)[-1]["error"]
    assert error["code"] == protocol.INVALID_REQUEST
    shared.send("c", "cancel", id=1)
    assert shared.reply(1)["error"]["code"] == protocol.CANCELLED


def test_a_rebake_is_a_job_too(shared, tmp_path):
    shared.send(1, "rebake", head=str(tmp_path), out=str(tmp_path / "new"), options={})
    assert shared.reply(1)["result"]["head"] == str(tmp_path / "new")


def test_models_are_listed_beside_a_running_job(shared, tmp_path):
    shared.job(1, tmp_path / "head", do="spin")
    shared.stage(1, "finding the face")
    shared.send(2, "models")
    models = protocol.read_answer("models", shared.reply(2)["result"])
    assert models.models[0].name == "template"
    shared.send(3, "cancel", id=1)
    shared.reply(1)


def test_the_template_is_always_there_and_a_broken_models_folder_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTITCH_MODELS", str(tmp_path / "none"))
    assert [model.name for model in Workshop().models().models] == ["template"]
    (tmp_path / "none" / "broken").mkdir(parents=True)
    (tmp_path / "none" / "broken" / "model.json").write_text('{"format": 1}')
    template, *rest = Workshop().models().models
    assert template.wrong is None
    assert all(model.wrong for model in rest)


# --- errors ----------------------------------------------------------------------------------------------------------


def test_an_error_of_ours_is_its_sentence_and_its_exit_code(shared, tmp_path):
    shared.job(1, tmp_path, do="no_face")
    error = shared.reply(1)["error"]
    assert error["code"] == protocol.FAILED
    assert error["message"] == "No face was found in photo.png; give a photo with a face."
    assert error["data"] == {"kind": "FaceError", "exit_code": 4, "log": None}


def test_a_full_disk_is_told_in_its_words(shared, tmp_path):
    shared.job(1, tmp_path, do="full_disk")
    error = shared.reply(1)["error"]
    assert error["message"].startswith("The disk is full, so /somewhere/head was not written")
    assert error["data"]["exit_code"] == 5


def test_a_defect_is_one_sentence_and_a_log(shared, tmp_path):
    shared.job(1, tmp_path, do="defect")
    error = shared.reply(1)["error"]
    assert error["code"] == protocol.INTERNAL_ERROR
    log = Path(error["data"]["log"])
    assert (
        error["message"] == f"A defect of Headstitch (KeyError: 'nobody foresaw\\nthis'); please report it with {log}."
    )
    assert "in defect\n    raise KeyError" in log.read_text()
    assert error["data"]["exit_code"] == protocol.DEFECT


@pytest.mark.parametrize("do", ["leave", "no_number"])
def test_whatever_a_library_does_the_server_lives_on(shared, tmp_path, do):
    shared.job(1, tmp_path / "head", do=do)
    assert shared.reply(1)["error"]["code"] == protocol.INTERNAL_ERROR
    shared.job(2, tmp_path / "head")
    assert "result" in shared.reply(2)


def test_prints_do_not_get_between_messages(shared, tmp_path):
    before = len(shared.stderr)
    shared.job(1, tmp_path / "head", do="prints")
    assert "result" in shared.reply(1)  # every line was JSON
    end = time.monotonic() + PATIENCE
    while b"from a child" not in shared.stderr[before:] and time.monotonic() < end:
        time.sleep(0.01)
    for who in (b"from Python", b"from a descriptor", b"from C", b"from a child"):
        assert who in shared.stderr[before:]


def test_a_library_that_reads_stdin_takes_no_request(shared, tmp_path):
    shared.job(1, tmp_path / "head", do="reads")
    assert shared.reply(1)["result"]["record"]["read"] == ""
    shared.send(2, "models")
    assert "result" in shared.reply(2)


def test_a_preview_that_cannot_be_written_does_not_end_the_job(tmp_path):
    folder = tmp_path / "client"
    folder.mkdir()
    with running(FAKE, folder) as wire:
        wire.greet()
        folder.rmdir()
        wire.job(1, tmp_path / "head")
        messages = wire.until(lambda message: message.get("id") == 1)
        assert "result" in messages[-1]
        assert not [message for message in messages if message.get("method") == "preview"]


# --- cancelling ------------------------------------------------------------------------------------------------------


def test_a_waiting_job_is_cancelled_without_having_begun(shared, tmp_path):
    shared.job(1, tmp_path / "a", do="spin")
    shared.job(2, tmp_path / "b")
    shared.stage(1, "finding the face")
    shared.send("c2", "cancel", id=2)
    assert shared.reply("c2")["result"] == {"state": "waiting"}
    assert shared.reply(2)["error"]["code"] == protocol.CANCELLED
    shared.send("c1", "cancel", id=1)
    assert shared.reply("c1")["result"] == {"state": "running"}
    assert shared.reply(1)["error"]["code"] == protocol.CANCELLED
    shared.send("c3", "cancel", id=1)
    assert shared.reply("c3")["result"] == {"state": "unknown"}


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("do", ["spin", "swallow"])
def test_a_job_is_broken_off_in_any_stage_and_the_next_one_works(shared, tmp_path, do, at):
    shared.job(1, tmp_path / "head", do=do, at=at)
    shared.stage(1, ("finding the face", "extracting the surface", "baking the texture", "writing")[at])
    start = time.monotonic()
    shared.send("c", "cancel", id=1)
    error = shared.reply(1)["error"]
    assert error["code"] == protocol.CANCELLED
    assert error["data"]["exit_code"] == 130
    assert time.monotonic() - start < 2
    assert list(tmp_path.iterdir()) == []
    shared.job(2, tmp_path / "head")
    assert "result" in shared.reply(2)


def test_a_job_that_is_broken_off_while_it_writes_leaves_the_earlier_head(shared, tmp_path):
    shared.job(1, tmp_path / "head")
    shared.reply(1)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "head").iterdir()}
    shared.job(2, tmp_path / "head", do="slow_files")
    shared.stage(2, "writing")
    time.sleep(0.2)
    shared.send("c", "cancel", id=2)
    assert shared.reply(2)["error"]["code"] == protocol.CANCELLED
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "head").iterdir()} == before
    assert nothing_half_written(tmp_path)


def test_an_import_is_not_broken_off_but_what_comes_after_it(shared, tmp_path):
    (tmp_path / "slow_module.py").write_text(
        "import time\nend = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass\nWHOLE = True\n"
    )
    shared.job(1, tmp_path / "head", do="imports", path=str(tmp_path))
    shared.stage(1, "finding the face")
    time.sleep(0.2)
    shared.send("c", "cancel", id=1)
    assert shared.reply(1)["error"]["code"] == protocol.CANCELLED
    shared.job(2, tmp_path / "head", do="imports", path=str(tmp_path))
    assert shared.reply(2)["result"]["record"]["whole"] is True


# --- the end ---------------------------------------------------------------------------------------------------------


def test_it_ends_with_its_stdin(wire):
    wire.close_stdin()
    assert wire.end() == 0
    assert list(wire.folder.iterdir()) == []


@pytest.mark.parametrize("do", ["spin", "sleep", "slow_files"])
def test_it_ends_with_its_stdin_in_the_middle_of_a_job_too(wire, tmp_path, do):
    wire.job(1, tmp_path / "head", do=do, at=3 if do == "sleep" else 0)
    wire.stage(1, "writing" if do != "spin" else "finding the face")
    wire.job(2, tmp_path / "other")
    time.sleep(0.15)
    wire.close_stdin()
    assert wire.end() == 0
    assert not (tmp_path / "head").exists()
    assert not (tmp_path / "other").exists()
    assert nothing_half_written(tmp_path)
    assert do == "sleep" or list(wire.folder.iterdir()) == []  # nobody else would take the previews away


def test_it_ends_when_nobody_reads_what_it_says(wire, tmp_path):
    wire.job(1, tmp_path / "head", do="slow_files", seconds=1.0)
    wire.stage(1, "finding the face")
    os.dup2(os.open(os.devnull, os.O_RDONLY), wire.child.stdout.fileno())
    assert wire.end() == 0
    assert nothing_half_written(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("do", ["", "spin", "sleep"])
def test_a_polite_kill_ends_it_with_an_answer(wire, tmp_path, do, number):
    if do:
        wire.job(1, tmp_path / "head", do=do)
        wire.stage(1, "finding the face")
        time.sleep(0.1)
    wire.child.send_signal(number)
    if do:
        error = wire.reply(1)["error"]
        assert error["code"] == protocol.CANCELLED
        assert error["message"] == "The backend was stopped; nothing was left half-written."
    assert wire.end() == 130
    assert nothing_half_written(tmp_path)


def test_a_shutdown_ends_the_running_job_and_keeps_the_previews(wire, tmp_path):
    wire.job(1, tmp_path / "head", do="spin", at=2)
    wire.stage(1, "baking the texture")
    wire.send(2, "shutdown")
    assert {wire.next()["id"], wire.next()["id"]} == {1, 2}
    assert wire.end() == 0
    assert [path.suffix for path in wire.folder.iterdir()] == [".png"]


def test_signs_of_life_come_all_the_time_and_tell_work_from_sleep(wire, tmp_path):
    def seconds(job: int) -> list[float]:
        found = []
        while len(found) < 5:
            message = wire.said.get(timeout=PATIENCE)
            assert message is not None
            if message.get("method") == "alive" and message["params"]["job"] == job:
                found.append(message["params"]["cpu_seconds"])
        return found[1:]

    wire.job(1, tmp_path / "head", do="burn")
    awake = seconds(1)
    wire.send("c", "cancel", id=1)
    wire.job(2, tmp_path / "head", do="sleep")
    asleep = seconds(2)
    assert asleep[-1] - asleep[0] < 0.1 * (awake[-1] - awake[0]) + 0.02
    assert awake == sorted(awake)


# --- the real one ----------------------------------------------------------------------------------------------------


def test_the_command_serves_and_greets_without_anything_heavy(tmp_path):
    with running(REAL, tmp_path) as wire:
        start = time.monotonic()
        welcome = wire.greet()["result"]
        took = time.monotonic() - start
        assert welcome["version"] == headstitch.__version__
        assert took < 10
        assert welcome["packages"]["torch"].startswith("2.")
        assert welcome["missing"] == []
        wire.close_stdin()
        assert wire.end() == 0


def test_hello_loads_nothing_heavy():
    code = textwrap.dedent("""
        import sys
        from headstitch.backend import server
        from headstitch.backend.workshop import Workshop
        Workshop().packages(), Workshop().missing()
        print([n for n in ("torch", "numpy", "mediapipe", "open3d", "cv2", "scipy") if n in sys.modules])
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


SMALL = {"resolution": 64, "texture_size": 256, "faces": 2000, "quality": False}


def test_a_real_head_then_one_cancelled_then_one_rebaked_in_the_same_process(tmp_path):
    photo = str(ROOT / "examples" / "astronaut.png")
    client = tmp_path / "client"
    client.mkdir()
    with running(REAL, client) as wire:
        wire.greet()
        wire.send(1, "reconstruct", photo=photo, out=str(tmp_path / "head"), options=SMALL)
        messages = []
        while not messages or messages[-1].get("id") != 1:
            message = wire.said.get(timeout=120)
            assert message is not None, wire.stderr.decode()
            messages.append(message)
        finished = protocol.read_answer("reconstruct", messages[-1]["result"])
        assert {path.name for path in (tmp_path / "head").iterdir()} == {*HEAD_FILES, "photo.png"}
        assert finished.quality is None
        assert finished.record["options"]["texture_size"] == 256
        preview = next(message["params"] for message in messages if message.get("method") == "preview")
        assert Path(preview["path"]).read_bytes().startswith(b"\x89PNG")
        stages = [message["params"]["stage"] for message in messages if message.get("method") == "progress"]
        at_preview = next(i for i, message in enumerate(messages) if message.get("method") == "preview")
        later = [message["params"]["stage"] for message in messages[at_preview:] if message.get("method") == "progress"]
        assert "extracting the surface" in later
        assert stages[-1] == "done"

        wire.send(2, "reconstruct", photo=photo, out=str(tmp_path / "other"), options=SMALL)
        wire.stage(2, "fitting the head")
        wire.send("c", "cancel", id=2)
        assert wire.reply(2)["error"]["code"] == protocol.CANCELLED
        assert not (tmp_path / "other").exists()
        assert nothing_half_written(tmp_path)

        wire.send(3, "rebake", head=str(tmp_path / "head"), out=str(tmp_path / "baked"), options={"faces": 1000})
        assert protocol.read_answer("rebake", wire.reply(3)["result"]).record["options"]["faces"] == 1000
        wire.send(4, "reconstruct", photo="/no/such.png", out=str(tmp_path / "none"), options=SMALL)
        assert wire.reply(4)["error"]["data"]["kind"] == "PhotoError"
        wire.send(5, "reconstruct", photo=photo, out=str(tmp_path / "none"), options={**SMALL, "model": "nowhere"})
        assert wire.reply(5)["error"]["data"]["kind"] == "ModelError"


def test_hello_is_typed_as_it_is_sent():
    line = protocol.encode(protocol.Request(1, Hello(1)))
    assert json.loads(line)["params"] == {"protocol": 1, "client": "", "folder": None}
