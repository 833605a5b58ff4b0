"""Worlds of 8 examples whose E[u] and its gradient are known by enumerating all 2^8 selections, in float64."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.gradients import Gradient
from raydm.metrics import METRICS
from raydm.networks import linear
from raydm.policies import Bernoulli, Policy
from raydm.predictors import SGD, Stacked, TrainingSets
from raydm.testing import QuadraticWorld, all_actions
from raydm.utility import InProcess, Problem, StepUtility, Utility

N = 8


class Weights:
    """The manipulation that takes actions as weights, without any phi."""

    def __init__(self, task: Task) -> None:
        self.task = task

    def apply(self, actions: Tensor, batch: Batch) -> TrainingSets:
        return TrainingSets(batch.x, batch.y, actions, self.task)


@dataclass(frozen=True)
class World:
    """One batch, and the utility of selections from it."""

    utility: Utility
    task: Task
    batch: Batch

    def at(self, t: int) -> StepUtility:
        return StepUtility(Weights(self.task), self.utility, self.batch, t)

    def exact(self, logits: Tensor) -> Tensor:
        """The gradient of E[u] in the logits, by enumeration: (N,)."""
        actions = all_actions(len(logits))
        u = self.at(0)(actions).double()
        return torch.autograd.grad(Bernoulli(logits).log_prob(actions).exp() @ u, logits)[0]


def quadratic(n: int = N) -> World:
    rng = np.random.default_rng(4)
    b = np.triu(rng.normal(size=(n, n)), 1)
    world = QuadraticWorld(3 + rng.normal(size=n), b + b.T)  # gains off 0, so that a baseline pays
    batch = world.batch()
    return World(world, world.task, Batch(batch.rows, batch.x.double(), batch.y))


def logistic(metric: str, n: int = N) -> World:
    """A real training: logistic regression on n of 10 noisy examples, scored on 20."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n + 22, 3))
    y = (x[:, 0] + 0.5 * rng.normal(size=len(x)) > 0).astype(np.int64)
    examples = Examples(x, y, np.arange(len(x)))
    task = Task("classification", 2)
    predictor = Stacked(linear, optimizer=SGD(0.5, 0.9), epochs=4, device="cpu")
    problem = Problem(predictor, examples.take(range(n + 2, n + 22)), task, METRICS[metric], seed=0, shard=64)
    rows = np.array([9, 0, 7, 1, 4, 3, 8, 5])[:n]
    return World(InProcess(problem), task, Batch(rows, torch.from_numpy(x[rows]), torch.from_numpy(y[rows])))


def random_logits(n: int = N) -> Tensor:
    return torch.from_numpy(np.random.default_rng(6).normal(size=n)).requires_grad_()


def estimate(
    gradient: Gradient, world: World, policy: Policy, actions: Tensor, t: int, u: Tensor | None = None
) -> Tensor:
    """What one step's surrogate says of the gradient in the logits: (N,); u (R,) where it is known already."""
    utility_of = world.at(t)
    u = utility_of(actions).to(actions.dtype) if u is None else u
    surrogate = gradient.surrogate(policy, actions, u, utility_of)
    return torch.autograd.grad(surrogate, policy.logits, retain_graph=True)[0]


def warmed(gradient: Gradient, world: World, logits: Tensor, steps: int = 6) -> Gradient:
    """The gradient after it has seen steps of 16 rollouts each, so that what it learns is learned."""
    policy, rng = Bernoulli(logits), np.random.default_rng(0)
    for t in range(steps):
        estimate(gradient, world, policy, policy.draw(16, rng).double(), t)
    return gradient


def expectation(gradient: Gradient, world: World, logits: Tensor) -> Tensor:
    """The exact expectation of the next step's estimate with R = 1, over all 2^N actions: (N,)."""
    policy, actions = Bernoulli(logits), all_actions(len(logits))
    p, u = policy.log_prob(actions).exp().detach(), world.at(99)(actions).double()
    one = [slice(i, i + 1) for i in range(len(actions))]
    return sum(p[i] * estimate(deepcopy(gradient), world, policy, actions[i], 99, u[i]) for i in one)
