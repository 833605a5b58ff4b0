"""Pairs and their rows, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from mixing_kit import examples, line

from raydm.mixing.options import Options
from raydm.mixing.pairs import Pairs, neighborhood, together
from raydm.neighbors import nearest


def pairs(*of):
    i, j, lam = (np.array(column) for column in zip(*of, strict=True))
    return Pairs(i, j, lam.astype(float), np.full(len(i), "data"))


def test_rows_by_hand():
    made = pairs((0, 1, 0.25), (2, 0, 0.5)).rows(examples([[0, 8], [4, 0], [2, 2]], [10, 20, 40]))
    assert made.x.tolist() == [[3, 2], [1, 5]]
    assert made.y.tolist() == [17.5, 25]
    assert made.x.dtype == made.y.dtype == np.float32


def test_rows_of_several_targets():
    made = pairs((0, 1, 0.25)).rows(examples([[0.0], [4.0]], [[0, 100], [4, 200]]))
    assert made.x.tolist() == [[3.0]]
    assert made.y.tolist() == [[3.0, 175.0]]


@pytest.mark.parametrize("targets", [1, 3])
def test_where_labels_are_linear_mixed_rows_are_too(targets):
    world = line(30, targets=targets)
    rng = np.random.default_rng(1)
    made = Pairs(rng.integers(30, size=99), rng.integers(30, size=99), rng.random(99), np.full(99, "x")).rows(world)
    truth = 1 + 2 * made.x[:, 0] - made.x[:, 1]
    for c, y in enumerate(made.y.reshape(99, -1).T):
        np.testing.assert_allclose(y, (c + 1) * truth, atol=1e-5)


def test_distinct_keeps_the_first_of_each_row():
    made = pairs((0, 1, 0.5), (1, 0, 0.5), (0, 1, 0.25), (1, 0, 0.75), (1, 0, 0.25), (0, 2, 0.5), (0, 1, 0.5))
    assert made.distinct().tolist() == [0, 2, 4, 5]


def test_distinct_of_none():
    none = pairs((0, 1, 0.5)).take(np.zeros(1, bool))
    assert none.distinct().tolist() == []
    assert none.merged(np.empty(0, np.int64), 3)[1].shape == (3, 0)


def test_merged_sets_share_rows():
    parts = [pairs((0, 1, 0.5), (0, 2, 0.5)), pairs((2, 1, 0.5), (1, 0, 0.5)), pairs((3, 0, 0.5))]
    rows, holds = together(parts).merged(np.array([0, 0, 1, 1, 2]), 4)
    assert list(zip(rows.i, rows.j, strict=True)) == [(0, 1), (0, 2), (2, 1), (3, 0)]
    assert holds.astype(int).tolist() == [[1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]


def test_labels_are_sorted_with_the_neighbours_of_all_distances():
    y = np.round(np.random.default_rng(0).normal(size=9000), 2)  # two blocks, and many ties
    found = neighborhood(examples(np.zeros((9000, 1)), y), Options((), (5,))).of["label"]
    true = nearest(y[:, None].astype(np.float32), y[:, None].astype(np.float32), 5, exclude_self=True)[1]
    np.testing.assert_array_equal(found, true)


def test_the_neighbours_of_options():
    # By data from 0: 1, then 3, then 7. By label from 0: 5, then 6, then 9.
    world = examples([[0.0], [1.0], [3.0], [7.0]], [0.0, 9.0, 5.0, -6.0])
    choice = Options((1, 3), (2,))
    known = neighborhood(world, choice)
    owner, partner, kind = known.at(np.array([0, 3, 0]), np.array([2, 0, 1]), choice)
    assert owner.tolist() == [0, 0, 1, 2, 2, 2]
    assert partner.tolist() == [2, 3, 2, 1, 2, 3]
    assert kind.tolist() == ["label", "label", "data", "data", "data", "data"]
    i, j, kind = known.first({"data": np.array([1, 0, 0, 2]), "label": np.array([2, 0, 0, 0])})
    assert i.tolist() == [0, 3, 3, 0, 0]
    assert j.tolist() == [1, 2, 1, 2, 3]
    assert kind.tolist() == ["data"] * 3 + ["label"] * 2


def test_label_distance_weighs_columns_by_their_spread():
    # The second column is in units a thousand times smaller: from 0 row 1 is far in the first, row 2 in the second.
    world = examples(np.zeros((4, 1)), [[0, 0], [3, 0], [0, 1000], [10, 10000]])
    assert neighborhood(world, Options((), (1,))).of["label"][0].tolist() == [2]
