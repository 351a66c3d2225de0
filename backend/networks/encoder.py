"""An encoder: a photo to w+, then a tri-grid to a more faithful one. Between the portrait and the stitching.

The first stage is pSp's GradualStyleEncoder (Richardson et al. 2021), the second one the encoder of TriPlaneNet v2
(Bhattarai et al. 2024); the dual encoder (Bilecen et al. 2024) has two such pairs. Tensors carry the published names.
Images are (B, 3, H, W) float32 in [-1, 1]. Everything here expects ``eval()`` where it is not trained.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ModelError
from .config import PLANES, EncoderConfig
from .irse import Trunk

COARSE, MIDDLE = 3, 7  # the rows of w+ before these read the coarsest and the middle pyramid level
MIRRORED_SIGNS = (1, 2, 3, 4, 8)  # of a camera label, whose signs a mirror turns


class EqualizedLinear(nn.Module):
    """A linear layer that stores weights of unit variance and scales them when used."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in) to (B, out)."""
        return F.linear(x, self.weight / math.sqrt(self.weight.shape[1]), self.bias)


class StyleHead(nn.Module):
    """One row of w+: convolutions that halve a level of the pyramid until one pixel is left, and a linear layer.

    Args:
        inputs: channels of the level.
        width: channels inside.
        outputs: width of w.
        size: side of the level.
    """

    def __init__(self, inputs: int, width: int, outputs: int, size: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(size.bit_length() - 1):
            layers += [nn.Conv2d(width if number else inputs, width, 3, 2, 1), nn.LeakyReLU(0.01, inplace=True)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualizedLinear(width, outputs)

    def forward(self, level: torch.Tensor) -> torch.Tensor:
        """(B, in, size, size) to (B, out)."""
        return self.linear(self.convs(level)[:, :, 0, 0])


class WPlusEncoder(Trunk):
    """The first stage: GradualStyleEncoder, a trunk, a pyramid of three levels, and a head for every row of w+."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(3, config.widths, config.blocks)
        self.config = config
        _, fine, middle, top = config.widths
        sixteenth = config.image_size // 16
        sizes = (1 if row < COARSE else 2 if row < MIDDLE else 4 for row in range(config.num_ws))
        self.styles = nn.ModuleList(
            StyleHead(top, config.style_width, config.w_dim, sixteenth * factor) for factor in sizes
        )
        self.latlayer1 = nn.Conv2d(middle, top, 1)
        self.latlayer2 = nn.Conv2d(fine, top, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(B, 3, S, S) of the configuration's size to the offsets (B, num_ws, w_dim) from the mean w+."""
        _require(image, (3, self.config.image_size, self.config.image_size), "picture")
        _, c1, c2, _, coarse = self.taps(image)
        middle = _enlarge_to(coarse, self.latlayer1(c2))
        fine = _enlarge_to(middle, self.latlayer2(c1))
        levels = (coarse if row < COARSE else middle if row < MIDDLE else fine for row in range(self.config.num_ws))
        return torch.stack([head(level) for head, level in zip(self.styles, levels, strict=True)], 1)


class DoubleConv(nn.Module):
    """Two convolutions of the second stage's way up."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.double_conv = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, 1, 1),
            nn.PReLU(outputs),
            nn.PReLU(outputs),  # a second one in a row: so it was published
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W) to (B, out, H, W)."""
        return self.double_conv(x)


class Up(nn.Module):
    """One step up: enlarge, put behind what the trunk saw at that size, convolve.

    Args:
        inputs: channels that come from below.
        skipped: channels of the trunk; 0 makes a step that only enlarges.
        outputs: channels that go on, where there is a skip.
        factor: 2, or 1 where the size stays.
        shuffle: spread the channels over the new pixels instead of repeating the old ones.
    """

    def __init__(self, inputs: int, skipped: int = 0, outputs: int = 0, *, factor: int, shuffle: bool) -> None:
        super().__init__()
        self.factor = factor
        self.shuffle = shuffle
        enlarged = inputs // factor**2 if shuffle else inputs
        self.outputs = outputs if skipped else enlarged
        self.conv = DoubleConv(skipped + enlarged, outputs) if skipped else None

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None = None) -> torch.Tensor:
        """(B, in, H, W) and, of a step with a skip, (B, skipped, H * factor, W * factor), to that size."""
        if self.factor > 1:
            x = F.pixel_shuffle(x, self.factor) if self.shuffle else F.interpolate(x, scale_factor=self.factor)
        return x if self.conv is None or skip is None else self.conv(torch.cat([skip, x], 1))


class TrigridEncoder(Trunk):
    """The second stage: a U-Net over the pictures, and a head that corrects the planes with what it made."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__(config.inputs, config.widths, config.blocks)
        self.config = config
        first, second, third, top = config.widths
        shuffle = config.variant == "pixelshuffle"
        # Shuffling divides the channels by four, so that way up is wider.
        wide = (third * 3 // 2, second * 2, first * 3 // 2) if shuffle else (third, second, first)
        self.up1 = Up(top, top, top, factor=1, shuffle=shuffle)
        self.up2 = Up(top, third, wide[0], factor=2, shuffle=shuffle)
        self.up3 = Up(wide[0], second, wide[1], factor=2, shuffle=shuffle)
        self.up4 = Up(wide[1], first, wide[2], factor=2, shuffle=shuffle)
        self.up5 = Up(wide[2], factor=2 * config.plane_size // config.image_size, shuffle=shuffle)
        planes, hidden = config.plane_channels, config.hidden
        self.final_head_two = nn.Sequential(
            nn.Conv2d(planes + self.up5.outputs, hidden, 3, 1, 1),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, hidden, 3, 1, 1),
            nn.PReLU(hidden),
            nn.Conv2d(hidden, planes, 1),
        )

    def forward(self, pictures: torch.Tensor, planes: torch.Tensor) -> torch.Tensor:
        """Correct the planes.

        Args:
            pictures: (B, inputs, S, S) of the configuration's size; ``Encoder.refine`` says what is in them.
            planes: (B, plane_channels, R, R), all three in a row.

        Returns:
            The final planes (B, plane_channels, R, R), not their change.
        """
        size = self.config.image_size
        _require(pictures, (self.config.inputs, size, size), "stack of pictures")
        _require(planes, (self.config.plane_channels, self.config.plane_size, self.config.plane_size), "tri-grid")
        taps = self.taps(pictures)
        x = self.up1(taps.c4, taps.c3)
        x = self.up2(x, taps.c2)
        x = self.up3(x, taps.c1)
        x = self.up4(x, taps.c0)
        x = self.up5(x)
        return planes + self.final_head_two(torch.cat([planes, x], 1))


class Encoder(nn.Module):
    """Both stages and the mean w+ that the first one starts from: all that a bundle keeps of an encoder."""

    latent_avg: torch.Tensor  # (num_ws, w_dim)

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.w_plus = WPlusEncoder(config)
        self.trigrid = TrigridEncoder(config)
        self.register_buffer("latent_avg", torch.zeros(config.num_ws, config.w_dim))

    def encode_w(self, image: torch.Tensor) -> torch.Tensor:
        """A photo (B, 3, H, H), background replaced, to its w+ (B, num_ws, w_dim).

        Raises:
            ModelError: the picture is not square, or smaller than what the encoder sees.
        """
        return self.w_plus(self._shrink(image, "photo")) + self.latent_avg

    def refine(
        self, trigrid: torch.Tensor, image: torch.Tensor, render: torch.Tensor, mirrored_render: torch.Tensor
    ) -> torch.Tensor:
        """Correct the tri-grid that w+ made, by what its renders lack.

        The second stage sees nine channels: the render, the photo minus it, and the mirrored photo minus the render
        from the mirrored camera; each averaged down, in units of [-1, 1], differences up to 2. No gradient reaches the
        first stage through the tri-grid or the renders: the stages are trained apart, as in TriPlaneNet.

        Args:
            trigrid: (B, 3, C, R, R), made from ``encode_w``'s result.
            image: (B, 3, H, H) the photo, before the same background as the renders.
            render: (B, 3, H, H) of ``trigrid`` from the photo's camera.
            mirrored_render: (B, 3, H, H) of ``trigrid`` from ``mirror_camera`` of the photo's camera.

        Returns:
            The final tri-grid (B, 3, C, R, R).

        Raises:
            ModelError: the tri-grid or a picture has another size than this encoder was made for.
        """
        if self.config.inputs != 9:
            raise ModelError(
                f"The encoder's second stage takes {self.config.inputs} channels of pictures, not 9; "
                "import an encoder of TriPlaneNet v2's kind."
            )
        channels, size = self.config.plane_channels // PLANES, self.config.plane_size
        _require(trigrid, (PLANES, channels, size, size), "tri-grid")
        photo = self._shrink(image, "photo")
        seen = self._shrink(render.detach(), "render")
        mirrored = self._shrink(mirrored_render.detach(), "mirrored render")
        pictures = torch.cat([seen, photo - seen, photo.flip(-1) - mirrored], 1)  # (B, 9, S, S)
        return self.trigrid(pictures, trigrid.detach().flatten(1, 2)).view(trigrid.shape)

    def _shrink(self, image: torch.Tensor, name: str) -> torch.Tensor:
        """(B, 3, H, H) averaged over areas to the size that the stages see."""
        size = self.config.image_size
        if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] != image.shape[3] or image.shape[3] < size:
            raise ModelError(
                f"The {name} has the shape {tuple(image.shape)}; give the encoder (B, 3, H, H) with H at least {size}."
            )
        return image if image.shape[3] == size else F.adaptive_avg_pool2d(image, size)


def mirror_camera(camera: torch.Tensor) -> torch.Tensor:
    """The cameras (..., 25) that see a head as a mirror shows it to these: the world's and the picture's x turned.

    A head that is symmetric looks from there like the mirrored picture. Intrinsics stay, as the principal point is in
    the middle.
    """
    signs = camera.new_ones(25)
    signs[list(MIRRORED_SIGNS)] = -1
    return camera * signs


def _enlarge_to(x: torch.Tensor, lateral: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, lateral.shape[-2:], mode="bilinear", align_corners=True) + lateral


def _require(value: torch.Tensor, shape: tuple[int, ...], name: str) -> None:
    """Raise a ModelError unless ``value`` is a batch of ``shape``."""
    if tuple(value.shape[1:]) != shape:
        expected = ", ".join(map(str, shape))
        raise ModelError(
            f"The encoder was made for a {name} of (B, {expected}), but got {tuple(value.shape)}; "
            "use an encoder that was trained for this generator."
        )
