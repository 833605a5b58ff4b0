"""Reading files: every format, many files, and every way a file can be bad."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from raydm.data import read_table, to_array, vector_column
from raydm.errors import DataError

TABLE = pa.table({"a": [1, 2], "s": ["x", None]})


def write(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_every_format_reads_alike(tmp_path):
    pq.write_table(TABLE, tmp_path / "t.parquet")
    pyarrow.feather.write_feather(TABLE, tmp_path / "t.feather")
    for name, new in (("file.arrow", pa.ipc.new_file), ("stream.arrow", pa.ipc.new_stream)):
        with pa.OSFile(str(tmp_path / name), "wb") as sink, new(sink, TABLE.schema) as writer:
            writer.write_table(TABLE)
    write(tmp_path / "t.csv", "a,s\n1,x\n2,\n")
    write(tmp_path / "t.tsv", "a\ts\n1\tx\n2\t\n")
    write(tmp_path / "t.csv.gz", gzip.compress(b"a,s\n1,x\n2,\n"))
    write(tmp_path / "t.tsv.gz", gzip.compress(b"a\ts\n1\tx\n2\t\n"))
    for file in tmp_path.iterdir():
        assert read_table(file).equals(TABLE), file
        assert read_table(str(file)).schema.metadata is None


def test_csv_text_may_hold_delimiters_breaks_and_na(tmp_path):
    file = write(tmp_path / "t.csv", 'a,s\n1,"x, y\nz"\nNA,NA\n')
    assert read_table(file).to_pylist() == [{"a": 1, "s": "x, y\nz"}, {"a": None, "s": "NA"}]


def test_many_files_in_sorted_order(tmp_path):
    write(tmp_path / "2.csv", "s,a\ny,2.5\n")  # other column order, fractions
    write(tmp_path / "1.csv", "a,s\n1,x\n")
    write(tmp_path / "_SUCCESS", "")
    expected = [{"a": 1.0, "s": "x"}, {"a": 2.5, "s": "y"}]
    for source in (tmp_path, str(tmp_path / "*.csv"), [tmp_path / "2.csv", str(tmp_path / "1.csv")]):
        assert read_table(source).to_pylist() == expected


def test_vectors_in_many_parquet_files(tmp_path):
    for i in range(2):
        pq.write_table(pa.table({"x": vector_column(np.full((1, 2, 2), i))}), tmp_path / f"{i}.parquet")
    assert to_array(read_table(tmp_path)["x"]).tolist() == [[[0, 0], [0, 0]], [[1, 1], [1, 1]]]


def test_files_that_disagree(tmp_path):
    write(tmp_path / "1.csv", "a,s\n1,x\n")
    for text, message in (("a\n1\n", "2.csv: column 's' is absent"), ("a,s,t\n1,x,y\n", "column 't' is not in")):
        write(tmp_path / "2.csv", text)
        with pytest.raises(DataError, match=message):
            read_table(tmp_path)
    write(tmp_path / "2.csv", "a,s\nx,x\n")
    with pytest.raises(DataError, match=r"2.csv, column 'a': type string where .*1.csv has int64"):
        read_table(tmp_path)


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])
@pytest.mark.parametrize("keep", [0, 60, -20])
def test_torn_files(tmp_path, name, keep):
    file = tmp_path / name
    if name == "t.parquet":
        pq.write_table(TABLE, file)
    else:
        pyarrow.feather.write_feather(TABLE, file)
    write(file, file.read_bytes()[:keep])
    with pytest.raises(DataError, match=f"{name}: cannot be read"):
        read_table(file)


def test_ragged_csv_names_file_and_row(tmp_path):
    file = write(tmp_path / "t.csv", "a,b\n1,2\n3\n")
    with pytest.raises(DataError, match=r"t.csv, row 3 \(the header is row 1\): 1 fields where the header has 2"):
        read_table(file)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "", "cannot be read"),
        ("t.csv", "a,b\n", "no rows"),
        ("t.csv", "a,a\n1,2\n", "more than one column is named 'a'"),
        ("t.csv", b"a\n\xe9\n", "column 'a': not UTF-8"),
        ("t.csv.gz", "a\n1\n", "cannot be read"),
        ("t.xlsx", "a\n1\n", "unknown suffix '.xlsx'"),
    ],
)
def test_bad_files(tmp_path, name, text, message):
    write(tmp_path / name, text)
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / name)


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(DataError, match="no file matches"):
        read_table(tmp_path / "*.csv")
    with pytest.raises(DataError, match="holds no table file"):
        read_table(tmp_path)
    with pytest.raises(DataError, match="empty list"):
        read_table([])
