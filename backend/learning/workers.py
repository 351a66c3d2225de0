"""The processes that train together, as torchrun starts them. At the bottom of the loop.

Each process works on its share of every batch; gradients are averaged by ``Turn.minimize``, and the running figures of
batch norms after each step, so that all processes hold the same networks at all times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn

from ..errors import TrainingError


@dataclass(frozen=True)
class Workers:
    """Which of how many processes this is."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """The samples of a batch that are this process's.

        Raises:
            TrainingError: they cannot be split evenly.
        """
        if batch % self.count:
            raise TrainingError(
                f"A batch of {batch} cannot be split among {self.count} processes; start as many as divide it."
            )
        part = batch // self.count
        return range(self.rank * part, (self.rank + 1) * part)

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace floating tensors, the same shapes on every process, by their means over the processes."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        at = 0
        for tensor in tensors:
            tensor.detach().copy_(flat[at : at + tensor.numel()].view_as(tensor))
            at += tensor.numel()

    def average_buffers(self, networks: Mapping[str, nn.Module]) -> None:
        """Likewise the floating buffers of networks: what batch norms have seen."""
        found = [buffer for network in networks.values() for buffer in network.buffers()]
        self.average([buffer for buffer in found if buffer.is_floating_point()])

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether it is true on any process."""
        if self.count == 1:
            return flag
        answer = torch.tensor(float(flag), device=device)
        dist.all_reduce(answer, dist.ReduceOp.MAX)
        return bool(answer.item())

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()


ALONE = Workers()


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Workers, torch.device]]:
    """The processes that torchrun started, or this one alone; and the device of this one.

    Args:
        device: cpu, or cuda: then each process takes the device of its local number.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE, device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Workers(dist.get_rank(), count), device
    finally:
        dist.destroy_process_group()
