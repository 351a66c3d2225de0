"""Ray marching: from samples along rays to one feature, depth and weight each. The last step of volume rendering."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def march(
    depths: torch.Tensor,
    sigma: torch.Tensor,
    features: torch.Tensor,
    *,
    order: torch.Tensor | None = None,
    clamp: bool = True,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Composite the intervals between neighbouring samples (NeRF's quadrature on midpoints, as EG3D does it).

    The density of an interval is softplus(mean raw density - 1): an interval with one very low end is empty.

    Args:
        depths: (B, N, K) distances along the ray, in rising order unless ``order`` is given.
        sigma: (B, N, K) raw densities.
        features: (B, N, K, C); C may be 0.
        order: (B, N, K) int64, the positions of the samples in rising order of depth; saves sorting the features.
        clamp: bound the depth by the nearest and farthest sample of all; without it a ray that meets nothing
            has the depth +inf, for a caller that sees only some of the rays.

    Returns:
        features (B, N, C); depth (B, N), the mean over the weights; weight_sum (B, N), 0 to 1; and the weights of the
        intervals (B, N, K - 1).
    """
    if order is not None:
        depths, sigma = depths.gather(-1, order), sigma.gather(-1, order)
    density = F.softplus((sigma[..., 1:] + sigma[..., :-1]) / 2 - 1)
    alpha = 1 - torch.exp(-density * (depths[..., 1:] - depths[..., :-1]))
    through = torch.cumprod(1 - alpha + 1e-10, -1)
    weights = alpha * F.pad(through[..., :-1], (1, 0), value=1.0)  # (B, N, K - 1)
    weight_sum = weights.sum(-1)
    middles = (depths[..., 1:] + depths[..., :-1]) / 2
    depth = ((weights * middles).sum(-1) / weight_sum).nan_to_num(nan=float("inf"), posinf=float("inf"))
    if clamp:
        depth = depth.clamp(depths.min(), depths.max())
    # The sum of weight times mean of two neighbours, written as one factor a sample.
    shares = (F.pad(weights, (1, 0)) + F.pad(weights, (0, 1))) / 2  # (B, N, K)
    if order is not None:
        shares = torch.zeros_like(shares).scatter(-1, order, shares)
    composited = (shares[..., None, :] @ features)[..., 0, :]
    return composited, depth, weight_sum, weights
