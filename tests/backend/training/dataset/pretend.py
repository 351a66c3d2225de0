"""Heads made up in no time, and a data set of them made by another process: ``python pretend.py FOLDER SECONDS``."""

from __future__ import annotations

import sys
import time
import types
from pathlib import Path

import numpy as np
from headstitch.backend.camera import Camera
from headstitch.backend.training.dataset import make
from headstitch.backend.training.dataset.options import DataOptions
from headstitch.backend.training.dataset.packing import pack_places
from headstitch.backend.training.dataset.record import pack_record

OPTIONS = DataOptions(heads=10, seed=7, photos=1, around=1, size=32, points=50, samples=40, shard=4)


def view(random, kind, size):
    camera = Camera.from_angles(*random.normal(0, 0.3, 3))
    depth = np.full((size, size), np.inf, np.float32)
    depth[8:20, 8:20] = random.uniform(2, 3, (12, 12))
    normals = np.zeros((size, size, 3), np.float32)
    normals[8:20, 8:20] = [0.6, 0.0, 0.8]
    labels = np.full((size, size), 255, np.uint8)
    labels[8:20, 8:20] = 0
    labels[8:12, 8:20] = 1
    return types.SimpleNamespace(
        image=np.full((size, size, 3), int(random.integers(256)), np.uint8),
        matte=np.where(labels < 255, np.uint8(200), np.uint8(0)),
        depth=depth,
        normals=normals,
        labels=labels,
        camera=camera,
        lens=Camera.from_angles(*camera.angles, radius=2.0),
        kind=kind,
        attributes={"light": "soft"},
    )


def head(number, options=OPTIONS):
    """(about, arrays, views) of a made-up head."""
    random = np.random.default_rng([options.seed, number])
    about = {"seed": options.seed, "number": number, "head_height": 0.5, "attributes": {"style": "bob", "years": 30.0}}
    normals = random.normal(size=(options.points, 3))
    arrays = {
        "points": random.uniform(-0.5, 0.5, (options.points, 3)),
        "normals": normals / np.linalg.norm(normals, axis=1, keepdims=True),
        "colors": random.random((options.points, 3)),
        "labels": random.integers(0, 6, options.points),
        "samples": pack_places(random.uniform(-0.5, 0.5, (options.samples, 3))),
        "distances": random.uniform(-0.3, 0.6, (options.samples, 2)),
        "landmarks": random.uniform(-0.5, 0.5, (478, 3)).astype(np.float32),
    }
    kinds = ["photo"] * options.photos + ["around"] * options.around
    return about, arrays, [view(random, kind, options.size) for kind in kinds]


def record(options, number):
    return pack_record(*head(number, options))


def instead_of_sampling(wait=0.0, calls=None):
    """What takes the place of ``make._record``."""

    def pretend(options, number):
        if calls is not None:
            calls.append(number)
        time.sleep(wait)
        return record(options, number)

    return pretend


if __name__ == "__main__":
    make._record = instead_of_sampling(float(sys.argv[2]))
    make.sampler_version = lambda: "pretended"
    make.make_dataset(Path(sys.argv[1]), OPTIONS, workers=0, tell=lambda line: print(line, flush=True))
