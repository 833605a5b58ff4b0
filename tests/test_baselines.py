"""Baselines, by hand."""

from __future__ import annotations

import torch

from raydm.baselines import FullData, LeaveOneOut, MovingAverage
from raydm.policies import Bernoulli
from raydm.testing import QuadraticWorld, all_actions


def test_moving_average_by_hand():
    # T = 4. Step means 2, 6, 10: before = 2 (the first mean), then 2 + (2-2)/4 = 2, then 2 + (6-2)/4 = 3,
    # and after the third 3 + (10-3)/4 = 4.75.
    baseline = MovingAverage(window=4)
    befores = [baseline(torch.tensor(u)).tolist() for u in ([1.0, 3.0], [6.0, 6.0], [8.0, 12.0], [0.0, 0.0])]
    assert befores == [[2.0, 2.0], [2.0, 2.0], [3.0, 3.0], [4.75, 4.75]]


def test_moving_average_is_the_paper_s_recursion():
    # delta <- (T-1)/T delta + u/T, with T = 20 as in the paper.
    utilities = torch.randn(30, generator=torch.Generator().manual_seed(0)).double()
    baseline, delta = MovingAverage(), utilities[0]
    for u in utilities:
        torch.testing.assert_close(baseline(u.reshape(1))[0], delta)
        delta = 19 / 20 * delta + u / 20


def test_window_of_one_remembers_only_the_last_step():
    baseline = MovingAverage(window=1)
    assert [baseline(torch.tensor([u])).item() for u in (5.0, 7.0, 1.0)] == [5.0, 5.0, 7.0]


def test_full_data_is_the_same_for_every_rollout():
    assert FullData(0.25)(torch.tensor([1.0, 2.0, 3.0])).tolist() == [0.25] * 3


def test_leave_one_out_by_hand():
    # u = 1, 2, 6: the others' means are (2+6)/2, (1+6)/2, (1+2)/2.
    assert LeaveOneOut()(torch.tensor([1.0, 2.0, 6.0])).tolist() == [4.0, 3.5, 1.5]


def test_leave_one_out_does_not_depend_on_a_rollout_s_own_utility():
    u = torch.tensor([1.0, 2.0, 6.0], requires_grad=True)
    jacobian = torch.autograd.functional.jacobian(LeaveOneOut(), u)
    assert torch.equal(jacobian, torch.tensor([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]]))


def test_leave_one_out_is_an_unbiased_estimate_of_the_mean_utility():
    # E[delta_r] = E[u]: over all 4 x 4 pairs of actions of N = 2 examples, weighted with their probability.
    world = QuadraticWorld([1.0, -0.5], [[0.0, 2.0], [2.0, 0.0]])
    policy = Bernoulli(torch.tensor([0.4, -1.0], dtype=torch.float64))
    actions = all_actions(2)
    p, u = policy.log_prob(actions).exp(), world.utility(actions)
    mean = sum(p[i] * p[j] * LeaveOneOut()(torch.stack([u[i], u[j]])) for i in range(4) for j in range(4))
    torch.testing.assert_close(mean, (p @ u).expand(2))
