"""Several targets: a world whose answers are worked out on paper, by every predictor that is not a stack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from raydm.data import prepare
from raydm.data.task import Task
from raydm.errors import RunError
from raydm.predictors import BlackBox, TablePredictor, TrainingSets, make_predictor
from raydm.predictors.blackbox import _takes_several_targets

TWO = Task("regression", 2)
X = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
LINES = torch.cat([1 + 2 * X, 50 - 10 * X], 1)  # y = (1 + 2 x, 50 - 10 x)
ROWS = torch.tensor([[10.0], [-1.0]])
ON_LINES = torch.tensor([[21.0, -50.0], [-1.0, 60.0]]).double()
SEED = np.array([3])


def sets_of(w: Any, y: torch.Tensor = LINES) -> TrainingSets:
    return TrainingSets(X, y, torch.as_tensor(w, dtype=torch.float32), TWO)


def test_lines_are_found_from_any_of_their_points():
    sets = sets_of([[1, 1, 1, 1], [1, 0, 0, 1], [0.5, 2, 1, 1]])
    for estimator in (LinearRegression(), Plain()):
        p = BlackBox(None, estimator).fit_predict(sets[:2], ROWS, seed=np.arange(2))
        torch.testing.assert_close(p, ON_LINES.expand(2, 2, 2), rtol=1e-5, atol=1e-4)
    p = BlackBox(None, LinearRegression()).fit_predict(sets, ROWS, seed=np.arange(3))
    torch.testing.assert_close(p, ON_LINES.expand(3, 2, 2), rtol=1e-5, atol=1e-4)


class Plain:
    """A line through one target: it has nothing but fit and predict, and takes y of one axis only."""

    def fit(self, x, y):
        assert y.ndim == 1
        self.line = np.polyfit(x[:, 0], y, 1)

    def predict(self, x):
        return np.polyval(self.line, x[:, 0])


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "random-forest", "neighbors"])
def test_empty_sets_predict_the_means_and_single_examples_their_targets(name):
    w = np.zeros((2, 4))
    w[1, 2] = 1
    p = make_predictor(name).fit_predict(sets_of(w), ROWS, seed=np.zeros(2, int))
    assert p[0].tolist() == [[4, 35]] * 2  # the means of 1 3 5 7 and of 50 40 30 20
    assert p[1].tolist() == [[5, 30]] * 2


def test_targets_of_their_own_in_each_set():
    y = torch.stack([LINES, -LINES])
    sets = TrainingSets(X, y, torch.ones(2, 4), TWO)
    assert not sets.y_is_shared
    assert sets[1:].y.tolist() == [(-LINES).tolist()]
    p = BlackBox(None, LinearRegression()).fit_predict(sets, ROWS, seed=np.arange(2))
    torch.testing.assert_close(p, torch.stack([ON_LINES, -ON_LINES]), rtol=1e-5, atol=1e-4)
    p = make_predictor("neighbors", k=1).fit_predict(sets, X[2:], seed=np.arange(2))
    assert p.tolist() == [[[5, 30], [7, 20]], [[-5, -30], [-7, -20]]]


def test_training_sets_tell_targets_from_rollouts():
    sets = sets_of([[1, 0, 1, 0], [1, 0, 0, 0]])
    assert sets.y_is_shared
    small = sets.compact()
    assert small.y.tolist() == LINES[[0, 2]].tolist()
    assert small.w.tolist() == [[1, 1], [1, 0]]
    with_empty = sets_of([[1, 0, 0, 0], [0, 0, 0, 0]])
    assert with_empty.compact() is with_empty
    one = TrainingSets(X, LINES[:, :1].T.expand(2, 4), torch.ones(2, 4), Task("regression", 1))
    assert not one.y_is_shared


def test_neighbours_vote_on_each_target_by_their_weights():
    # From 0 the votes of k = 2 are 0.5 of the example at 0 and 1.5 of the 2 at 1.
    votes = make_predictor("neighbors", k=2)
    p = votes.fit_predict(sets_of([[0.5, 2, 9, 9]]), X[:1], seed=SEED)
    assert p.tolist() == [[[(0.5 * 1 + 1.5 * 3) / 2, (0.5 * 50 + 1.5 * 40) / 2]]]


@pytest.mark.parametrize("y", [LINES, torch.stack([LINES, 2 * LINES])], ids=["shared", "own"])
def test_neighbours_are_saved_without_the_absent(tmp_path: Path, y):
    sets = sets_of([[1, 0, 2, 0], [0, 0, 1, 1]], y)
    votes = make_predictor("neighbors", k=1)
    fitted = votes.fit(sets, seed=np.arange(2))
    fitted.save(tmp_path)
    read = votes.load(tmp_path, TWO, 1)
    assert read.y.shape == (*y.shape[:-2], 3, 2)
    assert torch.equal(read.predict(X), fitted.predict(X))
    for other in (Task("regression", 1), Task("regression", 3)):
        with pytest.raises(RunError, match="holds labels of shape"):
            votes.load(tmp_path, other, 1)


NOISE = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
WIDE = np.stack([NOISE[:, 0], NOISE[:, 1] ** 2 - NOISE[:, 2]], 1)


@pytest.mark.parametrize("weights", [np.ones(60), np.linspace(0.5, 2, 60)], ids=["alike", "weighted"])
def test_what_takes_several_targets_is_given_all_and_others_one_at_a_time(weights):
    sets = TrainingSets(torch.from_numpy(NOISE), torch.from_numpy(WIDE), torch.from_numpy(weights)[None].float(), TWO)
    own = None if (weights == 1).all() else sets.w[0].numpy()
    forest = RandomForestRegressor(n_estimators=3, max_depth=2)
    p = BlackBox(None, forest).fit_predict(sets, sets.x, seed=SEED)[0].numpy()
    expected = RandomForestRegressor(n_estimators=3, max_depth=2, random_state=3).fit(NOISE, WIDE, sample_weight=own)
    np.testing.assert_array_equal(p, expected.predict(NOISE))
    boosting = GradientBoostingRegressor(n_estimators=3, subsample=0.5)
    p = BlackBox(None, boosting).fit_predict(sets, sets.x, seed=SEED)[0].numpy()
    each = [
        GradientBoostingRegressor(n_estimators=3, subsample=0.5, random_state=3).fit(NOISE, y, sample_weight=own)
        for y in WIDE.T
    ]
    np.testing.assert_array_equal(p, np.stack([e.predict(NOISE) for e in each], 1))


def test_which_estimators_take_several_targets():
    network = MLPRegressor(hidden_layer_sizes=(2,), max_iter=500, tol=1.0)
    scaled = [make_pipeline(StandardScaler(), e) for e in (LinearRegression(), network)]
    for estimator in (RandomForestRegressor(3), LinearRegression(), KNeighborsRegressor(), network, *scaled):
        assert _takes_several_targets(estimator)
        assert estimator.fit(NOISE, WIDE).predict(NOISE).shape == (60, 2)
    for estimator in (SVR(), GradientBoostingRegressor(), make_pipeline(StandardScaler(), SVR()), Plain()):
        assert not _takes_several_targets(estimator)


def test_one_estimator_a_target_is_read_back(tmp_path: Path):
    predictor = make_predictor("sklearn.svm.SVR")
    fitted = predictor.fit(sets_of(np.ones((2, 4))), seed=np.arange(2))
    fitted.save(tmp_path)
    assert torch.equal(predictor.load(tmp_path, TWO, 1).predict(ROWS), fitted.predict(ROWS))


def test_tables_get_targets_in_their_own_units():
    train = pa.table({"x": X[:, 0].numpy(), "u": LINES[:, 0].numpy(), "v": LINES[:, 1].numpy()})
    done = prepare(train, pa.table({"x": [1.5], "u": [4.0], "v": [35.0]}), label=["u", "v"])
    sets = TrainingSets(torch.from_numpy(done.train.x), torch.from_numpy(done.train.y), torch.ones(1, 4), TWO)
    fitted = BlackBox(None, LinearRegression()).fit(sets, seed=SEED)
    p = TablePredictor(fitted, done.encoder, done.labels).predict(pa.table({"x": [10.0, -1.0]}))
    assert p.shape == (2, 2)
    np.testing.assert_allclose(p, ON_LINES, rtol=1e-5, atol=1e-4)
