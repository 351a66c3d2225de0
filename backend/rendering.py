"""Volume rendering of a tri-grid: the rays of a camera, depths along them, two passes of samples, one pixel a ray.

Stands under the networks and knows nothing of them: it is handed a tri-grid and a decoder's weights.
Shape letters: B pictures, S rays a side, N = S * S rays in row-major order, K samples on a ray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F

from ..kernels.ray_march import march
from ..kernels.trigrid import DecoderWeights, Rows, sample_trigrid, to_rows

EMPTY = -1000.0  # the raw density of what is cropped away
BORDER = 0.1  # world units that the crop takes off each side of the box
# Samples worked on at once, each of which needs about 3 kB. A CPU gains nothing from more, other devices are kept busy.
CHUNK, CHUNK_ELSEWHERE = 1 << 15, 1 << 18

Crop = Literal["official", "same"]


@dataclass(frozen=True)
class Sampling:
    """Where rays are sampled; the values are those of the official model."""

    coarse: int = 48
    """Samples on a ray in the first pass, evenly spread; at least 4."""
    fine: int = 48
    """Samples on a ray in the second pass, where the first one found something; at least 1."""
    start: float = 2.25
    """Distance of the first sample from the camera, world units."""
    end: float = 3.3
    """Distance of the last sample but for its jitter."""
    box_warp: float = 1.0
    """Side of the tri-grid's cube in world units."""
    slices: int = 3
    """Slices of a plane."""
    crop: Crop = "official"
    """What of the box is seen: |x| and |z| up to box_warp / 2 - 0.1 in both; official lets y run on, where the planes
    hold nothing, same ends it at the box, as meshes do."""


@dataclass(frozen=True)
class RayResult:
    """One pixel a ray."""

    features: torch.Tensor  # (B, F, S, S), composited over black
    depth: torch.Tensor  # (B, 1, S, S) along the ray, world units; a ray that meets nothing has the farthest sample's
    weight_sum: torch.Tensor  # (B, 1, S, S) opacity, 0 to 1


def camera_rays(cameras: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The rays through the centres of the pixels.

    Args:
        cameras: (B, 25) labels: cam2world (camera x right, y down, z forward) and intrinsics in image widths.
        size: rays along each side of the picture.

    Returns:
        Origins (B, 3) and unit directions (B, size * size, 3), row by row.
    """
    cam2world = cameras[:, :16].view(-1, 4, 4)
    fx, skew, cx, _, fy, cy = cameras[:, 16:22].T[..., None]  # (B, 1) each
    at = (torch.arange(size, device=cameras.device) + 0.5) / size
    v, u = (side.flatten() for side in torch.meshgrid(at, at, indexing="ij"))  # (N,) each
    x = (u - cx + cy * skew / fy - skew * v / fy) / fx
    y = (v - cy) / fy
    one = torch.ones_like(x)
    # A whole homogeneous point, then the origin off again: it rounds as the reference does, bit for bit, and that
    # decides on which side of the crop a sample falls that lies on its border.
    points = (cam2world @ torch.stack([x, y, one, one], 1)).mT  # (B, N, 4)
    origins = cam2world[:, :3, 3]
    return origins, F.normalize(points[..., :3] - origins[:, None], dim=-1)


def coarse_depths(sampling: Sampling, jitter: torch.Tensor) -> torch.Tensor:
    """Evenly spread depths, each moved on by its share of a step.

    Args:
        sampling: the number and the limits.
        jitter: (..., K) in [0, 1), K = ``sampling.coarse``; 0.5 everywhere is the deterministic choice.

    Returns:
        (..., K), rising.
    """
    even = torch.linspace(sampling.start, sampling.end, sampling.coarse, device=jitter.device)
    return even + jitter * ((sampling.end - sampling.start) / (sampling.coarse - 1))


def importance_depths(depths: torch.Tensor, weights: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Depths that follow the weights of a first pass: inverse transform sampling (NeRF, section 5.2), as EG3D does it.

    The weights are widened first, so that the neighbourhood of a surface is sampled too. As in EG3D there are as many
    bin edges as intervals and two weights fewer, so the last edge is never reached. No gradient flows through.

    Args:
        depths: (N, K) of the first pass.
        weights: (N, K - 1) of its intervals.
        u: (N, M) in [0, 1], evenly spaced from 0 to 1 in the deterministic choice.

    Returns:
        (N, M); rising where u is.
    """
    with torch.no_grad():
        widened = F.max_pool1d(weights[:, None], 2, 1, padding=1)
        widened = F.avg_pool1d(widened, 2, 1)[:, 0] + 0.01  # (N, K - 1)
        share = widened[:, 1:-1] + 1e-5
        share = share / share.sum(-1, keepdim=True)
        below_edge = F.pad(share.cumsum(-1), (1, 0))  # (N, K - 2), how much lies below each edge
        edges = (depths[:, 1:] + depths[:, :-1]) / 2  # (N, K - 1)
        above = torch.searchsorted(below_edge, u.contiguous(), right=True)
        below = (above - 1).clamp(min=0)
        above = above.clamp(max=below_edge.shape[-1] - 1)
        low, high = below_edge.gather(-1, below), below_edge.gather(-1, above)
        step = high - low
        step = torch.where(step < 1e-5, torch.ones_like(step), step)
        start, end = edges.gather(-1, below), edges.gather(-1, above)
        return start + (u - low) / step * (end - start)


def inside(points: torch.Tensor, box_warp: float, crop: Crop) -> torch.Tensor:
    """Which points (..., 3) the crop leaves, bool (...)."""
    reach = box_warp / 2 - BORDER
    x, y, z = points.abs().unbind(-1)
    kept = (x <= reach) & (z <= reach)
    return kept if crop == "official" else kept & (y <= box_warp / 2)


def render_rays(
    trigrid: torch.Tensor | Rows,
    weights: DecoderWeights,
    cameras: torch.Tensor,
    *,
    size: int,
    sampling: Sampling,
    jitter: torch.Generator | None = None,
    chunk: int | None = None,
) -> RayResult:
    """Render a tri-grid in two passes.

    Memory beyond the pictures themselves is bounded by ``chunk``, whatever the size and the number of pictures.

    Args:
        trigrid: (B, 3, F * slices, R, R), or its rows.
        weights: of the decoder; ``density_only`` ones give features of width 0, for a depth.
        cameras: (B, 25) labels.
        size: rays along each side.
        sampling: where rays are sampled.
        jitter: source of random depths; without it they are the deterministic ones.
        chunk: samples worked on at once; None is what suits the device. The result does not depend on it.
    """
    rows = trigrid if isinstance(trigrid, Rows) else to_rows(trigrid, depth=sampling.slices)
    origins, directions = camera_rays(cameras, size)
    if chunk is None:
        chunk = CHUNK if cameras.device.type == "cpu" else CHUNK_ELSEWHERE
    rays = max(1, chunk // (sampling.coarse + sampling.fine))
    features, depth, weight_sum = [], [], []
    nearest, farthest = [], []
    for number in range(rows.batch):
        one = rows.one(number)
        for part in directions[number].split(rays):
            depths, sigma, found = sample_rays(one, weights, origins[number], part, sampling, jitter)
            nearest.append(depths.amin())
            farthest.append(depths.amax())
            order = depths.argsort(-1)
            marched = march(depths[None], sigma[None], found[None], order=order[None], clamp=False)
            features.append(marched[0][0])
            depth.append(marched[1][0])
            weight_sum.append(marched[2][0])
    if weights.activation == "sigmoid":  # of plain EG3D, whose features are a picture in [0, 1]
        features = [part * 2 - 1 for part in features]
    shape = (rows.batch, size, size, -1)
    # The depth of a ray that meets nothing depends on all rays of all pictures, as in the official renderer.
    bounded = torch.cat(depth).clamp(torch.stack(nearest).amin(), torch.stack(farthest).amax())
    return RayResult(
        torch.cat(features).view(shape).permute(0, 3, 1, 2).contiguous(),
        bounded.view(shape).permute(0, 3, 1, 2),
        torch.cat(weight_sum).view(shape).permute(0, 3, 1, 2),
    )


def sample_rays(
    rows: Rows,
    weights: DecoderWeights,
    origin: torch.Tensor,
    directions: torch.Tensor,
    sampling: Sampling,
    jitter: torch.Generator | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Both passes over some rays of one tri-grid, all at once.

    Args:
        rows: of one tri-grid.
        weights: of the decoder.
        origin: (3,)
        directions: (N, 3), unit length.
        sampling: where rays are sampled.
        jitter: source of random depths.

    Returns:
        Depths (N, K), raw densities (N, K) and features (N, K, F), K = coarse + fine, the coarse ones first.
    """
    coarse_u, fine_u = _steps(len(directions), sampling, directions.device, jitter)

    def samples(depths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        points = origin + depths[..., None] * directions[:, None]  # (N, K, 3)
        return _sample(rows, points, weights, sampling)

    depths = coarse_depths(sampling, coarse_u)
    sigma, found = samples(depths)
    with torch.no_grad():
        coarse_weights = march(depths[None], sigma[None], found[None, ..., :0])[3][0]
    fine = importance_depths(depths, coarse_weights, fine_u)
    fine_sigma, fine_found = samples(fine)
    return torch.cat([depths, fine], 1), torch.cat([sigma, fine_sigma], 1), torch.cat([found, fine_found], 1)


def _steps(
    count: int, sampling: Sampling, device: torch.device, jitter: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Jitter (count, coarse) of the first pass and u (count, fine) of the second one."""
    if jitter is None:
        coarse = torch.full((count, sampling.coarse), 0.5, device=device)
        return coarse, torch.linspace(0, 1, sampling.fine, device=device).expand(count, -1)
    # One row a ray with both passes' numbers in it: the same rays get the same numbers in chunks of any size.
    both = torch.rand(count, sampling.coarse + sampling.fine, generator=jitter, device=jitter.device).to(device)
    return both[:, : sampling.coarse], both[:, sampling.coarse :]


def _sample(
    rows: Rows, points: torch.Tensor, weights: DecoderWeights, sampling: Sampling
) -> tuple[torch.Tensor, torch.Tensor]:
    """Raw densities (N, K), very low where cropped, and features (N, K, F) at points (N, K, 3).

    Cropped points are not looked up at all, and have features of zero: no interval that touches one has a weight.
    """
    kept = inside(points, sampling.box_warp, sampling.crop)
    found = kept.flatten().nonzero()[:, 0]
    flat = points.view(-1, 3)[found]
    sigma, features = sample_trigrid(rows, flat[None], weights, box_warp=sampling.box_warp)
    empty = torch.full((kept.numel(),), EMPTY, device=points.device)
    nothing = features.new_zeros(kept.numel(), features.shape[-1])
    return (
        empty.index_copy(0, found, sigma[0]).view(kept.shape),
        nothing.index_copy(0, found, features[0]).view(*kept.shape, -1),
    )
