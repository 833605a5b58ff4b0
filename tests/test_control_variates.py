"""Control variates: unbiased to the last digit by enumeration, and less variance where they explain something."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from gradient_kit import N, World, estimate, expectation, logistic, quadratic, random_logits, warmed

from raydm.baselines import FullData, LeaveOneOut
from raydm.control_variates import Coefficient, Datamodel, NoControl, Taylor
from raydm.data.source import Batch
from raydm.errors import ParameterError
from raydm.gradients import ScoreFunction
from raydm.policies import Bernoulli
from raydm.predictors import make_predictor
from raydm.seeding import stream
from raydm.testing import LinearWorld, all_actions

WORLDS = {
    "quadratic": quadratic,
    "accuracy": lambda: logistic("accuracy"),
    "likelihood": lambda: logistic("log-likelihood"),
}
TORCH = make_predictor("logistic")  # passes the check of differentiability; the worlds train their own
CONTROLS = {
    "none": NoControl,
    "taylor": lambda: Taylor(TORCH, 0, draws=3),
    "taylor-mean": lambda: Taylor(TORCH, 0, draws=0),
    "datamodel": lambda: Datamodel(10),
}
by_control = pytest.mark.parametrize("control", CONTROLS)
by_real_control = pytest.mark.parametrize("control", [name for name in CONTROLS if name != "none"])


def score_function(control: str, baseline=None) -> ScoreFunction:
    return ScoreFunction(baseline or FullData(0.3), 2.0, CONTROLS[control]())


class Forgetful(ScoreFunction):
    """Leaves out what gives the expectation of the stand-in back."""

    def surrogate(self, policy, actions, u, utility_of):
        g = deepcopy(self.control).slopes(policy, utility_of)
        return super().surrogate(policy, actions, u, utility_of) - self.reward_scale * (g @ policy.mean)


class Peeking(ScoreFunction):
    """Lets the control variate learn from a step's own actions before it is asked."""

    def surrogate(self, policy, actions, u, utility_of):
        self.control.slopes(policy, utility_of)
        self.control.observe(actions, u, utility_of)
        return super().surrogate(policy, actions, u, utility_of)


@pytest.mark.parametrize(
    ("world", "control"),
    [
        *(("quadratic", control) for control in CONTROLS),
        ("accuracy", "taylor"),
        ("accuracy", "datamodel"),
        ("likelihood", "taylor-mean"),
    ],
)
def test_exactly_unbiased_by_enumeration_of_all_selections(world: str, control: str) -> None:
    of, logits = WORLDS[world](), random_logits()
    gradient = warmed(score_function(control), of, logits)
    slopes = gradient.control.slopes(Bernoulli(logits), of.at(99))
    assert (slopes != 0).all() == (control != "none")  # it does stand in for something
    torch.testing.assert_close(expectation(gradient, of, logits), 2 * of.exact(logits), rtol=1e-7, atol=1e-9)


def pairs(gradient: ScoreFunction, world: World, logits: torch.Tensor) -> torch.Tensor:
    """The exact expectation of an estimate with R = 2, over all pairs of actions: (N,)."""
    policy, actions = Bernoulli(logits), all_actions(len(logits))
    p, mean = policy.log_prob(actions).exp().detach(), torch.zeros_like(logits)
    for i in range(len(actions)):
        for j in range(len(actions)):
            mean = mean + p[i] * p[j] * estimate(deepcopy(gradient), world, policy, actions[[i, j]], 99)
    return mean.detach()


@by_control
def test_exactly_unbiased_with_the_leave_one_out_baseline(control: str) -> None:
    world, logits = quadratic(3), random_logits(3)
    gradient = warmed(score_function(control, LeaveOneOut()), world, logits)
    torch.testing.assert_close(pairs(gradient, world, logits), 2 * world.exact(logits), rtol=1e-7, atol=1e-9)


@by_real_control
def test_without_what_is_given_back_it_would_be_biased_by_just_that(control: str) -> None:
    world, logits = quadratic(), random_logits()
    gradient = warmed(Forgetful(FullData(0.3), 2.0, CONTROLS[control]()), world, logits)
    g = gradient.control.slopes(Bernoulli(logits), world.at(99))
    h = torch.sigmoid(logits.detach())
    missing = 2 * g * h * (1 - h)
    assert missing.norm() > 0.1 * world.exact(logits).norm()
    torch.testing.assert_close(
        expectation(gradient, world, logits), 2 * world.exact(logits) - missing, rtol=1e-7, atol=1e-9
    )


@by_real_control
def test_learning_from_a_step_s_own_actions_would_be_biased(control: str) -> None:
    world, logits = quadratic(3), random_logits(3)
    gradient = warmed(Peeking(LeaveOneOut(), 2.0, CONTROLS[control]()), world, logits, steps=1)
    exact = 2 * world.exact(logits)
    assert (pairs(gradient, world, logits) - exact).norm() > 1e-4 * exact.norm()  # the tests above allow 1e-7


def variance(control: str, world: World, logits: torch.Tensor, draws: int = 300) -> float:
    """Total variance of the estimates of R = 4, after what is learned is learned."""
    gradient, rng = warmed(score_function(control, LeaveOneOut()), world, logits, steps=40), np.random.default_rng(1)
    policy = Bernoulli(logits)
    sample = [estimate(gradient, world, policy, policy.draw(4, rng).double(), 99) for _ in range(draws)]
    return float(torch.stack(sample).var(0).sum())


@by_real_control
def test_less_variance_than_the_plain_score_function(control: str) -> None:
    world, logits = quadratic(), random_logits()  # gains of about 3 and pairs of about 1: mostly linear
    assert variance(control, world, logits) < 0.5 * variance("none", world, logits)


def test_taylor_is_exact_where_the_utility_is_linear() -> None:
    # u = <gains, a>: the slopes are the gains and c is 1, so that each single estimate is the gradient itself.
    linear, logits = LinearWorld(np.arange(N) - 2.5), random_logits()
    e = linear.batch()
    world = World(linear, linear.task, Batch(e.rows, e.x.double(), e.y))
    gradient = warmed(score_function("taylor", LeaveOneOut()), world, logits, steps=1)
    assert gradient.control.coefficient.value == pytest.approx(1)
    policy = Bernoulli(logits)
    one = estimate(gradient, world, policy, policy.draw(2, np.random.default_rng(5)).double(), 7)
    torch.testing.assert_close(one, 2 * linear.gradient(logits), rtol=1e-6, atol=1e-6)


def test_taylor_at_the_mean_action_has_the_slopes_there() -> None:
    # d/da of sum g a + sum b a a at h is g + b h, which the coefficient then scales.
    world, logits = quadratic(), random_logits()
    control = Taylor(TORCH, 0, draws=0)
    control.coefficient.covariance, control.coefficient.variance = 3.0, 2.0
    h = torch.sigmoid(logits.detach())
    expected = world.utility.gains.double() + world.utility.interactions.double() @ h
    torch.testing.assert_close(control.slopes(Bernoulli(logits), world.at(0)), 1.5 * expected)


def test_taylor_s_own_draws_depend_on_the_seed_and_the_step_alone() -> None:
    h = torch.full((5,), 0.4)
    points = {key: Taylor(TORCH, key[0])._points(h, key[1]) for key in [(0, 0), (0, 1), (1, 0)]}
    assert torch.equal(points[0, 0], Taylor(TORCH, 0)._points(h, 0))
    assert len({tuple(p.flatten().tolist()) for p in points.values()}) == 3
    assert all(((p > 0) & (p < 1)).all() for p in points.values())


def test_taylor_s_own_draws_are_not_those_of_the_step() -> None:
    # Points drawn from the noise of the step's actions would go over 1/2 where these are 1, and bias the estimate.
    h = torch.full((200,), 0.5)
    points = Taylor(TORCH, 0, draws=4)._points(h, 7)
    actions = Bernoulli(torch.logit(h)).draw(4, stream(0, "actions", 7))
    assert 0.4 < ((points > 0.5) == (actions > 0.5)).float().mean() < 0.6


def test_taylor_refuses_a_predictor_that_is_not_differentiable() -> None:
    with pytest.raises(ParameterError, match=r"'taylor'.*BlackBox cannot be.*control_variate='none' or 'datamodel'"):
        Taylor(make_predictor("naive-bayes"), 0)


def test_coefficient_by_hand() -> None:
    # Step 1: u = 2 l gives 2. Step 2, l = (0, 2), u = (1, 1): covariance 0, variance 2. With memory 1/2:
    # (1/2 * 1 + 0) / (1/2 * 1/2 + 2) = .5 / 2.25.
    c = Coefficient(0.5)
    assert c.value == 0
    c.observe(torch.tensor([1.0, 3.0]), torch.tensor([0.5, 1.5]))
    assert c.value == pytest.approx(2)
    c.observe(torch.tensor([1.0, 1.0]), torch.tensor([0.0, 2.0]))
    assert c.value == pytest.approx(0.5 / 2.25)
    c.observe(torch.tensor([9.0]), torch.tensor([4.0]))  # a single rollout tells nothing
    assert c.value == pytest.approx(0.5 / 2.25)


def step_of(rows: list[int]) -> World:
    world = quadratic()
    return World(world.utility, world.task, Batch(np.array(rows), torch.zeros(len(rows), 1), torch.zeros(len(rows))))


def drawn(rollouts: int, examples: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy((np.random.default_rng(seed).random((rollouts, examples)) < 0.5).astype(np.float32))


def test_datamodel_after_one_step_is_ridge_regression_on_the_batch() -> None:
    rows, actions = [7, 2, 5], drawn(12, 3)
    u = (
        actions @ torch.tensor([1.0, -2.0, 0.5])
        + 0.1 * torch.from_numpy(np.random.default_rng(1).normal(size=12)).float()
    )
    model = Datamodel(10, share=0.6)
    model.observe(actions, u, step_of(rows).at(0))
    a, y = (actions - actions.mean(0)).double().numpy(), (u - u.mean()).double().numpy()
    # ridge = noise / prior variance = (1 - share) var u / (share var u / sum var a)
    ridge = (0.4 / 0.6) * (a**2).mean(0).sum()
    expected = np.linalg.solve(a.T @ a + ridge * np.eye(3), a.T @ y)
    np.testing.assert_allclose(model.theta[rows].numpy(), expected)
    assert (model.theta[[0, 1, 3, 4, 6, 8, 9]] == 0).all()  # others were not seen


def test_datamodel_finds_what_each_example_is_worth() -> None:
    worth = torch.from_numpy(np.random.default_rng(2).normal(size=10))
    model, rng = Datamodel(10), np.random.default_rng(3)
    for t in range(60):
        rows = rng.choice(10, 6, replace=False)
        actions = drawn(8, 6, seed=t)
        u = 5 * t + actions.double() @ worth[rows] + 0.1 * torch.from_numpy(rng.normal(size=8))  # b is the step's own
        model.observe(actions, u, step_of(rows.tolist()).at(t))
    torch.testing.assert_close(model.theta, worth, rtol=0, atol=0.1)
    slopes = model.slopes(Bernoulli(torch.zeros(2)), step_of([4, 1]).at(60))
    torch.testing.assert_close(slopes, worth[[4, 1]].float(), rtol=0, atol=0.15)


def test_datamodel_is_never_less_sure_than_before_it_began_and_more_sure_after_data() -> None:
    model = Datamodel(4, memory=0.01)  # almost nothing is kept: each step begins nearly from the prior
    for t in range(5):
        model.observe(drawn(8, 2, t), drawn(8, 1, t + 50).squeeze(1), step_of([0, 1]).at(t))
        assert (model.variance <= model.prior).all()
    assert (model.variance[2:] == model.prior).all()
    surer = Datamodel(4, memory=1.0)
    surer.observe(drawn(8, 2), drawn(8, 1, 50).squeeze(1), step_of([0, 1]).at(0))
    assert (surer.variance[:2] < surer.prior).all()


def test_datamodel_waits_where_all_utilities_are_equal() -> None:
    model = Datamodel(4)
    model.observe(drawn(8, 2), torch.ones(8), step_of([0, 1]).at(0))
    assert (model.theta == 0).all()
    assert (model.slopes(Bernoulli(torch.zeros(2)), step_of([0, 1]).at(1)) == 0).all()
    for t in range(300):  # also once it has begun
        model.observe(drawn(8, 2, t), torch.ones(8) if t else drawn(8, 1).squeeze(1), step_of([0, 1]).at(t))
    assert torch.isfinite(model.theta).all()
