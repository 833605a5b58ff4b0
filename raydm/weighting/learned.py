"""Weights that are learned with the predictor: the loop's parts put together for weighting."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.errors import ParameterError
from raydm.gradients import Pathwise
from raydm.joint import Joint
from raydm.learner import Step, learn
from raydm.manipulations import FreeWeights, NetworkWeights, Weight
from raydm.manipulations.weight import class_shares
from raydm.networks import WeightEstimator
from raydm.predictors import TrainingSets
from raydm.seeding import stream
from raydm.utility import Problem
from raydm.weighting.rule import DecayedAscent
from raydm.weighting.settings import WeightSettings
from raydm.weighting.weighting import Weighting, Weights

_REMEMBERED = 0.9  # of the running mean, each time that halves are asked


class Agreement:
    """What part of D^v's word about weights to follow: all where classes are rarer than in D^v, else what is reliable.

    Reliable is 2 r / (1 + r), at least 0, by Spearman and Brown (1910), of the correlation r between the slopes by one
    half of D^v and by the other, a running mean over the steps where halves are asked, from 0 on. Few trusted rows, or
    a predictor that fits them, say little: then weights stay where they rest. Where classes are rarer than in D^v the
    first steps count, and need no such proof: of that part, the share of the training set that `class_shares` gives up
    (Kish 1965: 1 - 1 / the mean of its squares), moves are made at once.

    Args:
        joint: knows the correlation of each look-ahead.
        prior: (N,) where weights rest, of mean 1.
    """

    def __init__(self, joint: Joint, prior: Tensor) -> None:
        self._joint, self._mean, self._judged = joint, 0.0, False
        self.known = 1 - 1 / float(prior.double().square().mean())

    def __call__(self) -> float:
        """The part, in [0, 1]; 1 where it was never judged by halves."""
        r = self._joint.agreement
        if r is not None:
            self._mean, self._judged = _REMEMBERED * self._mean + (1 - _REMEMBERED) * r, True
        if not self._judged:
            return 1.0
        mean = max(0.0, self._mean)
        return self.known + (1 - self.known) * 2 * mean / (1 + mean)


class Recorded(Weight):
    """Keeps the weights that were last applied to each example, `applied` (N,)."""

    applied: Tensor

    def apply(self, actions: Tensor, batch: Batch) -> TrainingSets:
        """As `Weight` does."""
        sets = super().apply(actions, batch)
        self.applied[batch.rows] = sets.w[0].detach().cpu().to(self.applied)
        return sets


class Learned(Weighting):
    """Learning data weights (Hu et al. 2019, algorithm 1), from a joint look-ahead.

    Attributes:
        manipulation: phi.
        optimizer: how it moves.
    """

    def __init__(self, train: Examples, problem: Problem, settings: WeightSettings) -> None:
        super().__init__(train, problem, settings)
        self.manipulation, self.optimizer = self._phi()
        self.manipulation.applied = torch.ones(len(train))
        self._sum = np.zeros(len(train))

    @property
    def weights(self) -> Weights:
        """The mean weight of each example in the latter half of the epochs done: those of single steps vary."""
        mean = self._sum.mean()
        return self._sum / mean if mean > 0 else np.ones(len(self.train))

    @property
    def phi(self) -> Weights | None:
        """Free phi as it is now, (N,); None where a network gives the weights."""
        weigh = self.manipulation.weigh
        return weigh.phi.detach().squeeze(-1).double().cpu().numpy() if isinstance(weigh, FreeWeights) else None

    def _learned(self, first: int) -> Iterator[Step]:
        gradient, epochs = Pathwise(self.joint), self.epochs
        for epoch in range(first, first + epochs):
            yield from learn(
                self._epoch(epoch, self._plain_batch), self.manipulation, gradient, self.joint, self.optimizer,
                rollouts=1, seed=self.problem.seed,
            )  # fmt: skip
            if epoch - first >= epochs // 2:
                self._sum += self.manipulation.applied.double().numpy()
            self._judge()

    def _joint(self) -> Joint:
        chosen = self.settings
        return Joint(
            self.problem, unroll=chosen.unroll, checkpoint=chosen.checkpoint, look_ahead=chosen.look_ahead,
            dev_batch=chosen.dev_batch, halves=self._asks_halves,
        )  # fmt: skip

    def _phi(self) -> tuple[Recorded, torch.optim.Optimizer]:
        chosen, task = self.settings, self.problem.task
        if chosen.weights == "network":
            network = Recorded(
                self._network(), task, normalisation=chosen.normalisation, temperature=chosen.temperature,
                straight=False,
            )  # fmt: skip
            lr = 0.01 if isinstance(chosen.learning_rate, str) else chosen.learning_rate
            return network, torch.optim.Adam(network.parameters(), lr=lr)
        if chosen.around == "classes":
            rest, start, decay, prior = 1.0, 1.0, 1.5, self._prior()
        else:  # where slopes go through the linear normalisation, phi = 0 for all would have none
            rest, decay, prior = 0.0, 10.0, None
            start = 0.0 if chosen.straight or chosen.normalisation == "softmax" else 1.0
        free = Recorded(
            FreeWeights(len(self.train), start), task, normalisation=chosen.normalisation,
            temperature=chosen.temperature, straight=chosen.straight, prior=prior,
        )  # fmt: skip
        trust = Agreement(self.joint, prior) if self._asks_halves and prior is not None else None
        return free, DecayedAscent(
            free.parameters(), chosen.learning_rate, decay=chosen.decay or decay, floor=chosen.floor, rest=rest,
            trust=trust,
        )  # fmt: skip

    @property
    def _asks_halves(self) -> bool:
        chosen = self.settings
        return chosen.agreement and chosen.weights == "free" and chosen.around == "classes"

    def _prior(self) -> Tensor:
        task, y = self.problem.task, self.train.y
        if task.kind != "classification" or not np.issubdtype(y.dtype, np.integer):
            return torch.ones(len(y))
        return class_shares(y, self.problem.valid.y, task.n_outputs)

    def _network(self) -> NetworkWeights:
        """A network that sees labels and losses, and features where these are a table's."""
        task, x = self.problem.task, self.train.x
        table = x.ndim == 2 and np.issubdtype(x.dtype, np.floating)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(stream(self.problem.seed, "estimator").integers(2**63)))
            estimator = WeightEstimator(task.n_outputs + 1 + (x.shape[1] if table else 0))
        scale = None
        if task.kind == "regression":
            y = torch.from_numpy(self.train.y).reshape(len(x), -1).float()
            scale = y.mean(0), y.std(0).clamp_min(1e-6)
        return NetworkWeights(estimator, task, self.joint.losses, y_scale=scale, features=table)


class Ren2018(Learned):
    """Learning to reweight examples (Ren et al. 2018, algorithm 1): `Learned` without memory.

    A look-ahead from weights of 0, then w = max(-dL/dw, 0) over its sum; no step where all are 0. Of the settings only
    the epochs, warm-up, `dev_batch` and `keep` have a part.
    """

    def __init__(self, train: Examples, problem: Problem, settings: WeightSettings) -> None:
        if settings.unroll != 1:
            raise ParameterError.of("unroll", "the method 'ren2018'", "1, for it looks one step ahead", settings.unroll)
        super().__init__(train, problem, settings)

    def _joint(self) -> Joint:
        return Joint(self.problem, look_ahead="zero", dev_batch=self.settings.dev_batch)

    def _phi(self) -> tuple[Recorded, torch.optim.Optimizer]:
        free = Recorded(FreeWeights(len(self.train)), self.problem.task)
        return free, DecayedAscent(free.parameters(), decay=math.inf, floor=0.0)
