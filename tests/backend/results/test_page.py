import json
import os

import pytest
from headstitch.backend.errors import ResultsError
from headstitch.backend.results.page import Entry, render, write_page
from headstitch.backend.results.report import Measurement, QualityReport

BAD = Measurement("holes", "holes", 3.0, "", 0.0, "exactly", "There are <holes>; try --resolution 384.")
GOOD = Measurement("back", "roughness of the back", 1.5, "degrees", 6.0, "at most", "The back is rough.")
BLIND = Measurement("matte", "matte", None, "", 0.5, "at least", "Differs.", reason="no landmarks")


def test_page_escapes_every_text_that_comes_from_outside(tmp_path):
    entry = Entry("<script>&.jpg", head="a b#c", quality=QualityReport((BAD,)), warnings=('"quoted" <b>',))
    failure = Entry("<i>.png", error="No <face> found.")
    page = write_page(tmp_path, [entry, failure], title="<title>").read_text("utf-8")
    assert "<script>" not in page
    assert "<i>" not in page
    assert "<b>" not in page
    assert "No &lt;face&gt; found." in page
    assert "&lt;holes&gt;" in page
    assert 'src="a%20b%23c/preview.png"' in page


def test_page_marks_good_warned_unmeasured_and_failed():
    page = render(
        [
            Entry("a.jpg", head="a", quality=QualityReport((GOOD, BLIND)), seconds=4.21),
            Entry("b.jpg", head="b", quality=QualityReport((GOOD, BAD)), warnings=BAD.warning and (BAD.warning,)),
            Entry("c.jpg", head="c"),
            Entry("d.jpg", error="Empty file."),
        ]
    )
    assert "3 of 4 photos became heads; 1 with warnings, 1 failed." in page
    assert page.count('class="mark good"') == 1
    assert page.count('class="mark warn">1 warning<') == 1, "a warning given twice counts once"
    assert page.count('class="mark none"') == 1
    assert "4.2 s" in page
    assert "http" not in page, "the page needs nothing from elsewhere"


def test_page_takes_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9.jpg")
    page = write_page(tmp_path, [Entry(name, head=os.fsdecode(b"caf\xe9"))]).read_text("utf-8")
    assert 'href="caf%E9/head.glb"' in page


def test_page_is_replaced_in_one_piece_and_a_failure_keeps_the_old_one(tmp_path, monkeypatch):
    page = write_page(tmp_path, [Entry("a.jpg", error="old")])
    before = page.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(ResultsError, match="The disk is full"):
        write_page(tmp_path, [Entry("a.jpg", error="new")])
    assert page.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["index.html"]


def test_entry_of_head_reads_the_record_and_refuses_what_is_none(tmp_path):
    head = tmp_path / "heads" / "a"
    head.mkdir(parents=True)
    with pytest.raises(ResultsError, match=r"head\.json"):
        Entry.of_head(tmp_path, head)
    quality = QualityReport((GOOD, BAD, BLIND))
    record = {"photo": {"name": "a.jpg"}, "quality": quality.to_dict(), "warnings": ["w"], "run": {"seconds": 2.5}}
    (head / "head.json").write_text(json.dumps(record))
    assert Entry.of_head(tmp_path, head) == Entry("a.jpg", "heads/a", quality, ("w",), None, 2.5)
    (head / "head.json").write_text("[]")
    with pytest.raises(ResultsError):
        Entry.of_head(tmp_path, head)
