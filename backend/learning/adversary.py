"""The occlusion-aware game over tri-grids: what is hidden, real samples, and the discriminator's updates.

Bilecen et al. 2024, equations 3 to 9. The printed equation 8 lets both players push the same score up, a slip: here the
discriminator minimises the usual pair, and the encoder wants its hidden part to score as the generator's own.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from ..camera import Camera
from ..inversion.visibility import LEAST_RAYS, seen_points, visible_mask
from ..networks.generator import Generator, Rendering
from ..options import Inversion
from .config import Adversary
from .task import Turn


@torch.no_grad()
def hidden_cells(picture: Rendering, cameras: torch.Tensor, generator: Generator, options: Inversion) -> torch.Tensor:
    """O: which cells of the tri-grid the view does not see, by the view's own depth.

    The depth is of as many rays as the picture has; between them it is interpolated inside the silhouette, as too few
    rays would leave gaps.

    Args:
        picture: of each head, from its camera.
        cameras: (B, 25) labels.
        generator: whose tri-grids these are.
        options: how the mask is made.

    Returns:
        (B, 3, F * slices, R, R) in [0, 1]: 0 where the view sees.
    """
    config = generator.config
    depth, weight = dense_depth(picture.depth, picture.mask)
    masks = [
        visible_mask(
            seen_points(depth[number : number + 1], weight[number : number + 1], Camera.from_label(label)),
            options,
            size=config.trigrid_size,
            slices=config.trigrid_depth,
            box_warp=config.box_warp,
        )
        for number, label in enumerate(cameras.cpu().double().numpy())
    ]
    hidden = 1 - torch.stack(masks).to(picture.depth)  # (B, 3, slices, R, R)
    return hidden.repeat(1, 1, config.features, 1, 1)  # a cell's channel is feature * slices + slice


def dense_depth(depth: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth and mask (B, 1, S, S) of enough rays for a mask of cells; what lies beside the head is kept out of both."""
    if depth.shape[-1] >= LEAST_RAYS:
        return depth, mask
    inside = (mask > 0.5).to(depth)
    share, deep = (
        F.interpolate(value, LEAST_RAYS, mode="bilinear", align_corners=False) for value in (inside, depth * inside)
    )
    soft = F.interpolate(mask, LEAST_RAYS, mode="bilinear", align_corners=False)
    return deep / share.clamp(min=1e-6), torch.where(share > 0, soft, 0.0)


@torch.no_grad()
def random_w_plus(generator: Generator, count: int, truncation: float, device: torch.device) -> torch.Tensor:
    """W+ (count, num_ws, w_dim) of the space Z+: every row from a latent of its own, all mapped for the front view."""
    config = generator.config
    z = torch.randn(count * config.num_ws, config.z_dim, device=device)
    w = generator.map(z, front_camera(len(z), device), truncation=truncation)[:, 0]
    return w.view(count, config.num_ws, config.w_dim)


def front_camera(count: int, device: torch.device) -> torch.Tensor:
    """The canonical view from the front, (count, 25)."""
    return torch.from_numpy(Camera.from_angles().label).to(device).expand(count, -1)


def scores(
    discriminator: nn.Module, real: torch.Tensor, fake: torch.Tensor, *, joint: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores (B, 1) float32 of real and of fake samples (B, 3, C, R, R), already masked; joint as in ``Adversary``."""
    if not joint:
        return discriminator(real).float(), discriminator(fake).float()
    first, second = discriminator(torch.cat([real, fake])).float().split([len(real), len(fake)])
    return first, second


def fooling_loss(score: torch.Tensor) -> torch.Tensor:
    """What an encoder minimises: softplus(-D(O * T)), the mean over the batch of scores (equation 7)."""
    return F.softplus(-score).mean()


def play(
    turn: Turn,
    discriminator: nn.Module,
    settings: Adversary,
    fake: torch.Tensor,
    real: torch.Tensor,
    hidden: torch.Tensor,
) -> None:
    """The discriminator's update, and on every so many steps the penalty's as one of its own.

    Args:
        turn: the step.
        discriminator: its optimiser is "discriminator".
        settings: of the penalty.
        fake: (B, 3, C, R, R), of the encoder.
        real: (B, 3, C, R, R), of the generator.
        hidden: (B, 3, C, R, R), put on both, so that the shape of what is missing tells nothing.
    """
    fake, real = hidden * fake.detach(), hidden * real.detach()
    with turn.precision():
        scored = scores(discriminator, real, fake, joint=settings.joint)
    terms = {
        "discriminator/real": 0.5 * F.softplus(-scored[0]).mean(),
        "discriminator/fake": 0.5 * F.softplus(scored[1]).mean(),
    }
    turn.minimize("discriminator", terms)
    turn.figures |= {"score/real": float(scored[0].detach().mean()), "score/fake": float(scored[1].detach().mean())}
    if turn.number % settings.r1_every == 0 and settings.r1:
        penalty = slope(lambda sample: scores(discriminator, sample, fake, joint=settings.joint)[0], real)
        turn.minimize("discriminator", {"r1": penalty}, {"r1": settings.r1 / 2 * settings.r1_every})


def slope(score: Callable[[torch.Tensor], torch.Tensor], real: torch.Tensor) -> torch.Tensor:
    """|gradient of the score|^2, summed over a sample, the mean over the batch: R1 (Mescheder et al. 2018)."""
    real = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(real).sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3, 4)).mean()
