"""How long a photo takes to become a head, and how much memory: in a fresh process and in a warm one.

    python benchmarks/first_head.py [PHOTO] [--rounds 5]

Both run the job at its defaults without the quality report. Prints the stages of the median warm round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLE = Path(__file__).parent.parent / "examples" / "portrait.jpg"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", nargs="?", type=Path, default=EXAMPLE)
    parser.add_argument("--rounds", type=int, default=5, help="rounds in the warm process and fresh processes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        fresh, peak = fresh_process(arguments.photo, Path(folder) / "fresh", min(arguments.rounds, 3))
        rounds = warm(arguments.photo, Path(folder) / "warm", arguments.rounds)
    total = [sum(stages.values()) for stages in rounds]
    median = rounds[total.index(statistics.median_low(total))]
    print(f"{arguments.photo.name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end")
    print(
        f"fresh process  best {min(fresh):5.2f} s  median {statistics.median(fresh):5.2f} s  peak {peak / 1e9:.2f} GB"
    )
    print(f"warm           best {min(total):5.2f} s  median {statistics.median(total):5.2f} s")
    for name, seconds in median.items():
        print(f"  {name:24s} {seconds:5.2f} s")


def fresh_process(photo: Path, out: Path, rounds: int) -> tuple[list[float], int]:
    """Seconds from the command to its end, imports and all, and the largest peak of resident memory in bytes."""
    command = [sys.executable, "-m", "headstitch.backend", "reconstruct", str(photo), "-o", str(out), "--no-quality"]
    seconds, peak = [], 0
    for _ in range(rounds):
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds.append(time.perf_counter() - start)
        if status:
            raise SystemExit(f"{' '.join(command)} failed; run it by itself to see why.")
        peak = max(peak, usage.ru_maxrss * 1024)
    return seconds, peak


def warm(photo: Path, out: Path, rounds: int) -> list[dict[str, float]]:
    """Seconds of each stage, for each round after a first one that loads the models."""
    from headstitch import Options, reconstruct

    options = Options(quality=False)
    reconstruct(photo, out, options=options)
    stages = []
    for _ in range(rounds):
        start = time.perf_counter()
        head = reconstruct(photo, out, options=options)
        total = time.perf_counter() - start
        inside = dict(head.record["run"]["stages"])
        stages.append({**inside, "writing and the rest": total - sum(inside.values())})
    return stages


if __name__ == "__main__":
    main()
