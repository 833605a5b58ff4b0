"""Rows in blocks: those of `read_table`, whatever the files and row groups are."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raydm.data import read_table, vector_column
from raydm.data.blocks import ParquetRows, TableRows, open_rows, spans
from raydm.errors import DataError


def table(n=1000):
    rng = np.random.default_rng(0)
    return pa.table(
        {
            "id": np.arange(n),
            "x": vector_column(rng.standard_normal((n, 3)).astype(np.float32)),
            "c": pa.array(np.array(list("abcd"))[rng.integers(0, 4, n)]).dictionary_encode(),
            "y": rng.integers(0, 9, n),
        }
    )


@pytest.fixture
def folder(tmp_path):
    """Three files of 333, 100 and 567 rows, the second with fractions where the others have integers."""
    t = table()
    second = t.slice(333, 100)
    pq.write_table(t.slice(0, 333), tmp_path / "a.parquet", row_group_size=50)
    pq.write_table(second.set_column(3, "y", second["y"].cast(pa.float64())), tmp_path / "b.parquet", row_group_size=33)
    pq.write_table(t.slice(433), tmp_path / "c.parquet")
    return tmp_path


@pytest.mark.parametrize("span", [None, (0, 64), (192, 576), (960, 1000)])
@pytest.mark.parametrize("columns", [None, ["y", "x"]])
def test_the_rows_are_those_of_the_whole_table(folder, span, columns):
    rows, whole = open_rows(folder), read_table(folder)
    first, end = span or (0, 1000)
    blocks = list(rows.blocks(span, columns=columns, rows=64))
    assert [at for at, _ in blocks] == list(range(first, end, 64))
    assert [t.num_rows for _, t in blocks] == [min(64, end - at) for at in range(first, end, 64)]
    assert len(rows) == 1000
    assert rows.schema == whole.schema
    expected = whole.select(columns or whole.column_names).slice(first, end - first)
    assert pa.concat_tables([t for _, t in blocks]).to_pylist() == expected.to_pylist()
    assert all(t.schema == expected.schema for _, t in blocks)


def test_rows_travel_and_are_named(folder):
    rows = pickle.loads(pickle.dumps(open_rows(folder)))
    assert rows.where(433, 64) == f"{folder / 'c.parquet'}"
    assert rows.where(320, 64) == f"{folder / 'a.parquet'} and the next file, counted from row 321"
    assert all(file.is_absolute() for file in rows.absolute().files)
    assert rows.row_bytes == pytest.approx(30, abs=15)


def test_other_files_are_read_whole(tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4\n5,6\n")
    rows = open_rows(tmp_path / "rows.csv")
    assert isinstance(rows, TableRows)
    assert [(at, t.to_pydict()) for at, t in rows.blocks(columns=["b"], rows=2)] == [
        (0, {"b": [2, 4]}),
        (2, {"b": [6]}),
    ]
    assert rows.where(2, 1) == f"{tmp_path / 'rows.csv'}, row 3"


def test_spans():
    assert spans(10, 4) == [(0, 4), (4, 8), (8, 10)]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_torn_file(folder, share):
    whole = (folder / "b.parquet").read_bytes()
    (folder / "b.parquet").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(DataError, match=r"b\.parquet: cannot be read as \.parquet"):
        ParquetRows.open([folder / "a.parquet", folder / "b.parquet"])


def test_a_file_with_a_hole_is_told_when_it_is_read(folder):
    content = bytearray((folder / "c.parquet").read_bytes())
    content[4:60] = bytes(56)  # the first page's header
    (folder / "c.parquet").write_bytes(content)
    rows = open_rows(folder)
    assert sum(t.num_rows for _, t in rows.blocks((0, 384), rows=64)) == 384
    with pytest.raises(DataError, match=r"c\.parquet, rows 1 to 567: cannot be read"):
        list(rows.blocks(rows=64))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns("y"), "column 'y' is absent"),
        (lambda t: t.append_column("z", t["y"]), "column 'z' is not in"),
        (lambda t: t.set_column(3, "y", t["y"].cast(pa.string())), "column 'y': type string where"),
    ],
)
def test_files_that_do_not_agree(folder, change, message):
    pq.write_table(change(table(10)), folder / "d.parquet")
    with pytest.raises(DataError, match=message):
        open_rows(folder)


def test_no_rows(tmp_path):
    pq.write_table(table(0), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="no rows, only the header"):
        open_rows(tmp_path / "none.parquet")
