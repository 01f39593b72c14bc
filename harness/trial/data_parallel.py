"""Data-parallel training: one step in several processes, each on its rows of the batch, gradients averaged.

The result is that of ``DistributedDataParallel`` (Li et al., VLDB 2020, arXiv 2006.15704), computed after the backward
pass, so that several networks or updates a step need no wrapper.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from harness.errors import HarnessError

BUCKET = 2**23  # numbers that travel together
Batch = TypeVar("Batch")


@dataclass(frozen=True, slots=True)
class Replicas:
    """This process among those of a trial: ``rank`` counts from 0, which also scores and writes."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """True in the process that scores, keeps checkpoints and reports."""
        return self.rank == 0

    def rows(self, items: int) -> slice:
        """Return this process's items of a batch.

        Raises:
            HarnessError: the batch does not divide evenly; unequal shares would weigh items unequally.
        """
        if items % self.count:
            raise HarnessError(f"devices: {self.count}: a batch of {items} cannot be shared out evenly")
        each = items // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes."""
        if self.count == 1:
            return
        bucket: list[Tensor] = []
        for parameter in parameters:
            if parameter.grad is not None:
                bucket.append(parameter.grad)
            if sum(gradient.numel() for gradient in bucket) >= BUCKET:
                self._average(bucket)
                bucket = []
        if bucket:
            self._average(bucket)

    def _average(self, gradients: list[Tensor]) -> None:
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        torch.distributed.all_reduce(flat)
        flat /= self.count
        for gradient, mean in zip(gradients, flat.split([item.numel() for item in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def mean(self, value: float, device: torch.device) -> float:
        """The mean of a number over the processes; NaN where any of them is."""
        if self.count == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64 if device.type != "mps" else torch.float32, device=device)
        torch.distributed.all_reduce(shared)
        return float(shared) / self.count

    def agreed(self, wish: bool, device: torch.device) -> bool:
        """Return the first process's decision in all of them."""
        if self.count == 1:
            return wish
        shared = torch.tensor([float(wish)], device=device)
        torch.distributed.broadcast(shared, src=0)
        return bool(shared.item())


def replicas() -> Replicas:
    """This process's place: alone, unless a process group was set up."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Replicas(torch.distributed.get_rank(), torch.distributed.get_world_size())
    return Replicas()


def rows_of(batch: Batch, items: int, rows: slice) -> Batch:
    """Rows of a batch: of a dataclass, every tensor field whose first dimension is ``items`` is cut."""
    values = {item.name: getattr(batch, item.name) for item in dataclasses.fields(batch)}  # type: ignore[arg-type]
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    changed = {name: value[rows] for name, value in tensors.items() if value.dim() and value.shape[0] == items}
    return dataclasses.replace(batch, **changed)  # type: ignore[type-var]
