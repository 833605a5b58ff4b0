"""Mixed rows in the users' own units, with what each was mixed of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data import Roles, to_array, vector_column
from raydm.data.columns import numbers_of
from raydm.data.vectors import is_vector_type
from raydm.errors import DataError, ParameterError
from raydm.mixing.pairs import Pairs

Array = npt.NDArray[Any]

PROVENANCE = ("mix_parent", "mix_partner", "mix_lambda", "mix_kind")


def check_mixable(roles: Roles, name: str) -> None:
    """Refuses columns that cannot be interpolated.

    Raises:
        ParameterError: a feature is no number and no vector.
        DataError: a column has a name that provenance takes.
    """
    taken = [column for column in PROVENANCE if column in _columns(roles)]
    if taken:
        raise DataError(f"{name}: has the column {taken[0]!r}, which the mixed rows need. Rename it, or leave it out.")
    other = {column: kind for column, kind in roles.features.items() if kind not in ("numeric", "vector")}
    if other:
        told = ", ".join(f"{column!r} ({kind})" for column, kind in other.items())
        raise ParameterError(
            f"{name}: mixing interpolates, and these columns are no numbers: {told}. Encode them as numbers (one-hot, "
            "embeddings), or leave them out (`raydm mix` takes the columns that --features names)."
        )


def mixed_table(table: pa.Table, roles: Roles, pairs: Pairs, ids: Array) -> pa.Table:
    """The mixed rows: features and labels interpolated, then the provenance.

    Args:
        table: N rows of features and labels.
        roles: which columns are mixed; `check_mixable` passed them.
        pairs: P of them.
        ids: (N,) of the rows.

    Returns:
        P rows; null where a parent's number is, times as seconds. Columns `PROVENANCE`: the ids of i and j, the share
        of i, and what chose the pair.
    """
    columns = {name: _mixed(values, pairs) for name, values in numbers(table, _columns(roles)).items()}
    kinds = pa.array(pairs.kind.tolist(), pa.string())
    return table_of(columns | dict(zip(PROVENANCE, (ids[pairs.i], ids[pairs.j], pairs.lam, kinds), strict=True)))


def with_mixed(table: pa.Table, roles: Roles, pairs: Pairs) -> dict[str, Array]:
    """The N rows, then the P mixed ones: (N + P, ...) of each feature and label, NaN where a number is missing."""
    return {
        name: np.concatenate([values, _mixed(values, pairs)])
        for name, values in numbers(table, _columns(roles)).items()
    }


def table_of(columns: Mapping[str, Any]) -> pa.Table:
    """Columns (N, ...) as a table: null where a number is NaN, arrays of numbers as vectors."""
    return pa.table({name: _column(values) for name, values in columns.items()})


def numbers(table: pa.Table, columns: Iterable[str]) -> dict[str, Array]:
    """Columns of numbers or vectors: (N, ...) each, NaN where one is missing."""
    return {
        name: to_array(table[name], name=name) if is_vector_type(table[name].type) else numbers_of(table[name], name)
        for name in columns
    }


def blend(ours: Array, theirs: Array, lam: Array) -> Array:
    """lambda ours + (1 - lambda) theirs: (P, ...) of P pairs, as floats."""
    share = lam.reshape(-1, *[1] * (ours.ndim - 1))
    mixed: Array = share * ours + (1 - share) * theirs
    return mixed.astype(np.result_type(ours.dtype, np.float32))


def _columns(roles: Roles) -> tuple[str, ...]:
    return (*roles.features, *roles.labels)


def _mixed(values: Array, pairs: Pairs) -> Array:
    return blend(values[pairs.i], values[pairs.j], pairs.lam)


def _column(values: Any) -> Any:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
        return values
    return vector_column(values) if values.ndim > 1 else pa.array(values, from_pandas=True)
