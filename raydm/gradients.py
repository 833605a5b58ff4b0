"""Estimators of the gradient of E[u] with respect to phi, as surrogates whose own gradient is the estimate.

Axes: R rollouts, N examples of the batch.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from raydm.baselines import Baseline
from raydm.control_variates import ControlVariate, NoControl
from raydm.errors import ParameterError
from raydm.policies import Policy
from raydm.utility import MaybeDifferentiable, StepUtility, require_differentiable


class Gradient(Protocol):
    """Turns one step's actions and utilities into a scalar to ascend."""

    def surrogate(self, policy: Policy, actions: Tensor, u: Tensor, utility_of: StepUtility) -> Tensor:
        """A scalar whose gradient in phi estimates that of E[u].

        Args:
            policy: pi_phi(a | D_B), which drew the actions.
            actions: (R, N, ...).
            u: (R,) their utilities.
            utility_of: gives the utilities of other actions on the same batch.
        """
        ...


class ScoreFunction:
    r"""Approximates grad E[u] with the mean over R of C (u_r - delta_r) grad log pi(a_r); requires log_prob.

    REINFORCE as in DVRL, equation 4 and Algorithm 1, line 11. Unbiased for any delta_r that does not depend on a_r.
    A control variate takes <g, a_r - E a> from u_r first, and gives the gradient that this costs, that of <g, E a>,
    back exactly: unbiased for any g that does not depend on the actions.

    Args:
        baseline: gives delta (R,) from u - <g, a - E a> (R,), whose mean is u's.
        reward_scale: C > 0, or "std": one over the standard deviation of the step's R utilities (of what the control
            variate leaves, where that is larger). The step length then does not fade as the policy settles; needs
            R >= 2, and the estimate is of the gradient's direction.
        control: gives g (N,); needs a policy whose mean is E a.
    """

    def __init__(
        self, baseline: Baseline, reward_scale: float | str = 1.0, control: ControlVariate | None = None
    ) -> None:
        self.baseline = baseline
        self.reward_scale = reward_scale
        self.control = NoControl() if control is None else control

    def surrogate(self, policy: Policy, actions: Tensor, u: Tensor, utility_of: StepUtility) -> Tensor:
        """Mean over the rollouts of C (u - <g, a - E a> - delta) log pi, plus C <g, E a>: a scalar."""
        actions, u = actions.detach(), u.detach()
        g = self.control.slopes(policy, utility_of)  # not shown this step's actions
        rest = u - (actions - policy.mean.detach()) @ g
        advantage = rest - self.baseline(rest)
        scale = _scale(self.reward_scale, u, rest)
        self.control.observe(actions, u, utility_of)
        return (scale * advantage * policy.log_prob(actions)).mean() + scale * (g @ policy.mean)


class Pathwise:
    """Approximates grad E[u] with the mean over R of C grad u(a_r), through a_r; requires a differentiable u and a_r.

    The reparameterisation trick, through the whole of each training. What it is the gradient of is the relaxed
    objective, with the metric's smooth form (see `raydm.metrics.Metric.smooth`): expected accuracy where u is accuracy.
    Difference from Gumbel-softmax DVRL (Shah, Vaidya 2020), whose loss is -(u - delta) a: there u is a number, so that
    a gradient comes from a alone; here u itself is differentiated, as its relaxation is made for.

    Args:
        predictor: f_theta, or the utility where that is `raydm.joint.Joint`; checked to be differentiable.
        reward_scale: as of `ScoreFunction`.

    Raises:
        ParameterError: the predictor is not differentiable.
    """

    def __init__(self, predictor: MaybeDifferentiable, reward_scale: float | str = 1.0) -> None:
        require_differentiable(predictor, "The pathwise gradient")
        self.reward_scale = reward_scale

    def surrogate(self, policy: Policy, actions: Tensor, u: Tensor, utility_of: StepUtility) -> Tensor:
        """Mean over the rollouts of C u: a scalar.

        Raises:
            ParameterError: the policy's draws are not differentiable in phi, so u is not either.
        """
        if not u.requires_grad:
            raise ParameterError(
                f"The pathwise gradient needs actions that are differentiable in phi. {type(policy).__name__} draws "
                "none: use the policy Relaxed or StraightThrough, or the gradient ScoreFunction."
            )
        return (_scale(self.reward_scale, u) * u).mean()


def _scale(reward_scale: float | str, *utilities: Tensor) -> float | Tensor:
    """The reward scale C of a step; utilities (R,), and what a control variate left of them."""
    if not isinstance(reward_scale, str):
        return reward_scale
    deviation = torch.stack([u.detach().std() for u in utilities]).max()
    return torch.where(deviation > 0, 1.0 / (deviation + 1e-8), 0.0)  # where all are equal, a step tells no scale
