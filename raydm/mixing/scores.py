"""What mixed rows are good for: predictors trained with and without them, many sets as one stack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.data.examples import Examples
from raydm.errors import DataError, RolloutError
from raydm.metrics import METRICS
from raydm.mixing.pairs import Pairs
from raydm.predictors import Fitted, TrainingSets
from raydm.seeding import stream
from raydm.utility import Problem, Utility, aligned, checked_predictions, training_of

Array = npt.NDArray[np.float64]


def mixed_sets(examples: Examples, mixed: Examples, chosen: npt.NDArray[np.bool_], problem: Problem) -> TrainingSets:
    """R training sets: all N examples, and beside them the mixed rows that each chose: (R, P)."""
    x = aligned(np.concatenate([examples.x, mixed.x]))
    y = aligned(np.concatenate([examples.y, mixed.y]))
    w = np.concatenate([np.ones((len(chosen), len(examples)), np.float32), chosen.astype(np.float32)], axis=1)
    return TrainingSets(x, y, torch.from_numpy(w), problem.task)


def utilities(sets: TrainingSets, problem: Problem, utility: Utility, repeats: int) -> Array:
    """Mean utility of each set over trainings from different seeds, the same for every set: (R,).

    Args:
        sets: R training sets.
        problem: the run's; the utility is turned to it again at the end.
        utility: trains and scores.
        repeats: how many trainings of each set, >= 1.
    """
    total = np.zeros(sets.rollouts)
    try:
        for n in range(repeats):
            seed = int(stream(problem.seed, "scores", n).integers(2**31))
            utility.turn_to(replace(problem, seed=seed, shared_restart=True))
            total += utility(sets, step=0).double().numpy()
    finally:
        utility.turn_to(problem)
    return total / repeats


def mixed_predictor(problem: Problem, train: Examples, pairs: Pairs) -> Fitted:
    """A predictor (R = 1) of the training examples and the mixed ones, from the run's initial weights.

    Raises:
        RolloutError: its training failed.
    """
    sets = mixed_sets(train, pairs.rows(train), np.ones((1, len(pairs)), np.bool_), problem)
    with training_of("The predictor of the mixed rows"):
        return problem.predictor.fit(sets, seed=problem.seeds(0, 1))


def mixed_score(problem: Problem, train: Examples, pairs: Pairs, repeats: int) -> float:
    """The metric on D^v, in its own direction, with the mixed rows: the mean of some trainings from different seeds.

    Raises:
        RolloutError: a training failed or diverged.
    """
    sets = mixed_sets(train, pairs.rows(train), np.ones((repeats, len(pairs)), np.bool_), problem)
    seeds = np.array([stream(problem.seed, "scores", n).integers(2**31) for n in range(repeats)], np.int64)
    with training_of("A predictor of the validation score"):
        predictions = problem.predictor.fit_predict(sets, aligned(problem.valid.x), seed=seeds).detach().cpu()
    said = checked_predictions(predictions.numpy(), seeds, 0)
    return float(problem.metric(said, torch.from_numpy(problem.valid.y)).mean())


def gains(problem: Problem, train: Examples, pairs: Pairs, test: Examples, repeats: int) -> dict[str, float]:
    """Test scores with the mixed rows and without, each the mean of as many trainings from the same seeds.

    Returns:
        rmse, r2 (NaN where it is not defined), rmse_none, r2_none; and ratio, rmse over rmse_none.

    Raises:
        RolloutError: a training failed or diverged.
    """
    sets = mixed_sets(train, pairs.rows(train), np.repeat([[True], [False]], len(pairs), axis=1), problem)
    found: dict[str, list[Array]] = {"rmse": [], "r2": []}
    x, y = aligned(test.x), torch.from_numpy(test.y)
    for n in range(repeats):
        seed = np.full(2, stream(problem.seed, "test", n).integers(2**63), np.int64)
        with training_of("A predictor of the test scores"):
            predictions = problem.predictor.fit_predict(sets, x, seed=seed).detach().cpu()
        if not torch.isfinite(predictions).all():
            raise RolloutError(
                "A predictor of the test scores predicts NaN or infinity: its training diverged. Lower its learning "
                "rate, or look for extreme values in the features."
            )
        for name, values in found.items():
            values.append(_score(name, predictions, y))
    means = {name: np.mean(values, axis=0).tolist() for name, values in found.items()}
    (rmse, rmse_none), (r2, r2_none) = means["rmse"], means["r2"]
    ratio = rmse / rmse_none if rmse_none > 0 else float("nan")
    return {"rmse": rmse, "r2": r2, "rmse_none": rmse_none, "r2_none": r2_none, "ratio": ratio}


def _score(name: str, predictions: Tensor, y: Tensor) -> Array:
    try:
        return METRICS[name](predictions, y).double().numpy()
    except DataError:  # R2 of a single row, or of targets that are all alike
        return np.full(len(predictions), np.nan)
