"""A training of three tiny networks that uses all the loop offers, and the same run in a process of its own."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from headstitch.backend.learning.average import averaged, follow
from headstitch.backend.learning.order import Order
from headstitch.backend.learning.ranger import Ranger
from headstitch.backend.learning.run import Schedule, run
from headstitch.backend.learning.task import Task
from headstitch.backend.learning.workers import joined
from torch import nn

DATA = torch.randn(10, 4, generator=torch.Generator().manual_seed(3))
SCHEDULE = Schedule(steps=12, checkpoint_every=3, sheet_every=5, log_every=2, clip=1.0, seed=4)


class Toy(Task):
    """Fits a linear map through batch norm and dropout; batches of 4, two optimisers, a moving average."""

    def __init__(self, *, norm=True, spoil=None, batch=4):
        torch.manual_seed(1)
        layers = [nn.Linear(4, 8), nn.BatchNorm1d(8) if norm else nn.Identity(), nn.ReLU()]
        layers += [nn.Dropout(0.3) if norm else nn.Identity(), nn.Linear(8, 2)]
        self.net, self.other = nn.Sequential(*layers), nn.Linear(2, 2)
        self.average = averaged(self.net)
        self.networks = {"net": self.net, "other": self.other, "average": self.average}
        self.optimizers = {
            "ranger": Ranger(self.net.parameters(), lr=1e-2),
            "adam": torch.optim.Adam(self.other.parameters(), lr=1e-2),
        }
        self.order = Order(7, [1] * len(DATA))
        self.batch, self.spoil, self.norm, self.count = batch, spoil, norm, 0
        self.die_at = None

    def step(self, turn):
        if turn.number == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.count += 1
        chosen = [self.order[turn.number * self.batch + i] for i in turn.share(self.batch)]
        x = DATA[chosen]
        if self.norm:
            x = x + 0.1 * torch.from_numpy(turn.dice.standard_normal(x.shape)).float() + 0.1 * torch.randn(x.shape)
        y = self.net(x)
        wanted = DATA[chosen, :2].mul(float("nan") if turn.number == self.spoil else 1.0)
        turn.minimize("ranger", {"fit": (y - wanted).square().mean(), "size": y.abs().mean()}, {"size": 0.1})
        turn.minimize("adam", {"other": (self.other(y.detach()) - wanted).square().mean()})
        follow(self.average, self.net, 0.9)
        return {"count": torch.tensor(float(self.count))}

    def sheet(self):
        return np.full((4, 6, 3), 100, np.uint8)

    def score(self):
        return float((self.average(DATA) - DATA[:, :2]).square().mean())

    def state(self):
        return {"count": self.count}

    def restore(self, state):
        self.count = state["count"]


def main():
    """folder, JSON of: steps, die_at, norm."""
    folder, how = Path(sys.argv[1]), json.loads(sys.argv[2])
    torch.set_num_threads(1)
    toy = Toy(norm=how.get("norm", True))
    toy.die_at = how.get("die_at")
    with joined(torch.device("cpu")) as (workers, device):
        run(
            toy,
            {"toy": 1},
            folder,
            Schedule(**{**SCHEDULE.__dict__, **how.get("schedule", {})}),
            device=device,
            workers=workers,
        )


if __name__ == "__main__":
    main()
