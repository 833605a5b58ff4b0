"""Mix: the contract, and its parts by hand."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.manipulations import Mix
from raydm.networks import MixingEstimator
from raydm.policies import Bernoulli
from raydm.testing import ManipulationContract

ONE, TWO = Task("regression", 1), Task("regression", 2)


def next_rows(examples: Examples):
    """Option o mixes an example at a half with the o + 1 rows after it."""

    def rows(batch: Batch):
        owner = np.repeat(np.arange(len(batch.rows)), batch.options + 1)
        rank = np.concatenate([np.arange(1, o + 2) for o in batch.options])
        i = batch.rows[owner]
        j = (i + rank) % len(examples)
        return owner, *(torch.from_numpy(0.5 * (a[i] + a[j])) for a in (examples.x, examples.y))

    return rows


def make(task: Task, examples: Examples, **arguments) -> Mix:
    torch.manual_seed(0)
    estimator = MixingEstimator(examples.x.shape[1], task.n_outputs, 3, hidden=[8])
    torch.nn.init.normal_(estimator.layers[-1].weight)  # untrained it is 0, and h 1/2 whatever it sees
    y = torch.from_numpy(examples.y).reshape(len(examples), -1)
    return Mix(estimator, task, next_rows(examples), y_scale=(y.mean(0), y.std(0)), **arguments)


class TestMix(ManipulationContract):
    tasks: ClassVar = [ONE, TWO]
    options = 3

    def make(self, task: Task, examples: Examples) -> Mix:
        return make(task, examples)


FOUR = Examples(np.array([[0.0], [4], [8], [16]], np.float32), np.array([0, 1, 2, 4], np.float32), np.arange(4))


def batch(*rows: int, options=None) -> Batch:
    at = np.array(rows)
    return Batch(at, torch.from_numpy(FOUR.x[at]), torch.from_numpy(FOUR.y[at]), options)


def test_apply_puts_the_rows_of_the_chosen_beside_the_batch():
    sets = make(ONE, FOUR).apply(
        torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), batch(2, 0, options=np.array([1, 0]))
    )
    assert sets.x.squeeze(1).tolist() == [8, 0, 12, 4, 2]  # 8 with 16 and 0; 0 with 4
    assert sets.y.tolist() == [2, 0, 3, 1, 0.5]
    assert sets.w.tolist() == [[1, 1, 1, 1, 0], [1, 1, 0, 0, 1], [1, 1, 1, 1, 1]]


def test_the_state_is_the_example_its_standardised_target_and_the_option():
    mix = make(ONE, FOUR)
    policy = mix.policy(batch(3, 1, 3, options=np.array([0, 2, 2])))
    location, scale = FOUR.y.mean(), FOUR.y.std(ddof=1)
    for row, option, logit in zip([3, 1, 3], [0, 2, 2], policy.logits, strict=True):
        y = torch.tensor([[(FOUR.y[row] - location) / scale]])
        torch.testing.assert_close(mix.estimator(torch.from_numpy(FOUR.x[[row]]), y, torch.tensor([option]))[0], logit)
    assert len({float(value) for value in policy.logits.detach()}) == 3


def test_a_start_is_added_by_example_and_option():
    start = torch.arange(12.0).reshape(4, 3)
    given = batch(3, 1, options=np.array([0, 2]))
    without, with_start = (make(ONE, FOUR, **more).policy(given).logits for more in ({}, {"start": start}))
    torch.testing.assert_close(with_start - without, torch.tensor([9.0, 5.0]))


@pytest.mark.parametrize(("h", "expected"), [([0.98, 0.96], 0.07), ([0.5, 0.2], 0.0), ([0.0, 0.1], 0.05)])
def test_penalty_by_hand(h, expected):
    penalty = make(ONE, FOUR, exploration=10.0).penalty(Bernoulli(torch.logit(torch.tensor(h))))
    assert penalty.item() == pytest.approx(10 * expected, abs=1e-4)


def test_a_batch_without_options_is_told():
    with pytest.raises(ParameterError, match="the batch has none"):
        make(ONE, FOUR).policy(batch(0, 1))
