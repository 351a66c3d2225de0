"""A folder of real photos, whose truth nobody knows: the quality report of every head, and its eight views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import stop
from ..batch import SUFFIXES, find_photos
from ..errors import PhotoError
from ..options import Options
from ..portrait.make import make_portrait
from ..progress import Listener, Progress
from ..results.report import QualityReport
from ..system import check_libraries, choose_device, plain_errors
from .predict import Predictor, model_predictor
from .report import Report, Sheets, align, digits, mean, prepare, sentence, write_json

NAME = "photos.json"
_PLACES = {"landmark_error": 2, "silhouette_iou": 3, "back_roughness": 2, "photo_border": 1}
_SHORT = {
    "landmark_error": "landmarks %",
    "silhouette_iou": "outline IoU",
    "faces_found": "faces of 5",
    "components": "pieces",
    "holes": "holes",
    "watertight": "watertight",
    "back_roughness": "back deg",
    "photo_border": "border dE",
}


@plain_errors()
def evaluate_photos(
    folder: Path,
    out: Path,
    *,
    models: Sequence[str],
    options: Options,
    progress: Listener | None = None,
) -> Report:
    """Make a head of every photo by every model, and report their quality.

    A photo that fails is listed with its sentence and never ends the rest. The same inputs give the same JSON.

    Args:
        folder: the photos.
        out: where photos.json and the sheets go.
        models: names or folders; template is the fitted template.
        options: of the journey; ``model`` is not used.
        progress: told of every photo and line.

    Raises:
        PhotoError: the folder cannot be read or holds no photo.
        ResultsError: ``out`` cannot be written.
        ModelError: there is no such model.
        ResourceError: the machine lacks what every photo would need.
    """
    photos = find_photos(folder)
    if not photos:
        raise PhotoError(f"{folder} holds no photo ({', '.join(sorted(SUFFIXES))}); give the folder that holds them.")
    predictors = [model_predictor(name) for name in models]
    prepare(out, NAME)
    check_libraries()
    choose_device(options.device)
    options = replace(options, quality=True)
    sheets = [Sheets(out, f"photos_{predictor.line.replace(' ', '_')}") for predictor in predictors]
    entries: list[dict[str, Any]] = []
    for number, photo in enumerate(photos):
        entry: dict[str, Any] = {"photo": photo.name, "lines": []}
        entries.append(entry)
        try:
            portrait = make_portrait(photo, options)
        except Exception as error:  # noqa: BLE001 - one photo's defect must not end the rest; it is listed
            stop.check()
            entry["error"] = sentence(error)
            continue
        entry["sha256"], entry["warnings"] = portrait.sha256, list(portrait.warnings)
        for line, predictor in enumerate(predictors):
            if progress is not None:
                done = (number + line / len(predictors)) / len(photos)
                progress(Progress(f"{photo.name} ({number + 1} of {len(photos)}): {predictor.line}", done, None))
            result: dict[str, Any] = {"line": predictor.line}
            entry["lines"].append(result)
            try:
                head = predictor.predict(portrait, options)
            except Exception as error:  # noqa: BLE001 - as above
                stop.check()
                result["error"] = sentence(error)
                continue
            assert head.quality is not None  # the options ask for it
            result["quality"] = head.quality.to_dict()
            sheets[line].add(portrait.image, head.mesh)
    for each in sheets:
        each.close()
    record = {
        "kind": "photos",
        "resolution": options.resolution,
        "lines": [_summary(number, predictor, entries) for number, predictor in enumerate(predictors)],
        "photos": entries,
    }
    write_json(out / NAME, record)
    written = (out / NAME, *(path for each in sheets for path in each.written))
    return Report(table_of(record), record, _failures(entries), written)


def _summary(number: int, predictor: Predictor, entries: list[dict[str, Any]]) -> dict[str, Any]:
    results = [entry["lines"][number] for entry in entries if entry["lines"]]
    reports = [QualityReport.from_dict(result["quality"]) for result in results if "quality" in result]
    return {
        **predictor.origin,
        "heads": len(reports),
        "failed": len(entries) - len(reports),
        "passed": sum(report.passed for report in reports),
        "mean": {name: mean([report[name].value for report in reports]) for name in _SHORT} if reports else {},
    }


def table_of(record: dict[str, Any]) -> str:
    """A line for every photo and model, then the means of each model."""
    rows = [["", *_SHORT.values(), ""]]
    for entry in record["photos"]:
        for result in entry["lines"]:
            if "quality" not in result:
                continue
            report = QualityReport.from_dict(result["quality"])
            cells = [digits(report[name].value, _PLACES.get(name, 0)) for name in _SHORT]
            rows.append([f"{entry['photo']}, {result['line']}", *cells, "ok" if report.passed else "WARN"])
    for line in record["lines"]:
        cells = [digits(line["mean"].get(name), _PLACES.get(name, 2)) for name in _SHORT]
        rows.append([f"mean of {line['line']}", *cells, f"{line['passed']} of {line['heads']} ok"])
    return align(rows)


def _failures(entries: list[dict[str, Any]]) -> tuple[str, ...]:
    found = [f"{entry['photo']}: {entry['error']}" for entry in entries if "error" in entry]
    for entry in entries:
        found += [f"{entry['photo']}, {line['line']}: {line['error']}" for line in entry["lines"] if "error" in line]
    return tuple(found)
