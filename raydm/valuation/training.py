"""Single trainings: predictors of weighted examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.predictors import BlackBox, Fitted, Predictor, TrainingSets
from raydm.utility import Problem, aligned, training_of


def training_sets(examples: Examples, weights: npt.NDArray[Any], task: Task) -> TrainingSets:
    """R training sets of N examples; weights are (R, N), or (N,) for one."""
    w = torch.from_numpy(np.atleast_2d(weights).astype(np.float32))
    return TrainingSets(aligned(examples.x), aligned(examples.y), w, task)


def fit(problem: Problem, examples: Examples, weights: npt.NDArray[Any], what: str) -> Fitted:
    """Trains R predictors from the run's initial weights; weights are (R, N), or (N,) for one.

    Raises:
        RolloutError: a training failed; `what` says of what.
    """
    sets = training_sets(examples, weights, problem.task)
    with training_of(what):
        return problem.predictor.fit(sets, seed=np.repeat(problem.seeds(0, 1), sets.rollouts))


def predict(fitted: Fitted, x: npt.NDArray[Any], what: str) -> Tensor:
    """What R trained predictors say of rows x (M, D), on the CPU: (R, M, C).

    Raises:
        RolloutError: predicting failed; `what` says of what.
    """
    with training_of(what):  # some find out only here that they were given too few rows
        return fitted.predict(aligned(x)).detach().cpu()


def takes_weights(predictor: Predictor, task: Task) -> bool:
    """Whether it can be trained with fractional weights."""
    return not isinstance(predictor, BlackBox) or predictor.takes_weights(task)
