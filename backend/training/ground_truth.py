"""What is true of a synthetic head: its surface as coloured, labelled points, its body, its hair's hull, its size."""

from __future__ import annotations

from dataclasses import dataclass

import mcubes
import numpy as np
from scipy.ndimage import binary_closing, binary_fill_holes, gaussian_filter, label
from scipy.spatial import KDTree

from ..geometry import as_tensor, make_scene
from ..meshing.mesh import Mesh, vertex_normals
from .body import Label, Solid
from .chance import Part, dice
from .colors import mask_at, paint
from .frame import to_upright
from .hair.strands import Strands
from .head import SyntheticHead
from .vectors import unit

VOXEL = 0.0045  # world units (1.9 mm)
EXTENT = 0.5  # half the side of the cube that the ground truth speaks of: the tri-grid's
_CHIN = 152  # landmark
_MARGIN = 4  # voxels around the hair
_DENSE = 0.10  # voxel lengths of strand in a voxel, blurred, that make it hair
_SKIN_DEPTH = 0.005  # world units that the hull reaches into the body, so that no crack is left between them
_LEAST = 60  # voxels; smaller pieces of hair are no volume
_FACE = 2.5  # times as many points on the face as elsewhere


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """The truth of one head, in world units. Colours are albedo, sRGB-encoded in [0, 1].

    Args:
        points: (N, 3) float32 within ``EXTENT``, on what can be touched: hair's hull over skin, no inner walls.
        normals: (N, 3) float32 outward.
        colors: (N, 3) float32.
        labels: (N,) uint8, of ``Label``.
        body: all solids without hair in one mesh; not welded to each other.
        hair: hull of the hair and beard, closed, or None where there is none.
        landmarks: (478, 3) float32.
        head_height: from the chin to the top of the skull.
    """

    points: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    labels: np.ndarray
    body: Mesh
    hair: Mesh | None
    landmarks: np.ndarray
    head_height: float


def measure_head(head: SyntheticHead, count: int = 40_000) -> GroundTruth:
    """The ground truth of a head, ``count`` points of its surface among it. The same head gives the same points."""
    hair = hair_hull(head)
    random = dice(head.seed, head.number, Part.POINTS)
    points, normals, colors, labels = _surface(head, hair, count, random)
    vertices, faces, offset = [], [], 0
    for solid in head.body.solids:
        vertices.append(solid.mesh.vertices)
        faces.append(solid.mesh.faces + offset)
        offset += len(solid.mesh.vertices)
    return GroundTruth(
        points=points.astype(np.float32),
        normals=normals.astype(np.float32),
        colors=colors.astype(np.float32),
        labels=labels.astype(np.uint8),
        body=Mesh(np.concatenate(vertices), np.concatenate(faces).astype(np.int32)),
        hair=hair,
        landmarks=head.landmarks.astype(np.float32),
        head_height=float(head.body.solids[0].mesh.vertices[:, 1].max() - head.landmarks[_CHIN, 1]),
    )


def signed_distance(head: SyntheticHead, truth: GroundTruth, points: np.ndarray) -> np.ndarray:
    """(N,) float32 signed distance of body and hair together at points (N, 3): negative inside, exact outside."""
    distance = head.body.signed_distance(points)
    if truth.hair is not None:
        scene = make_scene(truth.hair.vertices, truth.hair.faces)
        hair = scene.compute_signed_distance(as_tensor(np.asarray(points, np.float32))).numpy()
        distance = np.minimum(distance, hair)
    return distance


def hair_hull(head: SyntheticHead) -> Mesh | None:
    """Closed hull of the voxelised hair and beard; None where no piece of it is as large as a few voxels."""
    kinds = _voluminous(head)
    if not kinds:
        return None
    low = np.min([kind.points.min(axis=(0, 1)) for kind in kinds], axis=0)
    high = np.max([kind.points.max(axis=(0, 1)) for kind in kinds], axis=0)
    low, high = np.maximum(low, -EXTENT) - _MARGIN * VOXEL, np.minimum(high, EXTENT) + _MARGIN * VOXEL
    size = np.ceil((high - low) / VOXEL).astype(int) + 1
    mass = np.zeros(int(size.prod()), np.float32)
    for kind in kinds:
        _add_length(kind, low, size, mass)
    solid = gaussian_filter(mass.reshape(size), 0.9) > _DENSE
    solid = np.asarray(binary_closing(solid, iterations=2), bool) | solid
    nodes = np.stack(np.meshgrid(*[low[k] + VOXEL * np.arange(size[k]) for k in range(3)], indexing="ij"), axis=-1)
    depth, _ = head.collider.measure(to_upright(nodes))
    solid = np.asarray(binary_fill_holes(solid | (depth < 0)), bool) & (depth > -_SKIN_DEPTH) & (solid | (depth > 0))
    pieces = np.zeros(solid.shape, np.int32)
    label(solid, output=pieces)
    large = np.bincount(pieces.ravel()) >= _LEAST
    large[0] = False
    solid = large[pieces]
    within = np.zeros_like(solid)
    within[2:-2, 2:-2, 2:-2] = True  # long hair runs on beyond the cube: its hull ends there with a lid
    solid &= within
    if not solid.any():
        return None
    field = gaussian_filter(solid.astype(np.float32), 0.7)
    vertices, faces = mcubes.marching_cubes(field, 0.4)
    # The field is large inside: its triangles look inward as they come.
    mesh = Mesh((low + VOXEL * vertices).astype(np.float32), faces.astype(np.int32))
    return mesh if _volume(mesh) > 0 else Mesh(mesh.vertices, np.ascontiguousarray(mesh.faces[:, ::-1]))


def _voluminous(head: SyntheticHead) -> list[Strands]:
    """The kinds of strands that have a volume: hair, and a beard that is more than stubble."""
    beard = [head.beard] if head.colors.beard != "stubble" else []
    return [kind for kind in (head.hair, *beard) if len(kind.points)]


def _add_length(kind: Strands, low: np.ndarray, size: np.ndarray, mass: np.ndarray) -> None:
    """Add the length of the strands, in voxels, to each voxel that they pass."""
    start, step = kind.points[:, :-1], np.diff(kind.points, axis=1)
    length = np.linalg.norm(step, axis=2) / VOXEL
    parts = max(1, int(np.ceil(np.percentile(length, 95))))
    for k in range(parts):
        at = ((start + step * np.float32((k + 0.5) / parts) - low) / VOXEL + 0.5).astype(np.int64).reshape(-1, 3)
        inside = ((at > 0) & (at < size - 1)).all(axis=1)
        cell = (at[inside, 0] * size[1] + at[inside, 1]) * size[2] + at[inside, 2]
        mass += np.bincount(cell, length.ravel()[inside] / parts, len(mass))


def _surface(
    head: SyntheticHead, hair: Mesh | None, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    draws = [_on_solid(head, number, solid, count, random) for number, solid in enumerate(head.body.solids)]
    if hair is not None:
        draws.append(_on_hair(head, hair, count, random))
    points, normals, colors, labels, weight = (np.concatenate([draw[k] for draw in draws]) for k in range(5))
    # What lies within another part is no surface; neither is what hair covers.
    inside = (np.abs(points) > EXTENT).any(axis=1)
    inside |= head.body.signed_distance((points + 0.0008 * normals).astype(np.float32)) < -0.0002
    if hair is not None:
        scene = make_scene(hair.vertices, hair.faces)
        covered = scene.compute_occupancy(as_tensor(points.astype(np.float32))).numpy() > 0.5
        inside |= covered & (labels != Label.HAIR)
    keep = np.flatnonzero(~inside)
    chosen = random.choice(keep, count, p=weight[keep] / weight[keep].sum())
    return points[chosen], normals[chosen], colors[chosen], labels[chosen]


def _on_solid(
    head: SyntheticHead, number: int, solid: Solid, count: int, random: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Points of one solid with normals, colours, labels, and how much area each stands for."""
    tries = count if number == 0 else count // 20
    clothes = head.body.clothes if number == 0 else np.zeros(len(solid.rest), np.float32)
    normals = vertex_normals(solid.mesh)
    points, area, corners, share = _spread(solid.mesh, tries, random)
    rest, normal, cover = ((values[corners] * share).sum(axis=1) for values in (solid.rest, normals, clothes[:, None]))
    color = paint(head.colors, solid.label, rest, cover[:, 0])
    labels = np.full(tries, solid.label)
    if solid.label == Label.SKIN:
        labels[cover[:, 0] > 0.5] = Label.CLOTHES
        if len(head.brows.points):
            brow = mask_at("brow", rest) > 0.5
            labels[brow], color[brow] = Label.BROW, (0.7 * head.colors.brow + 0.3 * color[brow])
        face = (rest[:, 2] > 0.06) & (rest[:, 1] > -0.24)
        area = area * np.where(face, _FACE, 1.0)
    return points, unit(normal), color, labels, area


def _on_hair(head: SyntheticHead, hair: Mesh, count: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    points, area, corners, share = _spread(hair, count, random)
    kinds = _voluminous(head)
    spots = np.concatenate([kind.points[:, ::3].reshape(-1, 3) for kind in kinds])
    shades = np.concatenate([np.repeat(kind.colors, len(range(0, kind.points.shape[1], 3)), axis=0) for kind in kinds])
    near = KDTree(spots).query(points, k=4)[1]
    normal = unit((vertex_normals(hair)[corners] * share).sum(axis=1))
    return points, normal, shades[near].mean(axis=1), np.full(count, Label.HAIR), area


def _spread(
    mesh: Mesh, count: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points evenly over a mesh: places (n, 3), area of each, corners (n, 3) and their shares (n, 3, 1)."""
    corners = mesh.vertices[mesh.faces].astype(np.float64)
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    pick = random.choice(len(area), count, p=area / area.sum())
    u, v = np.sqrt(random.random(count)), random.random(count)
    share = np.stack([1 - u, u * (1 - v), u * v], axis=1)[..., None]
    return (corners[pick] * share).sum(axis=1), np.full(count, area.sum() / count), mesh.faces[pick], share


def _volume(mesh: Mesh) -> float:
    a, b, c = (mesh.vertices[mesh.faces[:, corner]].astype(np.float64) for corner in range(3))
    return float(np.einsum("fc,fc->", a, np.cross(b, c))) / 6
