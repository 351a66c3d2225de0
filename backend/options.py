"""The options of a reconstruction: one frozen dataclass behind the command line, the Python API and the messages.

Imports nothing heavy, so that ``--help`` is quick.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

from .errors import OptionError

TEMPLATE = "template"  # the model that is always there


@dataclass(frozen=True, kw_only=True)
class Inversion:
    """How a model inverts the photo: every choice that the paper leaves open, with the reason for its default."""

    mask: Literal["slices", "planes"] = "slices"
    """slices: each slice of a plane has a mask of its own, so that the back of the head is not taken from the encoder
    of the front; planes: one mask a plane, the nearest reading of the paper."""
    mask_rays: int = 256
    """Rays along the side of the input view whose depth makes the mask; fewer than 256 leave holes. 256 to 1024."""
    mask_depth: Literal["visible", "occluded"] = "visible"
    """Whose depth makes the mask; the visible encoder is the more faithful one in the input view."""
    mask_whole: float = 0.5
    """The share of a seen point's look-up that makes its slice the visible encoder's wholly; slices with less get their
    share divided by this. At 1 the weights stay as they are, and a third of the face itself would be the occluded
    encoder's; near 0 the back of the head takes more from the front. 0.05 to 1; only for the mask slices."""
    mask_closing: int = 9
    """Diameter in cells of the closing that fills what lies between rays; 0 to 31."""
    mask_holes: int = 100
    """Holes of at most this many cells are filled: nostrils, between the lips. Larger ones are meant, as the middle of
    the head's middle slice, which lies behind the face. 0 to 65536."""
    mask_growth: int = 1
    """Cells by which the mask grows, so that rims of nose and ears stay the visible encoder's; 0 to 8."""
    mask_softness: float = 1.75
    """Standard deviation in cells of the blur of the mask's edge, which hides the seam; 0 to 10."""
    mixed_planes: Literal["all", "front"] = "all"
    """all: every plane is stitched; front: the two side planes are the visible encoder's, as GOAE has them."""
    appearance: Literal["visible", "occluded"] = "visible"
    """Whose w colours the pictures (super-resolution and background); the input view must look like the photo."""
    background: Literal["white", "grey", "black", "learned"] = "white"
    """What stands behind the head in all pictures: those that the encoders compare with the photo, the photo itself,
    and those that colour the head. The paper removes the photo's own without saying for what. learned: the generator's
    own behind the pictures, white behind the photo."""
    background_over: Literal["picture", "features"] = "picture"
    """Where a constant background enters what the encoders compare with the photo. picture: also laid over the finished
    picture where the head's mask ends, so that nothing differs from the photo outside the head; features: only behind
    the head before super-resolution, which shifts its colour and smears it at the rim."""
    crop: Literal["same", "official"] = "same"
    """same: mesh and pictures hold the same part of the box; official: the mesh is cut at its own border, as in the
    official scripts."""

    def __post_init__(self) -> None:
        for name in ("mask_rays", "mask_closing", "mask_holes", "mask_growth"):  # NumPy's numbers, for head.json
            if _whole(getattr(self, name)):
                object.__setattr__(self, name, int(getattr(self, name)))
        _one_of("--inversion.mask", self.mask, ("slices", "planes"))
        _within("--inversion.mask-rays", self.mask_rays, 256, 1024)
        _one_of("--inversion.mask-depth", self.mask_depth, ("visible", "occluded"))
        _within("--inversion.mask-closing", self.mask_closing, 0, 31)
        _within("--inversion.mask-holes", self.mask_holes, 0, 65536)
        _within("--inversion.mask-growth", self.mask_growth, 0, 8)
        for name, low, high in (("mask_whole", 0.05, 1), ("mask_softness", 0, 10)):
            value = getattr(self, name)
            plain = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
            if not low <= plain <= high:
                shown = name.replace("_", "-")
                raise OptionError(f"--inversion.{shown} is {value}; give a number from {low} to {high}.")
            object.__setattr__(self, name, plain)
        _one_of("--inversion.mixed-planes", self.mixed_planes, ("all", "front"))
        _one_of("--inversion.appearance", self.appearance, ("visible", "occluded"))
        _one_of("--inversion.background", self.background, ("white", "grey", "black", "learned"))
        _one_of("--inversion.background-over", self.background_over, ("picture", "features"))
        _one_of("--inversion.crop", self.crop, ("same", "official"))


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a photo becomes a head. Every field has a default that suits most photos."""

    model: str = TEMPLATE
    """The model: template (the CC0 head fitted to the photo, always there), the name of an imported model, or the path
    of a model's folder. The command headstitch models list tells what is there."""

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where tensors live; auto takes CUDA when there, then MPS, then the CPU."""
    seed: int = 0
    """Seed of everything random; the same photo, options and device give the same head."""
    face: int | None = None
    """Which face to take, counted from 1 in order of size; by default the largest."""
    angles: tuple[float, float, float] | None = None
    """The head's yaw, pitch and roll in degrees, given by hand; needs --crop too where no face is found."""
    crop: tuple[float, float, float, float] | None = None
    """The crop by hand: centre column and row and side in pixels of the upright photo, and rotation in degrees."""
    resolution: int = 256
    """Nodes along each side of the lattice on which the density is sampled; 32 to 512."""
    smoothing: int = 5
    """Rounds of Taubin smoothing of the raw surface; 0 leaves it as marching cubes made it."""
    faces: int = 40_000
    """Triangles after decimation; 0 keeps all of them."""
    neck: Literal["closed", "open"] = "closed"
    """Whether the cut through the neck is capped."""
    texture_size: int = 2048
    """Side of the albedo texture in pixels; 256 to 8192."""
    uv: Literal["parts", "open3d"] = "parts"
    """How the texture is laid out. parts: few charts, cut so that the face lies in one, upright, the same every time;
    open3d: Open3D's UVAtlas, another layout on every run."""
    quality: bool = True
    """Measure the finished head and warn about what looks wrong (adds some seconds)."""
    debug_images: bool = False
    """Write debug.png beside the head: the masks, and what both encoders and the stitched head look like."""
    inversion: Inversion = field(default_factory=Inversion)
    """How a model inverts the photo; the template has nothing to invert."""

    def __post_init__(self) -> None:
        self._make_plain()
        _one_of("--device", self.device, ("auto", "cpu", "cuda", "mps"))
        _one_of("--neck", self.neck, ("closed", "open"))
        _one_of("--uv", self.uv, ("parts", "open3d"))
        _within("--seed", self.seed, 0, 2**32 - 1)
        _within("--resolution", self.resolution, 32, 512)
        _within("--smoothing", self.smoothing, 0, 100)
        _within("--texture-size", self.texture_size, 256, 8192)
        if not _whole(self.faces) or (self.faces != 0 and not 500 <= self.faces <= 2_000_000):
            raise OptionError(f"--faces is {self.faces}; give 0 to keep all triangles, or 500 to 2000000.")
        if self.face is not None and (not _whole(self.face) or self.face < 1):
            raise OptionError(f"--face is {self.face}; faces are counted from 1, the largest first.")
        if self.angles is not None:
            _numbers("--angles", self.angles, "yaw, pitch and roll in degrees", 3)
            if max(map(abs, self.angles)) > 180:
                raise OptionError(f"--angles is {_spaced(self.angles)}; give degrees from -180 to 180.")
        if self.crop is not None:
            _numbers("--crop", self.crop, "centre column, centre row, side in pixels and rotation in degrees", 4)
            if self.crop[2] <= 0:
                raise OptionError(f"--crop has a side of {self.crop[2]:g} pixels; the side must be positive.")

    def _make_plain(self) -> None:
        """Take NumPy's numbers and any sequence as Python's own: what stands in head.json must be JSON."""
        for name in ("seed", "face", "resolution", "smoothing", "faces", "texture_size"):
            value = getattr(self, name)
            if _whole(value):
                object.__setattr__(self, name, int(value))
        for name in ("angles", "crop"):
            values = getattr(self, name)
            if values is None:
                continue
            if isinstance(values, str) or not isinstance(values, Iterable):
                raise OptionError(f"--{name} is {values}; give {'3' if name == 'angles' else '4'} numbers.")
            plain = tuple(float(value) if isinstance(value, Real) else value for value in values)
            object.__setattr__(self, name, plain)
        for name in ("quality", "debug_images"):
            value = getattr(self, name)
            if value not in (True, False):
                raise OptionError(f"--{name.replace('_', '-')} is {value}; give True or False.")
            object.__setattr__(self, name, bool(value))
        if not isinstance(self.model, str) or not self.model:
            raise OptionError(f"--model is {self.model!r}; give template, or a name that headstitch models list shows.")
        if not isinstance(self.inversion, Inversion):
            raise OptionError(f"inversion is {self.inversion!r}; give an Inversion.")
        if self.debug_images and self.model == TEMPLATE:
            raise OptionError(
                "--debug-images shows how a model inverts the photo, and the template inverts nothing; "
                "leave it out, or choose a model with --model."
            )

    def to_dict(self) -> dict[str, Any]:
        """As it stands in head.json: plain JSON values, tuples as lists."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Options:
        """From what ``to_dict`` gave, also after a way through JSON.

        Raises:
            OptionError: a value cannot work.
            TypeError: an option is not known.
        """
        return Options(**{**values, "inversion": Inversion(**values["inversion"])})


def _whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _within(name: str, value: int, low: int, high: int) -> None:
    if not _whole(value) or not low <= value <= high:
        raise OptionError(f"{name} is {value}; give a whole number from {low} to {high}.")


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise OptionError(f"{name} is {value}; give {', '.join(known[:-1])} or {known[-1]}.")


def _numbers(name: str, values: tuple[float, ...], meaning: str, count: int) -> None:
    if len(values) != count or not all(isinstance(value, Real) and math.isfinite(value) for value in values):
        raise OptionError(f"{name} is {_spaced(values)}; give {count} numbers: {meaning}.")


def _spaced(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" if isinstance(value, Real) else str(value) for value in values)
