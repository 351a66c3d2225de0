"""The body of a synthetic head: closed solids with eyeballs, teeth and tongue, and what each triangle of them is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache

import numpy as np
import open3d as o3d

from ..geometry import as_tensor, make_scene
from ..meshing.mesh import Mesh, vertex_normals
from ..template.morphable import load_morphable
from ..template.pack import load_pack
from ..template.solid import closed_body, skin, solid_topology
from .frame import to_world, turned
from .identity import Person, shape_of
from .vectors import smooth, unit

_MOUTH_OPENS = 0.10  # of the expression: from here on the mouth is hollow and shows teeth
_EYE_RINGS, _EYE_SECTORS = 40, 48
_CORNEA = 0.06  # how far the cornea rises over the eyeball, in its radii
_NEAR_INNER = 0.04  # world units beyond an inner solid's box where it cannot be nearest
IRIS_ANGLE = 0.46  # radians from the gaze to the iris' rim


class Label(IntEnum):
    """What a point of a head belongs to."""

    SKIN = 0
    HAIR = 1
    EYE = 2
    BROW = 3
    CLOTHES = 4
    MOUTH = 5  # teeth, tongue, and the dark between the lips


@dataclass(frozen=True, eq=False)
class Solid:
    """One part of the union: closed, or a thin sheet."""

    mesh: Mesh
    label: Label
    rest: np.ndarray  # (V, 3) float32; on the skin the place on the mean head, in an eye the direction from its centre
    thickness: float = 0.0  # of an open sheet, such as a row of teeth, to each side; 0: a closed surface


@dataclass(frozen=True, eq=False)
class Body:
    """All solids of a head without hair, and what was measured on it. World units; upright until ``in_world``."""

    vertices: np.ndarray  # (V, 3) float64, the data pack's vertices
    solids: tuple[Solid, ...]  # the first is the skin with its clothes
    normals: np.ndarray  # (n, 3) float32 of the first solid's vertices
    scalp: np.ndarray  # (n,) float32 of the first solid's vertices, 0 on the ears
    clothes: np.ndarray  # (n,) float32 in [0, 1] of the first solid's vertices
    landmarks: np.ndarray  # (478, 3) float64
    scenes: tuple[o3d.t.geometry.RaycastingScene, ...]  # one a solid

    def signed_distance(self, points: np.ndarray) -> np.ndarray:
        """(N,) float32 at points (N, 3): exact outside the union, negative inside."""
        query = as_tensor(np.asarray(points, np.float32))
        distance = self.scenes[0].compute_signed_distance(query).numpy()
        for solid, scene in zip(self.solids[1:], self.scenes[1:], strict=True):
            low, high = solid.mesh.vertices.min(axis=0) - _NEAR_INNER, solid.mesh.vertices.max(axis=0) + _NEAR_INNER
            close = np.flatnonzero(((points > low) & (points < high)).all(axis=1))
            if len(close):
                query = as_tensor(np.asarray(points[close], np.float32))
                if solid.thickness:
                    inner = scene.compute_distance(query).numpy() - np.float32(solid.thickness)
                else:
                    inner = scene.compute_signed_distance(query).numpy()
                distance[close] = np.minimum(distance[close], inner)
        return distance

    def in_world(self) -> Body:
        """An upright body in PanoHead's world."""
        solids = tuple(
            replace(solid, mesh=Mesh(to_world(solid.mesh.vertices), solid.mesh.faces)) for solid in self.solids
        )
        return replace(
            self,
            vertices=to_world(self.vertices),
            solids=solids,
            normals=turned(self.normals),
            landmarks=to_world(self.landmarks),
            scenes=_scenes(solids),
        )


def make_body(who: Person, gaze: tuple[float, float] = (0.0, 0.0), collar: float = 0.0) -> Body:
    """The solids of a person, upright.

    Args:
        who: the person.
        gaze: radians to the left of the person and upwards.
        collar: world units that the clothes reach higher or lower than a crew neck.
    """
    vertices = shape_of(who)
    skin_mesh = closed_body(vertices)
    rest, positions = skin().rest, skin_mesh.vertex.positions.numpy().astype(np.float64)
    faces = skin_mesh.triangle.indices.numpy().astype(np.int32)
    normals = vertex_normals(Mesh(positions, faces))
    clothes = clothes_mask(rest, collar)
    relief = 0.006 * clothes + 0.003 * smooth(0.25, 0.5, clothes) * smooth(0.95, 0.6, clothes)
    positions = (positions + relief[:, None] * normals).astype(np.float32)
    solids = [Solid(Mesh(positions, faces), Label.SKIN, rest)]
    topology = solid_topology()
    mouth, *others = topology.inner[:-2]
    if who.mouth_open < _MOUTH_OPENS:
        solids.append(_part(vertices, mouth, Label.MOUTH))
    else:
        pack = load_pack()
        for name, thickness in (("helper-upper-teeth", 0.002), ("helper-lower-teeth", 0.002), ("helper-tongue", 0.0)):
            solids.append(_part(vertices, pack.group(name), Label.MOUTH, thickness))
    solids += [_part(vertices, part, Label.SKIN) for part in others]
    for side in (1, 0):
        solids.append(_eyeball(vertices, topology.inner[-1 - side], gaze))
    return Body(
        vertices=vertices,
        solids=tuple(solids),
        normals=vertex_normals(solids[0].mesh),
        scalp=skin().scalp,
        clothes=clothes.astype(np.float32),
        landmarks=load_morphable().landmarks(vertices),
        scenes=_scenes(solids),
    )


def clothes_mask(rest: np.ndarray, collar: float = 0.0) -> np.ndarray:
    """(N,) in [0, 1] where clothes cover the body, for rest coordinates (N, 3); higher at the nape than in front."""
    line = -0.295 + collar - 0.28 * np.clip(rest[:, 2] + 0.12, -0.16, 0.16)
    return smooth(0.006, -0.006, rest[:, 1] - line)


def _scenes(solids: Iterable[Solid]) -> tuple[o3d.t.geometry.RaycastingScene, ...]:
    return tuple(make_scene(solid.mesh.vertices, solid.mesh.faces) for solid in solids)


def _part(vertices: np.ndarray, faces: np.ndarray, label: Label, thickness: float = 0.0) -> Solid:
    used, faces = np.unique(faces, return_inverse=True)
    mesh = Mesh(vertices[used].astype(np.float32), faces.reshape(-1, 3).astype(np.int32))
    return Solid(mesh, label, load_morphable().mean[used].astype(np.float32), thickness)


def _eyeball(vertices: np.ndarray, faces: np.ndarray, gaze: tuple[float, float]) -> Solid:
    """A ball with a cornea where the pack's coarse one is, its pole turned along the gaze."""
    points = vertices[np.unique(faces)]
    centre = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(axis=1), rcond=None)[0][:3]
    radius = np.linalg.norm(points - centre, axis=1).mean()
    ball, triangles = _ball()
    angle = np.arccos(np.clip(ball[:, 2], -1, 1))
    shape = ball * (1 + _CORNEA * smooth(IRIS_ANGLE * 1.1, 0.0, angle))[:, None]
    left, up = gaze
    forward = unit(np.array([np.tan(left) - 0.03 * np.sign(centre[0]), np.tan(up), 1.0]))
    right = unit(np.cross([0.0, 1.0, 0.0], forward))
    frame = np.stack([right, np.cross(forward, right), forward])
    mesh = Mesh((centre + radius * 0.985 * shape @ frame).astype(np.float32), triangles)
    return Solid(mesh, Label.EYE, ball.astype(np.float32))


@cache
def _ball() -> tuple[np.ndarray, np.ndarray]:
    """Unit directions (n, 3) and outward triangles (f, 3) of a ball whose pole is +z, finest about the pole."""
    rings = np.pi * (np.arange(1, _EYE_RINGS) / _EYE_RINGS) ** 1.4
    around = 2 * np.pi * np.arange(_EYE_SECTORS) / _EYE_SECTORS
    ring, turn = (grid.ravel() for grid in np.meshgrid(rings, around, indexing="ij"))
    ball = np.stack([np.sin(ring) * np.cos(turn), np.sin(ring) * np.sin(turn), np.cos(ring)], axis=1)
    points = np.concatenate([ball, [[0, 0, 1], [0, 0, -1]]])
    here = np.arange(_EYE_SECTORS)
    there = (here + 1) % _EYE_SECTORS
    triangles = [np.stack([np.full_like(here, len(ball)), here, there], axis=1)]
    for row in range(_EYE_RINGS - 2):
        a, b = row * _EYE_SECTORS, (row + 1) * _EYE_SECTORS
        triangles += [np.stack([a + here, b + here, b + there], 1), np.stack([a + here, b + there, a + there], 1)]
    last = (_EYE_RINGS - 2) * _EYE_SECTORS
    triangles.append(np.stack([np.full_like(here, len(ball) + 1), last + there, last + here], axis=1))
    return points, np.concatenate(triangles).astype(np.int32)
