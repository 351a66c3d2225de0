"""Two frames: upright, in which heads are made by rules of heights, and PanoHead's world, in which they are handed on.

In PanoHead's world faces look 5.5 degrees further up than the data pack's (``MEAN_ROTATION`` in ``template/fit.py``).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from ..template.fit import MEAN_ROTATION, MEAN_SHIFT


def to_world(points: np.ndarray) -> np.ndarray:
    """Upright points (..., 3) in PanoHead's world, of the same dtype."""
    return (points @ _turn().T + MEAN_SHIFT).astype(points.dtype)


def to_upright(points: np.ndarray) -> np.ndarray:
    """The reverse of ``to_world``."""
    return ((points - MEAN_SHIFT) @ _turn()).astype(points.dtype)


def turned(directions: np.ndarray) -> np.ndarray:
    """Upright directions (..., 3) in PanoHead's world, of the same dtype."""
    return (directions @ _turn().T).astype(directions.dtype)


@cache
def _turn() -> np.ndarray:
    return Rotation.from_rotvec(MEAN_ROTATION).as_matrix()
