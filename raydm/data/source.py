"""Sources: what the learner's steps are drawn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.data.examples import Examples
from raydm.seeding import stream


@dataclass(frozen=True)
class Batch:
    """One outer batch D_B.

    Attributes:
        rows: (B,) int64, which of the N training examples these are.
        x: (B, D) float32.
        y: (B,) int64 class indices or float32 targets; (B, C) of C > 1 targets.
        options: (B,) which of a manipulation's options each is given; None where it has none.
    """

    rows: npt.NDArray[np.int64]
    x: Tensor
    y: Tensor
    options: npt.NDArray[np.int64] | None = None


class Source(Protocol):
    """Yields (t, D_B) for t = 0, 1, ..."""

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        """The steps, from the first."""
        ...


class UniformBatches:
    """Draws B of the N examples without replacement at each step (DVRL, Algorithm 1, line 3).

    Step t's batch depends on the seed and on t alone.

    Args:
        examples: the training set.
        batch_size: B; the whole set where it has fewer examples.
        steps: how many steps there are.
        seed: the run's seed.
        options: of how many options each example is given one, uniformly (MixRL, Algorithm 1, line 4); 0: none.
    """

    def __init__(self, examples: Examples, *, batch_size: int, steps: int, seed: int, options: int = 0) -> None:
        self.x, self.y = torch.from_numpy(examples.x), torch.from_numpy(examples.y)
        self.batch_size, self.steps, self.seed = min(batch_size, len(examples)), steps, seed
        self.options = options

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        """Yields (t, batch) for t = 0 .. steps - 1."""
        for t in range(self.steps):
            rows = stream(self.seed, "batch", t).choice(len(self.y), self.batch_size, replace=False)
            given = stream(self.seed, "options", t).integers(self.options, size=len(rows)) if self.options else None
            yield t, Batch(rows, self.x[rows], self.y[rows], given)
