"""Labels: class indices or real targets, by what the training labels showed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data.roles import is_numeric_type, is_text_type
from raydm.errors import DataError, ParameterError, one_of

TaskKind = Literal["classification", "regression"]
Column: TypeAlias = pa.ChunkedArray | pa.Array | npt.NDArray[Any]


@dataclass(frozen=True)
class LabelEncoder:
    """Turns labels into what predictors learn, and back.

    Attributes:
        task: ``classification`` or ``regression``.
        classes: the C training classes in their own type, sorted; None for regression.
        mean: the mean of the training targets; 0 for classification.
        std: their standard deviation, > 0; 1 for classification.
    """

    task: TaskKind
    classes: tuple[str | int | float | bool, ...] | None
    mean: float = 0.0
    std: float = 1.0

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
            raise DataError(f"{name}, label {distinct[0]!r}: text cannot be a regression target. Give numbers.")
        if len(distinct) < 2:
            raise DataError(
                f"{name}: {len(values)} labels with {len(distinct)} distinct values ({distinct}). "
                "At least two are needed to learn anything."
            )
        if task == "classification":
            return cls(task, tuple(distinct))
        targets = np.array(values, np.float64)
        return cls(task, None, float(targets.mean()), float(targets.std()))

    @property
    def n_outputs(self) -> int:
        """C, the number of classes, or 1 for regression."""
        return 1 if self.classes is None else len(self.classes)

    def transform(self, column: Column, *, name: str) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
        """Encodes labels.

        Args:
            column: (N,) labels of the type that training had.
            name: what to call the table in messages.

        Returns:
            (N,) int64 class indices in [0, C), or (N,) float32 targets in their own unit.

        Raises:
            DataError: a label is missing, infinite, of another type than in training, or a class that training lacks.
        """
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

    def inverse(self, encoded: npt.ArrayLike) -> npt.NDArray[Any]:
        """The labels in their own type.

        Args:
            encoded: (N,) class indices in [0, C), or (N,) targets.

        Returns:
            (N,) classes as strings, integers, floats or booleans; for regression the targets themselves.

        Raises:
            ParameterError: an index is outside [0, C).
        """
        encoded = np.asarray(encoded)
        if self.classes is None:
            return encoded
        if encoded.size and not 0 <= encoded.min() <= encoded.max() < self.n_outputs:
            wrong = encoded.min() if encoded.min() < 0 else encoded.max()
            raise ParameterError.of("encoded", "LabelEncoder.inverse", f"class indices in [0, {self.n_outputs})", wrong)
        classes: npt.NDArray[Any] = np.asarray(self.classes)
        return np.asarray(classes[encoded])

    def to_dict(self) -> dict[str, Any]:
        """The encoder as plain JSON values."""
        classes = None if self.classes is None else list(self.classes)
        return {"task": self.task, "classes": classes, "mean": self.mean, "std": self.std}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> LabelEncoder:
        """The encoder that ``to_dict`` wrote."""
        classes = None if state["classes"] is None else tuple(state["classes"])
        return cls(state["task"], classes, state["mean"], state["std"])


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
