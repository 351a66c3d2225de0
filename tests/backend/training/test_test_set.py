import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from headstitch.backend import cli
from headstitch.backend.camera import Camera
from headstitch.backend.errors import HeadstitchError, ResultsError
from headstitch.backend.evaluation import frozen
from headstitch.backend.evaluation.truth import Truth
from headstitch.backend.meshing.mesh import Mesh
from headstitch.backend.training import test_set
from headstitch.backend.training.test_set import (
    SEX_QUOTA,
    STYLE_QUOTA,
    TONE_QUOTA,
    YEARS_QUOTA,
    check_test_set,
    freeze_test_set,
    make_test_set,
    plan_test_set,
)


@pytest.fixture(scope="module")
def plan():
    return plan_test_set()


@pytest.fixture
def made(plan, monkeypatch, tmp_path):
    """The set is the plan's first three, heads are made up, and none is frozen; the numbers of those that were made."""
    numbers = []

    def pretend(job):
        folder, head, _ = job
        numbers.append(head.number)
        random = np.random.default_rng(head.number)
        normals = np.tile(np.float32([0, 0, 1]), (50, 1))
        corners = np.float32([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
        body = Mesh(corners, np.int32([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
        about = {"style": head.style, "sex": head.sex, "years": head.years, "tone": head.tone, "number": head.number}
        Truth(
            points=random.normal(size=(50, 3)).astype(np.float32),
            normals=normals,
            colors=random.integers(0, 255, (50, 3)).astype(np.uint8),
            labels=np.zeros(50, np.uint8),
            body=body,
            hair=None,
            landmarks=random.normal(size=(478, 3)).astype(np.float32),
            head_height=0.5,
            photo=random.integers(0, 255, (64, 64, 3)).astype(np.uint8),
            camera=Camera.from_angles(),
            attributes=about,
        ).save(folder / f"{head.name}.npz")

    monkeypatch.setattr(test_set, "_make", pretend)
    monkeypatch.setattr(test_set, "plan_test_set", lambda count=3: plan[: min(count, 3)])
    monkeypatch.setattr(test_set, "sampler_version", lambda: "pretended")
    monkeypatch.setattr(frozen, "FILE", tmp_path / "package" / "test_set.json")
    return numbers


def make(folder):
    return make_test_set(folder, workers=0, count=3)


def test_the_plan_keeps_the_quotas(plan):
    counts = [Counter(head.classes[k] for head in plan) for k in range(4)]
    assert len(plan) == 200
    assert counts[0] == STYLE_QUOTA
    for count, most, share in (
        (counts[1], SEX_QUOTA, 0.9),
        (counts[2], YEARS_QUOTA, 0.7),
        (counts[3], TONE_QUOTA, 0.7),
    ):
        assert set(count) == set(most)
        assert all(share * most[each] <= count[each] <= most[each] for each in most)
    assert len({head.number for head in plan}) == 200
    assert [head.name for head in plan] == sorted(head.name for head in plan)
    assert {head.style for head in plan[:40]} == set(STYLE_QUOTA)  # the first ones are a fair part of the whole


def test_what_is_planned_is_what_the_sampler_draws(plan):
    from headstitch.backend.training.head import make_head

    for planned in plan[:2]:
        about = make_head(test_set.SEED, planned.number, share=0.02).attributes
        drawn = (about["style"], about["sex"], about["years"], about["tone"])
        assert drawn == (planned.style, planned.sex, planned.years, planned.tone)


def test_heads_that_are_there_are_kept_and_broken_or_old_ones_are_made_again(made, plan, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    files = make(folder)
    assert [path.stem for path in files] == [head.name for head in plan[:3]]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    files[1].write_bytes(b"no")
    files[2].with_suffix(".png").unlink()
    (folder / ".000_x.npz.partial-12ab").write_bytes(b"half")
    made.clear()
    said = []
    make_test_set(folder, workers=0, count=3, tell=said.append)
    assert made == [head.number for head in plan[1:3]]
    assert said == ["1 of 3 heads are there and kept."]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.setattr(test_set, "sampler_version", lambda: "another")
    made.clear()
    make(folder)
    assert len(made) == 3


def test_what_is_frozen_is_checked_and_never_frozen_again(made, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    make(folder)
    assert not check_test_set(folder).frozen
    path = freeze_test_set(folder)
    assert path == frozen.FILE
    assert check_test_set(folder).frozen
    assert json.loads(path.read_text())["sampler"] == "pretended"
    with pytest.raises(ResultsError, match="is frozen already"):
        freeze_test_set(folder)
    # What was frozen is what counts, whatever the sampler is by now.
    monkeypatch.setattr(test_set, "sampler_version", lambda: "another")
    made.clear()
    make(folder)
    assert made == []
    first = sorted(folder.glob("*.npz"))[0]
    first.unlink()
    match = check_test_set(folder)
    assert (match.frozen, match.found, match.differing) == (False, 2, [])
    first.write_bytes(b"no")
    assert "is damaged" in check_test_set(folder).differing[0]
    make(folder)
    assert len(made) == 1
    assert check_test_set(folder).frozen


def test_only_a_whole_set_of_this_sampler_is_frozen(made, tmp_path, monkeypatch):
    folder = tmp_path / "set"
    make(folder)
    monkeypatch.setattr(test_set, "sampler_version", lambda: "another")
    with pytest.raises(ResultsError, match="does not hold the whole test set of this sampler"):
        freeze_test_set(folder)
    assert not frozen.FILE.exists()


def test_a_strangers_folder_is_left_alone(made, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ResultsError, match="choose another folder"):
        make(tmp_path)
    assert made == []


def test_a_sampler_that_draws_another_head_than_was_planned_is_told(plan, tmp_path):
    with pytest.raises(HeadstitchError, match="the sampler has changed since the set was fixed"):
        test_set._make((tmp_path, replace(plan[0], years=99.0), 0.02))


def test_the_command_makes_checks_and_freezes(made, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(test_set, "default_workers", lambda: 0)
    folder = str(tmp_path / "set")
    assert cli.main(["data", "test-set", folder]) == 0
    assert "has no frozen test set" in capsys.readouterr().out
    assert cli.main(["data", "test-set", folder, "--check"]) == 1
    assert cli.main(["data", "test-set", folder, "--freeze"]) == 0
    assert "This is the frozen test set" in capsys.readouterr().out
    assert cli.main(["data", "test-set", folder, "--freeze", "--check"]) == 2
    assert cli.main(["data", "test-set", folder, "--check"]) == 0
