"""Estimators of the gradient of E[u] with respect to phi, as surrogates whose own gradient is the estimate."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from raydm.baselines import Baseline


class Gradient(Protocol):
    """Turns one step's log-probabilities and utilities into a scalar to ascend."""

    def surrogate(self, log_prob: Tensor, u: Tensor) -> Tensor:
        """A scalar whose gradient in phi estimates that of E[u]; log_prob and u are (R,)."""
        ...


class ScoreFunction:
    r"""Approximates grad E[u] with the mean over R of C (u_r - delta_r) grad log pi(a_r); requires log_prob.

    REINFORCE as in DVRL, equation 4 and Algorithm 1, line 11. Unbiased for any delta_r that does not depend on a_r.

    Args:
        baseline: gives delta (R,) from u (R,).
        reward_scale: C > 0, or "std": one over the standard deviation of the step's R utilities. The step length
            then does not fade as the policy settles; needs R >= 2, and the estimate is of the gradient's direction.
    """

    def __init__(self, baseline: Baseline, reward_scale: float | str = 1.0) -> None:
        self.baseline = baseline
        self.reward_scale = reward_scale

    def surrogate(self, log_prob: Tensor, u: Tensor) -> Tensor:
        """Mean over the rollouts of C (u - delta) log pi: a scalar."""
        advantage = u - self.baseline(u)
        scale = 1.0 / (u.std() + 1e-8) if isinstance(self.reward_scale, str) else self.reward_scale
        return (scale * advantage.detach() * log_prob).mean()
