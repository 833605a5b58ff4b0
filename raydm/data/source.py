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


class EpochBatches:
    """Passes over all N examples, each in an order of its own (as predictors are trained).

    Epoch e's batches depend on the seed and on e alone. They are as equal in size as can be, at most B: none is left
    with a row or two.

    Args:
        examples: the training set; x may be anything with rows that can be indexed by a tensor of them.
        batch_size: B >= 1.
        epochs: how many passes.
        seed: the run's seed.
        first: the number of the first epoch, where others went before.
    """

    def __init__(self, examples: Examples, *, batch_size: int, epochs: int, seed: int, first: int = 0) -> None:
        self.x, self.y = torch.from_numpy(examples.x), torch.from_numpy(examples.y)
        self.batch_size, self.epochs, self.seed, self.first = batch_size, epochs, seed, first

    @property
    def steps_an_epoch(self) -> int:
        """How many batches a pass has."""
        return -(-len(self.y) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        """Yields (t, batch), t counted on from the epochs before."""
        t = self.first * self.steps_an_epoch
        for epoch in range(self.first, self.first + self.epochs):
            for rows in even_batches(stream(self.seed, "epoch", epoch), len(self.y), self.batch_size):
                yield t, Batch(rows, self.x[rows], self.y[rows])
                t += 1


def even_batches(rng: np.random.Generator, n: int, batch_size: int) -> list[npt.NDArray[np.int64]]:
    """All N rows in random order, in batches of at most B as equal in size as can be."""
    return np.array_split(rng.permutation(n), -(-n // batch_size))
