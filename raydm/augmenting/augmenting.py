"""The ways of augmentation: a fixed g_phi, or one that is tuned with the predictor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from raydm.augmenting.rewriting import Given, learned, synonyms
from raydm.augmenting.settings import AugmentSettings
from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.joint_training import Making, NewRows, RowMaker, TextParts, Tuning
from raydm.manipulations import Augment, Rewriting
from raydm.seeding import stream
from raydm.utility import Problem

MakeRewriting = Callable[[Given], Rewriting]


class Rewritten(RowMaker):
    """The training set's rows in turn, rewritten; each pass in an order of its own.

    Args:
        seed: of the run.
        summary: see `RowMaker`.
        rewriting: g_phi.
    """

    def __init__(self, seed: int, summary: list[dict[str, Any]], rewriting: Rewriting) -> None:
        super().__init__(seed, summary)
        self.rewriting = rewriting

    def drawn(self, chunk: int, n: int, train: Examples, rng: np.random.Generator) -> NewRows:
        """See `RowMaker`."""
        count = len(train)
        draws = np.arange(chunk * n, (chunk + 1) * n)
        order = {p: stream(self.seed, "parents", p).permutation(count) for p in set((draws // count).tolist())}
        parent = np.array([order[k // count][k % count] for k in draws.tolist()])
        y = train.y[parent]
        x, how = self.rewriting.written(Batch(parent, torch.from_numpy(train.x[parent]), torch.from_numpy(y)), rng)
        return NewRows(x.cpu().numpy(), y, parent, [], how, self.seed)

    def to(self, device: torch.device) -> None:
        """See `RowMaker`."""
        self.rewriting.to(device)


class Augmenting(Making):
    """A g_phi that stays as it was made.

    Args:
        train: the training set, N examples.
        problem: predictor (a `Module`), D^v, task, metric and seed.
        settings: how long it trains, and what g_phi is.
        text: what texts need.
        rewriting: makes g_phi.
    """

    manipulation: Augment

    def __init__(
        self,
        train: Examples,
        problem: Problem,
        settings: AugmentSettings,
        text: TextParts | None,
        rewriting: MakeRewriting,
    ) -> None:
        self.given, self._make = Given(train, problem, settings, text), rewriting
        super().__init__(train, problem, settings)

    @property
    def rewriting(self) -> Rewriting:
        """g_phi, once `prepare` or `steps` made it."""
        return self.manipulation.rewriting

    def check(self) -> None:
        """Makes g_phi, where that is no language model that must be fitted."""
        if self.given.kind != "text" or self._make is synonyms:
            self.prepare()

    def summary(self) -> list[dict[str, Any]]:
        """What g_phi does now, a row for each operation or feature."""
        self.prepare()
        return self.rewriting.summary()

    def _made(self) -> Augment:
        chosen = self.given.settings
        return Augment(
            self._make(self.given), self.problem.task, copies=chosen.copies, share=chosen.share,
            look_ahead=chosen.look_ahead,
        )  # fmt: skip

    def _rows_of(self, batch_size: int) -> int:
        return batch_size * (1 + self.given.settings.copies)

    def _maker(self) -> RowMaker:
        return Rewritten(self.problem.seed, self.summary(), self.rewriting)


class LearnedAugmenting(Augmenting, Tuning):
    """Learning data augmentation (Hu et al. 2019, algorithm 1 and section 4.2)."""

    def __init__(
        self,
        train: Examples,
        problem: Problem,
        settings: AugmentSettings,
        text: TextParts | None,
        rewriting: MakeRewriting = learned,
    ) -> None:
        super().__init__(train, problem, settings, text, rewriting)

    def _optimizer(self) -> torch.optim.Optimizer:
        return self.rewriting.optimizer(self.given.settings.learning_rate)
