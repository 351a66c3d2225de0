"""Two tri-grids become one: what the photo sees from one encoder, the rest from the other. After the visibility."""

from __future__ import annotations

import torch


def stitch(visible: torch.Tensor, occluded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """V * T1 + (1 - V) * T2, cell by cell (Bilecen et al. 2024, figure 4).

    Exactly T1 where V is 1, exactly T2 where V is 0, and unchanged where both are the same.

    Args:
        visible: T1 (B, 3, C, R, R), C features times slices, the slice running fastest.
        occluded: T2 (B, 3, C, R, R).
        mask: V (3, slices, R, R) in [0, 1]; the features of a slice share it.
    """
    slices = mask.shape[1]
    split = (*visible.shape[:2], -1, slices, *visible.shape[3:])  # (B, 3, features, slices, R, R)
    weight = mask.to(visible)[None, :, None]  # (1, 3, 1, slices, R, R)
    return torch.lerp(occluded.reshape(split), visible.reshape(split), weight).reshape(visible.shape)
