"""Compares every shard of a data set with the hash with which it was written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...progress import Listener, Progress
from .manifest import damage_of, damaged, read_manifest
from .shards import shard_name


@dataclass(frozen=True)
class CheckReport:
    """What was found."""

    damaged: tuple[str, ...]  # a sentence for each damaged shard
    summary: str
    whole: bool  # every shard is finished and as it was written


def check_dataset(folder: Path, *, progress: Listener | None = None) -> CheckReport:
    """Hash every shard of a data set.

    Raises:
        ResultsError: there is no data set, or the disk does not let it be read.
    """
    manifest = read_manifest(folder)
    found = []
    for place, (number, shard) in enumerate(sorted(manifest.shards.items())):
        if progress is not None:
            progress(Progress(f"hashes, {place} of {len(manifest.shards)}", place / len(manifest.shards), None))
        damage = damage_of(folder, number, shard)
        if damage is not None:
            found.append(str(damaged(folder / shard_name(number), f"it {damage}")))
    missing = len(manifest.missing)
    heads = sum(shard.heads for shard in manifest.shards.values())
    size = sum(shard.bytes for shard in manifest.shards.values()) / 1e6
    summary = f"{folder} holds {heads} heads in {len(manifest.shards)} shards of {size:.1f} MB in all: "
    summary += f"{len(found)} damaged, {missing} not finished." if found or missing else "all as they were written."
    return CheckReport(tuple(found), summary, not found and not missing)
