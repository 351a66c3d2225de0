"""The stage table runs at a toy's size (10 s on 2 cores), and counts what it says it counts."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "stages.py"


@pytest.fixture(scope="module")
def stages():
    spec = importlib.util.spec_from_file_location("stages", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["stages"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def one_thread(monkeypatch):
    """A toy gains nothing from two, and loses much where other work waits for the cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the process that measures the memory
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_a_small_run_tells_every_stage_and_the_peak_of_memory(stages, tmp_path, capsys):
    stages.main(["--small", "--rounds", "1", "--json", str(tmp_path / "stages.json")])
    figures = json.loads((tmp_path / "stages.json").read_text("utf-8"))
    printed = capsys.readouterr().out
    names = [one["name"] for one in figures["stages"]]
    for part in ("W+ encoder", "F stage", "synthesis", "rays", "super-resolution", "mask", "stitching", "density"):
        assert any(part in name for name in names), part
    assert names[-1] == "texture: baking"
    assert all(f"| {name} |" in printed for name in names)
    assert all(one["seconds"] > 0 and one["bytes"] > 0 and one["times"] >= 1 for one in figures["stages"])
    assert {one["name"] for one in figures["stages"] if one["operations"] == 0} == {
        *("loading the generator", "loading an encoder", "tri-grid as rows", "mask: cells seen", "stitching"),
        *("marching cubes", "one piece, smooth, decimated", "atlas"),
    }
    peaks = list(figures["peak_memory"].values())
    assert peaks == sorted(peaks)
    assert 1e8 < peaks[0] < peaks[-1] < 2e9
    assert list(figures["peak_memory"])[-1] == "texture"


@pytest.mark.usefixtures("one_thread")
def test_a_chain_that_takes_more_than_its_promise_ends_with_an_error(stages, monkeypatch):
    monkeypatch.setattr(stages, "stages", lambda *_: iter(()))
    monkeypatch.setattr(stages, "peak_memory", lambda *_: {"imports": 1, "texture": 6_100_000_000})
    with pytest.raises(SystemExit, match=r"6\.10 GB at most \(at most 6\)"):
        stages.main(["--small", "--rounds", "1"])


def test_the_head_that_it_meshes_is_an_ellipsoid_with_rough_skin(stages):
    with torch.no_grad():
        trigrid, weights = stages.head(stages.SMALL, None)
        lattice = stages.sample(stages.SMALL, trigrid, weights)
    mesh = stages.march(lattice, 10.0, closed_neck=True)
    size = mesh.vertices.max(0) - mesh.vertices.min(0)
    assert size == pytest.approx([0.36, 0.54, 0.50], rel=0.1)


def test_operations_are_counted_by_the_formulas_of_their_kind(stages):
    with torch.no_grad(), stages.Counter() as counter:
        F.conv2d(torch.zeros(2, 3, 8, 8), torch.zeros(5, 3, 3, 3), padding=1)
        F.linear(torch.zeros(4, 6), torch.zeros(7, 6), torch.zeros(7))
        F.embedding_bag(torch.zeros(10, 24, dtype=torch.int32), torch.zeros(100, 32), mode="sum")
    assert counter.operations == 2 * (2 * 5 * 64) * 27 + 2 * 4 * 6 * 7 + 2 * 10 * 24 * 32


def test_bytes_are_what_operators_read_and_write_and_views_move_none(stages):
    x, table, values = torch.zeros(16, 4), torch.zeros(1000, 8), torch.zeros(15, 8)
    index = torch.zeros(5, 3, dtype=torch.int64)
    gathered = 4 * 15 * 8
    cases = (
        (lambda: x.view(8, 8).T[1:], 0),
        (lambda: x.T[:2].reshape(-1), 4 * 32 * 2),  # has to copy
        (lambda: x + 1, 4 * 64 * 2),
        (lambda: x.mul_(2), 4 * 64 * 2),
        (lambda: x[:, :1].expand(16, 9).contiguous(), 4 * (64 + 144)),
        (lambda: table[index], gathered + 8 * 15 + gathered),
        (lambda: table.index_put_((index.view(-1),), values), gathered + 8 * 15 + gathered),
        (
            lambda: F.embedding_bag(index, table, mode="sum"),
            gathered + 8 * 15 + 2 * 8 * 5 + 4 * 5 * 8,
        ),  # with the bags' offsets
    )
    for number, (job, expected) in enumerate(cases):
        with torch.no_grad(), stages.Counter() as counter:
            job()
        assert counter.bytes == expected, number
