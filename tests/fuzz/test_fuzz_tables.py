"""Damaged tables: read as they are, or refused; never a crash."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from fuzz_kit import Damage, amounts, byte_damage, damaged, fuzz, is_read, rows

from raydm.data import fingerprint, prepare, read_table, vector_column
from raydm.data.blocks import ParquetRows


def table() -> pa.Table:
    """A column of each type that is read."""
    made = pa.Table.from_pandas(rows(30, 0), preserve_index=False)
    more = {
        "v": vector_column(np.arange(60.0).reshape(30, 2)),
        "d": pa.array(["p", "q", "r"] * 10).dictionary_encode(),
        "l": pa.array([[1.0, 2.0]] * 30),
        "t": pa.array([1, 2, 3] * 10, pa.timestamp("s")),
    }
    for name, column in more.items():
        made = made.append_column(name, column)
    return made


def _ipc(new: Callable[..., pa.RecordBatchFileWriter], file: Path) -> None:
    with pa.OSFile(str(file), "wb") as opened, new(opened, table().schema) as writer:
        writer.write_table(table())


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.parquet": lambda file: pq.write_table(table(), file),
    "b.parquet": lambda file: pq.write_table(table(), file, compression=None, use_dictionary=False, row_group_size=7),
    "a.feather": lambda file: pyarrow.feather.write_feather(table(), file),
    "b.arrow": lambda file: _ipc(pa.ipc.new_file, file),
    "c.arrow": lambda file: _ipc(pa.ipc.new_stream, file),
    "a.csv": lambda file: rows(30, 0).to_csv(file, index=False),
    "a.tsv": lambda file: rows(30, 0).to_csv(file, index=False, sep="\t"),
    "a.csv.gz": lambda file: file.write_bytes(gzip.compress(rows(30, 0).to_csv(index=False).encode())),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pyarrow, of rows that are not UTF-8
@pytest.mark.parametrize("name", WRITERS)
@amounts(12, 1000)
def test_a_damaged_table(tmp_path: Path, name: str, examples: int) -> None:
    """It is read whole, by blocks where it is Parquet, and encoded."""
    file = tmp_path / name
    WRITERS[name](file)
    whole = file.read_bytes()
    valid = read_table(file)

    def read() -> None:
        found = read_table(file)
        fingerprint(found)
        prepare(found, valid, label="label")
        if file.suffix == ".parquet":
            for _, block in ParquetRows.open([file]).blocks(rows=16):
                prepare(block, valid, label="label")

    def test(damage: Damage) -> None:
        file.write_bytes(damaged(whole, damage))
        is_read(read)

    assert is_read(read)
    fuzz(examples, test, byte_damage)


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_offsets_that_point_elsewhere_are_refused(tmp_path: Path, kind: str) -> None:
    """Arrow itself would read beyond its memory, and end the process."""
    file, new = tmp_path / "a.arrow", pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    whole = pa.table({"a": ["x", "y"], "label": [0, 1]})
    with pa.OSFile(str(file), "wb") as opened, new(opened, whole.schema) as writer:
        writer.write_table(whole)
    right, wrong = (np.array([0, 1, end], np.int32).tobytes() for end in (2, 10**9))
    assert file.read_bytes().count(right) == 1
    assert is_read(lambda: read_table(file))
    file.write_bytes(file.read_bytes().replace(right, wrong))
    assert not is_read(lambda: read_table(file))
