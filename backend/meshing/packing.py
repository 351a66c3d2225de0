"""Charts into the unit square: silhouettes put down one after another as far down as they go, as large as they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

_CELLS = 192  # along the square's side: places that are tried
_FINE = 4  # fine cells along a cell's side: silhouettes are drawn at these, and widened to whole cells
_SEARCH = 8  # halvings of the range in which the largest scale that fits lies
_FREE = 24  # this many charts, the largest, are tried in every quarter turn; the rest only lying


@dataclass(frozen=True, eq=False)
class Placing:
    """Where a chart goes: ``points @ turn.T * scale + shift``."""

    turn: np.ndarray  # (2, 2) a rotation
    scale: float  # the same for all charts
    shift: np.ndarray  # (2,)

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of the chart in the unit square."""
        return points @ self.turn.T * self.scale + self.shift


def pack(outlines: Sequence[np.ndarray], upright: Sequence[bool], gutter: float) -> list[Placing]:
    """Place charts in the unit square so that they keep ``gutter`` from each other and from the sides.

    Args:
        outlines: (B, 2) float64 each, simple polygons, to one scale.
        upright: which charts must not be turned.
        gutter: in sides of the square, below 0.25. Where so many charts leave no room for it, it is halved.
    """
    cells = _CELLS
    turns = [np.eye(2) if fixed else _lying(outline) for outline, fixed in zip(outlines, upright, strict=True)]
    shapes = [outline @ turn.T for outline, turn in zip(outlines, turns, strict=True)]
    order = sorted(range(len(shapes)), key=lambda number: (not upright[number], -_area(shapes[number])))
    charts = [(shapes[number], 1 if upright[number] else 4 if rank < _FREE else 1) for rank, number in enumerate(order)]
    area = sum(_area(shape) for shape in shapes)
    while True:
        largest = np.sqrt(1 / area) if area > 0 else 1.0
        low, high, found = 0.0, largest, None
        for _ in range(_SEARCH):
            scale = (low + high) / 2
            places = _place(charts, scale, gutter, cells)
            if places is None:
                high = scale
            else:
                low, found = scale, places
        if found is not None:
            break
        gutter /= 2
        cells *= 1 if gutter * cells >= 1 else 2  # finer ones help only where they, not the gutter, take the room
    placings = {
        number: Placing(_QUARTERS[quarters] @ turns[number], low, shift)
        for number, (quarters, shift) in zip(order, found, strict=True)
    }
    return [placings[number] for number in range(len(shapes))]


_QUARTERS = np.array([[[1, 0], [0, 1]], [[0, -1], [1, 0]], [[-1, 0], [0, -1]], [[0, 1], [-1, 0]]], float)


def _place(
    charts: list[tuple[np.ndarray, int]], scale: float, gutter: float, cells: int
) -> list[tuple[int, np.ndarray]] | None:
    """For each chart, in order, its quarter turns and its shift (2,); None where they do not all fit."""
    taken = np.zeros((cells, cells), np.float32)
    room = 1 - 2 * gutter  # the charts' own square, inside the gutter along the sides
    places = []
    for shape, quarters in charts:
        best = None
        for quarter in range(quarters):
            turned = shape @ _QUARTERS[quarter].T * (scale * cells / room)
            low = turned.min(axis=0)
            fine = _drawn(turned - low)
            silhouette = _cells(fine)
            height, width = silhouette.shape
            if height > cells or width > cells:
                continue
            # Counts of taken cells under the silhouette, put with its first corner at each place.
            under = cv2.filter2D(taken, -1, silhouette, anchor=(0, 0), borderType=cv2.BORDER_CONSTANT)
            free = under[: cells - height + 1, : cells - width + 1] < 0.5
            if not free.any():
                continue
            row, column = divmod(int(free.argmax()), free.shape[1])
            # As low as can be, measured at its top; then the least width, then to the left.
            merit = (row + height, column + width, quarter)
            if best is None or merit < best[0]:
                best = merit, fine, row, column, low, quarter
        if best is None:
            return None
        _, fine, row, column, low, quarter = best
        reach = int(np.ceil(gutter / room * cells * _FINE))
        edge = -(-reach // _FINE)
        away = cv2.distanceTransform(1 - np.pad(fine, edge * _FINE), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        apart = _cells(away < reach + 0.5)
        # Taken is what lies within the square.
        top, left = row - edge, column - edge
        inside = apart[max(0, -top) : cells - top, max(0, -left) : cells - left]
        starts = zip((max(0, top), max(0, left)), inside.shape, strict=True)
        rows, columns = (slice(start, start + count) for start, count in starts)
        np.maximum(taken[rows, columns], inside, out=taken[rows, columns])
        places.append((quarter, gutter + (np.array([column, row]) + 1 / _FINE - low) * room / cells))
    return places


def _drawn(polygon: np.ndarray) -> np.ndarray:
    """Fine cells (uint8, whole cells along each side) that ``polygon`` (B, 2), in cells from 0, touches or nearly so.

    The polygon stands one fine cell in from the first.
    """
    at = polygon * _FINE + 1
    width, height = (-(-np.floor(at.max(axis=0) + 2).astype(int) // _FINE)) * _FINE
    drawn = np.zeros((height, width), np.uint8)
    # OpenCV's coordinates are those of a pixel's middle; its lines may step past a corner, hence one cell more around.
    cv2.fillPoly(drawn, [np.round((at - 0.5) * 256).astype(np.int32)], (1,), cv2.LINE_8, 8)
    return cv2.dilate(drawn, np.ones((3, 3), np.uint8))


def _cells(fine: np.ndarray) -> np.ndarray:
    """The cells (float32, 0 or 1) that hold any of the ``fine`` ones."""
    rows, columns = fine.shape[0] // _FINE, fine.shape[1] // _FINE
    return fine.reshape(rows, _FINE, columns, _FINE).max(axis=(1, 3)).astype(np.float32)


def _area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return float(abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2)


def _lying(polygon: np.ndarray) -> np.ndarray:
    """(2, 2) the rotation that lays the polygon's smallest rectangle down, wider than high."""
    corners = cv2.boxPoints(cv2.minAreaRect(polygon.astype(np.float32))).astype(np.float64)
    one, two = corners[1] - corners[0], corners[2] - corners[1]
    along = one if one @ one >= two @ two else two
    length = np.linalg.norm(along)
    if length == 0:
        return np.eye(2)
    cosine, sine = along / length
    return np.array([[cosine, sine], [-sine, cosine]])
