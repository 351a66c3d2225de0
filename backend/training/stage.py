"""A head made ready for pictures, and lit: what no camera changes is worked out here once. Below ``draw.py``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import open3d as o3d

from ..geometry import as_tensor, make_scene
from ..meshing.mesh import vertex_normals
from .body import Label
from .colors import paint
from .glasses import GLASSES
from .head import SyntheticHead
from .lights import Lamp, Light, direction, plain_light
from .shadows import LightVeil
from .vectors import unit

_NODES = 6  # stretches of a strand between the places where its light is worked out
_SKY = 10  # directions that stand for the sky
_SKY_MAP, _LAMP_MAP = 72, 160  # columns of their maps of hair
_WRAP = np.array([0.30, 0.16, 0.10], np.float32)  # how far light goes round in skin; red the farthest
_RAYS = 4  # towards a wide lamp
GAMMA = 2.2


@dataclass(frozen=True, eq=False)
class Hairs:
    """All strands of a head as one chain of nodes. Colours linear."""

    points: np.ndarray  # (N, 3) float32 nodes, strand after strand
    starts: np.ndarray  # (M,) int32 the nodes at which a segment begins
    strand: np.ndarray  # (N,) int32 whose node it is
    tint: np.ndarray  # (S, 3) float32
    radius: np.ndarray  # (S,) float32
    label: np.ndarray  # (S,) uint8
    stray: np.ndarray  # (S, 2) float32 what strands differ by in their gloss: strength, and radians that it is shifted
    lit: np.ndarray  # (N,) float32 where among the lit places a node lies
    places: np.ndarray  # (L, 3) float32 where light is worked out
    mass: np.ndarray  # (L,) float32 what of the strands stands for each place: length x width


@dataclass(frozen=True, eq=False)
class Stage:
    """A head without light. Its skin is finer than the body's, so that paint is about a millimetre fine."""

    head: SyntheticHead
    scene: o3d.t.geometry.RaycastingScene
    faces: np.ndarray  # (F, 3) int32
    label: np.ndarray  # (F,) uint8
    edges: np.ndarray  # (E, 2) int32 of the coarse mesh; each has a vertex in its middle
    coarse: np.ndarray  # (v, 3) float32 vertices where light is worked out, the first of the fine ones
    coarse_normals: np.ndarray  # (v, 3) float32
    fixed: np.ndarray  # (V, 11) float32 normal 3, rest 3, clothes 1, linear albedo 3, gloss 1
    shine: float  # of the skin
    hairs: Hairs

    def fine(self, values: np.ndarray) -> np.ndarray:
        """(V, C) of values (v, C) at the coarse vertices."""
        return at_middles_too(values, self.edges)

    @cached_property
    def open_sky(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """((K, 3) directions, (v, K) what each gives a white surface, (L, K) what reaches the hair), for a sky of 1."""
        ways = _sphere(_SKY)
        body, hair = (
            np.zeros((len(self.coarse), _SKY), np.float32),
            np.zeros((len(self.hairs.places), _SKY), np.float32),
        )
        for number, way in enumerate(ways):
            veil = self.veil(way, _SKY_MAP, 1.5)
            facing = np.clip((self.coarse_normals @ way + 0.2) / 1.2, 0, 1)
            free = np.zeros(len(facing), np.float32)
            asked = facing > 0
            free[asked] = self.sees(way[None], asked)
            body[:, number] = facing * free * np.exp(-0.9 * veil.over_body(self.coarse_normals))
            cover, passes = veil.over_hair()
            hair[:, number] = np.exp(-0.32 * cover) * passes
        even = np.clip((ways @ ways.T + 0.2) / 1.2, 0, 1).sum(axis=1).mean()
        return ways, body / even, hair / _SKY

    def veil(self, towards: np.ndarray, size: int, blur: float) -> LightVeil:
        """The hair and body as a far light sees them."""
        return LightVeil(towards, self.hairs.places, self.hairs.mass, self.coarse, size, blur)

    def sees(self, ways: np.ndarray, which: np.ndarray) -> np.ndarray:
        """(n,) share of directions (k, 3) that are free of the body at the coarse vertices ``which``."""
        from_there = (self.coarse + 0.004 * self.coarse_normals)[which]
        rays = np.concatenate(
            [np.repeat(from_there, len(ways), axis=0), np.tile(ways, (len(from_there), 1))], axis=1
        ).astype(np.float32)
        hidden = self.scene.test_occlusions(as_tensor(rays)).numpy()
        return 1 - hidden.reshape(-1, len(ways)).mean(axis=1, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class LitHead:
    """A head with the light that falls on it. Linear."""

    stage: Stage
    light: Light
    shown: np.ndarray  # (V, 14 + lamps) float32 ``Stage.fixed``, light 3, how much of each lamp is seen
    hair_sky: np.ndarray  # (L, 3) float32
    hair_lamps: np.ndarray  # (L, lamps) float32 share of each lamp that arrives


def stage_head(head: SyntheticHead) -> Stage:
    """Join all solids of a head, paint them, and chain its strands."""
    meshes = [(solid.mesh, solid.rest, int(solid.label)) for solid in head.body.solids]
    if head.glasses is not None:
        meshes.append((head.glasses.frame, np.zeros_like(head.glasses.frame.vertices), GLASSES))
    offsets = np.cumsum([0, *(len(mesh.vertices) for mesh, _, _ in meshes)])
    coarse = np.concatenate([mesh.vertices for mesh, _, _ in meshes]).astype(np.float32)
    normals = np.concatenate([vertex_normals(mesh) for mesh, _, _ in meshes]).astype(np.float32)
    rest = np.concatenate([rest for _, rest, _ in meshes]).astype(np.float32)
    faces = np.concatenate([mesh.faces + offset for (mesh, _, _), offset in zip(meshes, offsets, strict=False)])
    kind = np.repeat([label for _, _, label in meshes], [len(mesh.faces) for mesh, _, _ in meshes]).astype(np.uint8)
    clothes = np.zeros(len(coarse), np.float32)
    clothes[: len(head.body.clothes)] = head.body.clothes
    edges, triangles = halved(faces, len(coarse))
    fixed = at_middles_too(np.column_stack([normals, rest, clothes]), edges)
    vertices, label = at_middles_too(coarse, edges), np.repeat(kind, 4)
    vertex_label = np.zeros(len(vertices), np.uint8)
    vertex_label[triangles] = label[:, None]
    albedo = np.zeros((len(vertices), 3), np.float32)
    for each in (Label.SKIN, Label.MOUTH):  # eyes are painted pixel by pixel
        where = vertex_label == each
        albedo[where] = linear(paint(head.colors, each, fixed[where, 3:6], fixed[where, 6]))
    if head.glasses is not None:
        albedo[vertex_label == GLASSES] = linear(head.glasses.color)
    random = np.random.default_rng([head.seed, head.number, 97])
    pores = np.exp(random.normal(0, 0.45, len(vertices)))
    albedo *= np.exp(random.normal(0, 0.035, (len(vertices), 1)))
    return Stage(
        head=head,
        scene=make_scene(vertices, triangles),
        faces=triangles,
        label=label,
        edges=edges,
        coarse=coarse,
        coarse_normals=normals,
        fixed=np.column_stack([fixed, albedo, pores]).astype(np.float32),
        shine=float(random.uniform(0.45, 1.5)),
        hairs=_hairs(head, random),
    )


def light_head(head: SyntheticHead | Stage, light: Light | None = None) -> LitHead:
    """Light a head, by ``plain_light`` where none is named."""
    stage = head if isinstance(head, Stage) else stage_head(head)
    light = plain_light() if light is None else light
    ways, body_sky, hair_sky = stage.open_sky
    sky = light.sky_at(ways)
    shine = body_sky @ sky
    reached = np.zeros((len(stage.coarse), len(light.lamps)), np.float32)
    through = np.zeros((len(stage.hairs.places), len(light.lamps)), np.float32)
    pale = np.clip(stage.hairs.tint.mean(), 0, 0.5) if len(stage.hairs.tint) else 0.0
    for number, lamp in enumerate(light.lamps):
        veil = stage.veil(lamp.towards, _LAMP_MAP, 0.8 + 4 * min(lamp.width, 1.0))
        facing = stage.coarse_normals @ lamp.towards.astype(np.float32)
        asked = facing > -_WRAP[0]
        reached[asked, number] = stage.sees(_towards(lamp), asked)
        reached[:, number] *= np.exp(-1.1 * veil.over_body(stage.coarse_normals))
        wrap = np.clip((facing[:, None] + _WRAP) / (1 + _WRAP), 0, 1) ** 1.15
        shine += reached[:, number : number + 1] * wrap * lamp.color.astype(np.float32)
        cover, passes = veil.over_hair()
        through[:, number] = np.exp(-(0.55 - 0.5 * pale) * cover) * passes
    return LitHead(
        stage=stage,
        light=light,
        shown=np.concatenate([stage.fixed, stage.fine(np.column_stack([shine, reached]))], axis=1).astype(np.float32),
        hair_sky=(hair_sky @ sky).astype(np.float32),
        hair_lamps=through,
    )


def linear(color: np.ndarray) -> np.ndarray:
    """Encoded colours in [0, 1] as linear ones."""
    return np.clip(color, 0, 1) ** GAMMA


def _hairs(head: SyntheticHead, random: np.random.Generator) -> Hairs:
    points, starts, strand, lit, places, mass = [], [], [], [], [], []
    nodes = strands = lights = 0
    for kind in head.strands:
        count, each = kind.points.shape[:2]
        step = -(-(each - 1) // _NODES)
        at = np.minimum(np.arange(-(-(each - 1) // step) + 1) * step, each - 1)
        number = np.arange(count * each, dtype=np.int32).reshape(count, each)
        points.append(kind.points.reshape(-1, 3))
        starts.append((nodes + number[:, :-1]).ravel())
        strand.append(np.repeat(np.arange(strands, strands + count, dtype=np.int32), each))
        along = np.interp(np.arange(each), at, np.arange(len(at)))
        lit.append((lights + np.arange(count)[:, None] * len(at) + along).ravel())
        places.append(kind.points[:, at].reshape(-1, 3))
        length = np.linalg.norm(np.diff(kind.points[:, at], axis=1), axis=2)
        half = np.zeros((count, len(at)), np.float32)
        half[:, 1:] += 0.5 * length
        half[:, :-1] += 0.5 * length
        mass.append((half * (2 * kind.radius[:, None])).ravel())
        nodes, strands, lights = nodes + count * each, strands + count, lights + count * len(at)
    return Hairs(
        points=_joined(points, (0, 3), np.float32),
        starts=_joined(starts, (0,), np.int32),
        strand=_joined(strand, (0,), np.int32),
        tint=_joined([linear(kind.colors) for kind in head.strands], (0, 3), np.float32),
        radius=_joined([kind.radius for kind in head.strands], (0,), np.float32),
        label=_joined([np.full(len(kind.points), kind.label) for kind in head.strands], (0,), np.uint8),
        stray=np.column_stack([np.exp(random.normal(0, 0.4, strands)), random.normal(0, 0.07, strands)]).astype(
            np.float32
        ),
        lit=_joined(lit, (0,), np.float32),
        places=_joined(places, (0, 3), np.float32),
        mass=_joined(mass, (0,), np.float32),
    )


def _joined(parts: list[np.ndarray], empty: tuple[int, ...], dtype: type) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(empty, dtype)


def halved(faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """((E, 2) edges, (4 F, 3) triangles over ``count`` vertices and then the middles of the edges), four a triangle."""
    corners = faces.astype(np.int64)
    pairs = np.sort(corners[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    keys, which = np.unique(pairs[:, 0] * count + pairs[:, 1], return_inverse=True)
    a, b, c = corners.T
    ab, bc, ca = (count + which.reshape(-1, 3)).T
    parts = [np.stack(part, axis=1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return np.stack(np.divmod(keys, count), axis=1).astype(np.int32), np.stack(parts, 1).reshape(-1, 3).astype(np.int32)


def at_middles_too(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(V + E, C) float32 values (V, C) of vertices, and means of both ends of edges (E, 2)."""
    return np.concatenate([values, 0.5 * (values[edges[:, 0]] + values[edges[:, 1]])]).astype(np.float32)


def _sphere(count: int) -> np.ndarray:
    """(count, 3) float32 directions, evenly spread (Fibonacci's spiral)."""
    height = 1 - 2 * (np.arange(count) + 0.5) / count
    return np.stack(
        [direction(yaw, pitch) for yaw, pitch in zip(np.arange(count) * 2.39996, np.arcsin(height), strict=True)]
    ).astype(np.float32)


def _towards(lamp: Lamp) -> np.ndarray:
    """(k, 3) float32 directions over a lamp's width."""
    if lamp.width < 0.1:
        return lamp.towards[None].astype(np.float32)
    right = unit(np.cross([0.0, 1.0, 0.02], lamp.towards))
    up = np.cross(lamp.towards, right)
    turn = (np.arange(_RAYS) + 0.5) * 2 * np.pi / _RAYS
    off = 0.6 * np.tan(min(lamp.width, 1.2) / 2)
    return unit(lamp.towards + off * (np.cos(turn)[:, None] * right + np.sin(turn)[:, None] * up)).astype(np.float32)
