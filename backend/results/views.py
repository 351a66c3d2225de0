"""Pictures of a mesh from any camera, by ray casting on the CPU: for previews, the quality report and turntables.

Needs no GPU, no window and no OpenGL. One ``Viewer`` builds the scene once and renders many cameras.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from ..camera import RADIUS, Camera
from ..errors import ResultsError
from ..geometry import as_tensor, make_scene
from ..meshing.mesh import Mesh, TexturedMesh, vertex_normals

Look = Literal["albedo", "lit", "clay", "normals"]
"""albedo: the texture as it is; lit: the texture under soft light; clay: no texture, soft light; normals: the smooth
world normals as colours, (n + 1) / 2."""

BACKGROUND = (236, 236, 238)
BAND = 1 << 20  # rays that are cast at once: what bounds the memory of a large picture
PROBE = 1024  # rays along each side of the picture that tells how far the mesh is
GUTTER_LEVELS = 2  # how often the albedo may be halved before its charts bleed into each other

# Lights as directions towards them in the camera's frame (x right, y down, z forward), so every view is lit alike.
KEY = np.array([-0.45, -0.55, -0.70], np.float32) / np.float32(np.linalg.norm([0.45, 0.55, 0.70]))
FILL = np.array([0.75, 0.05, -0.66], np.float32) / np.float32(np.linalg.norm([0.75, 0.05, 0.66]))
CLAY = np.array([0.80, 0.76, 0.72], np.float32)  # linear reflectance


@dataclass(frozen=True, eq=False)
class View:
    """One picture of a mesh."""

    image: np.ndarray  # (S, S, 3) uint8 sRGB, on the background
    mask: np.ndarray  # (S, S) float32 in [0, 1], the part of the pixel that the mesh covers
    depth: np.ndarray  # (S, S) float32, world units along the view axis, the nearest in the pixel; inf beside the mesh


@dataclass(frozen=True, eq=False)
class _Hits:
    """What the rays of one picture met. Only the rays around the mesh are cast: ``window`` says which."""

    camera: Camera
    size: int  # of the picture in rays
    window: tuple[slice, slice]  # rows, columns
    hit: np.ndarray  # (h, w) bool, within the window
    depth: np.ndarray  # (h, w) float32
    face: np.ndarray  # (N,) int64, of the rays that hit
    weights: np.ndarray  # (N, 3) float32, barycentric


class Viewer:
    """Renders one mesh from many cameras.

    Args:
        head: the mesh; without a texture (a plain ``Mesh``) only the looks clay and normals work.

    Raises:
        ResultsError: the mesh has no faces.
    """

    def __init__(self, head: TexturedMesh | Mesh) -> None:
        self.mesh = head.mesh if isinstance(head, TexturedMesh) else head
        self._textured = head if isinstance(head, TexturedMesh) else None
        if len(self.mesh.faces) == 0:
            raise ResultsError("The mesh has no faces, so there is nothing to see; try a higher --resolution.")
        self._vertices = np.ascontiguousarray(self.mesh.vertices, np.float32)
        self._normals = vertex_normals(self.mesh)
        self._levels = [] if self._textured is None else [np.ascontiguousarray(self._textured.albedo)]
        self._texels = 0.0 if self._textured is None else texels_per_unit(self._textured)
        self._scene = make_scene(self._vertices, self.mesh.faces)

    def render(
        self,
        camera: Camera,
        size: int = 512,
        look: Look = "lit",
        background: tuple[int, int, int] = BACKGROUND,
        supersample: int = 2,
    ) -> View:
        """A picture of ``size`` x ``size`` pixels, each the mean of ``supersample`` x ``supersample`` rays.

        Raises:
            ResultsError: a textured look is asked of a mesh without texture.
        """
        return self.render_looks(camera, [look], size, background, supersample)[0]

    def render_looks(
        self,
        camera: Camera,
        looks: Sequence[Look],
        size: int = 512,
        background: tuple[int, int, int] = BACKGROUND,
        supersample: int = 2,
    ) -> list[View]:
        """One ``View`` for each look, from rays that are cast once.

        A large picture is made in bands of rows, so that its rays need little memory at a time.
        """
        side = size * supersample
        probe = self._cast(camera, min(side, PROBE))
        level = self._choose_level(probe, side)
        mask, depth = np.zeros((size, size), np.float32), np.full((size, size), np.inf, np.float32)
        pictures = [np.empty((size, size, 3), np.uint8) for _ in looks]
        step = size if side <= PROBE else max(1, BAND // (side * supersample))
        for top in range(0, size, step):
            rows = slice(top, min(top + step, size))
            fine = slice(rows.start * supersample, rows.stop * supersample)
            hits = probe if side <= PROBE else self._cast(camera, side, fine)
            window = (slice(hits.window[0].start - fine.start, hits.window[0].stop - fine.start), hits.window[1])
            shape = (rows.stop - rows.start, supersample, size, supersample)
            covered = np.zeros((fine.stop - fine.start, side), np.float32)
            covered[window] = hits.hit
            mask[rows] = covered.reshape(shape).mean((1, 3))
            covered.fill(np.inf)
            covered[window] = hits.depth
            depth[rows] = covered.reshape(shape).min((1, 3))
            for picture, look in zip(pictures, looks, strict=True):
                band = np.empty((*covered.shape, 3), np.uint8)
                band[:] = background
                band[window][hits.hit] = self._color(hits, look, level)
                if supersample > 1:
                    band = cv2.resize(band, (size, shape[0]), interpolation=cv2.INTER_AREA)
                picture[rows] = band
        return [View(picture, mask, depth) for picture in pictures]

    def visible_points(self, camera: Camera, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What a camera sees, one ray a pixel: hit (S, S) bool, smooth world normals (S, S, 3) and world points
        (S, S, 3) float32, zero where nothing is hit.
        """
        hits = self._cast(camera, size)
        hit = np.zeros((size, size), bool)
        hit[hits.window] = hits.hit
        normals, points = np.zeros((2, size, size, 3), np.float32)
        normals[hit] = self._interpolate(self._normals, hits)
        points[hit] = self._interpolate(self._vertices, hits, unit=False)
        return hit, normals, points

    def _cast(self, camera: Camera, size: int, band: slice | None = None) -> _Hits:
        """The rays of a picture, or of a band of its rows."""
        rows, columns = self._window(camera, size)
        if band is not None:
            start = min(max(rows.start, band.start), band.stop)
            rows = slice(start, max(start, min(rows.stop, band.stop)))
        inverse = np.linalg.inv(camera.intrinsics)
        row, column = (
            (np.arange(rows.start, rows.stop) + 0.5) / size,
            (np.arange(columns.start, columns.stop) + 0.5) / size,
        )
        # A direction whose z in the camera is 1 makes the ray's length the depth along the view axis.
        across, down = np.meshgrid(column, row)
        pixels = np.stack([across, down, np.ones_like(across)], axis=-1) @ inverse.T
        rays = np.empty((len(row), len(column), 6), np.float32)
        rays[..., :3] = camera.position
        rays[..., 3:] = pixels @ camera.cam2world[:3, :3].T
        answer = self._scene.cast_rays(as_tensor(rays))
        depth = answer["t_hit"].numpy()
        hit = np.isfinite(depth)
        second = answer["primitive_uvs"].numpy()[hit]
        weights = np.column_stack([1 - second.sum(1), second])
        return _Hits(
            camera, size, (rows, columns), hit, depth, answer["primitive_ids"].numpy()[hit].astype(np.int64), weights
        )

    def _window(self, camera: Camera, size: int) -> tuple[slice, slice]:
        """The rows and columns of the picture that can see the mesh."""
        depth = self._vertices @ camera.world2cam[2, :3] + camera.world2cam[2, 3]
        if depth.min() <= 1e-6:  # part of it is beside or behind the camera: its projection bounds nothing
            return slice(0, size), slice(0, size)
        seen = camera.project(self._vertices)
        low = np.clip(np.floor(seen[:, :2].min(0) * size).astype(int), 0, size)
        high = np.clip(np.ceil(seen[:, :2].max(0) * size).astype(int), 0, size)
        return slice(low[1], max(low[1], high[1])), slice(low[0], max(low[0], high[0]))

    def _interpolate(self, of_vertices: np.ndarray, hits: _Hits, unit: bool = True) -> np.ndarray:
        """(N, 3) float32 between the vertices; ``unit`` makes it unit length again."""
        corners = self.mesh.faces[hits.face]
        value = of_vertices[corners[:, 0]] * hits.weights[:, :1]
        value += of_vertices[corners[:, 1]] * hits.weights[:, 1:2]
        value += of_vertices[corners[:, 2]] * hits.weights[:, 2:]
        if unit:
            value /= np.maximum(np.sqrt(np.einsum("ij,ij->i", value, value)), 1e-12)[:, None]
        return value

    def _color(self, hits: _Hits, look: Look, level: int) -> np.ndarray:
        """(N, 3) uint8 sRGB of the rays that hit."""
        if look == "albedo":
            return self._texture(hits, level)
        normals = self._interpolate(self._normals, hits)
        if look == "normals":
            return ((normals + 1) * 127.5 + 0.5).astype(np.uint8)
        key, fill, sky = self._light(hits, normals)
        if look == "clay":
            light = 0.10 + 0.14 * sky + 0.62 * key + 0.14 * fill
            return (np.clip(light[:, None] * CLAY, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)
        light = 0.72 + 0.05 * sky + 0.24 * key + 0.05 * fill  # soft: photos bring their own light
        return np.clip(self._texture(hits, level) * light[:, None] + 0.5, 0, 255).astype(np.uint8)

    def _light(self, hits: _Hits, normals: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How much each point turns to the key light (wrapped), the fill light and the sky, each (N,) in [0, 1]."""
        turn = hits.camera.cam2world[:3, :3].astype(np.float32)
        view = _dot(normals, turn[:, 2])
        # Seen from within (through an open neck) the surface shows its other side.
        normals = np.where((view > 0.2)[:, None], -normals, normals)
        key = np.clip((_dot(normals, turn @ KEY) + 0.25) / 1.25, 0, 1)
        return key, np.clip(_dot(normals, turn @ FILL), 0, 1), normals[:, 1] * 0.5 + 0.5

    def _texture(self, hits: _Hits, level: int) -> np.ndarray:
        """(N, 3) uint8 of the albedo at the hits, bilinear, from the albedo halved ``level`` times."""
        if self._textured is None:
            raise ResultsError("This mesh has no texture; choose the look clay.")
        corners = self._textured.corner_uvs[hits.face]
        uvs = np.einsum("ijk,ij->ik", corners, hits.weights)
        return sample(self._level(level), uvs)

    def _choose_level(self, probe: _Hits, side: int) -> int:
        """How often the albedo is to be halved to suit the scale of a picture of ``side`` rays."""
        if not probe.hit.any():
            return 0
        # Rays along one world unit.
        rays = side * float(probe.camera.intrinsics[0, 0]) / float(np.median(probe.depth[probe.hit]))
        return int(np.clip(np.round(np.log2(max(self._texels / rays, 1e-6))), 0, GUTTER_LEVELS))

    def _level(self, level: int) -> np.ndarray:
        while len(self._levels) <= level:
            height, width = self._levels[-1].shape[:2]
            half = (max(1, width // 2), max(1, height // 2))
            self._levels.append(cv2.resize(self._levels[-1], half, interpolation=cv2.INTER_AREA))
        return self._levels[level]


def _dot(vectors: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """(N,) of (N, 3) and (3,). A matrix product may round a row otherwise when others stand beside it."""
    return vectors[:, 0] * direction[0] + vectors[:, 1] * direction[1] + vectors[:, 2] * direction[2]


def sample(albedo: np.ndarray, uvs: np.ndarray) -> np.ndarray:
    """The texture (H, W, C) uint8 at ``uvs`` (N, 2), origin at the bottom left corner; bilinear, clamped: (N, C)."""
    height, width = albedo.shape[:2]
    if len(uvs) == 0:
        return np.zeros((0, albedo.shape[2]), np.uint8)
    count, columns = len(uvs), 4096  # OpenCV takes pictures, not lists, and none wider or higher than 32767
    rows = -(-count // columns)
    column, row = np.zeros((2, rows * columns), np.float32)
    column[:count] = uvs[:, 0] * width - 0.5
    row[:count] = (1 - uvs[:, 1]) * height - 0.5
    column, row = column.reshape(rows, columns), row.reshape(rows, columns)
    picture = cv2.remap(albedo, column, row, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return picture.reshape(rows * columns, -1)[:count]


def orbit(mesh: Mesh, yaw: float, pitch: float = 0.0, margin: float = 1.08) -> Camera:
    """A camera that looks at the middle of the mesh and sees all of it from every yaw.

    Angles in radians, as those of ``Camera.from_angles``; ``margin`` is the room around the mesh.
    """
    low, high = mesh.vertices.min(0).astype(np.float64), mesh.vertices.max(0).astype(np.float64)
    middle = (low + high) / 2
    # The mesh turns within a cylinder; from above or below its radius adds to the height.
    radius = float(np.hypot(mesh.vertices[:, 0] - middle[0], mesh.vertices[:, 2] - middle[2]).max())
    height = (high[1] - low[1]) / 2 * np.cos(pitch) + radius * abs(np.sin(pitch))
    distance = max(RADIUS, 3 * float(np.hypot(radius, height)))
    reach = margin * max(radius / np.sqrt(distance**2 - radius**2), height / (distance - radius))
    camera = Camera.from_angles(yaw, pitch, radius=distance, focal=0.5 / reach)
    cam2world = camera.cam2world.copy()
    cam2world[:3, 3] += middle
    return Camera(cam2world, camera.intrinsics)


def texels_per_unit(head: TexturedMesh) -> float:
    """How many texels lie along one world unit of the surface, over the whole mesh."""
    a, b, c = (head.mesh.vertices[head.mesh.faces[:, corner]].astype(np.float64) for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
    first, second = (head.corner_uvs[:, corner] - head.corner_uvs[:, 0] for corner in (1, 2))
    atlas = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]).sum(dtype=np.float64)
    height, width = head.albedo.shape[:2]
    return float(np.sqrt(atlas * height * width / max(area, 1e-12)))
