"""The same joint training with several seeds: independent trainings, which may run anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from raydm.joint_training.training import JointTraining
from raydm.learner import Step
from raydm.predictors.fitted_module import FittedModule
from raydm.utility import Problem


@dataclass(frozen=True)
class Case:
    """One training, in full; can be pickled.

    Attributes:
        make: opens the training on a problem, such as a partial `raydm.weighting.methods.make_weighting`; what does
            not fit the device's memory is refused there.
        problem: predictor, D^v, task, metric, and the seed.
    """

    make: Callable[[Problem], JointTraining]
    problem: Problem

    def opened(self) -> JointTraining:
        """The training before its first step."""
        return self.make(self.problem)

    def with_seed(self, seed: int) -> Case:
        """The same case with another seed of initial weights, order, dropout and learning."""
        return dataclasses.replace(self, problem=dataclasses.replace(self.problem, seed=seed))


@dataclass(frozen=True)
class Outcome:
    """What one training gave; can be pickled.

    Attributes:
        seed: its seed.
        learned: what was learned beside the predictor, see `JointTraining.learned`.
        fitted: the predictor.
        curve: for each epoch: the metric and the mean loss on D^v.
        steps: for each step: the utility u that it saw, -loss on D^v.
    """

    seed: int
    learned: Any
    fitted: FittedModule
    curve: list[tuple[float, float]]
    steps: list[float]


# Maps a function over cases in any place, and gives the outcomes in the order of the cases
Run = Callable[[Callable[[Case], Outcome], Sequence[Case]], Iterable[Outcome]]


def done(case: Case) -> Outcome:
    """Trains one case."""
    training = case.opened()
    return _outcome(case, training, [float(step.u) for step in training.steps()])


def one_by_one(cases: Sequence[Case], opened: JointTraining) -> Iterator[Step | Outcome]:
    """Trains the cases here, the first of which is open already; yields each step, and each outcome as it comes."""
    training: JointTraining | None = opened
    del opened
    for case in cases:
        training, seen = training or case.opened(), []
        for step in training.steps():
            seen.append(float(step.u))
            yield step
        yield _outcome(case, training, seen)
        training = None  # its memory is free before the next one's is taken


def _outcome(case: Case, training: JointTraining, steps: list[float]) -> Outcome:
    """What an exhausted training gave."""
    return Outcome(case.problem.seed, training.learned, training.fitted, list(training.curve), steps)
