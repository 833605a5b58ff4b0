"""The ways of weighting: Ren et al. on paper, worlds of wrong labels and of few examples of a class, same bits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmError
from raydm.metrics import METRICS
from raydm.networks import linear, mlp
from raydm.predictors import SGD, make_predictor
from raydm.predictors.module import Module
from raydm.utility import Problem
from raydm.weighting.learned import Agreement, Learned
from raydm.weighting.methods import METHODS, make_weighting
from raydm.weighting.settings import WeightSettings
from raydm.weighting.weighting import Weighting

CLASSES = Task("classification", 2)


def gaussians(rng: np.random.Generator, counts: tuple[int, int]) -> Examples:
    """Two classes in 10 dimensions, their means 2 apart in the first."""
    y = np.repeat([0, 1], counts)
    x = rng.normal(size=(len(y), 10)).astype(np.float32)
    x[:, 0] += 2 * y - 1
    rows = rng.permutation(len(y))
    return Examples(x[rows], y[rows], np.arange(len(y)))


class World:
    """A training set, 10 or 20 trusted examples a class, a balanced test set."""

    def __init__(self, seed: int, counts: tuple[int, int], wrong: float = 0.0, trusted: int = 10) -> None:
        rng = np.random.default_rng(seed)
        self.train = gaussians(rng, counts)
        self.flipped = rng.random(len(self.train)) < wrong
        self.train.y[self.flipped] = 1 - self.train.y[self.flipped]
        self.valid, self.test = gaussians(rng, (trusted, trusted)), gaussians(rng, (1000, 1000))
        predictor = Module(lambda d, c: mlp(d, c, (16,)), optimizer=SGD(0.1), batch_size=32, epochs=1, device="cpu")
        self.problem = Problem(predictor, self.valid, CLASSES, METRICS["accuracy"], seed=seed)

    def done(self, method: str, **settings: Any) -> Weighting:
        made = make_weighting(method, WeightSettings(**({"epochs": 6} | settings)), self.train, self.problem)
        steps = list(made.steps())
        assert len(steps) == made.total
        assert [s.t for s in steps] == list(range(made.total))
        return made


def test_ren_s_weights_on_paper():
    # One batch, logistic regression from zero, one SGD step: w = max(<g_val, g_i>, 0) over its sum, times B.
    rng = np.random.default_rng(0)
    train, valid = gaussians(rng, (5, 6)), gaussians(rng, (3, 3))
    for examples in (train, valid):
        object.__setattr__(examples, "x", examples.x.astype(np.float64))
    predictor = Module(linear, optimizer=SGD(0.5, 0.0), batch_size=20, epochs=1, device="cpu")
    problem = Problem(predictor, valid, CLASSES, METRICS["accuracy"], seed=0)
    made = make_weighting("ren2018", WeightSettings(epochs=1, warm_up=0), train, problem)
    assert len(list(made.steps())) == 1

    def gradients(of: Examples) -> np.ndarray:  # of each example, in weights and biases; p = 1/2
        errors = 0.5 - np.eye(2)[of.y]
        return np.concatenate([errors[:, :, None] * of.x[:, None], errors[:, :, None]], -1).reshape(len(of), -1)

    g, v = gradients(train), gradients(valid).mean(0)
    positive = np.maximum(g @ v, 0)
    w = len(train) * positive / positive.sum()
    np.testing.assert_allclose(made.weights, w, rtol=1e-5)
    assert (made.weights == 0).any()
    expected = -0.5 * (w[:, None] * g).mean(0).reshape(2, -1)
    weight, bias = made.fitted.params[0]
    np.testing.assert_allclose(torch.cat([weight, bias[:, None]], 1).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("settings", [
    {}, {"around": "nothing"}, {"around": "nothing", "normalisation": "softmax", "decay": 1.5},
    {"around": "nothing", "look_ahead": "weights", "straight": False}, {"decay": 2.0},
    {"weights": "network", "look_ahead": "weights", "epochs": 12}, {"unroll": 2, "look_ahead": "weights"},
    {"unroll": 4, "look_ahead": "weights", "checkpoint": True, "dev_batch": 10, "epochs": 12},
], ids=lambda s: ", ".join(map(str, s.values())) or "default")  # fmt: skip
def test_wrong_labels_count_less_and_accuracy_rises(settings):
    world = World(2, (200, 200), wrong=0.4, trusted=20)
    base, made = world.done("base"), world.done("weight", **settings)
    weights, wrong = made.weights, world.flipped
    assert weights.shape == (400,)
    assert (weights >= 0).all()
    assert weights.mean() == pytest.approx(1, abs=0.01)
    # A weight that is not looked at again within T steps is learned more slowly
    assert weights[wrong].mean() < (0.95 if "unroll" in settings else 0.75) * weights[~wrong].mean()
    assert made.score(world.test) > base.score(world.test) + 0.03


def test_twenty_against_a_thousand():
    scores = {name: [] for name in ("base", "weight", "ren2018", "proportion")}
    for seed in range(3):
        world = World(seed, (20, 1000))
        for name, of in scores.items():
            of.append(world.done(name, epochs=4).score(world.test))
    mean = {name: np.mean(of) for name, of in scores.items()}
    assert mean["weight"] > mean["base"] + 0.1
    assert mean["ren2018"] > mean["base"] + 0.1
    assert mean["proportion"] > mean["base"] + 0.1


def test_the_reliability_of_a_whole_by_its_halves():
    # Spearman, Brown: halves that correlate by 1/3 make a whole of reliability 1/2
    joint = SimpleNamespace(agreement=None)
    trust = Agreement(joint, torch.ones(7))
    assert trust() == 1  # never judged
    joint.agreement = 1 / 3
    seen = [trust() for _ in range(200)]
    assert seen[0] == pytest.approx(2 * (0.1 / 3) / (1 + 0.1 / 3))  # it begins at 0
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(0.5, abs=1e-4)
    joint.agreement = -1.0
    for _ in range(100):
        assert 0 <= trust() < 0.5
    assert trust() == 0


def test_where_classes_are_rarer_than_in_the_trusted_rows_moves_need_no_proof():
    # A quarter of the rows counts 2.5, the rest .5: the mean of the squares is 1.75
    joint = SimpleNamespace(agreement=-1.0)
    trust = Agreement(joint, torch.tensor([2.5, 0.5, 0.5, 0.5]))
    assert trust() == pytest.approx(1 - 1 / 1.75)
    joint.agreement = 1.0
    for _ in range(200):
        trust()
    assert trust() == pytest.approx(1, abs=1e-3)


def test_trusted_rows_that_say_nothing_do_less_harm():
    # Labels of chance: slopes by halves of D^v have little in common
    def done(chance: bool, agreement: bool) -> tuple[float, float]:
        found = []
        for seed in range(3):
            world = World(seed, (200, 200), wrong=0.3, trusted=20)
            if chance:
                world.valid.y[:] = np.random.default_rng(seed).permutation(world.valid.y)
            made = world.done("weight", epochs=3, agreement=agreement)
            found.append((made.score(world.test), made.weights.std()))
        score, spread = np.mean(found, 0)
        return float(score), float(spread)

    (score, spread), (blind, wide) = done(True, True), done(True, False)
    assert score > blind + 0.1
    assert spread < 0.8 * wide
    assert done(False, True)[0] > done(False, False)[0] - 0.01  # and where they say much, nothing is lost


def test_few_trusted_rows_do_no_harm_where_all_labels_are_right():
    def done(method: str, **settings: Any) -> tuple[float, float]:
        found = []
        for seed in range(5):
            world = World(seed, (100, 100), trusted=3)
            made = world.done(method, epochs=10, keep="last", **settings)
            found.append((made.score(world.test), made.weights.std()))
        score, spread = np.mean(found, 0)
        return float(score), float(spread)

    (base, _), (score, spread), (blind, wide) = done("base"), done("weight"), done("weight", agreement=False)
    assert score > base - 0.01
    assert blind < base - 0.01
    assert spread < 0.5 * wide


def test_the_weight_of_a_wrong_label_goes_to_the_floor():
    # Far apart classes, one label of each wrong: following it harms D^v at every step.
    rng = np.random.default_rng(0)
    train, valid = gaussians(rng, (15, 15)), gaussians(rng, (10, 10))
    for examples in (train, valid):
        examples.x[:, 0] += 4 * examples.y - 2
    wrong = np.array([int(np.flatnonzero(train.y == c)[0]) for c in (0, 1)])
    train.y[wrong] = 1 - train.y[wrong]
    predictor = Module(linear, optimizer=SGD(0.02, 0.0), batch_size=30, epochs=1, device="cpu")
    made = Learned(train, Problem(predictor, valid, CLASSES, METRICS["accuracy"], seed=0), WeightSettings(epochs=20))
    list(made.steps())
    phi = made.phi
    assert phi[wrong] == pytest.approx([1e-5] * 2)
    assert np.delete(phi, wrong).mean() > 0.1
    assert made.weights[wrong].max() < 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_two_runs_are_alike_to_the_last_bit(method):
    def run(seed: int) -> tuple[np.ndarray, torch.Tensor, list[float]]:
        world = World(seed, (20, 60))
        made = make_weighting(method, WeightSettings(epochs=2, warm_up=1), world.train, world.problem)
        u = [float(s.u) for s in made.steps()][1:]
        return made.weights, made.fitted.predict(torch.from_numpy(world.test.x)), u

    (w, p, u), (w_again, p_again, u_again), (_, p_other, _) = run(0), run(0), run(1)
    np.testing.assert_array_equal(w, w_again)
    assert torch.equal(p, p_again)
    np.testing.assert_array_equal(u, u_again)
    assert not torch.equal(p, p_other)


def test_proportion_by_hand():
    made = World(0, (2, 6)).done("proportion", epochs=1)
    assert sorted(set(made.weights.tolist())) == [8 / 12, 2.0]
    assert made.weights.mean() == pytest.approx(1)


def test_base_and_valid_trains_on_both():
    world = World(0, (5, 5))
    made = world.done("base+valid", epochs=1)
    assert len(made.examples) == 30
    assert made.weights.tolist() == [1.0] * 10


def test_the_best_epoch_on_the_validation_set_is_kept():
    world = World(1, (20, 200))
    best, last = (world.done("weight", keep=keep) for keep in ("best", "last"))
    assert best.curve == last.curve
    metric = METRICS["accuracy"](best.fitted.predict(torch.from_numpy(world.valid.x)), torch.from_numpy(world.valid.y))
    assert float(metric) == max(m for m, _ in best.curve)
    metric = METRICS["accuracy"](last.fitted.predict(torch.from_numpy(world.valid.x)), torch.from_numpy(world.valid.y))
    assert float(metric) == last.curve[-1][0]


@pytest.mark.parametrize("method", ["weight", "base+valid"])
def test_the_mean_of_the_latter_half_is_kept(method):
    world = World(1, (20, 200))
    # Shorter trainings end where the longest one passes
    each = [world.done(method, epochs=epochs, keep="last").fitted.params[0] for epochs in (3, 4, 5)]
    averaged = world.done(method, epochs=5, keep="average").fitted.params[0]
    for mean, *parts in zip(averaged, *each, strict=True):
        torch.testing.assert_close(mean, torch.stack(parts).mean(0))
    assert not torch.equal(averaged[0], each[-1][0])


@pytest.mark.parametrize(("rows", "epochs"), [(20, 600), (64, 300), (2000, 10)])
def test_few_rows_are_passed_over_until_600_steps_are_taken(rows, epochs):
    world = World(0, (rows // 2, rows // 2))
    assert make_weighting("weight", WeightSettings(), world.train, world.problem).epochs == epochs
    assert make_weighting("weight", WeightSettings(epochs=3), world.train, world.problem).epochs == 3


def test_images_of_bytes_are_no_texts():
    world = World(0, (10, 10))
    pixels = [Examples(np.zeros((len(p.y), 1, 2, 2), np.uint8), p.y, p.ids) for p in (world.train, world.valid)]

    class Flat(nn.Linear):
        def forward(self, x):
            return super().forward(x.flatten(1).float())

    predictor = Module(lambda d, c: Flat(4, c), optimizer=SGD(0.1), batch_size=32, epochs=1, device="cpu")
    problem = Problem(predictor, pixels[1], CLASSES, METRICS["accuracy"], seed=0)
    assert make_weighting("base", WeightSettings(), pixels[0], problem).epochs == 600


def test_of_texts_there_are_10_passes():
    world = World(0, (10, 10))
    ids = [Examples((10 * part.x[:, :4]).astype(np.int64) % 9, part.y, part.ids) for part in (world.train, world.valid)]
    predictor = Module(lambda d, c: nn.EmbeddingBag(9, c), optimizer=SGD(0.1), batch_size=32, epochs=1, device="cpu")
    problem = Problem(predictor, ids[1], CLASSES, METRICS["accuracy"], seed=0)
    assert make_weighting("base", WeightSettings(), ids[0], problem).epochs == 10


def test_regression_is_weighted_too():
    rng = np.random.default_rng(0)

    def line(n: int) -> Examples:
        x = rng.normal(size=(n, 3)).astype(np.float32)
        return Examples(x, 10 + x[:, 0] - 2 * x[:, 1] + 0.1 * rng.normal(size=n).astype(np.float32), np.arange(n))

    train, valid, test = line(200), line(15), line(500)
    wrong = np.arange(200) < 60
    train.y[wrong] = 25
    task = Task("regression", 1)
    predictor = Module(lambda d, c: nn.Linear(d, c), optimizer=SGD(0.02, 0.0), batch_size=20, epochs=1, device="cpu")
    problem = Problem(predictor, valid, task, METRICS["rmse"], seed=0)
    base, made = (make_weighting(m, WeightSettings(epochs=10), train, problem) for m in ("base", "weight"))
    for of in (base, made):
        list(of.steps())
    assert made.weights[wrong].mean() < 0.3 * made.weights[~wrong].mean()
    assert made.score(test) < 0.5 * base.score(test)
    with pytest.raises(ParameterError, match="weighs classes"):
        make_weighting("proportion", WeightSettings(), train, problem).weights  # noqa: B018


def test_bad_arguments_are_refused():
    world = World(0, (5, 5))
    for bad in (
        {"epochs": -1}, {"unroll": 0}, {"decay": 0.1}, {"learning_rate": "x"}, {"weights": "all"}, {"temperature": 0},
        {"floor": -1}, {"dev_batch": 0}, {"keep": "first"}, {"look_ahead": "x"},
    ):  # fmt: skip
        with pytest.raises(ParameterError, match=next(iter(bad))):
            world.done("weight", **bad)
    with pytest.raises(ParameterError, match="untrained"):
        world.done("base", epochs=0, warm_up=0)
    with pytest.raises(ParameterError, match="'method'"):
        world.done("magic")
    with pytest.raises(ParameterError, match="one step ahead"):
        world.done("ren2018", unroll=2)
    stacked = Problem(make_predictor("logistic"), world.valid, CLASSES, METRICS["accuracy"], seed=0)
    with pytest.raises(ParameterError, match="Module"):
        make_weighting("weight", WeightSettings(), world.train, stacked)
    with pytest.raises(RaydmError, match="Exhaust its steps"):
        _ = make_weighting("base", WeightSettings(), world.train, world.problem).fitted
