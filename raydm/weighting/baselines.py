"""Weights that nothing is learned for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.errors import ParameterError
from raydm.joint_training import TrainedOnBoth
from raydm.learner import Step
from raydm.predictors import TrainingSets
from raydm.utility import Problem
from raydm.weighting.settings import WeightSettings
from raydm.weighting.weighting import Weighting, Weights


class Base(Weighting):
    """Equal weights: plain training, warm-up and all."""

    @property
    def weights(self) -> Weights:
        """1 for every example."""
        return np.ones(len(self.train))

    def _learned(self, first: int) -> Iterator[Step]:
        weights = torch.ones(len(self.examples))
        weights[: len(self.train)] = torch.from_numpy(self.weights)

        def weighted(t: int, batch: Batch) -> TrainingSets:
            return TrainingSets(batch.x, batch.y, weights[batch.rows].unsqueeze(0), self.problem.task)

        for epoch in range(first, first + self.epochs):
            yield from self._trained(epoch, weighted)
            self._judge()


class BaseAndValid(TrainedOnBoth, Base):
    """Equal weights, and the examples of D^v trained on too: what the trusted examples are worth as mere examples."""


class Proportion(Base):
    """Inverse class frequency: every class that the training set holds counts the same.

    Raises:
        ParameterError: the labels are no classes.
    """

    def __init__(self, train: Examples, problem: Problem, settings: WeightSettings) -> None:
        if problem.task.kind != "classification":
            raise ParameterError("The method 'proportion' weighs classes, and the labels are numbers. Use another.")
        super().__init__(train, problem, settings)

    @property
    def weights(self) -> Weights:
        """N / (C n_c) for an example of class c, one of n_c, of C classes."""
        _, which, counts = np.unique(self.train.y, return_inverse=True, return_counts=True)
        return np.asarray(len(self.train) / (len(counts) * counts[which]), dtype=np.float64)
