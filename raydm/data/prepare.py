"""From tables to examples: roles, encoders and every check on the way."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data.encoding import TableEncoder, warning_of
from raydm.data.examples import Examples
from raydm.data.labels import LabelEncoder, TaskKind
from raydm.data.roles import Kind, Roles, infer_roles, is_text_type
from raydm.errors import DataError, RaydmWarning


class FitEncoder(Protocol):
    """What makes an encoder of the features."""

    def __call__(self, table: pa.Table, roles: Roles, *, name: str) -> TableEncoder:
        """The encoder of a training set with these roles; name is what to call it in messages."""
        ...


class Fitted(Protocol):
    """What was learned from a training set; ``Prepared`` is one."""

    @property
    def encoder(self) -> TableEncoder:
        """The features' encoder."""
        ...

    @property
    def labels(self) -> LabelEncoder:
        """The labels' encoder."""
        ...

    @property
    def roles(self) -> Roles:
        """The columns' roles."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A training, a validation and perhaps a test set, encoded alike.

    Attributes:
        train: N examples.
        valid: M examples.
        test: further examples, or None where no test set was given.
        encoder: the features' encoder, fitted on the training set.
        labels: the labels' encoder, fitted on the training set.
        roles: the columns' roles.
        notes: what was handled, one line each; warned of only where it may be a mistake.
    """

    train: Examples
    valid: Examples
    test: Examples | None
    encoder: TableEncoder
    labels: LabelEncoder
    roles: Roles
    notes: list[str]


def prepare(
    train: pa.Table,
    valid: pa.Table,
    test: pa.Table | None = None,
    *,
    label: str | Sequence[str],
    id: str | None = None,
    features: Sequence[str] | None = None,
    kinds: Mapping[str, Kind] | None = None,
    task: TaskKind | None = None,
    names: tuple[str, str, str] = ("train", "valid", "test"),
    fit_encoder: FitEncoder = TableEncoder.fit,
) -> Prepared:
    """Checks and encodes the sets; everything is learned from the training set alone.

    Args:
        train: the training set, N rows.
        valid: the validation set, M rows, at least one.
        test: the test set.
        label: the label column; or several columns of numbers, which then are C > 1 regression targets.
        id: the id column, see ``infer_roles``.
        features: the feature columns, in order; by default all others.
        kinds: kinds that override the inferred ones, by column.
        task: the task, where it should not be inferred from the labels.
        names: what to call the three tables in messages, such as their files.
        fit_encoder: makes the features' encoder from the training set, its roles and its name; another reads texts as
            tokens, or images as pixels.

    Raises:
        DataError: a set is empty, lacks a column that training has, repeats an id, or holds a value or a label that
            cannot be encoded; the message names set, column and row.
        ParameterError: roles that do not fit, see ``infer_roles``.

    Warns:
        RaydmWarning: of categories or missing values that training lacks, and of validation or test rows whose
            features also stand in training.
    """
    tables = [(train, names[0]), (valid, names[1])] + ([(test, names[2])] if test is not None else [])
    for table, name in tables:
        if table.num_rows == 0:
            raise DataError(f"{name}: no rows. At least one is needed.")
    roles = infer_roles(train, label=label, id=id, features=features, kinds=kinds, name=names[0])
    for table, name in tables[1:]:
        _check_columns(table, roles, name, names[0])
    encoder = fit_encoder(train, roles, name=names[0])
    labels = LabelEncoder.fit_columns(train, roles.labels, task=task, name=names[0])
    notes = list(encoder.notes)
    sets: list[Examples] = []
    known: set[bytes] = set()
    for table, name in tables:
        examples, events = _encode(encoder, labels, roles, table, name, with_label=True)
        sets.append(examples)
        if events:
            warnings.warn(warning_of(events), RaydmWarning, stacklevel=2)
        digests = _digests(table, roles, examples.x)
        if len(sets) == 1:
            known.update(digests)
        elif shared := sum(digest in known for digest in digests):
            events.append(f"{name}: {shared} of {len(examples)} rows have the same features as a row of {names[0]}")
            message = f"{events[-1]}. Scores on {name} are then too good. Drop the rows from one of the two."
            warnings.warn(message, RaydmWarning, stacklevel=2)
        notes += events
    return Prepared(sets[0], sets[1], sets[2] if test is not None else None, encoder, labels, roles, notes)


def encode(fitted: Fitted, table: pa.Table, name: str, *, with_label: bool = True) -> Examples:
    """Encodes new rows as the training set taught.

    Args:
        fitted: a ``Prepared``, or anything with its ``encoder``, ``labels`` and ``roles``.
        table: N rows.
        name: what to call the table in messages.
        with_label: read the label columns; else ``y`` is -1 (classes) or NaN (targets), which no loss mistakes for a
            label.

    Returns:
        N examples; their ids are row numbers where the table has no id column.

    Raises:
        DataError: as ``prepare``.

    Warns:
        RaydmWarning: of categories or missing values that training lacks.
    """
    examples, events = encode_with_events(fitted, table, name, with_label=with_label)
    if events:
        warnings.warn(warning_of(events), RaydmWarning, stacklevel=2)
    return examples


def encode_with_events(
    fitted: Fitted, table: pa.Table, name: str, *, with_label: bool = True
) -> tuple[Examples, list[str]]:
    """As ``encode``, but hands back what it would warn of, one line per column."""
    return _encode(fitted.encoder, fitted.labels, fitted.roles, table, name, with_label=with_label)


def _encode(
    encoder: TableEncoder, labels: LabelEncoder, roles: Roles, table: pa.Table, name: str, *, with_label: bool
) -> tuple[Examples, list[str]]:
    x, events = encoder.transform_with_events(table, name=name)
    y: npt.NDArray[Any]
    if with_label:
        y = labels.transform_columns(table, roles.labels, name=name)
    elif labels.task == "classification":
        y = np.full(table.num_rows, -1, np.int64)
    else:
        n, c = table.num_rows, labels.n_outputs
        y = np.full(n if c == 1 else (n, c), np.nan, np.float32)
    return Examples(x, y, _ids(table, roles.id, name)), events


def _ids(table: pa.Table, column: str | None, name: str) -> npt.NDArray[Any]:
    """(N,) the ids as integers or strings, row numbers where there is no id column; unique."""
    if column is None or column not in table.column_names:
        return np.arange(table.num_rows)
    values = table.column(column)
    if values.null_count:
        row = int(values.is_null().to_numpy().argmax()) + 1
        raise DataError(f"{name}, column {column!r}, row {row}: the id is missing. Give every row an id.")
    ids: npt.NDArray[Any]
    if pa.types.is_integer(values.type):
        ids = values.to_numpy()
    else:
        try:
            text = values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values
            ids = np.array((text if is_text_type(text.type) else text.cast(pa.string())).to_pylist(), dtype=np.str_)
        except pa.ArrowException as error:
            raise DataError(f"{name}, column {column!r}: {error}. Ids must be integers or strings.") from error
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(ids)))
    if len(again):
        row = int(again[0])
        raise DataError(
            f"{name}, column {column!r}: the id {ids[row].item()!r} stands in rows {first[inverse][row] + 1} "
            f"and {row + 1}. Make ids unique, or name another id column."
        )
    return ids


def _check_columns(table: pa.Table, roles: Roles, name: str, train: str) -> None:
    """Raises where a set lacks columns of the training set; an id may be absent."""
    absent = [column for column in (*roles.labels, *roles.features) if column not in table.column_names]
    if absent:
        labels = set(absent) & set(roles.labels)
        remedy = "Add them." if labels else "Add them, or leave them out of both with `features`."
        raise DataError(f"{name}: lacks the columns {absent} that {train} has; it has {table.column_names}. {remedy}")


def _digests(table: pa.Table, roles: Roles, x: npt.NDArray[Any]) -> Iterator[bytes]:
    """One hash per row of its encoded features (N, D) and its texts, which may differ where their encodings agree."""
    texts = [table.column(column).to_pylist() for column, kind in roles.features.items() if kind == "text"]
    tokens = np.issubdtype(x.dtype, np.signedinteger)  # of the texts, padded as each table needs
    for row, encoded in enumerate(x):
        digest = hashlib.blake2b(digest_size=16)
        if not tokens:
            digest.update((encoded + np.float32(0)).tobytes())  # + 0 makes -0 and 0 one
        for text in texts:
            digest.update(repr(text[row]).encode())
        yield digest.digest()
