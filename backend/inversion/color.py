"""The colour of a neural head's surface for baking, out of super-resolved views from all around.

A point's own ToRGB colour is as coarse as the rays; what PanoHead shows gets its detail from super-resolution, which
only whole pictures go through. Asked by the field, above the networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import open3d as o3d
import torch
import torch.nn.functional as F

from ...kernels.trigrid import Rows, sample_trigrid, to_rows
from ..camera import Camera
from ..field import TrigridField
from ..geometry import as_tensor, make_scene
from ..meshing.lattice import sample_lattice
from ..meshing.surface import march
from ..networks.generator import Background, Generator
from ..options import Inversion
from ..rendering import Crop

Painter = Callable[[torch.Tensor], torch.Tensor]
"""World points (N, 3) on or near the surface to colours (N, 3), sRGB-encoded in [0, 1]."""

# Yaw and pitch in degrees: closer together in front, where most of the detail is. On the mean head the surface that
# can be seen from outside at all is seen by one of them at 45 degrees or less for 93 % of its area.
VIEWS = (
    *((0, 0), (35, 0), (-35, 0), (75, 0), (-75, 0), (120, 0), (-120, 0), (180, 0)),
    *((0, 50), (120, 50), (-120, 50), (0, -35)),
)
COLORS: dict[str, Background] = {
    "white": (1.0, 1.0, 1.0),
    "grey": (0.0, 0.0, 0.0),
    "black": (-1.0, -1.0, -1.0),
    "learned": "learned",
}
"""What a choice of ``Inversion.background`` is for the generator."""
TOLERANCE = 0.008  # world units (3.4 mm); a point this far behind what a view sees is still seen, twice as far is not

_MAP = 256  # side of the maps of depth and trust of a view; a pixel is 2.5 thousandths of a world unit
_GRAZING, _FACING = 0.15, 0.5  # cosines between which a view's trust rises from 0 to 1
_SHARPNESS = 8  # power of the cosine: the view that faces the surface rules, or the mean of many would blur it
_JUMP = 0.02  # world units between neighbouring pixels of the map, steeper than any trusted slope: an outline
# Pixels before super-resolution from an outline over which the trust rises from 0 to 1. Resizing mixes the nearest one
# with what is behind it, and the first convolutions of the super-resolution reach a little farther.
_RIM_BARE, _RIM_FADED = 1.5, 3.5
_STEP = 0.004  # world units of the differences that give the normals
_NODES = 161  # of the lattice along the box
_POINTS_AT_ONCE = 1 << 17


def make_painter(
    generator: Generator,
    trigrid: torch.Tensor | Rows,
    w_plus: torch.Tensor,
    options: Inversion,
    device: torch.device,
    *,
    views: Sequence[tuple[float, float]] = VIEWS,
) -> Painter:
    """The colour of the head's surface as super-resolution shows it.

    The views are rendered when the first colour is asked for, and kept (40 MB at 512 pixels): a second and a half each
    at the official size on two cores. Each stands before the constant ``options.background``.
    A point takes the mean of the views that see it: of those whose depth there is the point's own within
    ``TOLERANCE``, weighted by the cosine between the normal and the view, and not close to an outline, where the
    background or what lies behind bleeds in. Weights are smooth along the surface, so views do not meet in seams.
    Where no view sees the point it has its own ToRGB colour, and as much of it as trust is lacking elsewhere.

    Args:
        generator: of the model, on ``device``.
        trigrid: (1, 3, F * slices, R, R), the head; or its rows, which are then on ``device``.
        w_plus: (1, num_ws, w_dim), whose last row colours.
        options: which background, and which part of the box the pictures show.
        device: where the tensors live, also the points that are asked about.
        views: yaw and pitch in degrees of the cameras.
    """
    rows = trigrid if isinstance(trigrid, Rows) else to_rows(trigrid.to(device), depth=generator.config.trigrid_depth)
    return _Painter(generator.to(device), rows, w_plus.to(device), options, views)


@dataclass(frozen=True, eq=False)
class _View:
    """What one camera sees."""

    project: torch.Tensor  # (3, 4) world to homogeneous (column, row, 1) in image widths
    position: torch.Tensor  # (3,) of the camera
    image: torch.Tensor  # (1, 3, H, H) sRGB-encoded in [0, 1]
    maps: torch.Tensor  # (1, 3, M, M): depth along the ray in world units, trust in [0, 1], cosine; 0 beside the head

    def look_up(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Where points (N, 3) are in the picture (N, 2) in [-1, 1], their trust (N,) and their cosine (N,)."""
        seen = points @ self.project[:, :3].T + self.project[:, 3]
        at = seen[:, :2] / seen[:, 2:] * 2 - 1
        depth, trust, cosine = _sample(self.maps, at).unbind(1)
        behind = (points - self.position).norm(dim=1) - depth
        return at, trust * (1 - _smooth_step(behind / TOLERANCE - 1)), cosine


class _Painter:
    """See ``make_painter``."""

    def __init__(
        self,
        generator: Generator,
        rows: Rows,
        w_plus: torch.Tensor,
        options: Inversion,
        views: Sequence[tuple[float, float]],
    ) -> None:
        self._generator = generator
        self._rows = rows
        with torch.no_grad():
            self._decoder = generator.decoder_weights()
        self._w_plus = w_plus
        self._background: Background = COLORS[options.background]
        self._crop: Crop = options.crop
        self._angles = views

    @torch.no_grad()
    def __call__(self, points: torch.Tensor) -> torch.Tensor:
        parts = [self._paint(part) for part in points.split(_POINTS_AT_ONCE)]
        return torch.cat(parts) if parts else points.new_zeros(0, 3)

    def _paint(self, points: torch.Tensor) -> torch.Tensor:
        total = points.new_zeros(len(points), 4)
        missing = points.new_ones(len(points))  # the share that no view is trusted with
        for view in self._views:
            at, trust, cosine = view.look_up(points)
            missing *= 1 - trust
            seen = torch.nonzero(trust)[:, 0]
            weight = (trust[seen] * cosine[seen] ** _SHARPNESS)[:, None]
            color = _sample(view.image, at[seen])
            total.index_add_(0, seen, torch.cat([weight * color, weight], 1))
        color = total[:, :3] / total[:, 3:].clamp(min=1e-20)
        alone = torch.nonzero(missing)[:, 0]
        color[alone] += missing[alone, None] * (self._own_color(points[alone]) - color[alone])
        return color

    def _own_color(self, points: torch.Tensor) -> torch.Tensor:
        """(N, 3) in [0, 1], ToRGB of single points (N, 3)."""
        if len(points) == 0:
            return points
        box_warp = self._generator.config.box_warp
        _, features = sample_trigrid(self._rows, points[None], self._decoder, box_warp=box_warp)
        return _to_srgb(self._generator.raw_color(features, self._w_plus)[0])

    @cached_property
    def _views(self) -> tuple[_View, ...]:
        config = self._generator.config
        field = TrigridField(self._rows, self._decoder, config=config, level=config.level)
        mesh = march(sample_lattice(field, _NODES), field.level, closed_neck=True)
        scene = make_scene(mesh.vertices, mesh.faces)
        return tuple(self._look(field, scene, *map(math.radians, angles)) for angles in self._angles)

    def _look(self, field: TrigridField, scene: o3d.t.geometry.RaycastingScene, yaw: float, pitch: float) -> _View:
        camera = Camera.from_angles(yaw, pitch)
        label = torch.from_numpy(camera.label)[None].to(self._w_plus.device)
        rendering = self._generator.render(
            self._rows, self._w_plus, label, background=self._background, crop=self._crop
        )
        rays = camera.rays(_MAP)
        depth = scene.cast_rays(as_tensor(rays))["t_hit"].numpy()
        hit = np.isfinite(depth)
        depth = np.where(hit, depth, 0.0).astype(np.float32)
        directions = torch.from_numpy(rays[hit][:, 3:]).to(label.device)
        points = torch.from_numpy(rays[hit][:, :3] + depth[hit, None] * rays[hit][:, 3:]).to(label.device)
        cosine = np.zeros_like(depth)
        cosine[hit] = -(_normals(field, points) * directions).sum(1).cpu().numpy()
        pixel = _MAP / rendering.raw.shape[-1]
        inner = (_way_from_outline(depth, hit) / pixel - _RIM_BARE) / (_RIM_FADED - _RIM_BARE)
        facing = (cosine - _GRAZING) / (_FACING - _GRAZING)
        trust = _smooth_step(torch.from_numpy(inner)) * _smooth_step(torch.from_numpy(facing))
        maps = torch.stack([torch.from_numpy(depth), trust, torch.from_numpy(cosine.clip(0, 1))])
        return _View(
            torch.from_numpy(camera.intrinsics @ camera.world2cam[:3]).float().to(label.device),
            label[0, [3, 7, 11]],
            _to_srgb(rendering.image),
            maps[None].float().to(label.device),
        )


def _normals(field: TrigridField, points: torch.Tensor) -> torch.Tensor:
    """(N, 3) unit normals, against the density's gradient, by differences at the corners of a tetrahedron."""
    corners = points.new_tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    normals = torch.zeros_like(points)
    for corner in corners:
        normals -= corner * field.density(points + _STEP * corner)[:, None]
    return F.normalize(normals, dim=1)


def _way_from_outline(depth: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """(M, M) pixels to the nearest outline: where the head, one part before another or the picture itself ends.

    Args:
        depth: (M, M) along the rays, world units.
        hit: (M, M) bool, whether the ray meets the head.
    """
    inner = hit.copy()
    across, down = (np.abs(np.diff(depth, axis=axis)) <= _JUMP for axis in (1, 0))
    inner[:, 1:] &= across
    inner[:, :-1] &= across
    inner[1:] &= down
    inner[:-1] &= down
    return cv2.distanceTransform(np.pad(inner, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]


def _sample(image: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """(N, C) of an image (1, C, H, W) at (N, 2) column and row in [-1, 1]; bilinear, zero outside."""
    found = F.grid_sample(image, at[None, None], mode="bilinear", padding_mode="zeros", align_corners=False)
    return found[0, :, 0].T


def _to_srgb(color: torch.Tensor) -> torch.Tensor:
    """Of the networks' [-1, 1], which super-resolution may overshoot, to [0, 1]."""
    return (color / 2 + 0.5).clamp(0, 1)


def _smooth_step(t: torch.Tensor) -> torch.Tensor:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)
