"""Early stopping of a stack: each training keeps the parameters that did best on the watched rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from raydm.checks import check_integer
from raydm.data.task import Task
from raydm.predictors.backward import losses
from raydm.predictors.forward import Forward


@dataclass(frozen=True)
class EarlyStopping:
    """When a training stops (Prechelt 1998).

    Attributes:
        patience: checks without a lower loss after which it stops, >= 1.
        every: steps between checks, >= 1.
    """

    patience: int = 10
    every: int = 10

    def __post_init__(self) -> None:
        """Raises ParameterError where a value is out of its range."""
        for name in ("patience", "every"):
            check_integer("EarlyStopping", name, getattr(self, name), 1)


class Watch:
    """The R trainings of a stack, watched; each stops by its own loss, whatever the others do.

    Args:
        rule: when to stop.
        forward: of the stack.
        x: (M, D) rows to watch, in parts that are looked at one after the other.
        y: (R, M) or (R, M, C), their labels as the trainings see them.
        task: what y holds.

    Attributes:
        best: the parameters with the least loss so far, by name; None before the first check.
    """

    def __init__(self, rule: EarlyStopping, forward: Forward, x: Sequence[Tensor], y: Tensor, task: Task) -> None:
        self.rule, self.forward, self.x, self.y, self.task = rule, forward, x, y, task
        self.w = x[0].new_ones(y.shape[:2])
        self.least = x[0].new_full((len(y),), torch.inf)
        self.since = torch.zeros_like(self.least, dtype=torch.int64)
        self.best: dict[str, Tensor] | None = None

    @torch.no_grad()
    def stopped(self, step: int, params: Mapping[str, Tensor]) -> bool:
        """Whether all have stopped at this step, counted from 1."""
        if step % self.rule.every:
            return False
        out = torch.cat([self.forward(params, part) for part in self.x], -1)
        loss = losses(out, self.y, self.w, self.task)
        better = (loss < self.least) & (self.since < self.rule.patience)
        self.least = torch.where(better, loss, self.least)
        self.since = torch.where(better, 0, self.since + 1)
        if self.best is None:
            self.best = {name: p.detach().clone() for name, p in params.items()}
        for name, p in params.items():
            self.best[name][better] = p.detach()[better]
        return bool((self.since >= self.rule.patience).all())
