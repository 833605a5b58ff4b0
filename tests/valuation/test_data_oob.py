"""Data-OOB in worlds worked out on paper, and with predictors of each kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.metrics import METRICS, discovery_auc
from raydm.predictors import BlackBox, make_predictor
from raydm.utility import InProcess, Problem
from raydm.valuation.data_oob import bagged, data_oob
from raydm.valuation.game import Game

CLASSES, TARGETS = Task("classification", 2), Task("regression", 1)


class World:
    """A utility that says what `rule` makes of each call's weights (R, N) and the members before: (R, N, C)."""

    def __init__(self, rule):
        self.rule, self.w, self.steps = rule, np.zeros((0, 0)), []

    def predictions(self, sets, x, *, step):
        before = len(self.w)
        w = sets.w.numpy()
        self.w = np.concatenate([self.w.reshape(-1, w.shape[1]), w])
        self.steps.append(step)
        return torch.from_numpy(self.rule(w, before))


def game(y, predictor="logistic", task=CLASSES, x=None, rule=None, **problem):
    x = np.zeros((len(y), 1)) if x is None else x
    train = Examples(np.asarray(x, dtype=np.float32), np.asarray(y), np.arange(len(y)))
    predictor = make_predictor(predictor) if isinstance(predictor, str) else predictor
    metric = METRICS["accuracy" if task is CLASSES else "rmse"]
    whole = Problem(predictor, train, task, metric, seed=0, **problem)
    return Game(train, whole, World(rule) if rule else InProcess(whole))


def last(game, **settings):
    return list(data_oob(game, **settings))[-1]


def test_members_that_know_only_what_they_saw_give_every_row_zero():
    y = np.arange(20) % 2
    some = game(y, rule=lambda w, _: np.eye(2)[np.where(w > 0, y, 1 - y)])
    estimate = last(some, members=50)
    assert (estimate.values == 0).all()
    assert (estimate.standard_errors == 0).all()


def test_values_and_errors_are_those_of_the_members_that_did_not_see_the_row():
    # Member b says class 1 with probability 0.9 if b is odd, else 0.2
    y = np.arange(12) % 2

    def rule(w, before):
        p = np.where((before + np.arange(len(w))) % 2 == 1, 0.9, 0.2)
        return np.stack([1 - p, p], -1)[:, None].repeat(12, 1)

    for score, right in {"correctness": (1.0, 0.0), "probability": (0.9, 0.2)}.items():
        some = game(y, rule=rule)
        estimates = list(data_oob(some, members=30, rollouts=8, score=score))
        assert [e.evaluations for e in estimates] == [8, 16, 24, 30]
        assert [e.share for e in estimates] == pytest.approx([8 / 30, 16 / 30, 24 / 30, 1])
        assert some.utility.steps == [0, 1, 2, 3]
        odd = np.arange(30) % 2 == 1
        for i in range(12):
            says_one = np.where(odd, *right) if score == "correctness" else np.where(odd, 0.9, 0.2)
            scores = (says_one if y[i] else 1 - says_one)[some.utility.w[:, i] == 0]
            assert estimates[-1].values[i] == pytest.approx(scores.mean())
            assert estimates[-1].standard_errors[i] == pytest.approx(scores.std(ddof=1) / np.sqrt(len(scores)))


def test_of_targets_the_score_is_minus_the_squared_error():
    y = np.array([1.0, 2.0, 4.0], dtype=np.float32)
    estimate = last(game(y, "linear", TARGETS, rule=lambda w, _: np.full((len(w), 3, 1), 2.0)), members=60)
    np.testing.assert_allclose(estimate.values, [-1, 0, -4])


def test_a_row_that_every_member_saw_has_the_mean_value_and_no_error():
    y = np.array([0, 1, 1])
    some = game(y, rule=lambda w, _: np.tile([0.0, 1.0], (len(w), 3, 1)))  # class 1, always
    for seed in range(50):
        seeded = replace(some, problem=replace(some.problem, seed=seed), utility=World(some.utility.rule))
        estimate = last(seeded, members=2)
        seen = (seeded.utility.w > 0).all(0)
        assert (np.isnan(estimate.standard_errors) == ((seeded.utility.w == 0).sum(0) < 2)).all()
        if seen.any() and not seen.all():
            np.testing.assert_allclose(estimate.values[seen], y[~seen].mean())


@pytest.mark.parametrize(
    ("predictor", "draw"), [("logistic", "bootstrap"), ("sklearn.neighbors.KNeighborsClassifier", "subsample")]
)
def test_sets_are_bootstraps_or_where_weights_are_not_taken_subsamples(predictor, draw):
    drawn = []
    for how in ("auto", draw):
        some = game(np.arange(400) % 2, predictor, rule=lambda w, _: np.full((len(w), 400, 2), 0.5))
        list(data_oob(some, members=40, draw=how))
        drawn.append(some.utility.w)
    w = drawn[0]
    np.testing.assert_array_equal(w, drawn[1])
    assert abs((w == 0).mean() - np.exp(-1)) < 0.02
    if draw == "bootstrap":
        assert (w.sum(1) == 400).all()
        assert w.max() > 2
    else:
        assert (w.sum(1) == round(400 * (1 - np.exp(-1)))).all()
        assert set(np.unique(w)) == {0, 1}
    assert len(np.unique(w, axis=0)) == 40


@pytest.fixture(scope="module")
def cancer():
    """300 rows, 20 % of the labels flipped: features, labels, which are flipped."""
    x, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    rows, flipped = rng.permutation(len(y))[:300], rng.random(300) < 0.2
    return (x[rows] - x.mean(0)) / x.std(0), np.where(flipped, 1 - y[rows], y[rows]), flipped


@pytest.mark.parametrize(
    ("predictor", "least"),
    [
        ("logistic", 0.95),
        ("random-forest", 0.93),
        ("sklearn.neighbors.KNeighborsClassifier", 0.95),
        ("naive-bayes", 0.93),
    ],
)
@pytest.mark.parametrize("score", ["correctness", "probability"])
def test_flipped_labels_are_worth_little(cancer, predictor, least, score):
    x, y, flipped = cancer
    some = game(y, bagged(make_predictor(predictor)), x=x, shared_restart=False)
    assert discovery_auc(last(some, members=96, score=score).values, flipped) > least


@pytest.mark.parametrize("predictor", ["logistic", "random-forest"])
def test_values_are_the_same_bits_with_any_shard_and_follow_the_seed(cancer, predictor):
    x, y, _ = cancer

    def values(seed=0, **problem):
        some = game(y[:80], bagged(make_predictor(predictor)), x=x[:80], shared_restart=False, **problem)
        some = replace(some, problem=replace(some.problem, seed=seed))
        return last(replace(some, utility=InProcess(some.problem)), members=24).values

    np.testing.assert_array_equal(values(), values(shard=5))
    assert (values() != values(seed=1)).any()


def test_of_a_forest_a_member_is_one_tree_with_the_forests_settings():
    forest = make_predictor("random-forest", n_estimators=7, max_depth=3, criterion="entropy")
    tree = bagged(forest).templates["classification"]
    assert isinstance(tree, DecisionTreeClassifier)
    settings = tree.get_params()
    assert (settings["max_depth"], settings["criterion"], settings["max_features"]) == (3, "entropy", "sqrt")
    assert bagged(forest).templates["regression"].get_params()["max_features"] == 1.0
    assert bagged(BlackBox(RandomForestClassifier())).templates["regression"] is None
    for name in ("logistic", "naive-bayes"):
        predictor = make_predictor(name)
        assert bagged(predictor) is predictor


def test_memory_bounds_what_a_call_predicts(monkeypatch):
    monkeypatch.setattr("raydm.valuation.data_oob._BYTES", 8 * 10 * 2 * 3)
    some = game(np.arange(10) % 2, rule=lambda w, _: np.full((len(w), 10, 2), 0.5))
    assert [e.evaluations for e in data_oob(some, members=8)] == [3, 6, 8]


@pytest.mark.parametrize(
    ("name", "bad"),
    [("members", 1), ("score", "squared-error"), ("draw", "jackknife"), ("rollouts", 0), ("members", 2.5)],
)
def test_settings_have_ranges(name, bad):
    with pytest.raises(ParameterError, match=f"'{name}' parameter of data_oob"):
        last(game(np.arange(10) % 2), **{name: bad})
