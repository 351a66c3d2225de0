"""One head for one measurement: the journey as users go it, without files. The lines of the tables are named here."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from ..models.bundle import Bundle, load_bundle
from ..options import TEMPLATE, Options
from ..portrait.make import make_portrait
from ..portrait.portrait import Portrait
from ..progress import StageClock
from ..reconstruct import make_head, make_source, source_stages, stages
from ..results.head import Head
from ..system import choose_device, repeatable
from .truth import Truth

MEAN, FITTED = "mean template", "fitted template"
LINES = (MEAN, FITTED)
"""The first lines of every table of synthetic heads: what a model has to beat."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """What makes the heads of one line of the table."""

    line: str  # its name in the table
    bundle: Bundle | None  # None: the template
    mean: bool = False  # whether the template keeps its mean shape and place

    @property
    def origin(self) -> dict[str, str | None]:
        """Name and hash of the model, for the JSON."""
        name, sha256 = (TEMPLATE, None) if self.bundle is None else (self.bundle.name, self.bundle.sha256)
        return {"line": self.line, "model": name, "sha256": sha256}

    @torch.inference_mode()
    @repeatable()
    def predict(self, portrait: Portrait, options: Options) -> Head:
        """The head of a portrait, with its preview, and its quality where the options ask for it.

        Raises:
            HeadstitchError: with one sentence.
        """
        torch.manual_seed(options.seed)
        if self.mean:
            portrait = replace(portrait, landmarks=np.full_like(portrait.landmarks, np.nan))
        clock = StageClock(stages(source_stages(options, self.bundle), options, self.bundle, None))
        source = make_source(portrait, self.bundle, options, choose_device(options.device), clock)
        return make_head(source, portrait.camera, portrait, options, clock)


def template_predictors() -> list[Predictor]:
    """Those of ``LINES``."""
    return [Predictor(MEAN, None, mean=True), Predictor(FITTED, None)]


def model_predictor(name: str) -> Predictor:
    """That of a model, by name or folder.

    Raises:
        ModelError: there is no such model.
    """
    if name == TEMPLATE:
        return Predictor(FITTED, None)
    bundle = load_bundle(name)
    return Predictor(bundle.name, bundle)


def portrait_of(truth: Truth, options: Options) -> tuple[Portrait, float]:
    """The portrait of a synthetic photo with its true camera, and the angle to the one that is fitted, in degrees.

    The photo is the crop already. Landmarks and matte are found as in any photo; the camera is the truth's, so that
    the figures are about the head's shape and not about its pose, whose error stands in a column of its own.

    Raises:
        FaceError: no usable face in it.
    """
    side = len(truth.photo)
    portrait = make_portrait(truth.photo, replace(options, crop=(side / 2, side / 2, side, 0.0)))
    turn = portrait.camera.cam2world[:3, :3].T @ truth.camera.cam2world[:3, :3]
    angle = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    return replace(portrait, camera=truth.camera), angle
