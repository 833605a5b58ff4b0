"""Bernoulli policies, against the enumeration of all 2^N actions, and their relaxations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raydm.errors import ParameterError
from raydm.policies import Bernoulli, Deterministic, Relaxed, StraightThrough
from raydm.testing import all_actions

logits_lists = st.lists(st.floats(-30, 30), min_size=1, max_size=8)


@given(logits_lists)
def test_probabilities_of_all_actions_sum_to_one(logits):
    policy = Bernoulli(torch.tensor(logits, dtype=torch.float64))
    assert policy.log_prob(all_actions(len(logits))).exp().sum().item() == pytest.approx(1, abs=1e-12)


@given(logits_lists)
def test_mean_is_the_expected_action(logits):
    policy, actions = Bernoulli(torch.tensor(logits, dtype=torch.float64)), all_actions(len(logits))
    expected = policy.log_prob(actions).exp() @ actions
    torch.testing.assert_close(policy.mean, expected, rtol=0, atol=1e-12)


def test_log_prob_by_hand():
    # h = (3/4, 1/5): pi(1, 0) = 3/4 * 4/5 = 3/5; pi(0, 1) = 1/4 * 1/5 = 1/20.
    policy = Bernoulli(torch.tensor([math.log(3), math.log(1 / 4)]))
    log_prob = policy.log_prob(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    torch.testing.assert_close(log_prob.exp(), torch.tensor([0.6, 0.05]))


def test_log_prob_is_exact_where_h_rounds_to_zero_or_one():
    # log h = -log(1 + e^-z): at z = 200, in float32, h is 1, and yet log(1 - h) is -200.
    logits = torch.tensor([200.0, -200.0], requires_grad=True)
    log_prob = Bernoulli(logits).log_prob(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    assert log_prob.tolist() == [-400.0, 0.0]
    (gradient,) = torch.autograd.grad(log_prob.sum(), logits)
    torch.testing.assert_close(gradient, torch.tensor([-1.0, 1.0]))  # a - h, summed over the two actions


def test_score_is_action_minus_mean():
    # d log pi / d logit_i = a_i - h_i.
    logits = torch.tensor([0.3, -1.2, 2.0], requires_grad=True)
    policy, action = Bernoulli(logits), torch.tensor([[1.0, 1.0, 0.0]])
    (score,) = torch.autograd.grad(policy.log_prob(action).sum(), logits)
    torch.testing.assert_close(score, (action[0] - policy.mean).detach())


def test_draws_are_zeros_and_ones_at_the_rate_h():
    logits = torch.tensor([-2.0, 0.0, 1.0])
    policy = Bernoulli(logits)
    actions = policy.draw(4000, np.random.default_rng(0))
    assert actions.shape == (4000, 3)
    assert set(actions.unique().tolist()) == {0.0, 1.0}
    h = policy.mean
    error = (actions.mean(0) - h).abs() / (h * (1 - h) / 4000).sqrt()
    assert (error < 4).all()  # four standard errors


def test_draws_at_extreme_logits_are_certain():
    actions = Bernoulli(torch.tensor([200.0, -200.0])).draw(100, np.random.default_rng(0))
    assert actions.mean(0).tolist() == [1.0, 0.0]


def test_draws_repeat_with_the_generator():
    policy = Bernoulli(torch.zeros(50))
    first, again, other = (policy.draw(3, np.random.default_rng(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


RELAXED = pytest.mark.parametrize("policy", [Relaxed, StraightThrough], ids=lambda p: p.__name__)


@RELAXED
def test_relaxed_draws_go_over_one_half_where_bernoulli_s_are_one(policy):
    logits = torch.tensor([-2.0, 0.0, 1.0, 7.0])
    relaxed = policy(logits, 0.4).draw(2000, np.random.default_rng(5))
    assert torch.equal((relaxed > 0.5).float(), Bernoulli(logits).draw(2000, np.random.default_rng(5)))


def test_relaxed_draws_by_hand():
    # a = sigmoid((logit + L) / temperature) with L = -log(u / (1 - u)), of slope a (1 - a) / temperature in the logit.
    uniform = np.random.default_rng(1).random((3, 2), dtype=np.float32)
    logits = torch.tensor([0.3, -1.0], requires_grad=True)
    actions = Relaxed(logits, 0.5).draw(3, np.random.default_rng(1))
    noise = -np.log(uniform / (1 - uniform))
    expected = 1 / (1 + np.exp(-(np.array([0.3, -1.0]) + noise) / 0.5))
    torch.testing.assert_close(actions.detach(), torch.from_numpy(expected).float())
    (slope,) = torch.autograd.grad(actions.sum(), logits)
    torch.testing.assert_close(slope, (actions * (1 - actions) / 0.5).sum(0).detach())


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_relaxed_density_is_torch_s(temperature):
    logits = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
    actions = torch.rand(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    theirs = torch.distributions.RelaxedBernoulli(torch.tensor(temperature), logits=logits).log_prob(actions).sum(-1)
    torch.testing.assert_close(Relaxed(logits, temperature).log_prob(actions), theirs)


def test_relaxed_density_integrates_to_one():
    z = torch.linspace(-60, 60, 20001, dtype=torch.float64)  # a = sigmoid(z), da = a (1 - a) dz
    a = torch.sigmoid(z).unsqueeze(-1)
    density = Relaxed(torch.tensor([0.7], dtype=torch.float64), 0.8).log_prob(a).exp()
    assert float(torch.trapezoid(density * (a * (1 - a)).squeeze(-1), z)) == pytest.approx(1, abs=1e-6)


@RELAXED
def test_relaxed_draws_at_extreme_logits_have_finite_slopes_and_densities(policy):
    logits = torch.tensor([200.0, -200.0], requires_grad=True)
    of = policy(logits, 0.1)
    actions = of.draw(100, np.random.default_rng(0))
    assert actions.mean(0).tolist() == [1.0, 0.0]
    (slope,) = torch.autograd.grad(actions.sum(), logits, retain_graph=True)
    assert slope.tolist() == [0.0, 0.0]
    assert torch.isfinite(of.log_prob(actions)).all()


def test_straight_through_is_zeros_and_ones_with_the_relaxed_slope():
    logits = torch.tensor([0.3, -1.0, 2.0], requires_grad=True)
    hard, soft = (p(logits, 0.5).draw(50, np.random.default_rng(1)) for p in (StraightThrough, Relaxed))
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(*(torch.autograd.grad(a.sum(), logits)[0] for a in (hard, soft)))


def test_straight_through_has_bernoulli_s_probabilities():
    logits, actions = torch.tensor([0.3, -1.0], dtype=torch.float64), all_actions(2)
    assert torch.equal(StraightThrough(logits, 0.5).log_prob(actions), Bernoulli(logits).log_prob(actions))


@RELAXED
def test_relaxed_policies_keep_the_data_value_as_their_mean(policy):
    logits = torch.tensor([0.3, -1.0])
    assert torch.equal(policy(logits, 0.5).mean, torch.sigmoid(logits))


def test_deterministic_actions_are_sure_and_carry_their_gradient():
    phi = torch.tensor([0.3, -1.0], requires_grad=True)
    policy = Deterministic(2 * phi)
    actions = policy.draw(3, np.random.default_rng(0))
    assert torch.equal(actions, (2 * phi).expand(3, 2))
    assert torch.equal(policy.mean, 2 * phi)
    assert torch.autograd.grad(actions.sum(), phi)[0].tolist() == [6.0, 6.0]
    with pytest.raises(ParameterError, match="Pathwise"):
        policy.log_prob(actions)
