"""Control variates: linear stand-ins <g, a> for the utility, whose expectation under the policy is known.

The score function's estimate is spared the variance that <g, a> explains. Axes: R rollouts, B examples of the batch,
N examples of the training set, K points.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from raydm.policies import Policy, Relaxed
from raydm.predictors import Predictor
from raydm.seeding import stream
from raydm.utility import StepUtility, require_differentiable


class ControlVariate(Protocol):
    """Gives g before it sees what a step drew; so g cannot depend on that, and the estimate stays unbiased."""

    def slopes(self, policy: Policy, utility_of: StepUtility) -> Tensor:
        """The slopes g (B,) for a step, before its actions are known."""
        ...

    def observe(self, actions: Tensor, u: Tensor, utility_of: StepUtility) -> None:
        """Learns from the step's actions (R, B) and utilities u (R,), for later steps."""
        ...


class NoControl:
    """Takes g = 0: the plain score function."""

    def slopes(self, policy: Policy, utility_of: StepUtility) -> Tensor:
        """Zeros (B,)."""
        return torch.zeros_like(policy.mean)

    def observe(self, actions: Tensor, u: Tensor, utility_of: StepUtility) -> None:
        """Nothing is learned."""


class Coefficient:
    """c = Cov(u, l) / Var(l), which makes Var(u - c l) least, over earlier steps' rollouts; 0 before the first.

    Args:
        memory: in [0, 1), what a step counts for beside the one after it.
    """

    def __init__(self, memory: float = 0.9) -> None:
        self.memory, self.covariance, self.variance = memory, 0.0, 0.0

    @property
    def value(self) -> float:
        """The coefficient c."""
        return self.covariance / self.variance if self.variance > 0 else 0.0

    def observe(self, u: Tensor, stand_in: Tensor) -> None:
        """Takes in a step's utilities u (R,) and their stand-ins l (R,); R = 1 tells nothing."""
        u, stand_in = u - u.mean(), stand_in - stand_in.mean()
        self.covariance = self.memory * self.covariance + float(u @ stand_in)
        self.variance = self.memory * self.variance + float(stand_in @ stand_in)


class Taylor:
    """Approximates u to first order: g = c du~/da, u~ the metric's smooth form; requires a differentiable predictor.

    MuProp (Gu, Levine, Sutskever, Mnih 2016, equation 7) with the training in the place of the mean-field network, and
    K graphs of trainings a step as its cost. Differences: g is the mean of the slopes at K relaxed actions, drawn for
    it alone, where MuProp has those at the mean action h (here `draws=0`; they explain less: weighting all examples by
    1/2 is as good as using all, which no rollout does). u~ may be another metric than u, so g is scaled by a
    `Coefficient`, where MuProp has 1. The constant terms u~(h) and <g, h> are left to the baseline.

    Args:
        predictor: f_theta, checked to be differentiable.
        seed: the run's seed.
        draws: K >= 1 relaxed actions a step; or 0, for the mean action.
        temperature: of these, > 0 (see `raydm.policies.Relaxed`).
        memory: of the coefficient, in [0, 1).

    Raises:
        ParameterError: the predictor is not differentiable.
    """

    def __init__(
        self, predictor: Predictor, seed: int, *, draws: int = 4, temperature: float = 0.7, memory: float = 0.9
    ) -> None:
        require_differentiable(predictor, "The control variate 'taylor'")
        self.seed, self.draws, self.temperature = seed, draws, temperature
        self.coefficient = Coefficient(memory)

    def slopes(self, policy: Policy, utility_of: StepUtility) -> Tensor:
        """The coefficient times du~/da: (B,)."""
        points = self._points(policy.mean.detach(), utility_of.t).requires_grad_()
        (slopes,) = torch.autograd.grad(utility_of(points).sum(), points)
        self._slopes = slopes.mean(0)
        return self.coefficient.value * self._slopes

    def observe(self, actions: Tensor, u: Tensor, utility_of: StepUtility) -> None:
        """Updates the coefficient."""
        self.coefficient.observe(u, (actions @ self._slopes).to(u))

    def _points(self, h: Tensor, step: int) -> Tensor:
        """Where the slopes are taken, (K, B): drawn apart from the step's actions."""
        if self.draws == 0:
            return h.unsqueeze(0)
        return Relaxed(torch.logit(h), self.temperature).draw(self.draws, stream(self.seed, "control variate", step))


class Datamodel:
    """Approximates u with a linear model of the actions, learned from earlier steps; requires R >= 2, no gradient.

    A datamodel (Ilyas, Park, Engstrom, Leclerc, Madry 2022, section 2): u = b + <theta, presence> over the N training
    examples. Differences: it is fitted while learning, by recursive least squares with forgetting (a Kalman filter),
    not by the lasso on trainings of its own; b is each step's own; and of the posterior's covariance the diagonal is
    kept, since two examples seldom meet again in a batch: R^2 B a step, not N^2. No trainings are added.

    Args:
        n_examples: N.
        share: of the first step's variance of u that the prior lets the model explain, in (0, 1).
        memory: in (0, 1], how sure an estimate is of itself after a step beside before: the policy moves on.
    """

    def __init__(self, n_examples: int, *, share: float = 0.6, memory: float = 0.98) -> None:
        self.theta = torch.zeros(n_examples, dtype=torch.float64)
        self.variance = torch.full_like(self.theta, torch.nan)  # the prior's is in u's unit, known at the first step
        self.share, self.memory = share, memory
        self.prior = self.noise = 0.0
        self.coefficient = Coefficient()

    def slopes(self, policy: Policy, utility_of: StepUtility) -> Tensor:
        """The coefficient times theta of the batch's examples: (B,)."""
        return (self.coefficient.value * self.theta[utility_of.batch.rows]).to(policy.mean)

    def observe(self, actions: Tensor, u: Tensor, utility_of: StepUtility) -> None:
        """One step of the filter: prediction error, gain, and the variance that is left."""
        rows = utility_of.batch.rows
        a, y = actions.cpu().double(), u.cpu().double()
        a, y = a - a.mean(0), y - y.mean()  # b is gone
        predicted = a @ self.theta[rows]
        error = y - predicted
        self.coefficient.observe(y, predicted)
        if self.noise == 0:
            self._begin(a, y)
        if self.noise == 0:  # all utilities were equal: there is no unit yet
            return
        spread = a * self.variance[rows]
        gain = torch.linalg.solve(spread @ a.T + self.noise * torch.eye(len(y)).double(), spread).T  # (B, R)
        self.theta[rows] += gain @ error
        left = self.variance[rows] - (gain * spread.T).sum(-1)
        self.variance[rows] = (left / self.memory).clamp_max(self.prior)
        unexplained = float(error @ error - (spread * a).sum()) / len(y)
        self.noise = 0.9 * self.noise + 0.1 * max(unexplained, 0.1 * float(error @ error) / len(y), self.least)

    def _begin(self, a: Tensor, y: Tensor) -> None:
        """Divides the first step's variance of u into the prior's share and noise."""
        variance = float(y @ y) / len(y)
        self.prior = self.share * variance / max(float(a.square().mean(0).sum()), 1e-12)
        self.noise, self.least = (1 - self.share) * variance, 1e-6 * variance
        self.variance.fill_(self.prior)
