"""That no two rows have the same id, with 8 bytes a row and a sort."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from raydm.errors import DataError

if TYPE_CHECKING:
    from raydm.data.blocks import Rows
    from raydm.indexes import Parts
    from raydm.neighborhood.shard import Recipe

Marks = npt.NDArray[np.uint64]


def marks_of(ids: npt.NDArray[Any] | pa.Array) -> Marks:
    """(n,): equal ids have equal marks. The reverse holds for integers, and almost surely for texts."""
    if isinstance(ids, np.ndarray) and ids.dtype.kind in "iu":
        return ids.astype(np.int64 if ids.dtype.kind == "i" else np.uint64).view(np.uint64)
    texts = ids.to_numpy(zero_copy_only=False) if isinstance(ids, pa.Array) else ids.astype(object)
    marks: Marks = pd.util.hash_array(texts, categorize=False)
    return marks


def repeated(marks: Marks) -> Iterator[tuple[int, int]]:
    """Pairs of places whose marks are equal, the lower place first."""
    order = np.argsort(marks, kind="stable")
    ranked = marks[order]
    for i in np.flatnonzero(ranked[1:] == ranked[:-1]):
        yield int(order[i]), int(order[i + 1])


def refuse(rows: Rows, column: str, id: Any, one: int, other: int) -> DataError:
    """The error of an id that two rows have; one and other are their numbers."""
    first, second = sorted((one, other))
    return DataError(
        f"{rows.where(first, 1)}, column {column!r}: the id {id!r} stands again at {rows.where(second, 1)}. Make ids "
        "unique, or name another id column."
    )


def check_ids(parts: Parts, recipe: Recipe) -> None:
    """Raises DataError where two rows of all shards have the same id."""
    column = recipe.encoder.id
    if column is None:
        return
    marks = list(parts.ask("marks", ()))
    begins = np.cumsum([0, *map(len, marks)])
    for pair in repeated(np.concatenate(marks)):
        (one, id), (other, same) = (_row(parts, recipe, begins, at) for at in pair)
        if id == same:
            raise refuse(recipe.rows, column, id, one, other)


def _row(parts: Parts, recipe: Recipe, begins: npt.NDArray[np.int64], at: int) -> tuple[int, Any]:
    """The number and the id of a row, which is the at-th of all shards' rows."""
    owner = int(np.searchsorted(begins, at, side="right")) - 1
    own = [(np.array([at - begins[owner]] if part == owner else [], np.int64),) for part in range(len(parts))]
    number = int(parts.ask("row_numbers", (), own)[owner][0])
    if recipe.encoder.has_names:
        return number, parts.ask("names", (), own)[owner][0].as_py()
    return number, int(parts.ask("integers", (), own)[owner][0])
