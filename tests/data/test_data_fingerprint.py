"""Fingerprints: equal for equal content, different for any change."""

import datetime

import numpy as np
import pyarrow as pa
import pytest

from raydm.data import fingerprint, vector_column

COLUMNS = {
    "number": pa.array([1.5, None, 3.0]),
    "flag": pa.array([True, False, None]),
    "text": pa.array(["ab", None, "c"]),
    "list": pa.array([[1], None, [2, 3]]),
    "tensor": vector_column(np.arange(12).reshape(3, 2, 2)),
    "category": pa.array(["u", "v", "u"]).dictionary_encode(),
    "time": pa.array([datetime.datetime(2020, 1, 1), None, datetime.datetime(2021, 1, 1)]),
    "day": pa.array([datetime.date(2020, 1, 1), None, datetime.date(2021, 1, 1)]),
    "record": pa.array([{"a": 1}, None, {"a": 2}]),
    "nothing": pa.nulls(3),
    "bytes": pa.array([b"\xff", None, b""]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_chunks_and_slices_do_not_matter(name):
    table = pa.table({name: COLUMNS[name]})
    padded = pa.concat_tables([table, table, table]).combine_chunks().slice(3, 3)
    in_chunks = pa.concat_tables([table.slice(0, 1), table.slice(1, 0), table.slice(1)])
    assert fingerprint(table) == fingerprint(padded) == fingerprint(in_chunks)
    assert len(fingerprint(table)) == 64


def test_content_names_types_and_order_matter():
    tables = [
        pa.table({"a": ["ab", "c"]}),
        pa.table({"a": ["a", "bc"]}),
        pa.table({"a": ["c", "ab"]}),
        pa.table({"b": ["ab", "c"]}),
        pa.table({"a": ["ab", None]}),
        pa.table({"a": ["ab", ""]}),
        pa.table({"a": [1, 2]}),
        pa.table({"a": pa.array([1, 2], pa.int32())}),
        pa.table({"a": [[1], [2, 3]]}),
        pa.table({"a": [[1, 2], [3]]}),
    ]
    assert len({fingerprint(table) for table in tables}) == len(tables)
    assert fingerprint(tables[0]) == fingerprint(tables[0].replace_schema_metadata({"by": "pandas"}))
