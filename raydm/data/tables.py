"""Whatever holds a person's data, as one Arrow table."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data.files import check_names, read_table
from raydm.data.vectors import vector_column
from raydm.errors import DataError

ACCEPTED = (
    "a path, a pyarrow.Table, a pandas or polars DataFrame, a Hugging Face datasets.Dataset, "
    "a torch Dataset of (x, y) or dicts, or a numeric array of shape (N, ...)"
)


def as_table(obj: Any, *, name: str = "X") -> pa.Table:
    """The data as an Arrow table; nothing is copied that Arrow can share.

    A numeric array of shape (N, ...) becomes one vector column ``x``. A torch Dataset's pairs become the columns ``x``
    and ``y``, its dicts one column per key; tensors are stacked, and torch's images (C, H, W) with 1 or 3 channels are
    turned to (H, W, C). A named pandas index becomes a column. A Hugging Face ``ClassLabel`` becomes its names.

    Args:
        obj: a path or sequence of paths (see ``read_table``), a ``pyarrow.Table``, a pandas or polars DataFrame, a
            ``datasets.Dataset``, a torch Dataset, or an array of shape (N, ...) with at least two axes.
        name: what to call the object in messages.

    Returns:
        A table without schema metadata, its text columns of type ``string``.

    Raises:
        DataError: the object is none of these, cannot be read, or repeats a column name.
    """
    table = _convert(obj, name)
    check_names(table.column_names, name)
    return _plain(table)


def _convert(obj: Any, name: str) -> pa.Table:
    if isinstance(obj, pa.Table):
        return obj
    if isinstance(obj, str | os.PathLike) or (
        isinstance(obj, list | tuple) and obj and all(isinstance(part, str | os.PathLike) for part in obj)
    ):
        return read_table(obj)
    if isinstance(obj, np.ndarray):
        return pa.table({"x": _vector(obj, name)})
    # An object of an optional library can only exist where that library is already imported.
    if _is(obj, "pandas", "DataFrame"):
        return _from_pandas(obj, name)
    if _is(obj, "polars", "LazyFrame"):
        obj = obj.collect()
    if _is(obj, "polars", "DataFrame"):
        return obj.to_arrow()
    if _is(obj, "datasets", "DatasetDict"):
        raise DataError(
            f"{name}: a DatasetDict with the splits {sorted(obj)}. Pass one, as {name}[{sorted(obj)[0]!r}]."
        )
    if _is(obj, "datasets", "Dataset"):
        return _from_datasets(obj)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(obj, torch.utils.data.Dataset):
        streamed = isinstance(obj, torch.utils.data.IterableDataset)
        return _from_items(obj if streamed else (obj[i] for i in range(len(obj))), name)
    raise DataError(f"{name}: cannot make a table of {type(obj).__module__}.{type(obj).__name__}. Pass {ACCEPTED}.")


def _is(obj: Any, module: str, name: str) -> bool:
    kind = getattr(sys.modules.get(module), name, None)
    return kind is not None and isinstance(obj, kind)


def _vector(array: npt.NDArray[Any], name: str) -> pa.Array:
    try:
        return vector_column(array)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None


def _from_pandas(frame: Any, name: str) -> pa.Table:
    named = any(level is not None for level in frame.index.names)
    frame = frame.reset_index(allow_duplicates=True) if named else frame
    columns = [str(column) for column in frame.columns]
    check_names(columns, name)
    frame = frame.set_axis(columns, axis=1)
    for column in columns:
        if frame[column].dtype == object and len(frame) and np.ndim(frame[column].iloc[0]) > 1:
            # Arrow takes nested lists, but no arrays of two axes or more.
            frame = frame.assign(**{column: frame[column].map(lambda cell: np.asarray(cell).tolist())})
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except pa.ArrowException as error:
        raise DataError(f"{name}: {error}. Give every column values of one type.") from error


def _from_datasets(dataset: Any) -> pa.Table:
    """The rows in the dataset's present order (after select, shuffle, filter)."""
    table = dataset.with_format("arrow")[:]
    for place, column in enumerate(table.column_names):
        names = getattr(dataset.features[column], "names", None)
        if names is None or isinstance(dataset.features[column], dict):
            continue
        codes = table.column(place).to_pandas().to_numpy(dtype=np.float64, na_value=-1)
        codes = pa.array(codes.astype(np.int32), mask=codes < 0)  # -1 is how the library writes "no label"
        table = table.set_column(place, column, pa.DictionaryArray.from_arrays(codes, pa.array(names)))
    return table


def _from_items(items: Iterable[Any], name: str) -> pa.Table:
    """Items of a torch Dataset, stacked column by column."""
    rows = [item if isinstance(item, dict) else _pair(item, row, name) for row, item in enumerate(items, 1)]
    if not rows:
        raise DataError(f"{name}: the dataset yields no items. At least one row is needed.")
    for row, item in enumerate(rows, 1):
        if item.keys() != rows[0].keys():
            raise DataError(f"{name}, row {row}: keys {sorted(item)} where row 1 has {sorted(rows[0])}.")
    return pa.table({str(key): _stack([item[key] for item in rows], str(key), name) for key in rows[0]})


def _pair(item: Any, row: int, name: str) -> dict[str, Any]:
    if isinstance(item, Sequence) and not isinstance(item, str) and len(item) == 2:
        return {"x": item[0], "y": item[1]}
    raise DataError(f"{name}, row {row}: a dataset must yield (x, y) or dicts, got {type(item).__name__}.")


def _stack(values: list[Any], column: str, name: str) -> pa.Array:
    first = values[0]
    if not hasattr(first, "shape"):
        try:
            return pa.array(values)
        except pa.ArrowException as error:
            raise DataError(f"{name}, column {column!r}: {error}. Yield numbers, strings or tensors.") from error
    arrays = [np.asarray(value) for value in values]
    for row, array in enumerate(arrays, 1):
        if array.shape != arrays[0].shape:
            raise DataError(
                f"{name}, column {column!r}, row {row}: shape {array.shape} where row 1 has {arrays[0].shape}."
            )
    stacked = np.stack(arrays)
    if stacked.ndim == 1:
        return pa.array(stacked)
    if stacked.ndim == 4 and stacked.shape[1] in (1, 3) and stacked.shape[3] not in (1, 3):
        stacked = np.moveaxis(stacked, 1, 3)
    return _vector(stacked, f"{name}, column {column!r}")


def _plain(table: pa.Table) -> pa.Table:
    """One spelling for text and lists, so that tables from different libraries are alike."""
    for place, field in enumerate(table.schema):
        kind = _plain_type(field.type)
        if kind != field.type:
            table = table.set_column(place, field.name, table.column(place).cast(kind))
    return pa.Table.from_arrays(table.columns, names=table.column_names)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_list(kind):
        return pa.list_(kind.value_type)
    if pa.types.is_dictionary(kind) and _plain_type(kind.value_type) != kind.value_type:
        return pa.dictionary(pa.int32(), _plain_type(kind.value_type))
    return kind
