"""Vector columns: shapes, nulls, and the way through Parquet."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raydm.data import to_array, to_matrix, vector_column
from raydm.errors import DataError


def test_shape_and_values_survive_parquet_and_chunks(tmp_path):
    images = np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1)
    table = pa.table({"x": vector_column(images)})
    pq.write_table(pa.concat_tables([table, table.slice(1)]), tmp_path / "t.parquet", row_group_size=1)
    back = pq.read_table(tmp_path / "t.parquet")["x"]
    assert back.type.shape == [3, 4, 1]
    np.testing.assert_array_equal(to_array(back), images[[0, 1, 1]])
    assert to_matrix(back).tolist()[2] == list(range(12, 24))


def test_types_made_by_arrow_itself_are_read_too():
    images = np.arange(24).reshape(2, 3, 4)
    theirs = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    column = pa.chunked_array([theirs, theirs])
    np.testing.assert_array_equal(to_array(column), np.concatenate([images, images]))
    turned = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int64(), [3, 4], permutation=[1, 0]), theirs.storage
    )
    np.testing.assert_array_equal(to_array(turned), images.transpose(0, 2, 1))


@pytest.mark.parametrize("kind", [pa.list_(pa.float32()), pa.list_(pa.float32(), 2), pa.large_list(pa.float32())])
def test_lists_are_vectors_and_null_rows_are_nan(kind):
    column = pa.array([[1, 2], None, [3, None]], kind)
    np.testing.assert_array_equal(to_matrix(column), [[1, 2], [np.nan, np.nan], [3, np.nan]])


def test_nested_lists_become_axes():
    assert to_array(pa.array([[[1, 2, 3], [4, 5, 6]]])).shape == (1, 2, 3)


def test_no_rows():
    column = pa.table({"x": vector_column(np.zeros((2, 3)))}).slice(0, 0)["x"]
    assert to_array(column).shape == (0, 3)
    assert to_matrix(pa.chunked_array([], type=column.type)).shape == (0, 3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 2], [3, 4], [5]], "row 3: a vector of length 1 where row 1 has length 2"),
        ([None, [1], [2, 3]], "row 3: a vector of length 2 where row 2 has length 1"),
        ([[[1], [2]], [[3], [4, 5]]], "row 2: a vector of length 2"),
        ([[[1], [2]], [[3], None]], "row 2: a list inside the vector is missing"),
    ],
)
def test_rows_of_different_shape_name_the_row(rows, message):
    with pytest.raises(DataError, match=message):
        to_array(pa.array(rows), name="x")


def test_what_is_no_vector_is_refused():
    with pytest.raises(DataError, match="one array of numbers per row"):
        to_array(pa.array([["a"]]))
    for array in (np.zeros(3), np.zeros((3, 0)), np.array([["a"]])):
        with pytest.raises(DataError, match=r"shape \(N, ...\)"):
            vector_column(array)
