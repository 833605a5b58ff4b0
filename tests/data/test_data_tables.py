"""Tables from objects: every library's data become the same table."""

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from raydm.data import TableEncoder, as_table, infer_roles, to_array
from raydm.errors import DataError

X = np.array([[0.1, 1.0], [0.5, -2.0], [0.25, 4.0], [7.0, 0.0]])
Y = np.array([0, 1, 1, 0])


class Pairs(torch.utils.data.Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, place):
        return self.items[place]


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(zip(torch.from_numpy(X), Y, strict=True))


def encoded(obj):
    table = as_table(obj)
    roles = infer_roles(table, label="y")
    return TableEncoder.fit(table, roles).transform(table, name="X"), table["y"].to_pylist()


def test_vectors_from_every_library_encode_alike():
    expected = ((X - X.mean()) / X.std()).astype(np.float32)
    rows = {"x": [list(row) for row in X], "y": Y.tolist()}
    vectors = pl.DataFrame({"x": X, "y": Y})
    for obj in (
        pa.table(rows),
        pd.DataFrame(rows),
        vectors,
        vectors.lazy(),
        pl.DataFrame(rows),
        datasets.Dataset.from_dict(rows),
        datasets.Dataset.from_dict(
            rows,
            features=datasets.Features(
                {"x": datasets.List(datasets.Value("float64"), 2), "y": datasets.Value("int64")}
            ),
        ),
        Pairs(list(zip(torch.from_numpy(X), torch.from_numpy(Y), strict=True))),
        Pairs([{"x": torch.from_numpy(x), "y": int(y)} for x, y in zip(X, Y, strict=True)]),
        Stream(),
    ):
        x, y = encoded(obj)
        np.testing.assert_array_equal(x, expected, err_msg=type(obj).__module__)
        assert y == [0, 1, 1, 0]


def test_columns_from_every_library_encode_alike(tmp_path):
    frame = pd.DataFrame({"a": X[:, 0], "c": ["u", "v", None, "u"], "y": Y})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    expected, _ = encoded(frame)
    assert expected.shape == (4, 4)  # a; c=u, c=v, c is missing
    for obj in (
        pa.Table.from_pandas(frame),
        frame.astype({"c": "category"}),
        pl.from_pandas(frame),
        pl.from_pandas(frame).with_columns(pl.col("c").cast(pl.Categorical)),
        datasets.Dataset.from_pandas(frame),
        tmp_path / "t.csv",
        [str(tmp_path / "t.parquet")],
    ):
        np.testing.assert_array_equal(encoded(obj)[0], expected, err_msg=type(obj).__module__)


def test_arrays_keep_their_shape():
    assert as_table(X).column_names == ["x"]
    np.testing.assert_array_equal(to_array(as_table(X)["x"]), X)
    images = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
    assert as_table(images)["x"].type.shape == [4, 5, 3]
    np.testing.assert_array_equal(to_array(as_table(images)["x"]), images)


def test_torch_images_are_turned_to_height_width_channels():
    image = torch.arange(60).reshape(3, 4, 5)
    table = as_table(Pairs([(image, "cat"), (image, "dog")]))
    np.testing.assert_array_equal(to_array(table["x"])[1], image.permute(1, 2, 0))
    assert table["y"].to_pylist() == ["cat", "dog"]


def test_hugging_face_order_and_class_names():
    features = datasets.Features({"t": datasets.Value("string"), "y": datasets.ClassLabel(names=["no", "yes"])})
    rows = datasets.Dataset.from_dict({"t": ["a", "b", "c"], "y": [0, 1, -1]}, features=features)
    table = as_table(rows.select([2, 1, 0]))
    assert table["t"].to_pylist() == ["c", "b", "a"]
    assert table["y"].to_pylist() == [None, "yes", "no"]
    images = datasets.Features({"x": datasets.Array2D((2, 2), "float32")})
    two = datasets.Dataset.from_dict({"x": [[[1, 2], [3, 4]]] * 2}, features=images)
    assert to_array(as_table(two)["x"]).tolist() == [[[1, 2], [3, 4]]] * 2


def test_named_index_becomes_a_column_and_an_unnamed_one_goes():
    frame = pd.DataFrame({"a": [1, 2]}, index=[7, 8])
    assert as_table(frame).column_names == ["a"]
    assert as_table(frame.rename_axis("id"))["id"].to_pylist() == [7, 8]
    with pytest.raises(DataError, match="more than one column is named 'a'"):
        as_table(frame.rename_axis("a"))


def test_pandas_cells_may_hold_arrays():
    frame = pd.DataFrame({"x": [np.zeros((2, 3)), np.ones((2, 3))], "v": [np.zeros(2), np.ones(2)]})
    assert to_array(as_table(frame)["x"]).shape == (2, 2, 3)
    assert to_array(as_table(frame)["v"]).shape == (2, 2)


@pytest.mark.parametrize(
    ("obj", "message"),
    [
        (3, "X: cannot make a table of builtins.int"),
        ([1, 2], "X: cannot make a table of builtins.list"),
        (np.zeros(3), r"X: .*shape \(N, ...\)"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "X: more than one column is named 'a'"),
        (pd.DataFrame({"a": [1, "x"]}), "X: .*one type"),
        (datasets.DatasetDict({"train": datasets.Dataset.from_dict({"a": [1]})}), "X: a DatasetDict"),
        (Pairs([]), "X: the dataset yields no items"),
        (Pairs([torch.zeros(2)]), r"X, row 1: a dataset must yield \(x, y\) or dicts, got Tensor"),
        (Pairs([{"a": 1}, {"b": 1}]), "X, row 2: keys"),
        (Pairs([(torch.zeros(2), 0), (torch.zeros(3), 0)]), r"X, column 'x', row 2: shape \(3,\) where row 1"),
        (Pairs([("a", 0), ("b", "c")]), "X, column 'y'"),
    ],
)
def test_what_cannot_be_a_table(obj, message):
    with pytest.raises(DataError, match=message):
        as_table(obj)
