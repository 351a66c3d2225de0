"""The way into the template floor: a portrait to the fitted template as a HeadField, with what it was made from."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import torch

from ..portrait.portrait import Portrait
from .distance import measure_grid
from .field import TemplateField
from .fit import fit_template
from .morphable import MORPHABLE_PATH, load_morphable
from .pack import PACK_PATH
from .palette import measure_palette
from .solid import OPENNESS_PATH, make_solids

NAME = "template"


def make_template(portrait: Portrait, device: torch.device) -> tuple[TemplateField, dict[str, np.ndarray]]:
    """Fit the template to a portrait.

    Returns:
        The field, and the latent: all that the field was made from, as arrays.
    """
    model = load_morphable()
    fit = fit_template(model, portrait.landmarks, portrait.camera)
    solids = make_solids(fit.vertices(model))
    palette = measure_palette(solids, portrait)
    field = TemplateField(measure_grid(solids), palette, device)
    latent = {
        "template.coefficients": fit.coefficients,
        "template.rotation": fit.rotation,
        "template.shift": fit.shift,
        "template.log_scale": np.array([fit.log_scale]),
        "palette.skin": np.array(palette.skin),
        "palette.hair": np.array(palette.hair),
        "palette.hair_unevenness": np.array([palette.hair_unevenness]),
        "camera": portrait.camera.label,
    }
    return field, {name: array.astype(np.float32) for name, array in latent.items()}


@cache
def template_sha256() -> str:
    """Hash of the data that the template is made of."""
    digest = hashlib.sha256()
    for path in (MORPHABLE_PATH, PACK_PATH, OPENNESS_PATH):
        digest.update(path.read_bytes())
    return digest.hexdigest()
