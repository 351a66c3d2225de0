"""The fitted head as closed solids, so that inside and outside are well defined; their union is the template's shape.

The body mesh of the data pack is open at chest and arms and has deep pockets behind lips and eyelids. Here it is closed
with caps, the pockets are filled with plugs (convex hulls of the pockets' walls), and the eyeballs join the union.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import open3d as o3d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import ConvexHull

from ..geometry import legacy_mesh, tensor_mesh
from .morphable import MorphableHead, load_morphable
from .pack import load_pack
from .regions import scalp_mask

OPENNESS_PATH = Path(__file__).parent / "data" / "openness.npz"
_EAR_MOTION = (0.145, 0.165)  # decimetres that the ear morphs move the ear itself, from its root on
_EAR_TOP, _EAR_BACK = 0.064, -0.135  # world height and depth on the mean head where the ear ends
_PLUG_MIN_VERTICES = 40  # a pocket of fewer vertices is a fold of the skin, not a pocket


@dataclass(frozen=True, eq=False)
class SolidTopology:
    """Triangles over the model's vertices plus one added vertex in the middle of each cap."""

    caps: tuple[np.ndarray, ...]  # the boundary loop (n,) of each cap, vertex indices
    body: np.ndarray  # (F, 3) the body with its caps; closed
    inner: tuple[np.ndarray, ...]  # closed solids inside or behind the skin: plugs and eyeballs, each (f, 3)


@dataclass(frozen=True, eq=False)
class Skin:
    """Attributes of the subdivided body's vertices, the same for every head."""

    rest: np.ndarray  # (n, 3) float32, rest coordinates: the place on the mean head
    scalp: np.ndarray  # (n,) float32 in [0, 1], where hair grows
    openness: np.ndarray  # (n,) float32 in [0, 1], share of the sky that the mean head leaves in sight


@dataclass(frozen=True, eq=False)
class Solids:
    """The union's parts in the world, and where each point of the body's skin came from."""

    body: o3d.t.geometry.TriangleMesh  # subdivided once
    inner: tuple[o3d.t.geometry.TriangleMesh, ...]
    skin: Skin  # what is known of each vertex of ``body``


@cache
def solid_topology() -> SolidTopology:
    """The topology is the same for every head; it is derived once from the mean head."""
    model, pack = load_morphable(), load_pack()
    body = pack.group("body")
    loops = tuple(_boundary_loops(body))
    triangles = [body]
    for number, loop in enumerate(loops):
        middle = len(model.mean) + number
        # The loop runs with the body's own edges, so the cap has to run against them.
        triangles.append(np.stack([np.roll(loop, -1), loop, np.full(len(loop), middle)], axis=1))
    plugs = [_hull(model.mean, pocket) for pocket in _pockets(body, model)]
    eyes = [pack.group("helper-l-eye"), pack.group("helper-r-eye")]
    return SolidTopology(loops, np.concatenate(triangles), tuple(plugs + eyes))


def make_solids(vertices: np.ndarray) -> Solids:
    """The solids of a fitted head with model vertices (V, 3)."""
    inner = tuple(_as_mesh(vertices, faces) for faces in solid_topology().inner)
    return Solids(closed_body(vertices), inner, skin())


def closed_body(vertices: np.ndarray) -> o3d.t.geometry.TriangleMesh:
    """The body with its caps, subdivided once, for model vertices (V, 3)."""
    topology = solid_topology()
    caps = [vertices[loop].mean(axis=0, keepdims=True) for loop in topology.caps]
    return _subdivided(np.concatenate([vertices, *caps]), topology.body)


@cache
def skin() -> Skin:
    """Attributes of the skin, derived from the mean head; scripts/bake_template_openness.py bakes its openness."""
    model, pack, topology = load_morphable(), load_pack(), solid_topology()
    ear = np.zeros(len(model.mean) + len(topology.caps))
    for name, (moved, displacements) in pack.targets.items():
        if name.startswith("ears/"):
            ear[moved] = np.maximum(ear[moved], np.linalg.norm(displacements, axis=1))
    ear = ((ear - _EAR_MOTION[0]) / (_EAR_MOTION[1] - _EAR_MOTION[0])).clip(0, 1)
    # The morphs also pull the skin above and behind the ear, where hair grows.
    place = np.concatenate([model.mean, np.zeros((len(topology.caps), 3))])
    ear *= ((_EAR_TOP - place[:, 1]) / 0.012).clip(0, 1) * ((place[:, 2] - _EAR_BACK) / 0.012).clip(0, 1)
    # Attributes ride through the subdivision as if they were positions.
    rest = closed_body(model.mean).vertex.positions.numpy().astype(np.float32)
    marked = _subdivided(np.stack([ear, ear, ear], axis=1), topology.body).vertex.positions.numpy()
    with np.load(OPENNESS_PATH, allow_pickle=False) as data:
        openness = data["openness"]
    return Skin(rest, (scalp_mask(rest) * (1 - marked[:, 0])).astype(np.float32), openness.astype(np.float32) / 255)


def _as_mesh(vertices: np.ndarray, faces: np.ndarray) -> o3d.t.geometry.TriangleMesh:
    used, faces = np.unique(faces, return_inverse=True)
    return tensor_mesh(vertices[used], faces.reshape(-1, 3))


def _subdivided(vertices: np.ndarray, faces: np.ndarray) -> o3d.t.geometry.TriangleMesh:
    """One round of Loop subdivision: the base mesh's facets would show."""
    used, faces = np.unique(faces, return_inverse=True)
    mesh = legacy_mesh(vertices[used], faces.reshape(-1, 3))
    return o3d.t.geometry.TriangleMesh.from_legacy(mesh.subdivide_loop(1))


def _boundary_loops(faces: np.ndarray) -> list[np.ndarray]:
    """Closed loops of the directed edges that have no twin, each (n,) vertex indices in the edges' direction."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    have = {tuple(edge) for edge in edges}
    follow = {a: b for a, b in have if (b, a) not in have}
    loops = []
    while follow:
        start, current = follow.popitem()
        loop = [start]
        while current != start:
            loop.append(current)
            current = follow.pop(current)
        loops.append(np.array(loop))
    return sorted(loops, key=lambda loop: int(loop.min()))


def _pockets(faces: np.ndarray, model: MorphableHead) -> list[np.ndarray]:
    """Vertices of each connected part of the body that cannot be seen from outside and lies inside the head."""
    hidden = np.setdiff1d(np.unique(faces), model.outer)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges[np.isin(edges, hidden).all(axis=1)]
    size = len(model.mean)
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    label = label[hidden]
    parts = [hidden[label == part] for part in np.unique(label)]
    chin = model.landmarks(model.mean)[152, 1]
    return [part for part in parts if len(part) >= _PLUG_MIN_VERTICES and model.mean[part, 1].mean() > chin]


def _hull(vertices: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Outward triangles (f, 3) of the convex hull of ``vertices[members]``."""
    hull = ConvexHull(vertices[members])
    faces = members[hull.simplices]
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inward = (normal * hull.equations[:, :3]).sum(axis=1) < 0
    faces[inward] = faces[inward][:, ::-1]
    return faces
