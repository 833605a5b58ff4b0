"""Labels: the task's rule, the codes, and every refusal."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from raydm.data import LabelEncoder
from raydm.errors import DataError, ParameterError


def test_text_classes_are_sorted_codes():
    encoder = LabelEncoder.fit(pa.array(["dog", "cat", "dog"]))
    assert (encoder.task, encoder.classes, encoder.n_outputs) == ("classification", ("cat", "dog"), 2)
    codes = encoder.transform(pa.chunked_array([["cat"], ["dog"]]), name="valid")
    assert codes.dtype == np.int64
    assert codes.tolist() == [0, 1]
    assert encoder.inverse([1, 0, 1]).tolist() == ["dog", "cat", "dog"]


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ([True, False], "classification"),
        ([0, 1, 2], "classification"),
        ([0.0, 1.0], "classification"),
        ([0.5, 1.0], "regression"),
        (list(range(20)), "classification"),
        (list(range(21)), "regression"),
        ([i % 25 for i in range(625)], "classification"),  # 25 = sqrt(625)
        ([i % 25 for i in range(624)], "regression"),
    ],
)
def test_rule_for_the_task(labels, task):
    assert LabelEncoder.fit(pa.array(labels)).task == task
    assert LabelEncoder.fit(np.array(labels)).task == task


def test_regression_keeps_the_unit():
    encoder = LabelEncoder.fit(np.array([1, 3]), task="regression")
    assert (encoder.classes, encoder.n_outputs, encoder.mean, encoder.std) == (None, 1, 2.0, 1.0)
    y = encoder.transform(pa.array([2.5, -1.0]), name="valid")
    assert y.dtype == np.float32
    assert y.tolist() == [2.5, -1.0]
    assert encoder.inverse(y).tolist() == [2.5, -1.0]


def test_whole_floats_match_integers():
    encoder = LabelEncoder.fit(pa.array([0, 1]))
    assert encoder.transform(pa.array([1.0, 0.0]), name="valid").tolist() == [1, 0]


def test_dictionaries_and_pandas_text():
    column = pa.Array.from_pandas(pd.Series(["a", "b", "a"], dtype="category"))
    encoder = LabelEncoder.fit(column)
    assert encoder.classes == ("a", "b")
    assert encoder.transform(np.array(["b"], dtype=object), name="valid").tolist() == [1]


@pytest.mark.parametrize("labels", [["a", "b"], [0, 1], [0.0, 1.0], [True, False], [0.5, 1.25]])
def test_json_round_trip(labels):
    encoder = LabelEncoder.fit(pa.array(labels))
    assert LabelEncoder.from_dict(json.loads(json.dumps(encoder.to_dict()))) == encoder


@pytest.mark.parametrize(
    ("training", "labels", "message"),
    [
        (["a", "b"], ["a", "c"], "valid, row 2: 'c' is a class that training lacks"),
        ([0, 1], [0, 0.5], "valid, row 2: 0.5 is a class that training lacks"),
        (["0", "1"], [0, 1], "valid: labels are numbers where training has text"),
        ([0, 1], ["0", "1"], "valid: labels are text where training has numbers"),
        ([0.5, 1], ["0", "1"], "valid: labels are text where training has numbers"),
        (["a", "b"], ["a", None], "valid, row 2: the label is missing"),
        ([0.5, 1], [1, float("nan")], "valid, row 2: the label is missing"),
        ([0.5, 1], [1, float("inf")], "valid, row 2: the label is infinite"),
        ([0.5, 1], [1, 1e300], "valid, row 2: a label too large"),
        ([0, 1], [[0], [1]], "valid: labels of Arrow type list"),
    ],
)
def test_labels_that_do_not_fit_training(training, labels, message):
    encoder = LabelEncoder.fit(pa.array(training))
    with pytest.raises(DataError, match=message):
        encoder.transform(pa.array(labels), name="valid")


def test_bad_training_labels():
    with pytest.raises(DataError, match=r"train: 2 labels with 1 distinct values \(\['a'\]\)"):
        LabelEncoder.fit(pa.array(["a", "a"]))
    with pytest.raises(DataError, match="distinct values"):
        LabelEncoder.fit(pa.array([1.5, 1.5]))
    with pytest.raises(DataError, match="text cannot be a regression target"):
        LabelEncoder.fit(pa.array(["a", "b"]), task="regression")
    with pytest.raises(DataError, match="one label per row"):
        LabelEncoder.fit(np.zeros((2, 2)))
    with pytest.raises(DataError, match="train: labels cannot be read"):
        LabelEncoder.fit(np.array([1, "a"], dtype=object))
    with pytest.raises(ParameterError, match="'task' parameter"):
        LabelEncoder.fit(pa.array([0, 1]), task="ranking")
    with pytest.raises(ParameterError, match=r"class indices in \[0, 2\)"):
        LabelEncoder.fit(pa.array([0, 1])).inverse([2])
