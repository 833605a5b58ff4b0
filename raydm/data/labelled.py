"""Labels as columns of the table that holds the features: by name, or given apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import column_or_1d

from raydm.data.roles import Label
from raydm.data.tables import as_table
from raydm.errors import DataError

_ONE = "__label__"


def named_labels(y: Any, table: pa.Table) -> Label | None:
    """The label columns that ``y`` names; None where it holds the labels themselves.

    Args:
        y: a column's name; a list or tuple of names, some of them of the table and not as many as it has rows; or
            anything else.
        table: N rows.
    """
    if isinstance(y, str):
        return y
    if isinstance(y, list | tuple) and len(y) != table.num_rows and all(isinstance(name, str) for name in y):
        return tuple(y) if set(y) & {*table.column_names} else None
    return None


def with_labels(table: pa.Table, y: Any) -> tuple[pa.Table, Label]:
    """The table with labels that were given apart, and the columns that they became.

    Args:
        table: N rows of features.
        y: (N,) labels; or (N, C) of C > 1 label columns, as an array, nested lists or a table.

    Raises:
        DataError: ``y`` has another number of rows than the table, or a column of it mixes types.

    Warns:
        sklearn.exceptions.DataConversionWarning: ``y`` is (N, 1), and is taken as (N,).
    """
    if not isinstance(y, pa.Array | pa.ChunkedArray):
        shape = y.shape if hasattr(y, "shape") else np.asarray(y, dtype=object).shape
        if len(shape) == 2 and shape[1] > 1:
            return _with_columns(table, y)
        y = column_or_1d(y, warn=True)
    _check_rows(table, len(y))
    return table.append_column(_ONE, [pa.array(y) if isinstance(y, np.ndarray) else y]), _ONE


def _with_columns(table: pa.Table, y: Any) -> tuple[pa.Table, Label]:
    if hasattr(y, "columns") or hasattr(y, "column_names"):
        given = as_table(y, name="y")
        columns = dict(zip(given.column_names, given.columns, strict=True))
    else:
        columns = {}
        for place, values in enumerate(np.asarray(y).T):
            try:
                columns[str(place)] = pa.array(values)
            except pa.ArrowException as error:
                raise DataError(f"y, column {place}: {error}. Give numbers.") from error
    labels = tuple(f"__label_{name}__" for name in columns)
    for label, column in zip(labels, columns.values(), strict=True):
        _check_rows(table, len(column))
        table = table.append_column(label, column)
    return table, labels


def _check_rows(table: pa.Table, labels: int) -> None:
    if labels != table.num_rows:
        raise DataError(f"X has {table.num_rows} rows but y has {labels} labels. Give one label a row.")
