"""Rows in blocks: any part of large Parquet files, without the rest of them.

Rows are numbered 0 .. N - 1 over all files, in the order in which `read_table` puts them. A block begins at a multiple
of its size, whatever files and row groups there are: so what is computed block by block does not depend on who reads.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from raydm.data.files import (
    UNREADABLE,
    Source,
    check_names,
    check_same_columns,
    list_files,
    listing,
    read_table,
    unreadable,
)
from raydm.errors import DataError

ROWS = 8192  # of a block
_BUFFER = 2**16  # bytes of a column chunk that are held while it is read

Span = tuple[int, int]  # of rows: from, to (exclusive)


class Rows(Protocol):
    """N rows that can be read in blocks."""

    @property
    def schema(self) -> pa.Schema:
        """Of the columns, without metadata."""
        ...

    def __len__(self) -> int:
        """N."""
        ...

    @property
    def row_bytes(self) -> float:
        """Of one row, uncompressed, on average."""
        ...

    def blocks(
        self, span: Span | None = None, *, columns: Sequence[str] | None = None, rows: int = ROWS
    ) -> Iterator[tuple[int, pa.Table]]:
        """The rows of a span, as (number of the first row, table), in order.

        Args:
            span: which rows; None: all. It begins at a multiple of `rows`.
            columns: which columns; None: all.
            rows: of a block; only the last of the span may have fewer.

        Raises:
            DataError: a file is torn.
        """
        ...

    def where(self, first: int, count: int) -> str:
        """What to call `count` rows from row `first` in messages: the file, and the row from which these count."""
        ...


@dataclass(frozen=True)
class ParquetRows:
    """The rows of Parquet files; it holds no row, and travels.

    Attributes:
        files: in the order of the rows.
        starts: the number of each file's first row, and N at the end.
        schema: of all, without metadata.
        bytes: of all rows, uncompressed.
    """

    files: tuple[Path, ...]
    starts: tuple[int, ...]
    schema: pa.Schema
    bytes: int

    @classmethod
    def open(cls, files: Sequence[Path]) -> ParquetRows:
        """Reads the files' ends, which tell their columns and how many rows they have.

        Raises:
            DataError: a file is torn, files disagree in their columns, or there are no rows.
        """
        starts, schemas, size = [0], [], 0
        for file in files:
            try:
                with pq.ParquetFile(file) as opened:
                    starts.append(starts[-1] + opened.metadata.num_rows)
                    schemas.append(opened.schema_arrow.remove_metadata())
                    size += sum(opened.metadata.row_group(i).total_byte_size for i in range(opened.num_row_groups))
            except UNREADABLE as error:
                raise unreadable(file, error) from error
            check_names(schemas[-1].names, str(file))
            check_same_columns(files[0], schemas[0], file, schemas[-1])
        if starts[-1] == 0:
            raise DataError(f"{listing(files)}: no rows, only the header. At least one row is needed.")
        schema = schemas[0] if len(files) == 1 else pa.unify_schemas(schemas, promote_options="permissive")
        return cls(tuple(files), tuple(starts), schema, size)

    def absolute(self) -> ParquetRows:
        """The same, for processes whose current folder is another."""
        return replace(self, files=tuple(file.absolute() for file in self.files))

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def row_bytes(self) -> float:
        """Of one row, uncompressed, on average."""
        return self.bytes / len(self)

    def blocks(
        self, span: Span | None = None, *, columns: Sequence[str] | None = None, rows: int = ROWS
    ) -> Iterator[tuple[int, pa.Table]]:
        """See `Rows`."""
        first, end = span or (0, len(self))
        held: list[pa.Table] = []
        for piece in self._pieces(first, end, columns, rows):
            held.append(piece)
            while (count := sum(t.num_rows for t in held)) >= rows or (held and first + count == end):
                table = held[0] if len(held) == 1 else pa.concat_tables(held)
                yield first, table.slice(0, rows)
                first += min(rows, count)
                held = [table.slice(rows)] if count > rows else []

    def _pieces(self, first: int, end: int, columns: Sequence[str] | None, rows: int) -> Iterator[pa.Table]:
        schema = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        for file, start, stop in zip(self.files, self.starts, self.starts[1:], strict=False):
            if first < stop and start < end:
                for table in _read(file, max(first, start) - start, min(end, stop) - start, columns, rows):
                    yield table if table.schema == schema else table.select(schema.names).cast(schema)

    def where(self, first: int, count: int) -> str:
        """See `Rows`."""
        place = bisect.bisect_right(self.starts, first) - 1
        more = "" if first + count <= self.starts[place + 1] else " and the next file"
        return f"{self.files[place]}{more}{_from(first - self.starts[place], count)}"


def _read(file: Path, first: int, end: int, columns: Sequence[str] | None, rows: int) -> Iterator[pa.Table]:
    """The rows first .. end - 1 of one file, some at a time, from the row groups that hold them."""
    try:
        with pq.ParquetFile(file, buffer_size=_BUFFER) as opened:
            at, begin = 0, 0
            groups: list[int] = []
            for group in range(opened.num_row_groups):
                count = opened.metadata.row_group(group).num_rows
                if first < at + count and at < end:
                    begin = begin if groups else at
                    groups.append(group)
                at += count
            # One thread, for several take twice the work to decode so few rows; who waits for it reads ahead
            wanted = None if columns is None else [*columns]
            for batch in opened.iter_batches(rows, row_groups=groups, columns=wanted, use_threads=False):
                batch.validate(full=True)
                low, high = max(first - begin, 0), min(end - begin, batch.num_rows)
                if low < high:
                    yield pa.Table.from_batches([batch]).slice(low, high - low).replace_schema_metadata(None)
                begin += batch.num_rows
                if begin >= end:
                    return
    except UNREADABLE as error:
        raise unreadable(file, error, f", rows {first + 1} to {end}") from error


@dataclass(frozen=True)
class TableRows:
    """The rows of a table in memory.

    Attributes:
        table: N rows.
        name: what to call it in messages.
    """

    table: pa.Table
    name: str

    @property
    def schema(self) -> pa.Schema:
        """Of the table."""
        return self.table.schema

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def row_bytes(self) -> float:
        """Of one row, on average."""
        return float(self.table.nbytes / len(self))

    def blocks(
        self, span: Span | None = None, *, columns: Sequence[str] | None = None, rows: int = ROWS
    ) -> Iterator[tuple[int, pa.Table]]:
        """See `Rows`."""
        first, end = span or (0, len(self))
        table = self.table if columns is None else self.table.select([*columns])
        for start in range(first, end, rows):
            yield start, table.slice(start, min(rows, end - start))

    def where(self, first: int, count: int) -> str:
        """See `Rows`."""
        return f"{self.name}{_from(first, count)}"


def open_rows(source: Source | Sequence[Source]) -> ParquetRows | TableRows:
    """The rows of table files: Parquet is read when it is needed, anything else now.

    Raises:
        DataError: as `read_table`.
    """
    files = list_files(source)
    if all(file.name.lower().endswith((".parquet", ".pq")) for file in files):
        return ParquetRows.open(files)
    return TableRows(read_table(source), listing(files))


def spans(count: int, size: int) -> list[Span]:
    """0 .. count - 1 in spans of `size` rows; the last may be smaller."""
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def _from(first: int, count: int) -> str:
    """Behind the name of a file: which row is meant, or from which row a message about a block counts rows."""
    if count == 1:
        return f", row {first + 1}"
    return f", counted from row {first + 1}" if first else ""
