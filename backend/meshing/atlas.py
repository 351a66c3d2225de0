"""The texture's side of the atlas: which texel shows which place, and colours for texels that show none."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F

_SUBPIXEL_BITS = 4


@dataclass(frozen=True, eq=False)
class Texels:
    """The texels that show surface, N of them."""

    row: np.ndarray  # (N,) int64
    column: np.ndarray  # (N,) int64
    corners: np.ndarray  # (N, 3) int64, the vertices of the face that the texel shows
    weights: np.ndarray  # (N, 3) float32, barycentric in the face; a texel on a chart's rim may lie a hair outside

    def gather(self, per_vertex: np.ndarray) -> np.ndarray:
        """Interpolate a per-vertex array (V, C) over the texels: (N, C) float32."""
        values = torch.from_numpy(np.ascontiguousarray(per_vertex, np.float32))
        corners, weights = torch.from_numpy(self.corners), torch.from_numpy(self.weights)
        return F.embedding_bag(corners, values, per_sample_weights=weights, mode="sum").numpy()


def rasterise(faces: np.ndarray, corner_uvs: np.ndarray, size: int) -> Texels:
    """Texels of a (size, size) texture that show ``faces`` (F, 3) with ``corner_uvs`` (F, 3, 2), origin bottom left."""
    pixels = np.stack([corner_uvs[..., 0] * size, (1 - corner_uvs[..., 1]) * size], axis=2) - 0.5
    fixed = np.round(pixels * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    owner = np.zeros((size, size), np.int32)
    for number, triangle in enumerate(fixed, start=1):
        cv2.fillConvexPoly(owner, triangle, (number,), cv2.LINE_8, _SUBPIXEL_BITS)
    row, column = np.nonzero(owner)
    face = owner[row, column] - 1
    # Barycentric weights are affine in the texel's place: weight = constant + per column * column + per row * row.
    x, y = np.moveaxis(pixels.astype(np.float64), 2, 0)
    edge_x, edge_y = np.roll(x, -2, axis=1) - np.roll(x, -1, axis=1), np.roll(y, -2, axis=1) - np.roll(y, -1, axis=1)
    twice_area = edge_x[:, 2] * edge_y[:, 0] - edge_y[:, 2] * edge_x[:, 0]
    scale = 1 / np.where(np.abs(twice_area) < 1e-6, np.inf, twice_area)[:, None]
    per_column, per_row = -edge_y * scale, edge_x * scale
    constant = -(per_column * np.roll(x, -1, axis=1) + per_row * np.roll(y, -1, axis=1))
    constant[scale[:, 0] == 0] = 1 / 3  # a triangle without area: its middle
    affine = np.concatenate([constant, per_column, per_row], axis=1)
    terms = torch.from_numpy(affine)[torch.from_numpy(face)].numpy()
    weights = terms[:, :3] + terms[:, 3:6] * column[:, None] + terms[:, 6:] * row[:, None]
    weights = weights.astype(np.float32).clip(-0.5, 1.5)
    weights /= weights.sum(axis=1, keepdims=True)
    return Texels(row, column, faces[face].astype(np.int64), weights)


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
