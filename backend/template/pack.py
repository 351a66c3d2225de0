"""The CC0 head data pack: a base mesh, its morph targets and the pieces bound to it. The template fit starts here.

What the file holds and where it came from: ``data/README.md``. numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ..errors import ResourceError

PACK_PATH = Path(__file__).parent / "data" / "makehuman_head.npz"
WORLD_PER_DECIMETRE = 0.25232  # scale from pack units to PanoHead's world, fitted on PanoHead's four labelled portraits
HEAD_CENTRE = (0.0, 7.17888, 0.79643)  # the world's origin in pack units

_AGES = {"child": 0.0, "young": 1 / 3, "old": 1.0}
_THIRDS = {"min": 0.0, "average": 0.5, "max": 1.0}


class Piece(NamedTuple):
    """A separate little mesh that follows the head: hair, brows, lashes, eyes."""

    vertices: np.ndarray  # (N, 3) float32
    faces: np.ndarray  # (M, 3) int32
    uvs: np.ndarray  # (M, 3, 2) float32, one per corner


@dataclass(frozen=True, eq=False)
class Binding:
    """How a piece hangs on the head: each vertex is a weighted sum of three head vertices and a scaled offset."""

    vertices: np.ndarray  # (N, 3) int32, into the head's vertices
    weights: np.ndarray  # (N, 3) float32
    offsets: np.ndarray  # (N, 3) float32, decimetres at the reference size
    scale: np.ndarray  # (3, 3) float32, one row an axis: two head vertices and their reference distance (0: no scaling)
    faces: np.ndarray  # (M, 3) int32
    uvs: np.ndarray  # (M, 3, 2) float32


@dataclass(frozen=True, eq=False)
class HeadPack:
    """A head, neck and shoulders that can be morphed. Every array is read-only.

    Units: 1 = 10 cm. Axes: x to the person's left, y up, z towards the face.

    Args:
        base: (V, 3) float32 vertices of the neutral head, helper geometry and a few remote vertices included.
        faces: (F, 3) int32 triangles of all groups, outward.
        face_groups: (F,) int32 index into ``group_names``.
        group_names: "body", "helper-hair", "helper-l-eye"...
        uvs: (F, 3, 2) float32 texture coordinates, one per corner.
        targets: name to (vertex indices (n,), displacements (n, 3) float32).
        joints: name to the vertices whose mean is the joint.
        bindings: name ("hair/short01", "eye/high-poly"...) to how that piece hangs on the head.
    """

    base: np.ndarray
    faces: np.ndarray
    face_groups: np.ndarray
    group_names: tuple[str, ...]
    uvs: np.ndarray
    targets: Mapping[str, tuple[np.ndarray, np.ndarray]]
    joints: Mapping[str, np.ndarray]
    bindings: Mapping[str, Binding]

    def group(self, name: str) -> np.ndarray:
        """(n, 3) int32 triangles of one group. KeyError if there is no such group."""
        if name not in self.group_names:
            raise KeyError(f"no group {name!r}; there are {', '.join(self.group_names)}")
        return self.faces[self.face_groups == self.group_names.index(name)]

    def morph(self, weights: Mapping[str, float]) -> np.ndarray:
        """(V, 3) float32: the base plus the weighted targets. KeyError names a target that is not in the pack."""
        vertices = self.base.copy()
        for name, weight in weights.items():
            if name not in self.targets:
                raise KeyError(f"no morph target {name!r} in the head pack")
            indices, displacements = self.targets[name]
            vertices[indices] += np.float32(weight) * displacements
        return vertices

    def joint(self, name: str, vertices: np.ndarray) -> np.ndarray:
        """(3,) place of a joint on ``vertices`` (V, 3)."""
        return vertices[self.joints[name]].mean(axis=0)

    def piece(self, name: str, vertices: np.ndarray) -> Piece:
        """The piece ``name`` on a head with ``vertices`` (V, 3). KeyError if there is no such piece."""
        if name not in self.bindings:
            raise KeyError(f"no piece {name!r}; there are {', '.join(self.bindings)}")
        binding = self.bindings[name]
        size = np.ones(3, np.float32)
        for axis, (first, second, reference) in enumerate(binding.scale):
            if reference:
                size[axis] = abs(vertices[int(first), axis] - vertices[int(second), axis]) / reference
        anchors = np.einsum("nk,nkd->nd", binding.weights, vertices[binding.vertices])
        return Piece((anchors + binding.offsets * size).astype(np.float32), binding.faces, binding.uvs)


def person(
    ethnicity: Mapping[str, float], male: float, age: float, muscle: float = 0.5, weight: float = 0.5
) -> dict[str, float]:
    """Weights of the macro targets for a kind of person, to be handed to ``HeadPack.morph``.

    Args:
        ethnicity: shares of "african", "asian", "caucasian"; they are normalised to sum 1.
        male: 0 woman .. 1 man.
        age: 0 child, 1/3 young adult, 1 old.
        muscle: 0 .. 1, 0.5 the average.
        weight: 0 .. 1, 0.5 the average.
    """
    total = sum(ethnicity.values())
    ages, muscles, sizes = _blend(_AGES, age), _blend(_THIRDS, muscle), _blend(_THIRDS, weight)
    weights: dict[str, float] = {}
    for gender, by_gender in (("male", male), ("female", 1 - male)):
        for years, by_age in ages.items():
            share = by_gender * by_age
            for name, part in ethnicity.items():
                weights[f"macrodetails/{name}-{gender}-{years}"] = share * part / total
            for strength, by_muscle in muscles.items():
                for size, by_size in sizes.items():
                    if (strength, size) == ("average", "average"):
                        continue  # the ethnic targets already show the average body: the pack has no target for it
                    key = f"macrodetails/universal-{gender}-{years}-{strength}muscle-{size}weight"
                    weights[key] = share * by_muscle * by_size
    return {name: value for name, value in weights.items() if value}


def to_world(vertices: np.ndarray) -> np.ndarray:
    """Pack units (N, 3) to PanoHead's world."""
    return (vertices - np.asarray(HEAD_CENTRE)) * WORLD_PER_DECIMETRE


@lru_cache(maxsize=1)
def load_pack() -> HeadPack:
    """The pack that ships with Headstitch; read once a process (about 2 MB). ResourceError if the file is missing."""
    if not PACK_PATH.is_file():
        raise ResourceError(f"The head data file {PACK_PATH} is missing: install Headstitch again.")
    with np.load(PACK_PATH, allow_pickle=False) as archive:
        data = {key: archive[key] for key in archive.files}
    uvs = data["uv"].astype(np.float32)[data["faces_uv"]]
    for array in data.values():
        array.setflags(write=False)
    joint_ends = np.cumsum(data["joint_len"].astype(int))[:-1]
    return HeadPack(
        base=data["base_v"],
        faces=_frozen(data["faces"].astype(np.int32)),
        face_groups=_frozen(data["face_group"].astype(np.int32)),
        group_names=tuple(data["group_names"].tolist()),
        uvs=_frozen(uvs),
        targets=MappingProxyType(_targets(data)),
        joints=MappingProxyType(
            dict(
                zip(data["joint_names"].tolist(), np.split(data["joint_idx"].astype(np.int32), joint_ends), strict=True)
            )
        ),
        bindings=MappingProxyType({name: _binding(data, name) for name in data["p_names"].tolist()}),
    )


def _targets(data: Mapping[str, np.ndarray]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    indices = _frozen(data["t_idx"].astype(np.int32))
    displacements = _frozen(data["t_d"].astype(np.float32))
    ends = data["t_ptr"]
    return {
        name: (indices[ends[k] : ends[k + 1]], displacements[ends[k] : ends[k + 1]])
        for k, name in enumerate(data["t_names"].tolist())
    }


def _binding(data: Mapping[str, np.ndarray], name: str) -> Binding:
    prefix = "p_" + name.replace("/", "_").replace("-", "_") + "_"
    return Binding(
        vertices=_frozen(data[prefix + "bind"].astype(np.int32)),
        weights=_frozen(data[prefix + "w"].astype(np.float32)),
        offsets=_frozen(data[prefix + "off"].astype(np.float32)),
        scale=data[prefix + "scale"],
        faces=_frozen(data[prefix + "f"].astype(np.int32)),
        uvs=_frozen(data[prefix + "uv"].astype(np.float32)[data[prefix + "ft"]]),
    )


def _blend(stops: Mapping[str, float], value: float) -> dict[str, float]:
    """Linear weights of the named stops at ``value``; they sum to 1."""
    names, places = list(stops), list(stops.values())
    return {name: float(np.interp(value, places, np.eye(len(names))[k])) for k, name in enumerate(names)}


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
