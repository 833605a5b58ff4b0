"""Thresholds on values that were learned once: what each keeps is trained, all as one stack.

Axes: G thresholds, N examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from raydm.data.examples import Examples
from raydm.utility import Problem
from raydm.valuation.training import fit, predict


def kept_curve(
    problem: Problem, train: Examples, values: npt.NDArray[np.float64], thresholds: Sequence[float]
) -> list[dict[str, Any]]:
    """By threshold: how many rows are kept, and the utility on D^v of a predictor that is trained on them.

    Args:
        problem: predictor, validation set, metric and seed.
        train: N examples.
        values: theirs, (N,).
        thresholds: G of them; a row of at least that value is kept.

    Raises:
        RolloutError: a training failed.
    """
    at = np.unique(np.asarray(thresholds, np.float64))
    kept = values >= at[:, None]
    new = np.diff(kept.sum(1), prepend=-1) != 0  # what keeps the same rows is trained once
    fitted = fit(problem, train, kept[new].astype(np.float64), "A predictor of the rows above a threshold")
    predictions = predict(fitted, problem.valid.x, "A predictor of the rows above a threshold")
    u = problem.metric.utility(predictions, torch.from_numpy(problem.valid.y)).numpy()[np.cumsum(new) - 1]
    return [
        {"threshold": float(t), "rows": int(k.sum()), "utility": float(v)} for t, k, v in zip(at, kept, u, strict=True)
    ]


def best_threshold(curve: Sequence[dict[str, Any]]) -> float:
    """The threshold with the highest utility; of equals the lowest, which keeps the most rows."""
    return float(max(curve, key=lambda point: (point["utility"], -point["threshold"]))["threshold"])
