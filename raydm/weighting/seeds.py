"""The same weighting with several seeds: independent trainings, which may run anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from raydm.data.examples import Examples
from raydm.learner import Step
from raydm.predictors.fitted_module import FittedModule
from raydm.utility import Problem
from raydm.weighting.methods import make_weighting
from raydm.weighting.settings import WeightSettings
from raydm.weighting.weighting import Weighting, Weights


@dataclass(frozen=True)
class Case:
    """One training, in full; can be pickled.

    Attributes:
        method: of `raydm.weighting.methods.METHODS`.
        settings: how weights are learned.
        train: the training set.
        problem: predictor, D^v, task, metric, and the seed.
    """

    method: str
    settings: WeightSettings
    train: Examples
    problem: Problem

    def opened(self) -> Weighting:
        """The weighting before its first step; what does not fit the device's memory is refused here."""
        return make_weighting(self.method, self.settings, self.train, self.problem)

    def with_seed(self, seed: int) -> Case:
        """The same case with another seed of initial weights, order, dropout and learning."""
        return dataclasses.replace(self, problem=dataclasses.replace(self.problem, seed=seed))


@dataclass(frozen=True)
class Outcome:
    """What one training gave; can be pickled.

    Attributes:
        seed: its seed.
        weights: (N,) of the training examples, of mean 1.
        fitted: the predictor.
        curve: for each epoch: the metric and the mean loss on D^v.
        steps: for each step: the utility u that it saw, -loss on D^v.
    """

    seed: int
    weights: Weights
    fitted: FittedModule
    curve: list[tuple[float, float]]
    steps: list[float]


# Maps a function over cases in any place, and gives the outcomes in the order of the cases
Run = Callable[[Callable[[Case], Outcome], Sequence[Case]], Iterable[Outcome]]


def done(case: Case) -> Outcome:
    """Trains one case."""
    weighting = case.opened()
    return outcome(case, weighting, [float(step.u) for step in weighting.steps()])


def outcome(case: Case, weighting: Weighting, steps: list[float]) -> Outcome:
    """What an exhausted weighting gave."""
    return Outcome(case.problem.seed, weighting.weights, weighting.fitted, list(weighting.curve), steps)


def one_by_one(cases: Sequence[Case], opened: Weighting) -> Iterator[Step | Outcome]:
    """Trains the cases here, the first of which is open already; yields each step, and each outcome as it comes."""
    for case in cases:
        weighting, seen = opened if case is cases[0] else case.opened(), []
        for step in weighting.steps():
            seen.append(float(step.u))
            yield step
        yield outcome(case, weighting, seen)
