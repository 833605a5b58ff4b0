"""What the estimators do alike that train a large predictor jointly with what they learn."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from raydm.checks import check_choice, check_integer, is_number
from raydm.data import Prepared
from raydm.data.labels import TaskKind
from raydm.data.roles import Label
from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmWarning
from raydm.estimators.labelled import Labelled
from raydm.estimators.reading import COLUMN, Reading, rows_of
from raydm.metrics import metric_for
from raydm.predictors import TablePredictor
from raydm.utility import Problem


class Jointly(Labelled):
    """An estimator of tables, images or texts whose predictor is a `raydm.predictors.module.Module`.

    Attributes:
        predictor_: the trained predictor.
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
    predictor_: TablePredictor

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
            stacklevel=4,
        )
