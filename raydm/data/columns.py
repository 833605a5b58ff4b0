"""Column encoders: one per kind of feature, each fitted on the training column alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raydm.data.roles import Kind, is_numeric_type, is_text_type
from raydm.data.vectors import is_vector_type, to_array
from raydm.errors import DataError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
State = dict[str, Any]


BLOCK = 1024  # rows that are widened to float64 at a time: a whole image set would not fit twice


class ColumnEncoder(Protocol):
    """Turns one column of N rows into (N, W) float32."""

    kind: ClassVar[Kind]

    @property
    def width(self) -> int:
        """W, the number of encoded features; 0 where the column held nothing to learn from."""
        ...

    def names(self, column: str) -> list[str]:
        """The W encoded features' names."""
        ...

    def encode(self, column: pa.ChunkedArray, where: str) -> tuple[Floats, list[str]]:
        """(N, W) float32, and what of the column had to be handled; ``where`` names it in messages."""
        ...

    def state(self) -> State:
        """What ``from_state`` needs: JSON values and numpy arrays."""
        ...


@dataclass(frozen=True)
class Numeric:
    """A number per row: standardised, but 0 and 1 alone are only centred; a missing one is the mean.

    If training had missing ones, an indicator stands beside it.

    Attributes:
        mean: the training mean.
        std: what they are divided by: the training standard deviation, or 1; 0 where the numbers were
            constant, which drops them.
        missing: how many training values were missing.
        indicator: whether a 0/1 feature tells the missing ones.
    """

    mean: float
    std: float
    missing: int
    indicator: bool
    kind: ClassVar[Kind] = "numeric"

    @classmethod
    def fit(cls, column: pa.ChunkedArray, where: str) -> tuple[Numeric, list[str]]:
        """The encoder of the training column, and what had to be handled in it."""
        values = numbers_of(column, where)
        present = values[~np.isnan(values)]
        missing = len(values) - len(present)
        notes = [] if not missing else [f"{where}: {missing} missing values imputed with the mean"]
        varies = len(present) > 0 and present.min() < present.max()
        with np.errstate(over="ignore"):
            mean, std = (float(present.mean()), float(present.std())) if varies else (0.0, 0.0)
        if varies and np.isin(present, (0, 1)).all():
            std = 1.0  # dividing by its deviation would blow a rare indicator up
        if not (math.isfinite(mean) and math.isfinite(std)):
            raise DataError(
                f"{where}: values up to {np.abs(present).max():g} are too large to standardise. Rescale them."
            )
        if std == 0.0:
            notes = [f"{where}: constant, dropped" + (f" ({missing} missing values are told apart)" if missing else "")]
        return cls(mean, std, missing, 0 < missing < len(values)), notes

    @property
    def width(self) -> int:
        """The number itself unless constant, and the indicator."""
        return (self.std > 0) + self.indicator

    def names(self, column: str) -> list[str]:
        """The column's name, and ``<column> is missing``."""
        return [column] * (self.std > 0) + [f"{column} is missing"] * self.indicator

    def encode(self, column: pa.ChunkedArray, where: str) -> tuple[Floats, list[str]]:
        """(N, W) float32."""
        values = _numbers(column, where)
        if self.std > 0 and not self.indicator and _all_finite(scaled := self._scaled(values)):
            return scaled[:, None], []  # the usual column, of many millions of rows
        _refuse_infinite(values, where, "an infinite value")
        absent = np.isnan(values)
        parts: list[Floats] = []
        if self.std > 0:
            parts.append(self._scaled(np.where(absent, self.mean, values)))
            _refuse_infinite(parts[0], where, "a value too far from the training mean for float32")
        if self.indicator:
            parts.append(absent.astype(np.float32))
        if not parts:
            return np.empty((len(values), 0), np.float32), []
        return np.stack(parts, axis=1), _newly_missing(
            int(absent.sum()), self.missing, where, "imputed with the training mean"
        )

    def _scaled(self, values: npt.NDArray[np.float64]) -> Floats:
        """(N,) float32."""
        with np.errstate(over="ignore"):
            scaled = values - self.mean
            scaled /= self.std
            return scaled.astype(np.float32)

    def state(self) -> State:
        """The attributes."""
        return vars(self).copy()

    @classmethod
    def from_state(cls, state: State) -> Numeric:
        """The encoder that ``state`` describes."""
        return cls(**state)


@dataclass(frozen=True)
class Categorical:
    """A category per row: one-hot; missing is a category if training had it, an unseen category is all zeros.

    Attributes:
        categories: the training categories as text, sorted; None stands last for the missing.
        numbers: whether the categories are numbers.
    """

    categories: tuple[str | None, ...]
    numbers: bool
    kind: ClassVar[Kind] = "categorical"

    @classmethod
    def fit(cls, column: pa.ChunkedArray, where: str) -> tuple[Categorical, list[str]]:
        """The encoder of the training column, and what had to be handled in it."""
        values, numbers = _categories(column, where)
        present = tuple(sorted(value for value in values.unique().to_pylist() if value is not None))
        categories = present + (None,) * (values.null_count > 0)
        if len(categories) < 2:
            return cls((), numbers), [f"{where}: constant, dropped"]
        notes = [f"{where}: {values.null_count} missing values are a category of their own"] * (None in categories)
        return cls(categories, numbers), notes

    @property
    def width(self) -> int:
        """The number of categories."""
        return len(self.categories)

    def names(self, column: str) -> list[str]:
        """``<column>=<category>``, and ``<column> is missing``."""
        return [f"{column} is missing" if c is None else f"{column}={c}" for c in self.categories]

    def encode(self, column: pa.ChunkedArray, where: str) -> tuple[Floats, list[str]]:
        """(N, W) float32 of 0 and 1."""
        values, numbers = _categories(column, where)
        if numbers != self.numbers and values.null_count < len(values):
            came, was = ("numbers", "text") if numbers else ("text", "numbers")
            raise DataError(f"{where}: {came} where training had {was}. Write the column in the same type.")
        x = np.zeros((len(values), self.width), np.float32)
        if not self.width:
            return x, []
        known = [c for c in self.categories if c is not None]
        places = pc.index_in(values, pa.array(known, pa.string())).to_numpy(zero_copy_only=False).astype(np.float64)
        absent = values.is_null().to_numpy(zero_copy_only=False)
        if None in self.categories:
            places[absent] = len(known)
        rows = np.flatnonzero(~np.isnan(places))
        x[rows, places[rows].astype(np.int64)] = 1
        events = []
        if unseen := int((np.isnan(places) & ~absent).sum()):
            first = values[int(np.flatnonzero(np.isnan(places) & ~absent)[0])].as_py()
            events.append(
                f"{where}: {unseen} values of categories that training lacks (first {first!r}), encoded as zeros"
            )
        seen = int(None in self.categories)
        return x, events + _newly_missing(int(absent.sum()), seen, where, "encoded as zeros")

    def state(self) -> State:
        """The attributes."""
        return {"categories": list(self.categories), "numbers": self.numbers}

    @classmethod
    def from_state(cls, state: State) -> Categorical:
        """The encoder that ``state`` describes."""
        return cls(tuple(state["categories"]), state["numbers"])


@dataclass(frozen=True)
class Vector:
    """An array per row: flattened, scaled by one mean and one standard deviation over the whole training column.

    One scale for all values keeps a rarely lit pixel from being blown up.

    Attributes:
        shape: a row's shape.
        mean: the mean of all training values.
        std: their standard deviation; 0 where they were constant, which drops the column.
        missing: how many training values were missing; they become the mean.
    """

    shape: tuple[int, ...]
    mean: float
    std: float
    missing: int
    kind: ClassVar[Kind] = "vector"

    @classmethod
    def fit(cls, column: pa.ChunkedArray, where: str) -> tuple[Vector, list[str]]:
        """The encoder of the training column, and what had to be handled in it."""
        values = _vectors(column, where)
        low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if values.size else (0.0, 0.0)
        missing = int(np.isnan(values).sum())
        if not low < high:  # also where all are NaN
            return cls(values.shape[1:], 0.0, 0.0, missing), [f"{where}: constant, dropped"]
        mean = float(np.nanmean(values, dtype=np.float64))
        squares = sum(
            float(np.nansum(np.square(values[start : start + BLOCK].astype(np.float64) - mean)))
            for start in range(0, len(values), BLOCK)
        )
        std = math.sqrt(squares / (values.size - missing))
        notes = [f"{where}: {missing} missing values inside vectors imputed with the mean"] * (missing > 0)
        return cls(values.shape[1:], mean, std, missing), notes

    @property
    def width(self) -> int:
        """The number of values in a row's array."""
        return math.prod(self.shape) if self.std > 0 else 0

    def names(self, column: str) -> list[str]:
        """``<column>[i,j,...]`` in C order."""
        places = np.ndindex(*self.shape) if self.width else ()
        return [f"{column}[{','.join(map(str, place))}]" for place in places]

    def encode(self, column: pa.ChunkedArray, where: str) -> tuple[Floats, list[str]]:
        """(N, W) float32."""
        values = _vectors(column, where)
        if len(values) and values.shape[1:] != self.shape:
            raise DataError(f"{where}: arrays of shape {values.shape[1:]} where training had {self.shape}.")
        if not self.width:
            return np.empty((len(values), 0), np.float32), []
        flat = values.reshape(len(values), self.width)
        x = np.empty(flat.shape, np.float32)
        for start in range(0, len(flat), BLOCK):
            rows = slice(start, start + BLOCK)
            with np.errstate(over="ignore"):
                x[rows] = (flat[rows].astype(np.float64) - self.mean) / self.std
        absent = np.isnan(x)
        x[absent] = 0
        _refuse_infinite(x, where, "a value too far from the training mean for float32")
        return x, _newly_missing(int(absent.sum()), self.missing, where, "imputed with the training mean")

    def state(self) -> State:
        """The attributes."""
        return vars(self) | {"shape": list(self.shape)}

    @classmethod
    def from_state(cls, state: State) -> Vector:
        """The encoder that ``state`` describes."""
        return cls(**(state | {"shape": tuple(state["shape"])}))


def text_or_missing(column: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    """A column's strings, null where missing; DataError where it holds something else."""
    if not (is_text_type(column.type) or pa.types.is_null(column.type)):
        raise DataError(f"{where}: Arrow type {column.type} where text was expected. Convert it to strings.")
    return column.cast(pa.string())


def numbers_of(column: pa.ChunkedArray, where: str) -> npt.NDArray[np.float64]:
    """The numbers of a numeric column: (N,) float64, NaN where missing, times as seconds; never infinite.

    Raises:
        DataError: it holds something else, or an infinite value; `where` says which column.
    """
    values = _numbers(column, where)
    _refuse_infinite(values, where, "an infinite value")
    return values


def _numbers(column: pa.ChunkedArray, where: str) -> npt.NDArray[np.float64]:
    """As `numbers_of`, but they may be infinite."""
    kind = column.type
    if not is_numeric_type(kind):
        raise DataError(f"{where}{_first_text(column)}: Arrow type {kind} where numbers were expected.")
    if pa.types.is_temporal(kind):
        return _seconds(column)
    values: npt.NDArray[np.float64]
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    if column.null_count or not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        values = column.cast(pa.float64(), safe=False).to_numpy()
    else:
        values = column.to_numpy().astype(np.float64)  # as Arrow's cast, in a third of the time
    return values


def _seconds(column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """Seconds since 1970 of points in time, since midnight of times of day, or of durations."""
    kind = column.type
    if pa.types.is_date(kind):
        column, kind = column.cast(pa.timestamp("s")), pa.timestamp("s")
    unit = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
    whole = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    return np.asarray(whole.cast(pa.float64(), safe=False).to_numpy() / unit)


def _first_text(column: pa.ChunkedArray) -> str:
    """The first row of a text column that is no number, for a message."""
    if is_text_type(column.type):
        for row, value in enumerate(column.to_pylist(), 1):
            try:
                float("nan" if value is None else value)
            except ValueError:
                return f", row {row}: text {value[:40]!r}"
    return ""


def _categories(column: pa.ChunkedArray, where: str) -> tuple[pa.ChunkedArray, bool]:
    """The categories as text, and whether they are numbers; 1 and 1.0 are the same category."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if is_text_type(column.type):
        return column.cast(pa.string()), False
    values = numbers_of(column, where)
    spelled = [None if math.isnan(v) else str(int(v)) if v.is_integer() else repr(v) for v in values.tolist()]
    return pa.chunked_array([pa.array(spelled, pa.string())]), True


def _vectors(column: pa.ChunkedArray, where: str) -> Array:
    """(N, *shape) numbers, NaN where missing; never infinite."""
    if not is_vector_type(column.type):
        raise DataError(f"{where}: Arrow type {column.type} where arrays of numbers were expected.")
    values = to_array(column, name=where)
    _refuse_infinite(values, where, "an infinite value")
    return values


def _all_finite(values: Array) -> bool:
    """Whether no value is missing or infinite; may also deny it where values are as large as can be."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))


def _refuse_infinite(values: Array, where: str, what: str) -> None:
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.argwhere(infinite)[0][0]) + 1
        raise DataError(f"{where}, row {row}: {what}. Mend or drop the row, or make the value missing.")


def _newly_missing(count: int, in_training: int, where: str, handled: str) -> list[str]:
    if not count or in_training:
        return []
    return [f"{where}: {count} missing values where training had none, {handled}"]
