"""DVRL: the loop's parts put together for data valuation, on encoded examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.baselines import Baseline, FullData, LeaveOneOut, MovingAverage
from raydm.changes import Changes
from raydm.control_variates import ControlVariate, Datamodel, NoControl, Taylor
from raydm.data.examples import Examples
from raydm.data.source import UniformBatches
from raydm.gradients import Gradient, Pathwise, ScoreFunction
from raydm.learner import Step, learn
from raydm.manipulations import Select
from raydm.policies import Bernoulli, Policy, Relaxed, StraightThrough
from raydm.seeding import stream
from raydm.utility import InProcess, Problem, Utility, one_thread
from raydm.valuation.evidence import POOLED, gather
from raydm.valuation.judge import Fold, Verdict, best_input, collapse, judge, split, ways
from raydm.valuation.settings import Settings
from raydm.valuation.training import training_sets
from raydm.valuation.value_function import Seen, ValueFunction, sigmoid, value_estimator

MakeUtility = Callable[[Problem], Utility]

_RELAXED = {"gumbel": Relaxed, "straight-through": StraightThrough}


class DVRL:
    """Data Valuation using Reinforcement Learning (Yoon, Arik, Pfister 2020), Algorithm 1, judged.

    Differences from the paper: h_phi sees more evidence, starts from the best single input, and is returned only if it
    beats that input on trusted rows that it did not learn from. `Settings` tells how to have it as published.

    Args:
        train: the training set, N examples.
        problem: predictor, validation set, metric and seed.
        settings: how it learns.
        make_utility: maps the problem to its utility: in this process, or on a cluster.

    Attributes:
        value_function: what values examples: h_phi as learned so far; after `steps`, what the judge returned.
        total: how many steps there are, if none is made again.
        restarts: for each time that h_phi collapsed: fold, attempt, and how.
        detection: how well each input alone tells trusted labels from wrong ones, in [0, 1].
        verdict: what the judge found; None before, and where nothing was judged.
    """

    def __init__(
        self, train: Examples, problem: Problem, settings: Settings, make_utility: MakeUtility = InProcess
    ) -> None:
        settings.check()
        self.train, self.problem, self.settings, self.make_utility = train, problem, settings, make_utility
        self._gradient(None)  # refuses a predictor that the gradient cannot go through, before any work
        evidence = gather(train, problem, settings.evidence)
        alone = ValueFunction(evidence, settings.evidence[0], (), starts=settings.start == "evidence", learned=False)
        favourite = POOLED if len(evidence.sources) > 1 else alone.best
        best, self.detection = best_input(alone.rankings, problem, favourite)
        self.value_function = dataclasses.replace(alone, best=best)
        self._seen: Seen = self.value_function.see(train)
        self._folds = split(problem, settings.judge) if settings.steps else []
        self.restarts: list[dict[str, Any]] = []
        self.verdict: Verdict | None = None

    @property
    def total(self) -> int:
        """Steps of all folds."""
        return len(self._folds) * self._steps_a_fold

    def steps(self) -> Iterator[Step]:
        """Yields each step as it is done, t counted on; exhaust it for the judge's verdict."""
        kept: list[tuple[Fold, Select]] = []
        if self._folds:
            utility = self.make_utility(self._folds[0].problem)
            try:
                for number, fold in enumerate(self._folds):
                    utility.turn_to(fold.problem)
                    learned = yield from self._fold(number, fold, utility, [m for _, m in kept])
                    kept += [(fold, member) for member in learned]
            finally:
                utility.close()
        members = [member for _, member in kept]
        self.value_function = dataclasses.replace(self.value_function, members=members, learned=bool(members))
        if members and self.settings.judge:
            self.verdict = judge(self.value_function, self.train, self._seen, kept)
            better = self.verdict is not None and self.verdict.learned_is_better
            self.value_function = dataclasses.replace(self.value_function, learned=better)

    def final_weights(self) -> npt.NDArray[np.float64] | None:
        """Weights (N,) with which a predictor was judged to be best; None where nothing was judged."""
        if self.verdict is None:
            return None
        learned, start = (
            dataclasses.replace(self.value_function, learned=which).values(self.train) for which in (True, False)
        )
        return ways(learned, start)[self.verdict.best_way]

    def _fold(
        self, number: int, fold: Fold, utility: Utility, before: list[Select]
    ) -> Generator[Step, None, list[Select]]:
        """Learns one h_phi, from other draws where it collapses; returns it in a list, or none."""
        for attempt in range(1 + self.settings.restarts):
            path = (number, attempt)
            seed = self.problem.seed if path == (0, 0) else int(stream(self.problem.seed, "h", *path).integers(2**31))
            member = self._member(seed)
            self.value_function = dataclasses.replace(self.value_function, members=[*before, member], learned=True)
            yield from self._learn(member, utility, seed, number * self._steps_a_fold)
            values = sigmoid(self.value_function.log_odds(member, self.train, self._seen))
            how = collapse(values, sigmoid(self._seen.start))
            if how is None:
                return [member]
            self.restarts.append({"fold": number, "attempt": attempt, "how": how})
        return []

    def _member(self, seed: int) -> Select:
        """An untrained h_phi on the training set's evidence; at its start, where it has one."""
        chosen, problem = self.settings, self.problem
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(stream(seed, "estimator").integers(2**63)))
            estimator = value_estimator(
                problem.task, self.train.x.shape[1], chosen.hidden, len(chosen.evidence), starts=self._starts
            )
        low, high = chosen.mean_bounds
        start = self._seen.start if self._starts else None
        if start is not None:
            mean = float(start.sigmoid().mean())
            low, high = min(low, mean), max(high, mean)
        return Select(
            estimator,
            problem.task,
            self._seen.gaps,
            y_scale=_location_scale(self.train, problem.task.kind),
            exploration=chosen.exploration,
            bounds=(low, high),
            start=start,
            distribution=self._distribution,
        )

    def _learn(self, member: Select, utility: Utility, seed: int, offset: int) -> Iterator[Step]:
        chosen, steps = self.settings, self._steps_a_fold
        optimizer = torch.optim.Adam(member.parameters(), lr=chosen.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        gradient = self._gradient(utility)
        learning = learn(
            UniformBatches(self.train, batch_size=chosen.outer_batch, steps=steps, seed=seed),
            member,
            gradient,
            utility,
            optimizer,
            rollouts=chosen.rollouts,
            seed=seed,
        )
        changes = Changes(chosen.schedule, chosen.learning_rate, optimizer, gradient, member)
        changes.before(offset)
        while step := _next(learning):
            if chosen.anneal:
                schedule.step()
            changes.before(offset + step.t + 1)
            yield dataclasses.replace(step, t=offset + step.t)

    def _gradient(self, utility: Utility | None) -> Gradient:
        chosen, predictor = self.settings, self.problem.predictor
        if chosen.policy != "bernoulli":
            return Pathwise(predictor)
        control: ControlVariate = NoControl()
        if chosen.control_variate == "taylor":
            control = Taylor(predictor, self.problem.seed)
        elif chosen.control_variate == "datamodel":
            control = Datamodel(len(self.train))
        return ScoreFunction(self._baseline(utility), chosen.reward_scale, control)

    def _baseline(self, utility: Utility | None) -> Baseline:
        if self.settings.baseline == "moving-average":
            return MovingAverage()
        if self.settings.baseline == "leave-one-out" or utility is None:
            return LeaveOneOut()
        everything = training_sets(self.train, np.ones(len(self.train)), self.problem.task)
        return FullData(float(utility(everything, step=self.settings.steps)))  # a step number that no rollout has

    @property
    def _steps_a_fold(self) -> int:
        return max(1, self.settings.steps // max(1, len(self._folds)))

    @property
    def _starts(self) -> bool:
        return self.value_function.starts

    @property
    def _distribution(self) -> Callable[[Tensor], Policy]:
        if self.settings.policy == "bernoulli":
            return Bernoulli
        return partial(_RELAXED[self.settings.policy], temperature=self.settings.temperature)


def _next(steps: Iterator[Step]) -> Step | None:
    with one_thread():  # not around the yield: between steps the threads are the consumer's
        return next(steps, None)


def _location_scale(train: Examples, kind: str) -> tuple[float, float]:
    if kind == "classification":
        return 0.0, 1.0
    return float(train.y.mean()), float(train.y.std()) or 1.0
