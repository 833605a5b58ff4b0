"""Mix (MixRL): an example is interpolated with its nearest neighbours, or not; R_phi is finite on those segments."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.networks import MixingEstimator
from raydm.policies import Bernoulli, Policy
from raydm.predictors import TrainingSets

# Of a batch: (P,) which of the B examples a mixed row belongs to, and the rows: x (P, D), y as the batch's
MixedRows = Callable[[Batch], tuple[npt.NDArray[np.int64], Tensor, Tensor]]


class Mix:
    """MixRL (Hwang, Whang 2021), Algorithm 1, lines 5 to 8.

    Args:
        estimator: h_theta.
        task: regression, with C targets.
        mixed_rows: the rows that each example makes with the option that it is given.
        y_scale: location and scale (C,) that bring the targets to h_theta's range.
        exploration: weight of the penalty that keeps the mean of h_theta inside `bounds`, as in DVRL; MixRL has none.
        bounds: lowest and highest mean of h_theta over a batch that cost nothing.
        start: (N, O) float32 log-odds that are added to h_theta's; None: none.
    """

    def __init__(
        self,
        estimator: MixingEstimator,
        task: Task,
        mixed_rows: MixedRows,
        *,
        y_scale: tuple[Tensor, Tensor],
        exploration: float = 1e3,
        bounds: tuple[float, float] = (0.1, 0.9),
        start: Tensor | None = None,
    ) -> None:
        self.estimator, self.task, self.mixed_rows, self.y_scale = estimator, task, mixed_rows, y_scale
        self.exploration, self.bounds, self.start = exploration, bounds, start

    def parameters(self) -> Iterable[Tensor]:
        """The parameters of h_theta."""
        return self.estimator.parameters()

    def policy(self, batch: Batch) -> Bernoulli:
        """s_i ~ Bernoulli(h_theta(x_i, y_i, k_i)) for the batch's N examples and the options that they are given."""
        options = given_options(batch)
        start = None if self.start is None else self.start[batch.rows, options]
        return Bernoulli(self.logits(batch.x, batch.y, torch.from_numpy(options), start))

    def apply(self, actions: Tensor, batch: Batch) -> TrainingSets:
        """The batch's examples, and beside them what those mix that are chosen; actions are (R, N)."""
        owner, x, y = self.mixed_rows(batch)
        chosen = actions[:, torch.from_numpy(owner)]
        w = torch.cat([torch.ones_like(actions), chosen], dim=1)
        return TrainingSets(torch.cat([batch.x, x]), torch.cat([batch.y, y]), w, self.task)

    def penalty(self, policy: Policy) -> Tensor:
        """Exploration: weight times the excess of mean h over the bounds: a scalar."""
        low, high = self.bounds
        mean = policy.mean.mean()
        return self.exploration * (torch.relu(mean - high) + torch.relu(low - mean))

    def logits(self, x: Tensor, y: Tensor, options: Tensor, start: Tensor | None = None) -> Tensor:
        """Log-odds of h_theta: (N,); x (N, D), y (N,) or (N, C), options (N,), and their start (N,)."""
        location, scale = self.y_scale
        targets = (y.reshape(len(y), -1) - location) / scale
        logits: Tensor = self.estimator(x, targets, options)
        return logits if start is None else start + logits


def given_options(batch: Batch) -> npt.NDArray[np.int64]:
    """The option that each example of the batch is given: (B,).

    Raises:
        ParameterError: the batch has none.
    """
    if batch.options is None:
        raise ParameterError("Mix learns about options, and the batch has none: use UniformBatches(..., options=O).")
    return batch.options
