"""The utility's gradient in x, y and w of the training sets, against finite differences through whole trainings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError, RolloutError
from raydm.metrics import METRICS
from raydm.predictors import TrainingSets, make_predictor
from raydm.utility import InProcess, Problem

R, N, D = 5, 7, 3
CLASSES, TARGETS = Task("classification", 2), Task("regression", 1)


def problem(task: Task, metric: str, predictor: str = "mlp", **arguments) -> Problem:
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=20) if task == CLASSES else rng.normal(size=20)
    valid = Examples(rng.normal(size=(20, D)), y, np.arange(20))
    made = make_predictor(predictor, epochs=4, lr=0.02, device="cpu", **arguments)
    return Problem(made, valid, task, METRICS[metric], seed=0, shard=2)


def sets(task: Task, *, own_x: bool = False, soft_y: bool = False) -> TrainingSets:
    rng = np.random.default_rng(1)
    x = torch.from_numpy(rng.normal(size=(R, N, D) if own_x else (N, D)))
    y = torch.from_numpy(rng.dirichlet([1, 1], size=N) if soft_y else rng.integers(2, size=N))
    if task == TARGETS:
        y = torch.from_numpy(rng.normal(size=N))
    return TrainingSets(x, y, torch.from_numpy(rng.random((R, N))), task)


def smooth(of: Problem, given: TrainingSets) -> torch.Tensor:
    """The smooth utilities (R,) in float64, all at once."""
    rows, truth = torch.from_numpy(of.valid.x), torch.from_numpy(of.valid.y)
    predictions = of.predictor.fit_predict(given, rows, seed=of.seeds(3, R))
    return of.metric.smooth.utility(predictions, truth).detach()


CASES = {
    "w, accuracy": (CLASSES, "accuracy", "w", {}),
    "w, log-likelihood": (CLASSES, "log-likelihood", "w", {}),
    "w, rmse": (TARGETS, "rmse", "w", {}),
    "x of all": (CLASSES, "auc", "x", {}),
    "x of each": (CLASSES, "log-likelihood", "x", {"own_x": True}),
    "class probabilities": (CLASSES, "log-likelihood", "y", {"soft_y": True}),
    "targets": (TARGETS, "r2", "y", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_slopes_are_those_of_finite_differences(case: str) -> None:
    task, metric, name, arguments = CASES[case]
    of, given = problem(task, metric), sets(task, **arguments)
    tensor = getattr(given, name).requires_grad_()
    u = InProcess(of)(given, step=3)
    weights = torch.arange(1.0, R + 1).to(u)  # each rollout's slope counts for itself
    (slope,) = torch.autograd.grad(u @ weights, tensor)
    direction = torch.from_numpy(np.random.default_rng(2).normal(size=tensor.shape))
    if arguments.get("soft_y"):
        direction -= direction.mean(-1, keepdim=True)  # probabilities stay probabilities
    there, back = (
        smooth(of, replace(given, **{name: tensor.detach() + sign * 1e-7 * direction})) @ weights.double()
        for sign in (1, -1)
    )
    assert slope.shape == tensor.shape
    assert float((slope * direction).sum()) == pytest.approx(float(there - back) / 2e-7, rel=1e-4)


def test_the_value_is_that_of_the_metric_itself_to_the_bit() -> None:
    of, given = problem(CLASSES, "accuracy"), sets(CLASSES)
    plain = InProcess(of)(given, step=3)
    given.w.requires_grad_()
    u = InProcess(of)(given, step=3)
    assert u.requires_grad
    assert not plain.requires_grad
    assert torch.equal(u.detach().float(), plain)


def test_the_graph_of_the_trainings_ends_with_the_call() -> None:
    of, given = problem(CLASSES, "accuracy", "logistic"), sets(CLASSES)
    given.w.requires_grad_()
    nodes, seen = [InProcess(of)(given, step=3).grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in seen:
            seen.add(node)
            nodes += [parent for parent, _ in node.next_functions]
    assert len(seen) < 12  # a training of 4 epochs alone has more than 100


@pytest.mark.parametrize("shard", [1, 3, R])
def test_slopes_do_not_depend_on_the_shard(shard: int) -> None:
    of, given = problem(CLASSES, "accuracy"), sets(CLASSES)
    given.w.requires_grad_()
    slopes = [
        torch.autograd.grad(InProcess(replace(of, shard=size))(given, step=3).sum(), given.w)[0] for size in (2, shard)
    ]
    torch.testing.assert_close(*slopes)


def test_a_predictor_that_is_not_differentiable_is_refused() -> None:
    of, given = replace(problem(CLASSES, "accuracy"), predictor=make_predictor("naive-bayes")), sets(CLASSES)
    given.w.requires_grad_()
    with pytest.raises(ParameterError, match="BlackBox cannot be differentiated"):
        InProcess(of)(given, step=0)


def test_a_slope_that_is_not_finite_names_step_and_rollout() -> None:
    of = problem(TARGETS, "rmse")
    of = replace(
        of, metric=replace(of.metric, function=lambda p, y: (p.squeeze(-1) - p.squeeze(-1)).abs().mean(-1).sqrt())
    )
    given = sets(TARGETS)
    given.w.requires_grad_()
    with pytest.raises(RolloutError, match=r"Step 4: .*rollout 0.*5 of 5"):  # the root's slope at 0 times 0
        InProcess(of)(given, step=4)
