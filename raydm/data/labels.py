"""Labels: class indices or real targets, by what the training labels showed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raydm.data.roles import check_column, is_numeric_type, is_text_type
from raydm.errors import DataError, ParameterError, one_of

TaskKind = Literal["classification", "regression"]
Column: TypeAlias = pa.ChunkedArray | pa.Array | npt.NDArray[Any]


@dataclass(frozen=True)
class LabelEncoder:
    """Turns labels into what predictors learn, and back.

    Attributes:
        task: ``classification`` or ``regression``.
        classes: the C training classes in their own type, sorted; None for regression.
        mean: the mean of the training targets, or of each of C > 1 label columns; 0 for classification.
        std: their standard deviation, > 0, or each column's; 1 for classification.
    """

    task: TaskKind
    classes: tuple[str | int | float | bool, ...] | None
    mean: float | tuple[float, ...] = 0.0
    std: float | tuple[float, ...] = 1.0

    @classmethod
    def fit(cls, column: Column, *, task: TaskKind | None = None, name: str = "train") -> LabelEncoder:
        """Learns the classes, or the targets' scale, from the N training labels.

        Without ``task``: strings, dictionaries and booleans are classes; numbers are classes where all are whole and
        at most max(20, sqrt(N)) differ, and targets otherwise.

        Args:
            column: (N,) strings, booleans or numbers.
            task: the task, where it should not be inferred.
            name: what to call the table in messages.

        Raises:
            DataError: a label is missing or infinite, strings are given for regression, or fewer than two classes or
                distinct targets are there.
            ParameterError: ``task`` is unknown.
        """
        if task not in ("classification", "regression", None):
            raise ParameterError.of(
                "task", "LabelEncoder.fit", one_of(("classification", "regression")) + " or None", task
            )
        values = _values(column, name)
        distinct = sorted(set(values))
        if task is None:
            numbers = bool(values) and not isinstance(values[0], str | bool)
            few = len(distinct) <= max(20, math.sqrt(len(values)))
            whole = numbers and all(float(value).is_integer() for value in distinct)
            task = "regression" if numbers and not (whole and few) else "classification"
        if task == "regression" and distinct and isinstance(distinct[0], str):
            row, text = _first_text(values)
            raise DataError(f"{name}, row {row}, label {text!r}: text cannot be a regression target. Give numbers.")
        if len(distinct) < 2:
            raise DataError(
                f"{name}: {len(values)} labels with {len(distinct)} distinct values ({distinct}). "
                "At least two are needed to learn anything."
            )
        if task == "classification":
            return cls(task, tuple(distinct))
        targets = np.array(values, np.float64)
        return cls(task, None, float(targets.mean()), float(targets.std()))

    @classmethod
    def fit_columns(
        cls, table: pa.Table, labels: Sequence[str], *, task: TaskKind | None = None, name: str = "train"
    ) -> LabelEncoder:
        """Learns from one label column, as ``fit`` does, or the scale of each of C > 1 columns of targets.

        Args:
            table: the training set, N rows.
            labels: its label columns.
            task: the task, where it should not be inferred; several columns are targets, whatever numbers they hold.
            name: what to call the table in messages.

        Raises:
            DataError: as ``fit``; or one of several columns holds text, or booleans without ``task="regression"``.
            ParameterError: ``task`` is unknown, or classification with several columns.
        """
        if len(labels) == 1:
            return cls.fit(table.column(labels[0]), task=task, name=_where(name, labels[0]))
        several = ", ".join(repr(label) for label in labels)
        if task not in ("regression", None):
            expected = f"'regression' or None for the labels {several}"
            raise ParameterError.of("task", "LabelEncoder.fit_columns", expected, task)
        for label in labels:
            if task is None and pa.types.is_boolean(table.column(label).type):
                raise DataError(
                    f"{_where(name, label)}: booleans are classes, and several label columns ({several}) must be "
                    "targets. Name one label column, or say that the task is regression."
                )
        each = [cls.fit(table.column(label), task="regression", name=_where(name, label)) for label in labels]
        mean, std = zip(*((one.mean, one.std) for one in each), strict=True)
        return cls("regression", None, mean, std)

    @property
    def n_outputs(self) -> int:
        """C, the number of classes, or of targets."""
        if self.classes is None:
            return len(self.mean) if isinstance(self.mean, tuple) else 1
        return len(self.classes)

    def transform(self, column: Column, *, name: str) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """Encodes one label column.

        Args:
            column: (N,) labels of the type that training had.
            name: what to call the table in messages.

        Returns:
            (N,) int64 class indices in [0, C), or (N,) float32 targets in their own unit.

        Raises:
            DataError: a label is missing, infinite, of another type than in training, or a class that training lacks.
        """
        quick = self._quick(column)
        if quick is not None:
            return quick
        values = _values(column, name)
        if self.classes is None:
            if values and isinstance(values[0], str):
                raise DataError(
                    f"{name}: labels are text where training has numbers. Use one type of label in all sets."
                )
            with np.errstate(over="ignore"):
                targets = np.array(values, np.float32)
            if np.isinf(targets).any():
                raise DataError(f"{name}, row {int(np.isinf(targets).argmax()) + 1}: a label too large for float32.")
            return targets
        text = isinstance(self.classes[0], str)
        if values and isinstance(values[0], str) != text:
            came, was = ("numbers", "text") if text else ("text", "numbers")
            raise DataError(f"{name}: labels are {came} where training has {was}. Use one type of label in all sets.")
        index = {value: place for place, value in enumerate(self.classes)}
        for row, value in enumerate(values, 1):
            if value not in index:
                raise DataError(
                    f"{name}, row {row}: {value!r} is a class that training lacks. The training classes are "
                    f"{list(self.classes)[:30]}. Add examples of it to training, or drop these rows."
                )
        return np.array([index[value] for value in values], np.int64)

    def _quick(self, column: Column) -> npt.NDArray[np.int64] | npt.NDArray[np.float32] | None:
        """What `transform` gives for labels of the type that training had, all known; None where one may be wrong."""
        if not isinstance(column, pa.ChunkedArray | pa.Array) or column.null_count:
            return None
        kind = column.type
        if self.classes is None:
            if not (pa.types.is_float64(kind) or pa.types.is_float32(kind)):
                return None
            with np.errstate(over="ignore"):
                targets = column.to_numpy().astype(np.float32)
            return targets if np.isfinite(targets).all() else None
        known = pa.array(self.classes)
        same = pa.types.is_integer if pa.types.is_integer(known.type) else pa.types.is_string
        if not (same(known.type) and same(kind)):
            return None
        try:
            found = pc.index_in(column.cast(known.type), known)
        except pa.ArrowInvalid:  # an integer that is too large
            return None
        return None if found.null_count else found.to_numpy().astype(np.int64)

    def transform_columns(
        self, table: pa.Table, labels: Sequence[str], *, name: str
    ) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """Encodes all label columns.

        Args:
            table: N rows.
            labels: the label columns, as many and in the order in which they were fitted.
            name: what to call the table in messages.

        Returns:
            (N,) as ``transform`` of one column; (N, C) float32 targets in their own units of C > 1.

        Raises:
            DataError: as ``transform``, or the table lacks a column.
        """
        for label in labels:
            check_column(table, label, what="label", name=name)
        columns = [self.transform(table.column(label), name=_where(name, label)) for label in labels]
        if len(columns) == 1:
            return columns[0]
        return np.stack(columns, axis=1, dtype=np.float32)

    def inverse(self, encoded: npt.ArrayLike) -> npt.NDArray[Any]:
        """The labels in their own type.

        Args:
            encoded: (N,) class indices in [0, C), or (N,) targets, or (N, C) of C > 1.

        Returns:
            (N,) classes as strings, integers, floats or booleans; for regression the targets themselves.

        Raises:
            ParameterError: an index is outside [0, C), or rows do not hold C targets.
        """
        encoded = np.asarray(encoded)
        if self.classes is None:
            if self.n_outputs > 1 and (encoded.ndim != 2 or encoded.shape[1] != self.n_outputs):
                expected = f"of shape (N, {self.n_outputs})"
                raise ParameterError.of("encoded", "LabelEncoder.inverse", expected, encoded.shape)
            return encoded
        if encoded.size and not 0 <= encoded.min() <= encoded.max() < self.n_outputs:
            wrong = encoded.min() if encoded.min() < 0 else encoded.max()
            raise ParameterError.of("encoded", "LabelEncoder.inverse", f"class indices in [0, {self.n_outputs})", wrong)
        classes: npt.NDArray[Any] = np.asarray(self.classes)
        return np.asarray(classes[encoded])

    def to_dict(self) -> dict[str, Any]:
        """The encoder as plain JSON values; ``mean`` and ``std`` are lists where there are several targets."""
        classes = None if self.classes is None else list(self.classes)
        mean, std = (list(v) if isinstance(v, tuple) else v for v in (self.mean, self.std))
        return {"task": self.task, "classes": classes, "mean": mean, "std": std}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> LabelEncoder:
        """The encoder that ``to_dict`` wrote."""
        classes = None if state["classes"] is None else tuple(state["classes"])
        mean, std = (tuple(v) if isinstance(v, list) else v for v in (state["mean"], state["std"]))
        return cls(state["task"], classes, mean, std)


def _where(name: str, label: str) -> str:
    return f"{name}, column {label!r}"


def _first_text(values: Sequence[str]) -> tuple[int, str]:
    """The row, from 1, and the text of the first label that is no number; of the first one where all are."""
    for row, value in enumerate(values, 1):
        try:
            float(value)
        except ValueError:
            return row, value
    return 1, values[0]


def _values(column: Column, name: str) -> list[Any]:
    """The labels as Python strings, booleans, integers or finite floats, all of one type."""
    if isinstance(column, np.ndarray):
        if column.ndim != 1:
            raise DataError(f"{name}: labels of shape {column.shape}, one label per row is needed.")
        try:
            column = pa.array(column)
        except pa.ArrowException as error:
            raise DataError(f"{name}: labels cannot be read: {error}. Give strings or numbers of one type.") from error
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    number = is_numeric_type(column.type) and not pa.types.is_temporal(column.type)
    if not (number or is_text_type(column.type)):
        raise DataError(f"{name}: labels of Arrow type {column.type}. Give strings, booleans or numbers, one per row.")
    values: list[Any] = column.to_pylist()
    for row, value in enumerate(values, 1):
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            what = "infinite" if value is not None and math.isinf(value) else "missing"
            raise DataError(f"{name}, row {row}: the label is {what}. Fill it in or drop the row.")
    return values
