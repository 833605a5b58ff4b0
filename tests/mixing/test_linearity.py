"""Label error by distance, in worlds where it is known on paper."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from mixing_kit import examples, line, problem

from raydm.data.examples import Examples
from raydm.errors import ParameterError, RolloutError
from raydm.mixing.linearity import (
    SHARES,
    at_half,
    bootstrapped,
    cross_fitted,
    distances,
    label_error,
    limited_linearity,
)
from raydm.mixing.pairs import Pairs
from raydm.predictors import TrainingSets

ALL = 10**6  # pairs of a cell


def parabola(n: int, seed: int = 0) -> Examples:
    """y = x^2 at distinct integers: at the midpoint of two that are d apart, the label is wrong by d^2 / 4."""
    x = np.random.default_rng(seed).permutation(4 * n)[:n].astype(np.float32)
    return examples(x, x**2)


def squares(x: Any, i: Any, j: Any) -> Any:
    return x.astype(np.float64) ** 2


def pairs(i: list[int], j: list[int], lam: list[float]) -> Pairs:
    return Pairs(np.array(i), np.array(j), np.array(lam), np.full(len(i), "any"))


@pytest.mark.parametrize("targets", [1, 3])
def test_labels_that_are_linear_are_right_at_every_distance(targets: int) -> None:
    scale = np.arange(1, targets + 1)
    found = limited_linearity(
        line(60, targets=targets), lambda x, i, j: np.outer(1 + 2 * x[:, 0] - x[:, 1], scale), seed=0
    )
    for curve in (found.data, found.label):
        assert np.allclose(curve.error, 0, atol=1e-6)
        assert np.all(np.diff(curve.distance) > 0)
    assert np.nanmax(found.table) < 1e-6


def test_labels_of_a_parabola_are_wrong_by_a_quarter_of_the_squared_distance() -> None:
    drawn = np.random.default_rng(0).uniform(0, 50, 40)  # no two pairs are equally far apart: none lies on an edge
    train = examples(drawn, drawn.astype(np.float32) ** 2)
    x, sd = train.x[:, 0].astype(float), train.y.astype(float).std()
    found = limited_linearity(train, squares, seed=0, per_cell=ALL)
    i, j = np.array([*combinations(range(40), 2)]).T
    d, error = np.abs(x[i] - x[j]), (x[i] - x[j]) ** 2 / 4 / sd
    of_label = np.abs(x[i] ** 2 - x[j] ** 2) / sd
    for curve, by in ((found.data, d), (found.label, of_label)):
        np.testing.assert_allclose(curve.edges, np.unique(np.quantile(by, SHARES)), rtol=1e-4)
        assert curve.pairs.sum() == 780
        for k, (low, high) in enumerate(zip(curve.edges[:-1], curve.edges[1:], strict=True)):
            own = (by >= low) & ((by < high) | (k == len(curve.error) - 1))
            assert curve.pairs[k] == own.sum()
            assert curve.error[k] == pytest.approx(error[own].mean(), rel=1e-3, abs=1e-5)
            assert curve.distance[k] == pytest.approx(by[own].mean(), rel=1e-4)
    assert np.nansum(found.table * found.table_pairs) == pytest.approx(error.sum(), rel=1e-4)


def test_a_draw_keeps_near_pairs_and_does_not_bend_the_means() -> None:
    train = parabola(150)
    whole = limited_linearity(train, squares, seed=0, per_cell=ALL)
    some = limited_linearity(train, squares, seed=0, per_cell=20)
    np.testing.assert_array_equal(some.data.edges, whole.data.edges)
    assert some.table_pairs.max() == 20
    assert some.data.pairs.min() > 40
    for drawn, known in ((some.data, whole.data), (some.label, whole.label)):
        np.testing.assert_allclose(drawn.error, known.error, rtol=0.2)
    assert some.data.error[0] / some.data.error[-1] < 0.001


def test_only_some_rows_are_looked_at_where_there_are_many() -> None:
    train = parabola(300)
    seen: set[int] = set()

    def reference(x: Any, i: Any, j: Any) -> Any:
        seen.update(i, j)
        return squares(x, i, j)

    found = limited_linearity(train, reference, seed=1, rows=30, per_cell=ALL)
    assert found.data.pairs.sum() == 30 * 29 / 2
    assert len(seen) == 30
    again = limited_linearity(train, squares, seed=1, rows=30, per_cell=ALL)
    np.testing.assert_array_equal(found.data.error, again.data.error)
    other = limited_linearity(train, squares, seed=2, rows=30, per_cell=ALL)
    assert not np.array_equal(found.data.error, other.data.error)


def test_lambda_and_the_unit_of_each_label() -> None:
    # y = (x^2, 10 x^2) at 0 and 4: at lambda the first is wrong by lambda (1 - lambda) 16, its deviation is 8.
    train = examples([0.0, 4.0], [[0.0, 0.0], [16.0, 160.0]])
    error = label_error(
        train, pairs([1, 1, 0], [0, 0, 0], [0.5, 0.25, 0.5]), lambda x, i, j: np.outer(x[:, 0] ** 2, [1, 10])
    )
    np.testing.assert_allclose(error, [4 / 8, 3 / 8, 0], atol=1e-6)
    by_data, by_label = distances(train, at_half(np.array([0]), np.array([1])))
    assert (by_data, by_label) == (4, pytest.approx(8**0.5))


def test_labels_that_are_all_alike_make_one_bin() -> None:
    found = limited_linearity(examples(range(8), np.ones(8)), lambda x, i, j: np.ones((len(x), 1)), seed=0)
    assert found.label.pairs.tolist() == [28]
    assert found.label.edges.tolist() == [0, 0]
    assert found.label.error.tolist() == [0]


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_few_rows_will_do(n: int) -> None:
    found = limited_linearity(parabola(n), squares, seed=0)
    assert found.data.pairs.sum() == n * (n - 1) / 2


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ParameterError, match="fewer than two"):
        limited_linearity(parabola(1), squares, seed=0)
    with pytest.raises(RolloutError, match="NaN or infinity"):
        limited_linearity(parabola(9), lambda x, i, j: np.full((len(x), 1), np.nan), seed=0)
    with pytest.raises(ParameterError, match="4 examples differ"):
        cross_fitted(problem(parabola(4)), parabola(4).take([0, 1, 2, 3, 3, 3]))


def test_the_standard_error_is_that_of_rows_not_of_pairs() -> None:
    # The mean of a_i + a_j over all pairs is twice the mean of a, whose standard error is 2 sd / sqrt(n).
    n = 100
    a = np.random.default_rng(0).normal(size=n)
    i, j = np.triu_indices(n, 1)
    ((mean, standard_error),) = bootstrapped(
        a[i] + a[j], np.ones(len(i)), i, j, [np.zeros(len(i), np.int64)], [2], seed=0
    )
    assert mean[0] == pytest.approx(2 * a.mean())
    assert standard_error[0] == pytest.approx(2 * a.std() / n**0.5, rel=0.25)
    assert np.isnan(mean[1])
    assert np.isnan(standard_error[1])


class Recorded:
    """The labels of the training rows that each model saw, as its weights; it predicts 0."""

    differentiable = False
    watched: Any = None

    def fit(self, sets: TrainingSets, *, seed: Any) -> Any:
        self.sets = sets
        return self

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        return torch.arange(len(self.sets.w)).reshape(-1, 1, 1).expand(-1, len(x), 1)  # which model speaks


@pytest.mark.parametrize("watches", [True, False])
def test_a_mixed_row_is_judged_by_a_model_that_saw_neither_parent(watches: bool) -> None:
    train, valid, more = parabola(23), parabola(7, seed=1), parabola(4, seed=2)
    train = train.take([*range(23), 3, 3])  # a row that is there three times
    recorded = Recorded()
    made = problem(valid)
    object.__setattr__(made, "predictor", recorded)
    recorded.watched = valid if watches else None
    reference = cross_fitted(made, train, more)
    i, j = (side.reshape(-1) for side in np.indices((25, 25)))
    model = reference(train.x[i], i, j)[:, 0].astype(int)
    w = recorded.sets.w.numpy()
    assert w.shape == (10, 25 + 4 + (0 if watches else 7))
    assert np.all(w[:, 25:] == 1)
    assert not w[model, i].any()
    assert not w[model, j].any()
    assert not w[model[i == 3]][:, [3, 23, 24]].any()
    assert w[:, :25].sum(1).min() >= 10  # of 25: each is trained on about three fifths


def test_the_reference_finds_that_a_parabola_bends() -> None:
    x = np.linspace(-1, 1, 80)
    train = examples(x, x**2)
    reference = cross_fitted(problem(train.take(range(0, 80, 8)), k=2), train)
    found = limited_linearity(train, reference, seed=0)
    known = limited_linearity(train, squares, seed=0)
    np.testing.assert_allclose(found.data.error, known.data.error, atol=0.15)
    assert found.data.error[-1] > 5 * found.data.error[0]
    nowhere = reference(np.empty((0, 1), np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
    assert nowhere.shape == (0, 1)
