"""Mixed rows that are streamed: each once, in the order that rows in memory have, in a file of the same columns."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from raydm.data.blocks import ParquetRows
from raydm.mixing.options import DISTANCES
from raydm.mixing.streamed import PARENT, PARTNER
from raydm.report.distinct import FirstPairs
from raydm.report.stream import write_tables


def write_mixed(
    file: Path, tables: Iterable[pa.Table], schema: pa.Schema, *, rows: int, expected: int, quiet: bool = False
) -> int:
    """Writes what `raydm.mixing.streamed.MixBlock` makes, without what another block repeats.

    All of it is first written beside the file, with 32 bytes more a pair; then the rows that stand once are copied,
    those of neighbours by data before those by label. Of two rows that are alike the first in this order stays.

    Args:
        file: the place, such as `raydm.report.atomic.new_file` gives.
        tables: of the blocks, in the order of the rows, without notes.
        schema: theirs, `raydm.mixing.streamed.mixed_schema`.
        rows: N, of which the blocks are, for the progress bar.
        expected: about how many pairs there will be.
        quiet: no progress bar.

    Returns:
        How many rows were written.

    Raises:
        OSError: it cannot be written.
    """
    with tempfile.TemporaryDirectory(prefix=".raydm-", dir=file.parent) as name:
        folder = Path(name)
        with FirstPairs(folder, expected) as pairs:
            every = folder / "every.parquet"
            write_tables(every, _watched(tables, pairs, rows, quiet), schema, total=rows, desc="mix", quiet=True)
            first = pairs.first()
        final = pa.schema([field for field in schema if field.name not in (PARENT, PARTNER)])
        total = int(first.sum())
        once = _once(every, first, final.names) if total else iter(())
        write_tables(file, once, final, total=total, desc="write", quiet=quiet)
    return total


def _watched(tables: Iterable[pa.Table], pairs: FirstPairs, rows: int, quiet: bool) -> Iterator[pa.Table]:
    """The tables as they pass; progress is told by their parents' row numbers."""
    done = 0
    with tqdm(total=rows, desc="mix", unit="row", unit_scale=True, file=sys.stderr, disable=quiet) as bar:
        for table in tables:
            if table.num_rows:
                parent, partner, lam = (table.column(name).to_numpy() for name in (PARENT, PARTNER, "mix_lambda"))
                kind = pc.index_in(table.column("mix_kind"), pa.array(DISTANCES)).to_numpy().astype(np.int64)
                pairs.add(parent, partner, lam, kind)
                bar.update(int(parent.max()) + 1 - done)
                done = int(parent.max()) + 1
                yield table
        bar.update(rows - done)


def _once(file: Path, first: npt.NDArray[np.bool_], names: list[str]) -> Iterator[pa.Table]:
    """The pairs that stand once, kind by kind."""
    written = ParquetRows.open([file])
    for distance in DISTANCES:
        for start, table in written.blocks(columns=names):
            mine = pc.equal(table.column("mix_kind"), distance)
            some = pc.and_(mine, pa.array(first[start : start + table.num_rows]))
            yield table.filter(some)
