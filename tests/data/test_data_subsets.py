"""Subsets of so many rows a class."""

from __future__ import annotations

import os
from collections import Counter

import numpy as np
import pytest

from raydm.data import fingerprint, load_subset
from raydm.data.sets import SETS
from raydm.errors import ParameterError

needs_folder = pytest.mark.skipif("RAYDM_DATA" not in os.environ, reason="RAYDM_DATA names no data folder")


def counts(table):
    return Counter(table["label"].to_pylist())


def ids(subset):
    return [set(part["id"].to_pylist()) for part in (subset.train, subset.valid, subset.test)]


def test_so_many_of_each_class_and_the_rest_to_test_on():
    subset = load_subset("digits", seed=0, train=10, valid=3)
    assert counts(subset.train) == dict.fromkeys(range(10), 10)
    assert counts(subset.valid) == dict.fromkeys(range(10), 3)
    train, valid, test = ids(subset)
    assert len(train | valid | test) == 1797 == len(train) + len(valid) + len(test)
    labels = subset.train["label"].to_pylist()
    assert labels != sorted(labels)  # mixed


def test_some_classes_unequally():
    subset = load_subset("digits", seed=0, train={3: 5, 8: 100}, valid={3: 4, 8: 4}, most_test=50)
    assert counts(subset.train) == {3: 5, 8: 100}
    assert counts(subset.valid) == {3: 4, 8: 4}
    assert subset.test.num_rows == 50
    assert set(counts(subset.test)) == {3, 8}
    assert not set.union(*ids(subset)[:2]) & ids(subset)[2]


def test_draws_follow_the_seed_and_larger_ones_hold_the_smaller():
    small, again, large, other = (
        load_subset("digits", seed=seed, train=n, valid=2) for seed, n in ((0, 5), (0, 5), (0, 20), (1, 5))
    )
    assert fingerprint(small.train) == fingerprint(again.train) != fingerprint(other.train)
    assert ids(small)[0] < ids(large)[0]
    unequal = load_subset("digits", seed=0, train={0: 5, 1: 50}, valid={0: 2, 1: 2})
    zeros = [[i for i, y in zip(s.train["id"].to_pylist(), s.train["label"].to_pylist(), strict=True) if y == 0]
             for s in (small, unequal)]  # fmt: skip
    assert sorted(zeros[0]) == sorted(zeros[1])


@needs_folder
@pytest.mark.parametrize(
    ("name", "train", "valid", "n_test"),
    [
        ("sst5", 40, 2, 2210),
        ("trec", 40, 5, 500),
        ("imdb", 40, 5, 25_000),
        ("sst2", {"negative": 20, "positive": 1000}, 10, 1821),
    ],
)
def test_the_settings_of_hu_et_al(name, train, valid, n_test):
    subset = load_subset(name, seed=0, train=train, valid=valid)
    each = train if isinstance(train, dict) else dict.fromkeys(set(subset.test["label"].to_pylist()), train)
    assert counts(subset.train) == each
    assert counts(subset.valid) == dict.fromkeys(each, valid)
    assert len(each) == SETS[name].classes
    assert subset.test.num_rows == n_test
    texts = [set(part["text"].to_pylist()) for part in (subset.train, subset.valid)]
    assert not texts[0] & texts[1]
    assert len(set.union(*ids(subset))) == sum(map(len, ids(subset)))
    # validation rows are the official ones where there are any: numbered after the training rows
    sizes = {"sst5": 8544, "sst2": 6920}
    if name in sizes:
        assert min(ids(subset)[1]) >= sizes[name]
        assert max(ids(subset)[0]) < sizes[name]


def test_what_cannot_be_drawn():
    with pytest.raises(ParameterError, match="one of 'adult'"):
        load_subset("no2", seed=0, train=2, valid=2)
    with pytest.raises(ParameterError, match="of 0 at most 178 for training, with validation 177 in all"):
        load_subset("digits", seed=0, train=175, valid=3)
    with pytest.raises(ParameterError, match="of the classes"):
        load_subset("digits", seed=0, train={77: 3}, valid=1)
    with pytest.raises(ParameterError, match="of the classes"):
        load_subset("digits", seed=0, train={0: 3, 1: 3}, valid={0: 3, 2: 3})
    for wrong in ({"train": 0}, {"valid": 0}, {"seed": -1}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            load_subset("digits", **({"seed": 0, "train": 2, "valid": 2} | wrong))


def test_a_number_for_all_goes_with_a_choice_of_classes():
    subset = load_subset("digits", seed=np.int64(0), train={1: 7, 2: 9}, valid=3)
    assert counts(subset.valid) == {1: 3, 2: 3}
