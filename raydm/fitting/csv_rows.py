"""CSV that need not fit into memory, as Parquet that can be read in blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from raydm.data.blocks import ParquetRows
from raydm.data.files import check_names
from raydm.errors import DataError, RunError

_CSV = {".csv": ",", ".csv.gz": ",", ".tsv": "\t", ".tsv.gz": "\t"}
_READ = 2**25  # bytes of which the first tell the columns' types
_GROUP = 2**14  # rows of a row group: what is read of one block


def is_csv(files: Sequence[Path]) -> bool:
    """Whether all are CSV or TSV."""
    return all(file.name.lower().endswith(tuple(_CSV)) for file in files)


def as_parquet(files: Sequence[Path], folder: Path) -> ParquetRows:
    """Writes each file as Parquet, in the order of the files.

    Args:
        files: CSV or TSV, with a header.
        folder: is made if it is absent.

    Raises:
        DataError: a file is ragged, or a value does not suit the type that the file's beginning has.
        RunError: the folder cannot be written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{folder}: cannot be made ({error.strerror}). Name another place.") from error
    made = []
    for number, file in enumerate(files):
        made.append(folder / f"{number:05d}.parquet")
        _write(file, made[-1])
    return ParquetRows.open(made)


def _write(file: Path, to: Path) -> None:
    delimiter = next(d for suffix, d in _CSV.items() if file.name.lower().endswith(suffix))
    done = 0
    try:
        reader = pyarrow.csv.open_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(block_size=_READ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        )
        check_names(reader.schema.names, str(file))
        with pq.ParquetWriter(to, reader.schema) as writer:
            for batch in reader:
                writer.write_table(_missing(pa.Table.from_batches([batch])), row_group_size=_GROUP)
                done += batch.num_rows
    except pa.ArrowException as error:
        raise DataError(
            f"{file}, after row {done}: cannot be read as CSV: {error}. Its types are told by its beginning. Write it "
            "as Parquet, or mend the row."
        ) from error
    except OSError as error:
        raise RunError(f"{to}: cannot be written, or {file} not read ({error.strerror or error}).") from error


def _missing(table: pa.Table) -> pa.Table:
    """Empty cells of text are missing."""
    for place, column in enumerate(table.schema):
        if pa.types.is_string(column.type):
            values = table.column(place)
            empty = pc.equal(values, "")
            table = table.set_column(place, column, pc.if_else(empty, pa.scalar(None, column.type), values))
    return table
