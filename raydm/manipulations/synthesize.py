"""Synthesize (Hu et al. 2019, section 3.2): R_phi is finite on whole examples that g_phi(x given y) makes of noise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from raydm.checks import check_positive
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.manipulations.beside import beside, check_share
from raydm.policies import Policy, Reparameterised
from raydm.predictors import TrainingSets


class Composing(Protocol):
    """g_phi(x given y), and what tells of it."""

    def parameters(self) -> Iterable[Tensor]:
        """phi."""
        ...

    def __call__(self, y: Tensor, rng: np.random.Generator) -> Any:
        """Examples of the classes y (S,), differentiable in phi: a tensor (S, ...), or `SoftTokens`."""
        ...

    def optimizer(self, lr: float | None) -> torch.optim.Optimizer:
        """What moves phi, with a step length of its own where none is given."""
        ...

    def to(self, device: torch.device) -> None:
        """Works there from now on."""
        ...

    def written(self, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, list[dict[str, Any]]]:
        """As a call of equal noise, but as examples are kept: (S, ...); and what made each."""
        ...


@dataclass(frozen=True)
class Made:
    """Actions that are whole examples with their labels, R = 1.

    Attributes:
        x: (S, ...), or rows made of several tensors.
        y: (S,).
    """

    x: Any
    y: Tensor


class Synthesize:
    """The predictor is trained on the batch and on artificial examples, whose labels are drawn first.

    Args:
        composing: g_phi, see `raydm.manipulations.composings`.
        task: classification.
        classes: (C,) how probable each label is among artificial examples.
        rows: artificial examples for each one of the batch, > 0; at least one a batch is made.
        share: of the artificial examples in the loss, in (0, 1); None: that in the number of rows.

    Raises:
        ParameterError: the labels are no classes, or an argument is out of its range.
    """

    def __init__(
        self,
        composing: Composing,
        task: Task,
        classes: Sequence[float],
        *,
        rows: float = 1.0,
        share: float | None = None,
    ) -> None:
        if task.kind != "classification":
            raise ParameterError.of("task", "Synthesize", "classification: examples are made of classes", task.kind)
        p = np.asarray(classes, dtype=np.float64)
        if p.shape != (task.n_outputs,) or not (np.isfinite(p).all() and (p >= 0).all() and p.sum() > 0):
            raise ParameterError.of("classes", "Synthesize", f"{task.n_outputs} shares >= 0, not all 0", classes)
        check_positive("Synthesize", "rows", rows)
        check_share("Synthesize", share)
        self.composing, self.task, self.p, self.rows, self.share = composing, task, p / p.sum(), rows, share

    def parameters(self) -> Iterable[Tensor]:
        """phi."""
        return self.composing.parameters()

    def count(self, batch_size: int) -> int:
        """S, the artificial examples of a batch."""
        return max(1, round(self.rows * batch_size))

    def labels(self, n: int, rng: np.random.Generator) -> Tensor:
        """n labels, (n,) int64."""
        return torch.from_numpy(rng.choice(len(self.p), size=n, p=self.p))

    def policy(self, batch: Batch) -> Policy:
        """Labels, then g_phi of each."""

        def made(rng: np.random.Generator) -> Made:
            y = self.labels(self.count(len(batch.y)), rng)
            return Made(self.composing(y, rng), y)

        return Reparameterised(made)

    def apply(self, actions: Any, batch: Batch) -> TrainingSets:
        """The batch, and the artificial examples, `Made`."""
        x = actions.x.unsqueeze(0) if isinstance(actions.x, Tensor) else actions.x
        return beside(batch, x, actions.y, self.share, self.task)

    def penalty(self, policy: Policy) -> Tensor:
        """None: nothing has to be explored."""
        return torch.zeros(())
