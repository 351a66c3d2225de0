"""The hair's thickness on the fitted head: as much as the photo's outline wants. Above ``solid``.

Hair has one thickness on the top of the head and one at its sides. From the hairline it rises to them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import open3d as o3d
from scipy.sparse import coo_array, diags

from ..camera import CENTIMETRE
from ..geometry import as_tensor, make_scene, tensor_mesh
from ..portrait.crop import known_above_chin
from ..portrait.portrait import Portrait
from .morphable import load_morphable
from .solid import Solids, closed_body, skin

_SIZE = 128  # pixels of the outlines that are compared
_THICKEST = 3.0 * CENTIMETRE
_STEPS = tuple(step * CENTIMETRE for step in (1.0, 0.5, 0.25))  # of the search, from coarse to fine
_TOP = (0.10, 0.24)  # world heights on the mean head between which sides become top
_ROUNDS = 60  # of smoothing, by which the hair rises softly from the hairline
_EDGE = 0.35  # of the smoothed scalp, where the rise begins


def with_hair(body: o3d.t.geometry.TriangleMesh, thickness: np.ndarray) -> o3d.t.geometry.TriangleMesh:
    """A closed body whose scalp is raised by ``thickness`` (2,), world units: of the top and of the sides."""
    if not np.any(thickness):
        return body
    return tensor_mesh(_raised(*_surface(body), thickness), body.triangle.indices.numpy())


def hairy(bald: Solids, thickness: np.ndarray) -> Solids:
    """The solids of a head with hair of ``thickness`` (2,), world units."""
    return replace(bald, body=with_hair(bald.body, thickness))


def measure_thickness(body: o3d.t.geometry.TriangleMesh, portrait: Portrait) -> np.ndarray:
    """(2,) float64 thickness of the hair, on top and at the sides, that fits the matte best, 0 to 3 cm in world units.

    Where two fit alike the thinner is taken; a bald head stays bald. Zero where the portrait has no landmarks.

    Args:
        body: of the fitted head, closed.
        portrait: its matte is compared above the chin, where the crop shows the photo.
    """
    thickness = np.zeros(2)
    if not np.isfinite(portrait.landmarks).all():
        return thickness
    surface, faces = _surface(body), body.triangle.indices.numpy()
    every = len(portrait.matte) // _SIZE
    known = known_above_chin(portrait, _SIZE)
    person = portrait.matte[every // 2 :: every, every // 2 :: every][known] > 0.5
    rays = as_tensor(portrait.camera.rays(_SIZE)[known].astype(np.float32))

    def misfit(trial: np.ndarray) -> int:
        scene = make_scene(_raised(*surface, trial), faces)
        return np.count_nonzero(np.isfinite(scene.cast_rays(rays)["t_hit"].numpy()) != person)

    least, better = misfit(thickness), thickness
    for step in _STEPS:
        for which in (0, 1):  # one after the other: they meet only at the temples
            tries = (
                np.arange(step, _THICKEST + step / 2, step) if step == _STEPS[0] else thickness[which] + [-step, step]
            )
            for value in tries[(tries >= 0) & (tries <= _THICKEST)]:
                trial = thickness.copy()
                trial[which] = value
                if (now := misfit(trial)) < least:
                    least, better = now, trial
            thickness = better
    return thickness


def _surface(body: o3d.t.geometry.TriangleMesh) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n, 3) and their unit normals (n, 3)."""
    body = body.clone()
    return body.vertex.positions.numpy(), body.compute_vertex_normals().vertex.normals.numpy()


def _raised(vertices: np.ndarray, normals: np.ndarray, thickness: np.ndarray) -> np.ndarray:
    rise, top = _rise()
    height = rise * (top * thickness[0] + (1 - top) * thickness[1])
    return (vertices + height[:, None] * normals).astype(np.float32)


@cache
def _rise() -> tuple[np.ndarray, np.ndarray]:
    """Of each vertex of the body: how far the hair has risen there and how much it belongs to the top, in [0, 1]."""
    faces = closed_body(load_morphable().mean).triangle.indices.numpy()
    count = len(skin().rest)
    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    link = coo_array((np.ones(len(sides)), (sides[:, 0], sides[:, 1])), shape=(count, count)).tocsr()
    link = ((link + link.T) > 0).astype(np.float64)
    mean = diags(1 / np.maximum(link.sum(axis=1), 1)) @ link
    scalp = (skin().scalp > 0.5).astype(np.float64)
    for _ in range(_ROUNDS):
        scalp = mean @ scalp
    rise = np.clip((scalp - _EDGE) / (0.95 - _EDGE), 0, 1) * (skin().scalp > 0.02)
    top = np.clip((skin().rest[:, 1] - _TOP[0]) / (_TOP[1] - _TOP[0]), 0, 1)
    return rise * rise * (3 - 2 * rise), top * top * (3 - 2 * top)
