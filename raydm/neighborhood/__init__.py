"""Neighbours of the rows of large tables: shards that are built from the files, and streams of rows that ask them.

A `Recipe` says how rows are encoded and what index they are in; a `Shard` holds some of them; a `NeighborTable` makes
the neighbours of a block of rows. Shards live in this process (`HereShards`) or in actors
(`raydm.distributed.neighbors.RayShards`), with the same results.
"""

from raydm.neighborhood.here import HereShards, machine_memory, stream_here
from raydm.neighborhood.ids import check_ids, marks_of, repeated
from raydm.neighborhood.kept import Keep, kept_of
from raydm.neighborhood.plan import Wanted, make_recipe, taken, taker
from raydm.neighborhood.rows import BY, USUAL_LABELS, By, Encoded, Plain, RowEncoder, Table, fit_rows, rows_of
from raydm.neighborhood.shard import Questions, Recipe, Shard, peak_bytes
from raydm.neighborhood.table import (
    NeighborTable,
    encoded,
    names_of,
    neighbor_schema,
    notes_of,
    searcher_of,
    with_note,
)
from raydm.neighborhood.tune import Tuned, recall, tune

__all__ = [
    "BY",
    "USUAL_LABELS",
    "By",
    "Encoded",
    "HereShards",
    "Keep",
    "NeighborTable",
    "Plain",
    "Questions",
    "Recipe",
    "RowEncoder",
    "Shard",
    "Table",
    "Tuned",
    "Wanted",
    "check_ids",
    "encoded",
    "fit_rows",
    "kept_of",
    "machine_memory",
    "make_recipe",
    "marks_of",
    "names_of",
    "neighbor_schema",
    "notes_of",
    "peak_bytes",
    "recall",
    "repeated",
    "rows_of",
    "searcher_of",
    "stream_here",
    "taken",
    "taker",
    "tune",
    "with_note",
]
