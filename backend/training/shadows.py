"""What hair hides: how much of it lies between a place and a far light, or a camera. For the fast renderer."""

from __future__ import annotations

import cv2
import numpy as np

_REACH = 0.74  # half the width of a light's map, world units
_LOW = -0.06  # its middle above the origin


class Veil:
    """Hair counted into a grid of columns towards the eye or light, and summed up from there on."""

    def __init__(self, cells: np.ndarray, mass: np.ndarray, size: int, slices: int, blur: float = 0.0):
        """Count hair.

        Args:
            cells: (N, 3) float32 column, row and slice, the nearest slice first.
            mass: (N,) float32 area that it covers, in cells.
            size: columns and rows of the grid.
            slices: of each column.
            blur: standard deviation in columns.
        """
        self._size, self._slices = size, slices
        column, row, layer = self._split(cells)[:3]
        grid = np.bincount((row * size + column) * slices + layer, mass, size * size * slices).astype(np.float32)
        grid = grid.reshape(size, size, slices)
        if blur:
            grid = cv2.GaussianBlur(grid, (0, 0), blur)
        self._sum = np.zeros((size, size, slices + 1), np.float32)
        np.cumsum(grid, axis=2, out=self._sum[..., 1:])

    def _split(self, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        column = np.clip(cells[:, 0], 0, self._size - 1).astype(np.int32)
        row = np.clip(cells[:, 1], 0, self._size - 1).astype(np.int32)
        deep = np.clip(cells[:, 2], 0, self._slices - 1e-3)
        layer = deep.astype(np.int32)
        return column, row, layer, deep - layer

    def before(self, cells: np.ndarray) -> np.ndarray:
        """(N,) float32 how often hair covers places (N, 3) of the grid."""
        column, row, layer, share = self._split(cells)
        flat, at = self._sum.ravel(), (row * self._size + column) * (self._slices + 1) + layer
        near = flat[at]
        return near + share * (flat[at + 1] - near)

    def surely_before(self, cells: np.ndarray) -> np.ndarray:
        """The same without what shares its cell with the place."""
        column, row, layer, _ = self._split(cells)
        return self._sum.ravel()[(row * self._size + column) * (self._slices + 1) + layer]


class LightVeil:
    """How hair and body dim a far light."""

    def __init__(
        self, towards: np.ndarray, points: np.ndarray, mass: np.ndarray, body: np.ndarray, size: int, blur: float
    ):
        """Look from the light.

        Args:
            towards: (3,) the light.
            points: (N, 3) float32 of hairs; none is allowed.
            mass: (N,) float32 what each covers, world units squared.
            body: (V, 3) float32 the body's vertices.
            size: columns of the map.
            blur: softness in columns.
        """
        right = np.cross([0.0, 1.0, 0.02], towards)
        right /= np.linalg.norm(right)
        self._frame = np.stack([right, np.cross(towards, right), -towards]).astype(np.float32)
        self._size, self._slices = size, 32
        self.places = self._cells(points)
        cell = 2 * _REACH / size
        self._hair = Veil(self.places, mass / cell**2, size, self._slices, blur)
        self.body = self._cells(body)
        first = np.full(size * size, 1e3, np.float32)
        column, row = (np.clip(self.body[:, axis], 0, size - 1).astype(np.int32) for axis in (0, 1))
        np.minimum.at(first, row * size + column, self.body[:, 2])
        self._first = cv2.GaussianBlur(cv2.erode(first.reshape(size, size), np.ones((3, 3))), (0, 0), 1.0).ravel()

    def _cells(self, points: np.ndarray) -> np.ndarray:
        place = points @ self._frame.T
        place[:, :2] = (place[:, :2] + [np.float32(_REACH), np.float32(_REACH - _LOW)]) * (self._size / (2 * _REACH))
        place[:, 2] = (place[:, 2] + _REACH) * (self._slices / (2 * _REACH))
        return place

    def over_hair(self) -> tuple[np.ndarray, np.ndarray]:
        """((N,) how often hair covers each hair point, (N,) share of the light that the body lets through)."""
        place = self.places
        column, row = (np.clip(place[:, axis], 0, self._size - 1).astype(np.int32) for axis in (0, 1))
        behind = (place[:, 2] - self._first[row * self._size + column]) * np.float32(2 * _REACH / self._slices)
        free = 1 - np.clip((behind - 0.02) / 0.05, 0, 1)
        return self._hair.before(place), free

    def over_body(self, normals: np.ndarray) -> np.ndarray:
        """(V,) how often hair covers the body's vertices; asked a little before them, where no root counts."""
        lifted = self.body.copy()
        lifted += (
            (0.004 * normals)
            @ (self._frame.T * np.array([self._size, self._size, self._slices], np.float32))
            / (2 * _REACH)
        )
        return self._hair.before(lifted.astype(np.float32))
