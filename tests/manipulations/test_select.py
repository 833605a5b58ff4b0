"""Select: the contract, and its parts by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.manipulations import Select, agreement, marginal_information
from raydm.networks import DataValueEstimator
from raydm.policies import Bernoulli, Relaxed, StraightThrough
from raydm.testing import ManipulationContract

CLASSES, TARGETS = Task("classification", 3), Task("regression", 1)


def make(task: Task, examples: Examples, **arguments) -> Select:
    torch.manual_seed(0)
    estimator = DataValueEstimator(examples.x.shape[1], task.n_outputs, task.n_outputs)
    return Select(estimator, task, torch.rand(len(examples), task.n_outputs), **arguments)


class TestSelect(ManipulationContract):
    def make(self, task: Task, examples: Examples) -> Select:
        return make(task, examples)


class TestSelectRelaxed(ManipulationContract):
    def make(self, task: Task, examples: Examples) -> Select:
        return make(task, examples, distribution=Relaxed)


class TestSelectStraightThrough(ManipulationContract):
    def make(self, task: Task, examples: Examples) -> Select:
        return make(task, examples, distribution=partial(StraightThrough, temperature=0.2))


def test_marginal_information_of_classes_by_hand():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]])
    gap = marginal_information(torch.tensor([0, 2]), p, CLASSES)
    torch.testing.assert_close(gap, torch.tensor([[0.3, 0.2, 0.1], [0.7, 0.2, 0.9]]))


def test_marginal_information_of_targets_by_hand():
    # |y - yhat| / |y|: |4 - 5| / 4 and |-2 - 1| / 2.
    gap = marginal_information(torch.tensor([4.0, -2.0]), torch.tensor([[5.0], [1.0]]), TARGETS)
    torch.testing.assert_close(gap, torch.tensor([[0.25], [1.5]]))


def test_marginal_information_of_a_target_of_zero_is_finite():
    y, predicted = torch.tensor([0.0, 4.0, 2.0]), torch.tensor([[1.0], [4.0], [2.0]])
    gap = marginal_information(y, predicted, TARGETS, least=0.02)  # 1 / 0.02
    torch.testing.assert_close(gap, torch.tensor([[50.0], [0.0], [0.0]]))


def test_marginal_information_is_float32_and_finite_where_all_targets_are_zero():
    gap = marginal_information(torch.zeros(2).double(), torch.zeros(2, 1).double(), TARGETS, least=1.0)
    assert gap.dtype == torch.float32
    assert gap.tolist() == [[0.0], [0.0]]


def test_agreement_ranks_by_the_probability_of_the_label():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.3, 0.4, 0.3]])
    y = torch.tensor([0, 0, 1])
    ranking = agreement(y, marginal_information(y, p, CLASSES), CLASSES)
    torch.testing.assert_close(ranking, torch.tensor([0.7, 0.1, 0.4]) - 1)  # minus the gap, 1 - p(y)


def test_agreement_ranks_targets_by_their_gap():
    evidence = torch.tensor([[0.25], [1.5], [0.0]])
    assert agreement(torch.zeros(3), evidence, TARGETS).argsort().tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("h", "expected"),
    [
        ([0.98, 0.96], 1e3 * (0.97 - 0.9)),
        ([0.99, 0.5], 0.0),
        ([0.0, 0.1], 1e3 * (0.1 - 0.05)),
        ([0.5, 0.5], 0.0),
    ],
)
def test_penalty_by_hand(h, expected):
    # 1e3 * (max(mean h - 0.9, 0) + max(0.1 - mean h, 0)), of the mean, not of each example.
    select = make(CLASSES, Examples(np.zeros((2, 1), np.float32), np.zeros(2, np.int64), np.arange(2)))
    penalty = select.penalty(Bernoulli(torch.logit(torch.tensor(h))))
    assert penalty.item() == pytest.approx(expected, abs=1e-2)


def test_penalty_has_the_weight_and_the_bounds_that_it_was_given():
    examples = Examples(np.zeros((2, 1), np.float32), np.zeros(2, np.int64), np.arange(2))
    select = make(CLASSES, examples, exploration=2.0, bounds=(0.4, 0.5))
    assert select.penalty(Bernoulli(torch.logit(torch.tensor([0.75, 0.75])))).item() == pytest.approx(2 * 0.25)


def test_penalty_pushes_the_mean_back():
    logits = torch.tensor([4.0, 5.0], requires_grad=True)  # h about .98 and .99
    select = make(CLASSES, Examples(np.zeros((2, 1), np.float32), np.zeros(2, np.int64), np.arange(2)))
    (gradient,) = torch.autograd.grad(select.penalty(Bernoulli(logits)), logits)
    assert (gradient > 0).all()  # descending it lowers both
    (gradient,) = torch.autograd.grad(select.penalty(Bernoulli(-logits)), logits)
    assert (gradient > 0).all()  # and here too, where -logits are then raised


def test_apply_gives_chosen_examples_weight_one():
    x, y = torch.arange(6.0).reshape(3, 2), torch.tensor([2, 0, 1])
    actions = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    select = make(CLASSES, Examples(x.numpy(), y.numpy(), np.arange(3)))
    sets = select.apply(actions, Batch(np.arange(3), x, y))
    assert torch.equal(sets.w, actions)
    assert torch.equal(sets.x, x)
    assert torch.equal(sets.y, y)


def test_each_example_of_a_batch_gets_its_own_marginal_information():
    rng = np.random.default_rng(0)
    examples = Examples(rng.normal(size=(9, 2)).astype(np.float32), rng.integers(3, size=9), np.arange(9))
    select = make(CLASSES, examples)
    whole, rows = np.arange(9), np.array([7, 1, 4])

    def logits(rows):
        x, y = torch.from_numpy(examples.x[rows]), torch.from_numpy(examples.y[rows])
        return select.policy(Batch(rows, x, y)).logits

    torch.testing.assert_close(logits(rows), logits(whole)[rows])


def test_targets_as_the_estimator_sees_them():
    examples = Examples(np.zeros((2, 1), np.float32), np.zeros(2, np.int64), np.arange(2))
    assert make(CLASSES, examples).targets(torch.tensor([2, 0])).tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    scaled = make(TARGETS, examples, y_scale=(10.0, 4.0))
    assert scaled.targets(torch.tensor([12.0, 6.0])).tolist() == [[0.5], [-1.0]]


def test_a_start_is_added_to_the_log_odds_of_each_example():
    rng = np.random.default_rng(0)
    examples = Examples(rng.normal(size=(9, 2)).astype(np.float32), rng.integers(3, size=9), np.arange(9))
    start = torch.linspace(-3, 3, 9)
    rows = np.array([7, 1, 4])
    batch = Batch(rows, torch.from_numpy(examples.x[rows]), torch.from_numpy(examples.y[rows]))
    without, with_start = make(CLASSES, examples), make(CLASSES, examples, start=start)
    with_start.evidence = without.evidence
    torch.testing.assert_close(with_start.policy(batch).logits, without.policy(batch).logits + start[rows])
