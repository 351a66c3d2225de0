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
    # Weights are affine: that of one of the first two corners is gradient . (texel - last corner).
    last = pixels[:, 2]
    first, second = (pixels[:, :2] - last[:, None]).transpose(1, 0, 2)
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    scale = 1 / np.where(np.abs(area) < 1e-6, np.inf, area)[:, None]  # a triangle without area shows its last corner
    gradients = [second[:, 1:] * scale, -second[:, :1] * scale, -first[:, 1:] * scale, first[:, :1] * scale]
    per_face = torch.from_numpy(np.concatenate([last, *gradients], axis=1).astype(np.float32))
    terms = per_face[torch.from_numpy(face)].numpy()
    x, y = column.astype(np.float32) - terms[:, 0], row.astype(np.float32) - terms[:, 1]
    one, two = x * terms[:, 2] + y * terms[:, 3], x * terms[:, 4] + y * terms[:, 5]
    # On a chart's rim a texel's centre may lie outside of its triangle, but no farther than the next one.
    weights = np.stack([one, two, 1 - one - two], axis=1).clip(-0.5, 1.5)
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
