"""headstitch evaluate: tables, JSON and sheets; what fails is listed and never ends the rest."""

import errno
import json
from dataclasses import replace

import numpy as np
import pytest
from headstitch.backend import cli, disk
from headstitch.backend.camera import Camera
from headstitch.backend.errors import FaceError, ModelError, ResultsError
from headstitch.backend.evaluation import frozen, photos, predict, synthetic
from headstitch.backend.evaluation.report import ROWS, Sheets, align, mean, prepare
from headstitch.backend.evaluation.truth import Truth
from headstitch.backend.options import Options
from headstitch.backend.portrait.portrait import Crop, Portrait
from headstitch.backend.results.head import Head
from headstitch.backend.results.report import Measurement, QualityReport

OPTIONS = Options(device="cpu", quality=False)


def head_of(mesh):
    value = Measurement("landmark_error", "landmarks", 1.5, "%", 3.0, "at most", "look")
    names = tuple(photos._SHORT)
    report = QualityReport(tuple(replace(value, name=name) for name in names))
    surface = object()
    return Head(mesh, Camera.from_angles(), surface, {}, {}, np.zeros((8, 8, 3), np.uint8), report)  # pyright: ignore


@pytest.fixture
def journey(monkeypatch, shapes, known):
    """Predictors that answer at once: the mean template is a small ball, the fitted one the bare ball."""
    ball, painted, _ = shapes
    seen = []

    def predict_ball(self, portrait, options):
        seen.append((self.line, portrait.camera))
        return head_of(painted(ball(0.2 if self.mean else 0.25)))

    def make_portrait(photo, options):
        name = "the photo" if isinstance(photo, np.ndarray) else photo.name
        if name == "faceless.png":
            raise FaceError(f"No face was found in {name}; use another.")
        if name == "odd.png":
            raise KeyError("nobody foresaw this")
        image = np.full((512, 512, 3), 90, np.uint8)
        marks = np.zeros((478, 3), np.float32)
        camera = Camera.from_angles(yaw=np.radians(5))
        return Portrait(image, Crop(256, 256, 512, 0), image, np.ones((512, 512), np.float32), marks, camera, "0" * 64)

    monkeypatch.setattr(predict.Predictor, "predict", predict_ball)
    monkeypatch.setattr(predict, "make_portrait", make_portrait)
    monkeypatch.setattr(photos, "make_portrait", make_portrait)
    monkeypatch.setattr(synthetic, "check_libraries", lambda: None)
    return seen


@pytest.fixture
def heads(truth, tmp_path):
    folder = tmp_path / "heads"
    for name in ("a", "b"):
        truth.save(folder / f"{name}.npz")
    return folder


def finder(known):
    return lambda image: Camera.from_angles().project(known.landmarks) * len(image)


def test_the_templates_stand_first_and_the_same_inputs_give_the_same_bytes(journey, heads, known, tmp_path):
    report = synthetic.evaluate_synthetic(heads, tmp_path / "out", options=OPTIONS, find_landmarks=finder(known))
    assert [line["line"] for line in report.record["lines"]] == ["mean template", "fitted template"]
    small, bare = (line["mean"] for line in report.record["lines"])
    assert small["chamfer"] > bare["chamfer"] + 3
    assert bare["face_distance"] < 0.1
    assert report.record["pose_error"] == pytest.approx(5)
    assert 0.1 < report.record["chamfer_floor"] < 2
    assert report.failures == ()
    first, *_ = (row for row in report.table.splitlines() if row.startswith("mean template"))
    assert f"{small['chamfer']:.2f}" in first.split()
    again = synthetic.evaluate_synthetic(heads, tmp_path / "again", options=OPTIONS, find_landmarks=finder(known))
    for one, other in zip(report.written, again.written, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert [path.name for path in report.written] == [
        "synthetic.json",
        "synthetic_mean_template_01.png",
        "synthetic_fitted_template_01.png",
    ]
    assert json.loads(report.written[0].read_text())["heads"][1]["attributes"] == {"hair": "ball", "age": 30}


def test_a_head_is_made_with_its_true_camera(journey, heads, known, tmp_path):
    synthetic.evaluate_synthetic(heads, tmp_path / "out", options=OPTIONS, heads=1, find_landmarks=finder(known))
    assert len(journey) == 2
    np.testing.assert_allclose(journey[0][1].cam2world, Camera.from_angles().cam2world, atol=1e-6)


def test_a_broken_head_is_listed_and_the_rest_is_measured(journey, heads, known, tmp_path):
    (heads / "a.npz").write_bytes(b"broken")
    report = synthetic.evaluate_synthetic(heads, tmp_path / "out", options=OPTIONS, find_landmarks=finder(known))
    assert len(report.failures) == 1
    assert "is damaged" in report.failures[0]
    assert [(line["heads"], line["failed"]) for line in report.record["lines"]] == [(1, 1), (1, 1)]


def test_a_model_that_is_not_there_is_told_before_the_work(journey, heads, tmp_path):
    with pytest.raises(ModelError, match="nobody"):
        synthetic.evaluate_synthetic(heads, tmp_path / "out", models=("nobody",), options=OPTIONS)
    assert not (tmp_path / "out").exists()
    assert journey == []


def test_photos_that_fail_never_stop_the_rest(journey, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("anna.png", "faceless.png", "odd.png", "zoe.png"):
        (folder / name).write_bytes(b"")
    assert cli.main(["evaluate", "photos", str(folder), "-o", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().out
    assert "anna.png, fitted template" in said
    assert "zoe.png, fitted template" in said
    assert "Failed: faceless.png: No face was found" in said
    assert "Failed: odd.png: A defect of Headstitch (KeyError" in said
    record = json.loads((tmp_path / "out" / "photos.json").read_text())
    assert (record["lines"][0]["heads"], record["lines"][0]["failed"]) == (2, 2)
    assert (tmp_path / "out" / "photos_fitted_template_01.png").exists()


@pytest.mark.parametrize("command", ["synthetic", "photos"])
def test_an_empty_folder_is_one_sentence(command, tmp_path, capsys):
    assert cli.main(["evaluate", command, str(tmp_path), "-o", str(tmp_path / "out")]) in (3, 5)
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "give the folder" in said[0]
    assert not (tmp_path / "out").exists()


def test_a_foreign_file_is_left_alone_and_a_full_disk_is_told(tmp_path, monkeypatch):
    (tmp_path / "photos.json").write_text('{"mine": 1}')
    with pytest.raises(ResultsError, match="left alone"):
        prepare(tmp_path, "photos.json")
    assert (tmp_path / "photos.json").read_text() == '{"mine": 1}'

    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "write_synced", full)
    sheets = Sheets(tmp_path, "x")
    sheets._rows = [np.zeros((4, 4, 3), np.uint8)]
    with pytest.raises(ResultsError, match="The disk is full"):
        sheets.close()
    assert [path.name for path in tmp_path.iterdir()] == ["photos.json"]


def test_a_full_sheet_is_written_and_a_new_one_begun(shapes, tmp_path):
    ball, painted, _ = shapes
    sheets = Sheets(tmp_path, "x")
    sheets._rows = [np.zeros((160, 9 * 160, 3), np.uint8)] * (ROWS - 1)
    sheets.add(np.zeros((64, 64, 3), np.uint8), painted(ball(rings=12)))
    assert [path.name for path in sheets.written] == ["x_01.png"]
    sheets.close()
    assert len(sheets.written) == 1


def test_means_leave_out_what_was_not_measured():
    assert mean([1.0, None, 3.0, float("nan")]) == 2.0
    assert mean([None]) is None
    assert align([["a", "10"], ["long", "2"]]) == "a     10\nlong   2"


def test_the_report_says_whether_it_was_the_frozen_test_set(journey, heads, known, tmp_path, monkeypatch):
    monkeypatch.setattr(frozen, "FILE", tmp_path / "test_set.json")
    names = {path.stem: Truth.load(path) for path in heads.glob("*.npz")}
    marks = {
        name: {"name": name, "number": 0, "sha256": frozen.digest_of(truth), "signs": frozen.signs_of(truth)}
        for name, truth in names.items()
    }
    record = {"headstitch_test_set": 1, "seed": 1, "sampler": "", "sha256": frozen.set_hash(marks)}
    frozen.FILE.write_text(json.dumps({**record, "heads": list(marks.values())}))
    report = synthetic.evaluate_synthetic(heads, tmp_path / "out", options=OPTIONS, find_landmarks=finder(known))
    assert f"This is the frozen test set ({record['sha256'][:12]}), {len(names)} heads, to the bit." in report.table
    assert json.loads((tmp_path / "out" / "synthetic.json").read_text())["test_set"]["frozen"] is True
