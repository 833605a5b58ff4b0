"""Baselines delta: what a rollout's utility is compared with; the advantage is u - delta."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Baseline(Protocol):
    """Maps the R utilities of a step to R baselines. It may remember earlier steps."""

    def __call__(self, u: Tensor) -> Tensor:
        """Delta (R,) for the utilities u (R,) of one step."""
        ...


class MovingAverage:
    """The average of the earlier steps' utilities (DVRL, Algorithm 1, line 12): delta <- (T-1)/T delta + u/T.

    Difference from the paper: delta starts at the first step's mean utility, not at 0, so that the first T steps do
    not reward every action that was drawn.

    Args:
        window: T >= 1, in steps.
    """

    def __init__(self, window: int = 20) -> None:
        self.window = window
        self.delta: Tensor | None = None

    def __call__(self, u: Tensor) -> Tensor:
        """The average before this step, the same for each rollout: (R,)."""
        mean = u.mean()
        before = mean if self.delta is None else self.delta
        self.delta = before + (mean - before) / self.window
        return before.expand_as(u)


class FullData:
    """The utility of a predictor trained on the whole training set (DVRL's released code), fixed for the run.

    Args:
        utility: that utility.
    """

    def __init__(self, utility: float) -> None:
        self.utility = utility

    def __call__(self, u: Tensor) -> Tensor:
        """The same number for each rollout: (R,)."""
        return torch.full_like(u, self.utility)


class LeaveOneOut:
    """The mean utility of the step's other rollouts: unbiased, since it does not depend on the rollout's own action."""

    def __call__(self, u: Tensor) -> Tensor:
        """delta_r = (sum of u - u_r) / (R - 1): (R,). Needs R >= 2."""
        return (u.sum() - u) / (len(u) - 1)
