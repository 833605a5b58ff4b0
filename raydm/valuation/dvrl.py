"""DVRL: the loop's parts put together for data valuation, on encoded examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.baselines import Baseline, FullData, LeaveOneOut, MovingAverage
from raydm.data.examples import Examples
from raydm.data.source import UniformBatches
from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmError, one_of
from raydm.gradients import ScoreFunction
from raydm.learner import Step, learn
from raydm.manipulations import Select, agreement, marginal_information
from raydm.networks import DataValueEstimator
from raydm.predictors import Fitted, TrainingSets
from raydm.seeding import stream
from raydm.utility import InProcess, Problem, Utility, failed, one_thread

BASELINES = ("leave-one-out", "moving-average", "full-data")
MakeUtility = Callable[[Problem], Utility]


@dataclass(frozen=True)
class Settings:
    """How DVRL learns. The defaults are ours, measured in the README; the paper's stand beside them.

    Attributes:
        steps: T, outer iterations (the released code: 2000).
        outer_batch: B, examples drawn a step (the paper: 2000; much smaller batches learn faster, since an example's
            share of the utility grows).
        rollouts: R, inner trainings a step (the paper: 1).
        baseline: delta: "leave-one-out" over the R rollouts, "moving-average" (the paper), or "full-data" (the
            released code).
        reward_scale: C > 0, or "std" (see `raydm.gradients.ScoreFunction`).
        learning_rate: of Adam on phi, > 0; it falls to 0 along a cosine where `anneal` is set (not so in the paper).
        anneal: whether it falls. The last steps then average the noise of single draws out.
        exploration: weight of the exploration penalty, >= 0.
        mean_bounds: lowest and highest mean of h_phi over a batch that the penalty lets pass, in [0, 1] (the released
            code: 0.1, 0.9; closer ones keep h_phi from taking nearly everything before it tells examples apart).
        hidden: width of h_phi's first layers.
    """

    steps: int = 400
    outer_batch: int = 64
    rollouts: int = 32
    baseline: str = "leave-one-out"
    reward_scale: float | str = "std"
    learning_rate: float = 0.01
    anneal: bool = True
    exploration: float = 1e3
    mean_bounds: tuple[float, float] = (0.3, 0.7)
    hidden: int = 100

    def check(self) -> None:
        """Raises ParameterError where a setting is out of its range."""
        owner = "DVRL"
        for name in ("steps", "outer_batch", "rollouts", "hidden"):
            value = getattr(self, name)
            if not (isinstance(value, (int, np.integer)) and value >= 1):
                raise ParameterError.of(name, owner, "an integer >= 1", value)
        if self.baseline not in BASELINES:
            raise ParameterError.of("baseline", owner, one_of(BASELINES), self.baseline)
        if self.reward_scale != "std" and not (is_number(self.reward_scale) and float(self.reward_scale) > 0):
            raise ParameterError.of("reward_scale", owner, "a number > 0 or 'std'", self.reward_scale)
        if not (is_number(self.learning_rate) and self.learning_rate > 0):
            raise ParameterError.of("learning_rate", owner, "a number > 0", self.learning_rate)
        if not (is_number(self.exploration) and self.exploration >= 0):
            raise ParameterError.of("exploration", owner, "a number >= 0", self.exploration)
        if not (len(self.mean_bounds) == 2 and 0 <= self.mean_bounds[0] <= self.mean_bounds[1] <= 1):
            raise ParameterError.of("mean_bounds", owner, "(low, high) with 0 <= low <= high <= 1", self.mean_bounds)
        if self.rollouts < 2 and (self.baseline == "leave-one-out" or self.reward_scale == "std"):
            raise ParameterError(
                f"baseline={self.baseline!r} with reward_scale={self.reward_scale!r} compares the rollouts of a step, "
                "so the 'rollouts' parameter must be >= 2. Got 1. Use more, or baseline='moving-average' with a "
                "reward_scale of 1."
            )


def is_number(value: object) -> bool:
    """Whether it is a finite real number."""
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(np.isfinite(value))


@dataclass(frozen=True)
class ValueFunction:
    """A learned h_phi with what it needs to value any labelled examples.

    Attributes:
        manipulation: holds h_phi.
        validation_model: trained once on D^v; gives the marginal information.
        task: what the labels are.
        least: see `raydm.manipulations.marginal_information`; a hundredth of the training targets' mean size.
    """

    manipulation: Select
    validation_model: Fitted
    task: Task
    least: float

    def marginal_information(self, examples: Examples) -> Tensor:
        """The gap to the model that was trained once on D^v: (N, C) or (N, 1)."""
        with one_thread():
            predictions = self.validation_model.predict(torch.from_numpy(examples.x))[0].detach().cpu()
        return marginal_information(torch.from_numpy(examples.y), predictions, self.task, least=self.least)

    def values(self, examples: Examples) -> npt.NDArray[np.float64]:
        """Data values h_phi(x, y) in [0, 1] of any N examples: (N,)."""
        with torch.no_grad(), one_thread():
            logits = self.manipulation.logits(
                torch.from_numpy(examples.x), torch.from_numpy(examples.y), self.marginal_information(examples)
            )
        return torch.sigmoid(logits.double()).numpy()  # float64 keeps apart what float32 would tie at 1


class DVRL:
    """Data Valuation using Reinforcement Learning (Yoon, Arik, Pfister 2020), Algorithm 1.

    Args:
        train: the training set, N examples.
        problem: predictor, validation set, metric and seed.
        settings: how it learns.
        make_utility: maps the problem to its utility: in this process, or on a cluster.

    Attributes:
        value_function: h_phi as learned so far, and what it needs to value examples.
    """

    def __init__(
        self, train: Examples, problem: Problem, settings: Settings, make_utility: MakeUtility = InProcess
    ) -> None:
        settings.check()
        self.train, self.problem, self.settings, self.make_utility = train, problem, settings, make_utility
        validation_model = _fit(problem, problem.valid, np.ones(len(problem.valid)), "The model of the validation set")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(stream(problem.seed, "estimator").integers(2**63)))
            estimator = value_estimator(problem.task, train.x.shape[1], settings.hidden)
        self.manipulation = Select(
            estimator,
            problem.task,
            y_scale=_location_scale(train, problem.task),
            exploration=settings.exploration,
            bounds=settings.mean_bounds,
        )
        least = 0.01 * float(np.abs(train.y).mean()) or 1.0
        self.value_function = ValueFunction(self.manipulation, validation_model, problem.task, least)
        self.manipulation.evidence = self.value_function.marginal_information(train)

    def steps(self) -> Iterator[Step]:
        """Yields each step as it is done."""
        utility, chosen = self.make_utility(self.problem), self.settings
        optimizer = torch.optim.Adam(self.manipulation.parameters(), lr=chosen.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, chosen.steps)
        steps = learn(
            UniformBatches(self.train, batch_size=chosen.outer_batch, steps=chosen.steps, seed=self.problem.seed),
            self.manipulation,
            ScoreFunction(self._baseline(utility), chosen.reward_scale),
            utility,
            optimizer,
            rollouts=chosen.rollouts,
            seed=self.problem.seed,
        )
        try:
            while step := self._next(steps):
                if chosen.anneal:
                    schedule.step()
                yield step
        finally:
            utility.close()

    def _next(self, steps: Iterator[Step]) -> Step | None:
        with one_thread():  # not around the yield: between steps the threads are the consumer's
            return next(steps, None)

    def _baseline(self, utility: Utility) -> Baseline:
        if self.settings.baseline == "moving-average":
            return MovingAverage()
        if self.settings.baseline == "leave-one-out":
            return LeaveOneOut()
        everything = _sets(self.train, np.ones(len(self.train)), self.problem.task)
        return FullData(float(utility(everything, step=self.settings.steps)))  # a step number that no rollout has

    def inputs(self, examples: Examples) -> dict[str, npt.NDArray[np.float64]]:
        """The trivial rankings (N,) of N examples, higher is better: random, and the marginal information alone."""
        evidence = self.value_function.marginal_information(examples)
        alone = agreement(torch.from_numpy(examples.y), evidence, self.problem.task)
        return {
            "random": stream(self.problem.seed, "random ranking").random(len(examples)),
            "marginal_information": alone.double().numpy(),
        }

    def final_predictor(self, weights: npt.ArrayLike) -> Fitted:
        """The predictor trained once on the training set with the given weights (N,)."""
        return _fit(self.problem, self.train, np.asarray(weights), "The final predictor")


def value_estimator(task: Task, n_features: int, hidden: int) -> DataValueEstimator:
    """An untrained h_phi for D features; the marginal information is as wide as the labels."""
    return DataValueEstimator(n_features, task.n_outputs, task.n_outputs, hidden=hidden)


def _sets(examples: Examples, weights: npt.NDArray[Any], task: Task) -> TrainingSets:
    w = torch.from_numpy(np.atleast_2d(weights).astype(np.float32))
    return TrainingSets(torch.from_numpy(examples.x), torch.from_numpy(examples.y), w, task)


def _fit(problem: Problem, examples: Examples, weights: npt.NDArray[Any], what: str) -> Fitted:
    try:
        with one_thread():
            return problem.predictor.fit(_sets(examples, weights, problem.task), seed=problem.seeds(0, 1))
    except RaydmError:
        raise
    except Exception as error:  # whatever a predictor of the user's own, or its arguments, may raise
        raise failed(what, error) from error


def _location_scale(train: Examples, task: Task) -> tuple[float, float]:
    if task.kind == "classification":
        return 0.0, 1.0
    return float(train.y.mean()), float(train.y.std()) or 1.0
