"""Shards and streams in this process: one shard of all rows, one block after another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pyarrow as pa

from raydm.data.blocks import Rows
from raydm.indexes import Here
from raydm.neighborhood.plan import Ids, taker
from raydm.neighborhood.shard import Recipe, Shard


class HereShards:
    """As `raydm.distributed.neighbors.RayShards`, with the same results, without Ray."""

    def memory(self) -> int:
        """Bytes that this machine has."""
        return machine_memory()

    def take(self, rows: Rows, block: int, positions: Ids) -> pa.Table:
        """Reads rows by their numbers."""
        return taker(rows, block)(positions)

    def build(self, recipe: Recipe) -> Here:
        """Makes the shard."""
        return Here([Shard(recipe, [(0, len(recipe.rows))])])

    def stream(self, recipe: Recipe, make: Callable[[], Callable[[int, pa.Table], pa.Table]]) -> Iterator[pa.Table]:
        """What is made of each block of the recipe's rows, in order."""
        yield from stream_here(recipe.rows, make(), columns=recipe.encoder.columns, block=recipe.block)

    def close(self) -> None:
        """Nothing is left."""


def machine_memory() -> int:
    """Bytes that this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def stream_here(
    rows: Rows, work: Callable[[int, pa.Table], pa.Table], *, columns: list[str] | None, block: int
) -> Iterator[pa.Table]:
    """What work makes of each block, in the order of the rows."""
    for first, table in rows.blocks(columns=columns, rows=block):
        yield work(first, table)
