"""Values of rows that are streamed: the same bits as those of rows in memory, in a file of the same columns."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from raydm.data.blocks import ROWS, ParquetRows
from raydm.data.prepare import encode_with_events
from raydm.neighborhood import marks_of, notes_of, repeated, with_note
from raydm.neighborhood.ids import refuse
from raydm.neighborhood.rows import id_type_of
from raydm.report.run import Run
from raydm.report.stream import write_tables

BLOCK = ROWS  # as `raydm.valuation.ValueFunction.values` values them
RANKED = 2**26  # rows up to which ranks are computed: they need 24 bytes a row


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

    The values alone are held, 8 bytes a row and 24 while they are ranked; where there are more than 2^26 rows, ranks
    are left out.

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
    kept = _Kept(total if ranks else 0, total if scorer.id else 0)
    passing = kept.watch(notes_of(iter(tables), said))
    if not ranks:
        print(f"raydm: {total} rows are too many to rank in memory; the file has no column rank", file=sys.stderr)
        write_tables(file, passing, scorer.schema, total=total, desc="score", quiet=quiet)
        _check_ids(kept, scorer, file)
        return Done(kept.sum / total, kept.selected)
    with tempfile.NamedTemporaryFile(prefix=".raydm-", suffix=".parquet", dir=file.parent) as first:
        path = Path(first.name)
        write_tables(path, passing, scorer.schema, total=total, desc="score", quiet=quiet)
        _check_ids(kept, scorer, path)
        rank = np.empty(total, np.int64)
        rank[np.argsort(-kept.values, kind="stable")] = np.arange(1, total + 1)
        schema = scorer.schema.insert(2, pa.field("rank", pa.int64()))
        ranked = (
            table.add_column(2, schema.field("rank"), pa.array(rank[start : start + table.num_rows]))
            for start, table in ParquetRows.open([path]).blocks()
        )
        write_tables(file, ranked, schema, total=total, desc="rank", quiet=True)
    return Done(float(kept.values.mean()), kept.selected)


class _Kept:
    """What is kept of the rows that pass."""

    def __init__(self, values: int, ids: int) -> None:
        self.values, self.marks = np.empty(values), np.empty(ids, np.uint64)
        self.sum, self.selected = 0.0, 0

    def watch(self, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
        done = 0
        for table in tables:
            rows = slice(done, done + table.num_rows)
            values = table.column("value").to_numpy()
            if len(self.values):
                self.values[rows] = values
            if len(self.marks):
                ids = table.column("id")
                self.marks[rows] = marks_of(ids.to_numpy() if pa.types.is_integer(ids.type) else ids.combine_chunks())
            self.sum += float(values.sum())
            self.selected += int(table.column("selected").to_numpy().sum())
            done += table.num_rows
            yield table


def _check_ids(kept: _Kept, scorer: Scorer, written: Path) -> None:
    """Raises DataError where an id stands twice among the rows that were written."""
    for one, other in repeated(kept.marks):
        first, second = (_id(written, row) for row in (one, other))
        if first == second:
            raise refuse(scorer.rows, str(scorer.id), first, one, other)


def _id(file: Path, row: int) -> object:
    rows = ParquetRows.open([file])
    _, table = next(rows.blocks((row, row + 1), columns=["id"], rows=1))
    return table.column("id")[0].as_py()
