"""The sizes of a generator and of its encoders: one literal configuration for each architecture. Stands under every
network.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

from ..errors import ModelError

PLANES = 3
CAMERA = 25  # numbers in a camera label
# The most that an encoder's sizes may be, far beyond what anyone trains: a model's file may say anything.
MOST_CHANNELS, MOST_BLOCKS, MOST_ROWS, MOST_PIXELS = 1 << 14, 128, 64, 2048


class Recorded:
    """What the configurations have in common, frozen dataclasses all of them: how they stand in model.json."""

    def to_dict(self) -> dict[str, Any]:
        """As it stands in model.json."""
        values = asdict(self)  # pyright: ignore[reportArgumentType]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """From model.json.

        Raises:
            ValueError: a key is missing or unknown, or a value cannot be.
        """
        known = {field.name for field in fields(cls)}  # pyright: ignore[reportArgumentType]
        if set(values) != known:
            raise ValueError(f"these configuration keys are missing or unknown: {sorted(known ^ set(values))}")
        return cls(**values)


class TrigridSizes:
    """What follows from the sizes of a tri-grid, which the configuration of its generator has."""

    trigrid_size: int
    trigrid_depth: int
    features: int

    @property
    def plane_channels(self) -> int:
        """Channels of one plane: its features times its slices, the slice running fastest."""
        return self.features * self.trigrid_depth

    @property
    def num_ws(self) -> int:
        """Rows of w+: two for each block of the synthesis of the tri-grid, from 4 pixels on."""
        return 2 * (self.trigrid_size.bit_length() - 2)


@dataclass(frozen=True)
class GeneratorConfig(TrigridSizes, Recorded):
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


OFFICIAL = GeneratorConfig()


@dataclass(frozen=True)
class EncoderConfig(Recorded):
    """What an encoder, both its stages, is built from.

    The values are those of the published ones: pSp's GradualStyleEncoder(50, ir_se) and the encoder of TriPlaneNet v2,
    its head widened to PanoHead's planes.

    Raises:
        ValueError: sizes that no network can have.
    """

    image_size: int = 256
    """Side of the pictures that both stages see; larger ones are averaged down to it."""
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    """Channels of the four stages of either trunk."""
    blocks: tuple[int, int, int, int] = (3, 4, 14, 3)
    """Blocks of the four stages."""
    num_ws: int = 14
    """Rows of w+."""
    w_dim: int = 512
    style_width: int = 512
    """Channels inside the heads that each make one row of w+; most of the weights are there."""
    inputs: int = 9
    """Channels of the pictures that the second stage sees; ``Encoder.refine`` makes nine."""
    plane_channels: int = 288
    """Channels of all three planes together: 288 of PanoHead's tri-grid, 96 of EG3D's plain planes."""
    plane_size: int = 256
    """Cells along the side of a plane: as many as the pictures have pixels, or half as many."""
    variant: Literal["upsample", "pixelshuffle"] = "upsample"
    """How the second stage enlarges; upsample (nearest) is what TriPlaneNet v2 does unless told otherwise."""
    hidden: int = 288
    """Channels inside the second stage's head. Nothing says whether they grow with the planes (288) or stay 96."""

    def __post_init__(self) -> None:
        for name in ("widths", "blocks"):  # lists, out of JSON
            value = getattr(self, name)
            if not isinstance(value, tuple | list) or len(value) != 4:
                raise ValueError(f"{name} is {value}; it must be four numbers, one for each stage")
            object.__setattr__(self, name, tuple(value))
        names = ("image_size", "num_ws", "w_dim", "style_width", "inputs", "plane_channels", "plane_size", "hidden")
        sizes = (*self.widths, *self.blocks, *(getattr(self, name) for name in names))
        if any(type(size) is not int or size < 1 for size in sizes):
            raise ValueError(f"every size of an encoder is a whole number from 1 on, but this is {self}")
        bounds = {
            MOST_CHANNELS: (*self.widths, self.w_dim, self.style_width, self.inputs, self.plane_channels, self.hidden),
            MOST_BLOCKS: self.blocks,
            MOST_ROWS: (self.num_ws,),
            MOST_PIXELS: (self.image_size, self.plane_size),
        }
        if any(size > most for most, few in bounds.items() for size in few):
            raise ValueError(f"no encoder is as large as {self}")
        if any(width % 8 for width in self.widths):
            raise ValueError(f"the widths {self.widths} of the trunk must be multiples of 8")
        if self.image_size < 32 or self.image_size & (self.image_size - 1):
            raise ValueError(f"image_size is {self.image_size}; it must be a power of two from 32 on")
        if self.plane_size not in (self.image_size, self.image_size // 2):
            raise ValueError(
                f"plane_size is {self.plane_size}; it must be image_size ({self.image_size}) or half of it"
            )
        if self.plane_channels % PLANES:
            raise ValueError(f"plane_channels is {self.plane_channels}; it must be a multiple of {PLANES}")
        if self.variant not in ("upsample", "pixelshuffle"):
            raise ValueError(f"variant is {self.variant!r}; it must be upsample or pixelshuffle")

    def check_fits(self, generator: GeneratorConfig) -> None:
        """Make sure that this encoder inverts into that generator.

        Raises:
            ModelError: the w+ or the tri-grid of the two differ; the sentence says in what.
        """
        pairs = (
            ("rows of w+", self.num_ws, generator.num_ws),
            ("numbers in a row of w+", self.w_dim, generator.w_dim),
            ("channels of the planes", self.plane_channels, PLANES * generator.plane_channels),
            ("cells along a plane", self.plane_size, generator.trigrid_size),
        )
        wrong = [f"{name} {mine} instead of {theirs}" for name, mine, theirs in pairs if mine != theirs]
        if wrong:
            raise ModelError(
                f"The encoder does not fit the generator: {', '.join(wrong)}; "
                "import an encoder that was trained for this generator."
            )


OFFICIAL_ENCODER = EncoderConfig()
