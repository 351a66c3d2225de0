"""Which heads the frozen test set holds, as shipped with the package, and whether given ones are those.

A head is the frozen one **to the bit** where the hash of its decoded arrays and pixels is the shipped one; files are
not hashed, for compression differs between builds of one library. Another processor rounds otherwise, and one rounding
may move a voxel of the hull or the choice of a sampled point: then a head is the frozen one **within rounding** where
every shipped sign of it (``signs_of``) agrees within ``TOLERANCES``, which no other head does.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from ..errors import ResultsError
from .truth import Part, Truth

FILE = Path(__file__).parent / "data" / "test_set.json"
FORMAT = 1
_CORNERS = (10, 152, 234, 454, 33, 263, 1, 61, 291, 13)  # landmarks: forehead, chin, cheeks, eyes, nose, mouth
_TILES = 4  # a photo's means are taken over so many by so many parts
# World units (1 is 42.3 cm), shares of 1, and steps of 255. A sample of 40,000 points that is drawn anew moves means
# of places by 0.001, shares by 0.0025 and mean colours by 0.3 (one standard deviation): four times that is allowed.
TOLERANCES = {
    "height": 5e-4,
    "landmarks": 5e-4,
    "camera": 1e-3,
    "body": 5e-4,
    "hair": 0.01,
    "points": 4e-3,
    "labels": 0.01,
    "colors": 1.5,
    "photo": 3.0,
}


@dataclass(frozen=True)
class Frozen:
    """The shipped record of the test set: of each head, by name, its number, attributes, hash and signs."""

    sha256: str  # of the names and hashes of all heads
    seed: int
    sampler: str
    heads: Mapping[str, Mapping[str, Any]]

    def compare(self, name: str, truth: Truth) -> tuple[Literal["same", "near", "other"], str]:
        """Whether a head is the frozen one to the bit, within rounding, or another, and then why, as a clause."""
        if name not in self.heads:
            return "other", "the frozen set has none of this name"
        head = self.heads[name]
        if digest_of(truth) == head["sha256"]:
            return "same", ""
        signs = signs_of(truth)
        for sign, tolerance in TOLERANCES.items():
            here, there = np.array(signs[sign]), np.array(head["signs"][sign])
            if here.shape != there.shape:
                return "other", f"its {sign} is of another kind"
            off = float(np.abs(here - there).max(initial=0))
            if off > tolerance:
                return "other", f"its {sign} is off by {off:.4g}, and up to {tolerance:g} is rounding"
        return "near", ""


def load_frozen(path: Path | None = None) -> Frozen | None:
    """The frozen test set of this version; None where none is frozen yet.

    Raises:
        ResultsError: the shipped file is damaged.
    """
    path = path or FILE
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_text("utf-8"))
        heads = {head["name"]: head for head in record["heads"]}
        frozen = Frozen(record["sha256"], record["seed"], record["sampler"], heads)
        sound = record["headstitch_test_set"] == FORMAT and set_hash(frozen.heads) == frozen.sha256
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} is damaged; install Headstitch again.") from error
    if not sound:
        raise ResultsError(f"{path} is damaged; install Headstitch again.")
    return frozen


def set_hash(heads: Mapping[str, Mapping[str, Any]]) -> str:
    """One hash for all heads: of a line "NAME HASH" for each, in the order of names."""
    lines = "".join(f"{name} {heads[name]['sha256']}\n" for name in sorted(heads))
    return hashlib.sha256(lines.encode()).hexdigest()


def digest_of(truth: Truth) -> str:
    """SHA-256 of all that is known of a head: every array's name, kind, shape and numbers, and the photo's pixels."""
    found = hashlib.sha256()
    for name, array in sorted(truth.arrays(hashlib.sha256(truth.photo.tobytes()).digest()).items()):
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        found.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def signs_of(truth: Truth) -> dict[str, list[float]]:
    """Numbers by which a head is known again when its last bits differ; see ``TOLERANCES`` for their units.

    height; landmarks: ten of them; camera: cam2world; body, hair: lower and upper corner of the box (hair: none where
    there is none); points: mean and standard deviation of the places; labels: share of each; colors: mean of the
    points'; photo: mean colour of 4 x 4 parts.
    """
    hair = [] if truth.hair is None else [truth.hair.vertices.min(axis=0), truth.hair.vertices.max(axis=0)]
    values = {
        "height": np.array([truth.head_height]),
        "landmarks": truth.landmarks[list(_CORNERS)],
        "camera": truth.camera.cam2world[:3],
        "body": np.stack([truth.body.vertices.min(axis=0), truth.body.vertices.max(axis=0)]),
        "hair": np.array(hair),
        "points": np.stack([truth.points.mean(axis=0, dtype=np.float64), truth.points.std(axis=0, dtype=np.float64)]),
        "labels": np.bincount(truth.labels, minlength=len(Part)) / len(truth.labels),
        "colors": truth.colors.mean(axis=0),
        "photo": cv2.resize(truth.photo, (_TILES, _TILES), interpolation=cv2.INTER_AREA),
    }
    return {name: [round(float(value), 5) for value in np.ravel(each)] for name, each in values.items()}


@dataclass
class Match:
    """Heads as they are compared with the frozen set, one after another."""

    frozen_set: Frozen | None
    same: int = 0  # heads that are the frozen ones to the bit
    near: int = 0  # within rounding
    differing: list[str] = field(default_factory=list)  # a sentence for each other head

    def add(self, name: str, truth: Truth) -> bool:
        """Compare one head; True where it is the frozen one."""
        if self.frozen_set is None:
            return False
        result, why = self.frozen_set.compare(name, truth)
        self.same += result == "same"
        self.near += result == "near"
        if result == "other":
            self.differing.append(f"{name} is not a head of the frozen test set: {why}.")
        return result != "other"

    @property
    def found(self) -> int:
        """How many heads of the frozen set there were."""
        return self.same + self.near

    @property
    def frozen(self) -> bool:
        """Whether it was the frozen set, the whole and nothing but it."""
        return self.frozen_set is not None and not self.differing and self.found == len(self.frozen_set.heads)

    @property
    def sentence(self) -> str:
        """What a person reads."""
        if self.frozen_set is None:
            return "This version of Headstitch has no frozen test set to compare these heads with."
        total, short = len(self.frozen_set.heads), self.frozen_set.sha256[:12]
        if self.differing:
            count = self.found + len(self.differing)
            return f"This is not the frozen test set ({short}): {len(self.differing)} of {count} heads are others."
        bits = "to the bit" if not self.near else f"{self.near} of them within the rounding of another machine"
        if self.frozen:
            return f"This is the frozen test set ({short}), {total} heads, {bits}."
        return f"These are {self.found} of the {total} heads of the frozen test set ({short}), {bits}."

    @property
    def record(self) -> dict[str, Any]:
        """As plain JSON, for reports."""
        known = self.frozen_set.sha256 if self.frozen_set is not None else None
        return {"sha256": known, "frozen": self.frozen, "heads": self.found, "sentence": self.sentence}
