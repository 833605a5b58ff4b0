"""What the estimators do alike with labelled rows in any form: as one table, with a validation set."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from raydm.data import Prepared, as_table, named_labels, prepare, with_labels
from raydm.data.labels import TaskKind
from raydm.data.roles import Label, check_column
from raydm.errors import DataError, ParameterError, RaydmWarning
from raydm.predictors import Predictor, make_predictor
from raydm.predictors.tabular import feature_table
from raydm.seeding import stream

_NAMES = ("X", "X_valid", "X_test")
LINEAR: Mapping[TaskKind, str] = {"classification": "logistic", "regression": "linear"}


class Labelled(BaseEstimator):  # type: ignore[misc]
    """An estimator of labelled rows and a trusted validation set.

    Attributes:
        validation_share: of the training rows that are held out where no validation set is given.
        random_state: the run's seed.
    """

    validation_share: float
    random_state: int

    def _prepared(
        self, X: Any, y: Any, X_valid: Any, y_valid: Any, task: TaskKind | None
    ) -> tuple[pa.Table, Prepared, npt.NDArray[np.int64] | None]:
        """X with its labels; both sets encoded; and which rows of X are the training set, where some were held out."""
        table, label = self._table(X, y, reset=True)
        if X_valid is None and y_valid is not None:
            raise ParameterError("y_valid was given without X_valid. Pass both, or neither.")
        if X_valid is not None:
            valid, _ = self._table(X_valid, y_valid, reset=False, label=named_labels(y, table))
            return table, self._encoded(table, valid, label, task), None
        kept, held = self._hold_out(table, label)
        return table, self._encoded(table.take(kept), table.take(held), label, task), kept

    def _encoded(self, train: pa.Table, valid: pa.Table, label: Label, task: TaskKind | None) -> Prepared:
        """Both sets, checked and encoded."""
        return prepare(train, valid, None, label=label, task=task, names=_NAMES)

    def _table(self, X: Any, y: Any, *, reset: bool, label: Label | None = None) -> tuple[pa.Table, Label]:
        """Features and labels as one table, and its label columns: `label`, or what y names or becomes."""
        if names_columns(X):
            table = as_table(X)
            validate_data(self, X, skip_check_array=True, reset=reset) if isinstance(X, pd.DataFrame) else None
        else:
            X = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
            table = feature_table(X)
        label = label or named_labels(y, table)
        if label is not None:
            return table, label
        if y is None:
            raise ParameterError(f"{type(self).__name__} requires y to be passed, but the target y is None.")
        return with_labels(table, y)

    def _made(self, predictor: Any, params: Mapping[str, Any], prepared: Prepared) -> Predictor:
        """f_theta, if it fits the task; where it needs the shape of images, that of the data.

        Raises:
            ParameterError: as `raydm.predictors.make_predictor`; or it does not fit the data.
        """
        kind = prepared.labels.task
        if any(predictor == name and kind != of for of, name in LINEAR.items()):
            expected = f"another than {predictor!r} for {kind}"
            raise ParameterError.of("predictor", type(self).__name__, expected, predictor)
        if predictor == "cnn" and "image_shape" not in params:
            if prepared.encoder.image_shape is None:
                raise ParameterError(
                    "predictor='cnn' needs images: one column of tensors (H, W, channels), or "
                    "predictor_params={'image_shape': (H, W, channels)} for rows of H * W * channels features."
                )
            params = {**params, "image_shape": prepared.encoder.image_shape}
        return make_predictor(predictor, **params)

    def _hold_out(self, table: pa.Table, label: Label) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows to train on and rows to validate on, drawn by the seed; rows whose label came before go first."""
        columns = [label] if isinstance(label, str) else list(label)
        for column in columns:
            check_column(table, column, what="label", name="X")
        labels = table.select(columns).to_pandas()
        for column, missing in labels.isna().items():  # named by its row of X, not of the rows that are held out
            if missing.any():
                row = int(missing.to_numpy().argmax()) + 1
                raise DataError(f"X, column {column!r}, row {row}: the label is missing. Fill it in or drop the row.")
        n = len(labels)
        if n < 2:
            raise DataError(f"X has n_samples = {n}; holding a validation set out needs 2. Pass X_valid and y_valid.")
        order = stream(self.random_state, "hold out").permutation(n)
        again = labels.iloc[order].duplicated().to_numpy()
        held = np.sort(np.concatenate([order[again], order[~again]])[: max(1, round(self.validation_share * n))])
        warnings.warn(
            f"No trusted validation set was given: {len(held)} of the {n} training rows were held out as one, so "
            "what is learned is only as right as these rows' labels. Pass X_valid and y_valid.",
            RaydmWarning,
            stacklevel=3,
        )
        return np.setdiff1d(np.arange(n), held), held

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True  # missing values are imputed and told
        tags.target_tags.required = True
        return tags


def names_columns(X: Any) -> bool:
    """Whether X names its own columns or rows (a data frame, an Arrow table, a dataset, a file), unlike an array."""
    torch_dataset = any(base.__module__.startswith("torch.utils.data") for base in type(X).__mro__)
    return torch_dataset or isinstance(X, (str, PathLike)) or hasattr(X, "columns") or hasattr(X, "column_names")
