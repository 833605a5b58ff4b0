"""Games over the utility: players are the N training examples, v(S) is the utility of a predictor trained on S."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from raydm.data.examples import Examples
from raydm.predictors import TrainingSets
from raydm.utility import Problem, Utility

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """What a method knows so far; methods are generators of these, so who stops asking stops the work.

    Attributes:
        values: (N,) data values, higher is better, in the order of the training rows.
        standard_errors: (N,) of the values, NaN where unknown as yet; None for methods without sampling.
        evaluations: trainings made so far.
        share: share of the work that is done, in [0, 1]; with early stopping the last one may be below 1.
    """

    values: Values
    standard_errors: Values | None
    evaluations: int
    share: float


@dataclass(frozen=True)
class Game:
    """v(S) for subsets S of the training set, many at a time.

    Attributes:
        train: the N players.
        problem: predictor, validation set, metric and seed.
        utility: runs the trainings, in this process or on a cluster.
    """

    train: Examples
    problem: Problem
    utility: Utility

    def __len__(self) -> int:
        return len(self.train)

    def worth(self, members: npt.NDArray[np.bool_], *, step: int) -> Values:
        """v(S) of R subsets: (R,).

        Args:
            members: (R, N) True where the example is in S.
            step: a counter from 0, new for each call; it seeds the trainings.
        """
        x, y = torch.from_numpy(self.train.x), torch.from_numpy(self.train.y)
        sets = TrainingSets(x, y, torch.from_numpy(members.astype(np.float32)), self.problem.task)
        return self.utility(sets, step=step).double().numpy()
