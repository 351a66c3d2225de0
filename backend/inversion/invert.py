"""The photo into the model's latent space, by two encoders, and stitched (Bilecen et al. 2024, figure 4). Between the
portrait and the field.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ...kernels.trigrid import Rows, to_rows
from ..errors import ModelError
from ..models.bundle import Bundle, Which
from ..networks.encoder import mirror_camera
from ..networks.generator import Generator, Rendering
from ..options import Inversion
from ..portrait.portrait import Portrait
from .color import COLORS
from .stitch import stitch
from .visibility import seen_points, visible_mask

Stage = Callable[[str], AbstractContextManager[None]]
"""A stage of the job by its name, as ``progress.StageClock.stage``."""

STAGES = ("loading the model", "encoding what the photo shows", "encoding what it hides", "stitching")
OFFICIAL_BYTES = 1.23e9  # of the official model's generator and one of its encoders


def stage_seconds(bytes: float = OFFICIAL_BYTES) -> dict[str, float]:
    """Seconds that each stage takes on two cores (``benchmarks/stages.py``), for the progress bar.

    Args:
        bytes: of the model's weights; networks take less the smaller they are, the rays of the mask do not.
    """
    share = min(1.0, bytes / OFFICIAL_BYTES)
    encoding = 0.6 + 5.8 * share
    return dict(zip(STAGES, (0.1 * share, encoding, encoding, 2.4), strict=True))


def picture_seconds(bytes: float = OFFICIAL_BYTES) -> float:
    """Likewise, of one picture of a head."""
    return 0.25 + 1.2 * min(1.0, bytes / OFFICIAL_BYTES)


_RIM = 0.1  # opacity of the head up to which a constant background is laid over its picture


@dataclass(frozen=True, eq=False)
class Encoded:
    """What one of the encoders makes of the photo."""

    w_plus: torch.Tensor  # (1, num_ws, w_dim)
    trigrid: torch.Tensor  # (1, 3, F * slices, R, R), after the high-rate stage
    render: torch.Tensor  # (1, 3, H, H) in [-1, 1], of the photo's view before that stage: what it compared


@dataclass(frozen=True, eq=False)
class Inverted:
    """The photo, inverted: both encoders' heads and the one that is stitched of them."""

    photo: torch.Tensor  # (1, 3, 512, 512) in [-1, 1], before its background
    visible: Encoded
    occluded: Encoded
    depth: torch.Tensor  # (1, 1, S, S) of the photo's view, world units along the rays
    weight: torch.Tensor  # (1, 1, S, S), how much of each ray the head stops
    mask: torch.Tensor  # (3, slices, R, R) in [0, 1], 1 is the visible encoder's
    stitched: torch.Tensor  # (1, 3, F * slices, R, R)
    w: torch.Tensor  # (1, num_ws, w_dim), which colours pictures of the stitched head
    generator: Generator  # on the device, for what comes after


@torch.inference_mode()
def invert(portrait: Portrait, bundle: Bundle, options: Inversion, device: torch.device, stage: Stage) -> Inverted:
    """Invert a portrait. Only one encoder is in memory at a time.

    Args:
        portrait: of the photo.
        bundle: the model.
        options: every choice that the paper leaves open.
        device: where the tensors live.
        stage: told of the stages, those of ``STAGES``.

    Raises:
        ModelError: the model is damaged, or gives what is no number.
    """
    photo = compose_photo(portrait, options).to(device)
    camera = torch.from_numpy(portrait.camera.label)[None].to(device)  # (1, 25)
    with stage("loading the model"):
        generator = bundle.generator(device)
    with stage("encoding what the photo shows"):
        visible = _encode(bundle, "visible", generator, photo, camera, options, device)
    with stage("encoding what it hides"):
        occluded = _encode(bundle, "occluded", generator, photo, camera, options, device)
    with stage("stitching"):
        seen = visible if options.mask_depth == "visible" else occluded
        depth, weight = generator.depth(seen.trigrid, camera, size=options.mask_rays, crop=options.crop)
        config = generator.config
        mask = visible_mask(
            seen_points(depth, weight, portrait.camera),
            options,
            size=config.trigrid_size,
            slices=config.trigrid_depth,
            box_warp=config.box_warp,
        ).to(device)
        stitched = stitch(visible.trigrid, occluded.trigrid, mask)
    w = (visible if options.appearance == "visible" else occluded).w_plus
    return Inverted(photo, visible, occluded, depth, weight, mask, stitched, w, generator)


def compose_photo(portrait: Portrait, options: Inversion) -> torch.Tensor:
    """The crop before the chosen background, as the encoders see it: (1, 3, 512, 512) in [-1, 1]."""
    image = torch.from_numpy(portrait.image).permute(2, 0, 1).float()[None] / 127.5 - 1
    matte = torch.from_numpy(portrait.matte)[None, None]
    color = COLORS["white" if options.background == "learned" else options.background]
    return torch.lerp(torch.tensor(color).view(1, 3, 1, 1).expand_as(image), image, matte)


def _encode(
    bundle: Bundle,
    which: Which,
    generator: Generator,
    photo: torch.Tensor,
    camera: torch.Tensor,
    options: Inversion,
    device: torch.device,
) -> Encoded:
    """Both stages of one encoder; the second one compares the photo with what the first one's head looks like."""
    encoder = bundle.encoder(which, device)
    w_plus = encoder.encode_w(photo)
    coarse = generator.trigrid(w_plus)
    rows = to_rows(coarse, depth=generator.config.trigrid_depth)
    render, mirrored_render = (
        picture_for_comparison(generator, rows, w_plus, each, options) for each in (camera, mirror_camera(camera))
    )
    trigrid = encoder.refine(coarse, photo, render, mirrored_render)
    if not bool(torch.isfinite(trigrid).all()):
        raise ModelError(
            f"The {which} encoder of the model {bundle.name} makes of this photo what is no number; "
            "check it with headstitch models verify, or try another photo."
        )
    return Encoded(w_plus, trigrid, render)


def picture_for_comparison(
    generator: Generator, rows: Rows, w_plus: torch.Tensor, camera: torch.Tensor, options: Inversion
) -> torch.Tensor:
    """What a head looks like before the photo's background, (1, 3, H, H) in [-1, 1].

    Args:
        generator: of the model.
        rows: of the head's tri-grid.
        w_plus: (1, num_ws, w_dim).
        camera: (1, 25) label.
        options: background and crop.
    """
    behind = COLORS[options.background]
    return over_background(generator.render(rows, w_plus, camera, background=behind, crop=options.crop), options)


def over_background(picture: Rendering, options: Inversion) -> torch.Tensor:
    """A picture (B, 3, H, H) in [-1, 1], rendered with the background of the options, as encoders compare it."""
    behind = COLORS[options.background]
    if not isinstance(behind, tuple) or options.background_over == "features":
        return picture.image
    # The head's own soft rim has the background in it already, from its features: laid over once more it would be too
    # light. So the colour is laid over where the head has all but ended, and wholly where it is not.
    mask = F.interpolate(picture.mask.clamp(0, 1), picture.image.shape[-1], mode="bilinear", align_corners=False)
    mask = (mask / _RIM).clamp(max=1)
    return torch.lerp(torch.tensor(behind).view(1, 3, 1, 1).to(mask).expand_as(picture.image), picture.image, mask)
