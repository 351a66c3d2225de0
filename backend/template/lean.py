"""The fitted template as the starter model leans on it: distances and rest coordinates at any point, and the photo with
its outline. Above ``fit``, ``hair`` and ``solid``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt

from ..camera import FOCAL, RADIUS
from ..portrait.portrait import Portrait
from .distance import SPACING, measure, measure_grid, trilinear
from .fit import TemplateFit, fit_template
from .hair import hairy, measure_thickness
from .morphable import load_morphable
from .solid import Solids, make_solids

_WIDTH = RADIUS / FOCAL  # world units across a picture at the distance of the head's centre
_INSIDE = 0.5  # of the matte
_HALF, _COARSE = 0.5, 0.018  # world units: half the side of the coarse grid, and between its nodes


@dataclass(frozen=True, eq=False)
class Leaning:
    """A template fitted to a portrait, without hair and with as much as the photo's outline wants."""

    fit: TemplateFit
    thickness: np.ndarray  # (2,) of the hair on top and at the sides, world units
    bald: Solids
    hairy: Solids

    def measure(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Exact signed distances (N,) bald and with hair, rest coordinates (N, 3), at world points (N, 3); float32."""
        points = np.asarray(points, np.float32)
        bald, skin = measure(self.bald, points)
        hairy = measure(self.hairy, points)[0] if self.thickness.any() else bald
        return bald, hairy, skin[:, :3]


class LeaningGrid:
    """What ``Leaning.measure`` says, on grids, so that millions of points can be asked about.

    The distance with hair is as exact near the template's surface as ``DistanceGrid`` is; all else is trilinear between
    exact values ``_COARSE`` apart, over the cube of half-side ``_HALF``.
    """

    def __init__(self, leaning: Leaning, device: torch.device | None = None) -> None:
        device = device or torch.device("cpu")
        self._fine = measure_grid(leaning.hairy).to(device)
        count = int(np.ceil(2 * _HALF / _COARSE)) + 1
        at = np.linspace(-_HALF, _HALF, count, dtype=np.float32)
        nodes = np.stack(np.meshgrid(at, at, at, indexing="ij"), axis=-1).reshape(-1, 3)
        bald, hairy, rest = leaning.measure(nodes)
        table = np.column_stack([bald, hairy, rest]).reshape(count, count, count, 5)
        self._coarse = torch.from_numpy(table).to(device)
        self._low = torch.as_tensor(self._fine.origin, dtype=torch.float32, device=device)
        self._high = self._low + SPACING * (torch.tensor(self._fine.distance.shape, device=device) - 1)

    def sample(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Signed distances (N,) bald and with hair, and rest coordinates (N, 3), at world points (N, 3)."""
        found = trilinear(self._coarse, (points + _HALF) * ((len(self._coarse) - 1) / (2 * _HALF)))
        within = ((points >= self._low) & (points <= self._high)).all(1)
        hairy = torch.where(within, self._fine.sample_distance(points), found[:, 1])
        return found[:, 0], hairy, found[:, 2:]


def lean(portrait: Portrait) -> Leaning:
    """Fit the template to a portrait; the mean head without hair where its landmarks are NaN."""
    model = load_morphable()
    fit = fit_template(model, portrait.landmarks, portrait.camera)
    bald = make_solids(fit.vertices(model))
    return _leaning(fit, measure_thickness(bald.body, portrait), bald)


def leaning(fit: TemplateFit, thickness: np.ndarray) -> Leaning:
    """The leaning of a template that was fitted before; ``thickness`` (2,) of its hair in world units."""
    return _leaning(fit, thickness, make_solids(fit.vertices(load_morphable())))


def _leaning(fit: TemplateFit, thickness: np.ndarray, bald: Solids) -> Leaning:
    return Leaning(fit, thickness, bald, hairy(bald, thickness))


def shown(image: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """(5, S, S) float32 that the starter's encoder sees of a photo: its colours before black in [-1, 1], its matte in
    [-1, 1], and the distance to the matte's outline in world units.

    Args:
        image: (S, S, 3) uint8 sRGB.
        matte: (S, S) in [0, 1].
    """
    color = (image.astype(np.float32) * matte[..., None]) / 127.5 - 1
    return np.concatenate([color.transpose(2, 0, 1), 2 * matte[None] - 1, outline_distance(matte)[None]]).astype(
        np.float32
    )


def outline_distance(matte: np.ndarray) -> np.ndarray:
    """(S, S) float32 distance to the outline of a matte (S, S) in [0, 1], negative inside, world units at the head."""
    inside = matte > _INSIDE
    size = len(matte)
    if not inside.any() or inside.all():  # no outline: it is farther than the picture is wide
        return np.full(matte.shape, -_WIDTH if inside.any() else _WIDTH, np.float32)
    # OpenCV's distance transform is faster, but its last bit depends on where the picture lies in memory.
    within, beyond = (np.asarray(distance_transform_edt(part)) for part in (inside, ~inside))
    # The outline runs between the last pixel inside and the first one outside.
    return (np.where(inside, 0.5 - within, beyond - 0.5) * (_WIDTH / size)).astype(np.float32)
