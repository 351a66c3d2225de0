"""Whether two pictures show the same person: IR-SE50, whose weights a person brings (``model_ir_se50.pth``)."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import ModelError
from ..models.encoders import read_tensors, trunk_of
from ..networks.irse import Trunk

SIDE = 112  # pixels that the network sees
TOP, LEFT, CROP, OF = 35, 32, 188, 256  # the face within a picture of 256 pixels: rows 35 to 222, columns 32 to 219


class FaceNet(Trunk):
    """The face recogniser: the trunk of the encoders with one layer on top. Tensors carry the published names."""

    def __init__(
        self, widths: tuple[int, int, int, int], blocks: tuple[int, int, int, int], numbers: int, side: int
    ) -> None:
        super().__init__(3, widths, blocks)
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(widths[3]),
            nn.Identity(),  # a dropout in training
            nn.Flatten(),
            nn.Linear(widths[3] * side * side, numbers),
            nn.BatchNorm1d(numbers),
        )

    def forward(self, face: torch.Tensor) -> torch.Tensor:
        """(B, 3, 112, 112) in [-1, 1] to unit vectors (B, numbers)."""
        return F.normalize(self.output_layer(self.taps(face).c4), dim=1)


def load_face_net(path: Path) -> FaceNet:
    """The recogniser out of its file, frozen; its widths are read from the shapes.

    Raises:
        ModelError: the file is damaged or is no IR-SE network.
    """
    tensors = {name.removeprefix("state_dict."): tensor for name, tensor in read_tensors(path).items()}
    last = tensors.get("output_layer.3.weight")
    widths, blocks = trunk_of(tensors, f"{path}: the network")
    if last is None or len(last.shape) != 2 or last.shape[1] != widths[3] * (SIDE // 16) ** 2:
        raise ModelError(f"{path} is no IR-SE50 for faces of {SIDE} pixels; give model_ir_se50.pth.")
    with torch.device("meta"):
        network = FaceNet(widths, blocks, last.shape[0], SIDE // 16)  # pyright: ignore[reportArgumentType]
    state = {}
    for name, value in network.state_dict().items():
        if name in tensors and tuple(tensors[name].shape) == tuple(value.shape):
            loaded = tensors[name].load()
            state[name] = loaded.float().clone() if loaded.is_floating_point() else loaded.clone()
        elif name.endswith("num_batches_tracked"):
            state[name] = torch.zeros((), dtype=torch.int64)
        else:
            raise ModelError(f"{path} lacks {name} of {tuple(value.shape)}; give model_ir_se50.pth.")
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


class IdentityDistance(nn.Module):
    """One minus the cosine of two faces' vectors; of pictures of any size with the face where crops have it."""

    def __init__(self, network: FaceNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, H) in [-1, 1], twice, to (B,)."""
        return 1 - (self.network(face_of(one)) * self.network(face_of(other))).sum(1)


def face_of(picture: torch.Tensor) -> torch.Tensor:
    """The face's part of crops (B, 3, H, H), averaged to (B, 3, 112, 112)."""
    scale = picture.shape[-1] / OF
    top, left, side = (round(value * scale) for value in (TOP, LEFT, CROP))
    return F.adaptive_avg_pool2d(picture[..., top : top + side, left : left + side], SIDE)


def start_trunk(trunk: Trunk, network: FaceNet) -> bool:
    """Let an encoder's trunk begin with the recogniser's weights, where the two have the same sizes; whether it did."""
    state = {name: value for name, value in network.state_dict().items() if not name.startswith("output_layer.")}
    mine = trunk.state_dict()
    if any(name not in mine or mine[name].shape != value.shape for name, value in state.items()):
        return False
    trunk.load_state_dict(state, strict=False)
    return True
