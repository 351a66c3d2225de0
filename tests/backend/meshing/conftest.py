"""Fields that are no template, so that meshing is held to the interface alone; and a real head's mesh, made once."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from headstitch.backend.field import Box
from headstitch.backend.meshing.surface import extract_surface
from headstitch.backend.meshing.uv import unwrap
from headstitch.backend.options import Options
from headstitch.backend.template.distance import measure_grid
from headstitch.backend.template.field import TemplateField
from headstitch.backend.template.morphable import load_morphable
from headstitch.backend.template.palette import Palette
from headstitch.backend.template.solid import make_solids


@dataclass
class Balls:
    """Balls added to and taken from each other in turn: (centre, radius, +1 or -1). Density is linear near the surface.

    It is asked only for what ``HeadField`` names, and counts how many points it was asked about.
    """

    balls: list
    box: Box = field(default_factory=lambda: Box((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)))
    knows: bool = True  # whether ``may_hold_surface`` is of any use
    level: float = 3.0
    paint: object = None  # colour (N, 3) of points (N, 3)
    device = torch.device("cpu")
    asked: int = 0

    def distance(self, points):
        """(N,) float64, exact near each ball's surface; also for arrays."""
        points = np.asarray(points, np.float64)
        total = np.full(len(points), np.inf)
        for centre, radius, sign in self.balls:
            away = np.linalg.norm(points - centre, axis=1) - radius
            total = np.minimum(total, away) if sign > 0 else np.maximum(total, -away)
        return total

    def density(self, points):
        assert points.dtype == torch.float32
        assert points.ndim == 2
        self.asked += len(points)
        return torch.tensor((self.level * (1 - self.distance(points) / 0.5)).clip(0), dtype=torch.float32)

    def color(self, points):
        assert points.dtype == torch.float32
        colors = 0.5 + 0 * points if self.paint is None else self.paint(points)
        return torch.as_tensor(colors, dtype=torch.float32)

    def may_hold_surface(self, low, high):
        """True where a sphere passes through the box: exactly, so that a caller gets no room for mistakes."""
        held = torch.full((len(low),), not self.knows)
        for centre, radius, _ in self.balls:
            middle = torch.tensor(centre, dtype=low.dtype)
            nearest = (torch.maximum(torch.maximum(low - middle, middle - high), torch.zeros(3))).norm(dim=1)
            farthest = torch.maximum((low - middle).abs(), (high - middle).abs()).norm(dim=1)
            held |= (nearest <= radius + 1e-6) & (farthest >= radius - 1e-6)
        return held


@pytest.fixture(scope="session")
def balls():
    """The class of fields made of balls."""
    return Balls


@pytest.fixture(scope="session")
def head_field():
    """The template's mean head, skin and hair in two colours."""
    return TemplateField(
        measure_grid(make_solids(load_morphable().mean)), Palette((0.8, 0.6, 0.45), (0.25, 0.18, 0.12), 0.2)
    )


@pytest.fixture(scope="session")
def head_mesh(head_field):
    """(mesh, report) of the mean head, small."""
    return extract_surface(head_field, Options(resolution=96, faces=4000))


@pytest.fixture(scope="session")
def head_uvs(head_mesh):
    """Per-corner UVs of the mean head in a texture of 512."""
    return unwrap(head_mesh[0], 512)
