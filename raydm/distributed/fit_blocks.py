"""Blocks of rows for a worker of `raydm fit`, read and encoded by Ray Data while the worker trains."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import ray
import ray.data
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from raydm.data import to_array, vector_column
from raydm.distributed.streaming import LIGHT, READS, data_context, told
from raydm.fitting import Encoded, Mixture

_BLOCK, _NOTE = "__block__", "__note__"
_READ_BYTES = 2**24  # of a read, about
_READ_BLOCKS = 8  # of a read, at most
_STORE_BYTES = 2**29  # of the object store, for what a worker has read ahead


class RayBlocks:
    """A `raydm.fitting.Source` that reads by Ray Data: in order, and only as far ahead as its memory allows.

    Args:
        mixture: the rows.
        placed: the mixture in the object store, in a list.

    Attributes:
        notes: what blocks warned of so far.
    """

    def __init__(self, mixture: Mixture, placed: list[Any]) -> None:
        self._placed, self._bytes = placed, mixture.block * max(part.rows.row_bytes for part in mixture.parts)
        self.notes: list[str] = []

    def read(self, blocks: Iterator[int]) -> Iterator[Encoded]:
        """The rows of each block that weigh anything, in the order of the blocks.

        Raises:
            DataError: rows that cannot be read or encoded.
            ClusterError: who reads them died again and again.
        """
        numbers = list(blocks)
        size = max(1, min(_READ_BLOCKS, int(_READ_BYTES / max(self._bytes, 1))))
        reads = [numbers[a : a + size] for a in range(0, len(numbers), size)]
        with data_context(_STORE_BYTES) as context:
            dataset = ray.data.read_datasource(
                _BlockSource(self._placed, reads, int(self._bytes)),
                override_num_blocks=len(reads),
                num_cpus=LIGHT,
                concurrency=READS,
            )
            dataset.context.execution_options = context.execution_options
            expected = iter(numbers)
            with told():
                for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1):
                    yield from self._blocks(table, expected)

    def _blocks(self, table: pa.Table, expected: Iterator[int]) -> Iterator[Encoded]:
        self.notes += [note for note in table.column(_NOTE).drop_null().to_pylist() if note not in self.notes]
        of = table.column(_BLOCK).to_numpy()
        x, y, w = (_array(table.column(name)) for name in "xyw")
        starts = np.flatnonzero(np.r_[True, of[1:] != of[:-1]])
        for start, end in zip(starts, [*starts[1:], len(of)], strict=True):
            if of[start] != next(expected):
                raise RuntimeError("Ray Data gave blocks in another order than they were read in.")
            yield Encoded(x[start:end], y[start:end], w[start:end])


class _BlockSource(Datasource):
    """Some blocks a read, as one table with their numbers."""

    def __init__(self, placed: list[Any], reads: list[list[int]], block_bytes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._placed, self._reads, self._bytes = placed, reads, block_bytes

    def get_name(self) -> str:
        return "Blocks"

    def estimate_inmemory_data_size(self) -> int:
        return sum(len(numbers) for numbers in self._reads) * self._bytes

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        return [
            ReadTask(
                partial(_read, self._placed, numbers),
                BlockMetadata(num_rows=None, size_bytes=len(numbers) * self._bytes, input_files=None, exec_stats=None),
            )
            for numbers in self._reads
        ]


def _read(placed: list[Any], numbers: list[int]) -> list[pa.Table]:
    mixture = _fetched(placed[0])
    every = mixture.blocks
    return [pa.concat_tables([_table(number, *mixture.encoded(every[number])) for number in numbers])]


@lru_cache(maxsize=1)
def _fetched(reference: Any) -> Mixture:
    """Once in each process: a tokenizer takes long to unpack."""
    mixture: Mixture = ray.get(reference)
    return mixture


def _table(number: int, rows: Encoded, events: list[str]) -> pa.Table:
    n = len(rows)
    notes = pa.array(["; ".join(events) or None] + [None] * (n - 1), pa.string())
    columns = {_BLOCK: pa.array(np.full(n, number)), _NOTE: notes}
    return pa.table(columns | {"x": _column(rows.x), "y": _column(rows.y), "w": pa.array(rows.w)})


def _column(values: npt.NDArray[Any]) -> pa.Array:
    return pa.array(values) if values.ndim == 1 else vector_column(values)


def _array(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    vectors = isinstance(column.type, pa.BaseExtensionType)
    return to_array(column) if vectors else column.to_numpy()
