"""Vector columns: one array per row, kept in Arrow with its shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raydm.errors import DataError

Array = npt.NDArray[Any]


def vector_column(array: Array) -> pa.FixedShapeTensorArray:
    """One array per row as an Arrow column that keeps its shape through Parquet and Arrow files.

    Args:
        array: (N, ...) numbers or booleans with at least two axes; the axes after the first are a row's shape.

    Returns:
        A ``fixed_shape_tensor`` array of N rows; booleans become ``uint8``.

    Raises:
        DataError: the array has fewer than two axes, an empty row, or is not made of numbers.
    """
    array = np.asarray(array)
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    size = math.prod(array.shape[1:])
    if array.ndim < 2 or size == 0 or array.dtype.kind not in "iuf":
        raise DataError(
            f"A vector column needs numbers of shape (N, ...) with at least one value a row, "
            f"got shape {array.shape} of {array.dtype}. Pass a numeric array with rows first."
        )
    values = pa.array(np.ascontiguousarray(array).reshape(-1))
    # `from_numpy_ndarray` would add a permutation to the type, and Arrow cannot join chunks of such types.
    return pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(values.type, list(array.shape[1:])), pa.FixedSizeListArray.from_arrays(values, size)
    )


def is_vector_type(kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type holds one array of numbers per row."""
    kind = _storage_type(kind)
    if not _is_list(kind):
        return False
    while _is_list(kind):
        kind = kind.value_type
    return bool(_is_number(kind))


def to_array(column: pa.ChunkedArray | pa.Array, *, name: str = "the column") -> Array:
    """The rows of a vector column, in their shape.

    Args:
        column: N rows of type ``fixed_shape_tensor``, or (nested) lists of numbers of one length.
        name: what to call the column in messages.

    Returns:
        (N, *shape) in the column's own number type; where a row or a value is null, floats with NaN there.

    Raises:
        DataError: the column does not hold arrays of numbers, or its rows differ in shape.
    """
    if not is_vector_type(column.type):
        raise DataError(f"{name} must hold one array of numbers per row, got Arrow type {column.type}.")
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    storage = _storage_type(column.type)
    # Joining the storage, not the extension: types with a permutation refuse to be joined.
    rows = pa.chunked_array([_storage(chunk) for chunk in chunks], type=storage).combine_chunks()
    values = _unnest(rows, name)
    if isinstance(column.type, pa.FixedShapeTensorType):
        values = values.reshape(len(rows), *column.type.shape)
        if column.type.permutation is not None:
            values = values.transpose([0, *(axis + 1 for axis in column.type.permutation)])
    return values


def to_matrix(column: pa.ChunkedArray | pa.Array, *, name: str = "the column") -> Array:
    """The rows of a vector column, each flattened: (N, D); otherwise as ``to_array``."""
    values = to_array(column, name=name)
    return values.reshape(len(values), math.prod(values.shape[1:]))


def _unnest(rows: pa.Array, name: str) -> Array:
    """(N, *shape) of (nested) lists; a null row becomes NaN."""
    present = np.asarray(rows.is_valid())
    level = rows.drop_null() if rows.null_count else rows
    where = np.flatnonzero(present)
    shape: list[int] = []
    while _is_list(level.type):
        lengths = pc.list_value_length(level)
        each = math.prod(shape)
        if lengths.null_count:
            first = int(np.flatnonzero(np.asarray(lengths.is_null()))[0]) // each
            raise DataError(
                f"{name}, row {where[first] + 1}: a list inside the vector is missing. Fill or drop the row."
            )
        sizes = lengths.to_numpy(zero_copy_only=False)
        different = np.flatnonzero(sizes != sizes[0]) if len(sizes) else sizes
        if len(different):
            raise DataError(
                f"{name}, row {where[different[0] // each] + 1}: a vector of length {sizes[different[0]]} where row "
                f"{where[0] + 1} has length {sizes[0]}. Every row must have the same shape."
            )
        fixed = level.type.list_size if pa.types.is_fixed_size_list(level.type) else 0
        shape.append(int(sizes[0]) if len(sizes) else fixed)
        level = level.flatten()
    if pa.types.is_decimal(level.type):
        level = level.cast(pa.float64())
    elif pa.types.is_boolean(level.type):
        level = level.cast(pa.uint8())
    values: Array = level.to_numpy(zero_copy_only=False).reshape(len(where), *shape)
    if len(where) == len(present):
        return values
    filled = np.full((len(present), *shape), np.nan, np.result_type(values.dtype, np.float32))
    filled[present] = values
    return filled


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _storage_type(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )
