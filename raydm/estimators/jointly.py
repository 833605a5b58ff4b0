"""What the estimators do alike that train a large predictor jointly with what they learn."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from sklearn.utils.validation import check_is_fitted

from raydm.checks import check_choice, check_integer, is_number
from raydm.data import Prepared
from raydm.data.examples import Examples
from raydm.data.labels import TaskKind
from raydm.data.roles import Label
from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmWarning
from raydm.estimators.labelled import Labelled
from raydm.estimators.reading import COLUMN, Reading, rows_of
from raydm.joint_training import Case, JointTraining, Outcome, Run
from raydm.joint_training.seeds import done, one_by_one
from raydm.learner import Step
from raydm.metrics import metric_for
from raydm.predictors import TablePredictor
from raydm.predictors.memory import Memory
from raydm.utility import Problem


class Jointly(Labelled):
    """An estimator of tables, images or texts whose predictor is a `raydm.predictors.module.Module`.

    Attributes:
        predictor_: the trained predictor; of several seeds the one that does best on D^v.
        outcomes_: what each seed gave.
        curve_: for each seed and epoch: seed, epoch, metric and mean loss on D^v.
        history_: for each step: t, seed, the utility on D^v that it saw, and seconds where it was done here.
        memory_: what a step was estimated to take, before the first.
        total_: how many steps are done here; 0 where seeds run elsewhere.
        seconds_: how long learning took.
    """

    method: str
    predictor: Any
    predictor_params: Mapping[str, Any] | None
    text: str | None
    image: str | None
    model: str | None
    length: int
    image_size: Sequence[int] | None
    metric: str | None
    task: TaskKind | None
    seeds: int
    run: Run | None
    predictor_: TablePredictor
    outcomes_: list[Outcome]
    curve_: list[dict[str, float]]
    history_: list[dict[str, float]]
    memory_: Memory
    total_: int
    seconds_: float

    _ranks: list[float]
    _alone: str | None = None  # what X is, where it is no table

    @property
    def reading(self) -> Reading:
        """How rows are read; its `prepare` makes what `iterate` takes."""
        text, image = self.text, self.image
        if text is None and image is None:
            text, image = (COLUMN if self._alone == kind else None for kind in ("text", "image"))
        return Reading(
            type(self).__name__, self.predictor, dict(self.predictor_params or {}), text, image, self.model,
            self.length, self.image_size,
        )  # fmt: skip

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Labels of M rows, of the training labels' own type and units: (M,)."""
        check_is_fitted(self, "predictor_")
        return self.predictor_.predict(rows_of(X))

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Class probabilities of M rows in the order of `predictor_.labels.classes`: (M, C)."""
        check_is_fitted(self, "predictor_")
        return self.predictor_.predict_proba(rows_of(X))

    def scores(self, examples: Examples) -> npt.NDArray[np.float64]:
        """The metric of each seed's predictor on encoded examples, in its own direction: (K,)."""
        check_is_fitted(self, "outcomes_")
        x, y = torch.from_numpy(examples.x), torch.from_numpy(examples.y)
        return np.array([float(self.problem_.metric(o.fitted.predict(x), y)) for o in self.outcomes_])

    def check(self) -> None:
        """Raises ParameterError where an argument is out of its range."""
        self._check_settings()
        self.reading.check()

    def _check_settings(self) -> None:
        """Raises ParameterError where an argument other than the reading's is out of its range."""
        raise NotImplementedError

    def _check_common(self, methods: Sequence[str]) -> None:
        owner = type(self).__name__
        check_choice(owner, "method", self.method, methods)
        if not (is_number(self.validation_share) and 0 < self.validation_share < 1):
            raise ParameterError.of("validation_share", owner, "a number in (0, 1)", self.validation_share)
        check_integer(owner, "seeds", self.seeds, 1)
        check_integer(owner, "random_state", self.random_state, 0)
        if self.task not in (None, "classification", "regression"):
            raise ParameterError.of("task", owner, "'classification', 'regression' or None", self.task)

    def _table(self, X: Any, y: Any, *, reset: bool, label: Label | None = None) -> tuple[pa.Table, Label]:
        return super()._table(rows_of(X), y, reset=reset, label=label)

    def _encoded(self, train: pa.Table, valid: pa.Table, label: Label, task: TaskKind | None) -> Prepared:
        return self.reading.prepare(train, valid, None, label=label, task=task, names=("X", "X_valid", "X_test"))

    def _cases(self, prepared: Prepared, make: Callable[[Problem], JointTraining]) -> tuple[list[Case], JointTraining]:
        """A case of each seed, and the first one's training, open: it tells the memory that a step takes."""
        self.prepared_, self.problem_ = prepared, self._problem(prepared)
        check_classes(prepared)
        first = Case(make, self.problem_)
        cases = [first.with_seed(self.random_state + k) for k in range(self.seeds)]
        opened = cases[0].opened()
        self.memory_, self.total_ = opened.memory, opened.total * (self.seeds if self.run is None else 0)
        return cases, opened

    def _steps(self, cases: Sequence[Case], opened: JointTraining) -> Iterator[Step]:
        """Trains them, here or where `run` does; yields each step that is done here."""
        started = time.perf_counter()
        self.history_, self.outcomes_, self._ranks = [], [], []
        events: Iterator[Step | Outcome]
        if self.run is None:
            events = one_by_one(cases, opened)
            del opened  # so that each training's memory is free before the next one's is taken
        else:
            del opened
            events = iter(self.run(done, cases))
        t = 0
        for event in events:
            if isinstance(event, Outcome):
                if self.run is not None:
                    self.history_ += [{"t": t, "seed": event.seed, "utility": u} for t, u in enumerate(event.steps)]
                self._take(event)
                t = 0
                continue
            seconds, seed = round(time.perf_counter() - started, 4), cases[len(self.outcomes_)].problem.seed
            self.history_.append({"t": t, "seed": seed, "seconds": seconds, "utility": float(event.u)})
            t += 1
            yield event
        self.curve_ = [
            {"seed": o.seed, "epoch": epoch, "metric": metric, "loss": loss}
            for o in self.outcomes_
            for epoch, (metric, loss) in enumerate(o.curve)
        ]
        best = self.outcomes_[self._best]
        self.predictor_ = TablePredictor(best.fitted, self.prepared_.encoder, self.prepared_.labels)
        self._finish(best)
        self.seconds_ = time.perf_counter() - started

    def _take(self, outcome: Outcome) -> None:
        """Notes what a seed gave, and how well its predictor does on D^v."""
        x, y, metric = self.prepared_.valid.x, self.prepared_.valid.y, self.problem_.metric
        score = metric(outcome.fitted.predict(torch.from_numpy(x)), torch.from_numpy(y))
        self.outcomes_.append(outcome)
        self._ranks.append(metric.sign * float(score))

    @property
    def _best(self) -> int:
        """Which of the outcomes has the predictor that does best on D^v; of equals the first."""
        return int(np.argmax(self._ranks))

    def _finish(self, best: Outcome) -> None:
        """Takes what was learned, given the outcome of the best seed."""
        raise NotImplementedError

    def _problem(self, prepared: Prepared) -> Problem:
        task = Task(prepared.labels.task, prepared.labels.n_outputs)
        metric = metric_for(self.metric, task.kind)
        return Problem(self.reading.module(prepared), prepared.valid, task, metric, self.random_state)


def check_classes(prepared: Prepared) -> None:
    """Warns of classes that no trusted row has."""
    classes = prepared.labels.classes
    absent = [] if classes is None else [c for k, c in enumerate(classes) if k not in prepared.valid.y]
    if absent:
        warnings.warn(
            f"No trusted row is of the classes {absent}, so examples of them look as if they did nothing but harm. "
            "Add at least one trusted row of each class.",
            RaydmWarning,
            stacklevel=5,
        )
