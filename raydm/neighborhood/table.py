"""From a block of rows to the rows of a result: their neighbours, or whatever is made of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.errors import ParameterError
from raydm.indexes import Found, LineSearcher, Parts, Searcher
from raydm.neighborhood.rows import By, Encoded
from raydm.neighborhood.shard import Recipe

NOTE = "__note__"  # a column that carries what a block warns of, in its first row
_JOINED_BYTES = 2**26  # of neighbours' features that are held at once


def searcher_of(parts: Parts, recipe: Recipe, by: By) -> Searcher | LineSearcher:
    """What finds neighbours by one distance."""
    trained = recipe.indexes[by]
    return LineSearcher(parts, (by,)) if trained is None else Searcher(parts, trained, (by,))


def neighbor_schema(recipe: Recipe, k: int) -> pa.Schema:
    """Of a neighbour table: id, neighbors and distances (K each, nearest first)."""
    kind = recipe.encoder.id_type
    return pa.schema([("id", kind), ("neighbors", pa.list_(kind, k)), ("distances", pa.list_(pa.float64(), k))])


class NeighborTable:
    """Makes the neighbour table of a block. It is callable in any process that can ask the parts.

    Args:
        parts: the shards.
        recipe: by which they were made.
        k: K.
        by: which distance.
        effort: nprobe or efSearch; None: the index's own.
    """

    def __init__(self, parts: Parts, recipe: Recipe, k: int, by: By, effort: int | None) -> None:
        self.parts, self.recipe, self.k, self.by, self.effort = parts, recipe, k, by, effort
        self._searcher = searcher_of(parts, recipe, by)

    def __call__(self, first: int, table: pa.Table) -> pa.Table:
        """The neighbours of B rows; `first` is the number of the first."""
        rows = encoded(self.recipe, first, table)
        found = self._searcher.search(rows.points(self.by), self.k, exclude=rows.ids, effort=self.effort)
        ids = names_of(self.parts, self.recipe, found)
        schema = neighbor_schema(self.recipe, self.k)
        columns = [
            self.recipe.encoder.id_column(rows.ids) if rows.names is None else rows.names,
            pa.FixedSizeListArray.from_arrays(ids, self.k),
            pa.FixedSizeListArray.from_arrays(pa.array(found.distances.ravel()), self.k),
        ]
        made = pa.Table.from_arrays([c.cast(f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
        return with_note(made, rows.events)


@dataclass(frozen=True)
class JoinedRows:
    """B rows, each with its K neighbours, nearest first, ties by id.

    Attributes:
        first: the number of the first row.
        table: the rows as they were read, whichever columns the recipe's encoder reads.
        rows: the rows as they were encoded: ids, x (B, D), y (B,) or (B, C).
        distances: (B, K) Euclidean.
        ids: (B, K) the neighbours' ids as integers: as they are, or the rows' numbers where ids are text.
        x: (B, K, D) float32, the neighbours' features.
        y: (B, K) or (B, K, C), the neighbours' labels; None where the recipe reads none.
    """

    first: int
    table: pa.Table
    rows: Encoded
    distances: npt.NDArray[np.float64]
    ids: npt.NDArray[np.int64]
    x: npt.NDArray[np.float32]
    y: npt.NDArray[Any] | None


Make = Callable[[dict[By, JoinedRows]], pa.Table]


class NeighborJoin:
    """Joins the rows of a block with their neighbours' rows, and makes something of each piece.

    The shards hold the neighbours' features and labels; only a block's are ever held here, a piece of it at a time.

    Args:
        parts: the shards.
        recipe: by which they were made; its encoder reads the features, and the labels where they are wanted.
        k: K of each distance that is wanted; the recipe has an index of it.
        effort: nprobe or efSearch by distance; absent: the index's own.
        make: of a piece of a block, by distance, a table of as many rows, or of any.
    """

    def __init__(
        self, parts: Parts, recipe: Recipe, k: dict[By, int], effort: dict[By, int | None], make: Make
    ) -> None:
        held = recipe.indexes.get("data")
        if held is None or (held.spec.kind == "ivf-pq" and not held.spec.refine):
            raise ParameterError(
                "To join rows with their neighbours' features, the shards must hold these: use an index by data "
                "distance that keeps vectors (any but ivf-pq, or ivf-pq with refine)."
            )
        self.parts, self.recipe, self.k, self.effort, self.make = parts, recipe, k, effort, make
        self._searchers = {by: searcher_of(parts, recipe, by) for by in k}
        self._held = Searcher(parts, held, ("data",))

    def __call__(self, first: int, table: pa.Table) -> pa.Table:
        """What is made of B rows; `first` is the number of the first."""
        rows = encoded(self.recipe, first, table)
        found = {
            by: self._searchers[by].search(rows.points(by), k, exclude=rows.ids, effort=self.effort.get(by))
            for by, k in self.k.items()
        }
        piece = max(1, _JOINED_BYTES // (4 * self._held.trained.d * sum(self.k.values())))
        made = [
            self.make({by: self._join(first, table, rows, f, slice(start, start + piece)) for by, f in found.items()})
            for start in range(0, table.num_rows, piece)
        ]
        return with_note(pa.concat_tables(made), rows.events)

    def _join(self, first: int, table: pa.Table, rows: Encoded, found: Found, piece: slice) -> JoinedRows:
        mine, near = rows[piece], found[piece]
        x = self._held.vectors(near.owners, near.places)
        y = None if rows.y is None else labels_of(self.parts, near)
        part = table.slice(piece.start, len(mine.ids))
        return JoinedRows(first + piece.start, part, mine, near.distances, near.ids, x, y)


def encoded(recipe: Recipe, first: int, table: pa.Table) -> Encoded:
    """The rows of a block, encoded as the shards' are."""
    return recipe.encoder.encode(first, table, recipe.rows.where(first, table.num_rows))


def names_of(parts: Parts, recipe: Recipe, found: Found) -> pa.Array:
    """The neighbours' ids, (Q * K,), in the type of the id column."""
    if not recipe.encoder.has_names:
        return recipe.encoder.id_column(found.ids.ravel())
    owners, places = found.owners.ravel(), found.places.ravel()
    where = [np.flatnonzero(owners == part) for part in range(len(parts))]
    answers = parts.ask("names", (), [(places[mine],) for mine in where])
    back = np.empty(len(owners), np.int64)
    back[np.concatenate(where)] = np.arange(len(owners))
    return pa.concat_arrays([a.cast(pa.string()) for a in answers]).take(pa.array(back))


def labels_of(parts: Parts, found: Found) -> npt.NDArray[Any]:
    """The neighbours' labels, (Q, K) or (Q, K, C)."""
    where = [found.owners == part for part in range(len(parts))]
    answers = parts.ask("labels", (), [(found.places[mine],) for mine in where])
    y = np.empty((*found.places.shape, *answers[0].shape[1:]), answers[0].dtype)
    for mine, answer in zip(where, answers, strict=True):
        y[mine] = answer
    return y


def with_note(table: pa.Table, events: list[str]) -> pa.Table:
    """The table with what the block warns of."""
    notes = ["; ".join(events) or None, *[None] * (table.num_rows - 1)]
    return table.append_column(NOTE, pa.array(notes[: table.num_rows], pa.string()))


def notes_of(tables: Iterator[pa.Table], said: list[str]) -> Iterator[pa.Table]:
    """The tables without their notes, which are added to `said`."""
    for table in tables:
        said += table.column(NOTE).drop_null().to_pylist()
        yield table.drop_columns([NOTE])
