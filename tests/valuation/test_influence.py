"""Influence functions against retraining, exact leave-one-out of least squares, and matrices written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.func import hessian, jacrev
from torch.nn import functional

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmWarning
from raydm.metrics import METRICS, discovery_auc
from raydm.predictors import SGD, Stacked, TrainingSets, make_predictor
from raydm.utility import InProcess, Problem
from raydm.valuation.game import Game
from raydm.valuation.influence import Losses, conjugate_gradients, influence

CLASSES, TARGETS = Task("classification", 3), Task("regression", 1)
TASKS = pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=["classes", "targets"])


def examples(seed, n, task):
    """Two features in float64, which the predictors then train in."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2))
    if task is TARGETS:
        return Examples(x, 10 + 3 * x[:, 0] - x[:, 1] + rng.standard_normal(n), np.arange(n))
    return Examples(x, (x @ [[2, -1, 0], [0, 1, -2]] + rng.gumbel(size=(n, 3))).argmax(1), np.arange(n))


def game(train, valid, predictor, task):
    metric = METRICS["accuracy" if task.kind == "classification" else "rmse"]
    problem = Problem(predictor, valid, task, metric, seed=0)
    return Game(train, problem, InProcess(problem))


def values(game, **settings):
    [estimate] = influence(game, **settings)
    assert estimate.standard_errors is None
    assert (estimate.evaluations, estimate.share) == (1, 1.0)
    return estimate.values


def at_the_optimum(weight_decay):
    return Stacked(nn.Linear, optimizer=SGD(0.1, 0.9, weight_decay), epochs=3000)


def loss(p, y, task):
    """Validation losses (R,) of predictions (R, M, C)."""
    y = torch.from_numpy(y)
    if task is TARGETS:
        return (p[..., 0] - y).square().mean(-1)
    return -p.gather(-1, y.expand(len(p), -1).unsqueeze(-1)).log().mean((-1, -2))


@TASKS
@pytest.mark.parametrize("solver", ["exact", "cg"])
def test_values_are_the_slopes_of_the_validation_loss_in_the_weights(task, solver):
    n, h = 12, 1e-4
    train, valid = examples(1, n, task), examples(2, 9, task)
    # Without weight decay, targets' mean and deviation, which move with the weights, have no part in what is predicted
    predictor = at_the_optimum(0.05 if task is CLASSES else 0.0)
    w = 1 + h * torch.cat([torch.eye(n), -torch.eye(n)]).double()
    sets = TrainingSets(torch.from_numpy(train.x), torch.from_numpy(train.y), w, task)
    p = predictor.fit_predict(sets, torch.from_numpy(valid.x), seed=np.zeros(2 * n, dtype=np.int64))
    more, less = loss(p, valid.y, task).reshape(2, n)
    expected = -(more - less).numpy() / (2 * h)
    found = values(game(train, valid, predictor, task), damping=0.0, solver=solver)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)


def test_of_least_squares_leaving_out_is_influence_over_one_less_the_leverage():
    # theta_{-i} - theta = -(X'X)^-1 x_i r_i / (1 - h_i), to which the validation loss answers as a parabola
    train, valid = examples(3, 15, TARGETS), examples(4, 8, TARGETS)
    x, xv = (np.column_stack([e.x, np.ones(len(e))]) for e in (train, valid))
    theta = np.linalg.lstsq(x, train.y)[0]
    leverage = np.einsum("nd,nd->n", x @ np.linalg.inv(x.T @ x), x)
    slope = 2 * xv.T @ (xv @ theta - valid.y) / len(xv)
    expected = np.empty(15)
    for i in range(15):
        without = np.delete(np.arange(15), i)
        step = np.linalg.lstsq(x[without], train.y[without])[0] - theta
        before, after = (np.mean((xv @ t - valid.y) ** 2) for t in (theta, theta + step))
        assert after - before == pytest.approx(slope @ step + np.mean((xv @ step) ** 2))
        expected[i] = (slope @ step) * (1 - leverage[i])
    found = values(game(train, valid, at_the_optimum(0.0), TARGETS), damping=0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-10)


@pytest.fixture(scope="module", params=[CLASSES, TARGETS], ids=["classes", "targets"])
def small(request):
    """A network with 17 or 9 parameters, trained a little, and the losses of 7 rows as a plain function of them."""
    task = request.param
    predictor = Stacked(
        lambda d, c: nn.Sequential(nn.Linear(d, 2), nn.Tanh(), nn.Linear(2, c)), optimizer=SGD(0.1), epochs=5
    )
    train = examples(5, 7, task)
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    sets = TrainingSets(x, y, torch.ones(1, 7).double(), task)
    losses = Losses(predictor.fit(sets, seed=np.zeros(1, dtype=np.int64)), train)
    if task is TARGETS:
        y = (y - y.mean()) / y.std(correction=0)

    def outputs(theta):
        first, b1, last, b2 = theta.split([4, 2, 2 * task.n_outputs, task.n_outputs])
        return (x @ first.view(2, 2).T + b1).tanh() @ last.view(-1, 2).T + b2

    def each(theta):
        out = outputs(theta)
        return (out[:, 0] - y).square() if task is TARGETS else functional.cross_entropy(out, y, reduction="none")

    return losses, outputs, each, game(train, examples(6, 5, task), predictor, task)


def test_products_are_those_with_the_matrices_written_out(small):
    losses, outputs, each, _ = small
    size = len(losses.theta)
    torch.testing.assert_close(losses.outputs(losses.theta, losses.parts[0][0]), outputs(losses.theta))
    jacobian = jacrev(outputs)(losses.theta)
    if losses.fitted.task is TARGETS:
        bent = torch.full((7, 1, 1), 2.0).double()
    else:
        p = outputs(losses.theta).softmax(-1)
        bent = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    expected = {
        "hessian": hessian(lambda t: each(t).mean())(losses.theta),
        "gauss-newton": torch.einsum("ncp,ncd,ndq->pq", jacobian, bent, jacobian) / 7,
    }
    for curvature, matrix in expected.items():
        product = losses.product(curvature)
        found = torch.stack([product(e) for e in torch.eye(size).double()])
        torch.testing.assert_close(found, matrix)
    h = torch.linspace(-1, 1, size).double()
    torch.testing.assert_close(losses.along(h), jacrev(each)(losses.theta) @ h)
    torch.testing.assert_close(losses.gradient(), losses.unit * jacrev(each)(losses.theta).mean(0))


def test_rows_and_products_in_small_chunks_change_nothing(small):
    *_, whole = small
    tight = whole.problem.predictor
    few = Stacked(tight.make_module, optimizer=tight.optimizer, epochs=tight.epochs, memory=1500)
    cut = game(whole.train, whole.problem.valid, few, whole.problem.task)
    sets = TrainingSets(
        *(torch.from_numpy(a) for a in (whole.train.x, whole.train.y)), torch.ones(1, 7).double(), cut.problem.task
    )
    assert len(Losses(few.fit(sets, seed=cut.problem.seeds(0, 1)), whole.train).parts) > 1
    np.testing.assert_allclose(values(cut), values(whole), rtol=1e-9, atol=1e-12)


def test_both_solvers_agree_and_values_sum_to_zero(small):
    *_, some = small
    for curvature, damping in (("gauss-newton", 0.01), ("hessian", 3.0)):
        settings = {"curvature": curvature, "damping": damping}
        exact = values(some, solver="exact", **settings)
        np.testing.assert_allclose(values(some, solver="cg", **settings), exact, rtol=1e-5, atol=1e-9)
        assert exact.sum() == pytest.approx(0, abs=1e-12)


def test_a_hessian_that_is_not_positive_definite_is_refused(small):
    *_, some = small
    for solver in ("exact", "cg"):
        with pytest.raises(ParameterError, match="not positive definite"):
            values(some, curvature="hessian", damping=0.0, solver=solver)


def test_conjugate_gradients_that_end_early_say_so():
    matrix = torch.diag(torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64))
    b = torch.ones(3).double()
    torch.testing.assert_close(
        conjugate_gradients(lambda v: matrix @ v, b, 1e-10, 3), torch.tensor([1, 0.1, 0.01]).double()
    )
    with pytest.warns(RaydmWarning, match="ended after 2 iterations"):
        conjugate_gradients(lambda v: matrix @ v, b, 1e-10, 2)


@pytest.mark.parametrize(("name", "least"), [("logistic", 0.85), ("mlp", 0.75)])
def test_flipped_labels_are_worth_little(name, least):
    x, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(y))
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)[rows]
    flipped = rng.random(300) < 0.2
    y = y[rows].astype(np.int64)
    train = Examples(x[:300], np.where(flipped, 1 - y[:300], y[:300]), np.arange(300))
    valid = Examples(x[300:400], y[300:400], np.arange(100))
    some = game(train, valid, make_predictor(name), Task("classification", 2))
    assert discovery_auc(values(some), flipped) > least


def test_convolutions_too(digits_small):
    train, valid = digits_small
    cnn = make_predictor("cnn", image_shape=(8, 8, 1), channels=(4,), epochs=3)
    found = values(game(train, valid, cnn, Task("classification", 3)))
    assert np.isfinite(found).all()
    assert found.std() > 0


def test_a_predictor_without_derivatives_is_refused():
    train = examples(0, 9, CLASSES)
    with pytest.raises(ParameterError, match=r"BlackBox has none\. Use a torch predictor"):
        values(game(train, train, make_predictor("naive-bayes"), CLASSES))


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("damping", -1.0),
        ("damping", np.nan),
        ("curvature", "fisher"),
        ("solver", "lu"),
        ("tolerance", 0.0),
        ("iterations", 0),
    ],
)
def test_settings_have_ranges(name, bad):
    train = examples(0, 9, CLASSES)
    with pytest.raises(ParameterError, match=f"'{name}' parameter of influence"):
        values(game(train, train, make_predictor("logistic"), CLASSES), **{name: bad})
