import json
import math

import pytest
from headstitch.backend.errors import ResultsError
from headstitch.backend.results.report import Measurement, QualityReport


def measured(value, direction="at most", name="m"):
    return Measurement(name, f"title of {name}", value, "unit", 1.0, direction, f"warning of {name}", "reason")


@pytest.mark.parametrize(
    ("value", "direction", "passed"),
    [
        (1.0, "at most", True),
        (1.1, "at most", False),
        (1.0, "at least", True),
        (0.9, "at least", False),
        (1.0, "exactly", True),
        (2.0, "exactly", False),
        (None, "at most", None),
        (math.nan, "at least", False),
        (math.inf, "at most", False),
    ],
)
def test_measurement_keeps_its_bound_on_the_stated_side(value, direction, passed):
    assert measured(value, direction).passed is passed


def test_what_could_not_be_measured_is_neither_passed_nor_failed():
    report = QualityReport((measured(None, name="a"), measured(2.0, name="b"), measured(0.5, name="c")))
    assert [m.name for m in report.unmeasured] == ["a"]
    assert [m.name for m in report.failed] == ["b"]
    assert report.warnings == ("warning of b",)
    assert not report.passed
    with pytest.raises(KeyError):
        report["d"]


def test_report_survives_json():
    report = QualityReport((measured(None, name="a"), measured(2.0, "exactly", "b"), measured(0.123456789, name="c")))
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert QualityReport.from_dict(json.loads(text)) == report


def test_nan_stays_a_failure_through_json():
    report = QualityReport((measured(math.nan),))
    again = QualityReport.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert again.measurements[0].passed is False


@pytest.mark.parametrize("record", [{}, [], {"measurements": [{"name": "a"}]}, {"measurements": 3}])
def test_what_is_no_report_is_refused_with_a_sentence(record):
    with pytest.raises(ResultsError, match=r"head\.json"):
        QualityReport.from_dict(record)


def test_table_shows_marks_values_bounds_and_warnings():
    report = QualityReport((measured(None, name="a"), measured(2.0, name="b"), measured(0.1234, "at least", "c")))
    lines = str(report).splitlines()
    assert lines[0].split() == ["-", "title", "of", "a", "not", "measured", "<=", "1"]
    assert lines[1].split() == ["WARN", "title", "of", "b", "2", "unit", "<=", "1"]
    assert lines[2].startswith("WARN  title of c  ")
    assert "0.123 unit  >= 1" in lines[2]
    assert lines[3:] == ["! warning of b", "! warning of c", "- title of a: reason"]


def test_value_just_beyond_its_bound_does_not_read_like_the_bound():
    measurement = Measurement("m", "m", 0.8496, "", 0.85, "at least", "w")
    assert str(QualityReport((measurement,))).splitlines()[0] == "WARN  m  0.8496  >= 0.85"
