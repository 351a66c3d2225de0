"""The paper's two trainings: the encoder of what a photo shows, and that of what it hides (Bilecen et al. 2024).

Both learn to invert photos, and pictures of the generator's own heads, into a generator that stays as it is. The second
one also plays against a discriminator of the hidden part of the tri-grid (``adversary``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...kernels.trigrid import to_rows
from ..camera import Camera
from ..errors import ModelError
from ..inversion.color import COLORS
from ..inversion.invert import over_background
from ..networks.config import PLANES, EncoderConfig, GeneratorConfig
from ..networks.discriminator import TrigridDiscriminator
from ..networks.encoder import Encoder, mirror_camera
from ..networks.generator import Generator, Rendering
from ..options import Inversion
from .adversary import fooling_loss, front_camera, hidden_cells, play, random_w_plus, scores
from .config import DualConfig
from .photos import Photos
from .ranger import Ranger
from .task import Task, Turn

STAGES = ("w_plus", "trigrid")
SHOWN = 3  # photos on a sheet
SHEET_YAWS = (-60, 180)  # degrees


@dataclass(frozen=True, eq=False)
class Made:
    """What one stage made of the pictures."""

    w_plus: torch.Tensor  # (B, num_ws, w_dim)
    trigrid: torch.Tensor  # (B, 3, C, R, R)
    picture: Rendering  # from the photos' cameras
    seen: torch.Tensor  # (B, 3, S, S) in [-1, 1], the picture before the background, as small as the photos


def encoder_config(config: DualConfig, generator: GeneratorConfig) -> EncoderConfig:
    """The sizes of an encoder for a generator.

    Raises:
        ModelError: the configuration does not go with this generator.
    """
    try:
        return EncoderConfig(
            image_size=config.image_size,
            widths=config.widths,
            blocks=config.blocks,
            num_ws=generator.num_ws,
            w_dim=generator.w_dim,
            style_width=config.style_width,
            plane_channels=PLANES * generator.plane_channels,
            plane_size=generator.trigrid_size,
            variant=config.variant,
            hidden=config.hidden,
        )
    except ValueError as error:
        raise ModelError(
            f"The configuration does not go with the model's generator ({error}); take another of the two."
        ) from error


class VisibleTask(Task):
    """Encoder 1: the photo's own view, by L2, perceptual and identity terms (equation 2).

    The stages have optimisers of their own: no gradient passes from the second one to the first.

    Args:
        generator: frozen, on the device.
        photos: with their cameras.
        config: all numbers.
        perceptual: distance of pictures, frozen, on the device.
        identity: distance of faces, likewise; without it that term is left out.
        kept_out: photos (3, S, S) and their labels (25,), which ``score`` is measured on.

    Raises:
        ModelError: the configuration does not go with the generator.
    """

    def __init__(
        self,
        generator: Generator,
        photos: Photos,
        config: DualConfig,
        *,
        perceptual: nn.Module,
        identity: nn.Module | None = None,
        kept_out: Sequence[tuple[torch.Tensor, torch.Tensor]] = (),
    ) -> None:
        self.generator, self.photos, self.config = generator.requires_grad_(False).eval(), photos, config
        self.options = Inversion(background=config.background, mask=config.mask)
        self.judges = {"perceptual": perceptual, "identity": identity}
        self.kept_out = kept_out
        self.precision: Callable[[], AbstractContextManager[Any]] = nullcontext  # of a step that runs
        self._last = STAGES[0]  # the last stage that learns
        self.device = next(generator.parameters()).device
        self.encoder = Encoder(encoder_config(config, generator.config)).to(self.device)
        self.encoder.latent_avg.copy_(mean_w(generator, config.mean_of))
        self.networks: dict[str, nn.Module] = {"encoder": self.encoder}
        self.optimizers = {
            name: Ranger(self.encoder.get_submodule(name).parameters(), lr=config.learning_rate) for name in STAGES
        }

    def step(self, turn: Turn) -> Mapping[str, float | torch.Tensor]:
        """One update of the stages whose turn it is."""
        photo, cameras = self._batch(turn)
        made = self._invert(turn, photo, cameras)
        self._update(turn, {stage: self.losses(each, photo) for stage, each in made.items()})
        return {}

    def sheet(self) -> np.ndarray:
        """A row a photo: the photo, both stages' pictures of it, and the head from the side and from behind."""
        rows = []
        with _resting(self.encoder):
            for at in range(SHOWN):
                photo, cameras = (part[None].to(self.device) for part in self.photos.sample(at))
                coarse = self.coarse(photo, cameras)
                final = self.final(photo, cameras, coarse)
                sides = [self._look(final.trigrid, final.w_plus, _turned(yaw, self.device))[1] for yaw in SHEET_YAWS]
                rows.append(torch.cat([photo, coarse.seen, final.seen, *sides], 3)[0])
        shown = torch.cat(rows, 1).clamp(-1, 1).add(1).mul(127.5).round()
        return shown.byte().permute(1, 2, 0).cpu().numpy()

    def score(self) -> float | None:
        """The weighted sum of the last stage's terms, the mean over photos that were kept out of the training."""
        if not self.kept_out:
            return None
        total = 0.0
        with _resting(self.encoder):
            for photo, label in self.kept_out:
                photo, cameras = photo[None].to(self.device), label[None].to(self.device)
                made = self.coarse(photo, cameras)
                if self._last == "trigrid":
                    made = self.final(photo, cameras, made)
                total += sum(
                    getattr(self.config.losses, name) * float(x) for name, x in self.losses(made, photo).items()
                )
        return total / len(self.kept_out)

    def coarse(self, photo: torch.Tensor, cameras: torch.Tensor) -> Made:
        """The first stage: pictures (B, 3, S, S) with cameras (B, 25) to heads within the generator's own."""
        with self.precision():
            w_plus = self.encoder.encode_w(photo)
        w_plus = w_plus.float()
        trigrid = self.generator.trigrid(w_plus)
        return Made(w_plus, trigrid, *self._look(trigrid, w_plus, cameras))

    def final(self, photo: torch.Tensor, cameras: torch.Tensor, coarse: Made) -> Made:
        """The second stage: heads that are more faithful. No gradient reaches the first one."""
        w_plus = coarse.w_plus.detach()
        with torch.no_grad():
            _, mirrored = self._look(coarse.trigrid, w_plus, mirror_camera(cameras))
        with self.precision():
            trigrid = self.encoder.refine(coarse.trigrid, photo, coarse.seen, mirrored)
        trigrid = trigrid.float()
        return Made(w_plus, trigrid, *self._look(trigrid, w_plus, cameras))

    def losses(self, made: Made, photo: torch.Tensor) -> dict[str, torch.Tensor]:
        """The terms of one stage, each the mean over the batch."""
        terms = {"l2": F.mse_loss(made.seen, photo)}
        return terms | {
            name: judge(made.seen, photo).mean() for name, judge in self.judges.items() if judge is not None
        }

    def _invert(self, turn: Turn, photo: torch.Tensor, cameras: torch.Tensor) -> dict[str, Made]:
        """What each stage that learns in this step made, the first one first."""
        stages = self._learning(turn.number)
        for name in STAGES:  # one that stays as it is also keeps what its batch norms have seen
            self.encoder.get_submodule(name).requires_grad_(name in stages).train(name in stages)
        self.precision, self._last = turn.precision, stages[-1]
        coarse = self.coarse(photo, cameras)
        if "trigrid" not in stages:
            return {"w_plus": coarse}
        final = self.final(photo, cameras, coarse)
        return {"w_plus": coarse, "trigrid": final} if "w_plus" in stages else {"trigrid": final}

    def _update(self, turn: Turn, terms: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
        """One update with the terms of each stage that learns."""
        flat = {f"{stage}/{name}": term for stage, each in terms.items() for name, term in each.items()}
        weights = {name: getattr(self.config.losses, name.partition("/")[2]) for name in flat}
        turn.minimize(list(terms), flat, weights)

    def _learning(self, number: int) -> tuple[str, ...]:
        """The stages that learn in a step: the first alone, both, and the second alone (TriPlaneNet v2)."""
        first = ("w_plus",) if number < self.config.w_until else ()
        return (*first, "trigrid") if number >= self.config.w_alone else first

    def _batch(self, turn: Turn) -> tuple[torch.Tensor, torch.Tensor]:
        """Of this process: pictures (B, 3, S, S) and their cameras (B, 25)."""
        size = self.config.batch
        samples = [self.photos.sample(turn.number * size + each) for each in turn.share(size)]
        photo, cameras = (torch.stack(list(part)).to(self.device) for part in zip(*samples, strict=True))
        chosen = turn.shared_dice.random(size)[list(turn.share(size))] < self.config.synthetic
        if chosen.any():  # seen from where the photos are seen from
            which = torch.from_numpy(chosen.nonzero()[0]).to(self.device)
            w_plus = self._random_w_plus(len(which))
            with torch.no_grad():
                photo[which] = self._look(self.generator.trigrid(w_plus), w_plus, cameras[which])[1]
        return photo, cameras

    def _random_w_plus(self, count: int) -> torch.Tensor:
        return random_w_plus(self.generator, count, self.config.adversary.truncation, self.device)

    def _look(
        self, trigrid: torch.Tensor, w_plus: torch.Tensor, cameras: torch.Tensor
    ) -> tuple[Rendering, torch.Tensor]:
        """Pictures of heads, and the same before the background at the size that everything here compares."""
        rows = to_rows(trigrid, depth=self.generator.config.trigrid_depth)
        behind = COLORS[self.options.background]
        picture = self.generator.render(rows, w_plus, cameras, background=behind, crop=self.options.crop)
        return picture, F.adaptive_avg_pool2d(over_background(picture, self.options), self.config.image_size)


class OccludedTask(VisibleTask):
    """Encoder 2: the same terms, and the game over what the photo's view hides (equations 6 to 9)."""

    def __init__(
        self,
        generator: Generator,
        photos: Photos,
        config: DualConfig,
        *,
        perceptual: nn.Module,
        identity: nn.Module | None = None,
        kept_out: Sequence[tuple[torch.Tensor, torch.Tensor]] = (),
    ) -> None:
        super().__init__(generator, photos, config, perceptual=perceptual, identity=identity, kept_out=kept_out)
        channels = PLANES * generator.config.plane_channels
        self.discriminator = TrigridDiscriminator(channels, config.adversary.widths).to(self.device)
        self.networks = {**self.networks, "discriminator": self.discriminator}
        player = Ranger(self.discriminator.parameters(), lr=config.adversary.learning_rate)
        self.optimizers = {**self.optimizers, "discriminator": player}

    def step(self, turn: Turn) -> Mapping[str, float | torch.Tensor]:
        """The encoder's update against a discriminator that stays as it is, then the discriminator's."""
        photo, cameras = self._batch(turn)
        self.discriminator.train().requires_grad_(False)
        made = self._invert(turn, photo, cameras)
        last = list(made.values())[-1]
        hidden = hidden_cells(last.picture, cameras, self.generator, self.options)
        with torch.no_grad():
            real = self.generator.trigrid(self._random_w_plus(len(hidden)))
        terms = {stage: self.losses(each, photo) for stage, each in made.items()}
        joint = self.config.adversary.joint
        for stage, each in made.items():
            with turn.precision():
                _, score = scores(self.discriminator, hidden * real, hidden * each.trigrid, joint=joint)
            terms[stage]["adversarial"] = fooling_loss(score)
        self._update(turn, terms)
        self.discriminator.requires_grad_(True)
        play(turn, self.discriminator, self.config.adversary, last.trigrid, real, hidden)
        return {"hidden": hidden.mean()}

    def score(self) -> None:
        """Nothing: the photo's own view, which alone could be measured here, is not what this encoder is for."""


@torch.no_grad()
def mean_w(generator: Generator, count: int) -> torch.Tensor:
    """The mean w (w_dim,) of so many latents, always the same ones, mapped for the front view."""
    config = generator.config
    device = next(generator.parameters()).device
    source = torch.Generator().manual_seed(0)
    total = torch.zeros(config.w_dim, dtype=torch.float64)
    for first in range(0, count, 4096):
        z = torch.randn(min(4096, count - first), config.z_dim, generator=source).to(device)
        total += generator.backbone.mapping(z, front_camera(len(z), device)).cpu().double().sum(0)
    return (total / count).float().to(device)


def _turned(yaw: float, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(Camera.from_angles(np.radians(yaw)).label)[None].to(device)


@contextmanager
def _resting(network: nn.Module) -> Iterator[None]:
    """Within it a network is in evaluation mode."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
