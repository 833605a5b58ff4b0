"""A table's fingerprint: the same for the same content, however it is chunked."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def fingerprint(table: pa.Table) -> str:
    """The SHA-256 over column names, types and values, in hexadecimal.

    It does not depend on how the rows are cut into chunks, on schema metadata, or on the order of a dictionary's
    entries; it does depend on the order of rows and of columns.

    Args:
        table: any table of numbers, text, times, lists, tensors or structs.

    Returns:
        64 hexadecimal digits.
    """
    whole = hashlib.sha256()
    for field, column in zip(table.schema, table.columns, strict=True):
        streams: dict[str, Any] = {}
        for chunk in column.chunks:
            _feed(chunk, "", streams)
        digests = "".join(f"{part}={stream.hexdigest()};" for part, stream in sorted(streams.items()))
        whole.update(f"{field.name!r}:{field.type}:{len(column)}:{digests}\n".encode())
    return whole.hexdigest()


def _feed(array: pa.Array, part: str, streams: dict[str, Any]) -> None:
    """Adds an array to the streams (validity, lengths, values), none of which knows where a chunk ends."""
    if len(array) == 0:
        return
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    kind = array.type

    def add(name: str, data: Any) -> None:
        streams.setdefault(part + name, hashlib.sha256()).update(data)

    add("valid", np.asarray(array.is_valid()).tobytes())
    array = array.drop_null()
    if pa.types.is_null(kind):
        return
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        add("lengths", pc.list_value_length(array).cast(pa.int64()).to_numpy().tobytes())
        _feed(array.flatten(), part + "item.", streams)
    elif pa.types.is_struct(kind):
        for place, field in enumerate(kind):
            _feed(array.field(place), f"{part}{field.name}.", streams)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        add("values", array.to_numpy(zero_copy_only=False).tobytes())
    elif pa.types.is_temporal(kind):
        add("values", array.view(pa.int64() if kind.bit_width == 64 else pa.int32()).to_numpy().tobytes())
    else:
        binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
        text = array.cast(pa.large_binary() if binary else pa.large_string())
        add("lengths", pc.binary_length(text).cast(pa.int64()).to_numpy().tobytes())
        add("values", b"".join(value if binary else value.encode() for value in text.to_pylist()))
