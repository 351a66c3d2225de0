"""The albedo: the photo where it sees the surface, the field's own colour elsewhere, matched and blended."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import dijkstra
from scipy.sparse.linalg import cg

from ..camera import Camera
from ..field import HeadField
from ..geometry import as_tensor, make_scene
from ..portrait.crop import warp
from ..portrait.portrait import Portrait
from .atlas import Texels, fill_gaps, rasterise
from .mesh import Mesh, TexturedMesh, unique_edges, vertex_normals

_GRAZING, _FACING = 0.25, 0.55  # cosines between which the photo's weight rises from 0 to 1
_MATTE_SURE = 0.9  # the matte must be at least this, also _MATTE_RIM away, or the background would bleed in
_MATTE_RIM = 0.008  # crop widths
_FEATHER = 0.035  # world units (1.5 cm) over which the photo fades in from its border
_FOLD = 0.02  # world units; an unseen gap amid what the photo sees is a fold if it is narrower than twice this ...
_NEAR = 0.03  # ... and what hides it is no farther in front than this
_OVERHUNG_BARE, _OVERHUNG_FADED = 0.015, 0.06  # the fade-in beside what something far in front hides: its edge may err
_CUT_BARE, _CUT_FADED = 0.02, 0.11  # world units above the cut through the neck over which collars fade out
_REACH = 0.15  # world units over which the photo's colour pulls the field's along
_ALIKE = 0.25  # distance in sRGB beyond which photo and field show different things
_GRAIN = 0.002  # world units; detail finer than this is grain
_GRAIN_TILE = 512  # pixels; noise repeats unseen
_GRAIN_SHARE, _GRAIN_LIMIT = 0.7, 0.02  # of the photo's, whose light adds to it; sRGB, noisier photos are not imitated
_SMOOTH = 0.008  # world units; the scale below which the photo's detail is not carried over
_POINTS_AT_ONCE = 1 << 19
_LARGEST_CROP = 2048  # pixels; more than a texture of the default size can hold


@dataclass(frozen=True, eq=False)
class Bake:
    """The textured mesh and how much of the photo each of its corners got."""

    textured: TexturedMesh
    photo_weight: np.ndarray  # (F, 3) float32 in [0, 1]


def bake_texture(
    mesh: Mesh, corner_uvs: np.ndarray, field: HeadField, portrait: Portrait | None, size: int, seed: int = 0
) -> Bake:
    """Bake a (size, size) albedo for ``mesh`` with per-corner UVs (F, 3, 2).

    The photo's weight at a vertex is 0 where the photo cannot be trusted (turned away, hidden, outside the matte) and
    rises over ``_FEATHER`` along the surface. The field's colour is shifted by a smooth correction (a screened Poisson
    problem on the mesh) that follows the difference to the photo where the photo rules and dies out over ``_REACH``.
    Where the photo gives way, grain of its strength, drawn from ``seed``, takes its place: smooth skin beside a photo
    looks like plastic. Without a portrait the albedo is the field's colour alone, and every weight 0.
    """
    texels = rasterise(mesh.faces, corner_uvs, size)
    if portrait is None:
        seen = np.zeros(len(mesh.vertices), np.float32)
        color = _field_color(field, texels.gather(mesh.vertices))
    else:
        seen, color = _with_photo(mesh, texels, field, portrait, size, seed)
    texture = np.zeros((size, size, 3), np.float32)
    texture[texels.row, texels.column] = color.clip(0, 1)
    covered = np.zeros((size, size), bool)
    covered[texels.row, texels.column] = True
    albedo = np.round(fill_gaps(texture, covered) * 255).astype(np.uint8)
    return Bake(TexturedMesh(mesh, corner_uvs, albedo), seen[mesh.faces].astype(np.float32))


def _with_photo(
    mesh: Mesh, texels: Texels, field: HeadField, portrait: Portrait, size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The photo's weight (V,) at the vertices and the blended colour (N, 3) of the texels."""
    graph = _edge_graph(mesh)
    seen = _photo_weight(mesh, graph, portrait)
    crop_side = int(np.clip(round(portrait.crop.side), portrait.image.shape[0], _LARGEST_CROP))
    image = warp(portrait.photo, portrait.crop, crop_side)
    base = _field_color(field, mesh.vertices)
    smooth_photo = _photo_color(image, portrait.camera, mesh.vertices, blurred=True)
    correction = _correction(mesh, graph, seen, smooth_photo - base)

    gathered = texels.gather(np.concatenate([mesh.vertices, correction, seen[:, None]], axis=1))
    points, weight = gathered[:, :3], gathered[:, 6]
    color = np.zeros((len(points), 3), np.float32)
    part = np.nonzero(weight < 1)[0]
    color[part] = _field_color(field, points[part]) + gathered[part, 3:6]
    part = np.nonzero(weight > 0)[0]
    photo = _photo_color(image, portrait.camera, points[part])
    color[part] += weight[part, None] * (photo - color[part])
    strength = _grain_strength(image, portrait.camera, points[weight > 0.99])
    grain = _grain(size, seed)[texels.row, texels.column]
    color += (strength * (1 - weight) * grain)[:, None]
    return seen, color


def _grain_strength(image: np.ndarray, camera: Camera, points: np.ndarray) -> float:
    """Standard deviation, sRGB in [0, 1], of the photo's fine detail at world points (N, 3); robust against edges."""
    if len(points) == 0:
        return 0.0
    grey = image.mean(axis=2, dtype=np.float32) / 255
    detail = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), _pixels(_GRAIN, camera, image.shape[0])))
    deviation = 1.4826 * float(np.median(_look_up(detail, camera.project(points)[:, :2])))
    return min(_GRAIN_SHARE * deviation, _GRAIN_LIMIT)


def _grain(size: int, seed: int) -> np.ndarray:
    """(size, size) float32 noise of deviation 1, as coarse as the detail that photos have at a texel."""
    tile = np.random.default_rng(seed).standard_normal((_GRAIN_TILE, _GRAIN_TILE), dtype=np.float32)
    tile = cv2.GaussianBlur(tile, (0, 0), 1.0)
    copies = -(-size // _GRAIN_TILE)
    return np.tile(tile / tile.std(), (copies, copies))[:size, :size]


def _photo_weight(mesh: Mesh, graph: csr_array, portrait: Portrait) -> np.ndarray:
    """(V,) float32 in [0, 1]: how far each vertex takes its colour from the photo."""
    camera = portrait.camera
    to_camera = camera.position - mesh.vertices
    to_camera /= np.linalg.norm(to_camera, axis=1, keepdims=True)
    cosine = (vertex_normals(mesh) * to_camera).sum(axis=1)
    size = portrait.matte.shape[0]
    rim = 2 * round(_MATTE_RIM * size) + 1
    sure = cv2.erode(portrait.matte, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (rim, rim)))
    # Also around each vertex: a triangle that reaches out of the matte would take the background in.
    matte = _least_around(mesh, _look_up(sure, camera.project(mesh.vertices)[:, :2]))
    cover = _cover(mesh, to_camera)
    trusted = (cosine > _GRAZING) & np.isinf(cover) & (matte > _MATTE_SURE)

    # Folds amid what the photo sees (nostrils, between the lips, under the lids) look best with what it shows there.
    overhung = np.isfinite(cover) & (cover > _NEAR)
    folds = _closing(graph, trusted & (cosine > _FACING), _FOLD) & ~trusted & ~overhung & (matte > _MATTE_SURE)
    trusted |= folds
    feather = _rise(graph, ~trusted, 0.0, _FEATHER) * _rise(graph, overhung, _OVERHUNG_BARE, _OVERHUNG_FADED)
    facing = np.where(folds, 1.0, _smooth_step((cosine - _GRAZING) / (_FACING - _GRAZING)))
    above_cut = (mesh.vertices[:, 1] - mesh.vertices[:, 1].min() - _CUT_BARE) / (_CUT_FADED - _CUT_BARE)
    weight = feather * facing * _smooth_step(above_cut) * trusted
    return weight.astype(np.float32)


def _cover(mesh: Mesh, to_camera: np.ndarray) -> np.ndarray:
    """(V,) distance to what stands between vertex and camera, or before a neighbour; infinite where nothing does."""
    scene = make_scene(mesh.vertices, mesh.faces)
    start = mesh.vertices + 2e-3 * to_camera  # a start on the surface would hit the surface itself
    rays = np.concatenate([start, to_camera], axis=1).astype(np.float32)
    cover = scene.cast_rays(as_tensor(rays))["t_hit"].numpy()
    return _least_around(mesh, cover)


def _least_around(mesh: Mesh, values: np.ndarray) -> np.ndarray:
    """(V,) the least of ``values`` (V,) over each vertex and its neighbours."""
    least = values.copy()
    for corner in range(3):
        np.minimum.at(least, mesh.faces[:, corner], values[mesh.faces].min(axis=1))
    return least


def _rise(graph: csr_array, border: np.ndarray, start: float, end: float) -> np.ndarray:
    """(V,) 0 up to ``start`` world units along the surface from the vertices in ``border``, 1 from ``end`` on."""
    if not border.any():
        return np.ones(len(border))
    way = dijkstra(graph, directed=False, indices=np.nonzero(border)[0], min_only=True, limit=end)
    return _smooth_step((way.clip(max=end) - start) / (end - start))


def _closing(graph: csr_array, inside: np.ndarray, reach: float) -> np.ndarray:
    """(V,) ``inside`` closed along the surface: with the gaps narrower than twice ``reach`` world units filled."""
    grown = _rise(graph, inside, 0.0, reach) < 1
    return _rise(graph, ~grown, 0.0, reach) >= 1


def _correction(mesh: Mesh, graph: csr_array, weight: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """(V, 3): follows ``difference`` (V, 3) where the photo rules, runs on and fades to 0 over ``_REACH``."""
    area = _vertex_areas(mesh)
    # Laplacian with edges weighted by 1 (regular triangles): its unit is that of an integral of squared gradients.
    stiffness = graph.copy()
    stiffness.data[:] = 1.0 / np.sqrt(3.0)
    stiffness = diags_array(stiffness.sum(axis=1)) - stiffness
    # A large difference is another thing (hair over skin, a beard), not another light: it is not carried on.
    alike = np.exp(-((np.linalg.norm(difference, axis=1) / _ALIKE) ** 2))
    data = area * weight * alike / _SMOOTH**2
    system = csr_array(stiffness + diags_array(area / _REACH**2 + data))
    jacobi = diags_array(1 / system.diagonal())
    right = data[:, None] * difference
    solved = [cg(system, right[:, channel], rtol=1e-3, maxiter=500, M=jacobi)[0] for channel in range(3)]
    return np.stack(solved, axis=1).astype(np.float32)


def _vertex_areas(mesh: Mesh) -> np.ndarray:
    """(V,) a third of the area of the triangles around each vertex, square world units."""
    corners = mesh.vertices[mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 6
    return np.bincount(mesh.faces.ravel(), np.repeat(area, 3), len(mesh.vertices))


def _edge_graph(mesh: Mesh) -> csr_array:
    """Symmetric (V, V) graph of the edges with their lengths."""
    edges, _ = unique_edges(mesh.faces)
    length = np.linalg.norm(mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]], axis=1).clip(min=1e-9)
    ends = np.concatenate([edges, edges[:, ::-1]])
    size = len(mesh.vertices)
    return csr_array(coo_array((np.tile(length.astype(np.float64), 2), (ends[:, 0], ends[:, 1])), shape=(size, size)))


def _photo_color(image: np.ndarray, camera: Camera, points: np.ndarray, blurred: bool = False) -> np.ndarray:
    """(N, 3) float32 in [0, 1] from the crop ``image`` (S, S, 3) uint8; ``blurred``: means of ``_SMOOTH``'s size."""
    if blurred:
        image = cv2.GaussianBlur(image, (0, 0), _pixels(_SMOOTH / 2, camera, image.shape[0]))
    return _look_up(image, camera.project(points)[:, :2], cv2.INTER_CUBIC).clip(0, 255) / np.float32(255)


def _pixels(length: float, camera: Camera, side: int) -> float:
    """A length in world units at the head's centre in pixels of a crop of ``side`` pixels; at least 0.3."""
    return max(0.3, length * float(camera.intrinsics[0, 0]) / float(np.linalg.norm(camera.position)) * side)


def _look_up(image: np.ndarray, where: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """Values (N,) or (N, C) float32 of ``image`` (S, S) or (S, S, C) at (N, 2) crop widths; the rim's outside of it."""
    pixels = (where * image.shape[0] - 0.5).astype(np.float32)
    columns = 4096  # cv2.remap wants pictures of fewer than 32768 pixels a side
    rows = -(-len(pixels) // columns)
    padded = np.zeros((rows * columns, 2), np.float32)
    padded[: len(pixels)] = pixels
    maps = padded.reshape(rows, columns, 2)
    result = []
    for start in range(0, rows, 8192):
        part = maps[start : start + 8192]
        result.append(cv2.remap(image, part[..., 0], part[..., 1], interpolation, borderMode=cv2.BORDER_REPLICATE))
    values = np.concatenate(result) if result else np.zeros((0, columns, *image.shape[2:]))
    return values.reshape(rows * columns, *image.shape[2:])[: len(pixels)].astype(np.float32)


def _field_color(field: HeadField, points: np.ndarray) -> np.ndarray:
    """(N, 3) float32 of the field at world points (N, 3), asked in batches."""
    batches = torch.from_numpy(np.ascontiguousarray(points, np.float32)).split(_POINTS_AT_ONCE)
    colors = [field.color(batch.to(field.device)).cpu() for batch in batches]
    return torch.cat(colors).numpy() if colors else np.zeros((0, 3), np.float32)


def _smooth_step(t: np.ndarray) -> np.ndarray:
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
