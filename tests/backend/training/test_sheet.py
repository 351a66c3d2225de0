import numpy as np
import pytest
from headstitch.backend import cli
from headstitch.backend.errors import ResultsError
from headstitch.backend.results.pictures import decode_png
from headstitch.backend.training import sheet
from headstitch.backend.training.sheet import caption, write_sheet


@pytest.fixture
def drawn(whole, pretend, monkeypatch):
    """The sides are flat tiles, darker from side to side, instead of drawn heads; the numbers that were asked for."""
    numbers = []

    def pretended(job):
        numbers.append(job.number)
        landmarks = pretend.head(job.number)[1]["landmarks"]
        return [np.full((job.size, job.size, 3), 200 - 40 * side, np.uint8) for side in range(4)], landmarks

    monkeypatch.setattr(sheet, "_sides", pretended)
    monkeypatch.setattr(sheet, "caption", lambda number, attributes: str(number))
    return numbers


def test_every_head_has_four_sides_and_its_photos_under_its_caption(whole, drawn, tmp_path):
    path = write_sheet(whole, tmp_path / "sheet.png", heads=4, size=64, workers=0)
    picture = decode_png(path.read_bytes())
    assert picture.shape == (4 * (64 + 18), 5 * 64, 3)
    assert drawn == [0, 2, 5, 7]
    assert picture[18 + 32, 32::64, 0][:4].tolist() == [200, 160, 120, 80]
    assert np.ptp(picture[18 : 18 + 64, 256:]) <= 4  # the photo is of one colour
    assert picture[:18].min() < 120  # ink


def test_many_heads_stand_in_two_columns(whole, drawn, tmp_path):
    path = write_sheet(whole, tmp_path / "sheet.png", heads=99, size=64, workers=0)
    assert decode_png(path.read_bytes()).shape == (5 * (64 + 18), 2 * 5 * 64, 3)


def test_a_sampler_that_makes_other_heads_by_now_is_told(whole, drawn, tmp_path, monkeypatch):
    pretended = sheet._sides
    monkeypatch.setattr(sheet, "_sides", lambda job: (pretended(job)[0], pretended(job)[1] + 0.001))
    with pytest.raises(ResultsError, match="makes another head 0 than the data set"):
        write_sheet(whole, tmp_path / "sheet.png", heads=1, workers=0)
    assert not (tmp_path / "sheet.png").exists()


def test_captions_name_what_a_person_wants_to_know():
    about = {"style": "bob", "sex": "female", "years": 31.2, "beard": "none"}
    assert caption(7, about) == "7:  bob  female  31"
    assert (
        caption(8, {**about, "beard": "full", "glasses": "round"}) == "8:  bob  female  31  beard full  glasses round"
    )
    assert "glasses" not in caption(8, {**about, "glasses": "none"})


def test_the_commands_answer_bad_input_with_a_sentence(tmp_path, capsys):
    for arguments, code in (
        (["sheet", str(tmp_path)], 5),
        (["check", str(tmp_path)], 5),
        (["test-set", str(tmp_path), "--check"], 5),
        (["make", str(tmp_path / "x"), "--heads", "0"], 2),
        (["make", str(tmp_path / "x"), "--workers", "0"], 2),
        (["make", str(tmp_path / "x"), "--seed", "990000000"], 2),
        (["sheet", str(tmp_path), "--size", "9"], 2),
    ):
        assert cli.main(["data", *arguments]) == code
        said = capsys.readouterr().err.strip().splitlines()
        assert len(said) == 1
        assert said[0].endswith(".")
    assert list(tmp_path.iterdir()) == []
