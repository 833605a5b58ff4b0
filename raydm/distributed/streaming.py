"""Rows streamed through Ray Data: read in blocks, worked on by a few actors, handed on in order.

A read gives some blocks as one table, with the rows' numbers beside them; so nothing depends on how Ray Data cuts or
carries its own blocks, and a block is worked on again if its actor dies. Ray Data reads only as far ahead as its share
of the object store allows, and the driver holds a few results at a time.
"""

from __future__ import annotations

import logging
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

import pyarrow as pa
import ray
import ray.data
import torch
from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

from raydm.data.blocks import ParquetRows, Span, spans
from raydm.distributed.cluster import hide_gpus
from raydm.errors import ClusterError, RaydmError

NUMBER = "__row__"
# What is done with a block: of the number of its first row and B rows, a table.
Work = Callable[[int, pa.Table], pa.Table]

WORKERS = 2  # while one waits for its answers, the other asks
LIGHT = 0.25  # CPUs that Ray reserves for a read, and for a worker that mostly waits
READS = 2
_WINDOW = 2  # blocks that each works on at once
_SPAN_BYTES = 2**25  # of a read
_SPAN_BLOCKS = 4  # of a read at most: results come, and progress is told, by spans
_STORE_BYTES = 2**31  # of the object store, for blocks that are read and not yet worked on


def stream(
    rows: ParquetRows,
    make: Callable[[], Work],
    *,
    columns: Sequence[str] | None,
    block: int,
    workers: int = WORKERS,
    cpus_per_worker: float = LIGHT,
    window: int = _WINDOW,
) -> Iterator[pa.Table]:
    """What is made of each block, in the order of the rows.

    Args:
        rows: all rows; every node must see the files under the same names.
        make: makes the work, once in each worker; it travels.
        columns: that are read; None: all.
        block: rows that are worked on at once; blocks begin at multiples of it.
        workers: actors that work.
        cpus_per_worker: that Ray reserves for each.
        window: blocks that each works on at once, in threads: more than one helps where work waits for others.

    Raises:
        RaydmError: what the work raised.
        ClusterError: workers died again and again.
    """
    with data_context() as context:
        read = ray.data.read_datasource(
            _RowSource(rows, columns, read_spans(rows, block), block),
            override_num_blocks=len(read_spans(rows, block)),
            num_cpus=LIGHT,
            concurrency=READS,
        )
        made = read.map_batches(
            _Worker,
            fn_constructor_args=(make, block, window),
            batch_size=None,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=cpus_per_worker,
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=2),
        )
        made.context.execution_options = context.execution_options
        with told():
            yield from made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)


def read_spans(rows: ParquetRows, block: int, most: int = _SPAN_BLOCKS) -> list[Span]:
    """The rows in spans of whole blocks, some MiB and at most so many blocks each."""
    fit = int(_SPAN_BYTES / max(rows.row_bytes * block, 1))
    return spans(len(rows), block * max(1, min(fit, most)))


class _RowSource(Datasource):
    """Reads spans of rows, each as one table with the rows' numbers."""

    def __init__(self, rows: ParquetRows, columns: Sequence[str] | None, parts: list[Span], block: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rows, self._columns, self._parts, self._block = rows, columns, parts, block

    def get_name(self) -> str:
        return "Rows"

    def estimate_inmemory_data_size(self) -> int:
        return int(self._rows.bytes)

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        tasks = []
        for span in self._parts:
            count = span[1] - span[0]
            about = BlockMetadata(
                num_rows=count, size_bytes=int(count * self._rows.row_bytes), input_files=None, exec_stats=None
            )
            tasks.append(ReadTask(partial(_read_span, self._rows, span, self._columns, self._block), about))
        return tasks


def _read_span(rows: ParquetRows, span: Span, columns: Sequence[str] | None, block: int) -> list[pa.Table]:
    table = pa.concat_tables([t for _, t in rows.blocks(span, columns=columns, rows=block)])
    return [table.append_column(NUMBER, pa.array(range(*span), pa.int64()))]


class _Worker:
    """Works on blocks, some at a time, and gives the results in order."""

    def __init__(self, make: Callable[[], Work], block: int, window: int) -> None:
        torch.set_num_threads(1)
        hide_gpus()
        self._work, self._block, self._window = make(), block, window
        self._pool = ThreadPoolExecutor(window)

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        numbers, rows = table.column(NUMBER), table.drop_columns([NUMBER])
        pending: deque[Future[pa.Table]] = deque()
        for start in range(0, table.num_rows, self._block):
            if len(pending) == self._window:
                yield pending.popleft().result()
            piece = rows.slice(start, self._block)
            pending.append(self._pool.submit(self._work, numbers[start].as_py(), piece))
        while pending:
            yield pending.popleft().result()


@contextmanager
def data_context(store_bytes: int = _STORE_BYTES) -> Iterator[ray.data.DataContext]:
    """Ray Data's settings for our streams alone; it is quiet, and holds so many bytes in the object store."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of Ray's own old settings, which a copy sets again
        context = deepcopy(ray.data.DataContext.get_current())
    context.target_max_block_size = None  # a read's table stays whole, and so blocks begin where they should
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = context.execution_options.resource_limits.copy(
        object_store_memory=store_bytes
    )
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with ray.data.DataContext.current(context):
            yield context
    finally:
        logger.setLevel(level)


@contextmanager
def told() -> Iterator[None]:
    """Tells Ray's errors in our words: the work's own error, wherever Ray has wrapped it, or that actors died."""
    try:
        yield
    except RaydmError as error:
        if isinstance(error, ray.exceptions.RayTaskError):  # which Ray makes of both kinds; it cannot travel
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, RaydmError):
                raise cause from None
            cause = getattr(cause, "cause", None) or cause.__cause__
        if isinstance(error, ray.exceptions.RayTaskError):
            raise
        raise ClusterError(
            f"Actors died again and again. They may be out of memory: spread the rows over more of them (--actors), or "
            f"allow the index less (--memory). Ray says: {error}"
        ) from error
