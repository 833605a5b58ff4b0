"""What `DataAugmenter` and `DataSynthesizer` do alike: a predictor trained on new examples, and rows of these."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from sklearn.utils.validation import check_is_fitted

from raydm.data import Prepared
from raydm.data.vectors import to_array
from raydm.errors import ParameterError, RaydmError
from raydm.estimators.decoding import Decoder, named_summary
from raydm.estimators.jointly import Jointly
from raydm.estimators.reading import COLUMN, kind_alone
from raydm.joint_training import EnlargeSettings, Enlarging, Making, Outcome, RowMaker, TextParts
from raydm.learner import Step
from raydm.text.column import TokenColumn
from raydm.utility import Problem


class Enlarger(Jointly):
    """See `DataAugmenter` and `DataSynthesizer`.

    Attributes:
        METHODS: the names that `method` takes.
        SETTINGS: what holds how it learns; its fields are arguments of the estimator.
        OTHER_NAMES: of those fields whose argument has another name.
        maker_: makes new rows, by what the best seed learned; None where the method makes none.
    """

    METHODS: ClassVar[tuple[str, ...]]
    SETTINGS: ClassVar[type[EnlargeSettings]]
    OTHER_NAMES: ClassVar[dict[str, str]] = {}

    language_model: str | None
    wordnet: Any = None
    maker_: RowMaker | None
    summary_: list[dict[str, Any]]

    def fit(self, X: Any, y: Any = None, *, X_valid: Any = None, y_valid: Any = None) -> Any:
        """Trains the predictor on X and on new examples, and learns how these are made.

        Args:
            X: N training rows, in any form that `DataValuator` takes; images (N, H, W[, channels]); or N texts.
            y: (N,) labels, or the name of the label column of X.
            X_valid: M rows of the trusted validation set; None holds rows of X out (with a warning).
            y_valid: its labels; not needed where y is a column's name.

        Raises:
            ParameterError: an argument out of its range, or a training that does not fit the device's memory.
            DataError: data that cannot be used, naming column and row.
        """
        for _ in self.fit_iter(X, y, X_valid=X_valid, y_valid=y_valid):
            pass
        return self

    def fit_iter(self, X: Any, y: Any = None, *, X_valid: Any = None, y_valid: Any = None) -> Iterator[Step]:
        """Like `fit`, but yields each step as it is done; exhaust it to be fitted."""
        self._check_settings()
        self._alone, self._form, self._named = kind_alone(X), _form(X), isinstance(y, str)
        table, prepared, kept = self._prepared(X, y, X_valid, y_valid, self.task)
        train = table if kept is None else table.take(kept)
        ids = prepared.train.ids if kept is None or prepared.roles.id is not None else kept
        yield from self.iterate(prepared, train, ids=ids)

    def iterate(self, prepared: Prepared, train: pa.Table, *, ids: npt.NDArray[Any] | None = None) -> Iterator[Step]:
        """Learns from data that `reading` prepared; yields each step as it is done, of one seed after another.

        The estimate `memory_` is there as soon as this returns, before anything is learned.

        Args:
            prepared: both sets, encoded.
            train: the training table that they were prepared from.
            ids: (N,) what to call its rows; None: as prepared.

        Raises:
            ParameterError: an argument out of its range, or a training that does not fit the device's memory.
        """
        self._check_settings()
        self._decoder = Decoder(prepared, train, prepared.train.ids if ids is None else ids)
        cases, opened = self._cases(prepared, self._make(prepared, self._text_parts(prepared, train)))
        if isinstance(opened, Making):
            self._decoder.check()
            opened.check()
        return self._steps(cases, opened)

    def table(self, n: int) -> pa.Table:
        """n new rows in the training table's columns and units, with parent_id, how, seed and draw beside.

        Row k is the same however many are asked for.

        Raises:
            RaydmError: the method makes no new rows.
            ParameterError: n is no integer >= 0.
        """
        check_is_fitted(self, "predictor_")
        if self.maker_ is None:
            raise RaydmError(
                f"The method {self.method!r} makes no new rows: it trains on the examples that there are. Use another."
            )
        return self._decoder(self.maker_.rows(n, self.prepared_.train))

    def rows(self, n: int) -> tuple[Any, npt.NDArray[Any]]:
        """n new rows in the form of X, and their labels (n,), in the labels' own type and units.

        A list of texts gives one, an array an array, a data frame one (with the label column, where y named one), and
        all else an Arrow table.

        Raises:
            RaydmError: the method makes no new rows.
        """
        table = self.table(n)
        labels = list(self.prepared_.roles.labels)
        y = np.stack([np.asarray(table.column(name).to_pylist()) for name in labels], -1)
        y = y[:, 0] if len(labels) == 1 else y
        form = getattr(self, "_form", "table")
        if form in ("texts", "images"):
            column = table.column(COLUMN)
            return (column.to_pylist() if form == "texts" else to_array(column)), y
        features = list(self.prepared_.roles.features)
        plain = table.select(features + (labels if getattr(self, "_named", True) else []))
        if form == "frame":
            return plain.to_pandas(), y
        if form == "array":
            return np.stack([np.asarray(c.to_numpy(), np.float64) for c in plain.columns], -1), y
        return plain, y

    @abstractmethod
    def _make(self, prepared: Prepared, text: TextParts | None) -> Callable[[Problem], Enlarging]:
        """What opens the method on the prepared training set; can be pickled."""

    def _check_settings(self) -> None:
        self._check_common(self.METHODS)
        self._settings().check()

    def _settings(self) -> Any:
        fields = [field.name for field in dataclasses.fields(self.SETTINGS)]
        values = {name: getattr(self, self.OTHER_NAMES.get(name, name)) for name in fields}
        return self.SETTINGS(**values)

    def _text_parts(self, prepared: Prepared, train: pa.Table) -> TextParts | None:
        encoder = prepared.encoder
        if not isinstance(encoder, TokenColumn):
            if self.language_model is not None:
                raise ParameterError(f"language_model={self.language_model!r} is for texts. Name their column: text=.")
            return None
        texts = [text or "" for text in train.column(encoder.column).to_pylist()]
        model = self.language_model or encoder.tokenizer.name
        return TextParts(Path(model) if Path(model).is_dir() else model, encoder.tokenizer, texts, self.wordnet)

    def _take(self, outcome: Outcome) -> None:
        """Keeps g_phi of the best seed alone: it may be as large as a predictor."""
        super()._take(outcome)
        self.outcomes_ = [
            o if k == self._best else dataclasses.replace(o, learned=None) for k, o in enumerate(self.outcomes_)
        ]

    def _finish(self, best: Outcome) -> None:
        self.maker_ = best.learned
        self.summary_ = [] if self.maker_ is None else named_summary(self.maker_.summary, self.prepared_)


def _form(X: Any) -> str:
    """What X is: "texts", "images", "array" (N, D), "frame" or "table"."""
    alone = kind_alone(X)
    if alone is not None:
        return {"text": "texts", "image": "images"}[alone]
    return "frame" if isinstance(X, pd.DataFrame) else "array" if isinstance(X, (np.ndarray, Sequence)) else "table"
