"""Metrics of predictions, as utilities (higher is better, always), and of data values.

Axes: R rollouts, M examples, C classes or target columns, N training examples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score
from torch import Tensor

from raydm.errors import DataError, ParameterError, one_of

_TINY = 1e-12  # a probability of 0 would cost minus infinity


@dataclass(frozen=True)
class Metric:
    """A metric with its direction.

    Attributes:
        name: what users call it.
        task: "classification" or "regression".
        sign: +1 where higher is better, -1 where lower is.
        function: maps predictions (R, M, C) and truth (M,) or (M, C) to the metric in its own direction, (R,).
        stand_in: the metric whose gradient is taken where this one has none that leads anywhere; None: its own is.
    """

    name: str
    task: str
    sign: int
    function: Callable[[Tensor, Tensor], Tensor]
    stand_in: str | None = None

    def __call__(self, predictions: Tensor, y: Tensor) -> Tensor:
        """The metric in its own direction: (R,) float64.

        Args:
            predictions: (R, M, C) class probabilities or targets.
            y: (M,) int64 class indices; or float targets, (M,) or (M, C).
        """
        return self.function(predictions.double(), y)

    def utility(self, predictions: Tensor, y: Tensor) -> Tensor:
        """The utility u, higher is better: (R,) float64."""
        return self.sign * self(predictions, y)

    @property
    def smooth(self) -> Metric:
        """The metric that gradients are taken of: itself, or its stand-in (expected accuracy for accuracy and auc)."""
        return METRICS[self.stand_in] if self.stand_in else self


def _accuracy(p: Tensor, y: Tensor) -> Tensor:
    correct = (p.argmax(-1) == y).double()
    return correct.masked_fill(p.isnan().any(-1), torch.nan).mean(-1)  # argmax takes NaN for the largest


def _expected_accuracy(p: Tensor, y: Tensor) -> Tensor:
    """Of a predictor that draws its answers from its probabilities: the mean probability of the truth."""
    return _of_truth(p, y).mean(-1)


def _of_truth(p: Tensor, y: Tensor) -> Tensor:
    return p.gather(-1, y.expand(len(p), -1).unsqueeze(-1)).squeeze(-1)


def _log_likelihood(p: Tensor, y: Tensor) -> Tensor:
    return _of_truth(p, y).clamp_min(_TINY).log().mean(-1)


def _auc(p: Tensor, y: Tensor) -> Tensor:
    """Area under the ROC curve; over more than two classes the mean of one-against-rest (those present in y)."""
    truth = y.cpu().numpy()
    columns = [1] if p.shape[-1] == 2 else [int(c) for c in np.unique(truth)]
    if len(np.unique(truth)) < 2:
        raise DataError("The metric 'auc' needs examples of at least two classes. Got one class; use 'accuracy'.")
    areas = [_rank_auc(p[..., c].detach().cpu().numpy(), truth == c) for c in columns]
    return torch.from_numpy(np.mean(areas, axis=0)).to(p.device)


def _rank_auc(scores: npt.NDArray[Any], positive: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Mann-Whitney: scores (R, M), positive (M,) -> (R,); ties count half."""
    ranks = stats.rankdata(scores, axis=-1)
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    u_statistic = ranks[:, positive].sum(-1) - n_pos * (n_pos + 1) / 2
    return np.asarray(u_statistic / (n_pos * n_neg), dtype=np.float64)


def _by_target(p: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Predictions (R, C, M) and the truth (C, M) in float64, from (R, M, C) and (M,) or (M, C)."""
    truth = y.double().reshape(len(y), -1)
    if truth.shape != p.shape[1:]:
        raise ParameterError.of("y", "Metric", f"of shape {tuple(p.shape[1:])}, as the predictions", tuple(y.shape))
    return p.transpose(1, 2).contiguous(), truth.t().contiguous()


def _rmse(p: Tensor, y: Tensor) -> Tensor:
    """The root of the mean over rows and targets (as the MixRL paper reports it)."""
    p, y = _by_target(p, y)
    return (p - y).flatten(1).square().mean(-1).sqrt()


def _mae(p: Tensor, y: Tensor) -> Tensor:
    p, y = _by_target(p, y)
    return (p - y).flatten(1).abs().mean(-1)


def _rmspe(p: Tensor, y: Tensor) -> Tensor:
    """Root mean square percentage error, over the rows and targets with y other than 0 (as a share, not times 100)."""
    p, y = _by_target(p, y)
    known = y != 0
    if not known.any():
        raise DataError("The metric 'rmspe' divides by y, and every y is 0. Use 'rmse'.")
    return ((p[:, known] - y[known]) / y[known]).square().mean(-1).sqrt()


def _r2(p: Tensor, y: Tensor) -> Tensor:
    """The mean over targets of each one's share of variance explained (scikit-learn's uniform average)."""
    p, y = _by_target(p, y)
    constant = (y == y[:, :1]).all(-1)  # the variance itself may be not quite 0 for rounding
    if constant.any():
        of = f"y[:, {int(constant.int().argmax())}]" if len(y) > 1 else "y"
        raise DataError(f"The metric 'r2' divides by the variance of {of}, which is 0. Use 'rmse'.")
    spread = (y - y.mean(-1, keepdim=True)).square().mean(-1)
    return (1 - (p - y).square().mean(-1) / spread).mean(-1)


METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("accuracy", "classification", +1, _accuracy, stand_in="expected-accuracy"),
        Metric("auc", "classification", +1, _auc, stand_in="expected-accuracy"),
        Metric("expected-accuracy", "classification", +1, _expected_accuracy),
        Metric("log-likelihood", "classification", +1, _log_likelihood),
        Metric("rmse", "regression", -1, _rmse),
        Metric("mae", "regression", -1, _mae),
        Metric("rmspe", "regression", -1, _rmspe),
        Metric("r2", "regression", +1, _r2),
    )
}
DEFAULT_METRIC: Mapping[str, str] = {"classification": "accuracy", "regression": "rmse"}


def metric_for(name: str | None, task: str) -> Metric:
    """The metric by name (None: the task's default).

    Raises:
        ParameterError: unknown, or of the other task.
    """
    name = name or DEFAULT_METRIC[task]
    fitting = [m.name for m in METRICS.values() if m.task == task]
    if name not in fitting:
        raise ParameterError.of("metric", "raydm", f"{one_of(fitting)} for {task}", name)
    return METRICS[name]


def discovery_auc(values: npt.ArrayLike, flipped: npt.ArrayLike) -> float:
    """Probability that a flipped example has a lower value than a clean one (ties half), in [0, 1].

    Args:
        values: (N,) data values.
        flipped: (N,) bool, True where the label is known to be wrong.
    """
    return float(roc_auc_score(np.asarray(flipped), -np.asarray(values, dtype=np.float64)))


def discovery_recall(values: npt.ArrayLike, flipped: npt.ArrayLike, inspected: npt.ArrayLike) -> list[float]:
    """Share of the flipped examples found when the lowest values are inspected (DVRL, figure 3).

    Args:
        values: (N,).
        flipped: (N,) bool.
        inspected: (F,) shares of N to inspect, in [0, 1].

    Returns:
        F recalls in [0, 1]; a group of tied values that is inspected in part counts in proportion.
    """
    values, flipped = np.asarray(values, dtype=np.float64), np.asarray(flipped, dtype=bool)
    _, group, size = np.unique(values, return_inverse=True, return_counts=True)
    share_flipped = np.bincount(group, weights=flipped) / size
    found = np.concatenate([[0.0], np.cumsum(np.repeat(share_flipped, size))])
    counts = np.asarray(inspected, dtype=np.float64) * len(values)
    return [float(r) for r in np.interp(counts, np.arange(len(found)), found) / flipped.sum()]


def discovery_recall_at_count(values: npt.ArrayLike, flipped: npt.ArrayLike) -> float:
    """Share of the flipped examples found when exactly as many rows are inspected as are flipped, in [0, 1].

    Args:
        values: (N,).
        flipped: (N,) bool, at least one.
    """
    return discovery_recall(values, flipped, [np.mean(np.asarray(flipped, dtype=bool))])[0]


def discovery_f1(values: npt.ArrayLike, flipped: npt.ArrayLike) -> float:
    """F1 of calling the lower of two clusters of values flipped, in [0, 1] (OpenDataVal's noisy-label detection).

    Unlike the other figures it asks the values for a cut of their own, without the share that is flipped being known.

    Args:
        values: (N,) finite.
        flipped: (N,) bool, at least one.
    """
    called, flipped = lower_cluster(values), np.asarray(flipped, dtype=bool)
    return float(2 * (called & flipped).sum() / (called.sum() + flipped.sum()))


def lower_cluster(values: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """The lower cluster of exact 2-means: (N,) bool; none where all values are equal.

    In one dimension the clusters are cut at a place in the sorted values, so every cut is tried: the best one has the
    largest sum of squares between the clusters.

    Args:
        values: (N,) finite.
    """
    values = np.asarray(values, dtype=np.float64)
    rising = np.sort(values)
    n, below = len(values), np.arange(1, len(values))
    sums = np.cumsum(rising - rising.mean())[:-1]  # of the values below each cut; above it the same with a minus
    between = np.where(np.diff(rising) > 0, sums**2 * (1 / below + 1 / (n - below)), -1.0)  # ties stay together
    if not (between >= 0).any():
        return np.zeros(n, dtype=np.bool_)
    return np.asarray(values <= rising[between.argmax()])
