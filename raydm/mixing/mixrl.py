"""MixRL: the loop's parts put together for mixing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.baselines import Baseline, LeaveOneOut, MovingAverage
from raydm.changes import Changes
from raydm.data.examples import Examples
from raydm.data.source import Batch, UniformBatches
from raydm.errors import ParameterError
from raydm.gradients import ScoreFunction
from raydm.learner import Step, learn
from raydm.manipulations import Mix
from raydm.manipulations.mix import given_options
from raydm.mixing.admission import Admission
from raydm.mixing.learned_neighbors import PICKS, LearnedNeighbors
from raydm.mixing.mixer import Mixer
from raydm.mixing.pairs import Pairs, neighborhood, together
from raydm.mixing.reference import fit_reference
from raydm.mixing.scores import mixed_predictor, mixed_sets, utilities
from raydm.mixing.settings import MixSettings
from raydm.mixing.shares import Shares
from raydm.networks import MixingEstimator
from raydm.predictors import Stacked
from raydm.seeding import stream
from raydm.utility import InProcess, Problem, Utility, aligned, one_thread

MakeUtility = Callable[[Problem], Utility]
Array = npt.NDArray[np.float64]

_MOST_ROWS = 1000  # of a batch, where all rows are asked for
_SHARES = np.linspace(0, 1, 11)  # of the rows that may be mixed, among which T is chosen
_MOST_PAIRS = 20_000  # whose label errors give the bound


class MixRL:
    """Data mixing by reinforcement learning (Hwang, Whang 2021), Algorithm 1.

    Args:
        train: the training set, N examples.
        problem: predictor, validation set, metric and seed.
        settings: how it learns.
        make_utility: maps the problem to its utility: in this process, or on a cluster.
        shares: gives lambda; None: as the settings have it.

    Attributes:
        estimator: h_theta.
        options: those of the settings that N allows.
        threshold: T; None before it was chosen.
        pick: which option above T is taken; None before it was chosen.
        candidates: once T was chosen among some: pick, T, mixed rows and mean utility of each.
    """

    def __init__(
        self,
        train: Examples,
        problem: Problem,
        settings: MixSettings,
        make_utility: MakeUtility = InProcess,
        shares: Shares | None = None,
    ) -> None:
        settings.check()
        self.train, self.problem, self.settings, self.make_utility = train, problem, settings, make_utility
        self.shares = settings.shares if shares is None else shares
        self.options = settings.options.at_most(len(train) - 1)
        self.neighbors = neighborhood(train, self.options)
        y = torch.from_numpy(train.y).reshape(len(train), -1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(stream(problem.seed, "estimator").integers(2**63)))
            self.estimator = MixingEstimator(train.x.shape[1], y.shape[1], len(self.options))
        self.mix = Mix(
            self.estimator, problem.task, self._mixed_rows, y_scale=(y.mean(0), y.std(0).clamp_min(1e-6)),
            exploration=settings.exploration, bounds=settings.mean_bounds,
        )  # fmt: skip
        self.threshold, self.pick = settings.threshold, settings.pick
        if self.pick is None and self.threshold is not None:
            self.pick = "best"
        self.candidates: list[dict[str, Any]] = []

    def steps(self) -> Iterator[Step]:
        """Yields each step as it is done; exhaust it for the threshold."""
        chosen = self.settings
        utility = self.make_utility(self._warmed() if chosen.warm_start else self.problem)
        try:
            optimizer = torch.optim.Adam(self.mix.parameters(), lr=chosen.learning_rate)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, chosen.steps))
            source = UniformBatches(
                self.train, batch_size=chosen.outer_batch or _MOST_ROWS, steps=chosen.steps, seed=self.problem.seed,
                options=len(self.options),
            )  # fmt: skip
            gradient = ScoreFunction(self._baseline(), chosen.reward_scale)
            learning = learn(
                source, self.mix, gradient, utility, optimizer, rollouts=chosen.rollouts, seed=self.problem.seed
            )
            changes = Changes(chosen.schedule, chosen.learning_rate, optimizer, gradient, self.mix)
            changes.before(0)
            while step := _next(learning):
                if chosen.anneal:
                    schedule.step()
                changes.before(step.t + 1)
                yield step
            utility.turn_to(self.problem)
            if self.threshold is None:
                self.pick, self.threshold = self._choose(utility)
        finally:
            utility.close()

    @property
    def mixer(self) -> Mixer:
        """What mixes examples: h_theta as learned so far, above T; all best options, where T was not chosen yet."""
        return Mixer(self._learned(self.threshold, self.pick), self.shares, self.admission)

    @cached_property
    def admission(self) -> Admission | None:
        """What lets mixed rows in, its bound a quantile over all that the options may make; None: all are."""
        if self.settings.admit == 1:
            return None
        reference = fit_reference(self.train, self.problem.valid, self.problem.task, self.problem.seed)
        rows = stream(self.problem.seed, "admission").permutation(len(self.train))
        rows = np.sort(rows[: max(1, _MOST_PAIRS // sum(t.shape[1] for t in self.neighbors.of.values()))])
        i, j, kind = self.neighbors.first(
            {d: np.where(np.isin(np.arange(len(t)), rows), t.shape[1], 0) for d, t in self.neighbors.of.items()}
        )
        pairs = Pairs(i, j, self._shares(i, j), kind)
        errors = reference.label_errors(pairs.take(pairs.distinct()).rows(self.train))
        return Admission(reference, float(np.quantile(errors, self.settings.admit)))

    def h(self, examples: Examples) -> Array:
        """h_theta of every option for any N examples: (N, O)."""
        return self._learned(None).h(examples)

    def pairs(self) -> Pairs:
        """What the training examples are mixed with: by each distance the best option, where its h is above T."""
        return self.mixer.pairs(self.train, self.problem.seed)

    def _warmed(self) -> Problem:
        """The problem with trainings that start from a predictor of the training set alone."""
        predictor = self.problem.predictor
        if not isinstance(predictor, Stacked):
            raise ParameterError(
                f"warm_start needs a torch predictor, whose weights training goes on from. {type(predictor).__name__} "
                "starts from scratch each time: leave warm_start out, or use predictor='mlp'."
            )
        alone = Pairs(*(np.empty(0, kind) for kind in (np.int64, np.int64, np.float64, "U5")))
        fitted = mixed_predictor(self.problem, self.train, alone)
        return replace(self.problem, predictor=predictor.warm_started(fitted))  # type: ignore[arg-type]

    def _learned(self, threshold: float | None, pick: str | None = None) -> LearnedNeighbors:
        return LearnedNeighbors(self.estimator, self.mix.y_scale, self.options, threshold or 0.0, pick or "best")

    def _ranked(self, pick: str) -> tuple[Pairs, Array]:
        """The pairs at T = 0, distinct and let in; and the T above which each is gone, (P,)."""
        h, parts, until = self.h(self.train), [], []
        if pick == "best":
            for option, high in self._learned(None).best(h).values():
                i, j, kind = self.neighbors.at(np.arange(len(h)), option, self.options)
                parts.append(Pairs(i, j, self._shares(i, j), kind))
                until.append(high[i])
        else:
            i, j, kind = self.neighbors.first({d: np.full(len(h), self.options.most(d)) for d in self.neighbors.of})
            parts.append(Pairs(i, j, self._shares(i, j), kind))
            for distance in self.neighbors.of:
                own = self.options.of(distance)
                k = np.array([k for _, k in self.options.each[own]])
                of_more = np.maximum.accumulate(h[:, own][:, ::-1], axis=1)[:, ::-1]  # of this option or larger ones
                until.append(of_more[:, np.searchsorted(k, np.arange(k[-1]), side="right")].ravel())
        value = np.concatenate(until)
        order = np.argsort(-value, kind="stable")
        pairs, value = together(parts).take(order), value[order]
        first = pairs.distinct()
        pairs, value = pairs.take(first), value[first]
        if self.admission is not None:
            inside = self.admission.admits(pairs.rows(self.train))
            pairs, value = pairs.take(inside), value[inside]
        return pairs, value

    def _choose(self, utility: Utility) -> tuple[str, float]:
        """The pick and the threshold whose mixed rows do best on the validation set."""
        found: list[tuple[str, Array, Array]] = []
        for pick in PICKS if self.pick is None else (self.pick,):
            pairs, value = self._ranked(pick)
            grid = self._grid(value)
            above = value > grid[:, None]
            new = (
                np.diff(above.sum(1), prepend=-1) != 0
            )  # thresholds that let in what the one before does train nothing
            sets = mixed_sets(self.train, pairs.rows(self.train), above[new], self.problem)
            u = utilities(sets, self.problem, utility, self.settings.repeats)[np.cumsum(new) - 1]
            found.append((pick, grid, u))
            self.candidates += [
                {"pick": pick, "threshold": float(t), "mixed_rows": int((value > t).sum()), "utility": float(v)}
                for t, v in zip(grid, u, strict=True)
            ]
        pick, grid, u = max(found, key=lambda one: float(one[2].max()))
        return pick, float(grid[int(u.argmax())])

    def _grid(self, value: Array) -> Array:
        """The thresholds to choose among, rising; pairs are gone above the values (P,)."""
        if self.settings.thresholds is not None:
            return np.unique(np.asarray(self.settings.thresholds, np.float64))
        grid = np.unique(np.quantile(value, 1 - _SHARES, method="lower")) if len(value) else np.empty(0)
        return np.concatenate([[0.0], grid])  # above none, and above the highest: no mixing

    def _mixed_rows(self, batch: Batch) -> tuple[npt.NDArray[np.int64], Tensor, Tensor]:
        owner, partner, kind = self.neighbors.at(batch.rows, given_options(batch), self.options)
        i = batch.rows[owner]
        rows = Pairs(i, partner, self._shares(i, partner), kind).rows(self.train)
        if self.admission is not None:
            inside = np.flatnonzero(self.admission.admits(rows))
            owner, rows = owner[inside], rows.take(inside)
        return owner, aligned(rows.x), aligned(rows.y)

    def _shares(self, i: npt.NDArray[np.int64], j: npt.NDArray[np.int64]) -> Array:
        """Lambda of each pair: (P,); that of a pair is drawn once, so that a step's rows are those of the end."""
        return self.shares.of(self.train, i, j, self.problem.seed)

    def _baseline(self) -> Baseline:
        return MovingAverage() if self.settings.baseline == "moving-average" else LeaveOneOut()


def _next(steps: Iterator[Step]) -> Step | None:
    with one_thread():  # not around the yield: between steps the threads are the consumer's
        return next(steps, None)
