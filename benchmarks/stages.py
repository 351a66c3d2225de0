"""What each stage from photo to texture costs at the official size: time, operations, bytes, peak memory.

    python benchmarks/stages.py [--rounds 3] [--threads 2] [--head HEAD.safetensors] [--json OUT.json] [--small]

Prints a table in Markdown. The networks' weights are random, which changes no cost. What depends on a shape (mask,
lattice, marching cubes) sees a head: one that scripts/fit_trigrid.py wrote, or an ellipsoid with rough skin.

Seconds are the best of the rounds. Operations are the multiplications and additions of convolutions and matrix
products, by the formulas of torch.utils.flop_counter, and two for each number that a look-up reads; activations,
resizing and sorting are not counted. Bytes are what would move if nothing stayed in a cache: each operator reads each
of its tensors and writes its results once; look-ups and indexing touch what they gather and scatter. Steps in NumPy
and C++ read what they are given and write what they make, at least. The two ceilings are measured in the same run, on
the same threads: a product of two large matrices, and a copy of 256 MiB, which reads and writes them.

Peak memory is that of a process of its own, which inverts with a model on the disk, loads one encoder after the other,
and goes on to the mesh and its texture out of twelve pictures. Exits with 1 when that is more than 6 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from headstitch.backend.camera import Camera
from headstitch.backend.field import TrigridField
from headstitch.backend.inversion.color import COLORS, VIEWS, make_painter
from headstitch.backend.inversion.invert import invert
from headstitch.backend.inversion.stitch import stitch
from headstitch.backend.inversion.visibility import seen_points, visible_mask
from headstitch.backend.meshing.lattice import Lattice
from headstitch.backend.meshing.mesh import Mesh
from headstitch.backend.meshing.surface import decimate, keep_head, march, smoothen, split_nonmanifold
from headstitch.backend.meshing.texture import bake_texture
from headstitch.backend.meshing.uv import unwrap
from headstitch.backend.models.bundle import Bundle, load_bundle, write_bundle
from headstitch.backend.networks.config import OFFICIAL, OFFICIAL_ENCODER, EncoderConfig, GeneratorConfig
from headstitch.backend.networks.encoder import Encoder
from headstitch.backend.networks.generator import Generator
from headstitch.backend.options import Inversion, Options
from headstitch.backend.portrait.portrait import Crop, Portrait
from headstitch.backend.rendering import RayResult, render_rays
from headstitch.kernels.trigrid import DecoderWeights, to_rows
from safetensors import safe_open
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

MOST = 6e9  # bytes that the chain may take
aten = torch.ops.aten
LOOK_UPS = {aten._embedding_bag_forward_only, aten._embedding_bag}
READ_SOME = {aten.index, aten.index_select, aten.gather, aten.embedding}  # of their first tensor, what they give
WRITE_SOME = {aten.index_put_, aten.index_put, aten._index_put_impl_}
CAMERA = Camera.from_angles(0.3, 0.1)
MOVE_NOTHING = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty}


class Size(NamedTuple):
    """What the chain is built from."""

    generator: GeneratorConfig
    encoder: EncoderConfig
    nodes: int  # of the lattice, along the longest side of the box
    matrices: int  # side, of the ceiling
    options: Options  # of mesh and texture


FULL = Size(OFFICIAL, OFFICIAL_ENCODER, 512, 4096, Options())
SMALL = Size(
    GeneratorConfig(
        z_dim=64,
        w_dim=64,
        channel_base=1024,
        channel_max=32,
        trigrid_size=64,
        image_size=128,
        superresolution="2X",
        render_size=32,
        coarse_samples=4,
        fine_samples=2,
    ),
    EncoderConfig(
        image_size=64,
        widths=(8, 16, 24, 32),
        blocks=(1, 1, 2, 1),
        num_ws=10,
        w_dim=64,
        style_width=16,
        plane_size=64,
        hidden=24,
    ),
    64,
    512,
    Options(faces=2000, texture_size=256),
)


@dataclass(frozen=True)
class Stage:
    """A stage, and what it does."""

    name: str
    times: int  # in the making of one head
    run: Callable[[], Any]
    bytes: Callable[[Any], int] | None = None  # of a stage outside PyTorch, of its result


@dataclass
class Measured:
    """What a stage costs once."""

    name: str
    times: int
    seconds: float
    operations: int
    bytes: int


class Counter(TorchDispatchMode):
    """Counts operations and bytes of everything that PyTorch does within it."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = 0
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        packet = func.overloadpacket
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, torch.Tensor)]
        made = [value for value in tree_leaves(result) if isinstance(value, torch.Tensor)]
        if packet in MOVE_NOTHING or (shared(given, made) and not func._schema.is_mutable):
            return result
        moved = [*given, *made]
        if packet in LOOK_UPS:
            numbers = given[1].numel() * given[0].shape[1]
            self.operations += 2 * numbers
            self.bytes += numbers * given[0].element_size()
            moved = [*given[1:], made[0]]  # the others are empty but for training
        elif packet in READ_SOME:
            moved = [*made, *given[1:], *made]
        elif packet in WRITE_SOME:
            values = args[2]
            moved = [values, *args[1], values]
        elif packet in flop_registry:
            self.operations += flop_registry[packet](*args, **kwargs, out_val=result)
        self.bytes += sum(occupied(value) for value in moved if value is not None)
        return result


def shared(given: list[torch.Tensor], made: list[torch.Tensor]) -> bool:
    """Whether results are views of what was given."""
    storages = {value.untyped_storage().data_ptr() for value in given}
    return any(value.untyped_storage().data_ptr() in storages for value in made)


def occupied(value: torch.Tensor) -> int:
    """Bytes of memory behind a tensor; one that repeats its numbers holds them once."""
    return min(value.numel() * value.element_size(), value.untyped_storage().nbytes())


# --- what is measured ------------------------------------------------------------------------------------------------


def head(size: Size, path: Path | None) -> tuple[torch.Tensor, DecoderWeights]:
    """A tri-grid (1, 3, F * slices, R, R) with a head in it, and its decoder: read, or an ellipsoid with rough skin."""
    if path is not None:
        with safe_open(path, "pt") as file:
            weights = DecoderWeights(*(file.get_tensor(name) for name in DecoderWeights._fields[:4]))
            return file.get_tensor("trigrid").float()[None], weights
    config, random = size.generator, torch.Generator().manual_seed(1)
    cells = config.trigrid_size
    planes = torch.randn(3, config.features, config.trigrid_depth, cells, cells, generator=random)
    x, y, z = (((torch.arange(cells) + 0.5) / cells - 0.5) / half for half in (0.18, 0.27, 0.25))
    # The first feature sums to 1 - |p / half-axes|^2 over the planes (x, y), (x, z) and (y, z).
    planes[0, 0] = 1 - x.square() - y.square()[:, None]
    planes[1, 0] = -z.square()[:, None]
    planes[2, 0] = 0
    weight0 = torch.randn(config.decoder_hidden, config.features, generator=random) / config.features**0.5
    bias0 = torch.zeros(config.decoder_hidden)
    weight0[0], bias0[0] = 0, 200  # far up, softplus changes nothing
    weight0[0, 0] = 90  # the decoder sees the mean of the planes
    weight1 = 0.05 * torch.randn(config.features + 1, config.decoder_hidden, generator=random)
    bias1 = torch.zeros(config.features + 1)
    weight1[0, 0] = 400 / 30  # a density that falls by about 16 a cell across the surface
    bias1[0] = config.level - 200 * 400 / 30
    return planes.flatten(1, 2)[None], DecoderWeights(weight0, bias0, weight1, bias1)


def sample(size: Size, trigrid: torch.Tensor, weights: DecoderWeights) -> Lattice:
    """The density on a lattice over the whole cube of the planes, more than the part of it that holds the head."""
    config = size.generator
    field = TrigridField(trigrid[0], weights, config=config, level=config.level)
    low, spacing = -config.box_warp / 2, config.box_warp / (size.nodes - 1)
    values, share = field.sample_lattice((low, low, low), spacing, (size.nodes, size.nodes, size.nodes))
    return Lattice(values.numpy(), np.full(3, low), spacing, share)


def clean(raw: Mesh, options: Options) -> Mesh:
    """What comes after marching cubes: one piece, smooth, with as many triangles as asked for."""
    return split_nonmanifold(decimate(smoothen(keep_head(raw)[0], options.smoothing), options.faces))


def painted(size: Size, trigrid: torch.Tensor, weights: DecoderWeights, generator: Generator) -> TrigridField:
    """The head as a field with the colour of super-resolved pictures; random networks finish them."""
    config = size.generator
    generator.decoder_weights = lambda: weights  # the head's own, or the pictures would show noise
    w_plus = torch.zeros(1, config.num_ws, config.w_dim)
    rows = to_rows(trigrid, depth=config.trigrid_depth)
    painter = make_painter(generator, rows, w_plus, Inversion(), torch.device("cpu"))
    return TrigridField(rows, weights, config=config, level=config.level, color=painter)


def stages(size: Size, path: Path | None) -> Iterator[Stage]:
    """The stages; each is made when its turn comes, and what several share is freed after the last of them."""
    torch.manual_seed(0)
    trigrid, weights = head(size, path)
    yield from of_loading(size)
    yield from of_encoders(size, trigrid)
    yield from of_generator(size, trigrid, weights)
    yield from of_stitching(size, trigrid, weights)
    yield from of_meshing(size, trigrid, weights)


def of_loading(size: Size) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory() as folder:
        bundle = random_bundle(size, Path(folder) / "random")
        yield Stage("loading the generator", 1, bundle.generator)
        yield Stage("loading an encoder", 2, lambda: bundle.encoder("visible"))


def of_encoders(size: Size, trigrid: torch.Tensor) -> Iterator[Stage]:
    side = size.encoder.image_size
    picture, pictures = torch.rand(1, 3, side, side) * 2 - 1, torch.rand(1, 9, side, side) * 2 - 1
    encoder = Encoder(size.encoder).eval()
    planes = trigrid.flatten(1, 2)
    yield Stage("W+ encoder", 2, lambda: encoder.w_plus(picture))
    yield Stage("F stage", 2, lambda: encoder.trigrid(pictures, planes))


def of_generator(size: Size, trigrid: torch.Tensor, weights: DecoderWeights) -> Iterator[Stage]:
    config, label = size.generator, torch.from_numpy(CAMERA.label)[None]
    w_plus = torch.randn(1, config.num_ws, config.w_dim)
    generator = Generator(config).eval()
    sampling = generator.sampling("same")
    rows = to_rows(trigrid, depth=config.trigrid_depth)

    def rays() -> RayResult:
        return render_rays(rows, weights, label, size=config.render_size, sampling=sampling)

    seen = rays()

    def picture() -> torch.Tensor:
        behind = generator.background(w_plus, config.render_size, COLORS["white"])
        return generator.finish(seen.features + (1 - seen.weight_sum) * behind, w_plus)[0]

    yield Stage("tri-grid synthesis", 2, lambda: generator.trigrid(w_plus))
    yield Stage("tri-grid as rows", 2, lambda: to_rows(trigrid, depth=config.trigrid_depth))
    yield Stage(f"render: {config.render_size}² rays", 4, rays)
    yield Stage("render: background, super-resolution", 4, picture)


def of_stitching(size: Size, trigrid: torch.Tensor, weights: DecoderWeights) -> Iterator[Stage]:
    config, label, options = size.generator, torch.from_numpy(CAMERA.label)[None], Inversion()
    sampling = Generator(config).sampling("same")
    other = torch.randn_like(trigrid)

    def rays() -> RayResult:
        return render_rays(trigrid, weights.density_only(), label, size=options.mask_rays, sampling=sampling)

    seen = rays()

    def mask() -> torch.Tensor:
        points = seen_points(seen.depth, seen.weight_sum, CAMERA)
        return visible_mask(points, options, size=config.trigrid_size, slices=config.trigrid_depth)

    visible = mask()
    yield Stage(f"mask: depth of {options.mask_rays}² rays", 1, rays)
    yield Stage("mask: cells seen", 1, mask, lambda made: 2 * occupied(seen.depth) + occupied(made))
    yield Stage("stitching", 1, lambda: stitch(trigrid, other, visible))


def of_meshing(size: Size, trigrid: torch.Tensor, weights: DecoderWeights) -> Iterator[Stage]:
    yield Stage(f"density on {size.nodes}³ nodes", 1, lambda: sample(size, trigrid, weights))
    lattice = sample(size, trigrid, weights)

    def cubes() -> Mesh:
        return march(lattice, size.generator.level, closed_neck=True)

    raw, options = cubes(), size.options

    def moved(mesh: Mesh) -> int:
        return mesh.vertices.nbytes + mesh.faces.nbytes

    yield Stage("marching cubes", 1, cubes, lambda mesh: lattice.values.nbytes + moved(mesh))
    yield Stage("one piece, smooth, decimated", 1, lambda: clean(raw, options), lambda mesh: moved(raw) + moved(mesh))
    mesh = clean(raw, options)
    yield Stage("atlas", 1, lambda: unwrap(mesh, options.texture_size), lambda uvs: moved(mesh) + uvs.nbytes)
    uvs = unwrap(mesh, options.texture_size)
    generator = Generator(size.generator).eval()
    points = torch.zeros(1, 3)

    def views() -> TrigridField:
        field = painted(size, trigrid, weights, generator)
        field.color(points)  # the first question makes the pictures
        return field

    yield Stage(f"texture: {len(VIEWS)} pictures", 1, views)
    field = views()
    yield Stage("texture: baking", 1, lambda: bake_texture(mesh, uvs, field, None, options.texture_size))


# --- measuring -------------------------------------------------------------------------------------------------------


def best(job: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Seconds of the fastest round, and the last result."""
    seconds, result = [], None
    for _ in range(rounds):
        result = None  # its memory is for the next one
        start = time.perf_counter()
        result = job()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def measure(stage: Stage, rounds: int) -> Measured:
    seconds, result = best(stage.run, rounds)
    if stage.bytes is not None:
        return Measured(stage.name, stage.times, seconds, 0, stage.bytes(result))
    del result
    with Counter() as counter:
        stage.run()
    return Measured(stage.name, stage.times, seconds, counter.operations, counter.bytes)


def ceilings(size: Size, rounds: int) -> tuple[float, float]:
    """Operations a second of a product of two float32 matrices, and bytes a second of a copy."""
    side = size.matrices
    a, b, product = torch.randn(side, side), torch.randn(side, side), torch.empty(side, side)
    seconds, _ = best(lambda: torch.mm(a, b, out=product), rounds + 1)
    source, target = torch.ones(1 << 26), torch.zeros(1 << 26)
    copying, _ = best(lambda: target.copy_(source), 3 * rounds + 1)
    return 2 * side**3 / seconds, 2 * source.nbytes / copying


# --- peak memory -----------------------------------------------------------------------------------------------------


def random_bundle(size: Size, folder: Path) -> Bundle:
    """A model of random numbers on the disk, in half precision."""
    torch.manual_seed(0)
    encoder = (Encoder(size.encoder).state_dict(), size.encoder)
    return write_bundle(
        folder,
        name="random",
        generator=Generator(size.generator).state_dict(),
        config=size.generator,
        encoders={"visible": encoder, "occluded": encoder},
        licence="Random numbers.",
        half=True,
    )


def peak_memory(small: bool, path: Path | None) -> dict[str, int]:
    """Bytes: the peak of a process of its own after each of its stages."""
    size = SMALL if small else FULL
    with tempfile.TemporaryDirectory() as folder:
        bundle = random_bundle(size, Path(folder) / "random").folder
        threads = ["--threads", str(torch.get_num_threads())]
        command = [sys.executable, __file__, "--chain", str(bundle), *threads, *(["--small"] if small else [])]
        command += ["--head", str(path)] if path is not None else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"The chain failed: {done.stderr}")
    return json.loads(done.stdout)


def resident_peak() -> int:
    """Bytes of this process at their peak. ``getrusage`` on Linux also counts what its parent had when it began."""
    status = Path("/proc/self/status")
    if status.exists():
        (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
        return 1024 * int(peak)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def chain(size: Size, bundle: Path, path: Path | None) -> dict[str, int]:
    """The inversion with a bundle, then density and marching cubes of a head; the peak memory after each."""
    peaks: dict[str, int] = {}

    def note(name: str) -> None:
        peaks[name] = resident_peak()

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        yield
        note(name)

    note("imports")
    random = np.random.default_rng(0)
    side = 512
    portrait = Portrait(
        photo=np.zeros((8, 8, 3), np.uint8),
        crop=Crop(4, 4, 8, 0),
        image=random.integers(0, 256, (side, side, 3), np.uint8),
        matte=np.ones((side, side), np.float32),
        landmarks=np.full((478, 3), np.nan, np.float32),
        camera=CAMERA,
        sha256="",
    )
    inverted = invert(portrait, load_bundle(bundle), Inversion(), torch.device("cpu"), stage)
    # Random weights make no head. Everything that the inversion holds stays, and one takes the stitched one's place.
    trigrid, weights = head(size, path)
    inverted = replace(inverted, stitched=trigrid)
    # As the journey has it: what the inversion made is kept in half precision, and its own tensors go.
    generator, kept = inverted.generator, inverted.stitched.half()
    del inverted, trigrid
    field = painted(size, kept.float(), weights, generator)
    lattice = sample(size, kept.float(), weights)
    note(f"density on {size.nodes}³ nodes")
    raw = march(lattice, size.generator.level, closed_neck=True)
    note("marching cubes")
    del lattice
    options = size.options
    mesh = clean(raw, options)
    del raw
    uvs = unwrap(mesh, options.texture_size)
    note("mesh and atlas")
    bake_texture(mesh, uvs, field, None, options.texture_size)
    note("texture")
    return peaks


# --- telling ---------------------------------------------------------------------------------------------------------


def table(measured: list[Measured], matrix: float, copy: float) -> list[str]:
    lines = [
        "| stage | times | s | GFLOP | GB | GFLOP/s | of products | GB/s | of copies |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for one in measured:
        flops, moved = one.operations / one.seconds, one.bytes / one.seconds
        counted = f"{one.operations / 1e9:.1f}", f"{flops / 1e9:.0f}", f"{flops / matrix:.0%}"
        work, speed, share = counted if one.operations else ("", "", "")
        lines.append(
            f"| {one.name} | {one.times} | {one.seconds:.3f} | {work} | {one.bytes / 1e9:.2f} | {speed} | {share} "
            f"| {moved / 1e9:.1f} | {moved / copy:.0%} |"
        )
    total = [sum(one.times * getattr(one, name) for one in measured) for name in ("seconds", "operations", "bytes")]
    lines.append(f"| one head | | {total[0]:.2f} | {total[1] / 1e9:.0f} | {total[2] / 1e9:.1f} | | | | |")
    return lines


@torch.no_grad()  # not inference mode, which hides from the counter what operators are made of
def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--head", type=Path, help="a tri-grid that scripts/fit_trigrid.py wrote")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--small", action="store_true", help="a toy's size, to see that it runs")
    parser.add_argument("--chain", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    size = SMALL if given.small else FULL
    torch.set_num_threads(given.threads)
    if given.chain:
        print(json.dumps(chain(size, given.chain, given.head)))
        return
    load = os.getloadavg()[0]
    matrix, copy = ceilings(size, given.rounds)
    measured = [measure(stage, given.rounds) for stage in stages(size, given.head)]
    peaks = peak_memory(given.small, given.head)
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, load {load:.1f} before the run")
    print(f"ceilings: {matrix / 1e9:.0f} GFLOP/s of matrix products, {copy / 1e9:.1f} GB/s of copies\n")
    print("\n".join(table(measured, matrix, copy)))
    print("\n| after | peak memory so far, GB |\n|---|---|")
    print("\n".join(f"| {name} | {peak / 1e9:.2f} |" for name, peak in peaks.items()))
    if given.json:
        figures = {
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "load": load,
            "operations_per_second": matrix,
            "copied_bytes_per_second": copy,
            "stages": [vars(one) for one in measured],
            "peak_memory": peaks,
        }
        given.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if max(peaks.values()) > MOST:
        sys.exit(f"\nThe promise does not hold: {max(peaks.values()) / 1e9:.2f} GB at most (at most {MOST / 1e9:.0f}).")


if __name__ == "__main__":
    main()
