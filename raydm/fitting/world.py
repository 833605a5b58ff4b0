"""The workers of a training, as each of them sees them: alone, or as ranks of torch.distributed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed


@dataclass(frozen=True)
class World:
    """Who else trains.

    Attributes:
        rank: of this worker, from 0.
        size: how many there are; 1 needs no torch.distributed, and more need a backend for CPUs.
        device: that this worker works on.
    """

    rank: int
    size: int
    device: torch.device

    def sums(self, *values: float) -> list[float]:
        """Each number, summed over the workers, in double precision, on CPUs."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        torch.distributed.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def gathered(self, value: Any) -> list[Any]:
        """What each worker has, in the order of their ranks."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(found, value)
        return found
