"""What every way of joint training is: warm-up passes with equal weights, then its own; each is judged on D^v."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch

from raydm.data.examples import Examples
from raydm.data.source import Batch, EpochBatches
from raydm.errors import RaydmError
from raydm.joint import Joint
from raydm.joint_training.keeping import Keeper
from raydm.joint_training.texts import kind_of
from raydm.learner import Step
from raydm.policies import Deterministic
from raydm.predictors import TrainingSets
from raydm.predictors.fitted_module import FittedModule
from raydm.predictors.memory import Memory
from raydm.predictors.module import Module
from raydm.utility import Problem

EPOCHS, STEPS = 10, 600  # 40 steps, as 10 passes over 100 rows are, train nothing from scratch
SetsOf = Callable[[int, Batch], TrainingSets]  # of a step and its batch


class TrainingSettings(Protocol):
    """What all ways are told.

    Attributes:
        epochs: passes after the warm-up; None for `EPOCHS`, or of few rows so many that `STEPS` are taken (of texts,
            whose encoders are trained already, always `EPOCHS`).
        warm_up: passes of plain training before.
        keep: which epoch's predictor, see `raydm.joint_training.keeping.Keeper`: "near-best", "best", "last" or
            "average".
    """

    @property
    def epochs(self) -> int | None:
        """See above."""
        ...

    @property
    def warm_up(self) -> int:
        """See above."""
        ...

    @property
    def keep(self) -> str:
        """See above."""
        ...

    def check(self) -> None:
        """Raises ParameterError where a setting is out of its range."""
        ...


class JointTraining(ABC):
    """One way of training on one problem: `steps` trains, `fitted` and `score` tell the result.

    Args:
        train: the training set, N examples.
        problem: predictor (a `Module`, whose epochs have no part here), D^v, task, metric and seed.
        settings: how long it trains, and what else its way must know.

    Attributes:
        joint: what trains the predictor.
        epochs: passes after the warm-up.
        curve: for each epoch done: the metric and the mean loss on D^v.
    """

    _keeps_last = False  # where the settings would ask D^v

    def __init__(self, train: Examples, problem: Problem, settings: TrainingSettings) -> None:
        settings.check()
        self.train, self.problem, self.chosen = train, problem, settings
        self.joint = self._joint()
        self.curve: list[tuple[float, float]] = []
        keep = "last" if self._keeps_last and settings.keep != "average" else settings.keep
        self.epochs = self._enough() if settings.epochs is None else settings.epochs
        valid, passes = torch.from_numpy(problem.valid.y), settings.warm_up + self.epochs
        self._keeper = Keeper(keep, problem.metric, valid, passes)

    @property
    def total(self) -> int:
        """How many steps there are."""
        plain = self._epoch(0, self._plain_batch).steps_an_epoch
        return self.chosen.warm_up * plain + self._steps_of_epochs()

    @property
    def memory(self) -> Memory:
        """What a step is estimated to take; it was found to fit the device."""
        return self.joint.memory

    def steps(self) -> Iterator[Step]:
        """Yields each step as it is done; u is that of the step, or of the last epoch where it looks ahead at none."""
        for epoch in range(self.chosen.warm_up):
            yield from self._trained(epoch, self._equal)
            self._judge()
        yield from self._learned(self.chosen.warm_up)

    @property
    def fitted(self) -> FittedModule:
        """The trained predictor, R = 1.

        Raises:
            RaydmError: no epoch is done yet.
        """
        if self._keeper.fitted is None:
            raise RaydmError("There is no trained predictor yet. Exhaust its steps first.")
        return self._keeper.fitted

    def score(self, examples: Examples) -> float:
        """The problem's metric of the trained predictor on other examples, such as the test accuracy."""
        return self._metric(self.fitted, examples)

    @property
    def learned(self) -> Any:
        """What was learned beside the predictor, that can be pickled; None where nothing was."""
        return None

    @property
    def examples(self) -> Examples:
        """What the predictor is trained on."""
        return self.train

    @abstractmethod
    def _learned(self, first: int) -> Iterator[Step]:
        """The epochs after the warm-up, the first of which has this number."""

    def _steps_of_epochs(self) -> int:
        return self.epochs * self._epoch(0, self._plain_batch).steps_an_epoch

    def _enough(self) -> int:
        steps = self._epoch(0, self._plain_batch).steps_an_epoch
        return EPOCHS if kind_of(self.train, None) == "text" else max(EPOCHS, -(-STEPS // steps))

    def _joint(self) -> Joint:
        return Joint(self.problem)

    def _trained(self, epoch: int, sets_of: SetsOf) -> Iterator[Step]:
        """An epoch in which phi stays as it is."""
        u = torch.tensor([-self.curve[-1][1] if self.curve else float("nan")])
        for t, batch in self._epoch(epoch, self._plain_batch):
            sets = sets_of(t, batch)
            self.joint.carry(lambda sets=sets: sets, step=t)  # type: ignore[misc]
            yield Step(t, u, Deterministic(sets.w[0]))

    def _equal(self, t: int, batch: Batch) -> TrainingSets:
        return TrainingSets(batch.x, batch.y, torch.ones(1, len(batch.y)), self.problem.task)

    def _epoch(self, number: int, batch_size: int) -> EpochBatches:
        return EpochBatches(self.examples, batch_size=batch_size, epochs=1, seed=self.problem.seed, first=number)

    @property
    def _plain_batch(self) -> int:
        predictor = self.problem.predictor
        assert isinstance(predictor, Module)  # noqa: S101  # Joint has checked it
        return predictor.batch_size * self.joint.unroll

    def _judge(self) -> None:
        """At the end of an epoch: keeps the predictor where it is to be kept."""
        fitted, valid = self.joint.fitted(), self.problem.valid
        predictions, loss = fitted.predict(torch.from_numpy(valid.x)), self.joint.dev_loss()
        self.curve.append((float(self.problem.metric(predictions, torch.from_numpy(valid.y))), loss))
        self._keeper.see(fitted, predictions.cpu(), loss)

    def _metric(self, fitted: FittedModule, examples: Examples) -> float:
        predictions = fitted.predict(torch.from_numpy(examples.x))
        return float(self.problem.metric(predictions, torch.from_numpy(examples.y)))


class TrainedOnBoth(JointTraining):
    """Trained on the examples of D^v too; the last epoch is kept (or the mean), for the best one on D^v says little."""

    _keeps_last = True

    @property
    def examples(self) -> Examples:
        """The training set, then D^v, numbered anew."""
        if self._both is None:
            a, b = self.train, self.problem.valid
            x, y = np.concatenate([a.x, b.x]), np.concatenate([a.y, b.y])
            self._both = Examples(x, y, np.arange(len(y)))
        return self._both

    _both: Examples | None = None
