"""Several label columns: regression targets (N, C), from tables and back."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
import torch
from sklearn.exceptions import DataConversionWarning

from raydm.data import LabelEncoder, Roles, encode, infer_roles, named_labels, prepare, with_labels
from raydm.errors import DataError, ParameterError

TRAIN = pa.table({"u": [1, 3, 5], "a": [0.5, 1.5, 4.0], "v": [10.0, 30.0, 20.0]})
VALID = pa.table({"v": [7.0, -1.0], "a": [2.0, 3.0], "u": [2, 9]})  # in another order
LABELS = ["u", "v"]


def changed(table: pa.Table, column: str, values: list) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.array(values))


def test_targets_keep_their_order_and_their_units():
    done = prepare(TRAIN, VALID, label=LABELS)
    assert (done.labels.task, done.labels.n_outputs, done.labels.classes) == ("regression", 2, None)
    assert done.labels.mean == (3.0, 20.0)
    assert done.labels.std == pytest.approx(((8 / 3) ** 0.5, (200 / 3) ** 0.5))
    assert done.train.y.dtype == np.float32
    assert done.train.y.tolist() == [[1, 10], [3, 30], [5, 20]]
    assert done.valid.y.tolist() == [[2, 7], [9, -1]]
    assert done.valid.take([1]).y.tolist() == [[9, -1]]
    assert done.roles == Roles(("u", "v"), None, {"a": "numeric"})
    assert prepare(TRAIN, VALID, label=("v", "u")).valid.y.tolist() == [[7, 2], [-1, 9]]


def test_one_column_in_a_list_is_that_column():
    one, listed = (prepare(TRAIN, VALID, label=label, task="regression") for label in ("v", ["v"]))
    assert listed.roles == one.roles == Roles("v", None, {"u": "numeric", "a": "numeric"})
    assert listed.labels == one.labels
    assert listed.train.y.tolist() == one.train.y.tolist() == [10, 30, 20]


def test_new_rows_with_and_without_labels():
    done = prepare(TRAIN, VALID, label=LABELS)
    assert encode(done, VALID, "new").y.tolist() == done.valid.y.tolist()
    bare = encode(done, VALID.select(["a"]), "new", with_label=False)
    assert bare.y.shape == (2, 2)
    assert np.isnan(bare.y).all()
    with pytest.raises(DataError, match=r"new: no label column 'u'"):
        encode(done, VALID.drop(["u"]), "new")


def test_encoder_and_roles_are_read_back_from_json():
    done = prepare(TRAIN, VALID, label=LABELS)
    assert LabelEncoder.from_dict(json.loads(json.dumps(done.labels.to_dict()))) == done.labels
    assert Roles.from_dict(json.loads(json.dumps(done.roles.to_dict()))) == done.roles


def test_what_runs_of_one_column_wrote_is_still_read():
    state = {"task": "regression", "classes": None, "mean": 2.0, "std": 1.0}
    assert LabelEncoder.from_dict(state).to_dict() == state
    roles = {"label": "y", "id": None, "features": [["a", "numeric"]]}
    assert Roles.from_dict(roles).to_dict() == roles


def test_decoding_needs_one_value_a_target():
    encoder = prepare(TRAIN, VALID, label=LABELS).labels
    assert encoder.inverse([[1.0, 2.0]]).tolist() == [[1, 2]]
    for wrong in ([1.0, 2.0], [[1.0], [2.0]]):
        with pytest.raises(ParameterError, match=r"of shape \(N, 2\)"):
            encoder.inverse(wrong)


@pytest.mark.parametrize(
    ("train", "valid", "message"),
    [
        (changed(TRAIN, "v", [1.0, None, 2.0]), VALID, "T, column 'v', row 2: the label is missing"),
        (TRAIN, changed(VALID, "u", [1.0, float("nan")]), "V, column 'u', row 2: the label is missing"),
        (TRAIN, changed(VALID, "v", [float("inf"), 1.0]), "V, column 'v', row 1: the label is infinite"),
        (TRAIN, changed(VALID, "v", [1.0, 1e300]), "V, column 'v', row 2: a label too large"),
        (changed(TRAIN, "v", ["1", "n/a", "2"]), VALID, "T, column 'v', row 2, label 'n/a': text cannot be"),
        (TRAIN, changed(VALID, "v", ["1", "2"]), "V, column 'v': labels are text where training has numbers"),
        (changed(TRAIN, "v", [5.0, 5.0, 5.0]), VALID, "T, column 'v': 3 labels with 1 distinct values"),
        (changed(TRAIN, "v", [True, False, True]), VALID, "T, column 'v': booleans are classes"),
        (TRAIN, VALID.drop(["v"]), r"V: lacks the columns \['v'\] that T has.*Add them\.$"),
        (TRAIN.drop(["v"]), VALID, "T: no label column 'v'"),
    ],
)
def test_bad_labels_are_named_by_file_column_and_row(train, valid, message):
    with pytest.raises(DataError, match=message):
        prepare(train, valid, label=LABELS, names=("T", "V", "W"))


def test_several_columns_are_targets_whatever_numbers_they_hold():
    whole = pa.table({"a": [1.5, 2.0, 3.0], "u": [0, 1, 1], "v": [1, 1, 0]})
    assert prepare(whole, changed(VALID, "a", [7.0, 8.0]), label=LABELS).labels.task == "regression"
    flags = changed(TRAIN, "v", [True, False, True])
    assert prepare(flags, VALID, label=LABELS, task="regression").train.y[:, 1].tolist() == [1, 0, 1]
    for task in ("classification", "ranking"):
        with pytest.raises(ParameterError, match=r"'task' parameter.*'regression' or None for the labels 'u', 'v'"):
            prepare(TRAIN, VALID, label=LABELS, task=task)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": ["u", "u"]}, "'label' parameter of infer_roles must be a column or different columns"),
        ({"label": []}, "'label' parameter"),
        ({"label": LABELS, "id": "v"}, "'id' parameter"),
        ({"label": LABELS, "features": ["a", "v"]}, "'features' parameter.*the label not among them"),
    ],
)
def test_roles_that_do_not_fit(arguments, message):
    with pytest.raises(ParameterError, match=message):
        infer_roles(TRAIN, **arguments)


def test_a_label_named_id_is_no_id():
    assert infer_roles(TRAIN.rename_columns(["id", "a", "v"]), label=["id", "v"]).id is None
    with pytest.raises(DataError, match="no feature column beside the label 'u', 'v'"):
        infer_roles(TRAIN.drop(["a"]), label=LABELS)


def test_which_labels_are_names():
    assert named_labels("anything", TRAIN) == "anything"
    assert named_labels(["u", "v"], TRAIN) == ("u", "v")
    assert named_labels(("u", "w"), TRAIN) == ("u", "w")  # prepare then says that there is no 'w'
    for labels in (["u", "v", "u"], ["yes", "no"], [1, 2], np.array(["u", "v"]), None, []):
        assert named_labels(labels, TRAIN) is None


TARGETS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


@pytest.mark.parametrize("y", [TARGETS, TARGETS.tolist(), torch.from_numpy(TARGETS)], ids=["array", "lists", "tensor"])
def test_targets_that_are_given_apart_become_columns(y):
    table, labels = with_labels(TRAIN, y)
    assert labels == ("__label_0__", "__label_1__")
    assert np.stack([table[label].to_numpy() for label in labels], 1).tolist() == TARGETS.tolist()


@pytest.mark.parametrize("make", [pd.DataFrame, polars.DataFrame, pa.table])
def test_tables_of_targets_keep_their_names(make):
    table, labels = with_labels(TRAIN, make({"u": [1, 2, 3], "w": [0.5, 1.0, 2.0]}))
    assert labels == ("__label_u__", "__label_w__")  # u is a feature's name, too
    assert table["__label_w__"].to_pylist() == [0.5, 1.0, 2.0]
    assert table.column_names[:3] == TRAIN.column_names


def test_one_column_of_labels_is_one_label_a_row():
    with pytest.warns(DataConversionWarning):
        table, label = with_labels(TRAIN, TARGETS[:, :1])
    assert label == "__label__"
    assert table[label].to_pylist() == [1, 3, 5]
    assert with_labels(TRAIN, pa.array(["p", "q", "p"]))[0]["__label__"].to_pylist() == ["p", "q", "p"]


@pytest.mark.parametrize("y", [TARGETS[1:], TARGETS[1:, 0], pa.array([1, 2]), pa.table({"u": [1, 2], "w": [1, 2]})])
def test_another_number_of_rows_is_refused(y):
    with pytest.raises(DataError, match="X has 3 rows but y has 2 labels"):
        with_labels(TRAIN, y)


def test_a_column_of_mixed_types_is_named():
    with pytest.raises(DataError, match=r"y, column 1: .*Give numbers"):
        with_labels(TRAIN, np.array([[1, 1], [2, "a"], [3, 2]], dtype=object))
