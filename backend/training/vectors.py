"""The few lines of vector arithmetic that the synthetic heads share. numpy only."""

from __future__ import annotations

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) scaled to length 1; those of no length stay 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(..., 1) scalar products of vectors (..., 3)."""
    return (first * second).sum(axis=-1, keepdims=True)


def smooth(start: float, end: float, value: np.ndarray) -> np.ndarray:
    """Smoothstep from 0 at ``start`` to 1 at ``end`` (either may be the larger)."""
    t = np.clip((value - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


class Waves:
    """Smooth noise over space: ``channels`` sums of sine waves with random directions, deviation about 1."""

    def __init__(self, random: np.random.Generator, wavelength: float, channels: int, terms: int = 10):
        direction = random.normal(size=(3, channels, terms))
        length = wavelength * random.uniform(0.6, 1.6, (channels, terms))
        self._waves = 2 * np.pi * direction / np.linalg.norm(direction, axis=0) / length
        self._phase = random.uniform(0, 2 * np.pi, (channels, terms))
        self._scale = np.sqrt(2 / terms)

    def __call__(self, places: np.ndarray) -> np.ndarray:
        """(N, channels) at places (N, 3)."""
        angles = np.einsum("nd,dct->nct", places, self._waves, optimize=True) + self._phase
        return np.sin(angles).sum(axis=2) * self._scale
