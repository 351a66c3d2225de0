"""From a lattice of densities to a clean mesh: marching cubes, one component, smoothing, decimation, a report."""

from __future__ import annotations

import fast_simplification
import mcubes
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ..errors import SurfaceError
from ..field import HeadField
from ..geometry import as_tensor, legacy_mesh, make_scene
from ..options import Options
from .lattice import Lattice, sample_lattice
from .mesh import Mesh, SurfaceReport, unique_edges

_KEEP_AREA = 0.02  # a piece of less than this share of the largest one's area is a floater
_TAUBIN_SHRINK, _TAUBIN_GROW = 0.5, -0.53  # Taubin 1995; the pair passes low frequencies unchanged


def extract_surface(field: HeadField, options: Options) -> tuple[Mesh, SurfaceReport]:
    """The field's surface as a mesh in world units, and what it is like.

    Raises:
        SurfaceError: the field holds no surface.
    """
    lattice = sample_lattice(field, options.resolution)
    raw = march(lattice, field.level, closed_neck=options.neck == "closed")
    kept, removed = keep_head(raw)
    fixed = _at_floor(kept, lattice) if options.neck == "open" else None
    smooth = smoothen(kept, options.smoothing, fixed)
    mesh = split_nonmanifold(decimate(smooth, options.faces))
    return mesh, report_surface(mesh, removed)


def march(lattice: Lattice, level: float, *, closed_neck: bool) -> Mesh:
    """Marching cubes on the lattice. All sides of the box are closed; the floor only when ``closed_neck``.

    Raises:
        SurfaceError: nothing in the lattice reaches the level.
    """
    floor = 1 if closed_neck else 0
    values = np.pad(lattice.values, ((1, 1), (floor, 1), (1, 1)))
    # The padding mirrors the nodes beside it about the level, which puts the closing face half a cell outside them:
    # with plain zeros it would wander with the density.
    for axis, (first, last) in enumerate(((1, 1), (floor, 1), (1, 1))):
        sides = np.moveaxis(values, axis, 0)
        if first:
            sides[0] = np.minimum(2 * level - sides[1], level * (1 - 1e-3))
        if last:
            sides[-1] = np.minimum(2 * level - sides[-2], level * (1 - 1e-3))
    vertices, faces = mcubes.marching_cubes(values, level)
    if len(faces) == 0:
        raise SurfaceError("The head came out empty: nothing is dense enough to be a surface. Try another photo.")
    world = lattice.to_world(vertices - np.array([1, floor, 1]))
    mesh = Mesh(world.astype(np.float32), faces.astype(np.int32))
    # Density falls outwards, which PyMCubes takes for the inside: its triangles face the denser side.
    return mesh if signed_volume(mesh) > 0 else Mesh(mesh.vertices, mesh.faces[:, ::-1].copy())


def signed_volume(mesh: Mesh) -> float:
    """Cubic world units, positive when faces point outwards; open meshes are closed by a cone to their mean."""
    corners = mesh.vertices.astype(np.float64)[mesh.faces] - mesh.vertices.mean(axis=0, dtype=np.float64)
    return float(np.einsum("fc,fc->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6)


def keep_head(mesh: Mesh) -> tuple[Mesh, int]:
    """The mesh without floaters (small pieces) and inner shells (pieces inside another), and how many went."""
    label, areas = _components(mesh)
    order = np.argsort(-areas)
    largest = order[0]
    keep = [largest]
    kept = None
    for piece in order[1:]:
        if areas[piece] < _KEEP_AREA * areas[largest]:
            break
        if kept is None:
            kept = make_scene(mesh.vertices, mesh.faces[np.isin(label, keep)])
        first = mesh.vertices[mesh.faces[np.argmax(label == piece), 0]]
        if kept.compute_occupancy(as_tensor(first[None])).numpy()[0] == 0:
            keep.append(piece)
            kept = None  # the next piece may lie inside this one
    return _select(mesh, np.isin(label, keep)), len(areas) - len(keep)


def smoothen(mesh: Mesh, rounds: int, fixed: np.ndarray | None = None) -> Mesh:
    """Taubin smoothing, which does not shrink; vertices where ``fixed`` (V,) is True stay where they are."""
    if rounds == 0:
        return mesh
    legacy = legacy_mesh(mesh.vertices, mesh.faces).filter_smooth_taubin(rounds, _TAUBIN_SHRINK, _TAUBIN_GROW)
    vertices = np.asarray(legacy.vertices).astype(np.float32)
    if fixed is not None:
        vertices[fixed] = mesh.vertices[fixed]
    return Mesh(vertices, mesh.faces)


def decimate(mesh: Mesh, faces: int) -> Mesh:
    """Quadric decimation to ``faces`` triangles; 0 or more than there are leaves the mesh as it is.

    fast-simplification, several times faster, brings large meshes to one and a half times the wanted number; Open3D
    does the rest, where its better placement of vertices shows.
    """
    if faces == 0 or len(mesh.faces) <= faces:
        return mesh
    vertices, triangles = mesh.vertices, mesh.faces
    if len(triangles) > 3 * faces:
        coarse = fast_simplification.simplify(vertices, triangles, target_count=3 * faces // 2, agg=2)
        vertices, triangles = coarse[0], coarse[1]
    legacy = legacy_mesh(vertices, triangles).simplify_quadric_decimation(faces)
    legacy.remove_degenerate_triangles().remove_duplicated_triangles()
    faces_left = np.asarray(legacy.triangles).astype(np.int32)
    return _compact(np.asarray(legacy.vertices).astype(np.float32), faces_left)


def split_nonmanifold(mesh: Mesh) -> Mesh:
    """Gives every fan of triangles around a vertex a vertex of its own, so that each edge joins at most two triangles.

    A mesh that is manifold comes back as it is. UV unwrapping needs this.
    """
    faces = mesh.faces
    count = len(faces)
    corner = np.arange(3 * count).reshape(count, 3)
    # Half-edges with the corners at their two ends, sorted so that an edge's half-edges stand together.
    start, end = corner.ravel(), np.roll(corner, -1, axis=1).ravel()
    ends = np.sort(np.stack([faces.ravel()[start], faces.ravel()[end]], axis=1), axis=1)
    key = ends[:, 0].astype(np.int64) * len(mesh.vertices) + ends[:, 1]
    order = np.argsort(key, kind="stable")
    _, first, uses = np.unique(key[order], return_index=True, return_counts=True)
    pairs = first[uses == 2]
    one, two = order[pairs], order[pairs + 1]
    same_way = faces.ravel()[start[one]] == faces.ravel()[start[two]]
    one, two = one[~same_way], two[~same_way]  # triangles that face against each other do not belong together
    joined = np.concatenate([np.stack([start[one], end[two]], axis=1), np.stack([end[one], start[two]], axis=1)])
    graph = coo_array((np.ones(len(joined), np.int8), (joined[:, 0], joined[:, 1])), shape=(3 * count, 3 * count))
    fans, label = connected_components(graph, directed=False)
    used = np.unique(faces)
    if fans == len(used) == len(mesh.vertices):
        return mesh
    source = np.empty(fans, np.int64)
    source[label] = faces.ravel()
    return Mesh(mesh.vertices[source], label.reshape(count, 3).astype(np.int32))


def report_surface(mesh: Mesh, removed_components: int) -> SurfaceReport:
    """Counts components, holes and the rest on a mesh."""
    unique, uses = unique_edges(mesh.faces)
    border = unique[uses == 1]
    _, areas_label = np.unique(border, return_inverse=True)
    loops = 0
    if len(border):
        ends = areas_label.reshape(-1, 2)
        size = int(ends.max()) + 1
        graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(size, size))
        loops = int(connected_components(graph, directed=False)[0])
    return SurfaceReport(
        vertices=len(mesh.vertices),
        faces=len(mesh.faces),
        components=len(_components(mesh)[1]),
        holes=loops,
        watertight=bool((uses == 2).all()),
        removed_components=removed_components,
        euler_number=len(mesh.vertices) - len(unique) + len(mesh.faces),
    )


def _components(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Label (F,) of each triangle's connected piece, and each piece's area (pieces,)."""
    size = len(mesh.vertices)
    ones = np.ones(2 * len(mesh.faces), np.int8)
    ends = np.concatenate([mesh.faces[:, :2], mesh.faces[:, 1:]])
    graph = coo_array((ones, (ends[:, 0], ends[:, 1])), shape=(size, size))
    _, of_vertex = connected_components(graph, directed=False)
    _, label = np.unique(of_vertex[mesh.faces[:, 0]], return_inverse=True)
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    return label, np.bincount(label, weights=area)


def _at_floor(mesh: Mesh, lattice: Lattice) -> np.ndarray:
    """True (V,) for vertices on the box's floor, where an open neck ends."""
    return mesh.vertices[:, 1] < lattice.origin[1] + 1e-3 * lattice.spacing


def _select(mesh: Mesh, faces: np.ndarray) -> Mesh:
    return _compact(mesh.vertices, mesh.faces[faces])


def _compact(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Without the vertices that no triangle uses."""
    used = np.zeros(len(vertices), bool)
    used[faces] = True
    return Mesh(vertices[used], (np.cumsum(used) - 1)[faces].astype(np.int32))
