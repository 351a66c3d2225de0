"""A folder of synthetic heads with their ground truth: every model measured on every head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .. import stop
from ..options import Options
from ..progress import Listener, Progress
from ..system import check_libraries, choose_device, plain_errors
from .compare import HALVES, METRICS, FindLandmarks, measure_head
from .frozen import Match, load_frozen
from .predict import Predictor, model_predictor, portrait_of, template_predictors
from .report import Report, Sheets, align, digits, mean, prepare, sentence, write_json
from .truth import Truth, find_truths

NAME = "synthetic.json"
PICTURED = 64  # heads that the sheets show, of each model


@plain_errors()
def evaluate_synthetic(
    folder: Path,
    out: Path,
    *,
    models: Sequence[str] = (),
    options: Options,
    heads: int | None = None,
    progress: Listener | None = None,
    find_landmarks: FindLandmarks | None = None,
) -> Report:
    """Measure the mean template, the fitted template and ``models`` on every head of a folder.

    A head that fails is listed with its sentence and never ends the rest. The same inputs give the same JSON.

    Args:
        folder: of NAME.npz and NAME.png, as ``Truth.save`` writes them.
        out: where synthetic.json and the sheets go.
        models: names or folders.
        options: of the journey; ``model`` is not used.
        heads: take only so many, the first by name.
        progress: told of every head and line.
        find_landmarks: see ``measure_head``.

    Raises:
        ResultsError: the folder holds no head, or ``out`` cannot be written.
        ModelError: there is no such model.
        ResourceError: the machine lacks what every head would need.
    """
    paths = find_truths(folder)[:heads]
    predictors = [*template_predictors(), *(model_predictor(name) for name in models)]
    prepare(out, NAME)
    check_libraries()
    choose_device(options.device)
    sheets = [Sheets(out, f"synthetic_{predictor.line.replace(' ', '_')}") for predictor in predictors]
    entries: list[dict[str, Any]] = []
    match = Match(load_frozen())
    for number, path in enumerate(paths):
        entry: dict[str, Any] = {"head": path.stem, "attributes": None, "pose_error": None, "lines": []}
        entries.append(entry)
        try:
            truth = Truth.load(path)
            match.add(path.stem, truth)
            entry["attributes"] = truth.attributes
            portrait, entry["pose_error"] = portrait_of(truth, options)
        except Exception as error:  # noqa: BLE001 - one head's defect must not end the rest; it is listed
            stop.check()
            entry["error"] = sentence(error)
            continue
        for line, predictor in enumerate(predictors):
            if progress is not None:
                done = (number + line / len(predictors)) / len(paths)
                progress(Progress(f"{path.stem} ({number + 1} of {len(paths)}): {predictor.line}", done, None))
            result: dict[str, Any] = {"line": predictor.line}
            entry["lines"].append(result)
            try:
                head = predictor.predict(portrait, options)
                result["metrics"] = measure_head(head.mesh, truth, truth.camera, find_landmarks)
            except Exception as error:  # noqa: BLE001 - as above
                stop.check()
                result["error"] = sentence(error)
                continue
            if number < PICTURED:
                sheets[line].add(truth.photo, head.mesh)
    for each in sheets:
        each.close()
    record = {**_record(predictors, entries, options), "test_set": match.record}
    write_json(out / NAME, record)
    written = (out / NAME, *(path for each in sheets for path in each.written))
    return Report(table_of(record), record, _failures(entries), written)


def _record(predictors: list[Predictor], entries: list[dict[str, Any]], options: Options) -> dict[str, Any]:
    first = [entry["lines"][0] for entry in entries if entry["lines"]]
    floors = [result["metrics"]["chamfer_floor"] for result in first if "metrics" in result]
    lines = []
    for number, predictor in enumerate(predictors):
        results = [entry["lines"][number] for entry in entries if entry["lines"]]
        measured = [result["metrics"] for result in results if "metrics" in result]
        names = [name for name in (measured[0] if measured else {}) if name != "chamfer_floor"]
        lines.append(
            {
                **predictor.origin,
                "heads": len(measured),
                "failed": len(entries) - len(measured),
                "faces_lost": sum(metrics["landmarks"] is None for metrics in measured),
                "mean": {name: mean([metrics[name] for metrics in measured]) for name in names},
            }
        )
    return {
        "kind": "synthetic",
        "units": {metric.name: metric.unit for metric in METRICS},
        "resolution": options.resolution,
        "chamfer_floor": mean(floors),
        "pose_error": mean([entry["pose_error"] for entry in entries]),
        "lines": lines,
        "heads": entries,
    }


def table_of(record: dict[str, Any]) -> str:
    """The means as tables: all metrics, then both halves of those that are split."""
    lines = record["lines"]
    rows = [["", "heads", *(metric.title for metric in METRICS), "no face"]]
    rows.append(["", "", *(f"({metric.unit})" if metric.unit else "" for metric in METRICS), ""])
    for line in lines:
        cells = [digits(line["mean"].get(metric.name), metric.digits) for metric in METRICS]
        rows.append([line["line"], str(line["heads"]), *cells, str(line["faces_lost"])])
    split = [metric for metric in METRICS if metric.name in HALVES]
    halves = [["", *(f"{metric.title} {half}" for metric in split for half in ("seen", "hidden"))]]
    for line in lines:
        cells = [
            digits(line["mean"].get(f"{metric.name}_{half}"), metric.digits)
            for metric in split
            for half in ("seen", "hidden")
        ]
        halves.append([line["line"], *cells])
    floor = f"Sampling floor of the chamfer distance: {digits(record['chamfer_floor'], 2)} % of head height."
    pose = f"Fitted camera off the true one, which is used: {digits(record['pose_error'], 1)} degrees."
    return "\n\n".join([align(rows), align(halves), f"{floor}\n{pose}\n{record['test_set']['sentence']}"])


def _failures(entries: list[dict[str, Any]]) -> tuple[str, ...]:
    found = []
    for entry in entries:
        if "error" in entry:
            found.append(f"{entry['head']}: {entry['error']}")
        found += [f"{entry['head']}, {line['line']}: {line['error']}" for line in entry["lines"] if "error" in line]
    return tuple(found)
