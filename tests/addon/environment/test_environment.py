"""The backend's environment from nothing to gone: real virtual environments of tiny wheels, killed and mended."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from headstitch.addon import environment_plan, environment_system
from headstitch.addon.environment import Environment, EnvironmentFailure
from headstitch.addon.environment_files import Layout

# What the environments are built on: another one than this where Blender's own Python is too new for the backend.
PYTHON = Path(os.environ.get("HEADSTITCH_BACKEND_PYTHON", sys.executable))
NUMBER = subprocess.check_output([PYTHON, "-c", "import sys; print('%d%d' % sys.version_info[:2])"], text=True).strip()
posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def run_backend(environment, *arguments):
    """What the fake backend says: arguments, version, the package's file, whether it was isolated."""
    done = subprocess.run(environment.command(*arguments), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def offline(world, finish, **changes):
    """An environment made from the folder of wheels."""
    environment = world.environment(**changes)
    finish(environment.make(online=False, wheels=world.offline, python=PYTHON))
    return environment


# --- making ----------------------------------------------------------------------------------------------------------


def test_a_new_environment_is_absent_and_nothing_is_written(fresh):
    environment = fresh.environment()
    assert environment.status().state == "absent"
    assert not fresh.folder.exists()
    with pytest.raises(EnvironmentFailure, match="press Make"):
        environment.command("serve")


def test_made_offline_it_runs_the_extensions_own_code(fresh, finish):
    environment = offline(fresh, finish)
    status = environment.status()
    assert (status.state, status.build, status.version) == ("ready", "cpu", "9.8.7")
    assert Path(status.python).is_relative_to(fresh.folder)
    assert fresh.index.asked == []
    arguments, version, file, isolated = run_backend(environment, "serve", "--x")
    assert (arguments, version, isolated) == (["serve", "--x"], "9.8.7", 1)
    assert Path(file) == fresh.extension / "__init__.py"
    assert not list(fresh.extension.rglob("__pycache__")), "the extension's folder stays as Blender unpacked it"
    plain = subprocess.run([status.python, "-I", "-m", "headstitch.backend", "a"], capture_output=True, check=True)
    assert json.loads(plain.stdout)[:2] == [["a"], "9.8.7"]
    beside = subprocess.run([status.python, "-I", "-c", "import sys; print(sys.path)"], capture_output=True, check=True)
    assert str(fresh.extension.parent) not in beside.stdout.decode(), "other extensions are not importable"


def test_only_the_environment_is_left_when_it_is_ready(world, finish):
    offline(world, finish)
    names = {path.name for path in world.folder.iterdir()}
    assert {"wheels", "tmp"}.isdisjoint(names)
    stamp = json.loads((world.folder / "environment.json").read_text())
    assert stamp["packages"] == {"alpha": "1.0", "beta-two": "2.5"}


def test_the_main_thread_is_never_kept_waiting(world, finish):
    environment = world.environment()
    began = time.thread_time()  # of this thread alone: what a busy machine takes does not count
    job = environment.make(online=False, wheels=world.offline, python=PYTHON)
    longest, events = time.thread_time() - began, []
    while not job.done:
        began = time.thread_time()
        events += job.poll()
        environment.status()
        longest = max(longest, time.thread_time() - began)
        time.sleep(0.01)
    events += job.poll()
    assert longest < 0.05
    fractions = [event.fraction for event in events]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert fractions[-1] == 1.0
    assert [event.kind for event in events].count("done") == 1
    assert events[-1].kind == "done"
    assert {"Looking for Python", "Making the environment", "Installing the packages"} <= {
        event.text for event in events
    }


def test_from_the_index_the_bytes_are_those_of_the_plan(fresh, finish):
    fresh.add("large", **{"large/data.bin": os.urandom(3_000_000)})
    fresh.index.pause = 0.02
    environment = fresh.environment()
    plan = finish(environment.plan(online=True, python=PYTHON))
    served = [row[3] for file, row in fresh.wheels.items()]
    assert plan.download == sum(served)
    assert plan.problems == ()
    job = environment.make(online=True, python=PYTHON)
    events = []
    while not job.done:
        events += job.poll()
        time.sleep(0.01)
    assert job.outcome == "done", job.error
    received = [event.received for event in events if event.total]
    assert received == sorted(received)
    assert max(received) == plan.download
    assert {event.total for event in events if event.total} == {plan.download}
    pip = tuple(map(int, fresh.wheels[fresh.tools["pip"]][1].split(".")[:2]))
    if pip >= (24, 1):  # older ones tell no bytes of a file that is on its way
        assert len(set(received)) > 5
    assert sorted(fresh.index.asked) == sorted(fresh.wheels)
    assert environment.status().state == "ready"


def test_offline_without_a_folder_is_one_sentence(world, finish):
    job = world.environment().make(online=False, python=PYTHON)
    with pytest.raises(EnvironmentFailure, match="Allow Online Access, or choose a folder"):
        finish(job)
    assert world.index.asked == []


def test_a_folder_that_lacks_wheels_names_them(world, finish):
    (world.offline / "alpha-1.0-py3-none-any.whl").unlink()
    job = world.environment().make(online=False, wheels=world.offline, python=PYTHON)
    with pytest.raises(EnvironmentFailure, match=r"lacks 1 of the packages \(alpha-1.0-py3-none-any.whl\)"):
        finish(job)


def test_an_altered_wheel_is_refused(world, finish):
    path = world.offline / "alpha-1.0-py3-none-any.whl"
    path.write_bytes(path.read_bytes() + b" ")
    job = world.environment().make(online=False, wheels=world.offline, python=PYTHON)
    with pytest.raises(EnvironmentFailure, match=r"alpha-1\.0.* hash differs"):
        finish(job)
    assert world.environment().status().state == "partial"


def test_downloads_may_be_kept_and_serve_another_computer(fresh, finish):
    environment = fresh.environment()
    finish(environment.make(online=True, python=PYTHON, keep_wheels=True))
    kept = fresh.folder / "wheels"
    assert {path.name for path in kept.glob("*.whl")} == set(fresh.wheels)
    other = fresh.environment(folder=fresh.root / "other")
    fresh.index.asked.clear()
    finish(other.make(online=False, wheels=kept, python=PYTHON))
    assert other.status().state == "ready"
    assert fresh.index.asked == []


# --- PyTorch's builds ------------------------------------------------------------------------------------------------


@pytest.fixture
def torch_world(world):
    tag = f"cp{NUMBER}-none-any"
    for label in ("cpu", "cu126"):
        file = world.add("torch", f"2.0.0+{label}", tag=tag)
        world.builds[label] = {"size": world.wheels.pop(file)[3]}
    world.builds = {"cpu": world.builds["cpu"], "cuda": world.builds["cu126"]}
    world.requires.insert(0, "torch==2.0.0")
    return world


def test_pytorch_comes_from_the_index_of_the_build_and_the_build_can_change(torch_world, finish):
    environment = torch_world.environment()
    plan = finish(environment.plan(online=True, python=PYTHON))
    assert plan.build == "cpu"
    assert set(plan.builds) == {"cpu", "cu126", "cu128"}
    finish(environment.make(online=True, python=PYTHON))
    site = Layout(torch_world.folder).site()
    assert (site / "torch-2.0.0+cpu.dist-info" / "RECORD").exists()
    torch_world.index.asked.clear()
    finish(environment.make(online=True, build="cu126"))
    assert torch_world.index.asked == [f"torch-2.0.0+cu126-cp{NUMBER}-none-any.whl"]
    assert not (site / "torch-2.0.0+cpu.dist-info").exists()
    assert environment.status().build == "cu126"
    assert finish(environment.plan(online=True)).build == "cu126", "an update keeps the choice"


def test_a_build_that_the_index_lacks_is_said(torch_world, finish):
    job = torch_world.environment().make(online=True, python=PYTHON, build="cu128")
    with pytest.raises(EnvironmentFailure, match=r"no cu128 build of PyTorch 2.0.0"):
        finish(job)
    with pytest.raises(EnvironmentFailure, match=r"no rocm build.*cpu, cu126, cu128"):
        finish(torch_world.environment().make(online=True, python=PYTHON, build="rocm"))


# --- the bad and the unlucky -----------------------------------------------------------------------------------------


def start_making(world, *, seconds=60):
    """Another process that makes the environment from the index, as a Blender would."""
    world.environment()
    code = f"""
        from pathlib import Path
        from headstitch.addon.environment import Environment
        environment = Environment(Path({str(world.folder)!r}), Path({str(world.extension)!r}), "9.8.7",
            packages=Path({str(world.lock)!r}), torch_index=Path({str(world.root / "torch-index.txt")!r}))
        job = environment.make(online=True, python=Path({str(PYTHON)!r}))
        job.wait({seconds})
        raise SystemExit(job.outcome != "done")
    """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])


def wait_for(condition, seconds=30):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it does not come to pass"
        time.sleep(0.01)


def programs_in(folder):
    """Command lines of processes that work for the environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if str(folder) in line and "headstitch.addon" not in line:
            found.append(line)
    return found


@posix
def test_killed_while_it_downloads_it_leaves_no_orphan_and_goes_on_with_what_it_has(world, finish):
    world.add("large", **{"large/data.bin": os.urandom(30_000_000)})
    world.index.pause = 0.05
    child = start_making(world)
    wait_for(lambda: any(file.startswith("large") for file in world.index.asked))
    child.kill()
    child.wait()
    wait_for(lambda: not programs_in(world.folder), 3)
    environment = world.environment()
    assert environment.status().state == "partial"
    assert (world.folder / "wheels" / "alpha-1.0-py3-none-any.whl").exists()
    world.index.pause = 0.0
    world.index.asked.clear()
    finish(environment.make(online=True, python=PYTHON))
    assert [file.split("-")[0] for file in world.index.asked] == ["large"]
    assert environment.status().state == "ready"
    assert finish(environment.check()).problems == ()


@posix
def test_killed_while_it_installs_it_is_never_falsely_ready(world, finish):
    world.add("many", **{f"many/part{number}.py": f"x = {number}\n" * 40 for number in range(4000)})
    child = start_making(world)
    many = Layout(world.folder)
    wait_for(lambda: (many.site() / "many").is_dir())
    child.kill()
    child.wait()
    wait_for(lambda: not programs_in(world.folder), 3)
    assert not list(many.site().glob("many-*.dist-info/RECORD")), "it was killed too late to show anything"
    environment = world.environment()
    assert environment.status().state == "partial"
    finish(environment.make(online=True, python=PYTHON))
    assert environment.status().state == "ready"
    assert finish(environment.check()).problems == ()
    assert len(list((many.site() / "many").glob("part*.py"))) == 4000


@posix
def test_killed_at_any_moment_it_can_always_be_finished(world, finish):
    world.index.pause = 0.05
    for moment in (0.15, 0.35, 0.6, 0.9, 1.3, 1.8):
        child = start_making(world)
        time.sleep(0.25 + moment)  # a quarter of a second to begin
        child.kill()
        child.wait()
        assert world.environment().status().state in ("absent", "partial", "ready")
        if world.environment().status().state == "ready":
            assert finish(world.environment().check()).problems == ()
            (world.folder / "environment.json").unlink()
    wait_for(lambda: not programs_in(world.folder), 3)
    environment = world.environment()
    finish(environment.make(online=True, python=PYTHON))
    assert finish(environment.check()).problems == ()


def test_cancelled_it_is_over_within_two_seconds_and_goes_on_later(world, finish):
    world.add("large", **{"large/data.bin": os.urandom(30_000_000)})
    world.index.pause = 0.05
    environment = world.environment()
    job = environment.make(online=True, python=PYTHON)
    wait_for(lambda: any(file.startswith("large") for file in world.index.asked))
    began = time.monotonic()
    job.cancel()
    assert job.wait(2), "it must be over within two seconds"
    assert time.monotonic() - began < 2
    assert [event.kind for event in job.poll()][-1] == "cancelled"
    with pytest.raises(EnvironmentFailure, match="Cancelled; press Make"):
        _ = job.result
    if sys.platform == "linux":
        wait_for(lambda: not programs_in(world.folder), 1)
    assert environment.status().state == "partial"
    world.index.pause = 0.0
    finish(environment.make(online=True, python=PYTHON))
    assert environment.status().state == "ready"


@posix
def test_two_blenders_do_not_work_at_once_and_a_dead_ones_lock_stops_nobody(world, finish):
    world.add("large", **{"large/data.bin": os.urandom(30_000_000)})
    world.index.pause = 0.05
    child = start_making(world)
    wait_for(lambda: any(file.startswith("large") for file in world.index.asked))
    environment = world.environment()
    for job in (environment.make(online=True), environment.remove()):
        with pytest.raises(EnvironmentFailure, match=f"process {child.pid}"):
            finish(job)
    log = (world.folder / "environment.log").read_text()
    assert "Another Blender" not in log, "the log is the other's"
    child.send_signal(signal.SIGKILL)
    child.wait()
    world.index.pause = 0.0
    wait_for(lambda: not programs_in(world.folder), 3)
    assert (world.folder / "lock").read_text().strip() == str(child.pid)
    finish(environment.make(online=True, python=PYTHON))
    assert environment.status().state == "ready"


def test_too_little_disk_is_said_before_anything_is_fetched(world, finish, monkeypatch):
    monkeypatch.setattr(environment_plan, "free_disk", lambda folder: 1000)
    job = world.environment().make(online=True, python=PYTHON)
    with pytest.raises(EnvironmentFailure, match=r"needs .* of free disk at .*, but 1 kB are free; make room"):
        finish(job)
    assert world.index.asked == []


@posix
def test_a_disk_that_fills_up_meanwhile_is_one_sentence_and_goes_on_later(world, finish, monkeypatch):
    monkeypatch.setattr(environment_plan, "free_disk", lambda folder: 1 << 40)
    world.add("large", **{"large/data.bin": os.urandom(30_000_000)})
    small = world.root / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=45m", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        environment = world.environment(folder=small / "environment")
        job = environment.make(online=True, python=PYTHON)
        with pytest.raises(EnvironmentFailure, match="The disk is full; make room at"):
            finish(job)
        assert environment.status().state == "partial"
        subprocess.run(["mount", "-o", "remount,size=400m", str(small)], check=True)
        finish(environment.make(online=True, python=PYTHON))
        assert environment.status().state == "ready"
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_folder_of_somebody_else_is_left_alone(world, finish):
    world.folder.mkdir(parents=True)
    (world.folder / "thesis.txt").write_text("years of work")
    environment = world.environment()
    with pytest.raises(EnvironmentFailure, match=r"what Headstitch did not make \(thesis.txt\)"):
        finish(environment.make(online=True))
    with pytest.raises(EnvironmentFailure, match="removes nothing there"):
        finish(environment.remove())
    assert [path.name for path in world.folder.iterdir()] == ["thesis.txt"]
    other = world.environment(folder=world.folder / "thesis.txt")
    with pytest.raises(EnvironmentFailure, match="is a file; choose a folder"):
        finish(other.make(online=True))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"PIP_INDEX_URL": "http:" + "//127.0.0.1:9/simple"},
            "index cannot be reached; check the network and its proxy",
        ),
        ({"PIP_PROXY": "http:" + "//127.0.0.1:9"}, "proxy refuses or cannot be reached|network and its proxy"),
    ],
)
def test_no_way_to_the_index_is_one_sentence(world, finish, monkeypatch, settings, sentence):
    monkeypatch.setenv("PIP_RETRIES", "1")
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_PROXY", raising=False)
    environment = world.environment()
    job = environment.make(online=True, python=PYTHON)
    with pytest.raises(EnvironmentFailure, match=sentence):
        finish(job)
    assert job.poll()[-1].log == str(environment.log)
    assert "Retrying" in environment.log.read_text() or "ERROR" in environment.log.read_text()


def test_an_index_that_refuses_or_lies_is_one_sentence(world, finish):
    world.index.status["alpha-1.0-py3-none-any.whl"] = 403
    with pytest.raises(EnvironmentFailure, match="answered with error 403"):
        finish(world.environment().make(online=True, python=PYTHON))
    world.index.status.clear()
    good = world.index.files["alpha-1.0-py3-none-any.whl"]
    world.index.files["alpha-1.0-py3-none-any.whl"] = good[:-1] + b"!"
    with pytest.raises(EnvironmentFailure, match=r"alpha.* hash differs"):
        finish(world.environment().make(online=True, python=PYTHON))
    del world.index.files["alpha-1.0-py3-none-any.whl"]
    with pytest.raises(EnvironmentFailure, match=r"index offers no alpha==1.0"):
        finish(world.environment().make(online=True, python=PYTHON))


def test_pip_settings_of_the_user_cannot_lead_the_packages_elsewhere(world, finish, monkeypatch):
    elsewhere = world.root / "elsewhere"
    monkeypatch.setenv("PIP_TARGET", str(elsewhere))
    monkeypatch.setenv("PIP_DRY_RUN", "1")
    monkeypatch.setenv("PYTHONPATH", str(elsewhere))
    monkeypatch.setenv("PYTHONHOME", str(elsewhere))
    finish(world.environment().make(online=True, python=PYTHON))
    assert world.environment().status().state == "ready"
    assert not elsewhere.exists()


# --- updates, moves, mending -----------------------------------------------------------------------------------------


def test_another_list_of_packages_makes_it_outdated_and_make_fetches_only_the_difference(world, finish):
    offline(world, finish)
    old = world.add("alpha", "1.0")
    new = world.add("alpha", "1.1")
    world.left_out.add(old)
    environment = world.environment(version="9.9.0")
    status = environment.status()
    assert status.state == "outdated"
    assert status.sentence.startswith("The backend's environment was made for Headstitch 9.8.7 and this is 9.9.0")
    with pytest.raises(EnvironmentFailure, match="press Make to update it"):
        environment.command("serve")
    world.extend("9.9.0")
    finish(environment.make(online=True))
    assert [file for file in world.index.asked if not file.startswith("pip-")] == [new]
    assert environment.status().state == "ready"
    site = Layout(world.folder).site()
    assert [path.name for path in site.glob("alpha*")] == ["alpha", "alpha-1.1.dist-info"] or sorted(
        path.name for path in site.glob("alpha*")
    ) == ["alpha", "alpha-1.1.dist-info"]


def test_a_new_version_with_the_same_packages_needs_nothing(world, finish):
    offline(world, finish)
    world.extend("9.9.0")
    environment = world.environment(version="9.9.0")
    assert environment.status().state == "ready"
    assert run_backend(environment)[1] == "9.9.0"


def test_moved_it_is_outdated_and_mended_without_a_download(world, finish):
    offline(world, finish)
    goal = world.root / "moved" / "headstitch"
    goal.parent.mkdir()
    world.extension.rename(goal)
    world.folder.rename(world.root / "moved" / "environment")
    environment = world.environment(folder=world.root / "moved" / "environment", extension=goal)
    status = environment.status()
    assert status.state == "outdated"
    assert "another place" in status.sentence
    plan = finish(environment.plan(online=False))
    assert (plan.download, plan.problems) == (0, ())
    finish(environment.make(online=False))
    assert Path(run_backend(environment)[2]) == goal / "__init__.py"
    assert finish(environment.check()).problems == ()


def test_what_is_damaged_is_said_and_mended(world, finish):
    environment = offline(world, finish)
    assert finish(environment.check()).sentence == "Everything is there and works"
    site = Layout(world.folder).site()
    (site / "alpha" / "__init__.py").write_text("")
    shutil.rmtree(site / "beta_two-2.5.dist-info")
    problems = [problem.what for problem in finish(environment.check()).problems]
    assert problems == [
        "alpha 1.0 is damaged: alpha/__init__.py is missing or of another size",
        "beta-two 2.5 is missing",
    ]
    finish(environment.make(online=False, wheels=world.offline))
    assert finish(environment.check()).problems == ()


def test_a_package_that_does_not_load_is_no_ready_environment(world, finish):
    world.add("broken", **{"broken/__init__.py": "raise ValueError('not today')\n"})
    job = world.environment().make(online=False, wheels=world.offline, python=PYTHON)
    with pytest.raises(EnvironmentFailure, match="broken cannot be loaded: ValueError: not today"):
        finish(job)
    assert world.environment().status().state == "partial"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone needs libraries of the system")
def test_missing_system_libraries_are_named_with_their_packages(world, finish):
    world.extend(libraries=(("libnowhere.so.7", "libnowhere7", "backend"), ("libnot.so.1", "libnot1", "blender")))
    environment = world.environment()
    report = finish(environment.make(online=False, wheels=world.offline, python=PYTHON))
    assert [problem.what for problem in report.problems] == ["The system library libnowhere.so.7 is missing"]
    assert report.problems[0].mend == "On Debian or Ubuntu run: sudo apt-get install -y libnowhere7"
    assert environment.status().state == "ready", "it is the system that lacks something"


def test_code_of_another_version_is_said(world, finish):
    environment = offline(world, finish)
    world.extend("1.2.3")
    [problem] = finish(environment.check()).problems
    assert problem.what == "The environment runs Headstitch 1.2.3, and the add-on is 9.8.7"


@posix
def test_when_its_python_is_gone_it_is_broken_and_mended(world, finish, monkeypatch):
    base = world.root / "base"
    base.mkdir()
    (base / "python3").symlink_to(PYTHON.resolve())
    environment = world.environment()
    finish(environment.make(online=False, wheels=world.offline, python=base / "python3"))
    (base / "python3").unlink()
    status = environment.status()
    assert status.state == "broken"
    assert "is gone" in status.sentence
    [problem, *_] = finish(environment.check()).problems
    assert "is gone" in problem.what
    finish(environment.make(online=False, python=PYTHON))
    assert environment.status().state == "ready"
    assert run_backend(environment)[1] == "9.8.7"


# --- other Pythons ---------------------------------------------------------------------------------------------------


def test_wrong_interpreters_are_refused_with_a_reason(world, finish, tmp_path):
    environment = world.environment()
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    old = tmp_path / "python"
    answer = {"version": [3, 9, 1], "executable": str(old), "base": str(old), "bits": 64, "system": "linux"}
    answer |= {"machine": "x86_64", "platform": "linux-x86_64", "libc": "glibc 2.36", "macos": "", "pip": ""}
    old.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    old.chmod(0o755)
    for path, sentence in (
        (tmp_path / "nowhere", "There is no file"),
        (text, "does not run as Python"),
        (old, r"is Python 3\.9\.1; name a Python 3\.11 or 3\.12"),
    ):
        if path == old and sys.platform == "win32":
            continue
        with pytest.raises(EnvironmentFailure, match=sentence):
            finish(environment.make(online=True, python=path))
        with pytest.raises(EnvironmentFailure, match=sentence):
            finish(environment.use_existing(path))


def test_an_existing_python_runs_the_extensions_code_and_is_left_as_it_is(fresh, finish):
    own = fresh.root / "mine"
    subprocess.run([PYTHON, "-I", "-m", "venv", "--without-pip", str(own)], check=True)
    python = own / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    site = next(own.rglob("site-packages"))
    environment = fresh.environment()
    with pytest.raises(EnvironmentFailure, match=r"alpha cannot be loaded.*name another Python"):
        finish(environment.use_existing(python))
    assert environment.status().state == "absent"
    for name in ("alpha", "beta_two"):
        (site / f"{name}.py").write_text("")
    (site / "alpha-0.9.dist-info").mkdir()
    (site / "alpha-0.9.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: alpha\nVersion: 0.9\n")
    (site / "headstitch").mkdir()
    (site / "headstitch" / "__init__.py").write_text("__version__ = '0.0.1'\n")
    before = sorted(path for path in own.rglob("*") if "__pycache__" not in path.parts)
    report = finish(environment.use_existing(python))
    assert report.notes == ("alpha is 0.9 there; Headstitch is tested with 1.0",)
    status = environment.status()
    assert (status.state, status.build, status.python) == ("ready", "existing", str(python))
    arguments, version, file, isolated = run_backend(environment, "serve")
    assert (arguments, version, isolated) == (["serve"], "9.8.7", 1)
    assert Path(file) == fresh.extension / "__init__.py"
    assert finish(environment.check()).problems == ()
    assert sorted(path for path in own.rglob("*") if "__pycache__" not in path.parts) == before
    python.unlink()
    assert environment.status().state == "broken"
    assert "named is gone" in finish(environment.check()).problems[0].what
    environment.forget_existing()
    assert environment.status().state == "absent"


@posix
def test_without_a_python_uv_is_obtained_with_consent_only(fresh, finish, monkeypatch):
    monkeypatch.setattr(environment_system, "candidates", lambda own: iter(sorted(own.glob("cpython-*/bin/python3"))))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(Path, "home", lambda: fresh.root)
    script = f"""#!/bin/sh
        [ "$1 $2" = "python install" ] || exit 3
        mkdir -p "$5/cpython-3.11.99-test/bin"
        ln -sf {PYTHON.resolve()} "$5/cpython-3.11.99-test/bin/python3"
    """
    file = fresh.add("uv", "0.1", **{"uv-0.1.data/scripts/uv": textwrap.dedent(script)})
    fresh.tools["uv"] = file
    environment = fresh.environment()
    plan = finish(environment.plan(online=True))
    assert plan.obtains_python
    assert plan.sentence.startswith("about ")
    with pytest.raises(EnvironmentFailure, match="allow Headstitch to obtain one"):
        finish(environment.make(online=True))
    with pytest.raises(EnvironmentFailure, match="may not go online; install one and name it"):
        finish(environment.make(online=False, wheels=fresh.offline, obtain_python=True))
    assert fresh.index.asked == []
    finish(environment.make(online=True, obtain_python=True))
    assert environment.status().state == "ready"
    assert (fresh.folder / "python" / "cpython-3.11.99-test").is_dir()
    assert (fresh.folder / "tools" / "uv-0.1" / "uv").exists()
    assert run_backend(environment)[1] == "9.8.7"
    assert not finish(environment.plan(online=True)).obtains_python


@posix
@pytest.mark.parametrize(
    ("says", "sentence"),
    [
        ("cause: client error (Connect)\ncause: dns error", "place that uv fetches Pythons from cannot be reached"),
        ("error: No download found for request", r"uv could not obtain a Python \(No download found for request\)"),
    ],
)
def test_when_uv_fails_it_is_one_sentence(world, finish, monkeypatch, says, sentence):
    monkeypatch.setattr(environment_system, "candidates", lambda own: iter(()))
    program = world.root / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{says}'\nexit 2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    with pytest.raises(EnvironmentFailure, match=sentence):
        finish(world.environment().make(online=True, obtain_python=True))


# --- removing --------------------------------------------------------------------------------------------------------


def test_remove_takes_what_was_made_and_nothing_else(world, finish):
    environment = offline(world, finish)
    finish(environment.remove())
    assert not world.folder.exists()
    assert environment.status().state == "absent"
    finish(environment.remove())  # nothing there: nothing to do
    environment = offline(world, finish)
    (world.folder / "mine.txt").write_text("keep")
    if sys.platform != "win32":
        precious = world.root / "precious"
        precious.mkdir()
        (precious / "file").write_text("keep")
        (world.folder / "venv" / "link").symlink_to(precious)
    finish(environment.remove())
    assert "mine.txt" in [path.name for path in world.folder.iterdir()]
    assert not (world.folder / "venv").exists()
    if sys.platform != "win32":
        assert (precious / "file").read_text() == "keep"


# --- once in a while, the real one -----------------------------------------------------------------------------------


@pytest.mark.skipif("HEADSTITCH_REAL_ENVIRONMENT" not in os.environ, reason="set HEADSTITCH_REAL_ENVIRONMENT=1")
def test_the_real_environment_makes_a_head(tmp_path, finish):
    import headstitch

    checkout = Path(headstitch.__file__).resolve().parent
    environment = Environment(tmp_path / "environment", checkout, headstitch.__version__)
    job = environment.make(online=True, obtain_python=True, build="cpu")
    report = finish(job, 3000)
    assert report.problems == ()
    assert finish(environment.check(), 600).problems == ()
    photo = checkout / "examples" / "astronaut.png"
    words = environment.command("reconstruct", str(photo), "-o", str(tmp_path / "head"))
    subprocess.run(words, check=True, timeout=1200)
    assert (tmp_path / "head" / "head.glb").stat().st_size > 100_000
    finish(environment.remove(), 600)
    assert not (tmp_path / "environment").exists()
