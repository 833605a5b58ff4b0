"""A Parquet file from tables that come one after another: in bounded memory, whole or not at all."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

GROUP = 2**16  # rows of a row group


def write_tables(
    file: Path, tables: Iterable[pa.Table], schema: pa.Schema, *, total: int, desc: str, quiet: bool = False
) -> float:
    """Writes the tables' rows in order, with a progress bar on stderr.

    Args:
        file: the place, such as `raydm.report.atomic.new_file` gives.
        tables: of the schema, each of any number of rows.
        schema: of the file.
        total: rows that will come.
        desc: of the bar.
        quiet: no bar.

    Returns:
        Seconds from the first table that was asked for to the last that was written.

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
        for table in tables:
            held.append(table)
            bar.update(table.num_rows)
            if sum(t.num_rows for t in held) >= GROUP:
                writer.write_table(pa.concat_tables(held), row_group_size=2 * GROUP)
                held = []
        if held:
            writer.write_table(pa.concat_tables(held), row_group_size=2 * GROUP)
    return time.perf_counter() - started


def _holds_text(kind: pa.DataType) -> bool:
    while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind))
