"""The estimators of the gradient, against worlds whose gradient is known, and against enumeration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from gradient_kit import estimate, logistic, quadratic, random_logits
from torch import Tensor

from raydm.baselines import FullData, LeaveOneOut, MovingAverage
from raydm.errors import ParameterError
from raydm.gradients import Pathwise, ScoreFunction
from raydm.policies import Bernoulli, Relaxed, StraightThrough
from raydm.predictors import make_predictor
from raydm.testing import LinearWorld, all_actions

N, ROLLOUTS, DRAWS = 6, 4, 3000


@dataclass(frozen=True)
class Given:
    """A policy that says what it is told to."""

    log_probs: Tensor

    @property
    def mean(self) -> Tensor:
        return torch.zeros(1)

    def log_prob(self, actions: Tensor) -> Tensor:
        return self.log_probs


def surrogate(gradient: ScoreFunction, log_prob: Tensor, u: Tensor) -> Tensor:
    return gradient.surrogate(Given(log_prob), torch.zeros(len(u), 1), u, None)


def estimates(gradient: ScoreFunction, logits: Tensor, draws: int) -> Tensor:
    """The surrogate's gradient at one step after the other, each with R new actions: (draws, N)."""
    policy, rng, world = Bernoulli(logits), np.random.default_rng(0), quadratic(N)
    return torch.stack(
        [estimate(gradient, world, policy, policy.draw(ROLLOUTS, rng).double(), t) for t in range(draws)]
    )


@pytest.mark.parametrize("world", [LinearWorld(np.arange(N) - 2.0), quadratic(N).utility], ids=["linear", "quadratic"])
def test_worlds_know_their_expectation_and_gradient(world):
    logits = random_logits(N)
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
    logits = random_logits(N)
    sample = estimates(ScoreFunction(baseline), logits, DRAWS)
    exact = quadratic(N).utility.gradient(logits)
    standard_error = sample.std(0) / DRAWS**0.5
    assert ((sample.mean(0) - exact).abs() < 4 * standard_error).all()
    # The statement has power: the error that is allowed is small beside the gradient itself.
    assert (4 * standard_error).norm() < 0.5 * exact.norm()


def over_pairs(baseline) -> tuple[Tensor, Tensor]:
    """N = 2, R = 2: the expectation over all 16 pairs of actions, and the exact gradient; each (N,)."""
    world, logits = quadratic(2), random_logits(2)
    policy, actions, mean = Bernoulli(logits), all_actions(2), torch.zeros(2).double()
    p = policy.log_prob(actions).exp().detach()
    for i in range(4):
        for j in range(4):
            mean += p[i] * p[j] * estimate(ScoreFunction(baseline), world, policy, actions[[i, j]], 0)
    return mean, world.exact(logits)


@pytest.mark.parametrize("baseline", [LeaveOneOut(), FullData(0.7)], ids=lambda b: type(b).__name__)
def test_exactly_unbiased(baseline):
    torch.testing.assert_close(*over_pairs(baseline))


def test_one_minus_one_over_r_is_lost_if_the_own_utility_is_in_the_baseline():
    # What leave-one-out avoids: with delta the mean over all R = 2 rollouts, half of the gradient remains.
    mean, exact = over_pairs(lambda u: u.mean().expand_as(u))
    torch.testing.assert_close(mean, exact / 2)


def test_leave_one_out_has_less_variance_than_no_baseline():
    logits = random_logits(N)
    with_baseline, without = (
        estimates(ScoreFunction(b), logits, 500).var(0).sum() for b in (LeaveOneOut(), FullData(0.0))
    )
    assert with_baseline < 0.5 * without


def test_surrogate_by_hand():
    # C = 3, u = (1, 5), delta = 2: mean of 3 * (-1) * log pi_1 and 3 * 3 * log pi_2.
    log_prob = torch.tensor([-0.5, -2.0], requires_grad=True)
    value = surrogate(ScoreFunction(FullData(2.0), 3.0), log_prob, torch.tensor([1.0, 5.0]))
    assert value.item() == pytest.approx((3 * -1 * -0.5 + 3 * 3 * -2.0) / 2)
    assert torch.autograd.grad(value, log_prob)[0].tolist() == [-1.5, 4.5]


def test_scale_by_deviation_makes_the_step_free_of_the_utility_s_unit():
    log_prob, u = torch.tensor([-1.0, -2.0, -4.0]), torch.tensor([0.1, 0.3, 0.8])
    # LOO advantages are R/(R-1) (u - mean); over the deviation they do not change with a u + b, a > 0.
    one, other = (surrogate(ScoreFunction(LeaveOneOut(), "std"), log_prob, v) for v in (u, 1000 * u - 5))
    expected = (1.5 * (u - u.mean()) / u.std() * log_prob).mean()
    torch.testing.assert_close(torch.stack([one, other]), expected.expand(2), rtol=1e-4, atol=0)


def test_scale_by_deviation_is_not_blown_up_where_all_utilities_are_equal():
    # Accuracies are often all the same, while their smooth slopes, or what a control variate expects, are not.
    world, logits = LinearWorld([2.0, -3.0]), torch.tensor([0.5, -1.0], requires_grad=True)
    policy = Relaxed(logits, 0.7)
    u = world.utility(policy.draw(ROLLOUTS, np.random.default_rng(0)))
    flat = u - u.detach() + 0.9  # slopes stay
    value = Pathwise(make_predictor("logistic"), "std").surrogate(policy, torch.zeros(ROLLOUTS, 2), flat, None)
    assert torch.autograd.grad(value, logits)[0].tolist() == [0.0, 0.0]

    class Wrong:
        def slopes(self, policy, utility_of):
            return torch.tensor([100.0, 100.0])

        def observe(self, actions, u, utility_of):
            pass

    bernoulli = Bernoulli(logits)
    actions = bernoulli.draw(ROLLOUTS, np.random.default_rng(0))
    value = ScoreFunction(LeaveOneOut(), "std", Wrong()).surrogate(
        bernoulli, actions, torch.full((ROLLOUTS,), 0.9), None
    )
    assert torch.autograd.grad(value, logits)[0].norm() < 5  # standardised: of order 1


def test_no_gradient_goes_through_the_utility():
    log_prob, u = torch.tensor([-1.0, -2.0], requires_grad=True), torch.tensor([1.0, 2.0], requires_grad=True)
    value = surrogate(ScoreFunction(LeaveOneOut()), log_prob, u)
    assert torch.autograd.grad(value, u, allow_unused=True) == (None,)


@pytest.mark.parametrize("metric", ["log-likelihood", "accuracy", "auc"])
@pytest.mark.parametrize("temperature", [0.3, 1.0])
def test_pathwise_is_the_slope_of_its_own_relaxed_objective(metric, temperature):
    # Finite differences of the mean smooth utility in each logit, the noise held fixed, through whole trainings.
    world, logits = logistic(metric), random_logits()
    problem = world.utility.problem

    def actions(of: Tensor) -> Tensor:
        return Relaxed(of, temperature).draw(ROLLOUTS, np.random.default_rng(2))

    def relaxed(of: Tensor) -> float:
        sets = world.at(0).manipulation.apply(actions(of), world.batch)
        rows, truth = torch.from_numpy(problem.valid.x), torch.from_numpy(problem.valid.y)
        predictions = problem.predictor.fit_predict(sets, rows, seed=problem.seeds(0, ROLLOUTS))
        return float(problem.metric.smooth.utility(predictions, truth).mean())

    ours = estimate(Pathwise(problem.predictor), world, Relaxed(logits, temperature), actions(logits), 0)
    start, step = logits.detach(), 1e-5
    for i in range(len(start)):
        there = torch.zeros_like(start)
        there[i] = step
        difference = (relaxed(start + there) - relaxed(start - there)) / (2 * step)
        assert ours[i].item() == pytest.approx(difference, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("policy", [Relaxed, StraightThrough])
def test_pathwise_by_hand_in_a_linear_world(policy):
    # d/dlogit of mean g a is g a (1 - a) / temperature of the relaxed a: also where a itself is rounded to 0 or 1.
    world, logits = LinearWorld([2.0, -3.0, 1.0]), torch.tensor([0.5, -1.0, 0.0], requires_grad=True)
    of = policy(logits, 0.7)
    u = world.utility(of.draw(ROLLOUTS, np.random.default_rng(0)))
    soft = Relaxed(logits.detach(), 0.7).draw(ROLLOUTS, np.random.default_rng(0))
    value = Pathwise(make_predictor("logistic"), 3.0).surrogate(of, soft, u, None)
    expected = 3 * world.gains * (soft * (1 - soft) / 0.7).mean(0)
    torch.testing.assert_close(torch.autograd.grad(value, logits)[0], expected)


def test_straight_through_s_utility_is_that_of_the_selection():
    world, logits = quadratic(N), random_logits(N)
    u = world.at(0)(StraightThrough(logits, 0.5).draw(ROLLOUTS, np.random.default_rng(3)))
    selection = Bernoulli(logits).draw(ROLLOUTS, np.random.default_rng(3)).double()
    assert torch.equal(u, world.at(0)(selection))


def test_pathwise_refuses_a_predictor_that_is_not_differentiable():
    with pytest.raises(ParameterError, match=r"pathwise.*BlackBox cannot be differentiated.*Use a torch predictor"):
        Pathwise(make_predictor("naive-bayes"))


def test_pathwise_refuses_actions_that_are_not_differentiable():
    world, logits = quadratic(N), random_logits(N)
    policy = Bernoulli(logits)
    with pytest.raises(ParameterError, match=r"Bernoulli draws none: use the policy Relaxed or StraightThrough"):
        estimate(
            Pathwise(make_predictor("logistic")), world, policy, policy.draw(2, np.random.default_rng(0)).double(), 0
        )
