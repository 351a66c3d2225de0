"""The dice of the synthetic heads: every part of every head has its own, so that a change of one moves no other."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Part(IntEnum):
    """What a head draws by lot; the numbers are part of the data sets' identity and never change their meaning."""

    PERSON = 1
    SKIN = 2
    STYLE = 3
    HAIR = 4
    BROWS = 5
    BEARD = 6
    LASHES = 7
    POINTS = 8
    CLOTHES = 9
    EYES = 10
    STRANDS = 11
    GLASSES = 12
    VIEWS = 13


def dice(seed: int, number: int, part: Part, *which: int) -> np.random.Generator:
    """The generator of one part of head ``number`` of the data set ``seed``, or ``which`` of many."""
    return np.random.default_rng([seed, number, int(part), *which])


def quota(seed: int, number: int, names: tuple[str, ...]) -> str:
    """One of ``names`` for head ``number``: in each run of ``len(names)`` heads each comes once, in a random order."""
    block, place = divmod(number, len(names))
    order = np.random.default_rng([seed, block, len(names), 77]).permutation(len(names))
    return names[int(order[place])]
