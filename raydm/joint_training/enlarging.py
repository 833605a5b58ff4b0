"""Training on new examples beside the training set's own: what augmentation and synthesis share."""

from __future__ import annotations

import copy
import dataclasses
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from raydm.checks import check_choice, check_integer, check_positive
from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.errors import ParameterError, RaydmError
from raydm.gradients import Pathwise
from raydm.joint import Joint
from raydm.joint_training.keeping import KEEPS
from raydm.joint_training.new_rows import NewRows, RowMaker
from raydm.joint_training.training import JointTraining, TrainedOnBoth
from raydm.learner import Step, learn
from raydm.manipulations import Augment, Synthesize
from raydm.manipulations.beside import check_share
from raydm.predictors import TrainingSets
from raydm.predictors.module import Module
from raydm.seeding import stream
from raydm.utility import Problem


@dataclass(frozen=True)
class EnlargeSettings:
    """How a predictor is trained on new examples too, and phi with it.

    Attributes:
        epochs: passes over the training set with new examples beside it; None for 10, or of few rows so many that 600
            steps are taken (of texts always 10).
        warm_up: passes before, on the training set alone.
        share: of the new examples in the loss, in (0, 1); None: that in the number of rows.
        learning_rate: of all of phi, > 0: about how far Adam moves each of its numbers a step. None for one that suits
            what phi is: .05 for augmenters, whose numbers are logits, unbounded magnitudes and logarithms; 1e-3 for
            generators of tables and images; 4e-5 for language models and their label embeddings, as Hu et al.
        unroll: T, look-ahead steps.
        checkpoint: whether the unrolled steps are kept in part only, and made twice.
        dev_batch: rows of D^v that judge each step; None: all.
        keep: which epoch's predictor: "near-best": the last that is no worse on D^v than the best but for one standard
            error; "best": by the metric (of equals the one with the least loss); "last"; or
            "average": the mean of all parameters after each epoch of the latter half.
    """

    epochs: int | None = None
    warm_up: int = 2
    share: float | None = None
    learning_rate: float | None = None
    unroll: int = 1
    checkpoint: bool = False
    dev_batch: int | None = None
    keep: str = "average"

    def check(self) -> None:
        """Raises ParameterError where a setting is out of its range."""
        owner = type(self).__name__
        for name, least in (("epochs", 0), ("warm_up", 0), ("unroll", 1)):
            if getattr(self, name) is not None or name != "epochs":
                check_integer(owner, name, getattr(self, name), least)
        if self.dev_batch is not None:
            check_integer(owner, "dev_batch", self.dev_batch, 1)
        check_share(owner, self.share)
        if self.learning_rate is not None:
            check_positive(owner, "learning_rate", self.learning_rate)
        check_choice(owner, "keep", self.keep, KEEPS)
        if self.epochs == 0 == self.warm_up:
            raise ParameterError("epochs=0 with warm_up=0 would leave the predictor untrained. Use at least one.")


class Enlarging(JointTraining):
    """One way of making new examples on one problem: none here, and ways of `Made` below.

    Args:
        train: the training set, N examples.
        problem: predictor (a `Module`, whose epochs have no part here), D^v, task, metric and seed.
        settings: how long it trains, and how phi is learned.
    """

    def __init__(self, train: Examples, problem: Problem, settings: EnlargeSettings) -> None:
        self.enlarge = settings
        super().__init__(train, problem, settings)

    def rows(self, n: int) -> NewRows:
        """n new examples of the present phi.

        Raises:
            RaydmError: this way makes none.
        """
        raise RaydmError("This way makes no new rows: it trains on the examples that there are. Use another method.")

    def summary(self) -> list[dict[str, Any]]:
        """What phi does now, a row for each operation or feature; none where a few numbers could not tell."""
        return []

    def _learned(self, first: int) -> Iterator[Step]:
        for epoch in range(first, first + self.epochs):
            yield from self._pass(epoch)
            self._judge()

    def _pass(self, epoch: int) -> Iterator[Step]:
        """One epoch after the warm-up: here on the examples that there are."""
        return self._trained(epoch, self._equal)

    def _joint(self) -> Joint:
        chosen = self.enlarge
        return Joint(
            self._enlarged_problem(), unroll=chosen.unroll, checkpoint=chosen.checkpoint, dev_batch=chosen.dev_batch
        )

    def _enlarged_problem(self) -> Problem:
        """The problem, its predictor's batches as large as those of training, for the estimate of memory."""
        predictor = self.problem.predictor
        if not isinstance(predictor, Module):
            return self.problem
        wide = copy.copy(predictor)
        wide.batch_size = self._rows_of(predictor.batch_size)
        return dataclasses.replace(self.problem, predictor=wide)

    def _rows_of(self, batch_size: int) -> int:
        """How many rows a batch has with its new examples."""
        return batch_size


class Making(Enlarging):
    """New examples from a g_phi that stays as it was made; `tuned` ones learn it with the predictor."""

    manipulation: Augment | Synthesize

    def steps(self) -> Iterator[Step]:
        """As all ways; first g_phi is made, and fitted to the training examples where it has to be."""
        self.prepare()
        yield from super().steps()

    def check(self) -> None:
        """Tries what g_phi needs and takes no fitting, so that what is wrong is told before anything is trained."""

    def prepare(self) -> None:
        """Makes g_phi, once."""
        if not hasattr(self, "manipulation"):
            self.manipulation = self._made()

    @property
    def learned(self) -> RowMaker:
        """What makes new rows, of the present phi."""
        self.prepare()
        return self._maker()

    def rows(self, n: int) -> NewRows:
        """n new examples of the present phi; row k is the same however many are asked for."""
        return self.learned.rows(n, self.train)

    @abstractmethod
    def _made(self) -> Augment | Synthesize:
        """The manipulation, its g_phi ready."""

    @abstractmethod
    def _maker(self) -> RowMaker:
        """See `learned`."""

    def _pass(self, epoch: int) -> Iterator[Step]:
        return self._trained(epoch, self._with_new)

    @torch.no_grad()
    def _with_new(self, t: int, batch: Batch) -> TrainingSets:
        """The batch and new examples of the same noise as the learner's."""
        actions = self.manipulation.policy(batch).draw(1, stream(self.problem.seed, "actions", t))
        return self.manipulation.apply(actions, batch)


class Tuning(Making):
    """New examples from a g_phi that is tuned with the predictor, by the loss on D^v one step ahead."""

    optimizer: torch.optim.Optimizer

    def _pass(self, epoch: int) -> Iterator[Step]:
        return learn(
            self._epoch(epoch, self._plain_batch), self.manipulation, Pathwise(self.joint), self.joint, self.optimizer,
            rollouts=1, seed=self.problem.seed,
        )  # fmt: skip

    def prepare(self) -> None:
        """Makes g_phi and what moves it, once."""
        super().prepare()
        if not hasattr(self, "optimizer"):
            self.optimizer = self._optimizer()

    @abstractmethod
    def _optimizer(self) -> torch.optim.Optimizer:
        """What moves phi."""


class WithValid(TrainedOnBoth, Enlarging):
    """No new examples, but those of D^v are trained on too."""
