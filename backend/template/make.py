"""The way into the template floor: a portrait to the fitted template as a HeadField, with what it was made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache

import numpy as np
import torch

from ..errors import ResultsError
from ..portrait.portrait import Portrait
from . import LICENCE as LICENCE
from .distance import measure_grid
from .field import TemplateField
from .fit import TemplateFit, fit_template
from .hair import hairy, measure_thickness
from .morphable import MORPHABLE_PATH, load_morphable
from .pack import PACK_PATH
from .palette import Palette, measure_palette, triple
from .solid import OPENNESS_PATH, Solids, make_solids


def make_template(portrait: Portrait, device: torch.device) -> tuple[TemplateField, dict[str, np.ndarray]]:
    """Fit the template to a portrait.

    Returns:
        The field, and the latent: all that the field was made from, as arrays. ``remake_template`` makes the same field
        of it, so what is fitted is rounded to what the arrays hold before anything is made of it.
    """
    model = load_morphable()
    fit = fit_template(model, portrait.landmarks, portrait.camera)
    pose = {
        "template.coefficients": fit.coefficients,
        "template.rotation": fit.rotation,
        "template.shift": fit.shift,
        "template.log_scale": np.array([fit.log_scale]),
        "camera": portrait.camera.label,
    }
    latent = {name: array.astype(np.float32) for name, array in pose.items()}
    bald = make_solids(_fit(latent).vertices(model))
    latent["template.hair"] = measure_thickness(bald.body, portrait).astype(np.float32)
    solids = hairy(bald, latent["template.hair"])
    palette = measure_palette(solids, portrait)
    latent["palette.skin"] = np.array(palette.skin, np.float32)
    latent["palette.hair"] = np.array(palette.hair, np.float32)
    latent["palette.hair_unevenness"] = np.array([palette.hair_unevenness], np.float32)
    return _field(solids, latent, device), latent


def remake_template(latent: Mapping[str, np.ndarray], device: torch.device) -> TemplateField:
    """The field that ``make_template`` made together with this latent.

    Raises:
        ResultsError: an array is missing or has a shape that cannot be.
    """
    try:
        bald = make_solids(_fit(latent).vertices(load_morphable()))
        return _field(hairy(bald, _thickness(latent)), latent, device)
    except (KeyError, ValueError) as error:
        raise ResultsError(f"This head's latent.safetensors is not whole ({error}); make the head anew.") from error


def _fit(latent: Mapping[str, np.ndarray]) -> TemplateFit:
    coefficients, rotation, shift = (
        latent[f"template.{name}"].astype(np.float64) for name in ("coefficients", "rotation", "shift")
    )
    if not (coefficients.shape == (len(load_morphable().components),) and rotation.shape == shift.shape == (3,)):
        raise ValueError("arrays of the template have the wrong shapes")
    log_scale = float(latent["template.log_scale"].item())
    return TemplateFit(coefficients, rotation, shift, log_scale, float("nan"))


def _thickness(latent: Mapping[str, np.ndarray]) -> np.ndarray:
    thickness = latent.get("template.hair", np.zeros(2))  # heads of earlier versions have none
    if thickness.shape != (2,):
        raise ValueError("the thickness of the hair has the wrong shape")
    return thickness


def _field(solids: Solids, latent: Mapping[str, np.ndarray], device: torch.device) -> TemplateField:
    skin, hair = (triple(latent[f"palette.{name}"]) for name in ("skin", "hair"))
    palette = Palette(skin, hair, float(latent["palette.hair_unevenness"].item()))
    return TemplateField(measure_grid(solids), palette, device)


@cache
def template_sha256() -> str:
    """Hash of the data that the template is made of."""
    digest = hashlib.sha256()
    for path in (MORPHABLE_PATH, PACK_PATH, OPENNESS_PATH):
        digest.update(path.read_bytes())
    return digest.hexdigest()
