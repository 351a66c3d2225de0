"""The order in which samples come: a function of the seed and of how many came before, so there is nothing to keep."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class Order:
    """Samples in rounds; in each one every sample comes once, or as often as it is repeated, in a new random order.

    Args:
        seed: of the order.
        repeats: how often each sample comes in a round, whole numbers from 0 on.

    Raises:
        ValueError: there is no sample.
    """

    def __init__(self, seed: int, repeats: Sequence[int] | np.ndarray) -> None:
        self._seed = seed
        self._round = np.repeat(np.arange(len(repeats)), np.asarray(repeats, np.int64))
        if not len(self._round):
            raise ValueError("there is no sample")
        self._number = -1
        self._shuffled = self._round

    def __len__(self) -> int:
        """Samples in a round."""
        return len(self._round)

    def __getitem__(self, at: int) -> int:
        """The sample that comes after ``at`` others."""
        number, place = divmod(at, len(self._round))
        if number != self._number:
            self._number = number
            self._shuffled = np.random.default_rng([self._seed, number]).permutation(self._round)
        return int(self._shuffled[place])
