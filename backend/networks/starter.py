"""The starter model's networks: a small generator of tri-grids that lean on a fitted template, and their encoder.

The same parts as the official ones (mapping, synthesis, tri-grid, two-layer decoder; an encoder of a W+ stage and a
high-rate stage), and two things that make them learn from thousands of heads instead of millions of photos:

- The decoder sees the *conditions* of a point beside its features: where it lies to the fitted template and to the
  photo's outline. What it says is how far the head's surface is from the template's.
- The encoder sees the photo *unprojected* onto the cells of the tri-grid's planes: its camera is already undone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import nn

from ...kernels.trigrid import AXES, Rows, look_up, to_rows
from .config import CAMERA, PLANES, Recorded, TrigridSizes
from .mapping import Mapping
from .synthesis import SynthesisNetwork

CONDITIONS = 6
"""Numbers that the decoder is told of a point: see ``conditions``."""
SHOWN = 5
"""Channels of the picture that the encoder unprojects: the photo before black (3), its matte, its outline."""
_DECODED = 5  # residual, colour, hair
_FAR = 0.2  # world units; nothing tells distances beyond it apart


@dataclass(frozen=True)
class StarterConfig(TrigridSizes, Recorded):
    """What a starter model is built from.

    Raises:
        ValueError: sizes that no network can have.
    """

    z_dim: int = 128
    w_dim: int = 128
    mapping_layers: int = 2
    channel_base: int = 2048
    channel_max: int = 96
    trigrid_size: int = 64
    trigrid_depth: int = 3
    features: int = 12
    decoder_hidden: int = 64
    image_size: int = 128
    """Side of the picture that the encoder is shown."""
    widths: tuple[int, ...] = (32, 64, 128, 128)
    """Channels of the encoder's levels, each half as wide as the one before, from ``trigrid_size`` on."""
    box_warp: float = 1.0
    """Side of the tri-grid's cube in world units."""
    reach: float = 0.1
    """World units that one of the decoder's raw numbers moves the surface."""

    def __post_init__(self) -> None:
        if not isinstance(self.widths, tuple | list) or not self.widths:
            raise ValueError(f"widths is {self.widths!r}; it must be some numbers, one for each level")
        object.__setattr__(self, "widths", tuple(self.widths))
        names = [field.name for field in fields(self) if field.name not in ("widths", "box_warp", "reach")]
        sizes = (*self.widths, *(getattr(self, name) for name in names))
        if any(type(size) is not int or not 1 <= size <= 1 << 16 for size in sizes):
            raise ValueError(f"every size of a starter model is a whole number from 1 on, but this is {self}")
        if self.trigrid_size & (self.trigrid_size - 1) or self.trigrid_size >> (len(self.widths) - 1) < 4:
            raise ValueError(
                f"trigrid_size is {self.trigrid_size}; a power of two that {len(self.widths)} levels halve"
            )
        if any(width % 8 for width in self.widths):
            raise ValueError(f"the widths {self.widths} must be multiples of 8")
        if not (self.box_warp > 0 and self.reach > 0):
            raise ValueError("box_warp and reach must be more than 0")


@dataclass(frozen=True)
class Decoded:
    """What the field holds at points: N of each of B heads."""

    distance: torch.Tensor  # (B, N) world units to the head's surface, negative inside
    color: torch.Tensor  # (B, N, 3) sRGB-encoded, about -1 to 1
    hair: torch.Tensor  # (B, N) logit of being hair


def conditions(bald: torch.Tensor, hairy: torch.Tensor, rest: torch.Tensor, outline: torch.Tensor) -> torch.Tensor:
    """What the decoder is told of points, scaled to about -2 to 2.

    Args:
        bald: (B, N) signed distance of the fitted template, world units.
        hairy: (B, N) the same with the thickness of the hair that the photo's outline wants.
        rest: (B, N, 3) rest coordinates of the template's nearest skin.
        outline: (B, N) distance, seen from the photo, to the outline of the matte, negative inside, world units.

    Returns:
        (B, N, ``CONDITIONS``)
    """
    near = torch.stack([bald, hairy, outline], -1).clamp(-_FAR, _FAR) * (2 / _FAR)
    return torch.cat([near, rest * 4], -1)


def face_gate(rest: torch.Tensor) -> torch.Tensor:
    """How freely the residual moves the surface, (...) for rest coordinates (..., 3): 1, and 0.15 on the face, which
    the landmarks have told already.
    """
    height, depth = rest[..., 1], rest[..., 2]
    on_face = torch.sigmoid((depth - 0.06) / 0.015)
    on_face = on_face * torch.sigmoid((0.12 - height) / 0.01) * torch.sigmoid((height + 0.27) / 0.02)
    return 1 - 0.85 * on_face


def plane_points(size: int, slices: int, box_warp: float = 1.0) -> torch.Tensor:
    """(3, slices, R, R, 3) world places of the cells of the three planes, R = ``size``; rows are the second axis."""
    across = ((torch.arange(size) + 0.5) / size - 0.5) * box_warp
    deep = ((torch.arange(slices) + 0.5) / slices - 0.5) * box_warp
    depth, height, width = torch.meshgrid(deep, across, across, indexing="ij")
    planes = []
    for axes in AXES:
        points = torch.empty(slices, size, size, 3)
        for axis, values in zip(axes, (width, height, depth), strict=True):
            points[..., axis] = values
        planes.append(points)
    return torch.stack(planes)


def unproject(picture: torch.Tensor, cameras: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """The picture's values (B, C, N) where the camera sees the points; its border beyond it.

    Args:
        picture: (B, C, S, S).
        cameras: (B, 25) labels.
        points: (N, 3) or (B, N, 3) in the world, in front of the camera.
    """
    cam2world = cameras[:, :16].view(-1, 4, 4)
    seen = (points - cam2world[:, None, :3, 3]) @ cam2world[:, :3, :3]  # (B, N, 3)
    intrinsics = cameras[:, 16:].view(-1, 3, 3)
    place = seen @ intrinsics.mT
    place = place[..., :2] / place[..., 2:] * 2 - 1
    return F.grid_sample(picture, place[:, None], padding_mode="border", align_corners=False)[:, :, 0]


class StarterGenerator(nn.Module):
    """z to w+ to a tri-grid, and a tri-grid with conditions to the head's distance and colour.

    Before it is trained its surface is the template's.
    """

    def __init__(self, config: StarterConfig) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config.z_dim, config.w_dim, layers=config.mapping_layers, zero_camera=True)
        self.synthesis = SynthesisNetwork(
            config.w_dim,
            config.trigrid_size,
            PLANES * config.plane_channels,
            channel_base=config.channel_base,
            channel_max=config.channel_max,
        )
        inputs = config.features + CONDITIONS
        last = nn.Linear(config.decoder_hidden, _DECODED)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.decoder = nn.Sequential(nn.Linear(inputs, config.decoder_hidden), nn.Softplus(), last)

    def map(self, z: torch.Tensor, *, truncation: float = 1.0) -> torch.Tensor:
        """Latents (B, z_dim), normal numbers, to w+ (B, num_ws, w_dim), all rows equal."""
        return self.mapping.rows(z, z.new_zeros(len(z), CAMERA), self.config.num_ws, truncation=truncation)

    def trigrid(self, w_plus: torch.Tensor) -> torch.Tensor:
        """W+ (B, num_ws, w_dim) to the tri-grid (B, 3, F * slices, R, R)."""
        size = self.config.trigrid_size
        return self.synthesis(w_plus).reshape(len(w_plus), PLANES, self.config.plane_channels, size, size).contiguous()

    def decode(
        self, trigrid: torch.Tensor | Rows, points: torch.Tensor, conditions: torch.Tensor, *, hairy: torch.Tensor,
        gate: torch.Tensor,
    ) -> Decoded:  # fmt: skip
        """The field at points.

        Args:
            trigrid: (B, 3, F * slices, R, R), or its rows.
            points: (B, N, 3) in the world.
            conditions: (B, N, ``CONDITIONS``) of the points.
            hairy: (B, N) the template's distance with its hair, to which the residual is added.
            gate: (B, N) how much of the residual, of ``face_gate``.
        """
        config = self.config
        rows = trigrid if isinstance(trigrid, Rows) else to_rows(trigrid, depth=config.trigrid_depth)
        found = look_up(rows, points, box_warp=config.box_warp).mean(1)
        raw = self.decoder(torch.cat([found, conditions], -1))
        return Decoded(hairy + config.reach * gate * raw[..., 0], raw[..., 1:4], raw[..., 4])

    def decode_leaning(
        self, trigrid: torch.Tensor | Rows, points: torch.Tensor, bald: torch.Tensor, hairy: torch.Tensor,
        rest: torch.Tensor, *, outline: torch.Tensor, cameras: torch.Tensor,
    ) -> Decoded:  # fmt: skip
        """The field at points, of what is measured there of the fitted template and of the photo.

        Args:
            trigrid: (B, 3, F * slices, R, R), or its rows.
            points: (B, N, 3) in the world.
            bald: (B, N) signed distance of the fitted template, as ``conditions`` takes it.
            hairy: (B, N) the same with its hair.
            rest: (B, N, 3) rest coordinates of its nearest skin.
            outline: (B, 1, S, S) of the photo, the last channel of ``template.lean.shown``.
            cameras: (B, 25) labels.
        """
        told = conditions(bald, hairy, rest, unproject(outline, cameras, points)[:, 0])
        return self.decode(trigrid, points, told, hairy=hairy, gate=face_gate(rest))


class StarterEncoder(nn.Module):
    """A photo, unprojected, to w+; then a tri-grid to a more faithful one."""

    points: torch.Tensor

    def __init__(self, config: StarterConfig) -> None:
        super().__init__()
        self.config = config
        inputs = config.trigrid_depth * (SHOWN + 2) + 3
        self.register_buffer(
            "points", plane_points(config.trigrid_size, config.trigrid_depth, config.box_warp), persistent=False
        )
        self.w_stage = _Trunk(inputs, config.widths)
        self.rows = nn.Linear(PLANES * config.widths[-1], config.num_ws * config.w_dim)
        self.refiner = _Refiner(inputs + config.plane_channels, config.widths, config.plane_channels)

    def inputs(self, picture: torch.Tensor, cameras: torch.Tensor, template: torch.Tensor) -> torch.Tensor:
        """All that the two stages see of a photo.

        Args:
            picture: (B, ``SHOWN``, S, S), of ``template.lean.shown``: the photo before black and its matte, in [-1, 1],
                and the distance to the matte's outline in world units.
            cameras: (B, 25) labels.
            template: (B, 2, 3, slices, R, R) the fitted template's signed distances at the planes' cells
                (``plane_points``), bald and with hair, world units.

        Returns:
            (B, 3, C, R, R), a picture for each plane.
        """
        config = self.config
        batch, size, slices = len(picture), config.trigrid_size, config.trigrid_depth
        seen = unproject(picture, cameras, self.points.view(-1, 3)).view(batch, SHOWN, PLANES, slices, size, size)
        near = torch.cat([seen[:, 4:], template], 1).clamp(-_FAR, _FAR) / _FAR
        planes = torch.cat([seen[:, :4], near], 1).transpose(1, 2).flatten(2, 3)  # (B, 3, (SHOWN + 2) * slices, R, R)
        place = self.points[:, 0].movedim(-1, 1).expand(batch, -1, -1, -1, -1) * (2 / config.box_warp)
        return torch.cat([planes, place], 2)

    def encode_w(self, inputs: torch.Tensor) -> torch.Tensor:
        """The first stage: ``inputs`` to w+ (B, num_ws, w_dim)."""
        levels = self.w_stage(inputs)
        pooled = levels[-1].mean((3, 4)).flatten(1)
        return self.rows(pooled).view(len(inputs), self.config.num_ws, self.config.w_dim)

    def refine(self, trigrid: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        """The high-rate stage: the tri-grid (B, 3, F * slices, R, R) with what the photo adds to it."""
        return trigrid + self.refiner(torch.cat([inputs, trigrid], 2))


class _Block(nn.Module):
    """Two convolutions with a short cut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv1 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm = nn.GroupNorm(8, outputs)
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W) to (B, out, H, W)."""
        return F.silu(self.norm(self.conv1(F.silu(self.conv0(x)))) + self.skip(x))


class _Trunk(nn.Module):
    """Levels of features of the three planes, each half as wide as the one before.

    A plane has its own first layer; all that follows is shared. At the last level the planes hear of each other.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stems = nn.ModuleList(nn.Conv2d(inputs, widths[0], 3, padding=1) for _ in range(PLANES))
        self.blocks = nn.ModuleList(_Block(widths[max(0, k - 1)], width) for k, width in enumerate(widths))
        told = PLANES * widths[-1]
        self.mix = nn.Sequential(nn.Linear(told, 2 * widths[-1]), nn.SiLU(), nn.Linear(2 * widths[-1], told))

    def forward(self, planes: torch.Tensor) -> list[torch.Tensor]:
        """(B, 3, C, R, R) to as many levels (B, 3, widths[k], R / 2^k, R / 2^k)."""
        batch = len(planes)
        x = torch.stack([stem(planes[:, plane]) for plane, stem in enumerate(self.stems)], 1).flatten(0, 1)
        levels = []
        for number, block in enumerate(self.blocks):
            x = block(F.avg_pool2d(x, 2) if number else x)
            levels.append(x.unflatten(0, (batch, PLANES)))
        last = levels[-1]
        mixed = self.mix(last.mean((3, 4)).flatten(1)).view(batch, PLANES, -1, 1, 1)
        return [*levels[:-1], last + mixed]


class _Refiner(nn.Module):
    """A U-Net over the planes: what is to be added to each cell. It adds nothing before it is trained."""

    def __init__(self, inputs: int, widths: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.down = _Trunk(inputs, widths)
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(_Block(deep + fine, fine) for deep, fine in pairs)
        self.heads = nn.ModuleList(nn.Conv2d(widths[0], outputs, 1) for _ in range(PLANES))
        for head in self.heads:
            assert isinstance(head, nn.Conv2d)
            nn.init.zeros_(head.weight)
            assert head.bias is not None
            nn.init.zeros_(head.bias)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """(B, 3, C, R, R) to (B, 3, outputs, R, R)."""
        *levels, last = (level.flatten(0, 1) for level in self.down(planes))
        x = last
        for block, level in zip(self.up, reversed(levels), strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False), level], 1))
        x = x.unflatten(0, (len(planes), PLANES))
        return torch.stack([head(x[:, plane]) for plane, head in enumerate(self.heads)], 1)
