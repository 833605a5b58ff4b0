"""The score function's gradient, against worlds whose gradient is known, and against enumeration."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raydm.baselines import FullData, LeaveOneOut, MovingAverage
from raydm.gradients import ScoreFunction
from raydm.policies import Bernoulli
from raydm.testing import LinearWorld, QuadraticWorld, all_actions

N, ROLLOUTS, DRAWS = 6, 4, 3000


def random_world(n: int = N) -> QuadraticWorld:
    rng = np.random.default_rng(4)
    b = np.triu(rng.normal(size=(n, n)), 1)
    return QuadraticWorld(3 + rng.normal(size=n), b + b.T)  # gains off 0, so that a baseline pays


def random_logits(n: int = N) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(6).normal(size=n)).requires_grad_()


def estimates(gradient: ScoreFunction, world: QuadraticWorld, logits: torch.Tensor, draws: int) -> torch.Tensor:
    """The surrogate's gradient at one step after the other, each with R new actions: (draws, N)."""
    policy, rng, each = Bernoulli(logits), np.random.default_rng(0), []
    for _ in range(draws):
        actions = policy.draw(ROLLOUTS, rng).double()
        surrogate = gradient.surrogate(policy.log_prob(actions), world.utility(actions))
        each.append(torch.autograd.grad(surrogate, logits, retain_graph=True)[0])
    return torch.stack(each)


@pytest.mark.parametrize("world", [LinearWorld(np.arange(N) - 2.0), random_world()], ids=["linear", "quadratic"])
def test_worlds_know_their_expectation_and_gradient(world):
    logits = random_logits()
    actions = all_actions(N)
    enumerated = Bernoulli(logits).log_prob(actions).exp() @ world.utility(actions)
    torch.testing.assert_close(world.expected(logits), enumerated)
    torch.testing.assert_close(world.gradient(logits), torch.autograd.grad(enumerated, logits)[0])


def test_linear_world_by_hand():
    # g h (1 - h) at h = 1/2: a quarter of the gain.
    torch.testing.assert_close(LinearWorld([4.0, -8.0]).gradient(torch.zeros(2)), torch.tensor([1.0, -2.0]))


@pytest.mark.parametrize(
    "baseline", [FullData(0.0), FullData(7.0), MovingAverage(), LeaveOneOut()], ids=lambda b: type(b).__name__
)
def test_average_of_many_draws_is_the_exact_gradient(baseline):
    world, logits = random_world(), random_logits()
    sample = estimates(ScoreFunction(baseline), world, logits, DRAWS)
    exact = world.gradient(logits)
    standard_error = sample.std(0) / DRAWS**0.5
    assert ((sample.mean(0) - exact).abs() < 4 * standard_error).all()
    # The statement has power: the error that is allowed is small beside the gradient itself.
    assert (4 * standard_error).norm() < 0.5 * exact.norm()


@pytest.mark.parametrize("baseline", [LeaveOneOut(), FullData(0.7)], ids=lambda b: type(b).__name__)
def test_exactly_unbiased(baseline):
    # N = 2, R = 2: the expectation over all 16 pairs of actions is the gradient, to rounding.
    world, logits = random_world(2), random_logits(2)
    policy, actions, mean = Bernoulli(logits), all_actions(2), torch.zeros(2).double()
    p = policy.log_prob(actions).exp().detach()
    for i in range(4):
        for j in range(4):
            pair = actions[[i, j]]
            surrogate = ScoreFunction(baseline).surrogate(policy.log_prob(pair), world.utility(pair))
            mean += p[i] * p[j] * torch.autograd.grad(surrogate, logits)[0]
    torch.testing.assert_close(mean, world.gradient(logits))


def test_one_minus_one_over_r_is_lost_if_the_own_utility_is_in_the_baseline():
    # What leave-one-out avoids: with delta the mean over all R = 2 rollouts, half of the gradient remains.
    world, logits = random_world(2), random_logits(2)
    policy, actions, mean = Bernoulli(logits), all_actions(2), torch.zeros(2).double()
    p = policy.log_prob(actions).exp().detach()
    biased = ScoreFunction(lambda u: u.mean().expand_as(u))
    for i in range(4):
        for j in range(4):
            pair = actions[[i, j]]
            surrogate = biased.surrogate(policy.log_prob(pair), world.utility(pair))
            mean += p[i] * p[j] * torch.autograd.grad(surrogate, logits)[0]
    torch.testing.assert_close(mean, world.gradient(logits) / 2)


def test_leave_one_out_has_less_variance_than_no_baseline():
    world, logits = random_world(), random_logits()
    with_baseline, without = (
        estimates(ScoreFunction(b), world, logits, 500).var(0).sum() for b in (LeaveOneOut(), FullData(0.0))
    )
    assert with_baseline < 0.5 * without


def test_surrogate_by_hand():
    # C = 3, u = (1, 5), delta = 2: mean of 3 * (-1) * log pi_1 and 3 * 3 * log pi_2.
    log_prob = torch.tensor([-0.5, -2.0], requires_grad=True)
    surrogate = ScoreFunction(FullData(2.0), 3.0).surrogate(log_prob, torch.tensor([1.0, 5.0]))
    assert surrogate.item() == pytest.approx((3 * -1 * -0.5 + 3 * 3 * -2.0) / 2)
    assert torch.autograd.grad(surrogate, log_prob)[0].tolist() == [-1.5, 4.5]


def test_scale_by_deviation_makes_the_step_free_of_the_utility_s_unit():
    log_prob, u = torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([0.1, 0.3, 0.8])
    # LOO advantages are R/(R-1) (u - mean); over the deviation they do not change with a u + b, a > 0.
    one, other = (ScoreFunction(LeaveOneOut(), "std").surrogate(log_prob, v) for v in (u, 1000 * u - 5))
    expected = (1.5 * (u - u.mean()) / u.std() * log_prob).mean()
    torch.testing.assert_close(torch.stack([one, other]), expected.expand(2), rtol=1e-4, atol=0)


def test_no_gradient_goes_through_the_utility():
    log_prob, u = torch.tensor([-1.0, -2.0], requires_grad=True), torch.tensor([1.0, 2.0], requires_grad=True)
    surrogate = ScoreFunction(LeaveOneOut()).surrogate(log_prob, u)
    assert torch.autograd.grad(surrogate, u, allow_unused=True) == (None,)
