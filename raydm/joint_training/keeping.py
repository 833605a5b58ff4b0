"""What is kept of a training: the predictor of an epoch, the last or one that D^v chooses, or a mean of them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from raydm.errors import DataError
from raydm.metrics import Metric
from raydm.predictors.fitted_module import FittedModule

KEEPS = ("near-best", "best", "last", "average")
_GROUPS = 50  # of the jackknife, at most


class Keeper:
    """Sees the predictor of each epoch, and keeps one, or their mean.

    Few trusted rows cannot tell epochs apart, and the best of many by chance is an early one, badly trained: so
    "near-best" keeps the last whose metric is within one standard error of the best one's (the rule of Breiman et al.
    1984, section 3.4.3, here for epochs). Many trusted rows keep the best. "average" asks D^v nothing: it keeps the
    mean of all parameters after each epoch of the latter half (Izmailov et al. 2018, algorithm 1, at a constant step
    length; BatchNorm's running statistics are averaged as well, not taken anew).

    Args:
        keep: "near-best"; "best": by the metric, of equals the one with the least loss; "last"; "average".
        metric: judges.
        y: (M,) or (M, C), the truth of D^v.
        epochs: how many it will see; of those before the latter half "average" keeps the last.

    Attributes:
        fitted: what is kept; None before the first epoch.
    """

    def __init__(self, keep: str, metric: Metric, y: Tensor, epochs: int) -> None:
        self.keep, self.metric, self.y, self.epochs = keep, metric, y, epochs
        self.fitted: FittedModule | None = None
        self._seen = 0
        self._best: tuple[tuple[float, float], Tensor] | None = None

    def see(self, fitted: FittedModule, predictions: Tensor, loss: float) -> None:
        """An epoch's predictor, what it says of D^v (1, M, C), and its mean loss there."""
        if self.keep == "average":
            self._seen += 1
            among = self._seen - self.epochs // 2
            self.fitted = fitted if self.fitted is None or among <= 1 else averaged(self.fitted, fitted, among)
            return
        rank = float(self.metric.utility(predictions, self.y)), -loss
        better = self._best is None or rank > self._best[0]
        if better or self.keep == "last" or (self.keep == "near-best" and self._is_near(predictions)):
            self.fitted = fitted
        if better:
            self._best = rank, predictions

    def _is_near(self, predictions: Tensor) -> bool:
        assert self._best is not None  # noqa: S101  # else it is better
        (best, _), of_best = self._best
        behind = best - float(self.metric.utility(predictions, self.y))
        return behind <= (1 + 1e-9) * standard_error(self.metric, of_best, predictions, self.y)


def averaged(mean: FittedModule, new: FittedModule, n: int) -> FittedModule:
    """The mean of n predictors of one architecture from that of n - 1 and the n-th; counts among buffers are its."""
    return FittedModule(
        new.of,
        [[m.lerp(p, 1 / n) for m, p in zip(*pair, strict=True)] for pair in zip(mean.params, new.params, strict=True)],
        [
            {k: m[k].lerp(b, 1 / n) if b.is_floating_point() else b for k, b in of.items()}
            for m, of in zip(mean.buffers, new.buffers, strict=True)
        ],
        new.location,
        new.scale,
    )


def standard_error(metric: Metric, a: Tensor, b: Tensor, y: Tensor) -> float:
    """Of the difference in utility between two predictors on the same rows, by a jackknife that leaves out groups.

    Args:
        metric: whose utility it is.
        a: (1, M, C) predictions of the one.
        b: (1, M, C) of the other.
        y: (M,) or (M, C), the truth.

    Returns:
        >= 0; infinite of a single row; 0 where the metric is not defined on a part of the rows.
    """
    count = min(len(y), _GROUPS)
    if count < 2:
        return float("inf")
    group = torch.arange(len(y)) % count
    try:
        left = [
            float(metric.utility(a[:, group != g], y[group != g]) - metric.utility(b[:, group != g], y[group != g]))
            for g in range(count)
        ]
    except DataError:
        return 0.0
    return float(np.std(left) * (count - 1) ** 0.5)
