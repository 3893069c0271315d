"""One training in several processes, as `torchrun` starts them: each takes its slice of every batch.

Gradients and the loss are averaged over the processes before a step, so that all take the same one: Deep Frank-Wolfe's
step size follows from the loss of the whole batch. Batch norms see their own process's slice, and their running
statistics are averaged after every epoch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from config.errors import UserError


class Processes:
    """The processes of a run; alone unless `joined` joined others."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def slice_of_batches(self, places: int, batch: int) -> list[list[int]]:
        """This process's places of each batch of an epoch with so many; an incomplete last batch is left out.

        Raises:
            UserError: a batch cannot be divided evenly.
        """
        batch = min(batch, places - places % self.count)
        if batch < self.count or batch % self.count:
            raise UserError(f"a batch of {batch} cannot be divided among {self.count} processes; set another batch")
        share = batch // self.count
        begins = range(0, places - batch + 1, batch)
        return [list(range(begin + self.rank * share, begin + (self.rank + 1) * share)) for begin in begins]

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.count > 1:
            self._average([p.grad for p in parameters if p.grad is not None])

    def average(self, value: Tensor) -> Tensor:
        """The mean of a value over the processes."""
        if self.count > 1:
            value = value.clone()
            self._average([value])
        return value

    def average_statistics(self, network: nn.Module) -> None:
        """Make the running statistics of batch norms the same everywhere: their mean."""
        if self.count > 1:
            self._average([buffer for buffer in network.buffers() if buffer.is_floating_point()])

    def share_weights(self, network: nn.Module) -> None:
        """Give all processes the weights of the first."""
        if self.count > 1:
            for tensor in (*network.parameters(), *network.buffers()):
                dist.broadcast(tensor.detach(), 0)

    def gathered(self, ours: NDArray[Any]) -> NDArray[Any]:
        """Arrays of which process r has the rows r, r + count, ..., put together on all of them."""
        if self.count == 1:
            return ours
        parts: list[Any] = [None] * self.count
        dist.all_gather_object(parts, ours)
        whole = np.empty((sum(map(len, parts)), *ours.shape[1:]), ours.dtype)
        for rank, part in enumerate(parts):
            whole[rank :: self.count] = part
        return whole

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            dist.barrier()

    def _average(self, tensors: list[Tensor]) -> None:
        if not tensors:
            return
        # One message for all: a small one for each would wait on the network most of the time.
        flat = torch.cat([tensor.detach().float().flatten() for tensor in tensors])
        dist.all_reduce(flat)
        flat /= self.count
        for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.detach().copy_(part.view_as(tensor))


@contextmanager
def joined(device: torch.device) -> Iterator[Processes]:
    """Join the other processes that `torchrun` started, if it did; leave them at the end.

    Raises:
        UserError: `torchrun` set its variables wrongly, or the others cannot be reached.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"cannot join the {count} processes of this run ({reason}); start it with torchrun") from error
    try:
        yield Processes(dist.get_rank(), count)
    finally:
        dist.destroy_process_group()


def own_device(name: str) -> torch.device:
    """The device of this process: "auto" takes CUDA if there is one, its own of several.

    Raises:
        UserError: no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"unknown device {name!r}: auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if device.index is None else device.index)
        if not torch.cuda.is_available() or device.index >= torch.cuda.device_count():
            raise UserError(f"there is no {device} here ({torch.cuda.device_count()} CUDA devices); try --device cpu")
        torch.cuda.set_device(device)
    elif device.type != "cpu":
        raise UserError(f"training runs on cpu or cuda, not {name!r}")
    return device
