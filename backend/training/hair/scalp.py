"""Where hair grows: the hairline on the mean head, and roots drawn evenly over the scalp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...template.regions import scalp_mask
from ..body import Body
from ..vectors import Waves, smooth, unit

CENTRE = np.array([0.0, 0.0684, -0.0874])  # of the skull; the hairline's angles are measured from it
WHORL = np.array([0.025, 0.285, -0.200])  # the crown, from which hair grows in all directions

# Azimuth from the face (degrees) and the elevation below which no hair grows. It comes down before the ear as the
# sideburn, runs above the ear and behind it to the nape.
_LINE = np.array(
    [
        (0, 37), (14, 37.5), (26, 37.5), (36, 35.5), (44, 31), (51, 21), (56, 9), (61, -4), (66, -15), (70, -25),
        (78, -25), (84, -6), (90, 4), (98, 5), (107, 1), (117, -15), (128, -30), (145, -41), (180, -45),
    ]
)  # fmt: skip
_SOFT = 3.5  # degrees over which the hairline thins out


@dataclass(frozen=True)
class Hairline:
    """How a hairline differs from the common one. Degrees, positive: less hair; ``crown`` is how bald it is, 0 .. 1."""

    front: float = 0.0
    temple: float = 0.0
    burn: float = 0.0
    nape: float = 0.0
    peak: float = 0.0
    crown: float = 0.0
    horseshoe: float = 0.0


@dataclass(frozen=True, eq=False)
class Roots:
    """Where strands begin."""

    points: np.ndarray  # (N, 3) on the skin
    normals: np.ndarray  # (N, 3) outward
    rest: np.ndarray  # (N, 3) the place on the mean head
    edge: np.ndarray  # (N,) degrees inside the hairline
    azimuth: np.ndarray  # (N,) degrees from the face, positive to the person's left
    elevation: np.ndarray  # (N,) degrees

    def __len__(self) -> int:
        return len(self.points)

    @property
    def top(self) -> np.ndarray:
        """(N,) 1 on the top of the head, 0 at its sides and back."""
        return smooth(22, 52, self.elevation)

    @property
    def back(self) -> np.ndarray:
        """(N,) 1 on the back of the head, 0 at its sides and on top."""
        return smooth(95, 140, np.abs(self.azimuth)) * (1 - self.top)


def angles(rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Azimuth from the face and elevation in degrees of places on the mean head (N, 3) about the skull's centre."""
    away = rest - CENTRE
    azimuth = np.degrees(np.arctan2(away[:, 0], away[:, 2]))
    return azimuth, np.degrees(np.arctan2(away[:, 1], np.hypot(away[:, 0], away[:, 2])))


def inside_line(rest: np.ndarray, line: Hairline, stray: Waves) -> np.ndarray:
    """(N,) degrees of elevation that places on the mean head (N, 3) lie above the hairline, which wanders a little."""
    azimuth, elevation = angles(rest)
    around = np.abs(azimuth)
    shift = (
        line.front * smooth(60, 30, around)
        + line.temple * np.exp(-(((around - 38) / 13) ** 2))
        - line.peak * np.exp(-((around / 9) ** 2))
        + line.burn * np.exp(-(((around - 73) / 8) ** 2))
        + line.nape * smooth(105, 130, around)
    )
    crown = line.horseshoe * smooth(78, 62, around) * 36
    return elevation - np.interp(around, _LINE[:, 0], _LINE[:, 1]) - shift - crown + 1.6 * stray(rest)[:, 0]


def growth(rest: np.ndarray, line: Hairline, stray: Waves) -> np.ndarray:
    """(N,) in [0, 1], how densely hair grows at places on the mean head (N, 3); ears are not left out."""
    dense = smooth(-_SOFT, _SOFT, inside_line(rest, line, stray))
    _, elevation = angles(rest)
    bare = np.linalg.norm((rest - (WHORL + np.array([0.0, 0.0, 0.05]))) / [0.12, 0.12, 0.11], axis=1)
    dense = dense * (1 - line.crown * smooth(1.25, 0.55, bare))
    if line.horseshoe:
        dense = dense * (1 - line.horseshoe * smooth(24, 40, elevation))
    return dense


def ear_mask(body: Body) -> np.ndarray:
    """(n,) 1 on the ears' own skin, at the vertices of the body's first solid."""
    common = scalp_mask(body.solids[0].rest)
    return np.where(common > 0.05, 1 - body.scalp / np.maximum(common, 0.05), 0.0)


def draw_roots(
    body: Body, count: int, line: Hairline, stray: Waves, random: np.random.Generator, density: np.ndarray | None = None
) -> Roots:
    """``count`` roots spread over the skin as densely as hair grows there, or as ``density`` (n,) at its vertices."""
    solid = body.solids[0]
    grown = growth(solid.rest, line, stray) * (1 - ear_mask(body)) if density is None else density
    faces = solid.mesh.faces
    faces = faces[grown[faces].max(axis=1) > 0.01]
    corners = solid.mesh.vertices[faces].astype(np.float64)
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    weight = area * grown[faces].mean(axis=1)
    pick = random.choice(len(faces), count, p=weight / weight.sum())
    u, v = np.sqrt(random.random(count)), random.random(count)
    share = np.stack([1 - u, u * (1 - v), u * v], axis=1)[:, :, None]
    rest = (solid.rest[faces[pick]] * share).sum(axis=1)
    azimuth, elevation = angles(rest)
    return Roots(
        points=(corners[pick] * share).sum(axis=1),
        normals=unit((body.normals[faces[pick]] * share).sum(axis=1)),
        rest=rest,
        edge=inside_line(rest, line, stray),
        azimuth=azimuth,
        elevation=elevation,
    )
