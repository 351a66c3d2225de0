from __future__ import annotations

import json
import os
import sys
import types

import pytest
from headstitch.backend import batch as module
from headstitch.backend.batch import find_photos, make_heads
from headstitch.backend.errors import ModelError, PhotoError, ResourceError, ResultsError
from headstitch.backend.options import Options


@pytest.fixture(autouse=True)
def _no_heavy_imports(monkeypatch):
    monkeypatch.setattr(module, "check_libraries", lambda: None)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def put(folder, **files: bytes) -> None:
    for name, data in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def names(report) -> dict[str, str | None]:
    return {outcome.photo: outcome.head and outcome.head.name for outcome in report.outcomes}


def test_every_photo_is_found_by_its_suffix_in_order_and_nothing_else(photos):
    put(photos, b_JPG=b"", a_png=b"", c_webp=b"", d_tiff=b"", notes_txt=b"", movie_mp4=b"", sub__e_jpg=b"")
    (photos / ".hidden.jpg").write_bytes(b"")
    assert [photo.name for photo in find_photos(photos)] == ["a.png", "b.JPG", "c.webp", "d.tiff"]


def test_recursive_looks_below_but_neither_into_heads_nor_where_the_heads_go(photos):
    put(photos, a_jpg=b"", sub__deep__b_jpg=b"", out__x__preview_png=b"", old__head_json=b"{}", old__preview_png=b"")
    found = find_photos(photos, recursive=True, skip=photos / "out")
    assert [photo.relative_to(photos).as_posix() for photo in found] == ["a.jpg", "sub/deep/b.jpg"]


def test_a_folder_that_is_not_there_or_holds_no_photo_is_said(photos, tmp_path):
    with pytest.raises(PhotoError, match="not a folder"):
        make_heads(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(PhotoError, match=r"holds no photo.*--recursive"):
        make_heads(photos, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_is_said(photos, tmp_path):
    photos.chmod(0)
    with pytest.raises(PhotoError, match="permissions"):
        make_heads(photos, tmp_path / "out")


def test_failures_are_listed_and_the_rest_is_made(photos, tmp_path, journey):
    put(photos, a_jpg=b"anna", b_jpg=b"faceless", c_jpg=b"carl")
    report = make_heads(photos, tmp_path / "out")
    assert names(report) == {"a.jpg": "a", "b.jpg": None, "c.jpg": "c"}
    assert [outcome.error for outcome in report.failed] == ["No face was found in b.jpg; give a photo with a face."]
    page = report.page.read_text()
    assert page.index("No face was found in b.jpg") < page.index("a/preview.png") < page.index("c/preview.png")


def test_a_defect_in_one_photo_is_listed_with_its_traceback_kept(photos, tmp_path, journey):
    put(photos, a_jpg=b"defect", b_jpg=b"fine")
    report = make_heads(photos, tmp_path / "out")
    assert names(report) == {"a.jpg": None, "b.jpg": "b"}
    assert "KeyError" in str(report.failed[0].error)
    assert "nobody foresaw this" in (tmp_path / "out" / "errors" / "a.txt").read_text()


def test_memory_that_runs_out_on_one_photo_is_listed(photos, tmp_path, journey):
    put(photos, a_jpg=b"anna")
    journey.error = MemoryError()
    report = make_heads(photos, tmp_path / "out")
    assert "--texture-size" in str(report.failed[0].error)


def test_what_would_fail_for_every_photo_ends_the_batch_instead(photos, tmp_path, journey, monkeypatch):
    put(photos, a_jpg=b"anna", b_jpg=b"bob")

    def missing(name: str) -> None:
        raise ResourceError("PyTorch finds no CUDA GPU here; use --device auto.")

    monkeypatch.setattr(module, "choose_device", missing)
    with pytest.raises(ResourceError, match="no CUDA GPU"):
        make_heads(photos, tmp_path / "out", options=Options(device="cuda"))
    assert journey.calls == []


def test_a_second_run_keeps_what_is_done_and_tries_failures_again(photos, tmp_path, journey):
    put(photos, a_jpg=b"anna", b_jpg=b"faceless")
    make_heads(photos, tmp_path / "out")
    report = make_heads(photos, tmp_path / "out")
    assert journey.calls == ["a.jpg", "b.jpg", "b.jpg"]
    assert [(o.photo, o.kept, o.error is None) for o in report.outcomes] == [
        ("a.jpg", True, True),
        ("b.jpg", False, False),
    ]
    put(photos, b_jpg=b"better")
    report = make_heads(photos, tmp_path / "out")
    assert report.failed == ()
    assert "No face" not in report.page.read_text()


@pytest.mark.parametrize("change", ["photo", "options", "version", "file", "record"])
def test_a_head_is_made_anew_when_anything_behind_it_changed(photos, tmp_path, journey, monkeypatch, change):
    put(photos, a_jpg=b"anna")
    options = Options()
    make_heads(photos, tmp_path / "out", options=options)
    if change == "photo":
        put(photos, a_jpg=b"anna, older")
    elif change == "options":
        options = Options(seed=1)
    elif change == "version":
        monkeypatch.setattr("headstitch.__version__", "9.9.9")
    elif change == "file":
        (tmp_path / "out" / "a" / "head.glb").unlink()
    else:
        (tmp_path / "out" / "a" / "head.json").write_text("{")
    report = make_heads(photos, tmp_path / "out", options=options)
    assert journey.calls == ["a.jpg", "a.jpg"]
    assert not report.outcomes[0].kept


def test_photos_of_the_same_name_do_not_collide_and_keep_their_folders(photos, tmp_path, journey):
    put(photos, anna_png=b"1", ANNA_jpg=b"2", sub__anna_jpg=b"3")
    first = names(make_heads(photos, tmp_path / "out", recursive=True))
    assert first == {"ANNA.jpg": "ANNA", "anna.png": "anna-png", "sub/anna.jpg": "sub-anna"}
    put(photos, aaa_jpg=b"0", anna_jpeg=b"4")
    second = names(make_heads(photos, tmp_path / "out", recursive=True))
    assert second == {**first, "aaa.jpg": "aaa", "anna.jpeg": "anna-jpeg"}
    assert journey.calls == ["ANNA.jpg", "anna.png", "anna.jpg", "aaa.jpg", "anna.jpeg"]


def test_no_photo_may_take_the_place_of_the_page(photos, tmp_path, journey):
    (photos / "index.html.jpg").write_bytes(b"1")
    (photos / "batch.json.jpg").write_bytes(b"2")
    report = make_heads(photos, tmp_path / "out")
    assert names(report) == {"batch.json.jpg": "batch.json-jpg", "index.html.jpg": "index.html-jpg"}
    assert report.page.is_file()


def test_a_folder_of_the_same_name_that_is_no_head_is_left_alone(photos, tmp_path, journey):
    put(photos, a_jpg=b"anna")
    put(tmp_path, out__a__diary_txt=b"mine")
    report = make_heads(photos, tmp_path / "out")
    assert names(report) == {"a.jpg": "a-jpg"}
    assert [path.name for path in (tmp_path / "out" / "a").iterdir()] == ["diary.txt"]


def test_a_photo_that_comes_meanwhile_is_taken_and_one_that_goes_is_listed(photos, tmp_path, journey):
    put(photos, a_jpg=b"anna", b_jpg=b"bob")

    def meanwhile(photo):
        if photo.name == "a.jpg":
            (photos / "b.jpg").unlink()
            put(photos, c_jpg=b"carl")

    journey.meanwhile = meanwhile
    report = make_heads(photos, tmp_path / "out")
    assert names(report) == {"a.jpg": "a", "b.jpg": None, "c.jpg": "c"}
    journey.meanwhile = None
    page = make_heads(photos, tmp_path / "out").page.read_text()
    assert "b.jpg" not in page


def test_a_head_stays_on_the_page_when_its_photo_is_gone(photos, tmp_path, journey):
    put(photos, a_jpg=b"anna", b_jpg=b"bob")
    make_heads(photos, tmp_path / "out")
    (photos / "a.jpg").unlink()
    assert "a/preview.png" in make_heads(photos, tmp_path / "out").page.read_text()


def test_stopping_in_the_middle_keeps_what_is_done_and_the_page(photos, tmp_path, journey):
    put(photos, a_jpg=b"anna", b_jpg=b"bob", c_jpg=b"carl")

    def meanwhile(photo):
        if photo.name == "b.jpg":
            raise KeyboardInterrupt

    journey.meanwhile = meanwhile
    with pytest.raises(KeyboardInterrupt):
        make_heads(photos, tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "a/preview.png" in page
    assert "b.jpg" not in page
    journey.meanwhile = None
    make_heads(photos, tmp_path / "out")
    assert journey.calls == ["a.jpg", "b.jpg", "b.jpg", "c.jpg"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "b", "batch.json", "c", "index.html"]


def test_progress_counts_the_whole_batch_and_never_falls(photos, tmp_path, journey):
    put(photos, a_jpg=b"anna", b_jpg=b"bob")
    journey.meanwhile = lambda photo: (photos / "c.jpg").write_bytes(b"carl")
    told = []
    make_heads(photos, tmp_path / "out", progress=told.append)
    assert told[0].stage == "a.jpg (1 of 2): portrait"
    fractions = [progress.fraction for progress in told]
    assert fractions == sorted(fractions)
    assert (told[-1].stage, told[-1].fraction) == ("done", 1.0)
    assert [p.seconds_left for p in told if p.stage == "c.jpg (3 of 3): surface"] == [2.0]


def test_a_folder_with_someone_elses_page_or_state_is_refused(photos, tmp_path, journey):
    put(photos, a_jpg=b"anna")
    put(tmp_path, site__index_html=b"<p>mine</p>", other__batch_json=b'{"theirs": 1}')
    for folder in ("site", "other"):
        with pytest.raises(ResultsError, match="choose another folder with -o"):
            make_heads(photos, tmp_path / folder)
    assert (tmp_path / "site" / "index.html").read_text() == "<p>mine</p>"
    assert (tmp_path / "other" / "batch.json").read_text() == '{"theirs": 1}'
    assert journey.calls == []


def test_a_place_that_cannot_be_written_is_found_before_the_work(photos, tmp_path, journey):
    put(photos, a_jpg=b"anna")
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ResultsError, match="choose another place with -o"):
        make_heads(photos, tmp_path / "file" / "out")
    with pytest.raises(ResultsError, match="choose another place with -o"):
        make_heads(photos, tmp_path / "file")
    assert journey.calls == []


def test_the_state_is_plain_json(photos, tmp_path, journey):
    put(photos, a_jpg=b"anna", b_jpg=b"faceless")
    make_heads(photos, tmp_path / "out")
    state = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert state["headstitch_batch"]["a.jpg"] == {"head": "a", "error": None}
    assert state["headstitch_batch"]["b.jpg"]["error"].startswith("No face")


@pytest.mark.parametrize(
    "inside",
    [
        "[]",
        '{"a.jpg": {"head": "a"}}',
        '{"a.jpg": "a"}',
        '{"a.jpg": {"head": 3, "error": null}}',
        '{"a.jpg": {"head": "../a", "error": null}}',
        '{"a.jpg": {"head": "", "error": null}}',
        '{"a.jpg": {"head": "a", "error": 1}}',
    ],
)
def test_a_state_with_wrong_insides_is_refused_with_a_sentence(photos, tmp_path, journey, inside):
    put(photos, a_jpg=b"anna")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "batch.json").write_text(f'{{"headstitch_batch": {inside}}}')
    with pytest.raises(ResultsError, match="not a batch's state; choose another folder with -o"):
        make_heads(photos, tmp_path / "out")
    assert journey.calls == []


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
@pytest.mark.parametrize("data", [b"anna", b"faceless", b"defect"])
def test_a_photo_whose_name_is_not_unicode_is_one_photo_among_others(photos, tmp_path, journey, data):
    name = os.fsdecode(b"z\xfcrich.jpg")
    (photos / name).write_bytes(data)
    put(photos, a_jpg=b"anna")
    make_heads(photos, tmp_path / "out")
    report = make_heads(photos, tmp_path / "out")
    assert names(report)["a.jpg"] == "a"
    assert names(report)[name] == (os.fsdecode(b"z\xfcrich") if data == b"anna" else None)
    assert "z\\udcfcrich.jpg" in report.page.read_text("utf-8")


@pytest.mark.parametrize("given", ["mine", "models/mine"])
def test_heads_are_made_anew_when_their_model_has_changed(photos, tmp_path, journey, monkeypatch, given):
    put(photos, a_jpg=b"a")
    found = types.SimpleNamespace(name="mine", sha256="1" * 64)
    monkeypatch.setattr("headstitch.backend.models.bundle.load_bundle", lambda _: found)
    journey.model_sha256 = found.sha256
    options = Options(model=given)
    assert [outcome.kept for outcome in make_heads(photos, tmp_path / "out", options=options).outcomes] == [False]
    assert [outcome.kept for outcome in make_heads(photos, tmp_path / "out", options=options).outcomes] == [True]
    found.sha256 = journey.model_sha256 = "2" * 64
    assert [outcome.kept for outcome in make_heads(photos, tmp_path / "out", options=options).outcomes] == [False]
    assert [outcome.kept for outcome in make_heads(photos, tmp_path / "out", options=options).outcomes] == [True]


def test_a_model_that_is_not_there_ends_the_batch_before_anything_is_written(photos, tmp_path, journey, monkeypatch):
    monkeypatch.setenv("HEADSTITCH_MODELS", str(tmp_path / "models"))
    put(photos, a_jpg=b"a")
    with pytest.raises(ModelError, match="There is no model 'nobodys'"):
        make_heads(photos, tmp_path / "out", options=Options(model="nobodys"))
    assert not (tmp_path / "out").exists()
    assert journey.calls == []


def test_a_head_without_a_picture_that_it_was_made_with_is_made_anew(photos, tmp_path, journey):
    put(photos, a_jpg=b"a")
    make_heads(photos, tmp_path / "out")
    record = tmp_path / "out" / "a" / "head.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "files": {"debug.png": "0"}}))
    assert [outcome.kept for outcome in make_heads(photos, tmp_path / "out").outcomes] == [False]
