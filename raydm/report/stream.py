"""A Parquet file from tables that come one after another: in bounded memory, whole or not at all."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

GROUP = 2**16  # rows of a row group


@dataclass(frozen=True)
class Written:
    """How it went.

    Attributes:
        seconds: from the first table that was asked for to the last that was written.
        rows_per_second: in the steady state: since the first table came, without its rows; overall, if it was alone.
    """

    seconds: float
    rows_per_second: float


def write_tables(
    file: Path, tables: Iterable[pa.Table], schema: pa.Schema, *, total: int, desc: str, quiet: bool = False
) -> Written:
    """Writes the tables' rows in order, with a progress bar on stderr.

    Args:
        file: the place, such as `raydm.report.atomic.new_file` gives.
        tables: of the schema, each of any number of rows.
        schema: of the file.
        total: rows that will come.
        desc: of the bar.
        quiet: no bar.

    Raises:
        OSError: it cannot be written.
    """
    started = time.perf_counter()
    texts = [
        f.name for f in schema if _holds_text(f.type)
    ]  # numbers seldom repeat, and a dictionary of them is in vain
    bar = tqdm(total=total, desc=desc, unit="row", unit_scale=True, file=sys.stderr, disable=quiet)
    with bar, pq.ParquetWriter(file, schema, use_dictionary=texts or False) as writer:
        held: list[pa.Table] = []
        came = None
        for table in tables:
            came = came or (time.perf_counter(), table.num_rows)
            held.append(table)
            bar.update(table.num_rows)
            if sum(t.num_rows for t in held) >= GROUP:
                writer.write_table(pa.concat_tables(held), row_group_size=2 * GROUP)
                held = []
        if held:
            writer.write_table(pa.concat_tables(held), row_group_size=2 * GROUP)
    ended = time.perf_counter()
    if came is None or came[1] >= total:
        came = started, 0
    return Written(ended - started, (total - came[1]) / (ended - came[0]))


def _holds_text(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind))
