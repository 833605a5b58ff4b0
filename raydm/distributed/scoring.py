"""Rows streamed through actors that each work by themselves, such as `raydm score`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import ray

from raydm.data.blocks import ParquetRows
from raydm.distributed.cluster import connect, require
from raydm.distributed.neighbors import leave_room, whole
from raydm.distributed.streaming import LIGHT, READS, Work, stream
from raydm.errors import ParameterError


class RayStream:
    """A Ray cluster with so many workers, one CPU each; joined or started, and left as it was found.

    Args:
        workers: actors, >= 1.
        address: of a running cluster; None: RAY_ADDRESS, else one is started here.

    Raises:
        ParameterError: workers out of range.
        ClusterError: no cluster, or one that can never place the workers and, beside them, the reads.
    """

    def __init__(self, workers: int, *, address: str | None = None) -> None:
        if workers < 1:
            raise ParameterError.of("workers", "RayStream", "an integer >= 1", workers)
        self.workers = workers
        self._connection = connect(address, num_cpus=whole(workers + LIGHT * READS))
        try:
            require(workers, {"CPU": 1.0}, "workers")
            leave_room(workers, LIGHT * READS)
        except BaseException:
            self._connection.close()
            raise

    def stream(self, rows: ParquetRows, work: Work, *, columns: Sequence[str], block: int) -> Iterator[pa.Table]:
        """What work, which travels, makes of each block, in the order of the rows."""
        make = _Fetch(ray.put(work))
        yield from stream(rows, make, columns=columns, block=block, workers=self.workers, cpus_per_worker=1.0, window=1)

    def __enter__(self) -> RayStream:
        return self

    def __exit__(self, *error: Any) -> None:
        self._connection.close()


class _Fetch:
    """Gets the work from the object store, once in each worker."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def __call__(self) -> Work:
        work: Work = ray.get(self._reference)
        return work
