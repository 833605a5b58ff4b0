"""From a block of a table to ids, points and labels, alike wherever it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data import Kind, LabelEncoder, Roles, TableEncoder, to_matrix
from raydm.data.prepare import Fitted
from raydm.data.roles import PANDAS_INDEX, check_column, infer_kinds, is_numeric_type, is_text_type
from raydm.errors import DataError, ParameterError

By = Literal["data", "label"]
BY: tuple[By, ...] = get_args(By)
USUAL_LABELS = ("label", "y", "target")


@dataclass(frozen=True)
class Plain:
    """Features that are one vector a row, taken as they are: distances are in their own unit.

    Attributes:
        column: the vector column.
        d: D.
    """

    column: str
    d: int

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return [self.column]

    def encode(self, table: pa.Table, where: str) -> tuple[npt.NDArray[np.float32], list[str]]:
        """Points (B, D), and nothing to warn of.

        Raises:
            DataError: a vector is missing, has another length, or holds a value that is no finite float32.
        """
        x = to_matrix(table.column(self.column), name=f"{where}, column {self.column!r}")
        if x.shape[1] != self.d:
            raise DataError(
                f"{where}, column {self.column!r}: vectors of {x.shape[1]} numbers where others have {self.d}."
            )
        with np.errstate(over="ignore"):
            x = np.ascontiguousarray(x, dtype=np.float32)
        wrong = ~np.isfinite(x)
        if wrong.any():
            row = int(wrong.any(1).argmax())
            raise DataError(
                f"{where}, column {self.column!r}, row {row + 1}: {x[row][wrong[row]][0]} where a finite "
                "number was expected. Mend or drop the row."
            )
        return x, []


@dataclass(frozen=True)
class Table:
    """Features that a table encoder makes.

    Attributes:
        encoder: fitted.
    """

    encoder: TableEncoder

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return list(self.encoder.columns)

    @property
    def d(self) -> int:
        """D."""
        return len(self.encoder.feature_names)

    def encode(self, table: pa.Table, where: str) -> tuple[npt.NDArray[np.float32], list[str]]:
        """Points (B, D), and what to warn of.

        Raises:
            DataError: as `TableEncoder.transform`.
        """
        return self.encoder.transform_with_events(table, name=where)


@dataclass(frozen=True)
class Encoded:
    """B rows.

    Attributes:
        ids: (B,) int64: the ids where they are integers, else the rows' numbers.
        names: the ids where they are not integers, as strings; else None.
        x: (B, D) float32; None where nobody asked for features.
        y: (B,) or (B, C), as the label encoder gives them; None where nobody asked for labels.
        events: what to warn of.
        label_scale: what labels are divided by before distances are taken: a number, or one of each column.
    """

    ids: npt.NDArray[np.int64]
    names: pa.Array | None
    x: npt.NDArray[np.float32] | None
    y: npt.NDArray[Any] | None
    events: list[str]
    label_scale: float | tuple[float, ...] = 1.0

    def points(self, by: By) -> npt.NDArray[Any]:
        """What distances are taken of: features (B, D) float32, or labels (B, C) float64."""
        if by == "data":
            return cast(npt.NDArray[np.float32], self.x)
        y = np.asarray(self.y, np.float64)
        return np.asarray(y.reshape(len(y), -1) / np.asarray(self.label_scale))


@dataclass(frozen=True)
class RowEncoder:
    """What a block's rows are: their ids, features and labels.

    Attributes:
        id: the id column; None: rows are named by their numbers.
        id_type: of the ids in results: that of the column where it holds integers, else string.
        features: how features are encoded; None: they are not read.
        label_columns: read as labels; empty: none.
        labels: their encoder. Distances of labels are in units of its standard deviation.
    """

    id: str | None
    id_type: pa.DataType
    features: Plain | Table | None
    label_columns: tuple[str, ...] = ()
    labels: LabelEncoder | None = None
    has_names: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "has_names", not pa.types.is_integer(self.id_type))

    @property
    def notes(self) -> list[str]:
        """What was done to features while their encoder was fitted, such as missing values that are imputed."""
        return self.features.encoder.notes if isinstance(self.features, Table) else []

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        features = [] if self.features is None else self.features.columns
        return list(dict.fromkeys([*features, *self.label_columns, *([self.id] if self.id else [])]))

    def encode(self, first: int, table: pa.Table, where: str) -> Encoded:
        """A block.

        Args:
            first: the number of its first row.
            table: B rows.
            where: what to call them in messages.

        Raises:
            DataError: an id is missing or no integer or text, or features or labels cannot be encoded.
        """
        x, events = (None, []) if self.features is None else self.features.encode(table, where)
        y = None
        if self.labels is not None:
            y = self.labels.transform_columns(table, self.label_columns, name=where)
        scale = 1.0 if self.labels is None else self.labels.std
        return Encoded(*self._ids(first, table, where), x, y, events, scale)

    def _ids(self, first: int, table: pa.Table, where: str) -> tuple[npt.NDArray[np.int64], pa.Array | None]:
        numbers = np.arange(first, first + table.num_rows)
        if self.id is None:
            return numbers, None
        column = table.column(self.id)
        if column.null_count:
            row = int(column.is_null().to_numpy().argmax()) + 1
            raise DataError(f"{where}, column {self.id!r}, row {row}: the id is missing. Give every row an id.")
        try:
            if not self.has_names:
                return column.cast(pa.int64()).to_numpy(), None
            return numbers, _text(column).combine_chunks()
        except pa.ArrowException as error:
            raise DataError(
                f"{where}, column {self.id!r}: {error}. Ids must be integers (of 64 bits) or text."
            ) from error

    def id_column(self, ids: npt.NDArray[np.int64]) -> pa.Array:
        """Integer ids in the type of the id column."""
        return pa.array(ids).cast(self.id_type)


def id_type_of(schema: pa.Schema, id: str | None) -> pa.DataType:
    """The type of ids in results: that of the id column where it holds integers, else string; int64 of row numbers."""
    kind = schema.field(id).type if id else pa.int64()
    return kind if pa.types.is_integer(kind) else pa.string()


def rows_of(fitted: Fitted, schema: pa.Schema) -> RowEncoder:
    """How rows are encoded by what a training set taught, such as a run: features and labels.

    Args:
        fitted: with its ``encoder``, ``labels`` and ``roles``.
        schema: of the rows; the id column may be absent.
    """
    id = fitted.roles.id if fitted.roles.id in schema.names else None
    return RowEncoder(id, id_type_of(schema, id), Table(fitted.encoder), fitted.roles.labels, fitted.labels)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    return column if is_text_type(column.type) and column.type == pa.string() else column.cast(pa.string())


def fit_rows(
    sample: pa.Table,
    *,
    by: By = "data",
    id: str | None = None,
    features: Sequence[str] | None = None,
    label: Sequence[str] | None = None,
    kinds: Mapping[str, Kind] | None = None,
    name: str,
) -> RowEncoder:
    """Learns from a sample how rows are encoded.

    A single vector column is taken as it is; any other features are encoded by a `TableEncoder` that is fitted on the
    sample: means, deviations and categories are those of the sample.

    Args:
        sample: S rows drawn at random, at least one.
        by: what distances are taken of: the features, or the labels, which then are not encoded.
        id: the id column; None: one named ``id``, else the rows are numbered.
        features: the feature columns; None: all but ids and labels.
        label: the label columns, whose labels are numbers; None: one named label, y or target, if there is one.
        kinds: of features, as `raydm.data.infer_roles` takes them.
        name: what to call the table in messages.

    Raises:
        DataError: a column is absent or cannot be encoded, or labels are no numbers.
        ParameterError: columns that do not fit together.
    """
    for column in (*(label or ()), *([id] if id else []), *(features or ())):
        check_column(sample, column, what="label" if column in (label or ()) else "id or feature", name=name)
    if label is None:
        label = [column for column in USUAL_LABELS if column in sample.column_names and column != id][:1]
    if id is None:
        taken = {*label, *(features or ())}
        id = next((c for c in sample.column_names if c.lower() == "id" and c not in taken), None)
    if len({*label}) < len(label) or id in label:
        raise ParameterError.of("label", "fit_rows", "different columns, the id not among them", list(label))
    id_type = id_type_of(sample.schema, id)
    if by == "label":
        if not label:
            raise ParameterError("by='label' needs the label columns: name them with --label.")
        for column in label:
            if not is_numeric_type(sample.schema.field(column).type):
                kind = sample.schema.field(column).type
                raise DataError(f"{name}, column {column!r}: Arrow type {kind}. Distances of labels need numbers.")
        zeros, ones = (tuple([v] * len(label)) if len(label) > 1 else v for v in (0.0, 1.0))
        return RowEncoder(id, id_type, None, tuple(label), LabelEncoder("regression", None, zeros, ones))
    if features is None:
        features = [c for c in sample.column_names if c not in (*label, id) and not PANDAS_INDEX.fullmatch(c)]
    chosen = list(features)
    if not chosen:
        raise DataError(f"{name}: no feature column beside the labels {list(label)} and the id {id!r}.")
    if len({*chosen}) < len(chosen) or {*chosen} & {*label}:
        raise ParameterError.of("features", "fit_rows", "different columns, the label not among them", chosen)
    kind_of = infer_kinds(sample, chosen, kinds, name=name)
    if list(kind_of.values()) == ["vector"]:
        d = to_matrix(sample.column(chosen[0]), name=f"{name}, column {chosen[0]!r}").shape[1]
        return RowEncoder(id, id_type, Plain(chosen[0], d))
    encoder = TableEncoder.fit(sample, Roles((), id, kind_of), name=name)
    return RowEncoder(id, id_type, Table(encoder))
