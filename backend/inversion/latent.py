"""What a model's head is made from, as it lies in latent.safetensors: enough, with the model, to render and mesh it
again. Between the inversion and the field.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from ...kernels.trigrid import Rows, to_rows
from ..camera import Camera
from ..errors import ModelError, ResultsError
from ..field import TrigridField
from ..models.bundle import Bundle, load_bundle
from ..models.store import NAME
from ..networks.config import PLANES
from ..networks.generator import Generator
from ..options import Inversion
from .color import COLORS, make_painter
from .invert import Inverted

_TENSORS = {
    "w_plus.visible": "visible",
    "w_plus.occluded": "occluded",
    "w": "w",
    "trigrid": "trigrid",
    "mask": "mask",
}
"""The names of the tensors in the file, and their fields."""
_HALF = float(torch.finfo(torch.float16).max)


@dataclass(frozen=True, eq=False)
class Latent:
    """A stitched head without its model."""

    visible: torch.Tensor  # (num_ws, w_dim) float32, w+ of the encoder of what the photo shows
    occluded: torch.Tensor  # (num_ws, w_dim) float32, w+ of the other one
    w: torch.Tensor  # (num_ws, w_dim) float32, which colours pictures
    trigrid: torch.Tensor  # (3, F * slices, R, R) float16, stitched
    mask: torch.Tensor  # (3, slices, R, R) uint8, 255 is the visible encoder's
    camera: Camera  # the photo's
    model: str  # the model's name
    model_sha256: str

    @staticmethod
    def of(inverted: Inverted, camera: Camera, bundle: Bundle) -> Latent:
        """What is kept of an inversion; on the CPU.

        Raises:
            ModelError: the tri-grid does not fit into half precision.
        """
        if float(inverted.stitched.abs().max()) > _HALF:
            raise ModelError(
                f"The tri-grid that the model {bundle.name} made of this photo has numbers beyond {_HALF:.0f}; "
                "check the model with headstitch models verify, or try another photo."
            )
        return Latent(
            visible=inverted.visible.w_plus[0].float().cpu(),
            occluded=inverted.occluded.w_plus[0].float().cpu(),
            w=inverted.w[0].float().cpu(),
            trigrid=inverted.stitched[0].half().cpu(),
            mask=(inverted.mask * 255).round().to(torch.uint8).cpu(),
            camera=camera,
            model=bundle.name,
            model_sha256=bundle.sha256,
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """As latent.safetensors holds it."""
        return {
            **{name: getattr(self, field).numpy() for name, field in _TENSORS.items()},
            "camera": self.camera.label,
            "model.name": np.frombuffer(self.model.encode(), np.uint8),
            "model.sha256": np.frombuffer(bytes.fromhex(self.model_sha256), np.uint8),
        }

    @staticmethod
    def from_arrays(arrays: Mapping[str, np.ndarray]) -> Latent:
        """From what ``to_arrays`` gave; every array is checked, for the file may come from anywhere.

        Raises:
            ResultsError: an array is missing, or is none that can be.
        """
        try:
            _check_arrays(arrays)
            tensors = {name: torch.from_numpy(np.array(arrays[name])) for name in _TENSORS}
            return Latent(
                **{field: tensors[name] for name, field in _TENSORS.items()},
                camera=Camera.from_label(arrays["camera"]),
                model=_name(arrays["model.name"]),
                model_sha256=arrays["model.sha256"].tobytes().hex(),
            )
        except KeyError as error:
            raise _damaged(f"it lacks {error}") from error
        except ValueError as error:
            raise _damaged(str(error)) from error

    def find_model(self, model: str | None = None) -> Bundle:
        """The model that this head was made with.

        Args:
            model: its name or folder; by default the name that it had.

        Raises:
            ModelError: there is no such model, or it is another one.
        """
        try:
            bundle = load_bundle(model or self.model)
        except ModelError as error:
            raise ModelError(f"This head was made with the model {self.model}. {error}") from error
        if bundle.sha256 != self.model_sha256:
            raise ModelError(
                f"This head was made with the model {self.model} of hash {self.model_sha256[:12]}, and that of "
                f"{bundle.folder} has {bundle.sha256[:12]}; import the one it was made with, or give its folder with "
                "--model."
            )
        config = bundle.config
        fits = self.trigrid.shape[1:] == (config.plane_channels, config.trigrid_size, config.trigrid_size)
        if not fits or self.w.shape != (config.num_ws, config.w_dim):
            raise ModelError(
                f"This head's tri-grid of {tuple(self.trigrid.shape)} is not one of the model {bundle.name}; "
                "make the head anew."
            )
        return bundle

    def field(self, generator: Generator, options: Inversion, device: torch.device) -> TrigridField:
        """The head as a field: the same one whenever it is made of the same arrays.

        Args:
            generator: the model's, on ``device``.
            options: the crop, and the background of the pictures that give the colour.
            device: where the field's tensors live.
        """
        rows = self._rows(generator, device)
        return TrigridField(
            rows,
            generator.decoder_weights(),
            config=generator.config,
            level=generator.config.level,
            crop=options.crop,
            color=make_painter(generator, rows, self.w[None].to(device), options, device),
        )

    def viewer(self, generator: Generator, options: Inversion, device: torch.device) -> Callable[[Camera], np.ndarray]:
        """What shows the head through its model: a camera to a picture (H, H, 3) uint8 sRGB.

        Args:
            generator: the model's, on ``device``.
            options: crop and background.
            device: where the tensors live.
        """
        rows = self._rows(generator, device)
        w = self.w[None].to(device)
        behind = COLORS[options.background]

        def show(camera: Camera) -> np.ndarray:
            label = torch.from_numpy(camera.label)[None].to(device)
            image = generator.render(rows, w, label, background=behind, crop=options.crop).image
            return to_uint8(image)

        return show

    def _rows(self, generator: Generator, device: torch.device) -> Rows:
        """The tri-grid as look-ups want it, in single precision: the only such copy of it."""
        return to_rows(self.trigrid.to(device)[None], depth=generator.config.trigrid_depth).float()


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError with a part of a sentence, or KeyError."""
    shape = arrays["trigrid"].shape
    if len(shape) != 4 or shape[0] != PLANES or shape[2] != shape[3] or 0 in shape:
        raise ValueError(f"trigrid has the shape {shape}")
    slices = arrays["mask"].shape[1:2]
    if slices == (0,) or (slices and shape[1] % slices[0]):
        raise ValueError(f"mask has {slices[0]} slices, and the tri-grid {shape[1]} channels a plane")
    rows = arrays["w"].shape
    if len(rows) != 2 or 0 in rows:
        raise ValueError(f"w has the shape {rows}")
    wanted = {
        "trigrid": (shape, np.float16),
        "mask": ((PLANES, *slices, *shape[2:]), np.uint8),
        "w": (rows, np.float32),
        "w_plus.visible": (rows, np.float32),
        "w_plus.occluded": (rows, np.float32),
        "camera": ((25,), np.float32),
        "model.name": ((arrays["model.name"].size,), np.uint8),
        "model.sha256": ((32,), np.uint8),
    }
    for name, (size, kind) in wanted.items():
        array = arrays[name]
        if array.shape != size or array.dtype != kind:
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, not {np.dtype(kind)} of {size}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} holds what is no number")


def _name(array: np.ndarray) -> str:
    """The model's name, which is no path: the file may be a stranger's, and what it names is looked for."""
    name = array.tobytes().decode()
    if not NAME.fullmatch(name):
        raise ValueError(f"model.name is {name[:80]!r}, which no model is called")
    return name


def _damaged(why: str) -> ResultsError:
    return ResultsError(f"This head's latent.safetensors is damaged: {why}; make the head anew.")


def to_uint8(image: torch.Tensor) -> np.ndarray:
    """A picture (1, 3, H, W) in [-1, 1], where it may overshoot, as (H, W, 3) uint8."""
    values = (image[0].permute(1, 2, 0).float().cpu().numpy() + 1) * 127.5
    return (values + 0.5).clip(0, 255).astype(np.uint8)


def is_of_model(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether the arrays of a latent.safetensors are a model's, not the template's."""
    return "trigrid" in arrays
