import errno
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from headstitch.backend.errors import OptionError, ResultsError
from headstitch.backend.training.dataset import make, shards
from headstitch.backend.training.dataset.check import check_dataset
from headstitch.backend.training.dataset.make import make_dataset
from headstitch.backend.training.dataset.options import TEST_SEEDS, DataOptions
from headstitch.backend.training.lock import locked


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_options_that_cannot_be_are_refused():
    for name, value in (("heads", 0), ("seed", -1), ("seed", 1 << 32), ("size", 8), ("shard", 0), ("strands", 0.0)):
        with pytest.raises(OptionError, match=f"--{name} is"):
            DataOptions(**{name: value})


def test_the_last_shard_holds_the_rest(whole, pretend):
    record = json.loads((whole / "manifest.json").read_text())
    assert [shard["heads"] for shard in record["shards"].values()] == [4, 4, 2]
    assert sorted(content(whole)) == [".lock", *sorted(record["shards"]), "manifest.json"]
    assert record["options"] == pretend.OPTIONS.record
    assert (record["headstitch_data"], record["sampler"]) == (1, "pretended")


@pytest.mark.parametrize("after", [0, 3, 4, 9])
def test_a_stopped_run_goes_on_to_the_same_bytes(calls, pretend, whole, tmp_path, monkeypatch, after):
    sample = make._record

    def stopping(options, number):
        if number == after:
            raise KeyboardInterrupt
        return sample(options, number)

    monkeypatch.setattr(make, "_record", stopping)
    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    assert not [name for name in content(tmp_path) if "partial" in name]
    monkeypatch.setattr(make, "_record", sample)
    calls.clear()
    made = make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    assert (made.kept, made.made) == (after // 4 * 4, 10 - after // 4 * 4)
    assert calls == list(range(after // 4 * 4, 10))
    assert content(tmp_path) == content(whole)


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_run_killed_in_the_middle_goes_on_to_the_same_bytes(calls, pretend, whole, tmp_path):
    process = subprocess.Popen([sys.executable, pretend.__file__, str(tmp_path), "0.15"], stdout=subprocess.PIPE)
    assert b"heads-000000.tar is finished" in process.stdout.readline()
    while not list(tmp_path.glob(".*.partial-*")):
        time.sleep(0.01)
    time.sleep(0.2)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert (tmp_path / "heads-000000.tar").exists()
    assert list(tmp_path.glob(".heads-000001.tar.partial-*"))
    assert make_dataset(tmp_path, pretend.OPTIONS, workers=0).kept == 4
    assert content(tmp_path) == content(whole)


def test_a_shard_without_its_entry_is_made_again(calls, pretend, whole, tmp_path):
    """As a kill between the shard's rename and the manifest's leaves it."""
    make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    record = json.loads((tmp_path / "manifest.json").read_text())
    del record["shards"]["heads-000001.tar"]
    (tmp_path / "manifest.json").write_text(json.dumps(record))
    calls.clear()
    make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    assert calls == [4, 5, 6, 7]
    assert content(tmp_path) == content(whole)


def test_a_flipped_byte_is_found_and_made_good(calls, pretend, whole, tmp_path):
    make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    path = tmp_path / "heads-000001.tar"
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    (tmp_path / "heads-000002.tar").unlink()
    report = check_dataset(tmp_path)
    assert not report.whole
    assert len(report.damaged) == 2
    assert "heads-000001.tar is damaged: it does not have the hash" in report.damaged[0]
    assert "heads-000002.tar is damaged: it is missing" in report.damaged[1]
    calls.clear()
    said = []
    make_dataset(tmp_path, pretend.OPTIONS, workers=0, tell=said.append)
    assert calls == list(range(4, 10))
    assert "heads-000001.tar does not have the hash with which it was written; it is made again." in said[0]
    assert "1 of 3 shards are there and kept." in said
    assert content(tmp_path) == content(whole)
    assert check_dataset(tmp_path).whole


def test_a_data_set_may_grow_to_the_same_bytes_but_not_shrink(calls, pretend, whole, tmp_path):
    make_dataset(tmp_path, replace(pretend.OPTIONS, heads=6), workers=0)
    calls.clear()
    make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    assert calls == [4, 5, 6, 7, 8, 9]
    assert content(tmp_path) == content(whole)
    with pytest.raises(OptionError, match="has 10 heads, and --heads is 6; give as many or more"):
        make_dataset(tmp_path, replace(pretend.OPTIONS, heads=6), workers=0)


@pytest.mark.parametrize(("name", "value"), [("seed", 8), ("size", 64), ("points", 51), ("strands", 0.5), ("shard", 5)])
def test_options_that_differ_are_a_sentence_and_touch_nothing(calls, pretend, whole, name, value):
    before = content(whole)
    with pytest.raises(OptionError, match=rf"was made with --{name} \S+, and now --{name} is {value}; give the same"):
        make_dataset(whole, replace(pretend.OPTIONS, **{name: value}), workers=0)
    assert calls == []
    assert content(whole) == before


def test_another_sampler_or_format_and_a_broken_manifest_are_a_sentence(calls, pretend, tmp_path, monkeypatch):
    make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    monkeypatch.setattr(make, "sampler_version", lambda: "another")
    with pytest.raises(ResultsError, match=r"another sampler .pretended of Headstitch"):
        make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    path = tmp_path / "manifest.json"
    text = path.read_text()
    for old, new, why in (
        ('"headstitch_data": 1', '"headstitch_data": 2', "has format 2, and this version reads 1; make it anew"),
        ('"heads": 10', '"heads": "10"', "is damaged; bring it back from a copy"),
        ("heads-000001", "../s-000001", "is damaged"),
        ("heads-000001", "heads-000009", "is damaged"),
        ("{", "[" * 100_000, "is damaged"),
    ):
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(ResultsError, match=why):
            make_dataset(tmp_path, pretend.OPTIONS, workers=0)


def test_two_at_once_a_strangers_folder_and_the_test_sets_seed_are_refused(calls, pretend, tmp_path):
    with locked(tmp_path), pytest.raises(ResultsError, match="Another process is writing"):
        make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ResultsError, match="no data set of Headstitch, and is left alone"):
        make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    for seed in (TEST_SEEDS.start, TEST_SEEDS.stop - 1):
        with pytest.raises(OptionError, match="belongs to the frozen test set"):
            make_dataset(tmp_path / "new", replace(pretend.OPTIONS, seed=seed), workers=0)
    assert not (tmp_path / "new").exists()
    assert calls == []


def test_heads_by_cycles_are_refused_where_there_is_no_blender(calls, pretend, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTITCH_BLENDER", str(tmp_path / "none"))
    with pytest.raises(OptionError, match="is no program that can be run; give Blender"):
        make_dataset(tmp_path / "set", replace(pretend.OPTIONS, realistic=0.5), workers=0)
    assert calls == []
    assert not (tmp_path / "set").exists()


def test_a_disk_that_is_too_small_is_told_before_the_work(calls, pretend, tmp_path, monkeypatch):
    monkeypatch.setattr(make.shutil, "disk_usage", lambda folder: _Usage(5_000_000))
    with pytest.raises(ResultsError, match=r"Only 5 MB are free .*, and the 10 heads that are missing take about 1 MB"):
        make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    assert calls == []


class _Usage:
    def __init__(self, free):
        self.free = free


def test_a_disk_that_becomes_full_is_told_with_what_is_needed_and_nothing_is_lost(
    calls, pretend, whole, tmp_path, monkeypatch
):
    write = shards.ShardWriter._write

    def full(self, data):
        if "000001" in self._path.name and self.bytes > 9000:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, data)

    monkeypatch.setattr(shards.ShardWriter, "_write", full)
    with pytest.raises(ResultsError, match=r"is full, and the 6 heads that are missing take about 1 MB; free some"):
        make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    assert sorted(content(tmp_path)) == [".lock", "heads-000000.tar", "manifest.json"]
    monkeypatch.setattr(shards.ShardWriter, "_write", write)
    make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    assert content(tmp_path) == content(whole)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mount")
def test_a_really_full_disk_is_told_and_nothing_is_lost(calls, pretend, whole, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=140k", "tmpfs", disk]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted only by root with the right to mount")
    monkeypatch.setattr(make, "check_space", lambda *needed: None)
    try:
        with pytest.raises(ResultsError, match=r"The disk of .* is full"):
            make_dataset(disk, pretend.OPTIONS, workers=0)
        kept = content(disk)
        assert "heads-000000.tar" in kept
        assert not [name for name in kept if "partial" in name]
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        make_dataset(disk, pretend.OPTIONS, workers=0)
        assert content(disk) == content(whole)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_progress_counts_heads_to_the_end(calls, pretend, tmp_path):
    seen = []
    make_dataset(tmp_path, pretend.OPTIONS, workers=0, progress=seen.append)
    assert [report.fraction for report in seen] == [k / 10 for k in range(11)]
    assert seen[5].stage.startswith("heads, 5 of 10, ")
    assert seen[5].seconds_left > 0
    assert seen[-1].seconds_left == 0


def test_a_head_that_cannot_be_made_is_named(monkeypatch, pretend):
    from headstitch.backend.training.dataset import sample

    def fail(*_):
        raise ZeroDivisionError("no")

    monkeypatch.setattr(sample, "make_record", fail)
    with pytest.raises(ZeroDivisionError) as caught:
        make._record(pretend.OPTIONS, 3)
    assert caught.value.__notes__ == ["while making head 3 of seed 7"]


def test_trouble_of_the_sampler_is_not_taken_for_the_disks(pretend, tmp_path, monkeypatch):
    def fail(options, number):
        raise FileNotFoundError(2, "No such file", "weights")

    monkeypatch.setattr(make, "_record", fail)
    with pytest.raises(FileNotFoundError, match="weights"):
        make_dataset(tmp_path, pretend.OPTIONS, workers=0)
    assert not list(tmp_path.glob("*.tar"))
