"""Values of rows that are streamed: the same bits as those of rows in memory, in a file of the same columns."""

from __future__ import annotations

import ctypes
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from tqdm import tqdm

from raydm.data.blocks import ROWS, ParquetRows
from raydm.data.prepare import encode_with_events
from raydm.neighborhood import marks_of, notes_of, with_note
from raydm.neighborhood.ids import refuse
from raydm.neighborhood.rows import id_type_of
from raydm.report.ahead import ahead
from raydm.report.run import Run
from raydm.report.spill import Places, Spill
from raydm.report.stream import write_tables

BLOCK = ROWS  # as `raydm.valuation.ValueFunction.values` values them
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h
RANKED = 2**26  # rows up to which ranks are computed: these are sorted on disk, in at most 256 parts


class Scorer:
    """Values a block of rows.

    Args:
        run: whose value function it is.
        threshold: rows of at least this value are selected.
        rows: that the blocks are of.

    Raises:
        RunError: the run's method values only the rows that it was run on.
    """

    def __init__(self, run: Run, threshold: float, rows: ParquetRows) -> None:
        run.check_values()
        self.run, self.threshold, self.rows = run, threshold, rows
        roles = run.roles
        self.id = roles.id if roles.id in rows.schema.names else None
        named = [*roles.features, *roles.labels, *([self.id] if self.id else [])]
        self.columns = [name for name in dict.fromkeys(named) if name in rows.schema.names]
        kind = id_type_of(rows.schema, self.id)
        self.schema = pa.schema([("id", kind), ("value", pa.float64()), ("selected", pa.bool_())])

    def __call__(self, first: int, table: pa.Table) -> pa.Table:
        """id, value and selected of B rows; `first` is the number of the first."""
        examples, events = encode_with_events(self.run, table, self.rows.where(first, table.num_rows))
        values = self.run.values(examples)
        ids = examples.ids if self.id else np.arange(first, first + len(examples))
        columns = [
            pa.array(ids).cast(self.schema.field("id").type),
            pa.array(values),
            pa.array(values >= self.threshold),
        ]
        return with_note(pa.Table.from_arrays(columns, schema=self.schema), events)


def keep_memory() -> None:
    """Lets this process keep memory that it frees, up to 256 MiB; of programs of ours alone, for it holds for good.

    glibc and Arrow hand what a block took back to the kernel, and get it again page by page: a third of the time.
    """
    try:
        tune = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    tune(_MMAP_THRESHOLD, 2**25)  # the most that it takes
    tune(_TRIM_THRESHOLD, 2**28)
    pa.set_memory_pool(pa.system_memory_pool())


def score_here(rows: ParquetRows, scorer: Scorer, *, threads: int) -> Iterator[pa.Table]:
    """What the scorer makes of each block, in the order of the rows; by threads of this process.

    Torch has one thread in each of them, as it has where rows are in memory: the bits are the same.
    """
    before = torch.get_num_threads()
    blocks = rows.blocks(columns=scorer.columns, rows=BLOCK)
    one = partial(torch.set_num_threads, 1)
    try:
        yield from ahead(lambda block: scorer(*block), blocks, threads=threads, begin=one, name="raydm-score")
    finally:
        torch.set_num_threads(before)  # libraries below it have one number for all threads


@dataclass(frozen=True)
class Done:
    """What was written.

    Attributes:
        mean: of the values.
        selected: how many rows are.
    """

    mean: float
    selected: int


def write_values(file: Path, tables: Iterable[pa.Table], scorer: Scorer, said: list[str], *, quiet: bool) -> Done:
    """Writes id, value, rank (1 is the most valuable, ties in the order of the rows) and selected.

    What it needs beside some blocks lies on disk, below the folder of the file. Where there are more than 2^26 rows,
    ranks are left out.

    Args:
        file: the place, such as `raydm.report.atomic.new_file` gives.
        tables: what the scorer made, in the order of the rows.
        scorer: made them.
        said: takes what blocks warn of.
        quiet: no progress bar.

    Raises:
        DataError: an id stands twice.
        OSError: it cannot be written.
    """
    total = len(scorer.rows)
    ranks = total <= RANKED
    if not ranks:
        print(f"raydm: {total} rows are too many to rank; the file has no column rank", file=sys.stderr)
    with _Kept(file.parent, ranks=ranks, ids=bool(scorer.id)) as kept:
        passing = kept.watch(notes_of(iter(tables), said))
        if not ranks:
            write_tables(file, passing, scorer.schema, total=total, desc="score", quiet=quiet)
            _check_ids(kept, scorer, lambda row: _id(ParquetRows.open([file]).blocks(columns=["id"]), row))
            return Done(kept.sum / total, kept.selected)
        with tempfile.NamedTemporaryFile(prefix=".raydm-", dir=file.parent) as first:
            _hold(first.name, passing, scorer.schema, total=total, quiet=quiet)
            _check_ids(kept, scorer, lambda row: _id(_held(first.name), row))
            schema = scorer.schema.insert(2, pa.field("rank", pa.int64()))
            write_tables(file, _ranked(_held(first.name), kept.values.ranks(), schema), schema, total=total,
                         desc="rank", quiet=True)  # fmt: skip
        return Done(kept.sum / total, kept.selected)


def mean_of(values: npt.NDArray[np.float64]) -> float:
    """The mean (N,) as rows that are streamed have it: a sum of the sums of blocks."""
    return sum(float(values[start : start + BLOCK].sum()) for start in range(0, len(values), BLOCK)) / len(values)


class _Kept:
    """What is kept of the rows that pass."""

    def __init__(self, folder: Path, *, ranks: bool, ids: bool) -> None:
        self.values, self.marks = Spill(folder, np.float64), Spill(folder, np.uint64)
        self.ranks, self.ids = ranks, ids
        self.sum, self.selected = 0.0, 0

    def watch(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        for table in tables:
            values = table.column("value").to_numpy()
            if self.ranks:
                self.values.add(-values)  # the most valuable first
            if self.ids:
                ids = table.column("id")
                self.marks.add(marks_of(ids.to_numpy() if pa.types.is_integer(ids.type) else ids.combine_chunks()))
            self.sum += float(values.sum())
            self.selected += int(table.column("selected").to_numpy().sum())
            yield table

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *error: object) -> None:
        self.values.close()
        self.marks.close()


def _hold(file: str, tables: Iterable[pa.Table], schema: pa.Schema, *, total: int, quiet: bool) -> None:
    """Writes tables as they are, without the work that a Parquet file takes, for they are read once."""
    bar = tqdm(total=total, desc="score", unit="row", unit_scale=True, file=sys.stderr, disable=quiet)
    with bar, pa.OSFile(file, "wb") as opened, pa.ipc.new_stream(opened, schema) as writer:
        for table in tables:
            writer.write_table(table)
            bar.update(table.num_rows)


def _held(file: str) -> Iterator[tuple[int, pa.Table]]:
    """The tables again, each with the number of its first row."""
    first = 0
    with pa.OSFile(file) as opened, pa.ipc.open_stream(opened) as reader:
        for batch in reader:
            yield first, pa.Table.from_batches([batch])
            first += batch.num_rows


def _ranked(held: Iterator[tuple[int, pa.Table]], ranks: Iterator[Places], schema: pa.Schema) -> Iterator[pa.Table]:
    """The tables with their ranks, which come in pieces of their own."""
    left = np.empty(0, np.int64)
    for _, table in held:
        while len(left) < table.num_rows:
            left = np.concatenate([left, next(ranks)])
        own, left = left[: table.num_rows], left[table.num_rows :]
        yield table.add_column(2, schema.field("rank"), pa.array(own))


def _check_ids(kept: _Kept, scorer: Scorer, id_of: Callable[[int], object]) -> None:
    """Raises DataError where an id stands twice among the rows that were written."""
    for one, other in kept.marks.repeated():
        first, second = id_of(one), id_of(other)
        if first == second:
            raise refuse(scorer.rows, str(scorer.id), first, one, other)


def _id(tables: Iterable[tuple[int, pa.Table]], row: int) -> object:
    return next(
        table.column("id")[row - first].as_py() for first, table in tables if first <= row < first + table.num_rows
    )
