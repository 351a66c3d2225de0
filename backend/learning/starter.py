"""The starter model's first training: generator and the encoder of what a photo shows, from synthetic heads.

Both stages of the encoder are held to the truth in space: signed distance around the head, colour and hair on it. The
w+ stage's tri-grid is a head of its own, so the generator learns heads and not corrections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..networks.encoder import mirror_camera
from ..networks.starter import (
    Decoded,
    StarterConfig,
    StarterEncoder,
    StarterGenerator,
)
from ..template.lean import shown
from ..training.body import Label
from .average import averaged, follow
from .examples import Example, Examples
from .order import Order
from .task import Task, Turn

_SCORED = 4000  # places of each head that the score looks at
_NOT_HEAD = (Label.CLOTHES,)  # whose colour and hair are nobody's to guess


@dataclass(frozen=True)
class StarterTraining:
    """How the starter's generator and its visible encoder are trained."""

    network: StarterConfig = field(default_factory=StarterConfig)
    batch: int = 6
    """Of all processes together."""
    places: int = 3000
    """Of each head in each step, two thirds of them around the surface and one third on it."""
    learning_rate: float = 2e-3
    warm_up: int = 100
    """Steps in which the learning rate rises."""
    steps: int = 20_000
    """Until which the learning rate falls to a hundredth, as a cosine."""
    far: float = 0.1
    """World units beyond which distances are not told apart."""
    distance: float = 10.0
    color: float = 0.3
    hair: float = 0.1
    coarse: float = 0.5
    """Factor on all terms of the w+ stage's own head."""
    grey: float = 0.08
    """Share of photos that are shown without colour."""
    gamma: float = 0.15
    """Deviation of the logarithm of the exponent that photos are brightened or darkened by."""
    average: float = 0.998
    """Of the weights that are kept for use: how much stays in each step."""
    kept_out: int = 24
    """Heads that are not learnt from, for the score; at most a tenth of them."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "network": self.network.to_dict()}


@dataclass(frozen=True)
class Batch:
    """B heads with one photo each and P places; the last K of the places lie on the surface."""

    picture: torch.Tensor  # (B, SHOWN, S, S), as ``lean.shown`` makes it
    camera: torch.Tensor  # (B, 25)
    planes: torch.Tensor  # (B, 2, 3, slices, R, R)
    places: torch.Tensor  # (B, P, 3)
    leaning: torch.Tensor  # (B, P, 5)
    distance: torch.Tensor  # (B, P)
    color: torch.Tensor  # (B, K, 3) in [-1, 1]
    label: torch.Tensor  # (B, K)

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


class StarterTask(Task):
    """Trains the generator (but its mapping) and the visible encoder together.

    Args:
        examples: the heads.
        config: how.
        device: where the networks are.
        seed: of the order in which heads come.
    """

    def __init__(self, examples: Examples, config: StarterTraining, device: torch.device, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.config, self.device, self.examples = config, device, examples
        self.generator = StarterGenerator(config.network).to(device)
        self.encoder = StarterEncoder(config.network).to(device)
        self.networks = {
            "generator": self.generator,
            "visible": self.encoder,
            "generator_average": averaged(self.generator),
            "visible_average": averaged(self.encoder),
        }
        learning = [*self.generator.synthesis.parameters(), *self.generator.decoder.parameters()]
        self.optimizers = {
            "both": torch.optim.AdamW([*learning, *self.encoder.parameters()], config.learning_rate, (0.9, 0.99))
        }
        apart = min(config.kept_out, len(examples) // 10)
        self.apart = list(range(len(examples)))[:apart]
        self._order = Order(seed, [0] * apart + [1] * (len(examples) - apart))

    def step(self, turn: Turn) -> Mapping[str, float | torch.Tensor]:
        """One batch through both stages."""
        config = self.config
        rate = config.learning_rate * _share_of_rate(turn.number, config)
        for group in self.optimizers["both"].param_groups:
            group["lr"] = rate
        share = turn.share(config.batch)
        heads = [self.examples[self._order[turn.number * config.batch + place]] for place in share]
        batch = make_batch([self._drawn(head, turn.dice) for head in heads]).to(self.device)
        with turn.precision():
            coarse, fine = self.trigrids(batch)
        terms = {}
        for name, trigrid in (("coarse", coarse), ("fine", fine)):
            found = losses(decoded(self.generator, trigrid.float(), batch), batch, config.far)
            terms |= {f"{name}/{term}": value for term, value in found.items()}
        factors = {"distance": config.distance, "color": config.color, "hair": config.hair}
        weights = {
            name: factors[name.partition("/")[2]] * (config.coarse if name.startswith("coarse") else 1.0)
            for name in terms
        }
        turn.minimize("both", terms, weights)
        for name in ("generator", "visible"):
            follow(self.networks[f"{name}_average"], self.networks[name], config.average)
        return {"learning_rate": rate}

    def trigrids(self, batch: Batch, *, average: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """The tri-grids (B, 3, F * slices, R, R) of both stages."""
        suffix = "_average" if average else ""
        generator, encoder = self.networks[f"generator{suffix}"], self.networks[f"visible{suffix}"]
        assert isinstance(generator, StarterGenerator)
        assert isinstance(encoder, StarterEncoder)
        inputs = encoder.inputs(batch.picture, batch.camera, batch.planes)
        coarse = generator.trigrid(encoder.encode_w(inputs))
        return coarse, encoder.refine(coarse, inputs)

    def score(self) -> float | None:
        """Mean distance of the kept-out heads' surfaces from where the averaged networks have it, % of a world unit."""
        errors = self.errors()
        return None if not errors else float(np.mean([error["surface"] for error in errors]))

    @torch.no_grad()
    def errors(self) -> list[dict[str, float]]:
        """Of each kept-out head, seen in its first photo: mean abs(distance) where it is 0, in % of a world unit, over
        the whole surface, the hair (where there is any) and the rest; and that of the template, likewise.
        """
        found = []
        generator = self.networks["generator_average"]
        assert isinstance(generator, StarterGenerator)
        for place in self.apart:
            head = self.examples[place]
            on = np.arange(len(head.places) - len(head.colors), len(head.places))[:_SCORED]
            batch = make_batch([pick(head, 0, on[:0], on)]).to(self.device)
            _, trigrid = self.trigrids(batch, average=True)
            ours = 100 * decoded(generator, trigrid, batch).distance[0].abs()
            bare = 100 * batch.leaning[0, :, 1].abs()
            hair = batch.label[0] == Label.HAIR
            row = {"surface": ours.mean().item(), "template": bare.mean().item(), "rest": ours[~hair].mean().item()}
            if hair.any():
                row |= {"hair": ours[hair].mean().item(), "template_hair": bare[hair].mean().item()}
            found.append(row)
        return found

    def _drawn(self, head: Example, dice: np.random.Generator) -> Batch:
        """One photo of a head, some of its places, and chance changes that leave the truth as it is."""
        config = self.config
        on_surface = config.places // 3
        around = len(head.places) - len(head.colors)
        chosen = dice.integers(around, size=config.places - on_surface)
        drawn = pick(
            head,
            int(dice.integers(len(head.picture))),
            chosen,
            around + dice.integers(len(head.colors), size=on_surface),
        )
        color = drawn.picture[:, :3]
        if dice.random() < config.grey:
            color = color.mean(1, keepdim=True).expand_as(color)
        color = ((color + 1) / 2).clamp(0, 1) ** float(np.exp(dice.normal(0, config.gamma))) * 2 - 1
        drawn = Batch(**{**vars(drawn), "picture": torch.cat([color, drawn.picture[:, 3:]], 1)})
        return mirrored(drawn) if dice.random() < 0.5 else drawn


def decoded(generator: StarterGenerator, trigrid: torch.Tensor, batch: Batch) -> Decoded:
    """The field of tri-grids at the places of a batch."""
    bald, hairy, rest = batch.leaning[..., 0], batch.leaning[..., 1], batch.leaning[..., 2:]
    outline = batch.picture[:, 4:]
    return generator.decode_leaning(trigrid, batch.places, bald, hairy, rest, outline=outline, cameras=batch.camera)


def losses(found: Decoded, batch: Batch, far: float) -> dict[str, torch.Tensor]:
    """``distance``: mean abs of the difference in world units, both clamped to ``far``. ``color``: mean abs in [-1, 1],
    ``hair``: binary cross entropy of being hair, both on the surface but for clothes.
    """
    count = batch.color.shape[1]
    head = torch.ones_like(batch.label, dtype=torch.bool)
    for label in _NOT_HEAD:
        head &= batch.label != label
    share = head / head.sum().clamp(min=1)
    color = (found.color[:, -count:] - batch.color).abs().mean(-1)
    hair = F.binary_cross_entropy_with_logits(
        found.hair[:, -count:], (batch.label == Label.HAIR).float(), reduction="none"
    )
    return {
        "distance": (found.distance.clamp(-far, far) - batch.distance.clamp(-far, far)).abs().mean(),
        "color": (color * share).sum(),
        "hair": (hair * share).sum(),
    }


def pick(head: Example, view: int, around: np.ndarray, on_surface: np.ndarray) -> Batch:
    """One photo of a head and some of its places, by their numbers among ``head.places``."""
    chosen = np.concatenate([around, on_surface])
    first = len(head.places) - len(head.colors)
    return Batch(
        picture=torch.from_numpy(shown(head.picture[view, ..., :3], head.picture[view, ..., 3] / 255))[None],
        camera=torch.from_numpy(head.camera[view])[None],
        planes=torch.from_numpy(head.planes[view].astype(np.float32))[None],
        places=torch.from_numpy(head.places[chosen])[None],
        leaning=torch.from_numpy(head.leaning[view][chosen].astype(np.float32))[None],
        distance=torch.from_numpy(head.distance[chosen].astype(np.float32))[None],
        color=torch.from_numpy(head.colors[on_surface - first].astype(np.float32) / 127.5 - 1)[None],
        label=torch.from_numpy(head.labels[on_surface - first].astype(np.int64))[None],
    )


def make_batch(heads: list[Batch]) -> Batch:
    """Batches one after the other."""
    return Batch(**{name: torch.cat([getattr(head, name) for head in heads]) for name in vars(heads[0])})


def mirrored(batch: Batch) -> Batch:
    """The heads and their photos as a mirror shows them: the world's x and the pictures' columns turned."""
    turn = torch.tensor([-1.0, 1.0, 1.0])
    # The width of the first two planes runs along x, and so do the slices of the third.
    planes = torch.cat([batch.planes[:, :, :2].flip(-1), batch.planes[:, :, 2:].flip(3)], 2)
    return Batch(
        picture=batch.picture.flip(-1),
        camera=mirror_camera(batch.camera),
        planes=planes,
        places=batch.places * turn,
        leaning=torch.cat([batch.leaning[..., :2], batch.leaning[..., 2:] * turn], -1),
        distance=batch.distance,
        color=batch.color,
        label=batch.label,
    )


def _share_of_rate(step: int, config: StarterTraining) -> float:
    rising = min(1.0, (step + 1) / config.warm_up)
    falling = 0.5 + 0.5 * np.cos(np.pi * min(1.0, step / config.steps))
    return float(rising * (0.01 + 0.99 * falling))
