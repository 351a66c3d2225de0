"""Fit a tri-grid and its decoder to a CC0 head with hair of the bundled pack: a trained field that anyone may have.

    python scripts/fit_trigrid.py OUT.safetensors [--size 256] [--hair hair/short02]

What a photo's inversion gives, made without a generator: planes and decoder are trained together with Adam on points
near the surface, inside and outside, from coarse planes to fine ones, until the raw density is 10 on the surface, falls
by 16 a cell outwards, and is anything from -60 to -20 outside and from 30 to 60 inside. The decoder's first three
features become the colour in [-1, 1] and the next three the normal; benchmarks and toy models are made from it. The
same arguments give the same numbers.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import open3d as o3d
import torch
import torch.nn.functional as F
from headstitch.backend.geometry import as_tensor, make_scene
from headstitch.backend.template.morphable import load_morphable
from headstitch.backend.template.pack import load_pack, person, to_world
from headstitch.backend.template.solid import make_solids
from headstitch.kernels.trigrid import DecoderWeights, Rows, sample_trigrid
from safetensors import safe_open
from safetensors.torch import save_file
from scipy import ndimage
from scipy.spatial import cKDTree

LEVEL = 10.0
FEATURES, HIDDEN, SLICES, PLANES = 32, 64, 3, 3
_SLOPE = 16.0  # density a cell, across the surface
_INSIDE, _OUTSIDE = (30.0, 60.0), (-60.0, -20.0)  # in which the density may be what it likes away from the surface
_BAND = 2.5  # cells on both sides of the surface in which the density has a target
_EXTENT = 0.55  # half the side of the cube that is trained: a little more than the planes span
_THICKNESS = 0.006  # world units from the middle of a sheet of hair to its surface
_SMOOTHNESS = 0.02
_IRISES = (468, 473)  # landmarks
_HAIR, _SKIN, _LIP = (0.24, 0.15, 0.09), (0.83, 0.62, 0.52), (0.72, 0.38, 0.36)
_SCLERA, _IRIS, _PUPIL = (0.93, 0.92, 0.90), (0.33, 0.45, 0.50), (0.06, 0.05, 0.05)
_LIPS = (13, 14, 0, 17, 37, 267, 39, 269, 40, 270, 84, 314, 181, 405, 91, 321, 12, 15, 38, 268, 82, 312, 87, 317)


class Fitted(NamedTuple):
    """What a fit makes."""

    trigrid: torch.Tensor  # (3, 96, R, R) float32, but each number is a half
    weights: DecoderWeights


@dataclass(frozen=True, eq=False)
class HeadWithHair:
    """A head as its signed distance on a grid, and points of its surface with their colours."""

    distance: torch.Tensor  # (N, N, N) float32, world units, negative inside; nodes span [-_EXTENT, _EXTENT]
    points: torch.Tensor  # (P, 3) float32, on the surface
    normals: torch.Tensor  # (P, 3) float32, outward
    colors: torch.Tensor  # (P, 3) float32, sRGB-encoded in [0, 1]

    def sample(self, points: torch.Tensor) -> torch.Tensor:
        """Signed distance (N,) at world points (N, 3), trilinear."""
        where = (points / _EXTENT).flip(1)[None, None, None]
        volume = self.distance[None, None]
        return F.grid_sample(volume, where, mode="bilinear", padding_mode="border", align_corners=True)[0, 0, 0, 0]


def make_head(hair: str = "hair/short02", *, nodes: int = 225, points: int = 300_000, seed: int = 0) -> HeadWithHair:
    """A young woman with a hair piece of the pack, shoulders included.

    Hair pieces are thin sheets: here they get a thickness, and the gaps between sheets and scalp are closed.

    Args:
        hair: name of the piece.
        nodes: along each side of the grid of distances; four times a whole number and one.
        points: of the surface whose colours are known.
        seed: of the choice of these points.
    """
    pack, model = load_pack(), load_morphable()
    morphed = pack.morph(person({"african": 0.2, "asian": 0.3, "caucasian": 0.5}, male=0.1, age=0.35))
    shift = (model.landmarks(model.mean) - model.landmarks(to_world(morphed))).mean(axis=0)

    def piece(name: str) -> o3d.t.geometry.RaycastingScene:
        made = pack.piece(name, morphed)
        return make_scene(to_world(made.vertices) + shift, made.faces)

    solids = make_solids(to_world(morphed) + shift)
    skin = [make_scene(m.vertex.positions.numpy(), m.triangle.indices.numpy()) for m in (solids.body, *solids.inner)]
    strands = piece(hair)
    body = np.minimum.reduce([_measure(scene, nodes, signed=True) for scene in skin])
    sheets = _measure(strands, nodes, signed=False)
    distance = _closed(np.minimum(body, sheets - _THICKNESS), near=sheets < 0.04, spacing=2 * _EXTENT / (nodes - 1))

    shape = HeadWithHair(torch.from_numpy(distance), *(torch.zeros(0, 3),) * 3)
    points_on, normals = _surface_points(shape, points, seed)
    where = points_on.numpy()
    landmarks = model.landmarks(to_world(morphed) + shift)
    to_skin = np.minimum.reduce([_away(scene, where) for scene in skin])
    to_iris = np.min([np.linalg.norm((where - landmarks[iris])[:, :2], axis=1) for iris in _IRISES], axis=0)
    eye = _away(piece("eye/high-poly"), where) < 0.003
    color = np.tile(np.float32(_SKIN), (len(where), 1))
    color[cKDTree(landmarks[list(_LIPS)]).query(where)[0] < 0.009] = _LIP
    color[_away(piece("brow/eyebrow002"), where) < 0.006] = _HAIR
    for radius, shown in ((0.05, _SCLERA), (0.0145, _IRIS), (0.006, _PUPIL)):
        color[eye & (to_iris < radius)] = shown
    color[(_away(strands, where) - _THICKNESS < to_skin - 0.002) | (to_skin > 0.012)] = _HAIR
    light = 0.9 + 0.1 * normals[:, 1:2]
    return HeadWithHair(shape.distance, points_on, normals, torch.from_numpy(color) * light)


def fit(
    head: HeadWithHair,
    size: int = 256,
    *,
    steps: Sequence[int] = (200, 200, 200, 200),
    batch: int = 1 << 16,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> Fitted:
    """Train a tri-grid of ``size`` cells and a decoder; the first of the ``steps`` on planes halved as often as needed.

    Args:
        head: what they shall hold.
        size: cells along the side of a plane; divisible by 2 as often as there are steps less one.
        steps: of Adam, for each size of the planes from coarse to fine.
        batch: points a step on the finest planes; half as many on planes half as fine.
        seed: of everything random.
        tell: is handed a line now and then.
    """
    random = torch.Generator().manual_seed(seed)
    coarsest = size >> (len(steps) - 1)
    planes = 0.1 * torch.randn(PLANES * SLICES, FEATURES, coarsest, coarsest, generator=random)
    shapes = ((HIDDEN, FEATURES), (HIDDEN,), (1 + FEATURES, HIDDEN), (1 + FEATURES,))
    decoder = [torch.randn(shape, generator=random) * (shape[-1] ** -0.5 if len(shape) == 2 else 0) for shape in shapes]
    for level, count in enumerate(steps):
        cells = coarsest << level
        if level:
            planes = F.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)
        table = planes.permute(0, 2, 3, 1).reshape(-1, FEATURES).clone().requires_grad_()
        for tensor in decoder:
            tensor.requires_grad_()
        rows, weights = Rows(table, 1, SLICES, cells), DecoderWeights(*decoder)
        rates = [{"params": [table], "lr": 0.02}, {"params": decoder, "lr": 0.005}]
        optimizer = torch.optim.Adam(rates, betas=(0.9, 0.99), fused=True)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, count, eta_min=0.002)
        for step in range(count):
            loss = _loss(head, rows, weights, batch >> (len(steps) - 1 - level), random)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % 25 == 24:
                tell(f"planes of {cells} cells, step {step + 1} of {count}: loss {loss.item():.4f}")
        planes = table.detach().view(-1, cells, cells, FEATURES).permute(0, 3, 1, 2)
    trigrid = planes.reshape(PLANES, SLICES, FEATURES, size, size).transpose(1, 2).reshape(PLANES, -1, size, size)
    return Fitted(trigrid.half().float(), DecoderWeights(*(tensor.detach() for tensor in decoder)))


def save(path: Path, fitted: Fitted) -> None:
    """Write a fit: ``trigrid`` (3, 96, R, R) in half precision, and the decoder's four tensors."""
    tensors = {name: value for name, value in fitted.weights._asdict().items() if name != "activation"}
    half = fitted.trigrid.half().contiguous()
    save_file({"trigrid": half, **tensors}, path, metadata={"level": str(LEVEL), "licence": "CC0-1.0"})


def load(path: Path) -> Fitted:
    """Read what ``save`` wrote."""
    with safe_open(path, "pt") as file:
        weights = DecoderWeights(*(file.get_tensor(name) for name in DecoderWeights._fields[:4]))
        return Fitted(file.get_tensor("trigrid").float(), weights)


def _loss(head: HeadWithHair, rows: Rows, weights: DecoderWeights, batch: int, random: torch.Generator) -> torch.Tensor:
    """How far density, colour and normal are from what they should be, on points drawn anew."""
    chosen = torch.randint(len(head.points), (batch // 2,), generator=random)
    spread = torch.where(torch.rand(batch // 2, 1, generator=random) < 0.7, 1.5 / rows.size, 0.03)
    near = head.points[chosen] + spread * torch.randn(batch // 2, 3, generator=random)
    anywhere = (2 * torch.rand(batch - batch // 2, 3, generator=random) - 1) * _EXTENT
    points = torch.cat([near, anywhere])
    cells = head.sample(points) * rows.size
    sigma, features = (found[0] for found in sample_trigrid(rows, points[None], weights))
    # Beyond the band only a range is told: there is no right number deep inside a head.
    least = torch.where(cells > _BAND, _OUTSIDE[0], torch.where(cells < -_BAND, _INSIDE[0], LEVEL - _SLOPE * cells))
    most = torch.where(cells > _BAND, _OUTSIDE[1], torch.where(cells < -_BAND, _INSIDE[1], LEVEL - _SLOPE * cells))
    error = (sigma - most).clamp_min(0) + (sigma - least).clamp_max(0)
    density = F.smooth_l1_loss(error / _SLOPE, torch.zeros_like(error), beta=0.5)
    close = cells[: len(chosen)].abs() < 2 * _BAND
    shown = torch.cat([head.colors[chosen] * 2 - 1, head.normals[chosen]], 1)[close]
    look = F.smooth_l1_loss(features[: len(chosen), :6][close], shown, beta=0.1)
    table = rows.table.view(PLANES * SLICES, rows.size, rows.size, -1)
    rough = sum((table.diff(dim=axis) ** 2).mean() for axis in (1, 2))
    return density + look + _SMOOTHNESS * rough


def _measure(scene: o3d.t.geometry.RaycastingScene, nodes: int, *, signed: bool) -> np.ndarray:
    """Distance (nodes, nodes, nodes) to a mesh: exact near it, between every fourth node interpolated elsewhere."""
    at = np.linspace(-_EXTENT, _EXTENT, nodes, dtype=np.float32)

    def ask(points: np.ndarray) -> np.ndarray:
        answer = scene.compute_signed_distance if signed else scene.compute_distance
        return answer(as_tensor(points)).numpy()

    coarse = ask(np.stack(np.meshgrid(at[::4], at[::4], at[::4], indexing="ij"), axis=-1))
    volume = torch.from_numpy(coarse)[None, None]
    distance = F.interpolate(volume, size=(nodes,) * 3, mode="trilinear", align_corners=True)[0, 0].numpy()
    spacing = 2 * _EXTENT / (nodes - 1)
    place = np.stack(np.nonzero(np.abs(distance) < 8 * spacing), axis=1)
    distance[tuple(place.T)] = ask(at[place])
    return distance


def _closed(distance: np.ndarray, near: np.ndarray, spacing: float) -> np.ndarray:
    """The solid after a morphological closing where ``near``: what a ball cannot reach from outside is filled."""
    reach = 0.025 / spacing
    reached = ndimage.distance_transform_edt(ndimage.distance_transform_edt(distance > 0) < reach) < reach
    filled = near & ~reached & (distance > 0)
    edge = ndimage.distance_transform_edt(~filled) - ndimage.distance_transform_edt(filled)
    edge = ndimage.gaussian_filter(edge.astype(np.float32), 1.0) * spacing
    return ndimage.gaussian_filter(np.minimum(distance, edge).astype(np.float32), 0.5)


def _surface_points(head: HeadWithHair, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of the surface within the planes' cube and their outward normals, by Newton steps on the distance."""
    random = torch.Generator().manual_seed(seed)
    nodes = torch.nonzero(head.distance.abs() < 2.0 * (2 * _EXTENT) / (len(head.distance) - 1))
    nodes = nodes[torch.randint(len(nodes), (2 * count,), generator=random)].float()
    points = (nodes + torch.rand(nodes.shape, generator=random)) / (len(head.distance) - 1) * 2 * _EXTENT - _EXTENT

    def slope(at: torch.Tensor) -> torch.Tensor:
        step = 0.003 * torch.eye(3)
        return torch.stack([head.sample(at + way) - head.sample(at - way) for way in step], 1)

    for _ in range(4):
        points = points - head.sample(points)[:, None] * F.normalize(slope(points), dim=1)
    good = (head.sample(points).abs() < 5e-4) & (points.abs() < 0.5).all(dim=1)
    points = points[good][:count]
    return points, F.normalize(slope(points), dim=1)


def _away(scene: o3d.t.geometry.RaycastingScene, points: np.ndarray) -> np.ndarray:
    """Distance (N,) from points (N, 3) to a mesh."""
    return scene.compute_distance(as_tensor(points.astype(np.float32))).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", type=int, default=256, help="cells along the side of a plane")
    parser.add_argument("--hair", default="hair/short02", help="a hair piece of the pack")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()

    def tell(line: str) -> None:
        print(f"{time.perf_counter() - start:6.1f} s   {line}", flush=True)

    head = make_head(arguments.hair, seed=arguments.seed)
    tell(f"the head: {len(head.points)} points of its surface")
    save(arguments.out, fit(head, arguments.size, seed=arguments.seed, tell=tell))
    tell(f"written to {arguments.out}")


if __name__ == "__main__":
    main()
