import json
from dataclasses import replace

import numpy as np
import pytest
from headstitch.backend.errors import ResultsError
from headstitch.backend.evaluation import frozen
from headstitch.backend.evaluation.frozen import Match, digest_of, load_frozen, set_hash, signs_of
from headstitch.backend.evaluation.truth import Truth


@pytest.fixture
def shipped(truth, tmp_path):
    """The record of a set of two heads, both ``truth``."""
    heads = [{"name": name, "number": 1, "sha256": digest_of(truth), "signs": signs_of(truth)} for name in ("a", "b")]
    whole = set_hash({head["name"]: head for head in heads})
    record = {"headstitch_test_set": 1, "seed": 5, "sampler": "x", "sha256": whole, "heads": heads}
    path = tmp_path / "test_set.json"
    path.write_text(json.dumps(record))
    return path


def compared(path, **truths):
    match = Match(load_frozen(path))
    for name, truth in truths.items():
        match.add(name, truth)
    return match


def moved(truth, by, landmark=True):
    """All places rounded otherwise; or the landmarks alone where ``landmark``."""
    if landmark:
        return replace(truth, landmarks=truth.landmarks + np.float32(by))
    return replace(truth, points=truth.points + np.float32(by))


def test_the_hash_is_of_the_content_and_not_of_the_files(truth, tmp_path):
    path = truth.save(tmp_path / "a.npz")
    with np.load(path) as data:
        arrays = {name: data[name] for name in data.files}
    np.savez(path, **arrays)  # another compression
    assert digest_of(Truth.load(path)) == digest_of(truth)
    photo = truth.photo.copy()
    photo[3, 4, 0] ^= 1
    others = [replace(truth, photo=photo), replace(truth, attributes={"hair": "ball", "age": 31}), moved(truth, 1e-6)]
    assert len({digest_of(each) for each in (truth, *others)}) == 4


def test_the_frozen_set_is_known_to_the_bit_within_rounding_and_in_parts(shipped, truth):
    match = compared(shipped, a=truth, b=truth)
    assert match.frozen
    assert match.sentence == f"This is the frozen test set ({load_frozen(shipped).sha256[:12]}), 2 heads, to the bit."
    match = compared(shipped, a=truth, b=moved(truth, 3e-5))
    assert match.frozen
    assert "1 of them within the rounding of another machine" in match.sentence
    match = compared(shipped, b=truth)
    assert not match.frozen
    assert match.sentence.startswith("These are 1 of the 2 heads of the frozen test set")
    assert match.record["heads"] == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda truth: moved(truth, 1e-3), "its landmarks is off by 0.001, and up to 0.0005 is rounding"),
        (lambda truth: moved(truth, 6e-3, landmark=False), "its points"),
        (lambda truth: replace(truth, head_height=0.51), "its height"),
        (lambda truth: replace(truth, hair=None), "its hair is of another kind"),
        (lambda truth: replace(truth, labels=np.zeros_like(truth.labels)), "its labels"),
        (lambda truth: replace(truth, colors=truth.colors + np.uint8(3)), "its colors"),
        (lambda truth: replace(truth, photo=truth.photo[::-1] // 2), "its photo"),
    ],
)
def test_another_head_is_told_with_what_differs(shipped, truth, change, why):
    match = compared(shipped, a=truth, b=change(truth))
    assert not match.frozen
    assert len(match.differing) == 1
    assert match.differing[0].startswith(f"b is not a head of the frozen test set: {why}")
    assert "1 of 2 heads are others" in match.sentence


def test_a_name_that_the_set_has_not_and_no_set_at_all(shipped, truth, tmp_path):
    assert "the frozen set has none of this name" in compared(shipped, zoe=truth).differing[0]
    match = compared(tmp_path / "none.json", a=truth)
    assert not match.frozen
    assert match.sentence == "This version of Headstitch has no frozen test set to compare these heads with."


@pytest.mark.parametrize(("old", "new"), [('"name": "a"', '"name": "c"'), ('"sha256"', '"sha"'), ("{", "")])
def test_a_damaged_record_is_a_sentence(shipped, old, new):
    shipped.write_text(shipped.read_text().replace(old, new, 1))
    with pytest.raises(ResultsError, match=r"test_set.json is damaged; install Headstitch again"):
        load_frozen(shipped)


def test_what_is_shipped_is_sound():
    shipped = load_frozen()
    if shipped is None:
        pytest.skip("no test set is frozen yet")
    assert len(shipped.heads) == 200
    assert set(frozen.TOLERANCES) == set(next(iter(shipped.heads.values()))["signs"])
