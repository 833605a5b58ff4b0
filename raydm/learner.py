"""The one loop: draw actions, train predictors, score them on D^v, ascend. Every method is a choice of its parts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from raydm.data.source import Batch, Source
from raydm.gradients import Gradient
from raydm.manipulations import Manipulation
from raydm.policies import Policy
from raydm.predictors import TrainingSets
from raydm.seeding import stream
from raydm.utility import StepUtility, Utility


@dataclass(frozen=True)
class Step:
    """What one step saw: its number t from 0, the utilities u (R,), and the policy that drew the actions."""

    t: int
    u: Tensor
    policy: Policy


def learn(
    source: Source,
    manipulation: Manipulation,
    gradient: Gradient,
    utility: Utility,
    optimizer: torch.optim.Optimizer,
    *,
    rollouts: int,
    seed: int,
) -> Iterator[Step]:
    """Yields each step as it is done; who stops asking stops the training (DVRL, Algorithm 1).

    Step t's actions depend on the seed, t and phi alone.
    """
    for t, batch in source:  # D_B ~ D
        policy = manipulation.policy(batch)  # pi_phi(a | D_B)
        actions = policy.draw(rollouts, stream(seed, "actions", t))  # (R, N)
        utility_of = StepUtility(manipulation, utility, batch, t)
        u = utility_of(actions)  # R trainings, scored on D^v: (R,)
        objective = gradient.surrogate(policy, actions, u, utility_of) - manipulation.penalty(policy)
        optimizer.zero_grad()
        torch.autograd.backward(-objective)
        optimizer.step()
        utility.carry(partial(_redrawn, manipulation, batch, rollouts, seed, t), step=t)  # joint: theta <- theta'
        yield Step(t, u.detach(), policy)


@torch.no_grad()
def _redrawn(manipulation: Manipulation, batch: Batch, rollouts: int, seed: int, t: int) -> TrainingSets:
    """The step's training sets from the same noise and the new phi."""
    return manipulation.apply(manipulation.policy(batch).draw(rollouts, stream(seed, "actions", t)), batch)
