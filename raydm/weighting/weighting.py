"""What every way of weighting is: passes over the training set in which a predictor is trained, then weights."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from raydm.data.examples import Examples
from raydm.joint_training import JointTraining
from raydm.utility import Problem
from raydm.weighting.settings import WeightSettings

Weights = npt.NDArray[np.float64]


class Weighting(JointTraining):
    """One way of weighting on one problem: `steps` trains, `weights` and `fitted` tell the result.

    Args:
        train: the training set, N examples.
        problem: predictor (a `Module`, whose epochs have no part here), D^v, task, metric and seed.
        settings: how long it trains, and how weights are learned.
    """

    def __init__(self, train: Examples, problem: Problem, settings: WeightSettings) -> None:
        self.settings = settings
        super().__init__(train, problem, settings)

    @property
    @abstractmethod
    def weights(self) -> Weights:
        """The weights (N,) of the training examples, of mean 1."""

    @property
    def learned(self) -> Weights:
        """The weights."""
        return self.weights
