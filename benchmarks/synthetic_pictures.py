"""Pictures a second of synthetic heads: the fast renderer by style, and Cycles on the same views in the same run.

    python benchmarks/synthetic_pictures.py [--heads 14] [--size 256] [--rounds 3] [--cycles] [--cycles-heads 3]

Of each head: growing it, making it ready (once), lighting it (once for each light), and a further view under the same
light. The best of the rounds counts. With ``--cycles`` Blender (``HEADSTITCH_BLENDER``, or the bpy package) draws one
photo and one view from around of some of the heads, and the ratio says how many times longer it takes for these than
``draw_views`` does. One thread, but for Cycles, which takes all cores. Run it on a machine that has nothing else to do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
from headstitch.backend.camera import Camera
from headstitch.backend.training.draw import draw
from headstitch.backend.training.head import make_head
from headstitch.backend.training.realistic import RealisticRenderer
from headstitch.backend.training.stage import light_head, stage_head
from headstitch.backend.training.views import draw_views

SEED = 4242
STEPS = ("growing", "making ready", "lighting", "a view")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=int, default=14, help="the first of a data set: fourteen have every style once")
    parser.add_argument("--size", type=int, default=256, help="pixels")
    parser.add_argument("--rounds", type=int, default=3, help="of each; the best one counts")
    parser.add_argument("--cycles", action="store_true", help="measure Cycles beside it")
    parser.add_argument("--cycles-heads", type=int, default=3, help="of how many of the heads")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    load = os.getloadavg()[0]
    print(f"{arguments.size} pixels, one thread, load {load:.1f}; seconds, best of {arguments.rounds}\n")
    print(f"| style | {' | '.join(STEPS)} |\n|---|{'---|' * len(STEPS)}")
    heads, rows = [], []
    for number in range(arguments.heads):
        grown, head = best(1, lambda number=number: make_head(SEED, number))
        rows.append([grown, *measure(head, arguments.size, arguments.rounds)])
        heads.append(head)
        print(f"| {head.style.name} | {' | '.join(f'{seconds:.2f}' for seconds in rows[-1])} |", flush=True)
    means = [statistics.mean(column) for column in zip(*rows, strict=True)]
    print(f"| mean | {' | '.join(f'{seconds:.2f}' for seconds in means)} |")
    print(f"\n{1 / means[3]:.1f} views a second after the first, one core")
    if arguments.cycles:
        compare(heads[: arguments.cycles_heads], arguments.size)


def measure(head: Any, size: int, rounds: int) -> list[float]:
    """Seconds of making a head ready, of lighting it, and of a view (mean of four sides)."""
    ready, stage = best(rounds, lambda: stage_head(head))
    lighting, lit = best(rounds, lambda: light_head(stage))
    sides = [Camera.from_angles(yaw) for yaw in (0.0, 0.8, 1.6, 3.1)]
    views, _ = best(rounds, lambda: [draw(lit, side, size) for side in sides])
    return [ready, lighting, views / len(sides)]


def compare(heads: list[Any], size: int) -> None:
    """One photo and one view from around of each head, by both renderers."""
    fast = slow = 0.0
    with RealisticRenderer() as renderer:
        renderer.draw_views(heads[0], 0, 1, 32)  # Blender has started
        for head in heads:
            fast += best(1, lambda head=head: draw_views(head, 1, 1, size))[0]
            slow += best(1, lambda head=head: renderer.draw_views(head, 1, 1, size))[0]
    count = 2 * len(heads)
    print(f"Of {len(heads)} heads, a photo and a view from around each, light and all:")
    print(f"fast {count / fast:.2f} views a second on one core, Cycles {count / slow:.2f} on all: x{slow / fast:.0f}")


def best(rounds: int, work: Callable[[], Any]) -> tuple[float, Any]:
    """The shortest of some runs in seconds, and what the last one gave."""
    shortest, result = float("inf"), None
    for _ in range(rounds):
        start = time.perf_counter()
        result = work()
        shortest = min(shortest, time.perf_counter() - start)
    return shortest, result


if __name__ == "__main__":
    main()
