"""The order in which a stack's trainings see their examples. Axes: R rollouts, N examples, B rows of a batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.predictors.protocol import Seeds
from raydm.seeding import hashed, stream

Rows = npt.NDArray[np.int64]

_AHEAD = 8  # batches of whose rows the order is drawn at once, for a call takes as long as many numbers


def passes(seed: Seeds, n: int, batch_size: int, epochs: int) -> Iterator[Tensor]:
    """Epochs over all N rows, absent ones too: (B,) where all rollouts share a seed, else (R, B)."""
    distinct, which = np.unique(seed, return_inverse=True)
    streams = [stream(int(s), "order") for s in distinct]
    for _ in range(epochs):
        orders = np.stack([s.permutation(n) for s in streams])
        order = torch.from_numpy(orders[0] if len(distinct) == 1 else orders[which])
        yield from torch.split(order, batch_size, dim=-1)


def present_only(seed: Seeds, w: Tensor, batch_size: int, steps: int) -> Iterator[Tensor]:
    """A number of steps, each on B of the rows that a rollout's set holds: (R, B); all of them, then again.

    So a step costs the same for sets of any size. Sets of one seed see the rows that they share in one order: two
    such trainings then differ by what their sets do. A row's place in that order depends on its number alone, not on
    how many rows there are, so that absent rows at the end change nothing. An empty set sees row 0, whose weight is 0.

    Args:
        seed: (R,).
        w: (R, N); 0 is absent.
        batch_size: B.
        steps: how many.
    """
    present = (w > 0).cpu().numpy()
    present[:, 0] |= ~present.any(1)
    of_each = [_endless(int(s), np.flatnonzero(rows), batch_size) for s, rows in zip(seed, present, strict=True)]
    for _ in range(steps):
        yield torch.from_numpy(np.stack([next(rows) for rows in of_each]))


def _endless(seed: int, rows: Rows, batch_size: int) -> Iterator[Rows]:
    """Batches (B,) of cycles through the rows, each cycle in an order of its own."""
    left, cycle = rows[:0], 0
    at_once = -(-_AHEAD * batch_size // len(rows))
    while True:
        if len(left) < batch_size:
            cycles = np.arange(cycle, cycle + at_once)
            counters = [np.repeat(cycles, len(rows)), np.tile(rows, at_once)]
            orders = hashed(seed, "order", counters=counters).reshape(at_once, -1).argsort(1)
            left, cycle = np.concatenate([left, rows[orders].reshape(-1)]), cycle + at_once
        yield left[:batch_size]
        left = left[batch_size:]
