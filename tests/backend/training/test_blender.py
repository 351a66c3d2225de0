"""The process that draws: what is said when it is missing, does not start, dies, hangs or fails. No Blender needed."""

import os
import stat
import sys
import textwrap
from pathlib import Path

import pytest
from headstitch.backend.errors import OptionError, ResourceError
from headstitch.backend.training import blender
from headstitch.backend.training.blender import MARK, VARIABLE, Blender, find_blender

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pretends with scripts that have a first line")


@pytest.fixture
def pretend(tmp_path):
    """Makes a program that runs Python lines in the place of Blender."""

    def make(lines: str, name: str = "python") -> Path:
        path = tmp_path / name
        start = f"#!{sys.executable}\nimport sys, time, os, json, pathlib\nMARK = {MARK!r}\n"
        path.write_text(start + textwrap.dedent(lines))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


READY = "print(MARK + json.dumps({'ready': '4.5.0'}), flush=True)\n"


def test_scenes_go_out_and_answers_come_back_through_blenders_chatter(pretend, tmp_path):
    program = pretend(
        "print('Blender 4.5.0 (hash of a build)')\n" + READY + "for line in sys.stdin:\n"
        "    pathlib.Path(line.strip(), 'seen').write_text(str(os.getpid()))\n"
        "    print('Saved: picture', MARK)\n"
        "    print(MARK + json.dumps({'view': 0}))\n"
        "    print(MARK + json.dumps({'done': 2.5}), flush=True)\n"
    )
    folders = [tmp_path / name for name in ("one", "two")]
    with Blender(program) as process:
        assert process.version == "4.5.0"
        for folder in folders:
            folder.mkdir()
            assert process.draw(folder) == 2.5
    assert len({(folder / "seen").read_text() for folder in folders}) == 1  # one process for both


def test_python_gets_the_file_and_blender_its_own_way_of_it(pretend):
    lines = "print(MARK + json.dumps({'ready': ' '.join(sys.argv[1:])}), flush=True)\nsys.stdin.read()\n"
    with Blender(pretend(lines, "python3.11")) as process:
        assert process.version.startswith("-I ")
        assert Path(process.version.removeprefix("-I ")).is_file()
    with Blender(pretend(lines, "blender-4.5")) as process:
        assert process.version.startswith("--background --factory-startup --python-exit-code 1 --python /")


def test_no_blender_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(blender, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ResourceError, match=rf"^No Blender is here .*--blender-python or in {VARIABLE}\.$"):
        find_blender()


def test_what_is_no_program_is_one_sentence(monkeypatch, tmp_path):
    (tmp_path / "blender").write_text("a note")
    for named in (tmp_path / "blender", tmp_path / "nowhere"):
        with pytest.raises(OptionError, match=rf"^{named} is no program that can be run; give Blender .*\.$"):
            find_blender(named)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(OptionError, match="nowhere is no program"):
        find_blender()


def test_a_python_without_bpy_is_told_by_its_last_words(pretend):
    program = pretend("import bpy_that_is_not_there\n")
    with pytest.raises(
        ResourceError, match=r"ended with exit code 1, saying: .*No module named 'bpy_that_is_not_there"
    ):
        Blender(program)


def test_what_cannot_be_run_by_this_machine_is_one_sentence(tmp_path):
    program = tmp_path / "blender"
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    with pytest.raises(ResourceError, match=r"does not start \(Exec format error\); give Blender"):
        Blender(program)


def test_a_blender_that_dies_is_told_with_how(pretend, tmp_path):
    program = pretend(READY + "sys.stdin.readline()\nos.kill(os.getpid(), 9)\n")
    with Blender(program) as process:
        with pytest.raises(ResourceError, match="ended with signal 9"):
            process.draw(tmp_path)
        with pytest.raises(ResourceError, match="ended with signal 9"):  # and stays dead
            process.draw(tmp_path)


def test_a_blender_that_hangs_is_ended(pretend, tmp_path):
    with pytest.raises(ResourceError, match="more than 0 s to start and was ended"):
        Blender(pretend("time.sleep(60)\n"), start_limit=0.2)
    with Blender(pretend(READY + "time.sleep(60)\n"), limit=0.2) as process:
        with pytest.raises(ResourceError, match="to draw a view and was ended; ask for a smaller picture"):
            process.draw(tmp_path)
        assert process._process.wait(timeout=10) != 0


def test_an_error_of_one_scene_leaves_the_process_for_the_next(pretend, tmp_path):
    answers = "{'error': 'KeyError: rest'}", "{'done': 1.0}"
    program = pretend(
        READY + "".join(f"sys.stdin.readline()\nprint(MARK + json.dumps({a}), flush=True)\n" for a in answers)
    )
    with Blender(program) as process:
        with pytest.raises(ResourceError, match=r"^Blender could not draw the head: KeyError: rest\.$"):
            process.draw(tmp_path)
        assert process.draw(tmp_path) == 1.0
