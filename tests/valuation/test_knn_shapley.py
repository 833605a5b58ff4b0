"""KNN-Shapley against the sum over all subsets, and worlds worked out on paper."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.metrics import METRICS
from raydm.predictors import make_predictor
from raydm.utility import InProcess, Problem
from raydm.valuation.game import Game
from raydm.valuation.knn_shapley import knn_shapley

CLASSES, TARGETS = Task("classification", 3), Task("regression", 1)


def game(x, y, x_valid, y_valid, task=CLASSES):
    label = np.int64 if task is CLASSES else np.float32
    train, valid = (
        Examples(np.asarray(a, dtype=np.float32).reshape(len(b), -1), np.asarray(b, dtype=label), np.arange(len(b)))
        for a, b in ((x, y), (x_valid, y_valid))
    )
    name, metric = ("logistic", "accuracy") if task is CLASSES else ("linear", "rmse")
    problem = Problem(make_predictor(name), valid, task, METRICS[metric], seed=0)
    return Game(train, problem, InProcess(problem))


def random_game(seed, n, task, *, m=3, grid=False):
    rng = np.random.default_rng(seed)
    x, xv = (rng.integers(0, 2, (a, 2)) if grid else rng.standard_normal((a, 2)) for a in (n, m))
    if task is CLASSES:
        return game(x, rng.integers(0, 3, n), xv, rng.integers(0, 3, m))
    return game(x, rng.normal(5, 2, n), xv, rng.normal(4, 2, m), TARGETS)


def last(game, **settings):
    return list(knn_shapley(game, **settings))[-1]


def worth(game, k, members):
    """v(S) from its definition."""
    train, valid = game.train, game.problem.valid
    mean = np.float64(train.y).mean()
    scores = []
    for x, truth in zip(valid.x, valid.y, strict=True):
        near = sorted(members, key=lambda i: (np.sum((np.float64(train.x[i]) - x) ** 2), i))[:k]
        if game.problem.task.kind == "classification":
            scores.append(sum(train.y[i] == truth for i in near) / k)
        else:
            prediction = (sum(np.float64(train.y[i]) for i in near) + (k - len(near)) * mean) / k
            scores.append(-((prediction - truth) ** 2))
    return np.mean(scores)


def enumerated(game, k):
    """The mean over all subsets of the others, of each size alike, of what i adds."""
    n = len(game)
    values = np.zeros(n)
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for size in range(n):
            for s in combinations(others, size):
                values[i] += (worth(game, k, [*s, i]) - worth(game, k, s)) / (n * comb(n - 1, size))
    return values


@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=["classes", "targets"])
@pytest.mark.parametrize("k", [1, 2, 3, 5, 9])
def test_values_are_the_sums_over_all_subsets(task, k):
    some = random_game(k, 7, task, m=2)
    np.testing.assert_allclose(last(some, k=k).values, enumerated(some, k), atol=1e-9)


@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=["classes", "targets"])
@pytest.mark.parametrize("k", [1, 3])
def test_of_points_at_one_distance_the_first_row_is_nearer(task, k):
    tied = random_game(3, 7, task, m=2, grid=True)  # 7 points on the 4 corners of a square
    np.testing.assert_allclose(last(tied, k=k).values, enumerated(tied, k), atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 10])
@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=["classes", "targets"])
def test_values_sum_to_what_all_are_worth_more_than_none(n, task):
    some = random_game(n, n, task)
    for k in (1, 3, 5):
        assert last(some, k=k).values.sum() == pytest.approx(worth(some, k, range(n)) - worth(some, k, []))


def test_three_points_on_a_line():
    # Labels 1, 0, 1 at distances 1, 2, 3, truth 1 and k = 1: v(S) is 1 where the nearest in S has label 1. The far one
    # adds 1 where it comes first: 1/3. The middle one takes 1 away where it comes second, after the far one: in 1 of
    # the 6 orders, -1/6. The rest of v(all) = 1 is the near one's.
    values = last(game([1, 2, 3], [1, 0, 1], [0], [1]), k=1).values
    np.testing.assert_allclose(values, [5 / 6, -1 / 6, 1 / 3])


def test_standard_errors_are_those_of_the_mean_over_validation_rows():
    some = random_game(0, 20, CLASSES, m=6)
    valid = some.problem.valid
    each = [last(game(some.train.x, some.train.y, valid.x[i], [valid.y[i]]), k=3) for i in range(6)]
    values = np.stack([e.values for e in each])
    whole = last(some, k=3)
    np.testing.assert_allclose(whole.values, values.mean(0), atol=1e-12)
    np.testing.assert_allclose(whole.standard_errors, values.std(0, ddof=1) / np.sqrt(6), atol=1e-12)
    assert np.isnan(each[0].standard_errors).all()
    assert whole.evaluations == 0


def test_blocks_of_validation_rows_change_nothing_and_each_is_reported():
    some = random_game(1, 30, TARGETS, m=7)
    small = list(knn_shapley(some, k=3, memory=64 * 30 * 2))
    assert [round(e.share * 7) for e in small] == [2, 4, 6, 7]
    whole = last(some, k=3)
    np.testing.assert_allclose(small[-1].values, whole.values, rtol=1e-12)
    np.testing.assert_allclose(small[-1].standard_errors, whole.standard_errors, rtol=1e-12)


def test_near_duplicates_far_from_the_origin_are_told_apart():
    # In float32, expanded squares of 4096 leave steps of 1; the nearest is at distance 1/4
    x = np.array([4096.5, 4096.25, 4097.0])
    values = last(game(x, [0, 1, 0], [4096.0], [1]), k=1).values
    np.testing.assert_allclose(values, last(game(x - 4096, [0, 1, 0], [0.0], [1]), k=1).values)
    assert values.argmax() == 1


@pytest.mark.parametrize("k", [0, -1, 2.0, None])
def test_k_is_an_integer_from_one(k):
    with pytest.raises(ParameterError, match="'k' parameter of knn_shapley must be an integer >= 1"):
        list(knn_shapley(random_game(0, 4, CLASSES), k=k))
