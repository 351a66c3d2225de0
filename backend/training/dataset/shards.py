"""A shard: the records of some heads in one file, an uncompressed tar in which a head's files stand together.

tar (USTAR, as WebDataset reads it: what stands before a name's first dot is the head) because it is written and read in
one pass, every system can look into it, and nothing needs to be unpacked to get at one head.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from ... import disk

_BLOCK = 512
LARGEST_FILE = 64 << 20  # bytes of one file in a shard; what claims more is none of ours
_NAME = re.compile(r"(\d{8})\.([a-z0-9]+(?:\.[a-z0-9]+)*)")

Index = dict[int, dict[str, tuple[int, int]]]  # head -> file -> (offset, bytes)


def shard_name(shard: int) -> str:
    """The file of shard ``shard``."""
    return f"heads-{shard:06d}.tar"


class ShardWriter:
    """Writes one shard beside its place; ``finish`` puts it there. Leaving without leaves nothing. OSErrors pass."""

    def __init__(self, path: Path) -> None:
        self._path, self._partial = path, disk.beside(path, "partial")
        self._hash = hashlib.sha256()
        self._file: BinaryIO
        self.bytes = 0

    def __enter__(self) -> ShardWriter:
        self._file = self._partial.open("xb")
        return self

    def add(self, number: int, files: Mapping[str, bytes]) -> None:
        """The files of head ``number``."""
        for name, content in files.items():
            info = tarfile.TarInfo(f"{number:08d}.{name}")  # its time is 0, its owner nobody: same head, same bytes
            info.size = len(content)
            self._write(info.tobuf(tarfile.USTAR_FORMAT))
            self._write(content)
            self._write(bytes(-len(content) % _BLOCK))

    def finish(self) -> str:
        """Put the shard into its place and return its SHA-256."""
        self._write(bytes(2 * _BLOCK))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._partial.replace(self._path)
        return self._hash.hexdigest()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()  # flushes, which a full disk refuses
        finally:
            self._partial.unlink(missing_ok=True)

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._hash.update(content)
        self.bytes += len(content)


def index_of(path: Path) -> Index:
    """Where each file of each head lies in a shard.

    Raises:
        ValueError: it is no shard of ours; the text is a part of a sentence. OSErrors pass.
    """
    index: Index = {}
    with path.open("rb") as file:
        end, at = os.fstat(file.fileno()).st_size, 0
        while (block := file.read(_BLOCK)) != bytes(_BLOCK):
            if len(block) < _BLOCK:
                raise ValueError("it ends too early")
            try:
                info = tarfile.TarInfo.frombuf(block, "ascii", "strict")  # checks the header's own sum
            except (tarfile.HeaderError, UnicodeDecodeError) as error:
                raise ValueError(f"what stands at byte {at} is no entry of a tar") from error
            name = _NAME.fullmatch(info.name)
            if info.type != tarfile.REGTYPE or name is None or not 0 <= info.size <= LARGEST_FILE:
                raise ValueError(f"the entry at byte {at} is no file of a head")
            if at + _BLOCK + info.size > end:
                raise ValueError("it ends too early")
            files = index.setdefault(int(name[1]), {})
            if name[2] in files:
                raise ValueError(f"{info.name} stands in it twice")
            files[name[2]] = (at + _BLOCK, info.size)
            at += _BLOCK + info.size + -info.size % _BLOCK
            file.seek(at)
    return index
