"""PanoHead's generator (CVPR 2023): latent and camera to w+, w+ to a tri-grid, a tri-grid to pictures.

The parts can be used one by one: an inversion makes w+ and a tri-grid of its own and only renders. Tensors carry the
names of the official model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from ...kernels.trigrid import DecoderWeights, Rows
from ..rendering import Crop, RayResult, Sampling, render_rays
from .config import PLANES, GeneratorConfig
from .decoder import Decoder
from .layers import Noise, ToRGB
from .mapping import Mapping
from .superresolution import LAYOUTS, SuperResolution, resize
from .synthesis import SynthesisNetwork

Background = Literal["learned"] | tuple[float, float, float] | None
"""What stands behind the head: the generator's own; a colour in [-1, 1]; or None, features of zero."""


@dataclass(frozen=True)
class Rendering:
    """Pictures of a head; S rays a side. Colours in [-1, 1], where super-resolution may overshoot a little."""

    image: torch.Tensor  # (B, 3, size, size), the finished picture
    raw: torch.Tensor  # (B, 3, S, S), before super-resolution
    mask: torch.Tensor  # (B, 1, S, S), opacity of the head, about 0 to 1
    depth: torch.Tensor  # (B, 1, S, S), along the ray, world units
    features: torch.Tensor  # (B, F, S, S), head and background composited


class Backbone(nn.Module):
    """The mapping and the synthesis of the tri-grid, under the official names."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.synthesis = SynthesisNetwork(
            config.w_dim,
            config.trigrid_size,
            PLANES * config.plane_channels,
            channel_base=config.channel_base,
            channel_max=config.channel_max,
        )
        self.mapping = Mapping(
            config.z_dim,
            config.w_dim,
            layers=config.mapping_layers,
            camera_scale=config.camera_scale,
            zero_camera=config.zero_camera,
        )


class Generator(nn.Module):
    """PanoHead's generator.

    Freshly made, its weights are random, as at the start of training; a model's are loaded as a state dict.

    Raises:
        ValueError: the configuration's picture size is not what its super-resolution makes.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        layout = LAYOUTS[config.superresolution]
        if config.image_size != layout.output_size:
            raise ValueError(
                f"super-resolution {config.superresolution} makes {layout.output_size} pixels, "
                f"but the configuration says {config.image_size}"
            )
        self.config = config
        self.backbone = Backbone(config)
        self.superresolution = SuperResolution(
            config.superresolution, config.features, config.w_dim, clamp=config.superresolution_clamp
        )
        self.decoder = Decoder(config.features, config.decoder_hidden, config.decoder_activation)
        self.torgb = ToRGB(config.features, 3, config.w_dim)
        self.bcg_synthesis = SynthesisNetwork(
            config.w_dim,
            layout.input_size,
            config.features,
            channel_base=config.channel_base // 2,
            channel_max=config.channel_max,
        )
        self.t_mapping = Mapping(
            config.z_dim,
            3,
            layers=config.mapping_layers,
            lr_mul=1.0,
            last="linear",
            camera_scale=config.camera_scale,
            zero_camera=config.zero_camera,
        )

    def map(
        self, z: torch.Tensor, camera: torch.Tensor, *, truncation: float = 1.0, cutoff: int | None = None
    ) -> torch.Tensor:
        """A latent, conditioned on a camera, to w+.

        Args:
            z: (B, z_dim) normal numbers.
            camera: (B, 25) labels; a fixed frontal one, whatever the pictures are seen from.
            truncation: 1 is plain, less is closer to the mean head, 0 is the mean.
            cutoff: how many rows are truncated; None is all.

        Returns:
            (B, num_ws, w_dim), all rows equal but for a cutoff.
        """
        return self.backbone.mapping.rows(z, camera, self.config.num_ws, truncation=truncation, cutoff=cutoff)

    def camera_offset(
        self, z: torch.Tensor, camera: torch.Tensor, *, truncation: float = 1.0, cutoff: int | None = None
    ) -> torch.Tensor:
        """The learned offset (B, 3), world units, that the plain call adds to the camera's position."""
        return self.t_mapping.rows(z, camera, 1, truncation=truncation, cutoff=cutoff)[:, 0]

    def trigrid(
        self, w_plus: torch.Tensor, *, noise: Noise = "const", generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """W+ (B, num_ws, w_dim) to the tri-grid (B, 3, F * slices, R, R)."""
        image = self.backbone.synthesis(w_plus, noise=noise, generator=generator)
        size = self.config.trigrid_size
        return image.reshape(len(image), PLANES, self.config.plane_channels, size, size).contiguous()

    def decoder_weights(self) -> DecoderWeights:
        """What ``kernels.trigrid`` decodes with."""
        return self.decoder.weights()

    def sampling(self, crop: Crop = "official") -> Sampling:
        """Where rays are sampled."""
        c = self.config
        return Sampling(
            coarse=c.coarse_samples,
            fine=c.fine_samples,
            start=c.ray_start,
            end=c.ray_end,
            box_warp=c.box_warp,
            slices=c.trigrid_depth,
            crop=crop,
        )

    def render(
        self,
        trigrid: torch.Tensor | Rows,
        w_plus: torch.Tensor,
        camera: torch.Tensor,
        *,
        size: int | None = None,
        background: Background = "learned",
        crop: Crop = "official",
        noise: Noise = "const",
        generator: torch.Generator | None = None,
        jitter: torch.Generator | None = None,
        chunk: int | None = None,
    ) -> Rendering:
        """Pictures of a ready tri-grid. The defaults are the official behaviour, made deterministic.

        Args:
            trigrid: (B, 3, F * slices, R, R), or its rows (``to_rows``) where several pictures are made of it.
            w_plus: (B, num_ws, w_dim); its last row colours, and all rows make a learned background.
            camera: (B, 25) labels to render from.
            size: rays along each side; None is the configuration's.
            background: composited behind the head before super-resolution, so it stands in every picture. A colour
                becomes the shortest feature vector that shows as that colour.
            crop: what of the box is seen, see ``Sampling``.
            noise: of the learned background.
            generator: source of random noise.
            jitter: source of random depths along the rays; without it they are always the same.
            chunk: samples worked on at once, which bounds the memory; None is what suits the device.
        """
        rays = render_rays(
            trigrid,
            self.decoder_weights(),
            camera,
            size=size or self.config.render_size,
            sampling=self.sampling(crop),
            jitter=jitter,
            chunk=chunk,
        )
        behind = self.background(w_plus, rays.features.shape[-1], background, noise=noise, generator=generator)
        features = rays.features + (1 - rays.weight_sum) * behind
        image, raw = self.finish(features, w_plus)
        return Rendering(image, raw, _mask(rays), rays.depth, features)

    def depth(
        self,
        trigrid: torch.Tensor | Rows,
        camera: torch.Tensor,
        *,
        size: int | None = None,
        crop: Crop = "official",
        chunk: int | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Depth and mask, each (B, 1, size, size), of ``render`` alone: no features, no super-resolution."""
        rays = render_rays(
            trigrid,
            self.decoder_weights().density_only(),
            camera,
            size=size or self.config.render_size,
            sampling=self.sampling(crop),
            chunk=chunk,
        )
        return rays.depth, _mask(rays)

    def background(
        self,
        w_plus: torch.Tensor,
        size: int,
        background: Background = "learned",
        *,
        noise: Noise = "const",
        generator: torch.Generator | None = None,
    ) -> torch.Tensor:
        """The features (B, F, size, size), or (B, F, 1, 1) of a constant, that stand behind the head."""
        if background == "learned":
            return resize(self.bcg_synthesis(w_plus, noise=noise, generator=generator), size)
        if background is None:
            return w_plus.new_zeros(len(w_plus), self.config.features, 1, 1)
        # The colour is M f + bias: the shortest f that gives it.
        matrix = self.torgb.weight[:, :, 0, 0] * self.torgb.styles(w_plus[:, -1])[:, None]  # (B, 3, F)
        wanted = w_plus.new_tensor(background) - self.torgb.bias  # (3,)
        return (torch.linalg.pinv(matrix) @ wanted)[:, :, None, None]

    def finish(self, features: torch.Tensor, w_plus: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Composited features (B, F, S, S) to the finished picture (B, 3, size, size) and the raw one (B, 3, S, S)."""
        raw = self.torgb(features, w_plus[:, -1])
        return self.superresolution(features, raw, w_plus[:, -1]), raw

    def raw_color(self, features: torch.Tensor, w_plus: torch.Tensor) -> torch.Tensor:
        """Colours (B, N, 3), about -1 to 1, of the decoded features (B, N, F) of single points."""
        return self.torgb(features.mT[..., None], w_plus[:, -1])[..., 0].mT

    def forward(
        self, z: torch.Tensor, camera: torch.Tensor, *, truncation: float = 1.0, cutoff: int | None = None
    ) -> Rendering:
        """The official plain call: one camera conditions and, moved by the learned offset, renders.

        Args:
            z: (B, z_dim) normal numbers.
            camera: (B, 25) labels.
            truncation: as in ``map``, and of the offset too.
            cutoff: likewise.
        """
        w_plus = self.map(z, camera, truncation=truncation, cutoff=cutoff)
        offset = self.camera_offset(z, camera, truncation=truncation, cutoff=cutoff)
        return self.render(self.trigrid(w_plus), w_plus, moved(camera, offset))


def moved(camera: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """The cameras (B, 25) with their positions moved by (B, 3) world units."""
    return camera.index_add(1, torch.tensor([3, 7, 11], device=camera.device), offset)


def _mask(rays: RayResult) -> torch.Tensor:
    return rays.weight_sum * 1.002 - 0.001
