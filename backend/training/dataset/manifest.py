"""What stands about a data set in its manifest.json: its format, sampler, options, and the hash of every shard."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ... import disk
from ...errors import OptionError, ResultsError
from ...results.folder import told, write_file
from .options import DataOptions
from .shards import shard_name

NAME = "manifest.json"
FORMAT = 1
_LONGEST = 64 << 20  # bytes


@dataclass(frozen=True)
class Shard:
    """A finished shard."""

    heads: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A data set, finished or not.

    Args:
        version: of Headstitch that began it.
        sampler: ``sampler_version`` that makes its heads.
        options: what it is made with.
        shards: by number; those that are not finished are missing.
    """

    version: str
    sampler: str
    options: DataOptions
    shards: dict[int, Shard]

    @property
    def missing(self) -> list[int]:
        """The shards that are not finished, or hold fewer heads than they shall."""
        return [
            number
            for number in range(self.options.shards)
            if (shard := self.shards.get(number)) is None or shard.heads != len(self.options.heads_of(number))
        ]

    def having(self, number: int, shard: Shard) -> Manifest:
        """The same with one shard more."""
        return replace(self, shards={**self.shards, number: shard})

    def write(self, folder: Path) -> None:
        """Write it in one piece. OSErrors pass."""
        record = {
            "headstitch_data": FORMAT,
            "version": self.version,
            "sampler": self.sampler,
            "options": self.options.record,
            "shards": {shard_name(number): vars(shard) for number, shard in sorted(self.shards.items())},
        }
        write_file(folder / NAME, f"{json.dumps(record, indent=1)}\n".encode())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a data set; every value is checked, for it may come from anywhere.

    Raises:
        ResultsError: there is none, it is damaged, or of another format.
    """
    path = folder / NAME
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ResultsError(
            f"{folder} holds no data set ({NAME} is missing); give the folder of one, or make it with headstitch data "
            "make."
        ) from error
    except OSError as error:
        raise ResultsError(f"{path} cannot be read ({error.strerror or error}); check its permissions.") from error
    try:
        if len(content) > _LONGEST:
            raise ValueError("it is too long")  # noqa: TRY301
        return _manifest(folder, json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OptionError) as error:
        raise ResultsError(
            f"{path} is damaged; bring it back from a copy, or make the data set anew in another folder."
        ) from error


def _manifest(folder: Path, record: Any) -> Manifest:
    found = record["headstitch_data"]
    if found != FORMAT:
        raise ResultsError(
            f"The data set in {folder} has format {json.dumps(found)[:20]}, and this version reads {FORMAT}; make it "
            "anew in another folder, or install the version that made it."
        )
    options = record["options"]
    if set(options) != {field.name for field in fields(DataOptions)}:
        raise ValueError("options")
    for field in fields(DataOptions):
        if type(options[field.name]) not in ((int, float) if field.type == "float" else (int,)):
            raise TypeError(field.name)
    manifest, shards = Manifest(str(record["version"]), str(record["sampler"]), DataOptions(**options), {}), {}
    for name, each in record["shards"].items():
        shard = Shard(each["heads"], each["bytes"], each["sha256"])
        whole = type(shard.heads) is int and type(shard.bytes) is int and shard.heads > 0 and shard.bytes > 0
        if not (whole and re.fullmatch(r"[0-9a-f]{64}", shard.sha256)):
            raise ValueError(name)
        number = int(name[len("heads-") : -len(".tar")])
        if shard_name(number) != name or not 0 <= number < manifest.options.shards:
            raise ValueError(name)
        shards[number] = shard
    return replace(manifest, shards=shards)


def damaged(path: Path, why: str) -> ResultsError:
    """The error of a shard that is not what it should be; ``why`` is a part of a sentence."""
    return ResultsError(
        f"{path} is damaged: {why}; run headstitch data make with the options of the data set again, which makes it "
        "anew."
    )


def unreadable(path: Path, error: OSError) -> ResultsError:
    """The error of a shard that the disk does not give."""
    if isinstance(error, FileNotFoundError):
        return damaged(path, "it is missing")
    return ResultsError(f"{path} cannot be read ({error.strerror or error}); check its permissions and the disk.")


def damage_of(folder: Path, number: int, shard: Shard) -> str | None:
    """What is wrong with a shard, as a part of a sentence; None where it is as it was written.

    Raises:
        ResultsError: it cannot be read.
    """
    path = folder / shard_name(number)
    try:
        if path.stat().st_size != shard.bytes:
            return f"has {path.stat().st_size} bytes, not {shard.bytes}"
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        raise unreadable(path, error) from error
    return None if found == shard.sha256 else "does not have the hash with which it was written"


@contextlib.contextmanager
def told_with_need(folder: Path, need: str) -> Iterator[None]:
    """``told``, and where the disk is full, what the rest needs: ``need``, a clause such as "12 heads need 9 MB"."""
    with told(folder):
        try:
            yield
        except OSError as error:
            if error.errno not in disk.FULL:
                raise
            raise ResultsError(
                f"The disk of {folder} is full, and {need}; free some space and run the same command again: what is "
                "finished is kept."
            ) from error
