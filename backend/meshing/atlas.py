"""The texture's side of the atlas: which texel shows which place, and colours for texels that show none."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

_SUBPIXEL_BITS = 4


@dataclass(frozen=True, eq=False)
class Texels:
    """The texels that show surface, N of them."""

    row: np.ndarray  # (N,) int64
    column: np.ndarray  # (N,) int64
    face: np.ndarray  # (N,) int64
    weights: np.ndarray  # (N, 3) float32, barycentric in the face; a texel on a chart's rim may lie a hair outside

    def gather(self, faces: np.ndarray, per_vertex: np.ndarray) -> np.ndarray:
        """Interpolate a per-vertex array (V,) or (V, C) over the texels: (N,) or (N, C) float32."""
        corners = faces[self.face]
        values = per_vertex.astype(np.float32, copy=False)
        weights = self.weights if values.ndim == 1 else self.weights[..., None]
        return sum(weights[:, corner] * values[corners[:, corner]] for corner in range(3))


def rasterise(corner_uvs: np.ndarray, size: int) -> Texels:
    """Texels of a (size, size) texture under the charts ``corner_uvs`` (F, 3, 2), origin at the bottom left."""
    pixels = np.stack([corner_uvs[..., 0] * size, (1 - corner_uvs[..., 1]) * size], axis=2) - 0.5
    fixed = np.round(pixels * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    owner = np.zeros((size, size), np.int32)
    for number, triangle in enumerate(fixed, start=1):
        cv2.fillConvexPoly(owner, triangle, number, cv2.LINE_8, _SUBPIXEL_BITS)
    row, column = np.nonzero(owner)
    face = owner[row, column].astype(np.int64) - 1
    corners = pixels.astype(np.float32)
    origin = corners[:, 2]
    first, second = corners[:, 0] - origin, corners[:, 1] - origin
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    area = np.where(np.abs(area) < 1e-6, 1.0, area)
    x, y = column - origin[face, 0], row - origin[face, 1]
    one = (x * second[face, 1] - y * second[face, 0]) / area[face]
    two = (y * first[face, 0] - x * first[face, 1]) / area[face]
    weights = np.stack([one, two, 1 - one - two], axis=1).astype(np.float32).clip(-0.5, 1.5)
    return Texels(row, column, face, weights / weights.sum(axis=1, keepdims=True))


def fill_gaps(texture: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Texture (S, S, 3) float32 with the texels outside ``covered`` (S, S) bool filled from the nearest charts.

    Push-pull: halved again and again with the covered texels' mean, then filled back from coarse to fine. Colours run
    on into the gutter, so neither bilinear look-up nor mip-maps pull a foreign colour over a seam.
    """
    if covered.all():
        return texture
    weight = covered.astype(np.float32)
    levels = [(texture * weight[..., None], weight)]
    while max(levels[-1][1].shape) > 1:
        color, weight = levels[-1]
        rows, columns = (max(1, (n + 1) // 2) for n in weight.shape)
        color = cv2.resize(color, (columns, rows), interpolation=cv2.INTER_AREA)
        weight = cv2.resize(weight, (columns, rows), interpolation=cv2.INTER_AREA)
        share = np.where(weight > 0, 1 / np.maximum(weight, 1e-6), 0)
        levels.append((color * share[..., None], (weight > 0).astype(np.float32)))
    filled = levels[-1][0]
    for color, weight in reversed(levels[:-1]):
        height, width = weight.shape
        coarse = cv2.resize(filled, (width, height), interpolation=cv2.INTER_LINEAR).reshape(color.shape)
        filled = np.where(weight[..., None] > 0, color, coarse)
    return filled
