"""Regions of the head in rest coordinates (positions on the mean head): where hair grows, and a texture of strands."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F

# The hairline seen from the side: (z, y) in rest coordinates from the nape to the forehead. It runs low through the
# ear, which is left out by its own mask, and comes down before it as the sideburn.
_HAIRLINE = np.array(
    [
        (-0.50, -0.130),
        (-0.22, -0.125),
        (-0.15, -0.105),
        (-0.10, -0.075),
        (-0.05, -0.045),
        (0.000, -0.040),
        (0.022, -0.030),
        (0.036, 0.010),
        (0.055, 0.045),
        (0.080, 0.085),
        (0.100, 0.120),
        (0.125, 0.145),
        (0.145, 0.150),
        (0.300, 0.150),
    ]
)
_HAIR_FADE = 0.02  # half-width of the hairline's transition, world units
_CROWN = np.array([0.0, 0.235, -0.145])  # the whorl that hair grows away from
_CENTRE = np.array([0.0, 0.06, -0.09])  # of the skull


def scalp_mask(rest: np.ndarray) -> np.ndarray:
    """Where hair grows: (N,) in [0, 1] for rest coordinates (N, 3); 0.5 on the hairline, ears not left out."""
    height = np.interp(rest[:, 2], _HAIRLINE[:, 0], _HAIRLINE[:, 1])
    t = np.clip((rest[:, 1] - height) / (2 * _HAIR_FADE) + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def strand_shade(rest: torch.Tensor) -> torch.Tensor:
    """Relative lightness (N,), mean 0 and deviation 1, of short hair combed away from the crown."""
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
    """(512, 2048) float32 noise, long down the columns and fine across them, periodic from the last to the first."""
    generator = np.random.default_rng(20241210)
    total = np.zeros((512, 2048))
    # Tufts of a centimetre, locks of some millimetres, and strands as fine as a texel of the default texture.
    for across, along, weight in ((48, 8, 0.7), (160, 16, 0.8), (640, 32, 0.6)):
        cells = generator.standard_normal((along, across))
        cells = torch.from_numpy(np.concatenate([cells[:, -2:], cells, cells[:, :3]], axis=1))[None, None]
        step = 2048 // across + 1
        size = (512, step * cells.shape[3])
        smooth = F.interpolate(cells, size=size, mode="bicubic", align_corners=True)[0, 0].numpy()
        # From the third cell to its copy: one period, in columns of ``smooth``.
        at = np.linspace(2, 2 + across, 2048) * (size[1] - 1) / (cells.shape[3] - 1)
        low = at.astype(int)
        total += weight * (smooth[:, low] + (at - low) * (smooth[:, low + 1] - smooth[:, low]))
    return ((total - total.mean()) / total.std()).astype(np.float32)
