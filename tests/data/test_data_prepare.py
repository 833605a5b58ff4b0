"""Preparing: the whole way from tables to examples, and every check on it."""

import numpy as np
import pyarrow as pa
import pytest

from raydm.data import encode, prepare
from raydm.errors import DataError, RaydmWarning

TRAIN = pa.table({"id": ["p", "q", "r"], "a": [1.0, 3.0, 2.0], "y": ["no", "yes", "no"]})
VALID = pa.table({"id": ["s", "t"], "a": [5.0, 0.0], "y": ["yes", "no"]})
SCALE = np.sqrt(2 / 3)  # the deviation of 1, 2, 3


def test_the_sets_are_encoded_alike():
    done = prepare(TRAIN, VALID, VALID.slice(1), label="y")
    np.testing.assert_allclose(done.train.x, np.array([[-1], [1], [0]]) / SCALE, rtol=1e-6)
    np.testing.assert_allclose(done.valid.x, np.array([[3], [-2]]) / SCALE, rtol=1e-6)
    assert done.train.y.tolist() == [0, 1, 0]
    assert done.valid.ids.tolist() == ["s", "t"]
    assert done.test.ids.tolist() == ["t"]
    assert (done.labels.classes, done.roles.id, done.notes) == (("no", "yes"), "id", [])
    assert prepare(TRAIN, VALID, label="y").test is None


def test_ids_are_row_numbers_where_there_are_none():
    done = prepare(TRAIN.drop(["id"]), VALID, label="y")
    assert done.train.ids.tolist() == [0, 1, 2]
    assert prepare(TRAIN, VALID.drop(["id"]), label="y").valid.ids.tolist() == [0, 1]
    numbered = TRAIN.set_column(0, "id", pa.array([7, 8, 9]))
    assert prepare(numbered, VALID, label="y").train.ids.dtype == np.int64


def test_new_rows_with_and_without_labels():
    done = prepare(TRAIN, VALID, label="y")
    rows = encode(done, VALID, "new.csv")
    np.testing.assert_array_equal(rows.x, done.valid.x)
    assert rows.y.tolist() == [1, 0]
    bare = encode(done, VALID.drop(["y"]), "new.csv", with_label=False)
    assert bare.y.tolist() == [-1, -1]
    train, valid = pa.table({"a": [1, 2, 4], "y": [0.5, 1.5, 2.5]}), pa.table({"a": [3], "y": [2.0]})
    regression = prepare(train, valid, label="y")
    assert regression.valid.y.tolist() == [2.0]
    assert np.isnan(encode(regression, valid, "new.csv", with_label=False).y).all()
    with pytest.raises(DataError, match=r"new\.csv: no label column 'y'"):
        encode(done, VALID.drop(["y"]), "new.csv")
    with pytest.warns(RaydmWarning, match="new.csv, column 'a': 1 missing values"):
        encode(done, pa.table({"a": [None], "y": ["no"]}), "new.csv")


def test_rows_that_stand_in_both_sets_warn_with_the_count():
    both = pa.concat_tables([VALID, TRAIN.slice(1)])
    with pytest.warns(RaydmWarning, match="valid: 2 of 4 rows have the same features as a row of train"):
        done = prepare(TRAIN, both, label="y")
    assert done.notes == ["valid: 2 of 4 rows have the same features as a row of train"]


def test_texts_that_only_encode_alike_are_not_the_same():
    train = pa.table({"t": ["what is rain", "who ran", "what is rain now"], "y": ["a", "b", "a"]})
    valid = pa.table({"t": ["what is rain zzz", "who ran qqq"], "y": ["a", "b"]})
    assert prepare(train, valid, label="y", kinds={"t": "text"}).notes == []


def test_what_is_handled_is_noted():
    train = TRAIN.append_column("c", pa.array(["u", "v", "u"])).append_column("same", pa.array([1, 1, 1]))
    valid = VALID.append_column("c", pa.array(["w", "v"])).append_column("same", pa.array([1, 1]))
    with pytest.warns(RaydmWarning, match="training lacks"):
        done = prepare(train, valid, label="y")
    assert done.notes[0] == "train, column 'same': constant, dropped"
    assert done.notes[1].startswith("valid, column 'c': 1 values of categories")


@pytest.mark.parametrize(
    ("train", "valid", "message"),
    [
        (TRAIN, VALID.slice(0, 0), "V: no rows"),
        (TRAIN.slice(0, 0), VALID, "T: no rows"),
        (TRAIN, VALID.drop(["a"]), r"V: lacks the columns \['a'\] that T has"),
        (TRAIN, VALID.drop(["y"]), r"V: lacks the columns \['y'\]"),
        (TRAIN, VALID.set_column(2, "y", pa.array(["yes", "maybe"])), "V, column 'y', row 2: 'maybe' is a class"),
        (TRAIN, VALID.set_column(0, "id", pa.array(["s", "s"])), "V, column 'id': the id 's' stands in rows 1 and 2"),
        (TRAIN, VALID.set_column(0, "id", pa.array(["s", None])), "V, column 'id', row 2: the id is missing"),
        (TRAIN.set_column(2, "y", pa.array(["no", None, "yes"])), VALID, "T, column 'y', row 2: the label is missing"),
    ],
)
def test_bad_sets_are_named(train, valid, message):
    with pytest.raises(DataError, match=message):
        prepare(train, valid, label="y", names=("T", "V", "W"))


def test_ids_that_repeat_in_training_name_both_rows():
    train = TRAIN.set_column(0, "id", pa.array([4, 5, 4]))
    with pytest.raises(DataError, match="train, column 'id': the id 4 stands in rows 1 and 3"):
        prepare(train, VALID, label="y", id="id")
