"""Mixed rows in the users' own units."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from raydm.data import Roles, to_array, vector_column
from raydm.errors import DataError, ParameterError
from raydm.mixing.pairs import Pairs
from raydm.mixing.tables import PROVENANCE, check_mixable, mixed_table, table_of, with_mixed

PAIRS = Pairs(np.array([0, 2]), np.array([1, 1]), np.array([0.5, 0.25]), np.array(["data", "label"]))
NONE = PAIRS.take(np.array([], np.int64))
TABLE = pa.table(
    {
        "whole": [0, 10, 2],
        "real": [1.5, None, 4.0],
        "truth": [True, False, True],
        "day": [datetime.date(1970, 1, 2), datetime.date(1970, 1, 1), datetime.date(1970, 1, 3)],
        "image": vector_column(np.array([[[0, 100]], [[10, 0]], [[2, 40]]], np.uint8)),
        "list": [[1.0, 2.0], [3.0, 0.0], [-1.0, 4.0]],
        "other": ["not", "mixed", "at all"],
        "u": [0.0, 8.0, 4.0],
        "v": [1, 0, -4],
    }
)
ROLES = Roles(
    ("u", "v"),
    "other",
    {name: "vector" if name in ("image", "list") else "numeric" for name in TABLE.column_names[:6]},
)


def test_rows_are_interpolated_at_the_share_of_the_first_parent():
    mixed = mixed_table(TABLE, ROLES, PAIRS, np.array(["p", "q", "r"]))
    assert mixed.column_names == [*ROLES.features, "u", "v", *PROVENANCE]
    days = 86400.0
    expected = {
        "whole": [5.0, 0.25 * 2 + 0.75 * 10],
        "real": [None, None],  # of a parent that has no number
        "truth": [0.5, 0.25],
        "day": [0.5 * days, 0.25 * 2 * days],  # seconds since 1970
        "list": [[2.0, 1.0], [0.25 * -1 + 0.75 * 3, 0.25 * 4]],
        "u": [4.0, 0.25 * 4 + 0.75 * 8],
        "v": [0.5, -1.0],
        "mix_parent": ["p", "r"],
        "mix_partner": ["q", "q"],
        "mix_lambda": [0.5, 0.25],
        "mix_kind": ["data", "label"],
    }
    assert {name: mixed[name].to_pylist() for name in expected} == expected
    image = to_array(mixed["image"])
    assert image.shape == (2, 1, 2)
    assert image.tolist() == [[[5.0, 50.0]], [[8.0, 10.0]]]


def test_without_pairs_there_are_columns_and_no_rows():
    mixed = mixed_table(TABLE, ROLES, NONE, np.arange(3))
    assert mixed.num_rows == 0
    assert mixed.schema.equals(mixed_table(TABLE, ROLES, PAIRS, np.arange(3)).schema)


def test_chunks_are_no_matter():
    ids = np.arange(3)
    chunked = pa.concat_tables([TABLE[:1], TABLE[1:]])
    assert mixed_table(chunked, ROLES, PAIRS, ids).equals(mixed_table(TABLE, ROLES, PAIRS, ids))


@pytest.mark.parametrize("pairs", [PAIRS, NONE], ids=["two", "none"])
def test_the_rows_stand_before_the_mixed_ones(pairs):
    columns = with_mixed(TABLE, ROLES, pairs)
    assert [*columns] == [*ROLES.features, "u", "v"]
    assert columns["whole"].tolist() == [0, 10, 2, 5, 8][: 3 + len(pairs)]
    np.testing.assert_array_equal(columns["real"], [1.5, np.nan, 4, np.nan, np.nan][: 3 + len(pairs)])
    assert columns["truth"][:3].tolist() == [1, 0, 1]
    assert columns["image"].shape == (3 + len(pairs), 1, 2)
    assert columns["image"][:3].tolist() == [[[0, 100]], [[10, 0]], [[2, 40]]]
    table = table_of(columns)
    assert table["real"].null_count == 1 + len(pairs)
    assert table[:3]["list"].to_pylist() == TABLE["list"].to_pylist()


def test_columns_that_are_no_numbers_are_named_with_the_remedy():
    roles = Roles("y", None, {"a": "numeric", "city": "categorical", "note": "text"})
    with pytest.raises(
        ParameterError, match=r"rows.csv: mixing interpolates, .*'city' \(categorical\), 'note' \(text\)"
    ):
        check_mixable(roles, "rows.csv")
    with pytest.raises(ParameterError, match=r"one-hot, embeddings.*--features"):
        check_mixable(roles, "rows.csv")
    check_mixable(ROLES, "rows.csv")


@pytest.mark.parametrize("name", PROVENANCE)
def test_names_that_provenance_takes(name):
    told = f"rows.csv: has the column '{name}', which the mixed rows need"
    with pytest.raises(DataError, match=told):
        check_mixable(Roles("y", None, {"a": "numeric", name: "categorical"}), "rows.csv")
    with pytest.raises(DataError, match=told):
        check_mixable(Roles(("y", name), None, {"a": "numeric"}), "rows.csv")
    check_mixable(Roles("y", name, {"a": "numeric"}), "rows.csv")  # an id is not among the mixed rows' columns
