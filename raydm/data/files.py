"""Reading table files: Parquet, CSV, TSV and Arrow, one or many, into one Arrow table."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from raydm.errors import DataError

Source = str | os.PathLike[str]

# What Arrow raises of a file that is torn; names that are not UTF-8 are found when they are asked for
UNREADABLE = (pa.ArrowException, OSError, UnicodeDecodeError)
SUFFIXES = (".parquet", ".pq", ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".arrow", ".feather", ".ipc")


def read_table(source: Source | Sequence[Source]) -> pa.Table:
    """Reads table files into one table.

    Parquet (``.parquet``, ``.pq``), CSV and TSV (also ``.gz``; first line is the header; empty cells are missing) and
    Arrow files (``.arrow``, ``.feather``, ``.ipc``; file or stream format) are told apart by their suffix. Many files
    are put after one another in sorted order; they must have the same columns, though integers in one file and
    fractions in another are joined as floats.

    Args:
        source: a file, a directory (all table files directly in it), a glob pattern, or a sequence of these.

    Returns:
        The table, at least one row, without schema metadata.

    Raises:
        DataError: a file is missing, unreadable, torn, ragged (the row is named), of an unknown suffix or not UTF-8;
            a pattern matches nothing; files disagree in their columns; or there are no rows.
    """
    files = list_files(source)
    tables = [_read(file) for file in files]
    for file, table in zip(files[1:], tables[1:], strict=True):
        check_same_columns(files[0], tables[0].schema, file, table.schema)
    table = tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="permissive")
    if table.num_rows == 0:
        raise DataError(f"{listing(files)}: no rows, only the header. At least one row is needed.")
    return table


def check_names(columns: Sequence[str], name: str) -> None:
    """Raises DataError where two columns of the table called ``name`` have the same name."""
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise DataError(f"{name}: more than one column is named {twice[0]!r}. Give every column its own name.")


def list_files(source: Source | Sequence[Source]) -> list[Path]:
    """The files that a source stands for, sorted."""
    if not isinstance(source, str | os.PathLike):
        if not source:
            raise DataError("An empty list of files was given. Name at least one file.")
        return sorted({file for part in source for file in list_files(part)})
    path = Path(source).expanduser()
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.name.endswith(SUFFIXES) and f.name[0] not in "._")
        if not files:
            raise DataError(f"{path}: the directory holds no table file ({', '.join(SUFFIXES)}).")
        return files
    if path.exists():
        return [path]
    if glob.has_magic(str(path)):
        files = sorted(Path(f) for f in glob.glob(str(path), recursive=True) if Path(f).is_file())
        if not files:
            raise DataError(f"{path}: no file matches this pattern. Check it from the directory {Path.cwd()}.")
        return files
    raise DataError(f"{path}: no such file or directory (looked from {Path.cwd()}).")


def _read(file: Path) -> pa.Table:
    """One file's table, without schema metadata."""
    name = file.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            table = pyarrow.parquet.ParquetFile(file).read()
        elif name.endswith((".arrow", ".feather", ".ipc")):
            table = _read_arrow(file)
        elif name.endswith((".csv", ".csv.gz", ".tsv", ".tsv.gz")):
            table = _read_csv(file, "\t" if ".tsv" in name else ",")
        else:
            raise DataError(f"{file}: unknown suffix {file.suffix!r}. Known are {', '.join(SUFFIXES)}.")
        check_names(table.column_names, str(file))
        table.validate(full=True)  # Arrow trusts what it reads: offsets that point elsewhere end the process later
    except UNREADABLE as error:
        raise unreadable(file, error) from error
    return table.replace_schema_metadata(None)


def unreadable(file: Path, error: Exception, where: str = "") -> DataError:
    """The error of a file that Arrow cannot read."""
    return DataError(
        f"{file}{where}: cannot be read as {file.suffix}: {str(error).rstrip('.')}. "
        "The file may be torn or of another format; write it anew."
    )


def _read_arrow(file: Path) -> pa.Table:
    """The Arrow file format, or else the stream format (which Hugging Face datasets write)."""
    with pa.memory_map(str(file)) as mapped:
        is_file_format = mapped.read(6) == b"ARROW1"
    with pa.OSFile(str(file)) as opened:
        return (pa.ipc.open_file if is_file_format else pa.ipc.open_stream)(opened).read_all()


def _read_csv(file: Path, delimiter: str) -> pa.Table:
    """A delimited file; types are inferred over all of its rows, and empty cells of text are missing."""
    ragged: list[Any] = []

    def refuse(row: Any) -> str:
        ragged.append(row)
        return "error"

    def parse(*, threads: bool) -> pa.Table:
        return pyarrow.csv.read_csv(
            file,
            read_options=pyarrow.csv.ReadOptions(use_threads=threads),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=refuse
            ),
        )

    try:
        table = parse(threads=True)
    except pa.ArrowInvalid as error:
        if not ragged:
            raise
        ragged.clear()
        try:  # only a reader of one thread counts the rows
            parse(threads=False)
        except pa.ArrowInvalid:
            row = ragged[0]
            raise DataError(
                f"{file}, row {row.number} (the header is row 1): {row.actual_columns} fields where the header has "
                f"{row.expected_columns}. Quote fields that hold the delimiter {delimiter!r}, or mend the row."
            ) from error
        raise
    for place, field in enumerate(table.schema):
        if pa.types.is_binary(field.type):
            raise DataError(f"{file}, column {field.name!r}: not UTF-8 text. Save the file in UTF-8.")
        if pa.types.is_string(field.type):
            column = table.column(place)
            empty = pc.equal(column, "")
            table = table.set_column(place, field, pc.if_else(empty, pa.scalar(None, field.type), column))
    return table


def check_same_columns(first: Path, expected: pa.Schema, file: Path, schema: pa.Schema) -> None:
    """Raises DataError where ``file`` cannot be put under ``first``."""
    for name in expected.names:
        if name not in schema.names:
            raise DataError(f"{file}: column {name!r} is absent, which {first} has. All files need the same columns.")
    for name in schema.names:
        if name not in expected.names:
            raise DataError(f"{file}: column {name!r} is not in {first}. All files need the same columns.")
        one, other = expected.field(name).type, schema.field(name).type
        if one != other and not (_joins(one) and _joins(other)) and pa.null() not in (one, other):
            raise DataError(
                f"{file}, column {name!r}: type {other} where {first} has {one}. Write all files with the same types."
            )


def _joins(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def listing(files: Sequence[Path]) -> str:
    """The files as messages name them."""
    return str(files[0]) if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
