"""The numbers of the paper's trainings, as files of JSON beside the code: data/NAME.json. Read by the command line.

Where the paper (Bilecen et al. 2024) or what it builds on states a number, "paper" has it; what nothing states is
marked as a choice here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ..errors import OptionError

SHIPPED = Path(__file__).with_name("data")


@dataclass(frozen=True)
class Losses:
    """Factors on the terms that an encoder is trained with (equations 2 and 6)."""

    l2: float = 1.0
    perceptual: float = 0.8
    identity: float = 0.5
    adversarial: float = 0.001
    """Only of the encoder of what is hidden."""


@dataclass(frozen=True)
class Adversary:
    """The discriminator of tri-grids and how it is trained (table 6, equations 8 and 9)."""

    widths: tuple[int, ...] = (64, 128, 256, 512)
    learning_rate: float = 1e-4
    r1: float = 10.0
    """Coefficient of the penalty; a separate update every ``r1_every`` steps, scaled by as much: r1 / 2 * r1_every."""
    r1_every: int = 16
    truncation: float = 1.0
    """Of the w+ of the real samples; a choice."""

    joint: bool = True
    """Whether real and fake samples share the statistics of the batch norms; nothing says which. Apart, each half is
    normalised by itself and what sets them apart is all but gone: the game hardly moves (docs/train.md)."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))


@dataclass(frozen=True)
class DualConfig:
    """One of the paper's trainings at some size. The generator's own sizes come with its model."""

    steps: int = 500_000
    batch: int = 3
    """Of all processes together."""
    learning_rate: float = 1e-4
    image_size: int = 256
    """Side of the pictures that encoders and losses see."""
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    blocks: tuple[int, int, int, int] = (3, 4, 14, 3)
    style_width: int = 512
    variant: Literal["upsample", "pixelshuffle"] = "upsample"
    hidden: int = 288
    w_alone: int = 20_000
    """Steps in which only the W+ stage learns (TriPlaneNet v2)."""
    w_until: int = 500_000
    """The step from which the W+ stage stays as it is (TriPlaneNet v2)."""
    perceptual: Literal["lpips", "own"] = "lpips"
    """lpips needs AlexNet's weights and its own from files; own is ``perceptual.GradientDistance``."""
    losses: Losses = field(default_factory=Losses)
    adversary: Adversary = field(default_factory=Adversary)
    background: Literal["white", "grey", "black"] = "white"
    """Behind photos and renders; the paper removes the photo's own without saying for what."""
    mask: Literal["slices", "planes"] = "slices"
    """As ``Inversion.mask``."""
    synthetic: float = 0.5
    """Share of samples that are pictures of G(z+) instead of photos: best in table 4, which tells no share."""
    mirror: bool = True
    """Whether each photo comes mirrored too, with its camera."""
    rebalance: float = 0.5
    """Power of the scarcity of a pose that its photos are repeated by, 0 for none: LPFF's idea; a choice."""
    most_repeats: int = 8
    mean_of: int = 100_000
    """Latents whose mean w the W+ stage starts from."""
    kept_out: int = 64
    """Photos that are not learnt from, for the score that tells the best checkpoint; at most a tenth of them."""
    checkpoint_every: int = 5000
    sheet_every: int = 1000
    log_every: int = 50

    def __post_init__(self) -> None:
        for name in ("widths", "blocks"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        least = {
            "steps": 1,
            "batch": 1,
            "image_size": 32,
            "w_alone": 0,
            "w_until": 0,
            "most_repeats": 1,
            "mean_of": 1,
            "kept_out": 0,
        }
        for name, low in least.items():
            if type(getattr(self, name)) is not int or getattr(self, name) < low:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a whole number from {low} on")
        if self.w_until < self.w_alone:
            raise ValueError(f"w_until is {self.w_until}; no stage would learn from there to w_alone, {self.w_alone}")
        if self.adversary.r1_every < 1:
            raise ValueError(f"adversary.r1_every is {self.adversary.r1_every}; it must be a whole number from 1 on")
        for name, value in (("learning_rate", self.learning_rate), *asdict(self.losses).items()):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value}; it must be a number from 0 on")
        if not 0 <= self.synthetic <= 1:
            raise ValueError(f"synthetic is {self.synthetic}; it must be a share from 0 to 1")
        choices = {
            "background": ("white", "grey", "black"),
            "mask": ("slices", "planes"),
            "variant": ("upsample", "pixelshuffle"),
            "perceptual": ("lpips", "own"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be {' or '.join(known)}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return json.loads(json.dumps(asdict(self)))


def load_config(name_or_path: str) -> DualConfig:
    """A shipped configuration by its name, or one of a person's own by its path; what a file leaves out is the paper's.

    Raises:
        OptionError: there is no such file, or it says what cannot be.
    """
    path = SHIPPED / f"{name_or_path}.json"
    if not name_or_path.isidentifier() or not path.is_file():
        path = Path(name_or_path).expanduser()
    if not path.is_file():
        names = ", ".join(sorted(each.stem for each in SHIPPED.glob("*.json")))
        raise OptionError(f"There is no configuration {name_or_path}; give {names}, or the path of a JSON file.")
    try:
        values = json.loads(path.read_text("utf-8"))
        return _built(DualConfig, values, "")
    except (OSError, ValueError, TypeError) as error:
        raise OptionError(f"The configuration {path} cannot be used ({error}); mend it.") from error


def _built(kind: Any, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise ValueError(f"{where.rstrip('.') or 'the file'} holds no settings by name")  # noqa: TRY004
    known = {each.name for each in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise ValueError(f"there is no setting {where}{unknown[0]}")
    inner = {"losses": Losses, "adversary": Adversary} if kind is DualConfig else {}
    return kind(
        **{name: _built(inner[name], value, f"{name}.") if name in inner else value for name, value in values.items()}
    )
