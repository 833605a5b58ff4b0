"""Roles: inferred by type, overridden by name."""

import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from raydm.data import Roles, infer_roles, read_table, vector_column
from raydm.errors import DataError, ParameterError
from raydm.neighborhood import fit_rows

N = 200
TABLE = pa.table(
    {
        "ID": range(N),
        "int": range(N),
        "flag": [True, False] * 100,
        "money": pa.array([1] * N, pa.decimal128(5, 2)),
        "day": [datetime.date(2020, 1, 1)] * N,
        "moment": [datetime.datetime(2020, 1, 1)] * N,
        "few": [f"c{i % 50}" for i in range(N)],
        "many": [f"c{i % 51}" for i in range(N)],
        "code": pa.array([1, 2] * 100).dictionary_encode(),
        "vector": vector_column(np.zeros((N, 2))),
        "list": [[1.0, 2.0]] * N,
        "y": ["a", "b"] * 100,
    }
)


def test_kinds_by_type():
    roles = infer_roles(TABLE, label="y")
    assert (roles.label, roles.id) == ("y", "ID")
    assert roles.features == {
        "int": "numeric",
        "flag": "numeric",
        "money": "numeric",
        "day": "numeric",
        "moment": "numeric",
        "few": "categorical",  # 50 distinct
        "many": "text",  # 51 distinct, more than max(50, 200 / 20)
        "code": "categorical",
        "vector": "vector",
        "list": "vector",
    }
    assert Roles.from_dict(roles.to_dict()) == roles


def test_the_nameless_index_that_pandas_writes_is_no_feature(tmp_path):
    frame = pd.DataFrame({"a": [0.5, 1.5, 2.5, 3.5], "y": list("uvvv")})
    frame.iloc[[2, 0, 3]].to_parquet(tmp_path / "some.parquet")
    table = read_table(tmp_path / "some.parquet")
    assert "__index_level_0__" in table.column_names
    assert infer_roles(table, label="y").features == {"a": "numeric"}
    assert list(infer_roles(table, label="y", features=["__index_level_0__"]).features) == ["__index_level_0__"]
    assert fit_rows(table, name="t").columns == ["a"]


def test_bytes_say_how_images_are_read():
    with pytest.raises(DataError, match=r"Arrow type binary .*--image"):
        infer_roles(pa.table({"photo": [b"x", b"y"], "y": [0, 1]}), label="y")


def test_more_rows_allow_more_categories():
    table = pa.table({"c": [f"c{i % 100}" for i in range(2000)], "y": range(2000)})
    assert infer_roles(table, label="y").features == {"c": "categorical"}  # 100 = 2000 / 20


def test_few_but_distinct_sentences_are_text():
    table = pa.table(
        {"t": [f"the film number {i}" for i in range(20)], "c": [f"v{i}" for i in range(20)], "y": range(20)}
    )
    assert infer_roles(table, label="y").features == {"t": "text", "c": "categorical"}


def test_choices_override():
    roles = infer_roles(TABLE, label="y", id="int", features=["few", "flag"], kinds={"few": "text"})
    assert roles == Roles("y", "int", {"few": "text", "flag": "numeric"})


def test_an_id_that_repeats_is_left_to_prepare_unless_the_features_are_named():
    table = pa.table({"id": [1, 1], "y": [0, 1], "a": [1, 2]})
    assert infer_roles(table, label="y") == Roles("y", "id", {"a": "numeric"})
    assert infer_roles(table, label="y", features=["a", "id"]) == Roles("y", None, {"a": "numeric", "id": "numeric"})


def test_absent_columns_list_what_there_is_and_the_nearest():
    with pytest.raises(
        DataError, match=r"train: no label column 'lable'. The columns are 'label', 'a'. Did you mean 'label'\?"
    ):
        infer_roles(pa.table({"label": [1], "a": [1]}), label="lable")
    with pytest.raises(DataError, match="no id column 'key'"):
        infer_roles(TABLE, label="y", id="key")
    with pytest.raises(DataError, match="no feature column 'fewer'"):
        infer_roles(TABLE, label="y", features=["fewer"])
    with pytest.raises(DataError, match="no feature column beside the label"):
        infer_roles(pa.table({"y": [1]}), label="y")


def test_types_that_cannot_be_learned_from():
    with pytest.raises(DataError, match="column 'a': Arrow type struct"):
        infer_roles(pa.table({"a": [{"b": 1}], "y": [1]}), label="y")


@pytest.mark.parametrize(
    ("arguments", "parameter"),
    [
        ({"features": ["y"]}, "features"),
        ({"features": ["int", "int"]}, "features"),
        ({"features": []}, "features"),
        ({"kinds": {"int": "number"}}, "kinds"),
        ({"kinds": {"y": "numeric"}}, "kinds"),
        ({"id": "y"}, "id"),
    ],
)
def test_bad_parameters(arguments, parameter):
    with pytest.raises(ParameterError, match=f"The '{parameter}' parameter of infer_roles"):
        infer_roles(TABLE, label="y", **arguments)
