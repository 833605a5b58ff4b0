"""What every way of weighting is: passes over the training set in which a predictor is trained, then weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.source import Batch, EpochBatches
from raydm.errors import RaydmError
from raydm.joint import Joint
from raydm.learner import Step
from raydm.policies import Deterministic
from raydm.predictors import TrainingSets
from raydm.predictors.fitted_module import FittedModule
from raydm.predictors.memory import Memory
from raydm.predictors.module import Module
from raydm.utility import Problem
from raydm.weighting.settings import WeightSettings

Weights = npt.NDArray[np.float64]


class Weighting(ABC):
    """One way of weighting on one problem: `steps` trains, `weights` and `fitted` tell the result.

    Args:
        train: the training set, N examples.
        problem: predictor (a `Module`, whose epochs have no part here), D^v, task, metric and seed.
        settings: how long it trains, and how weights are learned.

    Attributes:
        joint: what trains the predictor.
        curve: for each epoch done: the metric and the mean loss on D^v.
    """

    def __init__(self, train: Examples, problem: Problem, settings: WeightSettings) -> None:
        settings.check()
        self.train, self.problem, self.settings = train, problem, settings
        self.joint = self._joint()
        self.curve: list[tuple[float, float]] = []
        self._best: tuple[tuple[float, float], FittedModule] | None = None

    @property
    def total(self) -> int:
        """How many steps there are."""
        chosen = self.settings
        return chosen.warm_up * self._epoch(0, self._plain_batch).steps_an_epoch + self._steps_of_epochs()

    @property
    def memory(self) -> Memory:
        """What a step is estimated to take; it was found to fit the device."""
        return self.joint.memory

    def steps(self) -> Iterator[Step]:
        """Yields each step as it is done; u is that of the step, or of the last epoch where it looks ahead at none."""
        equal = np.ones(len(self.examples))
        for epoch in range(self.settings.warm_up):
            yield from self._trained(epoch, equal)
            self._judge()
        yield from self._learned(self.settings.warm_up)

    @property
    @abstractmethod
    def weights(self) -> Weights:
        """The weights (N,) of the training examples, of mean 1."""

    @property
    def fitted(self) -> FittedModule:
        """The trained predictor, R = 1.

        Raises:
            RaydmError: no epoch is done yet.
        """
        if self._best is None:
            raise RaydmError("This way of weighting has trained no predictor yet. Exhaust its steps first.")
        return self._best[1]

    def score(self, examples: Examples) -> float:
        """The problem's metric of the trained predictor on other examples, such as the test accuracy."""
        return self._metric(self.fitted, examples)

    @property
    def examples(self) -> Examples:
        """What the predictor is trained on."""
        return self.train

    @abstractmethod
    def _learned(self, first: int) -> Iterator[Step]:
        """The epochs after the warm-up, the first of which has this number."""

    def _steps_of_epochs(self) -> int:
        return self.settings.epochs * self._epoch(0, self._plain_batch).steps_an_epoch

    def _joint(self) -> Joint:
        return Joint(self.problem)

    def _trained(self, epoch: int, weights: Weights) -> Iterator[Step]:
        """An epoch with fixed weights (N,)."""
        w = torch.from_numpy(weights.astype(np.float32))
        u = torch.tensor([-self.curve[-1][1] if self.curve else float("nan")])
        for t, batch in self._epoch(epoch, self._plain_batch):
            sets = _sets(batch, w[batch.rows], self.problem)
            self.joint.carry(lambda sets=sets: sets, step=t)  # type: ignore[misc]
            yield Step(t, u, Deterministic(sets.w[0]))

    def _epoch(self, number: int, batch_size: int) -> EpochBatches:
        return EpochBatches(self.examples, batch_size=batch_size, epochs=1, seed=self.problem.seed, first=number)

    @property
    def _plain_batch(self) -> int:
        predictor = self.problem.predictor
        assert isinstance(predictor, Module)  # noqa: S101  # Joint has checked it
        return predictor.batch_size * self.joint.unroll

    def _judge(self) -> None:
        """At the end of an epoch: keeps the predictor where it is to be kept."""
        fitted = self.joint.fitted()
        metric, loss = self._metric(fitted, self.problem.valid), self.joint.dev_loss()
        self.curve.append((metric, loss))
        rank = self.problem.metric.sign * metric, -loss
        if self._best is None or self.settings.keep == "last" or rank > self._best[0]:
            self._best = rank, fitted

    def _metric(self, fitted: FittedModule, examples: Examples) -> float:
        predictions = fitted.predict(torch.from_numpy(examples.x))
        return float(self.problem.metric(predictions, torch.from_numpy(examples.y)))


def _sets(batch: Batch, w: Tensor, problem: Problem) -> TrainingSets:
    return TrainingSets(batch.x, batch.y, w.unsqueeze(0), problem.task)
