"""Worlds of a few rows whose right answers are worked out on paper, and the problems on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.metrics import METRICS
from raydm.mixing.options import Options
from raydm.mixing.settings import MixSettings
from raydm.predictors import make_predictor
from raydm.utility import Problem

# As in the paper: all mixed rows are let in; what lets some in has tests of its own
QUICK = MixSettings(options=Options((1, 2, 4), (1, 2)), steps=3, rollouts=4, repeats=1, admit=1)


def examples(x: Any, y: Any) -> Examples:
    x = np.asarray(x, np.float32)
    return Examples(x.reshape(len(x), -1), np.asarray(y, np.float32), np.arange(len(x)))


def problem(valid: Examples, predictor: Any = "neighbors", seed: int = 0, **params: Any) -> Problem:
    if predictor == "neighbors":
        params = {"k": 1} | params
    task = Task("regression", 1 if valid.y.ndim == 1 else valid.y.shape[1])
    return Problem(make_predictor(predictor, **params), valid, task, METRICS["rmse"], seed)


def line(n: int, seed: int = 0, targets: int = 1) -> Examples:
    """y = 1 + 2 x_0 - x_1, and of more targets its multiples: mixed rows lie on the same line."""
    x = np.random.default_rng(seed).normal(size=(n, 2))
    y = 1 + 2 * x[:, 0] - x[:, 1]
    return examples(x, y if targets == 1 else np.stack([(c + 1) * y for c in range(targets)], 1))


def kink() -> tuple[Examples, Examples]:
    """y = |x| at -9.5 ... 9.5, and trusted rows between them, where rows mixed at a half with a neighbour lie.

    The nearest by data is 1 away, and but for the two beside 0 the row between lies on the curve. The nearest by label
    is -x: the row between is at 0, and its label |x| is wrong by |x|.
    """
    x, between = np.arange(-9.5, 10), np.arange(-9.0, 9.5)
    return examples(x, np.abs(x)), examples(between, np.abs(between))
