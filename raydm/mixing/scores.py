"""What mixed rows are good for: predictors trained with and without them, many sets as one stack."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from raydm.data.examples import Examples
from raydm.predictors import TrainingSets
from raydm.seeding import stream
from raydm.utility import Problem, Utility, aligned

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
            utility.turn_to(replace(problem, seed=int(stream(problem.seed, "scores", n).integers(2**31))))
            total += utility(sets, step=0).double().numpy()
    finally:
        utility.turn_to(problem)
    return total / repeats
