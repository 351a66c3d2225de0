"""The meshing steps against named alternatives, on the same head in one run.

    python benchmarks/meshing.py [PHOTO] [--rounds 3]

Prints, for each step, the seconds of ours and of the alternative (best of the rounds), their ratio, and what each made.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open3d as o3d
import torch
from headstitch.backend.geometry import legacy_mesh, make_scene, tensor_mesh
from headstitch.backend.meshing.lattice import sample_lattice
from headstitch.backend.meshing.surface import decimate, keep_head, march, smoothen
from headstitch.backend.meshing.uv import GUTTER, unwrap
from headstitch.backend.options import Options
from headstitch.backend.portrait.make import make_portrait
from headstitch.backend.template.make import make_template

EXAMPLE = Path(__file__).parent.parent / "examples" / "portrait.jpg"


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", nargs="?", type=Path, default=EXAMPLE)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    options = Options()
    field, _ = make_template(make_portrait(arguments.photo, options), torch.device("cpu"))

    def best(job: Callable[[], object]) -> tuple[float, object]:
        seconds, result = [], None
        for _ in range(arguments.rounds):
            start = time.perf_counter()
            result = job()
            seconds.append(time.perf_counter() - start)
        return min(seconds), result

    def tell(step: str, ours: float, alternative: float, remark: str) -> None:
        print(
            f"{step:12s} ours {ours:6.2f} s   alternative {alternative:6.2f} s   x{alternative / ours:5.2f}   {remark}"
        )

    ours, lattice = best(lambda: sample_lattice(field, options.resolution))
    dense_time, dense = best(lambda: sample_lattice(field, options.resolution, skip=False))
    one, other = march(lattice, field.level, closed_neck=True), march(dense, field.level, closed_neck=True)
    same = np.array_equal(one.vertices, other.vertices) and np.array_equal(one.faces, other.faces)
    tell("lattice", ours, dense_time, f"every node; {lattice.evaluated:.0%} of the nodes asked; same mesh: {same}")

    smooth = smoothen(keep_head(one)[0], options.smoothing)
    scene = make_scene(smooth.vertices, smooth.faces)

    def error(vertices: np.ndarray) -> str:
        distance = scene.compute_distance(o3d.core.Tensor.from_numpy(vertices.astype(np.float32))).numpy()
        return f"mean {1e4 * distance.mean():.2f}e-4, worst {1e4 * distance.max():.1f}e-4 units"

    ours, mesh = best(lambda: decimate(smooth, options.faces))
    plain_time, plain = best(
        lambda: legacy_mesh(smooth.vertices, smooth.faces).simplify_quadric_decimation(options.faces)
    )
    remark = f"Open3D alone, {len(smooth.faces)} to {options.faces} faces; ours {error(mesh.vertices)};"
    tell("decimation", ours, plain_time, f"{remark} alternative {error(np.asarray(plain.vertices))}")

    def plain_atlas() -> tuple[float, int, int]:
        tensor = tensor_mesh(mesh.vertices, mesh.faces)
        with o3d.utility.VerbosityContextManager(o3d.utility.VerbosityLevel.Error):
            return tensor.compute_uvatlas(options.texture_size, float(GUTTER), parallel_partitions=2)

    ours, _ = best(lambda: unwrap(mesh, options.texture_size))
    plain_time, (_, charts, _) = best(plain_atlas)
    tell("atlas", ours, plain_time, f"Open3D's own partitions ({charts} charts, cut across the face)")


if __name__ == "__main__":
    main()
