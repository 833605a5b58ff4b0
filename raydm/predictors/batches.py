"""The order in which a stack's trainings see their examples. Axes: R rollouts, N examples, B rows of a batch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.predictors.protocol import Seeds
from raydm.seeding import stream


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
    such trainings then differ by what their sets do. An empty set sees row 0, whose weight is 0.

    Args:
        seed: (R,).
        w: (R, N); 0 is absent.
        batch_size: B.
        steps: how many.
    """
    present = (w > 0).cpu().numpy()
    present[:, 0] |= ~present.any(1)
    queues: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)] * len(seed)
    cycles = np.zeros(len(seed), np.int64)
    orders: dict[tuple[int, int], npt.NDArray[np.int64]] = {}
    for _ in range(steps):
        for r, s in enumerate(seed):
            while len(queues[r]) < batch_size:
                key = (int(s), int(cycles[r]))
                if key not in orders:
                    orders[key] = stream(key[0], "order", key[1]).permutation(present.shape[1])
                queues[r] = np.concatenate([queues[r], orders[key][present[r, orders[key]]]])
                cycles[r] += 1
        yield torch.from_numpy(np.stack([q[:batch_size] for q in queues]))
        queues = [q[batch_size:] for q in queues]
