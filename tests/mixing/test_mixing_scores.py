"""What mixed rows are good for, by a nearest neighbour whose predictions are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mixing_kit import examples, line, problem

from raydm.errors import RolloutError
from raydm.mixing.pairs import Pairs
from raydm.mixing.scores import gains, mixed_predictor, mixed_sets, utilities
from raydm.predictors import BlackBox
from raydm.utility import InProcess

TRAIN = examples([-1, 1], [0, 2])
MIDDLE = Pairs(np.array([0]), np.array([1]), np.array([0.5]), np.array(["data"]))  # a row at 0, of target 1
NOBODY = MIDDLE.take(np.array([], np.int64))
TEST = examples([0.1, 0.9], [1, 2])


def given(predictor="neighbors", **params):
    return problem(examples([0.1], [1]), predictor, **params)


@pytest.mark.parametrize("repeats", [1, 3])
def test_test_scores_with_the_mixed_row_and_without(repeats):
    # With it both rows are predicted exactly. Without, 0.1 is next to the row of target 2: errors of 1 and 0, a mean
    # square of 1/2 where the targets' variance is 1/4.
    found = gains(given(), TRAIN, MIDDLE, TEST, repeats)
    assert found == pytest.approx({"rmse": 0, "r2": 1, "rmse_none": 0.5**0.5, "r2_none": -1, "ratio": 0})


def test_without_mixed_rows_both_are_one():
    for name, params in (("neighbors", {}), ("mlp", {"hidden": [4], "steps": 5, "batch_size": 2})):
        found = gains(given(name, **params), line(12), NOBODY, line(5, seed=1), 2)
        assert found["ratio"] == 1.0
        assert (found["rmse"], found["r2"]) == (found["rmse_none"], found["r2_none"])


def test_what_is_not_defined_is_nan():
    found = gains(given(), TRAIN, MIDDLE, examples([1.0], [2]), 1)  # the row itself: no error, and one target
    assert (found["rmse"], found["rmse_none"]) == (0, 0)
    assert np.isnan([found["r2"], found["r2_none"], found["ratio"]]).all()


def test_repeats_are_trainings_from_different_seeds_and_the_score_is_their_mean():
    params = {"hidden": [4], "epochs": 2}
    once, twice = (gains(given("mlp", **params), line(12), NOBODY, line(5, seed=1), n)["rmse"] for n in (1, 2))
    assert once != twice
    other = gains(given("mlp", seed=1, **params), line(12), NOBODY, line(5, seed=1), 1)["rmse"]
    assert other != once


def test_sets_hold_all_examples_and_the_mixed_rows_that_each_chose():
    sets = mixed_sets(TRAIN, MIDDLE.rows(TRAIN), np.array([[True], [False]]), given())
    assert sets.x.tolist() == [[-1], [1], [0]]
    assert sets.y.tolist() == [0, 2, 1]
    assert sets.w.tolist() == [[1, 1, 1], [1, 1, 0]]
    # Of the trusted row at .1 with target 1 the sets say 1 and 2
    world = given()
    u = utilities(sets, world, InProcess(world), repeats=2)
    assert u.tolist() == [0, -1]


def test_the_utility_has_its_problem_back_also_after_a_failure():
    world = given()

    class Failing(InProcess):
        def __call__(self, sets, *, step):
            raise RolloutError("no")

    utility = Failing(world)
    with pytest.raises(RolloutError):
        utilities(mixed_sets(TRAIN, NOBODY.rows(TRAIN), np.ones((1, 0), bool), world), world, utility, 1)
    assert utility.problem is world


def test_the_predictor_is_trained_on_both():
    p = mixed_predictor(given(), TRAIN, MIDDLE).predict(torch.tensor([[-0.9], [0.1], [0.9]]))
    assert p[0, :, 0].tolist() == [0, 1, 2]


class Stubborn:
    """Fits nothing."""

    def fit(self, x, y):
        raise ZeroDivisionError("no reason")

    def predict(self, x):
        raise NotImplementedError


class Diverged(Stubborn):
    """Predicts NaN."""

    def fit(self, x, y):
        return self

    def predict(self, x):
        return np.full(len(x), np.nan)


def test_a_predictor_that_fails_is_told_and_not_a_traceback():
    world = given(BlackBox(None, Stubborn()))
    with pytest.raises(RolloutError, match=r"predictor of the mixed rows failed: ZeroDivisionError\('no reason'\)"):
        mixed_predictor(world, TRAIN, MIDDLE)
    with pytest.raises(RolloutError, match="A predictor of the test scores failed: ZeroDivisionError"):
        gains(world, TRAIN, MIDDLE, TEST, 1)
    with pytest.raises(RolloutError, match="test scores predicts NaN or infinity: its training diverged"):
        gains(given(BlackBox(None, Diverged())), TRAIN, MIDDLE, TEST, 1)
