"""What a data set is made with. Imported by ``--help``: nothing heavy."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ...errors import OptionError

LARGEST_SEED = (1 << 32) - 1  # larger ones would fill two words of the dice, and could meet another seed's
TEST_SEEDS = range(990_000_000, 990_001_000)  # of frozen test sets: no data set for training may have one
MOST = {"heads": 100_000_000, "photos": 64, "around": 64, "size": 2048, "points": 1_000_000, "samples": 1_000_000}


@dataclass(frozen=True)
class DataOptions:
    """What decides the bytes of a data set, beside the sampler. A set can grow; all but ``heads`` stays as it was."""

    heads: int = 1000
    """How many heads."""
    seed: int = 0
    """Of the dice: the same seed, options and sampler give the same bytes."""
    photos: int = 3
    """Views of each head as portrait photos have them: any light, background, lens and damage."""
    around: int = 2
    """Views of each head from anywhere around it, undamaged on a plain background."""
    size: int = 256
    """Side of the views in pixels; 32 to 2048."""
    points: int = 20000
    """Points of each head's surface."""
    samples: int = 12288
    """Places of each head at which the signed distance is known."""
    strands: float = 1.0
    """Share of the strands that a full head of hair has, above 0 and up to 1; small ones are for trials."""
    realistic: float = 0.0
    """Share of the heads whose views Cycles draws, 0 to 1; needs Blender's Python."""
    shard: int = 64
    """Heads in one file, 1 to 4096."""

    def __post_init__(self) -> None:
        for name, least in (("heads", 1), ("photos", 0), ("around", 0), ("size", 32), ("points", 1), ("samples", 1)):
            value = getattr(self, name)
            if not least <= value <= MOST[name]:
                raise OptionError(f"--{name} is {value}; give a number from {least} to {MOST[name]}.")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise OptionError(f"--seed is {self.seed}; give a number from 0 to {LARGEST_SEED}.")
        if not 1 <= self.shard <= 4096:
            raise OptionError(f"--shard is {self.shard}; give a number of heads from 1 to 4096.")
        if not 0 < self.strands <= 1:
            raise OptionError(f"--strands is {self.strands:g}; give a share above 0 and up to 1.")
        if not 0 <= self.realistic <= 1:
            raise OptionError(f"--realistic is {self.realistic:g}; give a share from 0 to 1.")

    @property
    def shards(self) -> int:
        """How many files hold the heads."""
        return -(-self.heads // self.shard)

    def heads_of(self, shard: int) -> range:
        """The numbers of the heads in file ``shard``."""
        return range(shard * self.shard, min((shard + 1) * self.shard, self.heads))

    @property
    def record(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)
