"""The record of a head, as it stands in head.json: where it came from, how it was made, what it is like."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import PurePath
from typing import Any

import numpy as np

from ..errors import OptionError, ResultsError
from ..options import TEMPLATE, Options
from ..portrait.portrait import SIZE, Portrait
from .folder import PRODUCT
from .provenance import DIGITAL_SOURCE_TYPE, SENTENCE

POSE = ("yaw_degrees", "pitch_degrees", "roll_degrees")  # as ``--angles`` takes them
SCHEMA = 1  # of head.json; grows when a reader of the old one would go wrong
# What stands in latent.safetensors as well, so that a head can be made again from that file alone: what is the same
# whenever the same photo is made with the same options.
ORIGIN = (
    "schema",
    "product",
    "version",
    "generated_content",
    "generated_content_note",
    "digital_source_type",
    "photo",
    "crop",
    "pose",
    "model",
    "options",
    "warnings",
)
LIBRARIES = ("torch", "numpy", "scipy", "mediapipe", "opencv-contrib-python", "open3d", "PyMCubes", "pygltflib")


def make_record(
    *,
    portrait: Portrait,
    photo_name: str,
    options: Options,
    model: str,
    model_sha256: str,
    device: str,
    licence: str | None = None,
    stages: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """What head.json says of the journey; ``Head.save`` adds the camera, surface, quality and files.

    All of it is the same whenever the same photo is made with the same options, except what stands under ``run``.
    Crop and pose are in the units of ``--crop`` and ``--angles``: given back, they make the same portrait again.

    Args:
        portrait: of the photo.
        photo_name: the photo's file name; folders are dropped, so that no path of the machine gets out.
        options: those of the job.
        model: name of the model or template.
        model_sha256: of its data.
        device: where the tensors lived.
        licence: the model's, where it is known.
        stages: seconds that each stage took.
    """
    from ... import __version__

    return {
        "schema": SCHEMA,
        "product": PRODUCT,
        "version": __version__,
        "generated_content": True,
        "generated_content_note": SENTENCE,
        "digital_source_type": DIGITAL_SOURCE_TYPE,
        "photo": {
            "name": PurePath(photo_name).name,
            "sha256": portrait.sha256,
            "width_pixels": round(portrait.photo.shape[1] / portrait.scale),
            "height_pixels": round(portrait.photo.shape[0] / portrait.scale),
        },
        "crop": _crop(portrait),
        "pose": dict(zip(POSE, np.degrees(portrait.camera.angles).tolist(), strict=True)),
        "model": {"name": model, "sha256": model_sha256, "licence": licence},
        # A model's folder is a place on somebody's machine.
        "options": {**options.to_dict(), "model": model},
        "device": device,
        "libraries": _versions(),
        "warnings": list(dict.fromkeys(portrait.warnings)),
        "run": _run(stages or {}),
    }


def remake_record(
    record: Mapping[str, Any], *, options: Options, device: str, photo: bool, stages: Mapping[str, float]
) -> dict[str, Any]:
    """The record of a head that was made again from its latent; where it comes from stays as it was.

    Args:
        record: of the head that was there.
        options: those of the new job.
        device: where the tensors lived.
        photo: whether the texture was baked from the photo again.
        stages: seconds that each stage took.
    """
    from ... import __version__

    return {
        **record,
        "version": __version__,
        "options": {**options.to_dict(), "model": record["model"]["name"]},
        "device": device,
        "libraries": _versions(),
        "remeshed": {"photo": photo},
        "run": _run(stages),
    }


def pack_origin(record: Mapping[str, Any]) -> np.ndarray:
    """Where a head comes from, out of its record, as an array: (N,) uint8, JSON in UTF-8."""
    origin = {name: record[name] for name in ORIGIN if name in record}
    return np.frombuffer(json.dumps(origin, sort_keys=True, allow_nan=False).encode(), np.uint8)


def unpack_origin(array: np.ndarray) -> Any:
    """What ``pack_origin`` packed, or another JSON value of whoever wrote it.

    Raises:
        ValueError: it is no JSON.
    """
    if array.dtype != np.uint8 or array.ndim != 1:
        raise ValueError(f"record is {array.dtype} of shape {array.shape}")
    return json.loads(array.tobytes())


def recorded_options(record: Mapping[str, Any]) -> Options:
    """The options that a head was made with, from its record.

    Raises:
        ResultsError: another version wrote options that this one does not know.
    """
    try:  # the first heads knew of no models
        return Options.from_dict({"model": TEMPLATE, "inversion": {}, **record["options"]})
    except (KeyError, TypeError, OptionError) as error:
        raise ResultsError(
            f"The options in this head's head.json are another version's ({error}); make the head anew."
        ) from error


def _run(stages: Mapping[str, float]) -> dict[str, Any]:
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(sum(stages.values()), 3),
        "stages": {name: round(seconds, 3) for name, seconds in stages.items()},
    }


def _crop(portrait: Portrait) -> dict[str, float]:
    """The crop in pixels of the upright original, as ``--crop`` takes it, however far the photo was reduced."""
    crop = portrait.crop
    return {
        "column_pixels": crop.column / portrait.scale,
        "row_pixels": crop.row / portrait.scale,
        "side_pixels": crop.side / portrait.scale,
        "angle_degrees": float(np.degrees(crop.angle)),
        "picture_side_pixels": SIZE,
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions
