"""Shards of rows in Ray actors, and streams that ask them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, cast

import numpy as np
import pyarrow as pa
import ray
import torch

from raydm.data.blocks import ParquetRows, Span
from raydm.distributed.cluster import Connection, connect, hide_gpus, node_resources, require
from raydm.distributed.streaming import LIGHT, READS, WORKERS, Work, read_spans, stream, told
from raydm.errors import ClusterError, ParameterError, RaydmError
from raydm.indexes import GRAPH_POINTS
from raydm.neighborhood.plan import Ids, taken, taker
from raydm.neighborhood.shard import Recipe, Shard

_RESTARTS = 10  # an actor that dies more often than this is ill, not unlucky
_LARGE = 2**16  # bytes of an argument that is put once for all actors
_DEALT = 16  # blocks that are dealt out together: a shard reads them at once
_READ_HERE = 2**29  # bytes of all rows, uncompressed, that are sampled sooner than actors have started


class ShardActor:
    """A `Shard` that is made again, from the files, wherever the actor is started again."""

    def __init__(self, recipe: list[Any], spans: Sequence[Span], threads: int) -> None:
        torch.set_num_threads(threads)
        hide_gpus()
        self._error: RaydmError | None = None
        try:
            self._shard = Shard(ray.get(recipe[0]), spans)  # in a list, Ray hands the reference on as it is
        except RaydmError as error:  # raised from here, Ray would tell it as an actor that died
            self._error = error

    def process(self) -> int:
        """The actor's process id."""
        return os.getpid()

    def ask(self, method: str, *arguments: Any) -> Any:
        """Calls a method of the shard."""
        if self._error is not None:
            raise self._error
        return getattr(self._shard, method)(*arguments)


class RayParts:
    """The shards of a recipe, for whoever holds this: it travels.

    Args:
        actors: `ShardActor` handles.
    """

    def __init__(self, actors: Sequence[Any]) -> None:
        self.actors = actors

    def __len__(self) -> int:
        return len(self.actors)

    def ask(self, method: str, shared: Sequence[Any], own: Sequence[Sequence[Any]] | None = None) -> list[Any]:
        """Calls a method of every shard at once; see `raydm.indexes.Parts`."""
        given = [ray.put(a) if _is_large(a) else a for a in shared]
        mine = own if own is not None else [()] * len(self.actors)
        with told():
            answers: list[Any] = ray.get(
                [actor.ask.remote(method, *given, *more) for actor, more in zip(self.actors, mine, strict=True)]
            )
        return answers


def _is_large(argument: Any) -> bool:
    arrays = argument if isinstance(argument, tuple) else (argument,)
    return sum(a.nbytes for a in arrays if isinstance(a, np.ndarray)) > _LARGE


class RayShards:
    """Where shards live and rows are streamed: a Ray cluster.

    Args:
        actors: shards, >= 1; fewer where there are fewer blocks of rows.
        cpus_per_actor: CPUs that Ray reserves for each, > 0; as many threads search.
        gpus_per_actor: GPUs, or a fraction of one, for each.
        address: of a running cluster; None: RAY_ADDRESS, else one is started here.

    Raises:
        ParameterError: an argument out of its range.
        ClusterError: no cluster, or one that can never place the actors and, beside them, the stream.
    """

    def __init__(
        self,
        actors: int = 2,
        *,
        cpus_per_actor: float = 1.0,
        gpus_per_actor: float = 0.0,
        address: str | None = None,
    ) -> None:
        if actors < 1:
            raise ParameterError.of("actors", "RayShards", "an integer >= 1", actors)
        if not cpus_per_actor >= 1e-4:
            raise ParameterError.of("cpus_per_actor", "RayShards", "a number >= 0.0001", cpus_per_actor)
        if not gpus_per_actor >= 0:
            raise ParameterError.of("gpus_per_actor", "RayShards", "a number >= 0", gpus_per_actor)
        self.actors, self.cpus, self.gpus = actors, cpus_per_actor, gpus_per_actor
        room = LIGHT * (READS + _streamers(actors))
        self._connection: Connection = connect(address, num_cpus=whole(actors * cpus_per_actor + room))
        self.workers: list[Any] = []
        self._recipe: Any = None
        try:
            require(actors, {"CPU": cpus_per_actor, "GPU": gpus_per_actor}, "shards")
            leave_room(actors * cpus_per_actor, room)
        except BaseException:
            self.close()
            raise

    def memory(self) -> int:
        """Bytes that the cluster offers to workers."""
        return int(sum(node.get("memory", 0.0) for node in node_resources()))

    def take(self, rows: ParquetRows, block: int, positions: Ids) -> pa.Table:
        """Reads rows by their numbers: every block, on the cluster unless there are few; what is wanted comes here."""
        if rows.bytes < _READ_HERE:
            return taker(rows, block)(positions)
        some = ray.put(positions)
        tables = stream(rows, partial(_Taker, some), columns=None, block=block)
        return pa.concat_tables([table for table in tables if table.num_rows])

    def build(self, recipe: Recipe) -> RayParts:
        """Makes the shards; returns once all are made.

        Raises:
            DataError: rows that cannot be read or encoded.
        """
        placed = self._recipe = ray.put(recipe)  # kept: an actor that starts again reads it again
        make = ray.remote(ShardActor).options(
            num_cpus=self.cpus, num_gpus=self.gpus, max_restarts=_RESTARTS, max_task_retries=_RESTARTS
        )
        threads = max(1, int(self.cpus))
        self.workers = [make.remote([placed], spans, threads) for spans in shares(recipe, self.actors)]
        parts = RayParts(self.workers)
        parts.ask("ready", ())
        return parts

    def stream(self, recipe: Recipe, make: Callable[[], Work]) -> Iterator[pa.Table]:
        """What is made of each block of the recipe's rows, in order.

        Args:
            recipe: of the shards.
            make: makes the work, such as `partial(NeighborTable, parts, recipe, ...)`; see
                `raydm.distributed.streaming.stream`.
        """
        yield from stream(
            cast(ParquetRows, recipe.rows),
            make,
            columns=recipe.encoder.columns,
            block=recipe.block,
            workers=_streamers(len(self.workers)),
        )

    def close(self) -> None:
        """Ends the shards, and the cluster where it was started for them."""
        for worker in self.workers:
            ray.kill(worker)
        self.workers = []
        self._connection.close()


def shares(recipe: Recipe, parts: int) -> list[list[Span]]:
    """Which spans each of at most so many parts holds: dealt out in turn, so that sorted rows are spread."""
    graphs = any(t is not None and t.spec.kind == "hnsw" for t in recipe.indexes.values())
    if graphs:  # whole graphs, whose rows do not depend on how many parts there are
        size = GRAPH_POINTS // recipe.block * recipe.block
        every = [(a, min(a + size, len(recipe.rows))) for a in range(0, len(recipe.rows), size)]
    else:
        blocks = -(-len(recipe.rows) // recipe.block)
        every = read_spans(cast(ParquetRows, recipe.rows), recipe.block, min(_DEALT, blocks // parts))
    parts = min(parts, len(every))
    return [every[part::parts] for part in range(parts)]


class _Taker:
    def __init__(self, positions: Any) -> None:
        self._positions: Ids = ray.get(positions)

    def __call__(self, first: int, table: pa.Table) -> pa.Table:
        return taken(first, table, self._positions)


def _streamers(actors: int) -> int:
    """Workers that keep so many shards busy."""
    return max(WORKERS, -(-actors // 8))


def whole(cpus: float) -> int:
    """CPUs that a cluster which is started here should offer: those of the machine, or more if so many are needed."""
    return max(math.ceil(cpus), os.cpu_count() or 1)


def leave_room(taken: float, needed: float, *, flag: str = "actor") -> None:
    """Refuses at once actors that leave too few CPUs to a stream, which would wait for ever and say nothing.

    Args:
        taken: CPUs of the actors.
        needed: of the stream.
        flag: what flags call one of the actors.

    Raises:
        ClusterError: the cluster has fewer than both together.
    """
    total = sum(node.get("CPU", 0.0) for node in node_resources())
    if total < taken + needed:
        raise ClusterError(
            f"The {flag}s take {taken:g} of the cluster's {total:g} CPUs, and the stream needs {needed:g} beside them. "
            f"Ask for fewer (--{flag}s), for less each (--cpus-per-{flag}), or add nodes."
        )
