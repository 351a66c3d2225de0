"""Samples one head and packs all that is stored of it. The door from data sets to the sampler."""

from __future__ import annotations

from functools import cache
from multiprocessing.util import Finalize

import numpy as np

from ..ground_truth import EXTENT, GroundTruth, measure_head, signed_distance
from ..head import SyntheticHead, make_head
from ..realistic import RealisticRenderer
from ..views import View, draw_views
from .options import DataOptions
from .packing import pack_places, unpack_places
from .record import pack_record

# How far samples lie about the surface, as standard deviations in world units, and the share of each; the rest lies
# evenly in the cube of half-side EXTENT.
NEAR = ((0.004, 0.35), (0.016, 0.25), (0.06, 0.15))
_SAMPLES, _REALISTIC = 1001, 1002  # dice of the samples, and of who draws; no Part of chance.py has these numbers


def make_record(seed: int, number: int, options: DataOptions) -> dict[str, bytes]:
    """Head ``number`` of the data set ``seed``: name of each file to its content, always the same."""
    head = make_head(seed, number, share=options.strands)
    truth = measure_head(head, options.points)
    samples = sample_places(head, truth.points, options.samples)
    about = {
        "seed": seed,
        "number": number,
        "head_height": round(truth.head_height, 7),
        "attributes": head.attributes,
    }
    arrays = {
        "points": truth.points,
        "normals": truth.normals,
        "colors": truth.colors,
        "labels": truth.labels,
        "samples": samples,
        "distances": distances_at(head, truth, unpack_places(samples)),
        "landmarks": truth.landmarks,
    }
    return pack_record(about, arrays, _views(head, options))


def sample_places(head: SyntheticHead, surface: np.ndarray, count: int) -> np.ndarray:
    """(count, 3) int16, packed: places near points (N, 3) of the surface, as ``NEAR`` says, and all over the cube."""
    random = np.random.default_rng([head.seed, head.number, _SAMPLES])
    shares = [share for _, share in NEAR]
    spread = random.choice(len(NEAR) + 1, count, p=[*shares, 1 - sum(shares)])
    sigma = np.array([*(sigma for sigma, _ in NEAR), 0.0])[spread]
    about = surface[random.integers(len(surface), size=count)]
    places = about + sigma[:, None] * random.normal(size=(count, 3))
    anywhere = (spread == len(NEAR)) | (np.abs(places) > EXTENT).any(axis=1)
    places[anywhere] = random.uniform(-EXTENT, EXTENT, (int(anywhere.sum()), 3))
    return pack_places(places)


def distances_at(head: SyntheticHead, truth: GroundTruth, places: np.ndarray) -> np.ndarray:
    """(M, 2) float32 signed distance at places (M, 3): of all, and of the body without hair."""
    return np.stack([signed_distance(head, truth, places), head.body.signed_distance(places)], axis=1)


def _views(head: SyntheticHead, options: DataOptions) -> list[View]:
    """By Cycles for the share of heads that is to be realistic, else by the fast renderer."""
    lot = np.random.default_rng([head.seed, head.number, _REALISTIC]).random()
    draw = _cycles().draw_views if lot < options.realistic else draw_views
    return draw(head, options.photos, options.around, options.size)


@cache
def _cycles() -> RealisticRenderer:
    """One Blender for all heads of this process, which takes it along when it ends."""
    renderer = RealisticRenderer(threads=1)
    Finalize(None, renderer.close, exitpriority=0)  # workers run these, and no others, at their end
    return renderer
