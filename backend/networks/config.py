"""The sizes of a generator: one literal configuration for each architecture. Stands under every network."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

PLANES = 3
CAMERA = 25  # numbers in a camera label


@dataclass(frozen=True)
class GeneratorConfig:
    """What a generator is built from; the values are those of the official model (its training command, CVPR 2023)."""

    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 2
    channel_base: int = 32768
    channel_max: int = 512
    trigrid_size: int = 256
    """Cells along the side of a plane."""
    trigrid_depth: int = 3
    """Slices of a plane."""
    features: int = 32
    """Numbers in a cell of a slice, and of a decoded point."""
    decoder_hidden: int = 64
    decoder_activation: Literal["none", "sigmoid", "lrelu"] = "none"
    image_size: int = 512
    superresolution: Literal["8XDC", "8X", "4X", "2X"] = "8XDC"
    superresolution_clamp: float | None = 256.0
    render_size: int = 64
    """Rays along the side of a picture before super-resolution."""
    coarse_samples: int = 48
    fine_samples: int = 48
    ray_start: float = 2.25
    ray_end: float = 3.3
    box_warp: float = 1.0
    """Side of the tri-grid's cube in world units."""
    zero_camera: bool = False
    """Whether the mapping is told no camera at all (``c_gen_conditioning_zero``)."""
    camera_scale: float = 1.0
    """Factor on the mapping's camera (``c_scale``)."""
    level: float = 10.0
    """The raw density at the surface."""

    def channels(self, resolution: int, base: int | None = None) -> int:
        """Channels of a synthesis block at a resolution."""
        return min((base or self.channel_base) // resolution, self.channel_max)

    @property
    def plane_channels(self) -> int:
        """Channels of one plane: its features times its slices, the slice running fastest."""
        return self.features * self.trigrid_depth

    @property
    def num_ws(self) -> int:
        """Rows of w+: two for each block of the backbone, from 4 pixels on."""
        return 2 * (self.trigrid_size.bit_length() - 2)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in model.json."""
        return asdict(self)

    @staticmethod
    def from_dict(values: dict[str, Any]) -> GeneratorConfig:
        """From model.json.

        Raises:
            ValueError: a key is missing or unknown.
        """
        known = {field.name for field in fields(GeneratorConfig)}
        if set(values) != known:
            raise ValueError(f"these configuration keys are missing or unknown: {sorted(known ^ set(values))}")
        return GeneratorConfig(**values)


OFFICIAL = GeneratorConfig()
