"""Roles: which column is the label, which the id, and of what kind each feature is."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, get_args

import pyarrow as pa
import pyarrow.compute as pc

from raydm.data.vectors import is_vector_type
from raydm.errors import DataError, ParameterError, one_of

Kind = Literal["numeric", "categorical", "vector", "text"]
Label: TypeAlias = str | tuple[str, ...]  # a column, or several
KINDS: tuple[Kind, ...] = get_args(Kind)
PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class Roles:
    """What each column of a table is for.

    Attributes:
        label: the column that is predicted, or the C > 1 columns of several targets, in order.
        id: the column that names the rows, or None where rows are named by their number 0 .. N-1.
        features: the kind of every feature column, in the order in which they are encoded.
    """

    label: Label
    id: str | None
    features: dict[str, Kind]

    @property
    def labels(self) -> tuple[str, ...]:
        """The label columns, also where there is but one."""
        return (self.label,) if isinstance(self.label, str) else self.label

    def to_dict(self) -> dict[str, Any]:
        """The roles as plain JSON values; features as pairs, for JSON objects may lose their order."""
        label = self.label if isinstance(self.label, str) else list(self.label)
        return {"label": label, "id": self.id, "features": [[name, kind] for name, kind in self.features.items()]}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Roles:
        """The roles that ``to_dict`` wrote."""
        label = state["label"] if isinstance(state["label"], str) else tuple(state["label"])
        return cls(label, state["id"], dict(state["features"]))


def infer_roles(
    table: pa.Table,
    *,
    label: str | Sequence[str],
    id: str | None = None,
    features: Sequence[str] | None = None,
    kinds: Mapping[str, Kind] | None = None,
    name: str = "train",
) -> Roles:
    """Tells the columns' roles from their names and types.

    Numbers, booleans and times are ``numeric`` (times as seconds); lists and tensors of numbers are ``vector``.
    Strings and dictionaries are ``text`` where they have more than max(50, N / 20) distinct values, or where more than
    half of the N rows are distinct and values average three words or more; otherwise ``categorical``.

    Args:
        table: the training set, N rows.
        label: the label column, or several.
        id: the id column; by default a column named ``id`` in any case. (Where it repeats, ``prepare`` says so; where
            ``features`` are named, it is an id only if its values are unique.)
        features: the feature columns, in order; by default every column but the labels, the id, and the nameless index
            that pandas writes beside them into Parquet, which tells where a row stood.
        kinds: kinds that override the inferred ones, by column.
        name: what to call the table in messages.

    Returns:
        The roles; at least one feature.

    Raises:
        DataError: a named column is absent, or a column's type has no kind.
        ParameterError: ``label`` or ``features`` repeats a column, ``features`` holds a label, or ``kinds`` holds an
            unknown kind or column.
    """
    labels = (label,) if isinstance(label, str) else tuple(label)
    if not labels or len(set(labels)) < len(labels):
        raise ParameterError.of("label", "infer_roles", "a column or different columns", label)
    for column in labels:
        check_column(table, column, what="label", name=name)
    if id is None:
        id = _default_id(table, labels, or_none=features is not None)
    else:
        check_column(table, id, what="id", name=name)
        if id in labels:
            raise ParameterError.of("id", "infer_roles", "another column than the label", id)
    if features is None:
        chosen = [c for c in table.column_names if c not in (*labels, id) and not PANDAS_INDEX.fullmatch(c)]
        if not chosen:
            raise DataError(f"{name}: no feature column beside the label {_list(labels)} and the id {id!r}.")
    else:
        chosen = list(features)
        for column in chosen:
            check_column(table, column, what="feature", name=name)
        if not chosen or len(set(chosen)) < len(chosen) or not set(chosen).isdisjoint(labels):
            raise ParameterError.of("features", "infer_roles", "different columns, the label not among them", chosen)
    kept = labels[0] if len(labels) == 1 else labels
    return Roles(kept, id, infer_kinds(table, chosen, kinds, name=name))


def infer_kinds(
    table: pa.Table, features: Sequence[str], kinds: Mapping[str, Kind] | None = None, *, name: str
) -> dict[str, Kind]:
    """The kinds of feature columns, by their types and values, as `infer_roles` tells them.

    Args:
        table: N rows that have these columns.
        features: the columns, in order.
        kinds: kinds that override the inferred ones, by column.
        name: what to call the table in messages.

    Raises:
        DataError: a column's type has no kind.
        ParameterError: ``kinds`` holds an unknown kind or column.
    """
    kinds = dict(kinds or {})
    for column, kind in kinds.items():
        if kind not in KINDS:
            raise ParameterError.of("kinds", "infer_roles", f"{one_of(KINDS)} for each column", {column: kind})
        if column not in features:
            raise ParameterError.of("kinds", "infer_roles", "given for feature columns only", {column: kind})
    return {c: kinds.get(c) or _kind(table.column(c), f"{name}, column {c!r}") for c in features}


def check_column(table: pa.Table, column: str, *, what: str, name: str) -> None:
    """Raises DataError where ``table`` lacks ``column``, with the columns there are and the nearest name."""
    if table.schema.get_field_index(column) < 0 and column not in table.column_names:  # the names take long to list
        near = difflib.get_close_matches(column, table.column_names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise DataError(f"{name}: no {what} column {column!r}. The columns are {_list(table.column_names)}.{hint}")


def is_text_type(kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type holds strings, plain or dictionary-encoded."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_numeric_type(kind: pa.DataType) -> bool:
    """Whether a column of this Arrow type can be read as one number per row (times as seconds)."""
    types = pa.types
    if types.is_interval(kind):
        return False
    return any(
        test(kind)
        for test in (
            types.is_integer,
            types.is_floating,
            types.is_decimal,
            types.is_boolean,
            types.is_temporal,
            types.is_null,
        )
    )


def _default_id(table: pa.Table, labels: tuple[str, ...], *, or_none: bool) -> str | None:
    """The first column named like ``id``; with ``or_none``, only if its values are unique and present."""
    for column in table.column_names:
        if column.lower() == "id" and column not in labels:
            values = table.column(column)
            unique = values.null_count == 0 and pc.count_distinct(values).as_py() == len(values)
            return cast(str, column) if unique or not or_none else None
    return None


def _kind(column: pa.ChunkedArray, where: str) -> Kind:
    if is_vector_type(column.type):
        return "vector"
    if is_text_type(column.type):
        return _text_kind(column)
    if pa.types.is_dictionary(column.type):
        return "categorical"
    if is_numeric_type(column.type):
        return "numeric"
    binary = pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type)
    images = " Bytes of image files are read where the column is named as `image` (--image)." if binary else ""
    raise DataError(
        f"{where}: Arrow type {column.type} is none that can be learned from. Convert it to numbers, strings or lists "
        f"of numbers, or leave it out with `features`.{images}"
    )


def _text_kind(column: pa.ChunkedArray) -> Kind:
    column = column.cast(pa.string())
    distinct = pc.count_distinct(column).as_py()
    if distinct > max(50, len(column) / 20):
        return "text"
    words = pc.mean(pc.add(pc.count_substring_regex(column, r"\S\s+\S"), 1)).as_py() or 0
    return "text" if distinct > len(column) / 2 and words >= 3 else "categorical"


def _list(names: Iterable[str]) -> str:
    names = list(names)
    shown = ", ".join(repr(name) for name in names[:30])
    return shown if len(names) <= 30 else f"{shown} and {len(names) - 30} more"
