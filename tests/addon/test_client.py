from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import headstitch
import pytest
from headstitch.addon import client_texts
from headstitch.addon.client import Client, Event, Job, Patience
from headstitch.addon.environment import OWN_CODE, RUN

ROOT = Path(__file__).parents[2]
PRETEND = ROOT / "tests" / "backend" / "pretend.py"
PYTHON = os.environ.get("HEADSTITCH_BACKEND_PYTHON", sys.executable)  # the backend's; Blender's may be too new for it
ISOLATED = [PYTHON, "-I", "-u", "-X", "utf8", "-c"]
FAKE = [
    *ISOLATED,
    OWN_CODE.format(extension=str(ROOT)) + f"import runpy\nrunpy.run_path({str(PRETEND)!r}, run_name='__main__')\n",
]
REAL = [*ISOLATED, OWN_CODE.format(extension=str(ROOT)) + RUN, "serve"]
STAGES = ("finding the face", "extracting the surface", "baking the texture", "writing")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="these tests kill and stop by POSIX signals")
DEADLINE = 60.0  # seconds for what takes none, on a machine that has much else to do


def nothing_half_written(folder: Path) -> bool:
    return not [path for path in folder.rglob("*") if ".partial" in path.name or ".old-" in path.name]


def poll_until(client: Client, done: Callable[[], bool], seconds: float = DEADLINE) -> list[Event]:
    """What Blender's timer does."""
    events, end = [], time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, f"not in time: {[(e.kind, e.message or e.sentence) for e in events]}"
        events += client.poll()
        time.sleep(0.005)
    return events + client.poll()


def finish(client: Client, job: Job, seconds: float = DEADLINE) -> list[Event]:
    return poll_until(client, lambda: job.over, seconds)


def reach(client: Client, job: Job, stage: str) -> None:
    poll_until(client, lambda: job.stage == stage or job.over)
    assert job.stage == stage, job.sentence


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that only waits to be buried is none."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:  # it went meanwhile, or this is no Linux
        ps = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=False)
        state = ps.stdout.strip()
    return state[:1] not in ("", "Z")


def gone_within(pid: int, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while is_running(pid):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@pytest.fixture
def make(tmp_path) -> Iterator[Callable[..., Client]]:
    """Makes clients that are closed at the end, whatever happens."""
    clients: list[Client] = []

    def new(command: Any = None, folder: Path | None = None, **how: Any) -> Client:
        clients.append(Client(FAKE if command is None else command, folder or tmp_path / "client", **how))
        return clients[-1]

    yield new
    pids = [client.pid for client in clients]
    for client in clients:
        client.close(5)
    assert all(pid is None or gone_within(pid, 5) for pid in pids)


@pytest.fixture
def client(make) -> Client:
    return make()


@pytest.fixture
def do(client, tmp_path) -> Callable[..., Job]:
    """Queues a job of the pretended backend; every job has a folder of its own."""

    def ask(what: str = "head", out: str | None = None, **options: Any) -> Job:
        name = out or f"head{len(list(tmp_path.iterdir()))}-{time.monotonic_ns()}"
        return client.reconstruct("/photo.png", tmp_path / name, {"do": what, **options})

    return ask


# --- a job -----------------------------------------------------------------------------------------------------------


def test_a_job_from_the_first_poll_to_the_head(client, tmp_path):
    assert (client.state, client.pid) == ("stopped", None)
    job = client.reconstruct("/photo.png", tmp_path / "head")
    assert job.state == "queued"
    assert client.jobs == (job,)
    events = finish(client, job)
    kinds = [event.kind for event in events]
    assert [kind for kind in kinds if kind != "progress"] == ["starting", "ready", "running", "preview", "done"]
    assert (job.state, job.fraction, job.stage) == ("done", 1.0, "done")
    assert job.result.head == str(tmp_path / "head")
    assert (tmp_path / "head" / "head.json").exists()
    assert job.result.warnings == ("a warning",)
    assert [preview.shows for preview in job.previews] == ["portrait"]
    assert Path(job.previews[0].path).is_relative_to(client.session)
    assert client.jobs == ()
    assert client.state == "ready"
    assert client.welcome is not None
    assert client.welcome.pid == client.pid


def test_jobs_change_only_when_they_are_polled(client, do):
    job = do()
    poll_until(client, lambda: client.state == "ready")
    other = do()
    time.sleep(0.3)
    assert other.state == "queued"
    finish(client, other)
    assert job.state == other.state == "done"


def test_jobs_queue_and_one_process_does_them_all(client, do):
    jobs = [do(seconds=0.1) for _ in range(3)]
    events = finish(client, jobs[-1])
    running = [event.job for event in events if event.kind in ("running", "done")]
    assert running == [job for job in jobs for _ in range(2)]
    assert [job.result.record["loads"] for job in jobs] == [1, 2, 3]


def test_a_rebake_and_the_models(client, tmp_path):
    job = client.rebake(tmp_path / "head", tmp_path / "new", {"faces": 500})
    models = client.models()
    poll_until(client, lambda: job.over and models.over)
    assert job.result.head == str(tmp_path / "new")
    assert [model.name for model in models.result.models] == ["template"]


def test_models_are_answered_while_a_job_runs(client, do):
    job = do("spin")
    reach(client, job, STAGES[0])
    models = client.models()
    finish(client, models)
    assert models.state == "done"
    assert job.state == "running"
    client.cancel(job)
    finish(client, job)


def test_polling_and_asking_never_wait_even_when_the_backend_stands_still(make, tmp_path):
    client = make(patience=Patience(silence=60))
    client.start()
    poll_until(client, lambda: client.state == "ready")
    os.killpg(client.pid, signal.SIGSTOP)
    took = []
    jobs = []
    for number in range(300):
        start = time.perf_counter()
        if number < 20:
            jobs.append(client.reconstruct("/photo.png", tmp_path, {"text": "x" * 50_000}))
        client.poll()
        took.append(time.perf_counter() - start)
    assert sorted(took)[len(took) // 2] < 0.001
    start = time.perf_counter()
    for job in jobs:
        client.cancel(job)
    assert time.perf_counter() - start < 0.5
    poll_until(client, lambda: all(job.over for job in jobs), 10)
    assert {job.state for job in jobs} == {"cancelled"}


def test_two_clients_at_once_do_not_meddle(make, tmp_path):
    first, second = make(version="1"), make(version="2")
    jobs = [one.reconstruct("/photo.png", tmp_path / one.version, {"seconds": 0.3}) for one in (first, second)]
    poll_until(first, lambda: jobs[0].over or bool(second.poll()) * 0)
    finish(second, jobs[1])
    assert first.pid != second.pid
    assert first.session != second.session
    assert [job.state for job in jobs] == ["done", "done"]
    os.kill(first.pid, signal.SIGKILL)
    again = second.reconstruct("/photo.png", tmp_path / "again")
    finish(second, again)
    assert again.state == "done"


def test_a_backend_of_another_version_is_noted(make):
    same, other = make(version=headstitch.__version__), make(version="9.9.9")
    for client in (same, other):
        client.start()
        poll_until(client, lambda client=client: client.state == "ready")
    assert same.note == ""
    assert other.note.startswith(f"The backend is Headstitch {headstitch.__version__} and the add-on 9.9.9; update")


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "said", "kind", "code"),
    [
        ("no_face", "No face was found in photo.png; give a photo with a face.", "FaceError", 4),
        ("full_disk", "The disk is full, so /somewhere/head was not written", "ResultsError", 5),
        ("defect", "A defect of Headstitch (KeyError", "KeyError", 70),
    ],
)
def test_an_error_of_a_job_is_its_sentence_and_the_next_job_works(client, do, what, said, kind, code):
    job = do(what)
    finish(client, job)
    assert job.state == "failed"
    assert job.sentence.startswith(said)
    assert (job.failure.kind, job.failure.exit_code) == (kind, code)
    assert (job.failure.log is not None) == (what == "defect")
    assert what != "defect" or "Traceback" in Path(job.failure.log).read_text()
    pid = client.pid
    after = do()
    finish(client, after)
    assert after.state == "done"
    assert client.pid == pid


def test_what_is_no_json_is_the_callers_mistake(client, tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        client.reconstruct("/photo.png", tmp_path, {"path": tmp_path})
    assert client.jobs == ()


def test_much_on_stderr_does_not_stop_the_backend_and_goes_to_the_log(client, do):
    job = do("chatters")
    finish(client, job)
    assert job.state == "done"
    poll_until(client, lambda: client.log.stat().st_size >= 2_000_000)


# --- cancelling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", range(4))
def test_a_job_is_cancelled_in_every_stage_and_the_process_stays(client, do, tmp_path, at):
    job = do("spin", "head", at=at)
    reach(client, job, STAGES[at])
    pid, start = client.pid, time.monotonic()
    client.cancel(job)
    assert job.cancelling
    finish(client, job)
    assert job.state == "cancelled"
    assert time.monotonic() - start < 2
    assert not (tmp_path / "head").exists()
    after = do()
    finish(client, after)
    assert after.state == "done"
    assert client.pid == pid


def test_a_job_that_does_not_listen_is_killed_after_a_while_and_those_that_wait_go_on(client, do):
    deaf, waiting = do("sleep"), do()
    reach(client, deaf, STAGES[0])
    time.sleep(0.1)
    pid, start = client.pid, time.monotonic()
    client.cancel(deaf)
    finish(client, deaf)
    took = time.monotonic() - start
    assert deaf.state == "cancelled"
    assert 1.0 < took < 2
    assert gone_within(pid, 1)
    finish(client, waiting)
    assert waiting.state == "done"
    assert client.pid != pid


def test_a_job_that_waits_is_cancelled_at_once(client, do):
    running, waiting, last = do("spin"), do(), do()
    reach(client, running, STAGES[0])
    client.cancel(waiting)
    finish(client, waiting, 1)
    assert waiting.state == "cancelled"
    assert running.state == "running"
    client.cancel(running)
    finish(client, last)
    assert last.state == "done"


def test_a_job_is_cancelled_while_the_backend_starts(client, do):
    job = do()
    client.cancel(job)
    finish(client, job, 2)
    assert job.state == "cancelled"


def test_a_cancel_that_comes_too_late_changes_nothing(client, do):
    job = do()
    finish(client, job)
    client.cancel(job)
    after = do()
    finish(client, after)
    assert (job.state, after.state) == ("done", "done")


# --- it dies, it hangs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "options", "said"),
    [
        ("dies", {"signal": "SIGKILL"}, client_texts.KILLED),
        ("dies", {"signal": "SIGSEGV"}, "The backend crashed (signal SIGSEGV)"),
        ("ends", {}, "The backend ended unexpectedly (exit code 3)"),
    ],
)
def test_a_backend_that_dies_fails_its_job_and_the_next_one_starts_it_anew(client, do, what, options, said):
    job, waiting = do(what, **options), do()
    events = finish(client, job)
    assert job.state == "failed"
    assert job.sentence.startswith(said)
    assert job.failure.log == str(client.log)
    assert ("ended", job.sentence) in [(event.kind, event.sentence) for event in events + client.poll()]
    finish(client, waiting)
    assert waiting.state == "done"


def test_a_job_that_was_sent_to_a_dead_process_goes_to_the_next_one(client, do):
    finish(client, do())
    pid = client.pid
    os.kill(pid, signal.SIGSTOP)
    job = do()
    poll_until(client, lambda: job.state == "running")
    os.kill(pid, signal.SIGKILL)
    finish(client, job)
    assert job.state == "done"
    assert client.pid != pid


def test_what_it_said_last_is_in_the_log(client, do):
    job = do("ends")
    finish(client, job)
    assert "the last words" in client.log.read_text()


def test_a_backend_that_is_killed_while_idle_is_told_and_started_again(client, do):
    finish(client, do())
    os.kill(client.pid, signal.SIGKILL)
    events = poll_until(client, lambda: client.state == "stopped")
    assert events[-1].sentence == client_texts.KILLED
    job = do()
    finish(client, job)
    assert job.state == "done"


def test_a_job_that_does_nothing_is_ended_after_a_while(make, tmp_path):
    client = make(patience=Patience(stall=1.0))
    job = client.reconstruct("/photo.png", tmp_path / "head", {"do": "sleep"})
    waiting = client.reconstruct("/photo.png", tmp_path / "other")
    finish(client, job)
    assert job.sentence == client_texts.STALLED.format(seconds=1.0)
    finish(client, waiting)
    assert waiting.state == "done"


def test_a_job_that_works_without_a_word_is_left_to_work(make, tmp_path):
    client = make(patience=Patience(stall=1.5, work=0.05))
    job = client.reconstruct("/photo.png", tmp_path / "head", {"do": "burn"})
    reach(client, job, STAGES[0])
    end = time.monotonic() + 2.5
    poll_until(client, lambda: time.monotonic() > end)
    assert job.state == "running"
    client.cancel(job)
    finish(client, job)


def test_a_backend_that_gives_no_sign_of_life_is_ended(make, tmp_path):
    client = make(patience=Patience(silence=1.5))
    job = client.reconstruct("/photo.png", tmp_path / "head", {"do": "spin"})
    reach(client, job, STAGES[0])
    pid = client.pid
    os.kill(pid, signal.SIGSTOP)
    finish(client, job)
    assert job.sentence == client_texts.SILENT.format(seconds=1.5)
    assert gone_within(pid, 2)


def test_a_backend_that_speaks_nonsense_is_ended(make, tmp_path):
    code = textwrap.dedent("""
        import json, sys
        print("Welcome to my Python")
        hello = json.loads(input())
        welcome = {"protocol": 1, "version": "1", "python": "3", "pid": 1, "packages": {}, "missing": []}
        print(json.dumps({"jsonrpc": "2.0", "id": hello["id"], "result": welcome}))
        print(input() and "nonsense")
        input()
    """)
    client = make([sys.executable, "-u", "-c", code])
    job = client.reconstruct("/photo.png", tmp_path)
    finish(client, job)
    assert job.sentence.startswith("The backend answered something else than it should (This line is not JSON")


def test_ten_kills_at_random_moments_and_every_next_job_works(client, do, tmp_path):
    moments = random.Random(6)
    for number in range(10):
        job = do("slow_files" if number % 2 else "head", f"killed-{number}", seconds=0.2)
        poll_until(client, lambda: client.state == "ready")
        end = time.monotonic() + moments.uniform(0, 0.4)
        poll_until(client, lambda end=end: time.monotonic() > end)
        if client.pid is not None:
            os.kill(client.pid, signal.SIGKILL)
        finish(client, job)
        assert job.state in ("failed", "done")
        assert job.state == "done" or job.sentence == client_texts.KILLED
        assert {path.name for path in tmp_path.glob(f"killed-{number}/*")} in (
            set(),
            {"head.glb", "head.npz", "albedo.png", "latent.safetensors", "preview.png", "head.json"},
        )
        after = do(out=f"after-{number}")
        finish(client, after)
        assert after.state == "done"


# --- memory, closing, orphans ----------------------------------------------------------------------------------------


def test_memory_is_freed_by_ending_the_process_and_the_next_job_starts_it(client, do):
    finish(client, do())
    pid = client.pid
    client.free_memory()
    events = poll_until(client, lambda: client.state == "stopped", 10)
    assert events[-1].sentence == ""
    assert not is_running(pid)
    client.free_memory()  # of what is not there
    job = do()
    finish(client, job)
    assert job.state == "done"
    assert client.pid != pid


def test_freeing_memory_ends_the_running_job_and_keeps_those_that_wait(client, do):
    running, waiting = do("spin"), do()
    reach(client, running, STAGES[0])
    client.free_memory()
    finish(client, waiting)
    assert (running.state, waiting.state) == ("cancelled", "done")


@pytest.mark.parametrize("what", ["", "spin", "sleep"])
def test_closing_leaves_nothing_behind_but_the_log(make, tmp_path, what):
    client = make()
    if what:
        job = client.reconstruct("/photo.png", tmp_path / "head", {"do": what, "at": 2})
        reach(client, job, STAGES[2])
    else:
        job = client.reconstruct("/photo.png", tmp_path / "head")
        finish(client, job)
    pid, start = client.pid, time.monotonic()
    waiting = client.reconstruct("/photo.png", tmp_path / "other")
    client.close()
    assert time.monotonic() - start < 2.5
    assert not is_running(pid)
    late = client.reconstruct("/photo.png", tmp_path / "late")
    client.poll()
    assert late.state == waiting.state == "cancelled"
    assert job.state == ("cancelled" if what else "done")
    assert [path.name for path in client.session.iterdir()] == ["backend.log"]
    client.close()


def test_a_client_that_did_nothing_is_closed_at_once(make, tmp_path):
    client = make()
    client.free_memory()
    client.close()
    assert not (tmp_path / "client").exists()


def test_old_sessions_are_thrown_away(make, tmp_path):
    old, recent, other = (tmp_path / "client" / name for name in ("session-1-a", "session-2-b", "my-own"))
    for folder in (old, recent, other):
        folder.mkdir(parents=True)
    for folder in (old, other):
        os.utime(folder, (1, 1))
    client = make()
    client.start()
    poll_until(client, lambda: client.state == "ready")
    assert [folder.exists() for folder in (old, recent, other)] == [False, True, True]


PARENT = """{own_code}
import time
from pathlib import Path
from headstitch.addon.client import Client
client = Client({command!r}, Path({folder!r}) / "client")
job = client.reconstruct("/photo.png", {folder!r} + "/head", {{"do": {what!r}, "at": 3}})
while job.stage != "writing":
    client.poll()
    time.sleep(0.01)
print(client.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("what", ["spin", "sleep", "slow_files"])
def test_there_is_no_orphan_when_blender_is_killed(tmp_path, what):
    own_code = OWN_CODE.format(extension=str(ROOT))
    code = PARENT.format(own_code=own_code, command=FAKE, folder=str(tmp_path), what=what)
    parent = subprocess.Popen([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.kill()
    parent.wait()
    assert gone_within(pid, 10)
    assert not (tmp_path / "head").exists()
    assert nothing_half_written(tmp_path)
    parent.stdout.close()


# --- starting --------------------------------------------------------------------------------------------------------


def cannot_start(client: Client, tmp_path: Path) -> str:
    jobs = [client.reconstruct("/photo.png", tmp_path / "head") for _ in range(2)]
    events = poll_until(client, lambda: all(job.over for job in jobs))
    assert [job.state for job in jobs] == ["failed", "failed"]
    assert len({job.sentence for job in jobs}) == 1
    assert events[-1].kind == "ended"
    assert client.state == "stopped"
    assert client.pid is None
    return jobs[0].sentence


def test_a_python_that_is_not_there(make, tmp_path):
    for program in (tmp_path / "no" / "python", tmp_path):
        sentence = cannot_start(make([program, "-c", ""]), tmp_path)
        assert str(program) in sentence
        assert "press Check" in sentence


def test_a_python_that_may_not_be_run_or_is_none(make, tmp_path):
    program = tmp_path / "python"
    program.write_bytes(b"\x00\x01\x02 no program")
    assert cannot_start(make([program]), tmp_path) == client_texts.NOT_ALLOWED.format(program=program)
    program.chmod(0o755)
    assert cannot_start(make([program]), tmp_path).startswith("The backend does not start (Exec format error)")


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import no_such_package.part", "The backend's Python lacks the package no_such_package;"),
        ("import sys; sys.exit('this is how I end')", "The backend does not start (this is how I end);"),
        ("import sys; sys.exit(5)", "The backend does not start (exit code 5);"),
        ("import os; os.kill(os.getpid(), 6)", "The backend does not start (signal SIGABRT);"),
    ],
)
def test_a_backend_that_ends_at_once(make, tmp_path, code, said):
    assert cannot_start(make([sys.executable, "-c", code]), tmp_path).startswith(said)


def test_a_python_without_headstitch(make, tmp_path):
    command = [PYTHON, "-I", "-S", "-u", "-m", "headstitch.backend", "serve"]
    assert "lacks the package headstitch" in cannot_start(make(command), tmp_path)


def test_a_backend_of_another_protocol(make, tmp_path):
    sentence = cannot_start(make([*FAKE, "--other-protocol"]), tmp_path)
    assert "speaks protocol 1 and this backend" in sentence
    assert sentence.endswith("update the backend in the extension's preferences")


def test_a_backend_that_says_nothing(make, tmp_path):
    client = make([*FAKE, "--no-words"], patience=Patience(start=1.0))
    assert cannot_start(client, tmp_path) == client_texts.SLOW_START.format(seconds=1.0)


def test_an_environment_that_is_not_ready(make, tmp_path):
    def command() -> list[str]:
        if not ready:
            raise RuntimeError("The backend's environment is not there yet; press Make")
        return FAKE

    ready = False
    client = make(command)
    assert cannot_start(client, tmp_path) == "The backend's environment is not there yet; press Make"
    ready = True
    job = client.reconstruct("/photo.png", tmp_path / "head")
    finish(client, job)
    assert job.state == "done"


def test_a_folder_that_cannot_be_written(make, tmp_path):
    (tmp_path / "file").write_text("in the way")
    client = make(folder=tmp_path / "file" / "client")
    assert cannot_start(client, tmp_path).startswith(f"The backend's folder {tmp_path / 'file' / 'client'} cannot be")


def test_nothing_of_blenders_python_leaks_into_the_backend(client, do, monkeypatch, tmp_path):
    (tmp_path / "json.py").write_text("raise RuntimeError('the wrong json')")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "json.py"))
    monkeypatch.chdir(tmp_path)
    job = do("environment")
    finish(client, job)
    assert job.state == "done", job.sentence
    facts = job.result.record
    assert facts["python"] == []
    assert facts["isolated"] == 1
    assert facts["utf8"] == 1
    assert facts["leader"]  # of a session of its own


def test_the_extension_works_under_any_name_and_in_any_folder(tmp_path):
    place = tmp_path / "extensions" / "user default ü"
    place.mkdir(parents=True)
    extension = place / "headstitch"
    extension.symlink_to(ROOT, target_is_directory=True)
    command = [
        *ISOLATED,
        OWN_CODE.format(extension=str(extension))
        + f"import runpy\nrunpy.run_path({str(PRETEND)!r}, run_name='__main__')",
    ]
    code = textwrap.dedent(f"""
        import importlib, importlib.util, sys, time, types
        for name in ("bl_ext", "bl_ext.user_default"):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = []
        home = {str(extension)!r}
        spec = importlib.util.spec_from_file_location(
            "bl_ext.user_default.headstitch", home + "/__init__.py", submodule_search_locations=[home])
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        client = importlib.import_module(spec.name + ".addon.client").Client({command!r}, {str(tmp_path)!r})
        job = client.reconstruct("/photo.png", {str(tmp_path / "head")!r}, {{"do": "environment"}})
        while not job.over:
            client.poll()
            time.sleep(0.01)
        client.close()
        print(job.state, job.sentence, job.result.record["file"])
        strangers = {{name.partition(".")[0] for name in sys.modules}} - set(sys.stdlib_module_names) - {{"bl_ext"}}
        print(sorted(name for name in strangers if not name.startswith("_")))
    """)
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == f"done  {extension / 'backend' / 'protocol.py'}"
    assert second == "[]"  # the standard library and nothing else: no bpy, no headstitch


# --- the real one ----------------------------------------------------------------------------------------------------


def test_a_real_backend_killed_in_mid_job_leaves_nothing_and_the_next_job_makes_a_head(make, tmp_path):
    client = make(REAL)
    small = {"resolution": 64, "texture_size": 256, "faces": 2000, "quality": False}
    photo = tmp_path / "Zoë 頭.png"
    shutil.copy(ROOT / "examples" / "astronaut.png", photo)
    job = client.reconstruct(photo, tmp_path / "head", small)
    reach(client, job, "loading the libraries")
    time.sleep(1)  # amid the start of libraries
    os.kill(client.pid, signal.SIGKILL)
    finish(client, job)
    assert job.sentence == client_texts.KILLED
    assert not (tmp_path / "head").exists()
    again = client.reconstruct(photo, tmp_path / "head", small)
    finish(client, again, 120)
    assert again.state == "done", again.sentence
    assert (tmp_path / "head" / "head.json").exists()
    assert nothing_half_written(tmp_path)
