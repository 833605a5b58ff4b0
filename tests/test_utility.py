"""Utility: shards, scores and what is said when one is not finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raydm.data.task import Task
from raydm.errors import RolloutError
from raydm.metrics import METRICS
from raydm.predictors import TrainingSets, make_predictor
from raydm.utility import InProcess, Problem

TASK, R = Task("classification", 3), 10


class Recorder:
    """A predictor that gives example m of D^v class (seed + m) % 3, and NaN to rollouts whose set is empty."""

    differentiable = False

    def __init__(self):
        self.seeds, self.sets = [], []

    def fit_predict(self, sets, x, *, seed):
        self.seeds.append(seed)
        self.sets.append(sets)
        classes = (torch.from_numpy(seed)[:, None] + torch.arange(len(x))) % 3
        p = torch.nn.functional.one_hot(classes, 3).double()
        p[sets.w.sum(-1) == 0] = torch.nan
        return p


def problem(valid, predictor, *, metric="log-likelihood", **arguments):
    return Problem(predictor, valid, TASK, METRICS[metric], 3, **arguments)


def sets_of(train):
    w = torch.from_numpy((np.random.default_rng(0).random((R, len(train))) < 0.5).astype(np.float32))
    return TrainingSets(torch.from_numpy(train.x), torch.from_numpy(train.y), w, TASK)


@pytest.mark.parametrize(
    ("shard", "expected"), [(4, [(0, 4), (4, 8), (8, 10)]), (10, [(0, 10)]), (16, [(0, 10)]), (5, [(0, 5), (5, 10)])]
)
def test_shards_cover_the_rollouts_in_order(digits_small, shard, expected):
    recorder = Recorder()
    of = problem(digits_small[1], recorder, shard=shard, shared_restart=False)
    assert [(s.start, s.stop) for s in of.shards(R)] == expected
    sets = sets_of(digits_small[0])
    InProcess(of)(sets, step=2)
    assert [len(s) for s in recorder.seeds] == [b - a for a, b in expected]
    assert np.concatenate(recorder.seeds).tolist() == of.seeds(2, R).tolist()
    assert torch.equal(torch.cat([s.w for s in recorder.sets]), sets.w)


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "distinct"])
@pytest.mark.parametrize("name", ["logistic", "mlp"])
def test_utilities_do_not_depend_on_the_shard(digits_small, name, shared):
    predictor = make_predictor(name, epochs=3, device="cpu")
    train, valid = digits_small
    sets = sets_of(train)
    u = {
        shard: InProcess(problem(valid, predictor, shard=shard, shared_restart=shared))(sets, step=1)
        for shard in (1, 3, 4, R)
    }
    for shard in (3, 4, R):
        torch.testing.assert_close(u[shard], u[1], rtol=1e-5, atol=1e-5)
    assert len(u[1].unique()) == R


def test_utility_is_the_score_of_each_training_by_itself(digits_small):
    train, valid = digits_small
    predictor, sets = make_predictor("lightgbm", n_estimators=3), sets_of(train)
    of = problem(valid, predictor, metric="accuracy", shard=4, shared_restart=False)
    u = InProcess(of)(sets, step=7)
    seeds = of.seeds(7, R)
    for r in range(R):
        alone = predictor.fit_predict(sets[slice(r, r + 1)], torch.from_numpy(valid.x), seed=seeds[r : r + 1])
        assert u[r].item() == pytest.approx((alone[0].numpy().argmax(-1) == valid.y).mean())


def test_utility_is_float32_and_higher_is_better(digits_small):
    train, valid = digits_small
    sets = sets_of(train)
    sets.w[0], sets.w[1] = 1, 0
    of = problem(valid, make_predictor("logistic", device="cpu"))
    u = InProcess(of)(sets, step=0)
    assert u.dtype == torch.float32
    assert u[0] > u[1]
    assert u[1].item() == pytest.approx(-np.log(3))  # an empty set: each of three classes has probability 1/3


@pytest.mark.parametrize("metric", ["accuracy", "log-likelihood", "auc"])
def test_a_score_that_is_not_finite_names_step_rollout_and_seed(digits_small, metric):
    train, valid = digits_small
    sets = sets_of(train)
    sets.w[6] = sets.w[9] = 0
    of = problem(valid, Recorder(), metric=metric, shard=4, shared_restart=False)
    with pytest.raises(RolloutError) as caught:
        InProcess(of)(sets, step=5)
    assert f"Step 5: the score of rollout 6 (seed {of.seeds(5, R)[6]}) is nan; 2 of 10" in str(caught.value)


def test_seeds_shared_or_of_their_own(digits_small):
    shared, own = (problem(digits_small[1], Recorder(), shared_restart=s) for s in (True, False))
    assert len({*shared.seeds(0, R).tolist(), *shared.seeds(8, R).tolist()}) == 1
    assert len({*own.seeds(0, R).tolist(), *own.seeds(8, R).tolist()}) == 2 * R


@pytest.mark.parametrize("shared", [True, False], ids=["shared", "distinct"])
@pytest.mark.parametrize("name", ["logistic", "mlp", "naive-bayes"])
def test_predictions_are_those_of_the_predictors_that_are_scored(digits_small, name, shared):
    train, valid = digits_small
    sets, x = sets_of(train), torch.from_numpy(valid.x)
    of = problem(valid, make_predictor(name), shard=4, shared_restart=shared)
    p = InProcess(of).predictions(sets, x, step=3)
    assert p.shape == (R, len(valid), 3)
    u = of.metric.utility(p, torch.from_numpy(valid.y)).float()
    assert torch.equal(u, InProcess(of)(sets, step=3))
    some = InProcess(of).predictions(sets, x[:5], step=3)
    torch.testing.assert_close(some, p[:, :5], rtol=1e-5, atol=1e-5)


def test_predictions_carry_no_graph(digits_small):
    train, valid = digits_small
    sets = sets_of(train)
    sets.w.requires_grad_()
    of = problem(valid, make_predictor("logistic", epochs=2, device="cpu"))
    assert not InProcess(of).predictions(sets, torch.from_numpy(valid.x), step=0).requires_grad


def test_predictions_that_are_not_finite_name_step_rollout_and_seed(digits_small):
    train, valid = digits_small
    sets = sets_of(train)
    sets.w[6] = sets.w[9] = 0
    of = problem(valid, Recorder(), shard=4, shared_restart=False)
    with pytest.raises(RolloutError) as caught:
        InProcess(of).predictions(sets, torch.from_numpy(valid.x), step=5)
    assert f"Step 5: a prediction of rollout 6 (seed {of.seeds(5, R)[6]}) is NaN or infinite; 2 of 10" in str(
        caught.value
    )


class Raising(Recorder):
    def fit_predict(self, sets, x, *, seed):
        raise ZeroDivisionError("no rows")


def test_a_training_that_raises_names_the_step(digits_small):
    train, valid = digits_small
    utility = InProcess(problem(valid, Raising()))
    for work in (utility, lambda sets, step: utility.predictions(sets, torch.zeros(1, 64), step=step)):
        with pytest.raises(RolloutError, match=r"Step 4: a rollout's training failed.*no rows"):
            work(sets_of(train), step=4)


def held_by_few(train, rollouts=6):
    """Sets of the first rows alone, of 2 to 7 each; one more is left out of all but the last."""
    w = torch.zeros(rollouts, len(train))
    for r in range(rollouts):
        w[r, : r + 2] = 1
    return TrainingSets(torch.from_numpy(train.x), torch.from_numpy(train.y), w, TASK)


def test_rows_that_no_set_of_a_shard_holds_are_taken_out_before(digits_small):
    train, valid = digits_small
    sets, x = held_by_few(train), torch.from_numpy(valid.x)
    predictor = make_predictor("logistic", device="cpu")
    assert sets.compact().w.shape == (6, 7)
    p = InProcess(problem(valid, predictor, shard=3)).predictions(sets, x, step=0)
    torch.testing.assert_close(p, predictor.fit_predict(sets, x, seed=np.zeros(6, int)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("name", "rows"), [("logistic", 7), ("mlp", 60)])
def test_only_where_every_step_sees_the_whole_set(digits_small, name, rows, monkeypatch):
    seen = []
    predictor = make_predictor(name, epochs=1, device="cpu")
    monkeypatch.setattr(predictor, "fit_predict", lambda s, x, seed: seen.append(s) or torch.ones(6, len(x), 3) / 3)
    InProcess(problem(digits_small[1], predictor))(held_by_few(digits_small[0]), step=0)
    assert seen[0].x.shape[0] == seen[0].w.shape[1] == rows  # batches of 64 are drawn from all rows


def test_what_is_not_made_smaller():
    task, x = Task("regression", 1), torch.arange(6.0).reshape(3, 2)
    w = torch.tensor([[1.0, 0, 0], [0, 0, 0]])
    with_empty = TrainingSets(x, torch.tensor([1.0, 2, 6]), w, task)
    assert with_empty.compact() is with_empty  # an empty set predicts the mean of all N
    assert with_empty[slice(0, 1)].compact().x.tolist() == [[0, 1]]
    own = TrainingSets(x.expand(2, 3, 2), with_empty.y, w, task)
    assert own.compact() is own
    none = TrainingSets(x, torch.tensor([0, 1, 2]), torch.zeros(2, 3), TASK)
    assert none.compact() is none


def test_an_empty_set_beside_small_ones_is_a_constant(digits_small):
    train, valid = digits_small
    sets = held_by_few(train)
    sets.w[0] = 0
    p = InProcess(problem(valid, make_predictor("logistic", device="cpu"))).predictions(
        sets, torch.from_numpy(valid.x), step=0
    )
    torch.testing.assert_close(p[0], torch.full_like(p[0], 1 / 3))
