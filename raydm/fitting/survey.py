"""What must be known of rows before any is encoded: labels, weights, how many count, by two passes over few columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raydm.data import LabelEncoder, Roles
from raydm.data.blocks import Rows
from raydm.data.labels import TaskKind
from raydm.data.roles import check_column, is_numeric_type
from raydm.errors import DataError
from raydm.fitting.rows import ID, Part, check_ids
from raydm.neighborhood import taken
from raydm.seeding import stream

_SAMPLE_ROWS = 2**17
_SAMPLE_BYTES = 2**29
_SAMPLE_BLOCKS = 64
_MANY_ROWS = 2**22  # of which labels are not held at once
_MANY_CLASSES = 2**16
_FEW_CLASSES = 20  # as `raydm.data.LabelEncoder.fit` tells classes from targets


@dataclass(frozen=True)
class Survey:
    """What was found.

    Attributes:
        counts: how many rows of each block weigh anything.
        location: (C,) the weighted mean of targets; 0 for classes.
        scale: (C,) their weighted deviation, > 0; 1 for classes.
    """

    counts: npt.NDArray[np.int64]
    location: list[float]
    scale: list[float]


def sampled(rows: Rows, block: int, seed: int) -> pa.Table:
    """Rows to learn encoders from: all, or where these are too many, some of some blocks, in their order."""
    most = int(min(_SAMPLE_ROWS, max(block, _SAMPLE_BYTES / max(rows.row_bytes, 1))))
    if len(rows) <= most:
        return pa.concat_tables([table for _, table in rows.blocks(rows=block)])
    rng, count = stream(seed, "encoder"), -(-len(rows) // block)
    parts = list[pa.Table]()
    for number in np.sort(rng.choice(count, min(_SAMPLE_BLOCKS, count), replace=False)):
        first = int(number) * block
        end = min(first + block, len(rows))
        some = np.sort(rng.permutation(end - first)[: -(-most // _SAMPLE_BLOCKS)]) + first
        parts.extend(taken(at, table, some) for at, table in rows.blocks((first, end), rows=block))
    return pa.concat_tables(parts)


def labels_of(
    rows: Rows, sample: pa.Table, labels: Sequence[str], *, task: TaskKind | None, block: int, name: str
) -> LabelEncoder:
    """The encoder of the labels: of few rows as `LabelEncoder.fit_columns` makes it, of many by what is distinct.

    Args:
        rows: all of them.
        sample: some, with the labels, for the scale of targets.
        labels: the label columns.
        task: where it should not be told by the labels.
        block: rows that are read at once.
        name: what to call the rows in messages.

    Raises:
        DataError: as there; or there are too many classes.
    """
    for label in labels:
        check_column(rows.schema.empty_table(), label, what="label", name=name)
    if len(rows) <= _MANY_ROWS:
        whole = pa.concat_tables([table for _, table in rows.blocks(columns=list(labels), rows=block)])
        return LabelEncoder.fit_columns(whole, labels, task=task, name=name)
    if len(labels) > 1:
        return LabelEncoder.fit_columns(sample, labels, task=task, name=name)
    distinct = _distinct(rows, labels[0], block)
    numbers = is_numeric_type(distinct.type) and not pa.types.is_boolean(distinct.type)
    if task is None and numbers:
        whole_numbers = pc.all(pc.equal(distinct, pc.floor(distinct.cast(pa.float64())))).as_py()
        few = len(distinct) <= max(_FEW_CLASSES, math.sqrt(len(rows)))
        task = "classification" if few and whole_numbers else "regression"
    if task != "regression" and len(distinct) > _MANY_CLASSES:
        raise DataError(f"{name}, column {labels[0]!r}: more than {_MANY_CLASSES} classes. Name another label.")
    chosen = sample if task == "regression" else pa.table({labels[0]: distinct})
    return LabelEncoder.fit_columns(chosen, labels, task=task, name=name)


def _distinct(rows: Rows, label: str, block: int) -> pa.ChunkedArray:
    """The distinct labels; where there are many, only so many that this is known."""
    found = pa.chunked_array([], rows.schema.field(label).type)
    for _, table in rows.blocks(columns=[label], rows=block):
        column = table.column(0)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        chunks = [*found.chunks, *column.chunks] if len(found) else column.chunks
        found = pa.chunked_array([pa.chunked_array(chunks, column.type).unique()])
        if len(found) > _MANY_CLASSES:
            break
    return found


def surveyed(parts: Sequence[Part], labels: LabelEncoder, roles: Roles, block: int) -> Survey:
    """Weighs all rows, and looks whether weights are of these rows.

    Raises:
        DataError: weights of other rows, or that cannot be used; a label that cannot be read; or nothing weighs.
    """
    counts: list[int] = []
    sums = _Sums(labels.n_outputs)
    for part in parts:
        for first, table in part.rows.blocks(columns=_columns(part, roles), rows=block):
            where = part.rows.where(first, table.num_rows)
            w = part.weights_of(first, table.num_rows, block)
            _check_ids(part, roles, first, table, where, block)
            counts.append(int((w > 0).sum()))
            y = labels.transform_columns(table, roles.labels, name=where)
            if labels.task == "regression":
                sums.add(y.reshape(len(y), -1).astype(np.float64), w.astype(np.float64))
    if not sum(counts):
        raise DataError("No row weighs anything, so there is nothing to fit. Select rows of lower values, or all.")
    return Survey(np.array(counts, np.int64), *sums.moments(labels.task))


def _columns(part: Part, roles: Roles) -> list[str]:
    has_id = part.weights is not None and ID in part.weights.rows.schema.names
    named = has_id and roles.id is not None and roles.id in part.rows.schema.names
    return list(dict.fromkeys([*roles.labels, *([str(roles.id)] if named else [])]))


def _check_ids(part: Part, roles: Roles, first: int, table: pa.Table, where: str, block: int) -> None:
    weights = part.weights
    if weights is None or ID not in weights.rows.schema.names:
        return
    count = table.num_rows
    _, told = next(weights.rows.blocks((first, first + count), columns=[ID], rows=block))
    own = table.column(str(roles.id)) if roles.id in table.column_names else None
    ids = pa.chunked_array([pa.array(np.arange(first, first + count))]) if own is None else own
    check_ids(ids, told.column(ID), where, weights.rows.where(first, count))


class _Sums:
    """Weighted mean and deviation of targets that come in blocks, around the first one, for precision."""

    def __init__(self, outputs: int) -> None:
        self._zero: npt.NDArray[np.float64] | None = None
        self._w, self._first, self._second = 0.0, np.zeros(outputs), np.zeros(outputs)

    def add(self, y: npt.NDArray[np.float64], w: npt.NDArray[np.float64]) -> None:
        present = w > 0
        y, w = y[present], w[present]
        if not len(y):
            return
        self._zero = y[0] if self._zero is None else self._zero
        apart = y - self._zero
        self._w += float(w.sum())
        self._first += w @ apart
        self._second += w @ apart**2

    def moments(self, task: TaskKind) -> tuple[list[float], list[float]]:
        if task == "classification" or self._zero is None:
            return [0.0], [1.0]
        mean = self._first / self._w
        std = np.sqrt(np.maximum(self._second / self._w - mean**2, 1e-12))
        return (self._zero + mean).tolist(), std.tolist()
