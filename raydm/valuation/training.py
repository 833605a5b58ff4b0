"""Single trainings: predictors of weighted examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import RaydmError
from raydm.predictors import BlackBox, Fitted, Predictor, TrainingSets
from raydm.utility import Problem, aligned, failed, one_thread


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
    try:
        with one_thread():
            return problem.predictor.fit(sets, seed=np.repeat(problem.seeds(0, 1), sets.rollouts))
    except RaydmError:
        raise
    except Exception as error:  # whatever a predictor of the user's own, or its arguments, may raise
        raise failed(what, error) from error


def predict(fitted: Fitted, x: npt.NDArray[Any], what: str) -> Tensor:
    """What R trained predictors say of rows x (M, D), on the CPU: (R, M, C).

    Raises:
        RolloutError: predicting failed; `what` says of what.
    """
    try:
        with one_thread():
            return fitted.predict(aligned(x)).detach().cpu()
    except RaydmError:
        raise
    except Exception as error:  # as above; some find out only here that they were given too few rows
        raise failed(what, error) from error


def takes_weights(predictor: Predictor, task: Task) -> bool:
    """Whether it can be trained with fractional weights."""
    return not isinstance(predictor, BlackBox) or predictor.takes_weights(task)
