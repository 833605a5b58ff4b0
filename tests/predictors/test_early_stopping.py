"""Early stopping and warm starts, where gradient descent is worked out on paper.

A line through rows x = -1 and 1 with targets -1 and 1 starts at slope 0. Its loss is (slope - 1)^2, so at a learning
rate of .05 the slope after t steps is 1 - .9^t, and the intercept stays 0.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raydm import networks
from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.metrics import METRICS
from raydm.predictors import SGD, BlackBox, Stacked, TrainingSets, make_predictor
from raydm.predictors.early_stopping import EarlyStopping, Watch
from raydm.utility import InProcess, Problem

ONE, TWO = Task("regression", 1), Task("regression", 2)
X = torch.tensor([[-1.0], [1.0]]).double()
SEED = np.zeros(3, np.int64)


class Counting(SGD):
    """Gradient descent that counts its steps."""

    steps = 0

    def update_(self, *arguments):
        type(self).steps += 1
        super().update_(*arguments)


@pytest.fixture
def counting():
    Counting.steps = 0
    return Counting(0.05, momentum=0.0)


def line(optimizer=SGD(0.05, momentum=0.0), rule=EarlyStopping(3, 1), **arguments):  # noqa: B008
    arguments = {"epochs": 40, "device": "cpu"} | arguments
    return Stacked(networks.linear, optimizer=optimizer, early_stopping=rule, **arguments)


def rows(slope, x=(-1, 1)):
    x = np.array(x, np.float64)
    return Examples(x[:, None], slope * x, np.arange(len(x)))


def sets_of(*slopes, task=ONE):
    y = torch.stack([slope * X[:, 0] for slope in slopes])
    return TrainingSets(X, y, torch.ones(len(slopes), 2).double(), task)


def slopes(predictor, sets):
    """Of each rollout's line."""
    p = predictor.fit_predict(sets, X, seed=SEED[: sets.rollouts])
    torch.testing.assert_close(p[:, 0], -p[:, 1])
    return p[:, 1, 0]


def test_each_training_keeps_its_best_and_stops_by_its_own_loss(counting):
    # The watched rows' slope is .5. Of the line towards 1 the best is .9^7 = .478, nearer to .5 than .9^6 = .531. The
    # one towards -1 leaves .5 from the first step. That of slope .5 itself comes nearer to the end.
    expected = torch.tensor([1 - 0.9**7, -(1 - 0.9), 0.5 * (1 - 0.9**40)]).double()
    predictor = line(counting).watching(rows(0.5))
    torch.testing.assert_close(slopes(predictor, sets_of(1, -1, 0.5)), expected)
    assert counting.steps == 40
    for slope, alone in zip((1, -1, 0.5), expected, strict=True):
        torch.testing.assert_close(slopes(predictor, sets_of(slope)), alone[None])


def test_where_all_have_stopped_the_stack_ends(counting):
    slopes(line(counting).watching(rows(0.5)), sets_of(1, -1))
    assert counting.steps == 7 + 3


def test_checks_are_made_every_so_many_steps(counting):
    # At steps 5, 10 and 15: .9^5 = .590 is nearer to .5 than .9^10 = .349.
    predictor = line(counting, EarlyStopping(2, 5)).watching(rows(0.5))
    torch.testing.assert_close(slopes(predictor, sets_of(1)), torch.tensor([1 - 0.9**5]).double())
    assert counting.steps == 15


def test_a_training_shorter_than_the_first_check_ends_where_it_ends():
    predictor = line(rule=EarlyStopping(1, 50)).watching(rows(0.5))
    torch.testing.assert_close(slopes(predictor, sets_of(1)), torch.tensor([1 - 0.9**40]).double())


def test_without_rows_to_watch_it_goes_on_to_the_end():
    torch.testing.assert_close(slopes(line(), sets_of(1)), torch.tensor([1 - 0.9**40]).double())


def test_of_several_targets_each_is_watched_in_its_own_unit():
    y = torch.cat([X, 100 + 50 * X], 1)
    watched = Examples(X.numpy(), torch.cat([0.5 * X, 100 + 25 * X], 1).numpy(), np.arange(2))
    # The loss is the mean over two targets, and so is the gradient: at twice the learning rate it is that of one.
    predictor = line(SGD(0.1, momentum=0.0)).watching(watched)
    p = predictor.fit_predict(TrainingSets(X, y, torch.ones(1, 2).double(), TWO), X, seed=SEED[:1])
    slope = 1 - 0.9**7
    expected = torch.tensor([[[-slope, 100 - 50 * slope], [slope, 100 + 50 * slope]]]).double()
    torch.testing.assert_close(p, expected)


def test_classes_are_watched_too():
    # Three rows a class where training says so, one of the trusted says otherwise: certainty costs more and more.
    x = torch.tensor([[-1.0], [1.0]]).repeat(3, 1)
    y = torch.tensor([0, 1]).repeat(3)
    other = Examples(x.numpy(), np.array([1, 1, 0, 1, 0, 1]), np.arange(6))
    sets = TrainingSets(x, y, torch.ones(2, 6), Task("classification", 2))
    p = {
        name: made.fit_predict(sets, x[:2], seed=SEED[:2])
        for name, made in {"watched": line(SGD(0.5)).watching(other), "not": line(SGD(0.5))}.items()
    }
    assert torch.equal(p["watched"][0], p["watched"][1])
    assert (p["not"][:, 0, 0] > 0.95).all()
    # Of the trusted rows at -1 two thirds are of class 0, of those at 1 all of class 1: in between, 5 of 6 are right
    assert ((p["watched"][:, 0, 0] > 0.75) & (p["watched"][:, 0, 0] < 0.9)).all()


def test_watched_rows_that_are_looked_at_in_parts_are_the_same():
    watched = rows(0.5, np.linspace(-1, 1, 31))
    whole = slopes(line().watching(watched), sets_of(1, -1))
    parts = slopes(line(memory=1).watching(watched), sets_of(1, -1))  # a rollout and a row at a time
    torch.testing.assert_close(parts, whole)


def test_it_cannot_be_differentiated():
    predictor = line().watching(rows(0.5))
    assert not predictor.differentiable
    sets = sets_of(1)
    with pytest.raises(ParameterError, match="cannot be differentiated with early_stopping"):
        predictor.fit(replace(sets, w=sets.w.clone().requires_grad_()), seed=SEED[:1])


def test_watching_gives_a_copy():
    predictor, plain = line(), line(rule=None)
    other = predictor.watching(rows(0.5))
    assert predictor.watched is None
    assert other.watched is not None
    assert plain.watching(rows(0.5)) is plain
    assert plain.differentiable


@pytest.mark.parametrize("name", ["patience", "every"])
@pytest.mark.parametrize("value", [0, 1.5, "3"])
def test_rules_out_of_range(name, value):
    with pytest.raises(ParameterError, match=f"'{name}' parameter of EarlyStopping must be an integer >= 1"):
        EarlyStopping(**{name: value})


def test_a_watch_by_hand():
    # Three trainings whose loss at each check is what these say; patience 2. Equal is not lower; who has stopped does
    # not begin again.
    told = torch.tensor([[3.0, 2, 1, 1, 1], [1, 2, 2, 0.5, 0.1], [5, 6, 4, 7, 7]])
    best_at = [2, 0, 2]
    forward = lambda params, x: params["p"].reshape(3, 1, 1)
    watch = Watch(EarlyStopping(2, 10), forward, [torch.zeros(1, 1)], torch.zeros(3, 1), ONE)
    for step in range(1, 10):
        assert not watch.stopped(step, {})  # no check is due: nothing is looked at
    ends = [watch.stopped(10 * (check + 1), {"p": told[:, check].sqrt()}) for check in range(5)]
    assert ends == [False, False, False, False, True]
    assert watch.best["p"].tolist() == [told[r, at].sqrt().item() for r, at in enumerate(best_at)]


def test_a_training_that_diverges_does_not_end_the_others():
    forward = lambda params, x: params["p"].reshape(2, 1, 1)
    watch = Watch(EarlyStopping(1, 1), forward, [torch.zeros(1, 1)], torch.zeros(2, 1), ONE)
    assert not watch.stopped(1, {"p": torch.tensor([torch.nan, 2.0])})
    assert not watch.stopped(2, {"p": torch.tensor([torch.nan, 1.0])})
    assert watch.stopped(3, {"p": torch.tensor([torch.nan, 1.0])})
    assert watch.best["p"].isnan().tolist() == [True, False]


# Warm starts


def test_a_warm_start_goes_on_where_the_training_ended():
    # 10 steps and 30 more are 40, for every rollout of a stack.
    first = line(rule=None, epochs=10).fit(sets_of(1), seed=SEED[:1])
    more = line(rule=None, epochs=30).warm_started(first)
    torch.testing.assert_close(slopes(more, sets_of(1, 1, 1)), torch.full((3,), 1 - 0.9**40).double())
    torch.testing.assert_close(first.predict(X)[0, 1, 0], torch.tensor(1 - 0.9**10).double())  # it was not touched


def test_a_warm_start_keeps_the_scale_of_its_targets():
    # Fitted on y = 1000 + 10 x, then one tiny step on y = 7 x: all but what it was.
    of = lambda a, b: TrainingSets(X, a + b * X[:, 0], torch.ones(1, 2).double(), ONE)
    fitted = line(rule=None).fit(of(1000, 10), seed=SEED[:1])
    warm = line(SGD(1e-9), rule=None, epochs=1).warm_started(fitted).fit(of(0, 7), seed=SEED[:1])
    assert (warm.location.item(), warm.scale.item()) == (1000, 10)
    torch.testing.assert_close(warm.predict(X), fitted.predict(X))
    # Gradient descent in that scale: y = 7 x is at -100 +- .7, and the slope goes from s by .1 towards .7.
    s = 1 - 0.9**40
    moved = line(rule=None, epochs=1).warm_started(fitted).fit(of(0, 7), seed=SEED[:1]).predict(X)[0, :, 0]
    torch.testing.assert_close((moved[1] - moved[0]) / 2, torch.tensor(10 * (s + 0.1 * (0.7 - s))).double())


def test_a_warm_start_needs_one_training_of_the_same_architecture():
    fitted = line(rule=None).fit(sets_of(1, 2), seed=SEED[:2])
    with pytest.raises(ParameterError, match=r"must be one trained module\. Got '2 of them'"):
        line().warm_started(fitted)
    other = make_predictor("mlp", hidden=[3], epochs=1, device="cpu").fit(sets_of(1), seed=SEED[:1])
    with pytest.raises(ParameterError, match=r"must be of the architecture {'weight': \(1, 1\), 'bias': \(1,\)}"):
        line().warm_started(other).fit(sets_of(1), seed=SEED[:1])


# In a problem


def problem(predictor, shard=16, shared_restart=True):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 3)).astype(np.float32)
    valid = Examples(x, x[:, 0] ** 2, np.arange(20))
    return Problem(predictor, valid, ONE, METRICS["rmse"], 0, shard=shard, shared_restart=shared_restart)


def test_a_problem_s_trainings_watch_its_validation_set_unless_they_watch_another():
    predictor = make_predictor("mlp", patience=2)
    given = problem(predictor)
    assert given.watched().predictor.watched is given.valid
    assert predictor.watched is None
    of_its_own = problem(predictor.watching(rows(0.5)))
    assert of_its_own.watched() is of_its_own
    assert problem(make_predictor("mlp")).watched().predictor.watched is None
    forest = problem(BlackBox(None, make_predictor("random-forest").templates["regression"]))
    assert forest.watched() is forest


@pytest.mark.parametrize("shared_restart", [True, False])
def test_how_rollouts_are_put_together_changes_nothing(shared_restart):
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(40, 3)).astype(np.float32))
    sets = TrainingSets(x, x[:, 0] ** 2, torch.from_numpy(rng.integers(0, 2, (5, 40)).astype(np.float32)), ONE)
    predictor = make_predictor("mlp", hidden=[8], steps=60, batch_size=8, patience=2, check_every=5, device="cpu")
    u = [
        InProcess(problem(predictor, shard, shared_restart).watched())(sets, step=3)
        for shard in (16, 16, 2, 1)
    ]  # fmt: skip
    assert torch.equal(u[0], u[1])
    for other in u[2:]:
        torch.testing.assert_close(other, u[0], rtol=1e-4, atol=1e-4)
