"""Closed-form worlds: utilities whose expectation under a policy, its gradient, or Shapley values are known exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import comb
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.metrics import METRICS
from raydm.predictors import TrainingSets, make_predictor
from raydm.utility import Problem, Redrawn
from raydm.valuation.game import Game, Values


class QuadraticWorld:
    """u(a) = sum_i g_i a_i + sum_{i<j} b_ij a_i a_j: examples have a worth of their own and worths in pairs.

    Under a_i ~ Bernoulli(h_i), independently, E[u] = sum_i g_i h_i + sum_{i<j} b_ij h_i h_j.

    Its N examples are told apart by one-hot features, so that a batch may hold them in any order.

    Args:
        gains: (N,) g.
        interactions: (N, N) b, symmetric with a diagonal of 0.
    """

    task = Task("classification", 2)

    def __init__(self, gains: npt.ArrayLike, interactions: npt.ArrayLike) -> None:
        self.gains = torch.as_tensor(np.asarray(gains, dtype=np.float32))
        self.interactions = torch.as_tensor(np.asarray(interactions, dtype=np.float32))
        n = len(self.gains)
        labels = np.zeros(n, dtype=np.int64)
        self.examples = Examples(np.eye(n, dtype=np.float32), labels, np.arange(n))

    def __call__(self, sets: TrainingSets, *, step: int) -> Tensor:
        """u (R,) of the weights w as actions; `step` is not used."""
        return self.utility(sets.w @ sets.x)  # the one-hot features put w in the order of the gains

    def carry(self, redrawn: Redrawn, *, step: int) -> None:
        """Nothing: nothing is trained."""

    def turn_to(self, problem: Problem) -> None:
        """Changes nothing: the world needs no problem."""

    def close(self) -> None:
        """Nothing is held."""

    def utility(self, actions: Tensor) -> Tensor:
        """u (R,) of actions (R, N) in the order of the gains."""
        gains, interactions = self.gains.to(actions.dtype), self.interactions.to(actions.dtype)
        return actions @ gains + 0.5 * ((actions @ interactions) * actions).sum(-1)

    def expected(self, logits: Tensor) -> Tensor:
        """E[u] for logits (N,) in the order of the gains: a scalar."""
        return self.utility(torch.sigmoid(logits).unsqueeze(0)).squeeze(0)

    def gradient(self, logits: Tensor) -> Tensor:
        """The exact gradient of E[u] in the logits, h_i (1 - h_i) (g_i + sum_j b_ij h_j): (N,)."""
        h = torch.sigmoid(logits.detach())
        return h * (1 - h) * (self.gains.to(h.dtype) + self.interactions.to(h.dtype) @ h)

    def batch(self) -> Batch:
        """All N examples in the order of the gains."""
        e = self.examples
        return Batch(np.arange(len(e)), torch.from_numpy(e.x), torch.from_numpy(e.y))


class LinearWorld(QuadraticWorld):
    """u(a) = sum_i g_i a_i: E[u] = sum_i g_i h_i, with gradient g_i h_i (1 - h_i) in the logits.

    Args:
        gains: (N,) g, such as [1, -1]: the first example helps, the second harms.
    """

    def __init__(self, gains: npt.ArrayLike) -> None:
        n = len(np.asarray(gains))
        super().__init__(gains, np.zeros((n, n)))


class SetGame:
    """u = v(S), S the examples that are present: a game of any rule, such as those whose values textbooks give.

    Its N players are told apart by one-hot features, so that sets may hold them in any order.

    Args:
        players: N.
        rule: maps members (R, N), True where the player is in S, to v(S), (R,).
    """

    task = Task("classification", 2)

    def __init__(self, players: int, rule: Callable[[npt.NDArray[np.bool_]], npt.ArrayLike]) -> None:
        self.rule = rule
        labels = np.zeros(players, dtype=np.int64)
        self.examples = Examples(np.eye(players, dtype=np.float32), labels, np.arange(players))

    def __call__(self, sets: TrainingSets, *, step: int) -> Tensor:
        """v (R,) float64 of the sets' members; `step` is not used."""
        members = (sets.w @ sets.x).numpy() > 0
        return torch.from_numpy(np.asarray(self.rule(members), dtype=np.float64))

    def predictions(self, sets: TrainingSets, x: Tensor, *, step: int) -> Tensor:
        """There are none: nothing is trained.

        Raises:
            ParameterError: always.
        """
        raise ParameterError("A SetGame trains nothing, so it predicts nothing. Use a utility that trains predictors.")

    def carry(self, redrawn: Redrawn, *, step: int) -> None:
        """Nothing: nothing is trained."""

    def turn_to(self, problem: Problem) -> None:
        """Changes nothing: the world needs no problem."""

    def close(self) -> None:
        """Nothing is held."""

    def game(self, *, seed: int = 0, shard: int = 16) -> Game:
        """The game as `raydm.valuation` takes it; its problem's predictor and validation set are never used."""
        problem = Problem(make_predictor("logistic"), self.examples, self.task, METRICS["accuracy"], seed, shard=shard)
        return Game(self.examples, problem, self)

    def enumerated(self) -> tuple[Values, Values]:
        """The exact Shapley and Banzhaf values, each (N,), from all 2^N sets: for N up to some 15.

        Shapley's weigh sets without the player by size, s! (N - s - 1)! / N!; Banzhaf's weigh them all alike.
        """
        members = all_actions(n := len(self.examples)).numpy() > 0
        v = np.asarray(self.rule(members), dtype=np.float64)
        sizes, shapley, banzhaf = members.sum(1), np.empty(n), np.empty(n)
        for i in range(n):
            without = np.flatnonzero(~members[:, i])
            gain, s = v[without + 2**i] - v[without], sizes[without]
            shapley[i] = (gain / (n * comb(n - 1, s))).sum()
            banzhaf[i] = gain.mean()
        return shapley, banzhaf


def all_actions(n: int) -> Tensor:
    """Every action of n examples, (2^n, n) of 0 and 1 in float64, to take expectations by enumeration."""
    return torch.from_numpy((np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.float64))
