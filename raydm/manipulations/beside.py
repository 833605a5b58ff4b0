"""New examples beside the batch's own, as one training set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from raydm.augmenters.pixels import to_unit
from raydm.checks import is_number
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.predictors import TrainingSets
from raydm.text.soft import SoftTokens, joined


def beside(batch: Batch, x: Any, y: Tensor, share: float | None, task: Task) -> TrainingSets:
    """The batch's B examples and S new ones, woven into one another, so that any stretch of rows holds of both.

    Args:
        batch: D_B.
        x: (R, S, ...) new examples; soft tokens (S, L), R = 1.
        y: (S,) or (R, S) their labels, or (S, C) of several targets.
        share: of the new ones in the loss, in (0, 1); None: that in the number of rows.
        task: what y holds.

    Returns:
        The sets, of mean weight 1.
    """
    b, s = len(batch.y), x.shape[1] if isinstance(x, Tensor) else len(x)
    order = woven(b, s)
    rollouts = len(x) if isinstance(x, Tensor) else 1
    rows: Any
    if isinstance(x, SoftTokens):
        rows = joined([batch.x.to(x.device), x])[order.to(x.device)]
    else:
        own = to_unit(batch.x).to(x.device)
        rows = torch.cat([own.expand(rollouts, *own.shape), x], 1)[:, order.to(x.device)]
    per_rollout = y.ndim > batch.y.ndim
    own_y = batch.y.expand(rollouts, *batch.y.shape) if per_rollout else batch.y
    axis = 1 if per_rollout else 0
    labels = torch.cat([own_y, y.to(batch.y)], axis).index_select(axis, order)
    share = s / (b + s) if share is None else share
    w = torch.cat([torch.full((b,), (1 - share) * (b + s) / b), torch.full((s,), share * (b + s) / s)])[order]
    return TrainingSets(rows, labels, w.expand(rollouts, -1), task)


def woven(b: int, s: int) -> Tensor:
    """An order of b and then s rows in which both are spread evenly: (b + s,) int64."""
    places = torch.cat([(torch.arange(b) + 0.5) / b, (torch.arange(s) + 0.5) / s])
    return places.argsort(stable=True)


def check_share(owner: str, share: object) -> None:
    """Raises ParameterError unless it is a number in (0, 1), or None."""
    if share is not None and not (is_number(share) and 0 < float(share) < 1):  # type: ignore[arg-type]
        raise ParameterError.of("share", owner, "in (0, 1), or None for the share in the number of rows", share)
