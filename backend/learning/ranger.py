"""The optimiser of the paper: RAdam with Lookahead and centralised gradients, "Ranger". Beside the loop.

RAdam (Liu et al. 2020) is PyTorch's: it too takes plain momentum steps while the variance cannot be trusted (while the
approximated average is at most 5 long). Lookahead (Zhang et al. 2019) and gradient centralisation (Yong et al. 2020)
are put around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class Ranger(torch.optim.RAdam):
    """RAdam whose weights are drawn to slow ones every few steps.

    All state is tensors in ``state_dict``: step, both averages and the slow weights of every parameter.

    Args:
        params: as of every optimiser.
        lr, betas, eps, weight_decay: of RAdam; the defaults are those of pSp and TriPlaneNet, which the paper follows.
        every: steps of a parameter from one draw to the next (Lookahead's k).
        share: of the way to the fast weights that the slow ones go then (its alpha).
        centralize: take from each gradient of more than one axis its mean over all axes but the first.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.95, 0.999),
        eps: float = 1e-5,
        weight_decay: float = 0.0,
        *,
        every: int = 6,
        share: float = 0.5,
        centralize: bool = True,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)
        self.every, self.share, self.centralize = every, share, centralize

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """One step of all parameters that have a gradient; the gradients themselves are centralised on the way."""
        held = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        if self.centralize:
            for p in held:
                if p.ndim > 1:
                    p.grad.sub_(p.grad.mean(dim=tuple(range(1, p.ndim)), keepdim=True))
        first_seen = {p: p.clone() for p in held if not self.state[p]}
        loss = super().step(closure)
        for p in held:
            state = self.state[p]
            if p in first_seen:
                state["slow"] = first_seen[p]
            if int(state["step"]) % self.every == 0:
                p.copy_(state["slow"].lerp_(p, self.share))
        return loss
