"""A worker's part of each batch, from the blocks that it reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raydm.fitting.order import Plan
from raydm.fitting.rows import Encoded, Source, joined


@dataclass(frozen=True)
class Part:
    """A worker's rows of a batch.

    Attributes:
        x: (b, ...) rows; where the worker has none of this batch, one row that weighs nothing.
        y: (b,) or (b, C).
        w: (b,) weights.
    """

    x: Tensor
    y: Tensor
    w: Tensor


def parts_of(
    plan: Plan, source: Source, epoch: int, rank: int, world: int, *, pad_id: int | None = None
) -> Iterator[Part]:
    """A worker's part of every batch of an epoch, in order.

    Args:
        plan: says which rows make which batch.
        source: of the rows.
        epoch: its number, from 0.
        rank: of the worker.
        world: how many workers there are.
        pad_id: of token ids: padding that all of a part's rows end with is cut off.

    Raises:
        DataError: rows that cannot be read or encoded.
    """
    reads = source.read(plan.own(epoch, rank, world))
    held: list[Encoded] = []  # of a batch that goes on in the next window
    spare: Encoded | None = None
    for piece in plan.pieces(epoch, rank, world):
        blocks = [next(reads) for _ in piece.blocks]
        rows = joined(blocks) if blocks else None
        if spare is None and rows is not None:
            spare = Encoded(rows.x[:1].copy(), rows.y[:1].copy(), np.zeros(1, np.float32))
        for cut, whole in zip(piece.cuts, piece.ends, strict=True):
            if rows is not None and len(cut):
                held.append(Encoded(rows.x[cut], rows.y[cut], rows.w[cut]))
            if whole:
                made = joined(held) if held else spare
                assert made is not None  # noqa: S101  # Plan.check: every worker has a block in the first window
                yield Part(_trimmed(made.x, pad_id), torch.from_numpy(made.y), torch.from_numpy(made.w))
                held = []


def _trimmed(x: Any, pad_id: int | None) -> Tensor:
    if pad_id is not None:
        x = x[:, : max(1, int((x != pad_id).any(0).nonzero()[0].max(initial=0)) + 1)]
    return torch.from_numpy(np.ascontiguousarray(x))
