"""The template's morphable model: a PCA of the CC0 morph space in world units, with landmarks bound to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

MORPHABLE_PATH = Path(__file__).parent / "data" / "morphable.npz"


@dataclass(frozen=True, eq=False)
class MorphableHead:
    """Head vertices = mean + sum over components of coefficient * deviation * basis, in world units.

    The vertices are those of the data pack (``pack.py``) with its faces; eyes and teeth move with the body.
    """

    mean: np.ndarray  # (V, 3) float64
    components: np.ndarray  # (K, V, 3) float64, one standard deviation of each component
    landmark_vertices: np.ndarray  # (L, 3) int64, the triangle that carries each landmark
    landmark_weights: np.ndarray  # (L, 3) float64, barycentric
    landmark_used: np.ndarray  # (L,) bool; False for the face's outline, which slides with the view, and the irises
    landmark_mirror: np.ndarray  # (L,) int64, the landmark on the other side of the face
    outer: np.ndarray  # (n,) int64, vertices of the body that can be seen from outside

    def vertices(self, coefficients: np.ndarray) -> np.ndarray:
        """(V, 3) of the head with ``coefficients`` (k,), k <= K, in standard deviations."""
        return self.mean + np.tensordot(coefficients, self.components[: len(coefficients)], axes=1)

    def landmarks(self, vertices: np.ndarray) -> np.ndarray:
        """Vertices (..., V, 3) to landmarks (..., L, 3)."""
        return np.einsum("...lkc,lk->...lc", vertices[..., self.landmark_vertices, :], self.landmark_weights)


@cache
def load_morphable() -> MorphableHead:
    """The model that ships in the package."""
    with np.load(MORPHABLE_PATH, allow_pickle=False) as data:
        deviation = data["deviation"].astype(np.float64)
        return MorphableHead(
            mean=data["mean"].astype(np.float64),
            components=data["basis"].astype(np.float64) * deviation[:, None, None],
            landmark_vertices=data["landmark_vertices"].astype(np.int64),
            landmark_weights=data["landmark_weights"].astype(np.float64),
            landmark_used=data["landmark_used"],
            landmark_mirror=data["landmark_mirror"].astype(np.int64),
            outer=data["outer"].astype(np.int64),
        )
