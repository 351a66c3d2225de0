"""Density on a lattice of 512^3 against trilinear look-ups in batches of a million points, in one run.

    python benchmarks/lattice.py [--fitted HEAD.safetensors] [--resolution 512] [--threads 2] [--rounds 1] [--batches 0]

Two fields of the official size, 288 x 256 x 256: a head with hair that was fitted (scripts/fit_trigrid.py makes it
where it is absent, in ten minutes or so), and noise in every cell, where nothing can be skipped. The alternatives have
the planes ready, and are asked for the density alone: ``torch.nn.functional.grid_sample`` in five dimensions, then the
decoder, and our own look-up, which textures and renders use. Each has as many rounds as ours, and the best one counts;
laying the tri-grid out for ours counts as ours. With ``--batches N`` N of the batches are measured, spread evenly, and
the rest is extrapolated, which the output says; so are the noise and our own look-up always, from a few batches.

Exits with 1 when the fitted head is not 50 times faster than ``grid_sample``, or a vertex is a tenth of a voxel off.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from headstitch.backend.meshing.lattice import Lattice
from headstitch.backend.meshing.surface import march
from headstitch.kernels.lattice_density import lattice_density
from headstitch.kernels.trigrid import DecoderWeights, decode, sample_trigrid, to_rows
from safetensors import safe_open
from scipy.spatial import KDTree

FIT = Path(__file__).parent.parent / "scripts" / "fit_trigrid.py"
LEVEL = 10.0
BATCH = 1_000_000
FEW = 8  # batches that are measured where the rest is extrapolated in any case
FASTER, CLOSER = 50, 0.1  # times; voxels
SIZE, FEATURES, HIDDEN, SLICES = 256, 32, 64, 3
_AXES = ((0, 1, 2), (0, 2, 1), (1, 2, 0))  # the world axes that are the planes' width, height and depth


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    # Another script may fit another head.
    script = hashlib.sha256(FIT.read_bytes()).hexdigest()[:12]
    cache = Path(tempfile.gettempdir()) / f"headstitch-fitted-head-{script}.safetensors"
    parser.add_argument("--fitted", type=Path, default=cache, help="what scripts/fit_trigrid.py wrote")
    parser.add_argument("--resolution", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="of each; the best one counts")
    parser.add_argument("--batches", type=int, default=0, help="of grid_sample that are measured; 0: all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load = os.getloadavg()[0]
    print(f"torch {torch.__version__}, {arguments.threads} threads of {os.cpu_count()}, load before the run {load:.1f}")
    if not arguments.fitted.is_file():
        subprocess.run([sys.executable, str(FIT), str(arguments.fitted)], check=True)
    print(f"memory: {_peak():.2f} GiB before the first field")
    ratio, off = compare("fitted head", *_fitted(arguments.fitted), LEVEL, arguments, arguments.batches)
    trigrid, weights = _noise()
    points = torch.rand(1, 100_000, 3, generator=torch.Generator().manual_seed(0)) - 0.5
    middle = float(sample_trigrid(trigrid[None], points, weights)[0].median())
    compare("noise", trigrid, weights, middle, arguments, arguments.batches or FEW)
    if ratio < FASTER or off is None or off > CLOSER:
        told = "not compared" if off is None else f"{off:.1e} voxel off"
        sys.exit(f"\nThe promise does not hold: x{ratio:.0f} (at least {FASTER}), vertices {told} (at most {CLOSER}).")


def compare(
    name: str,
    trigrid: torch.Tensor,
    weights: DecoderWeights,
    level: float,
    arguments: argparse.Namespace,
    batches: int,
) -> tuple[float, float | None]:
    """Measure one field, and tell. How many times faster than ``grid_sample``, and the largest distance in voxels of a
    vertex from the dense mesh, None where not every batch was asked.
    """
    count = arguments.resolution
    origin, spacing = (-0.5,) * 3, 1 / (count - 1)
    weights = weights.density_only()
    seconds, values, share = [], torch.zeros(0), 0.0
    for _ in range(arguments.rounds):
        del values
        start = time.perf_counter()
        rows = to_rows(trigrid[None])
        values, share = lattice_density(rows, weights, origin, spacing, (count,) * 3, level=level)
        seconds.append(time.perf_counter() - start)
    ours = min(seconds)
    print(f"\n{name}, level {level:.3g}, {count}^3 nodes")
    rounds = ", ".join(f"{second:.2f}" for second in seconds)
    print(
        f"  ours: {ours:.2f} s (rounds {rounds}), {share:.2%} of the nodes evaluated, memory {_peak():.2f} GiB at most"
    )

    axis = torch.tensor(origin)[0] + spacing * torch.arange(count)

    def by_grid_sample(points: torch.Tensor) -> torch.Tensor:
        return decode(_grid_sample(trigrid, points), weights)[0][0]

    def by_rows(points: torch.Tensor) -> torch.Tensor:
        return sample_trigrid(rows, points[None], weights)[0][0]

    ratio, off = 0.0, None
    for title, ask, some in (("grid_sample in 5-D", by_grid_sample, batches), ("our look-up", by_rows, FEW)):
        dense, taken, part = _in_batches(ask, axis, some)
        for _ in range(arguments.rounds - 1):
            taken = min(taken, _in_batches(ask, axis, some)[1])
        ratio = ratio or taken / ours
        print(f"  {title}: {taken:.1f} s{'' if part == 1 else f', extrapolated from {part:.1%}'}, x{taken / ours:.3g}")
        known = ~dense.isnan()
        differ = ((values > level) != (dense > level)) & known
        near = (dense[differ] - level).abs().max().item() if differ.any() else 0.0
        print(f"    nodes on the other side: {int(differ.sum())} of {int(known.sum())}", end="")
        print(f", there at most {near:.1e} from the level" if differ.any() else "")
        exact = (values - dense).abs()
        band = known & ((dense - level).abs() < 1)
        print(f"    density within 1 of the level: differs by {exact[band].max().item():.1e} at most")
        if part == 1 and name != "noise":
            off = _compare_meshes(values.numpy(), dense.numpy(), level, spacing)
        del dense, exact, band, known
    return ratio, off


def _in_batches(
    ask: Callable[[torch.Tensor], torch.Tensor], axis: torch.Tensor, batches: int
) -> tuple[torch.Tensor, float, float]:
    """The densities (N, N, N), NaN where not asked; seconds for all of them; and the share of them that was asked."""
    count = len(axis)
    total = count**3
    starts = list(range(0, total, BATCH))
    if batches and batches < len(starts):
        starts = [starts[i] for i in np.linspace(0, len(starts) - 1, batches).round().astype(int)]
    dense = torch.full((total,), torch.nan)
    asked, seconds = 0, 0.0
    for start in starts:
        begin = time.perf_counter()
        number = torch.arange(start, min(start + BATCH, total))
        points = torch.stack([axis[number // count**2], axis[number // count % count], axis[number % count]], 1)
        dense[start : start + len(number)] = ask(points)
        seconds += time.perf_counter() - begin
        asked += len(number)
    return dense.view(count, count, count), seconds * total / asked, asked / total


def _grid_sample(trigrid: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """The mean over the planes (1, N, 32) at points (N, 3)."""
    volumes = trigrid.view(3, FEATURES, SLICES, *trigrid.shape[-2:])
    grid = torch.stack([2 * points[:, axes] for axes in _AXES])[:, None, None]  # (3, 1, 1, N, 3)
    found = F.grid_sample(volumes, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return found[:, :, 0, 0].mean(0).T[None]


def _compare_meshes(ours: np.ndarray, dense: np.ndarray, level: float, spacing: float) -> float:
    one, other = (
        march(Lattice(values, np.full(3, -0.5), spacing, 1.0), level, closed_neck=True) for values in (ours, dense)
    )
    same = np.array_equal(one.faces, other.faces)
    if same:
        off = np.linalg.norm(one.vertices - other.vertices, axis=1)
    else:
        to, back = KDTree(other.vertices), KDTree(one.vertices)
        off = np.concatenate([to.query(one.vertices)[0], back.query(other.vertices)[0]])
    print(
        f"    mesh: {len(one.vertices)} vertices, the same triangles: {same}, every vertex within "
        f"{off.max() / spacing:.1e} voxel; memory {_peak():.2f} GiB at most, with both lattices"
    )
    return float(off.max()) / spacing


def _fitted(path: Path) -> tuple[torch.Tensor, DecoderWeights]:
    with safe_open(path, "pt") as file:
        weights = DecoderWeights(*(file.get_tensor(name) for name in DecoderWeights._fields[:4]))
        return file.get_tensor("trigrid").float(), weights


def _noise() -> tuple[torch.Tensor, DecoderWeights]:
    """Every tensor from its name alone: normal numbers from the first 8 bytes of the name's SHA-256."""

    def draw(name: str, *shape: int) -> torch.Tensor:
        seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))

    weights = DecoderWeights(
        draw("decoder.net.0.weight", HIDDEN, FEATURES) / FEATURES**0.5,
        draw("decoder.net.0.bias", HIDDEN) * 0.1,
        draw("decoder.net.2.weight", 1 + FEATURES, HIDDEN) / HIDDEN**0.5,
        draw("decoder.net.2.bias", 1 + FEATURES) * 0.1,
    )
    return draw("planes", 3, FEATURES * SLICES, SIZE, SIZE), weights


def _peak() -> float:
    """The most memory that this process has had, GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
