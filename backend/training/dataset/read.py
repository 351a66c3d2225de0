"""Reads a data set: by number, or all heads in a shuffled order, as numpy arrays. Neither torch nor the sampler."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...errors import ResultsError
from .manifest import Manifest, damaged, read_manifest, unreadable
from .options import DataOptions
from .record import StoredHead
from .shards import Index, index_of, shard_name

_LARGEST_HEAD = 256 << 20  # bytes
_INDICES = 64  # shards whose index is kept; one of 64 heads takes about 1 MB


class DataSet:
    """The finished heads of a data set; made by ``open_dataset``. May be pickled, and shared by processes.

    Args:
        folder: of the data set.
        manifest: of the same.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.numbers = [number for shard in sorted(manifest.shards) for number in _heads_in(manifest, shard)]
        self._index = lru_cache(_INDICES)(self._read_index)

    @property
    def options(self) -> DataOptions:
        """What it was made with."""
        return self.manifest.options

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: int) -> StoredHead:
        """The head at ``place`` among the finished ones; where all are finished, that is its number.

        Raises:
            IndexError: there are fewer.
            ResultsError: its shard is missing or damaged.
        """
        return self.head(self.numbers[place])

    def __iter__(self) -> Iterator[StoredHead]:
        return self.iterate()

    def head(self, number: int) -> StoredHead:
        """Head ``number``, read in one go; what it holds is unpacked when it is asked for.

        Raises:
            KeyError: there is no such head, or it is not finished.
            ResultsError: its shard is missing or damaged.
        """
        shard = number // self.options.shard
        if shard not in self.manifest.shards or number not in _heads_in(self.manifest, shard):
            raise KeyError(number)
        path = self.folder / shard_name(shard)
        files = self._index(shard).get(number)
        if not files:
            raise damaged(path, f"head {number} is missing in it")
        first = min(start for start, _ in files.values())
        size = max(start + length for start, length in files.values()) - first
        if size > _LARGEST_HEAD:
            raise damaged(path, f"head {number} claims {size} bytes in it")
        try:
            with path.open("rb") as file:
                file.seek(first)
                content = memoryview(file.read(size))
        except OSError as error:
            raise unreadable(path, error) from error
        if len(content) < size:
            raise damaged(path, "it ends too early")
        found = {name: bytes(content[start - first :][:length]) for name, (start, length) in files.items()}
        return StoredHead(number, found, self.options, path)

    def iterate(self, seed: int | None = None, part: tuple[int, int] = (0, 1)) -> Iterator[StoredHead]:
        """Every head once, shard by shard.

        Args:
            seed: None: in order. Else shards come in an order by lot, and so do the heads within each, which stay
                together, for a disk reads what lies together faster. Give another seed in each epoch.
            part: (k, n): the k-th of n readers gets its n-th share of the shards; all together get each head once.

        Raises:
            ResultsError: a shard is missing or damaged.
        """
        mine, of = part
        if not 0 <= mine < of:
            raise ValueError(f"part is {part}; give (k, n) with 0 <= k < n")
        shards = sorted(self.manifest.shards)
        random = None if seed is None else np.random.default_rng(seed)
        if random is not None:
            shards = [shards[place] for place in random.permutation(len(shards))]
        for shard in shards[mine::of]:
            numbers = list(_heads_in(self.manifest, shard))
            if random is not None:
                numbers = np.random.default_rng([seed or 0, shard]).permutation(numbers).tolist()
            for number in numbers:
                yield self.head(number)

    def __getstate__(self) -> tuple[Path, Manifest]:
        return self.folder, self.manifest

    def __setstate__(self, state: tuple[Path, Manifest]) -> None:
        self.__init__(*state)

    def _read_index(self, shard: int) -> Index:
        path = self.folder / shard_name(shard)
        try:
            return index_of(path)
        except ValueError as error:
            raise damaged(path, str(error)) from error
        except OSError as error:
            raise unreadable(path, error) from error


def open_dataset(folder: Path) -> DataSet:
    """The data set in a folder, finished or still growing; only its manifest is read now.

    Raises:
        ResultsError: there is none, it is damaged or of another format, or no head of it is finished yet.
    """
    dataset = DataSet(folder, read_manifest(folder))
    if not len(dataset):
        raise ResultsError(
            f"The data set in {folder} has no finished shard yet; wait, or run headstitch data make again to go on."
        )
    return dataset


def _heads_in(manifest: Manifest, shard: int) -> range:
    """Numbers of the heads in a finished shard, which may hold fewer than it shall when the set has grown."""
    heads = manifest.options.heads_of(shard)
    return heads[: manifest.shards[shard].heads]
