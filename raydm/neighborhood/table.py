"""From a block of rows to their neighbours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from raydm.indexes import Found, LineSearcher, Parts, Searcher
from raydm.neighborhood.rows import By, Encoded
from raydm.neighborhood.shard import Recipe

NOTE = "__note__"  # a column, null but in the last row: one more, that carries nothing but what a block warns of


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


def with_note(table: pa.Table, events: list[str]) -> pa.Table:
    """The table with what the block warns of, which it keeps where it has no rows of its own."""
    noted = table.append_column(NOTE, pa.nulls(table.num_rows, pa.string()))
    if not events:
        return noted
    nothing = [pa.nulls(1, field.type) for field in table.schema]
    note = pa.Table.from_arrays([*nothing, pa.array(["; ".join(events)])], schema=noted.schema)
    return pa.concat_tables([noted, note])


def notes_of(tables: Iterator[pa.Table], said: list[str]) -> Iterator[pa.Table]:
    """The tables without their notes, which are added to `said`."""
    for table in tables:
        notes = table.column(NOTE)
        said += notes.drop_null().to_pylist()
        own = table.drop_columns([NOTE])
        yield own if notes.null_count == len(notes) else own.filter(notes.is_null())
