"""The preferences: the environment's jobs as they are shown, and what the other settings do."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

EXTENSION = "bl_ext.user_default.headstitch"


def module(name):
    return importlib.import_module(f"{EXTENSION}.addon.{name}")


class Jobs:
    """Environment jobs whose work the test says; the real ``Job`` around it."""

    def __init__(self, work, tmp_path, monkeypatch):
        self.asked = []
        self.works = {}
        self.tmp_path = tmp_path
        for name in ("plan", "make", "check", "use_existing", "remove"):
            monkeypatch.setattr(work.environment, name, self.maker(name))

    def maker(self, name):
        def make(*positional, **named):
            self.asked.append((name, positional, named))
            return module("environment").Job(self.works[name], self.tmp_path / "environment.log")

        return make


@pytest.fixture
def work(addon, monkeypatch):
    work = addon.heartbeat.upkeep()
    monkeypatch.setattr(work, "look", lambda: setattr(work, "changes", work.changes + 1))
    return work


@pytest.fixture
def jobs(work, tmp_path, monkeypatch):
    return Jobs(work, tmp_path, monkeypatch)


@pytest.fixture
def preferences(addon, bpy):
    return bpy.context.preferences.addons[EXTENSION].preferences


def plan(**changes):
    values = {"target": "linux-x86_64", "python": None, "python_short": "3.11", "build": "cpu", "gpu": "", "wheels": ()}
    values |= {"builds": {"cpu": 190_000_000, "cu126": 2_600_000_000}, "present": (), "download": 920_000_000}
    values |= {"installed": 2_700_000_000, "needed": 3_700_000_000, "free": 64_000_000_000, "exact": True}
    return module("environment").Plan(**values | {"obtains_python": False} | changes)


def drawn(draw, preferences):
    return draw(module("preferences").Preferences, preferences)


def begin(addon, name):
    """A button of the preferences where Blender has a window: the job is begun, and the clock follows it."""
    jobs = {"plan": lambda: addon.heartbeat.upkeep().environment.plan(online=True), "check": None}
    work = addon.heartbeat.upkeep()
    work.begin(name, jobs.get(name) or getattr(work.environment, name))
    return work


# --- the environment -------------------------------------------------------------------------------------------------


def test_the_plan_comes_first_with_its_sizes_and_then_make(addon, bpy, jobs, work, draw, preferences):
    jobs.works["plan"] = lambda job: plan()
    assert "headstitch.environment_make" not in drawn(draw, preferences).operators()
    assert bpy.ops.headstitch.environment_plan() == {"FINISHED"}
    layout = drawn(draw, preferences)
    assert "920 MB to download, 2.7 GB on the disk when done; 64.0 GB of the disk are free" in layout.texts()
    assert "PyTorch: cpu; graphics card: none that it can use" in layout.texts()
    assert "headstitch.environment_make" in layout.operators()
    assert "obtain_python" not in layout.props()
    jobs.works["make"] = lambda job: module("environment").Report(notes=("a note",), facts=(("torch", "2.13"),))
    assert bpy.ops.headstitch.environment_make() == {"FINISHED"}
    assert [name for name, _, _ in jobs.asked] == ["plan", "make"]
    assert jobs.asked[1][2]["obtain_python"] is False
    text = drawn(draw, preferences).texts()
    assert "Everything is there and works" in text
    assert "a note" in text
    assert "torch: 2.13" in text


def test_what_is_chosen_reaches_the_environment_and_the_plan_is_made_again(addon, bpy, jobs, preferences, tmp_path):
    jobs.works["plan"] = lambda job: plan()
    bpy.ops.headstitch.environment_plan()
    items = [item[0] for item in module("preferences")._build_items(None, None)]
    assert items == ["auto", "cpu", "cu126"]
    preferences.build = "cu126"
    preferences.wheels, preferences.keep_wheels = str(tmp_path), True
    preferences.python = str(tmp_path / "python3.11")
    named = jobs.asked[-1][2]
    assert named == {
        "online": bpy.app.online_access,
        "build": "cu126",
        "python": tmp_path / "python3.11",
        "wheels": tmp_path,
        "keep_wheels": True,
    }
    assert len(jobs.asked) == 5
    module("heartbeat").upkeep().dismiss()
    assert [item[0] for item in module("preferences")._build_items(None, None)] == ["auto", "cpu", "cu126"]
    assert preferences.build == "cu126"


def test_what_is_in_the_way_stands_beside_the_plan(addon, bpy, jobs, draw, preferences):
    jobs.works["plan"] = lambda job: plan(problems=("Blender may not go online; switch on ...",))
    bpy.ops.headstitch.environment_plan()
    assert "Blender may not go online; switch on ..." in drawn(draw, preferences).texts()
    assert not bpy.ops.headstitch.environment_make.poll()


def test_obtaining_a_python_needs_consent(addon, bpy, jobs, draw, preferences):
    jobs.works["plan"] = lambda job: plan(obtains_python=True, notes=("No Python 3.11 or 3.12 was found",))
    jobs.works["make"] = lambda job: module("environment").Report()
    bpy.ops.headstitch.environment_plan()
    layout = drawn(draw, preferences)
    assert "No Python 3.11 or 3.12 was found" in layout.texts()
    assert "obtain_python" in layout.props()
    preferences.obtain_python = True
    bpy.ops.headstitch.environment_make()
    assert jobs.asked[-1][2]["obtain_python"] is True


def test_progress_and_cancel(addon, bpy, jobs, work, draw, preferences, monkeypatch):
    def slow(job):
        job.progress("Downloading torch", 0.25)
        while True:
            job.check()

    jobs.works["make"] = slow
    monkeypatch.setattr(addon.heartbeat, "run_until_over", lambda: None)  # as with a window
    bpy.ops.headstitch.environment_make()
    addon.beat_until(lambda: work.event.fraction == 0.25)
    layout = drawn(draw, preferences)
    (bar,) = [call for call in layout.calls if call.name == "progress"]
    assert (bar.factor, bar.text) == (0.25, "Downloading torch")
    assert layout.operators() == ["headstitch.environment_cancel"]
    assert addon.heartbeat.beat() == addon.heartbeat.QUICK
    assert addon.heartbeat.not_ready() == "The environment of the backend is being worked on; wait until that is done"
    assert not bpy.ops.headstitch.environment_check.poll()
    bpy.ops.headstitch.environment_cancel()
    addon.beat_until(lambda: not work.busy)
    assert not bpy.ops.headstitch.environment_cancel.poll()
    assert addon.heartbeat.not_ready() == ""


def test_a_failure_is_a_sentence_with_its_log(addon, bpy, jobs, work, draw, preferences):
    def fails(job):
        job.begin_log()
        raise module("environment").EnvironmentFailure("The disk is full; make room and press Make to go on")

    jobs.works["make"] = fails
    with pytest.raises(RuntimeError, match="The disk is full; make room and press Make to go on"):
        bpy.ops.headstitch.environment_make()
    layout = drawn(draw, preferences)
    assert "The disk is full; make room and press Make to go on" in layout.texts()
    assert Path(layout.of("headstitch.open_file").path).is_file()
    assert layout.of("headstitch.copy_text").text.startswith("The disk is full")
    bpy.ops.headstitch.environment_dismiss()
    assert "The disk is full" not in drawn(draw, preferences).texts()


def test_check_lists_every_finding_with_its_mending(addon, bpy, jobs, draw, preferences):
    problems = [module("environment").Problem(f"package {number} is missing", f"mend {number}") for number in range(3)]
    jobs.works["check"] = lambda job: module("environment").Report(tuple(problems))
    bpy.ops.headstitch.environment_check()
    text = drawn(draw, preferences).texts()
    assert all(f"package {number} is missing mend {number}" in text for number in range(3))


def test_remove_and_an_existing_python(addon, bpy, jobs, work, draw, preferences, tmp_path, monkeypatch):
    jobs.works |= {"remove": lambda job: None, "use_existing": lambda job: module("environment").Report()}
    bpy.ops.headstitch.environment_remove()
    with pytest.raises(RuntimeError, match="Name the python program of your environment under Python first"):
        bpy.ops.headstitch.environment_use_existing()
    preferences.python = str(tmp_path / "python")
    bpy.ops.headstitch.environment_use_existing()
    assert jobs.asked[-1] == ("use_existing", (tmp_path / "python",), {})
    assert "headstitch.environment_use_existing" in drawn(draw, preferences).operators()
    existing = module("environment").Status("ready", "runs in the Python that you named", "python", "existing")
    monkeypatch.setattr(work, "status", existing)
    assert "headstitch.environment_forget_existing" in drawn(draw, preferences).operators()


def test_what_changes_the_environment_ends_the_backend_first_and_waits_for_heads(addon, bpy, jobs, work):
    jobs.works["remove"] = lambda job: None
    (task,) = addon.add("slow")
    addon.reach(task)
    assert not bpy.ops.headstitch.environment_remove.poll()
    addon.session.cancel()
    addon.beat_until(lambda: not addon.session.waiting)
    assert addon.session.client.state == "ready"
    bpy.ops.headstitch.environment_remove()
    assert [name for name, _, _ in jobs.asked] == ["remove"]
    assert addon.session.client.state == "stopped"


def test_a_list_of_packages_that_cannot_be_read_is_told_of(addon, bpy, draw, preferences, monkeypatch):
    def broken(*positional, **named):
        raise module("environment").EnvironmentFailure("The list of packages in the add-on is damaged; install again")

    monkeypatch.setattr(addon.heartbeat, "Environment", broken)
    addon.heartbeat.stop()
    addon.heartbeat.start()
    assert "The list of packages in the add-on is damaged; install again" in drawn(draw, preferences).texts()
    assert not bpy.ops.headstitch.environment_plan.poll()
    tasks, refused = addon.queueing.add(bpy.context, [addon.photo("ada")])
    assert (tasks, refused) == ([], ["The list of packages in the add-on is damaged; install again"])


def test_the_real_plan_of_this_computer_is_shown(addon, bpy, draw, preferences):
    bpy.ops.headstitch.environment_plan()
    assert "on the disk when done; " in drawn(draw, preferences).texts()


# --- the rest --------------------------------------------------------------------------------------------------------


def test_every_setting_of_the_preferences_is_drawn(addon, draw, preferences, bpy, jobs):
    jobs.works["plan"] = lambda job: plan(obtains_python=True)
    bpy.ops.headstitch.environment_plan()
    ours = set(preferences.bl_rna.properties.keys()) - {"rna_type", "bl_idname", "build_name"}
    assert set(drawn(draw, preferences).props()) == ours


def test_the_folder_of_models_reaches_the_backend(addon, preferences, tmp_path, monkeypatch):
    addon.heartbeat.stop()
    monkeypatch.setenv("HEADSTITCH_MODELS", "inherited")
    addon.heartbeat.start()
    preferences.models_folder = str(tmp_path)
    assert os.environ["HEADSTITCH_MODELS"] == str(tmp_path)
    preferences.models_folder = ""
    assert os.environ["HEADSTITCH_MODELS"] == "inherited"
    preferences.models_folder = str(tmp_path)
    addon.heartbeat.stop()
    assert os.environ["HEADSTITCH_MODELS"] == "inherited"
    addon.heartbeat.start()


def test_heads_lie_in_the_extensions_own_folder_unless_another_is_named(addon, bpy, preferences):
    assert addon.heartbeat.heads_folder() == addon.heads
    preferences.heads_folder = ""
    own = Path(bpy.utils.extension_path_user(EXTENSION, path="heads", create=False))
    assert addon.heartbeat.heads_folder() == own
    assert not own.exists()


def test_without_preferences_of_ours_their_defaults_hold(addon, bpy):
    choices = module("preferences").choices
    kept = {
        name: getattr(module("preferences").Choices(), name) for name in module("preferences").Choices.__annotations__
    }
    given = SimpleNamespace(**{name: getattr(choices(), name) for name in kept})
    given.heads_folder = ""
    assert vars(given) == kept
