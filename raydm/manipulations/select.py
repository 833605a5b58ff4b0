"""Select (DVRL): each example of the batch is used or not; R_phi is finite on the chosen points."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional

from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.networks import DataValueEstimator
from raydm.policies import Bernoulli, Policy
from raydm.predictors import TrainingSets


class Select:
    """Data Valuation using Reinforcement Learning (Yoon, Arik, Pfister 2020), Algorithm 1, lines 4 to 8.

    Args:
        estimator: h_phi.
        task: what the labels are.
        evidence: (N, E) float32 marginal information of the training examples, in their order; needed to learn, not
            to value other examples.
        y_scale: location and scale that bring regression targets to h_phi's range (not used for classes).
        exploration: weight of the penalty that keeps the mean of h_phi inside `bounds` (the released code: 1000).
        bounds: lowest and highest mean of h_phi over a batch that cost nothing.
        start: (N,) float32 log-odds that are added to h_phi's; None: none.
        distribution: makes the policy from the logits of h_phi: `Bernoulli`, or for pathwise gradients
            `partial(Relaxed, temperature=...)` or `StraightThrough` (Shah, Vaidya 2020).
    """

    def __init__(
        self,
        estimator: DataValueEstimator,
        task: Task,
        evidence: Tensor | None = None,
        *,
        y_scale: tuple[float, float] = (0.0, 1.0),
        exploration: float = 1e3,
        bounds: tuple[float, float] = (0.1, 0.9),
        start: Tensor | None = None,
        distribution: Callable[[Tensor], Policy] = Bernoulli,
    ) -> None:
        self.estimator, self.task, self.y_scale = estimator, task, y_scale
        self.evidence = torch.empty(0) if evidence is None else evidence
        self.exploration, self.bounds, self.start, self.distribution = exploration, bounds, start, distribution

    def parameters(self) -> Iterable[Tensor]:
        """The parameters phi of h_phi."""
        return self.estimator.parameters()

    def policy(self, batch: Batch) -> Policy:
        """s_i ~ Bernoulli(h_phi(x_i, y_i)) for the batch's N examples."""
        start = None if self.start is None else self.start[batch.rows]
        return self.distribution(self.logits(batch.x, batch.y, self.evidence[batch.rows], start))

    def apply(self, actions: Tensor, batch: Batch) -> TrainingSets:
        """The batch's examples with weight 1 where chosen and 0, absent, where not; actions are (R, N)."""
        return TrainingSets(batch.x, batch.y, actions, self.task)

    def penalty(self, policy: Policy) -> Tensor:
        """Exploration: weight times the excess of mean h over 0.9, or its lack under 0.1: a scalar."""
        low, high = self.bounds
        mean = policy.mean.mean()
        return self.exploration * (torch.relu(mean - high) + torch.relu(low - mean))

    def logits(self, x: Tensor, y: Tensor, evidence: Tensor, start: Tensor | None = None) -> Tensor:
        """Log-odds of h_phi for any N examples: (N,); x (N, D), y (N,), evidence (N, E), and their start (N,)."""
        logits: Tensor = self.estimator(x, self.targets(y), evidence)
        return logits if start is None else start + logits

    def targets(self, y: Tensor) -> Tensor:
        """Labels as h_phi sees them: one-hot (N, C), or standardised targets (N, 1)."""
        if self.task.kind == "classification":
            return functional.one_hot(y, self.task.n_outputs).float()
        location, scale = self.y_scale
        return ((y - location) / scale).unsqueeze(-1)


def marginal_information(y: Tensor, predictions: Tensor, task: Task, *, least: float = 0.0) -> Tensor:
    """The gap between a label and what a validation-trained model says of it (DVRL, section 3.3).

    Args:
        y: (N,) class indices or targets.
        predictions: (N, C) class probabilities or (N, 1) targets, of a model fitted once on D^v.
        task: which of the two.
        least: for regression, what |y| counts as at least, > 0 where y may be 0.

    Returns:
        (N, C) float32: |onehot y - p(x)| for classes; (N, 1): |y - y_hat| / |y| for regression. The released code
        divides by y; here by |y|, and by no less than `least`, since y may be 0.
    """
    if task.kind == "classification":
        return (functional.one_hot(y, task.n_outputs) - predictions).abs().float()
    size = y.abs().clamp_min(least)
    return ((y - predictions.squeeze(-1)).abs() / size).unsqueeze(-1).float()


def agreement(y: Tensor, evidence: Tensor, task: Task) -> Tensor:
    """The ranking that the marginal information gives alone, higher is better: minus the gap at y itself, (N,)."""
    if task.kind == "classification":
        return -evidence.gather(-1, y.unsqueeze(-1)).squeeze(-1)
    return -evidence.squeeze(-1)
