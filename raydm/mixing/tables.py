"""Mixed rows as a table in the users' own units, with what each was mixed of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data import Roles, to_array, vector_column
from raydm.data.columns import numbers_of
from raydm.data.vectors import is_vector_type
from raydm.errors import DataError, ParameterError
from raydm.mixing.pairs import Pairs

PROVENANCE = ("mix_parent", "mix_partner", "mix_lambda", "mix_kind")


def check_mixable(roles: Roles, columns: Iterable[str], name: str) -> None:
    """Refuses columns that cannot be interpolated.

    Raises:
        ParameterError: a feature is no number and no vector.
        DataError: a column has a name that provenance takes.
    """
    other = {column: kind for column, kind in roles.features.items() if kind not in ("numeric", "vector")}
    if other:
        told = ", ".join(f"{column!r} ({kind})" for column, kind in other.items())
        raise ParameterError(
            f"{name}: mixing interpolates, and these columns are no numbers: {told}. Encode them as numbers (one-hot, "
            "embeddings), or leave them out with --features."
        )
    taken = sorted({*PROVENANCE} & {*columns})
    if taken:
        raise DataError(f"{name}: has the column {taken[0]!r}, which the mixed rows need. Rename it.")


def mixed_table(table: pa.Table, roles: Roles, pairs: Pairs, ids: npt.NDArray[Any]) -> pa.Table:
    """The mixed rows: features and labels interpolated, then the provenance.

    Args:
        table: N rows of features and labels.
        roles: which columns are mixed; `check_mixable` passed them.
        pairs: P of them.
        ids: (N,) of the rows.

    Returns:
        P rows; null where a parent's number is. Columns `PROVENANCE`: the ids of i and j, the share of i, and what
        chose the pair.
    """
    columns = {name: _mixed(table[name], name, pairs) for name in (*roles.features, *roles.labels)}
    columns |= dict(
        zip(
            PROVENANCE,
            (
                pa.array(ids[pairs.i]),
                pa.array(ids[pairs.j]),
                pa.array(pairs.lam),
                pa.array(pairs.kind.tolist(), pa.string()),
            ),
            strict=True,
        )
    )
    return pa.table(columns)


def _mixed(column: pa.ChunkedArray, name: str, pairs: Pairs) -> Any:
    vector = is_vector_type(column.type)
    values = to_array(column, name=name) if vector else numbers_of(column, name)
    share = pairs.lam.reshape(-1, *[1] * (values.ndim - 1))
    mixed = share * values[pairs.i] + (1 - share) * values[pairs.j]
    if vector:
        return vector_column(mixed.astype(np.result_type(values.dtype, np.float32)))
    return pa.array(mixed, from_pandas=True)
