"""Regions of the head in rest coordinates (positions on the mean head): where hair grows, and a texture of strands."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

# The hairline seen from the side: (z, y) in rest coordinates from the forehead back to the nape. It runs down before
# the ear (the sideburn), over it and behind it.
_HAIRLINE = np.array(
    [
        (0.30, 0.150),
        (0.145, 0.150),
        (0.11, 0.135),
        (0.075, 0.085),
        (0.045, 0.055),
        (0.025, 0.035),
        (0.000, 0.040),
        (-0.035, 0.050),
        (-0.075, 0.040),
        (-0.095, -0.02),
        (-0.14, -0.090),
        (-0.22, -0.130),
        (-0.50, -0.140),
    ]
)
_SOFTNESS = 0.012  # half-width of the hairline's transition, world units
_EARS = ((0.165, 0.205), (-0.11, 0.055), (-0.10, 0.02))  # |x|, y, z ranges that hold the ears: no hair on them
_CROWN = np.array([0.0, 0.235, -0.145])  # the whorl that hair grows away from
_CENTRE = np.array([0.0, 0.06, -0.09])  # of the skull


def scalp_mask(rest: torch.Tensor) -> torch.Tensor:
    """How much of the hair's colour a place has: (N,) in [0, 1] for rest coordinates (N, 3)."""
    order = np.argsort(_HAIRLINE[:, 0])
    line_z = torch.as_tensor(_HAIRLINE[order, 0], dtype=rest.dtype, device=rest.device)
    line_y = torch.as_tensor(_HAIRLINE[order, 1], dtype=rest.dtype, device=rest.device)
    upper = torch.searchsorted(line_z, rest[:, 2].contiguous()).clamp(1, len(line_z) - 1)
    share = (rest[:, 2] - line_z[upper - 1]) / (line_z[upper] - line_z[upper - 1])
    height = line_y[upper - 1] + share.clamp(0, 1) * (line_y[upper] - line_y[upper - 1])
    mask = _smooth_step((rest[:, 1] - height) / _SOFTNESS)
    side = rest[:, 0].abs()
    (x0, _), (y0, y1), (z0, z1) = _EARS
    ear = (
        _smooth_step((side - x0) / 0.006)
        * _smooth_step((rest[:, 1] - y0) / 0.01)
        * _smooth_step((y1 - rest[:, 1]) / 0.01)
        * _smooth_step((rest[:, 2] - z0) / 0.01)
        * _smooth_step((z1 - rest[:, 2]) / 0.01)
    )
    return mask * (1 - ear)


def strand_shade(rest: torch.Tensor) -> torch.Tensor:
    """Relative brightness (N,), mean 0 and deviation 1, of short hair combed away from the crown."""
    spot = rest - torch.as_tensor(_CENTRE, dtype=rest.dtype, device=rest.device)
    spot = F.normalize(spot, dim=1)
    pole = _CROWN - _CENTRE
    pole = torch.as_tensor(pole / np.linalg.norm(pole), dtype=rest.dtype, device=rest.device)
    right = torch.tensor([1.0, 0.0, 0.0], dtype=rest.dtype, device=rest.device)
    front = torch.linalg.cross(right, pole)
    along = torch.arccos((spot @ pole).clamp(-1, 1)) / np.pi  # 0 at the crown, 1 opposite to it
    around = torch.atan2(spot @ right, spot @ front) / np.pi
    # Strands wind out of the whorl.
    around = torch.remainder(around + 0.25 * torch.exp(-along * 14) + 1, 2) - 1
    noise = torch.as_tensor(_strand_noise(), dtype=rest.dtype, device=rest.device)
    where = torch.stack([around, along * 2 - 1], dim=1)[None, None]
    return F.grid_sample(noise[None, None], where, mode="bilinear", padding_mode="border", align_corners=True)[0, 0, 0]


@cache
def _strand_noise() -> np.ndarray:
    """(512, 2048) float32 noise, long along the rows' axis and fine across, periodic in its columns."""
    generator = np.random.default_rng(20241210)
    total = np.zeros((512, 2048))
    for across, along, weight in ((2048, 24, 1.0), (1024, 12, 0.8), (256, 8, 0.6)):
        cells = generator.standard_normal((along, across))
        cells = torch.from_numpy(np.concatenate([cells, cells[:, :1]], axis=1))[None, None]
        total += weight * F.interpolate(cells, size=total.shape, mode="bilinear", align_corners=True)[0, 0].numpy()
    return ((total - total.mean()) / total.std()).astype(np.float32)


def _smooth_step(distance: torch.Tensor) -> torch.Tensor:
    """0 below -1, 1 above 1, smooth between."""
    t = (distance * 0.5 + 0.5).clamp(0, 1)
    return t * t * (3 - 2 * t)
