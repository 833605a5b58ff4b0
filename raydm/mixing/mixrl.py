"""MixRL: the loop's parts put together for mixing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.baselines import Baseline, LeaveOneOut, MovingAverage
from raydm.data.examples import Examples
from raydm.data.source import Batch, UniformBatches
from raydm.gradients import ScoreFunction
from raydm.learner import Step, learn
from raydm.manipulations import Mix
from raydm.mixing.pairs import Neighborhood, Pairs, neighborhood, together
from raydm.mixing.scores import mixed_sets, utilities
from raydm.mixing.settings import MixSettings
from raydm.networks import MixingEstimator
from raydm.seeding import stream
from raydm.utility import InProcess, Problem, Utility, aligned, one_thread

MakeUtility = Callable[[Problem], Utility]
Array = npt.NDArray[np.float64]

_MOST_ROWS = 1000  # of a batch, where all rows are asked for
_SHARES = np.linspace(0, 1, 11)  # of the examples that are mixed, among which T is chosen


class MixRL:
    """Data mixing by reinforcement learning (Hwang, Whang 2021), Algorithm 1.

    Args:
        train: the training set, N examples.
        problem: predictor, validation set, metric and seed.
        settings: how it learns.
        make_utility: maps the problem to its utility: in this process, or on a cluster.

    Attributes:
        estimator: h_theta.
        options: those of the settings that N allows.
        threshold: T; None before it was chosen.
        candidates: after `choose`: T, mixed rows and mean utility of each.
    """

    def __init__(
        self, train: Examples, problem: Problem, settings: MixSettings, make_utility: MakeUtility = InProcess
    ) -> None:
        self.train, self.problem, self.settings, self.make_utility = train, problem, settings, make_utility
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
        self.threshold = settings.threshold
        self.candidates: list[dict[str, float]] = []

    def steps(self) -> Iterator[Step]:
        """Yields each step as it is done; exhaust it for the threshold."""
        chosen = self.settings
        utility = self.make_utility(self.problem)
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
            for step in learning:
                if chosen.anneal:
                    schedule.step()
                yield step
            if self.threshold is None:
                self.threshold = self._choose(utility)
        finally:
            utility.close()

    @torch.no_grad()
    def h(self, examples: Examples) -> Array:
        """h_theta of every option for any N examples: (N, O)."""
        with one_thread():
            x, y = aligned(examples.x), aligned(examples.y)
            n = len(examples)
            each = [self.mix.logits(x, y, torch.full((n,), o)) for o in range(len(self.options))]
            return torch.stack(each, 1).sigmoid().double().numpy()

    def best(self, h: Array) -> list[tuple[npt.NDArray[np.int64], Array]]:
        """For each distance that has options, the best of them for each example, and its h: (N,) and (N,)."""
        found = []
        for distance in ("data", "label"):
            own = self.options.of(distance)
            if own.stop > own.start:
                option = own.start + h[:, own].argmax(1)
                found.append((option, h[np.arange(len(h)), option]))
        return found

    def pairs(self, threshold: float | None = None) -> Pairs:
        """What the training examples are mixed with: by each distance the best option, where its h is above T."""
        pairs, h = self._ranked()
        least = self.threshold if threshold is None else threshold
        return pairs.take(h > (0.0 if least is None else least))

    def _ranked(self) -> tuple[Pairs, Array]:
        """The pairs at T = 0, distinct; with the highest h that made each."""
        parts, values = [], []
        for option, h in self.best(self.h(self.train)):
            owner, partner, kind = self.neighbors.at(np.arange(len(h)), option, self.options)
            parts.append(Pairs(owner, partner, np.full(len(owner), 0.5), kind))
            values.append(h[owner])
        value = np.concatenate(values)
        order = np.argsort(-value, kind="stable")
        pairs = together(parts).take(order)
        lam = self._shares(pairs.i, pairs.j)
        pairs = replace(pairs, lam=lam)
        first = pairs.distinct()
        return pairs.take(first), value[order][first]

    def _choose(self, utility: Utility) -> float:
        """The threshold whose mixed rows do best on the validation set, among those that mix a share of the examples."""
        pairs, h = self._ranked()
        levels = np.unique(np.concatenate([b for _, b in self.best(self.h(self.train))]))
        grid = np.unique(np.quantile(levels, 1 - _SHARES, method="lower"))
        grid = np.concatenate([[0.0], grid])  # above none, and above the highest: no mixing
        sets = mixed_sets(self.train, pairs.rows(self.train), h > grid[:, None], self.problem)
        u = utilities(sets, self.problem, utility, self.settings.repeats)
        self.candidates = [
            {"threshold": float(t), "mixed_rows": int((h > t).sum()), "utility": float(v)}
            for t, v in zip(grid, u, strict=True)
        ]
        return float(grid[int(u.argmax())])

    def _mixed_rows(self, batch: Batch) -> tuple[npt.NDArray[np.int64], Tensor, Tensor]:
        assert batch.options is not None
        owner, partner, kind = self.neighbors.at(batch.rows, batch.options, self.options)
        i = batch.rows[owner]
        rows = Pairs(i, partner, self._shares(i, partner), kind).rows(self.train)
        return owner, aligned(rows.x), aligned(rows.y)

    def _shares(self, i: npt.NDArray[np.int64], j: npt.NDArray[np.int64]) -> Array:
        """Lambda of each pair: (P,); that of a pair is drawn once, so that a step's rows are those of the end."""
        if self.settings.lam is not None:
            return np.full(len(i), self.settings.lam)
        raise NotImplementedError

    def _baseline(self) -> Baseline:
        return MovingAverage() if self.settings.baseline == "moving-average" else LeaveOneOut()
