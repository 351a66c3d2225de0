"""A folder holds a whole head or none: at every moment of writing, for every way in which a disk can refuse."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from headstitch.backend import disk
from headstitch.backend.errors import ResultsError
from headstitch.backend.results.folder import HEAD_FILES, check_writable, is_head, recover, write_file, write_folder

OLD = {name: b"old " + name.encode() for name in HEAD_FILES} | {"head.json": b'{"product": "headstitch", "is": "old"}'}
NEW = {name: b"new " + name.encode() for name in HEAD_FILES} | {"head.json": b'{"product": "headstitch", "is": "new"}'}
STEPS = [(Path, "mkdir"), (Path, "rename"), (Path, "rmdir"), (Path, "unlink"), (Path, "open"), (os, "fsync")]


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch):
    """No test can pull the plug, so none waits for the disk to be sure."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def age(folder):
    """As if nobody had written there for twice as long as a writer may rest."""
    for path in (*folder.iterdir(), folder):
        os.utime(path, (time.time() - 2 * disk.STALE,) * 2)


class Trap:
    """Lets a number of steps of the disk pass, then fails one (``once``) or all that follow."""

    def __init__(self, monkeypatch, passes, error, once=True):
        self.left, self.error, self.sprung, self.once = passes, error, False, once
        for owner, name in STEPS:
            monkeypatch.setattr(owner, name, self.guarded(getattr(owner, name)))

    def guarded(self, real):
        def step(*arguments, **options):
            if self.left == 0 and not (self.sprung and self.once):
                self.sprung = True
                raise self.error
            self.left = max(0, self.left - 1)
            return real(*arguments, **options)

        return step


def at_every_step(monkeypatch, error, job, once=True):
    """Run ``job`` with the trap at its first step, its second and so on, until it is done before the trap springs.

    Yields after each run, with the disk well again: what the job raised (or None).
    """
    for passes in range(100):
        raised = None
        with monkeypatch.context() as patch:
            trap = Trap(patch, passes, error, once)
            try:
                job()
            except (ResultsError, KeyboardInterrupt, MemoryError) as problem:
                raised = problem
        yield raised
        if not trap.sprung:
            assert raised is None
            assert passes > 10, "the trap saw too few steps to mean anything"
            return
    pytest.fail("the job never ends")


def test_folder_is_written_with_its_parents_and_nothing_else(tmp_path):
    target = tmp_path / "a" / "b" / "head"
    assert write_folder(target, NEW) == target
    assert content(target) == NEW
    assert names(target.parent) == ["head"]


def test_folder_is_as_open_to_others_as_any_other(tmp_path):
    (tmp_path / "plain").mkdir()
    write_folder(tmp_path / "head", NEW)
    assert (tmp_path / "head").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_older_head_is_replaced_and_a_persons_files_stay(tmp_path):
    target = write_folder(tmp_path / "head", OLD)
    (target / "notes.txt").write_text("mine")
    (target / "views").mkdir()
    (target / "views" / "a.png").write_text("mine too")
    write_folder(target, NEW)
    assert {n: (target / n).read_bytes() for n in HEAD_FILES} == NEW
    assert (target / "notes.txt").read_text() == "mine"
    assert (target / "views" / "a.png").read_text() == "mine too"
    assert names(tmp_path) == ["head"]


def test_empty_folder_is_taken(tmp_path):
    (tmp_path / "head").mkdir()
    check_writable(tmp_path / "head")
    assert content(write_folder(tmp_path / "head", NEW)) == NEW


def test_link_to_a_folder_stays_a_link(tmp_path):
    real = write_folder(tmp_path / "real", OLD)
    (tmp_path / "link").symlink_to(real)
    assert write_folder(tmp_path / "link", NEW) == real
    assert (tmp_path / "link").is_symlink()
    assert content(real) == NEW


@pytest.mark.parametrize("job", [check_writable, lambda folder: write_folder(folder, NEW)])
@pytest.mark.parametrize(
    "files",
    [
        {"thesis.txt": b"mine"},
        {"head.json": b"{}"},
        {"head.json": b"[1, 2]"},
        {"head.json": b"\xff\xfe"},
        {"head.json": b'{"product": "other"}', "x": b"1"},
        {"head.glb": b"a model of somebody else"},
        {".hidden": b""},
    ],
)
def test_folder_of_a_stranger_is_refused_and_untouched(tmp_path, job, files):
    target = tmp_path / "head"
    target.mkdir()
    for name, data in files.items():
        (target / name).write_bytes(data)
    with pytest.raises(ResultsError, match="left alone; choose another folder"):
        job(target)
    assert content(target) == files
    assert names(tmp_path) == ["head"]


@pytest.mark.parametrize("job", [check_writable, lambda folder: write_folder(folder, NEW)])
def test_file_in_the_place_or_on_the_way_is_refused(tmp_path, job):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ResultsError, match="is a file, and a head needs a folder"):
        job(tmp_path / "file")
    with pytest.raises(ResultsError, match="a file stands in its way"):
        job(tmp_path / "file" / "sub" / "head")
    assert (tmp_path / "file").read_text() == "mine"
    assert names(tmp_path) == ["file"]


def test_check_leaves_nothing_behind(tmp_path):
    check_writable(tmp_path / "a" / "b" / "head")
    assert names(tmp_path) == []
    write_folder(tmp_path / "head", OLD)
    check_writable(tmp_path / "head")
    assert content(tmp_path / "head") == OLD


def test_name_too_long_is_told_before_the_work(tmp_path):
    with pytest.raises(ResultsError, match="File name too long"):
        check_writable(tmp_path / ("n" * 255))


def test_disk_with_too_little_room_is_told_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10 << 30, 10 << 30, 5 << 20))
    with pytest.raises(ResultsError, match="Only 5 MB are free"):
        check_writable(tmp_path / "head")
    check_writable(tmp_path / "head", needed=1 << 20)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="needs root, to become somebody without rights")
@pytest.mark.parametrize("job", [check_writable, lambda folder: write_folder(folder, NEW)])
def test_place_without_permission_is_told(job):
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        os.seteuid(65534)
        try:
            with pytest.raises(ResultsError, match="no permission"):
                job(Path(place) / "sub" / "head")
        finally:
            os.seteuid(0)
        assert names(Path(place)) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_at_any_moment_leaves_nothing(tmp_path, monkeypatch, code):
    target = tmp_path / "deep" / "head"
    told = 0
    for raised in at_every_step(monkeypatch, OSError(code, os.strerror(code)), lambda: write_folder(target, NEW)):
        if raised is None:
            assert content(target) == NEW
            assert names(target.parent) == ["head"]
            shutil.rmtree(tmp_path / "deep")
        elif target.exists():  # refused only when all was done: the parent's entry could not be forced to the disk
            assert content(target) == NEW
            shutil.rmtree(tmp_path / "deep")
        else:
            told += 1
            assert f"disk is full, so {target} was not written" in str(raised)
            assert names(tmp_path) == [], "parents that were made for it are gone too"
    assert told > 10


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), MemoryError()])
def test_older_head_survives_a_failure_at_any_moment(tmp_path, monkeypatch, error):
    target = write_folder(tmp_path / "head", OLD)
    (target / "notes.txt").write_text("mine")
    kept = 0
    for raised in at_every_step(monkeypatch, error, lambda: write_folder(target, NEW)):
        # The one failure is over: what could not be tidied then is tidied by the next command.
        recover(target)
        whole = {name: (target / name).read_bytes() for name in HEAD_FILES}
        assert whole == NEW if raised is None else whole in (OLD, NEW)
        kept += whole == OLD
        assert names(tmp_path) == ["head"]
        assert (target / "notes.txt").read_text() == "mine"
        write_folder(target, OLD)
    assert kept > 10


def test_head_survives_a_disk_that_refuses_everything_from_some_moment_on(tmp_path, monkeypatch):
    """Nothing can be tidied any more, as after a kill. The next command finds the head, whole."""
    target = write_folder(tmp_path / "head", OLD)
    for raised in at_every_step(monkeypatch, OSError(errno.EIO, "gone"), lambda: write_folder(target, NEW), once=False):
        for left in tmp_path.glob(".head.partial-*"):
            age(left)
        recover(target)
        assert content(target) in ([OLD, NEW] if raised else [NEW])
        assert names(tmp_path) == ["head"]
        write_folder(target, OLD)


KILLED = """
import os, sys, itertools
from pathlib import Path
from headstitch.backend.results import folder
step = itertools.count()
def guarded(real):
    def call(*arguments, **options):
        if next(step) == int(sys.argv[2]):
            os.kill(os.getpid(), 9)
        return real(*arguments, **options)
    return call
os.fsync = lambda _: None
for owner, name in [(Path, "mkdir"), (Path, "rename"), (Path, "rmdir"), (Path, "unlink"), (os, "fsync")]:
    setattr(owner, name, guarded(getattr(owner, name)))
files = {name: b"new" for name in folder.HEAD_FILES} | {"head.json": b'{"product": "headstitch"}'}
folder.write_folder(Path(sys.argv[1]), files)
"""


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_kill_at_any_moment_loses_no_head(tmp_path):
    target = write_folder(tmp_path / "head", OLD)
    new = {name: b"new" for name in HEAD_FILES} | {"head.json": b'{"product": "headstitch"}'}
    seen = set()
    for step in range(40):
        done = subprocess.run([sys.executable, "-c", KILLED, target, str(step)], check=False)
        recover(target)
        seen.add("new" if content(target) == new else "old")
        assert content(target) in (OLD, new), f"killed at step {step}"
        assert not [name for name in names(tmp_path) if ".old-" in name]
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        write_folder(target, OLD)
    assert done.returncode == 0
    assert step > 10
    assert seen == {"old", "new"}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mount or RLIMIT_FSIZE")
def test_really_full_disk_is_told_and_leaves_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small disk can be mounted only by root with the right to mount")
    try:
        target = write_folder(disk / "head", OLD)
        with pytest.raises(ResultsError, match="Only 0 MB are free"):
            check_writable(target)
        for large in HEAD_FILES[:-1]:
            with pytest.raises(ResultsError, match="disk is full"):
                write_folder(target, NEW | {large: bytes(1 << 20)})
            assert content(target) == OLD
            assert names(disk) == ["head"]
        assert content(write_folder(target, NEW)) == NEW
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.skipif(os.name == "nt", reason="needs RLIMIT_FSIZE")
def test_limit_on_the_size_of_files_is_told_and_leaves_nothing(tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    target = write_folder(tmp_path / "head", OLD)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(ResultsError, match="size limit"):
            write_folder(target, NEW | {"head.npz": bytes(5000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert content(target) == OLD
    assert names(tmp_path) == ["head"]


def test_leftovers_are_removed_only_when_old_and_ours(tmp_path):
    fresh, stale, strange, slow = (tmp_path / f".head.partial-{name}" for name in ("1", "2", "3", "4"))
    for place in (fresh, stale, strange, slow):
        place.mkdir()
        (place / "head.glb").write_bytes(b"")
    (strange / "diary.txt").write_text("mine")
    for place in (stale, strange, slow):
        age(place)
    os.utime(slow / "head.glb")  # a large file is still being written
    recover(tmp_path / "head")
    assert names(tmp_path) == [".head.partial-1", ".head.partial-3", ".head.partial-4"]


def test_recovery_minds_only_its_own_name(tmp_path):
    other = write_folder(tmp_path / "x" / "head2", OLD)
    other.rename(tmp_path / ".head2.old-ab")
    recover(tmp_path / "head")
    recover(tmp_path / "head[2]")
    assert names(tmp_path) == [".head2.old-ab", "x"]
    recover(tmp_path / "head2")
    assert content(tmp_path / "head2") == OLD


def test_name_with_glob_characters_is_recovered(tmp_path):
    target = write_folder(tmp_path / "a[b]*?", OLD)
    target.rename(tmp_path / ".a[b]*?.old-ab")
    recover(target)
    assert content(target) == OLD


def test_is_head_asks_the_record(tmp_path):
    assert not is_head(tmp_path)
    assert is_head(write_folder(tmp_path / "head", NEW))
    (tmp_path / "head" / "head.json").write_text(json.dumps({"product": "x"}))
    assert not is_head(tmp_path / "head")


def test_file_is_written_in_one_piece(tmp_path, monkeypatch):
    target = tmp_path / "new" / "page.html"
    write_file(target, b"one")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            write_file(target, b"two")
    assert content(target.parent) == {"page.html": b"one"}
    write_file(target, b"three")
    assert content(target.parent) == {"page.html": b"three"}
