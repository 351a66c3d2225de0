"""What a training is, as the loop sees it: a ``Task``, and the ``Turn`` that each of its steps is handed.

A task holds networks and optimisers and knows how one step goes. Everything else is the loop's (``run``): checkpoints,
resuming, the log, sheets, stopping, several processes. To make a training, subclass ``Task`` and call ``run``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from ..errors import TrainingError
from .workers import ALONE, Workers

_GLOBAL, _PRIVATE, _SHARED = range(3)  # what random numbers are for


class Task:
    """A training: a subclass sets ``networks`` and ``optimizers`` and writes the methods, the loop calls them.

    Exact resuming rests on two promises of a task:

    - All that one step leaves for the next is in ``networks`` (every parameter and buffer), in ``optimizers``, or in
      ``state()``. Moving averages are networks too (``average.follow``).
    - All chance comes from the ``Turn``: torch's own random numbers, ``turn.dice``, ``turn.shared_dice``. These begin
      anew with every step, from the seed and the step's number, so there is no state of theirs to keep. The order of
      the data likewise follows from ``turn.number`` (``order.Order``).

    What does not change from step to step (learning rates over time, which network is frozen when) follows from
    ``turn.number`` as well, set at the beginning of each step.
    """

    networks: Mapping[str, nn.Module]
    """All that a checkpoint keeps, by name: what is trained and its averages, not frozen networks out of files."""
    optimizers: Mapping[str, Optimizer]
    """By name; their order of parameters must be the same each time."""

    def step(self, turn: Turn) -> Mapping[str, float | torch.Tensor]:
        """One step: make a batch, compute losses, hand them to ``turn.minimize`` as often as there are updates.

        Args:
            turn: the step's number, chance, device and the rest.

        Returns:
            More figures for the log, numbers or tensors of one; losses that were minimised are there already.

        Raises:
            TrainingError: the data cannot be used; the run ends with the sentence, its last checkpoint stays.
        """
        raise NotImplementedError

    def sheet(self) -> np.ndarray | None:
        """A picture (H, W, 3) uint8 sRGB that shows how it goes, from fixed inputs; None where there is none.

        Runs without gradients, on the first process alone. It must leave no trace: no batch norm in training mode.
        """
        return None

    def score(self) -> float | None:
        """How good it is now, lower is better: the best checkpoint is kept. None where nothing is measured.

        Asked with each checkpoint, without gradients, on the first process alone; leaves no trace, likewise.
        """
        return None

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside networks and optimisers, as JSON, the same on all processes."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what ``state`` gave."""


@dataclass
class Turn:
    """One step, as the loop hands it to the task."""

    number: int
    """How many steps were done before, from 0."""
    seed: int
    device: torch.device
    workers: Workers = ALONE
    clip: float | None = None
    """The largest norm of a gradient; what is larger is scaled down."""
    bfloat16: bool = False
    optimizers: Mapping[str, Optimizer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.figures: dict[str, torch.Tensor | float] = {}
        torch.manual_seed(self._seed(_GLOBAL, self.workers.rank))

    @cached_property
    def dice(self) -> np.random.Generator:
        """Chance of this step and this process."""
        return np.random.default_rng(self._seed(_PRIVATE, self.workers.rank))

    @cached_property
    def shared_dice(self) -> np.random.Generator:
        """Chance of this step that is the same on all processes."""
        return np.random.default_rng(self._seed(_SHARED, 0))

    def share(self, batch: int) -> range:
        """Which samples of the whole batch are this process's, so that a batch means the same on any number of them.

        Raises:
            TrainingError: the batch cannot be split evenly.
        """
        return self.workers.share(batch)

    def precision(self) -> AbstractContextManager[Any]:
        """Within it matrix products and convolutions are computed in bfloat16 where the run says so, else nothing."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)

    def minimize(
        self,
        optimizers: str | Sequence[str],
        terms: Mapping[str, torch.Tensor],
        weights: Mapping[str, float] | None = None,
    ) -> None:
        """One update: the gradient of the weighted sum of the terms, averaged over processes, clipped, and a step.

        Gradients from before are cleared first, so none is carried over. Each parameter of the optimisers must get a
        gradient on all processes or on none. The terms go to the log unweighted, with the norm of the gradient.

        Args:
            optimizers: the names of those that step.
            terms: the losses by name, each a tensor of one number: the mean over this process's share of the batch.
            weights: factors on the terms, 1 unless given.

        Raises:
            TrainingError: a term or a gradient is no finite number; no parameter has changed.
        """
        names = [optimizers] if isinstance(optimizers, str) else list(optimizers)
        chosen = [self.optimizers[name] for name in names]
        values = torch.stack([term.detach().float().reshape(()) for term in terms.values()])
        self.workers.average([values])
        self._check(dict(zip(terms, values.tolist(), strict=True)))
        total = torch.stack([(weights or {}).get(name, 1.0) * term.reshape(()) for name, term in terms.items()]).sum()
        for optimizer in chosen:
            optimizer.zero_grad(set_to_none=True)
        total.backward()
        norms = {}
        for name, optimizer in zip(names, chosen, strict=True):
            held = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
            self.workers.average([p.grad for p in held if p.grad is not None])
            norm = nn.utils.get_total_norm([p.grad for p in held if p.grad is not None])
            norms[f"gradient/{name}"] = float(norm)
            if self.clip is not None:
                nn.utils.clip_grads_with_norm_(held, self.clip, norm)
        self._check(norms)
        for optimizer in chosen:
            optimizer.step()
        self.figures |= dict(zip(terms, values.tolist(), strict=True)) | norms

    def _check(self, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if not np.isfinite(value):
                raise TrainingError(
                    f"Step {self.number + 1}: {name} is {value}, no finite number; the last checkpoint is kept. "
                    "Go on from it with a smaller learning rate, or with --clip."
                )

    def _seed(self, purpose: int, rank: int) -> int:
        high, low = np.random.SeedSequence([self.seed, self.number, rank, purpose]).generate_state(2)
        return int(high) << 32 | int(low)
