"""The loop, in worlds whose best policy is known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from raydm.baselines import LeaveOneOut, MovingAverage
from raydm.control_variates import Datamodel, Taylor
from raydm.data.source import UniformBatches
from raydm.gradients import Pathwise, ScoreFunction
from raydm.learner import learn
from raydm.manipulations import Select
from raydm.networks import DataValueEstimator
from raydm.policies import Bernoulli, Relaxed, StraightThrough
from raydm.predictors import make_predictor
from raydm.seeding import stream
from raydm.testing import LinearWorld, QuadraticWorld

N = 8
GAINS = np.where(np.arange(N) % 2 == 0, 1.0, -1.0)


def select(world, *, bias=0.0, **arguments) -> Select:
    torch.manual_seed(1)
    estimator = DataValueEstimator(N, world.task.n_outputs, 1, hidden=32, layers=1)
    with torch.no_grad():
        estimator.head[-1].bias += bias
    return Select(estimator, world.task, torch.zeros(N, 1), **arguments)


def steps(world, manipulation, *, count, rollouts=8, seed=0, batch_size=N, gradient=None):
    source = UniformBatches(world.examples, batch_size=batch_size, steps=count, seed=seed)
    gradient = gradient or ScoreFunction(LeaveOneOut())
    optimizer = torch.optim.Adam(manipulation.parameters(), lr=0.01)
    return learn(source, manipulation, gradient, world, optimizer, rollouts=rollouts, seed=seed)


def values(world, manipulation):
    with torch.no_grad():
        return manipulation.policy(world.batch()).mean


TORCH = make_predictor("logistic")  # to pass the check of differentiability; the worlds train nothing


@pytest.mark.parametrize(
    ("gradient", "rollouts", "batch_size", "distribution"),
    [
        (ScoreFunction(LeaveOneOut()), 8, N, Bernoulli),
        (ScoreFunction(LeaveOneOut(), "std"), 8, N, Bernoulli),
        (ScoreFunction(MovingAverage()), 1, N, Bernoulli),  # DVRL's own: one rollout a step
        (ScoreFunction(LeaveOneOut()), 8, 5, Bernoulli),  # batches of 5 of the 8
        (ScoreFunction(LeaveOneOut(), 1.0, Taylor(TORCH, 0)), 8, 5, Bernoulli),
        (ScoreFunction(LeaveOneOut(), "std", Datamodel(N)), 8, 5, Bernoulli),
        (Pathwise(TORCH), 1, N, Relaxed),
        (Pathwise(TORCH, "std"), 8, 5, StraightThrough),
    ],
    ids=["leave-one-out", "std", "moving-average", "batches", "taylor", "datamodel", "gumbel", "straight-through"],
)
def test_examples_that_help_are_used_and_those_that_harm_are_not(gradient, rollouts, batch_size, distribution):
    # u = sum g a: h -> 1 where g > 0, else -> 0. Half help, so that the mean of h stays inside the penalty's bounds.
    world = LinearWorld(GAINS)
    manipulation = select(world, distribution=distribution)
    for _ in steps(world, manipulation, count=500, rollouts=rollouts, gradient=gradient, batch_size=batch_size):
        pass
    h = values(world, manipulation)
    assert (h[GAINS > 0] > 0.95).all()
    assert (h[GAINS < 0] < 0.05).all()


def test_pairs_are_learned_together():
    # Examples 0 and 1 cost 1 each and bring 6 as a pair: both in. The others cost 1: out. The best u is 4.
    # From h = 0 nothing leads there (each alone costs 1), so the policy starts at about h = 0.9.
    interactions = np.zeros((N, N))
    interactions[0, 1] = interactions[1, 0] = 6
    world = QuadraticWorld(-np.ones(N), interactions)
    manipulation = select(world, bias=2.0, bounds=(0.0, 1.0))
    last = [step.u.mean().item() for step in steps(world, manipulation, count=500)][-20:]
    assert (values(world, manipulation)[:2] > 0.95).all()
    assert np.mean(last) == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize("bias", [6.0, -6.0], ids=["all", "none"])
def test_penalty_brings_the_mean_back_inside_its_bounds(bias):
    # Every gain is 0: nothing but the penalty moves phi.
    world = LinearWorld(np.zeros(N))
    for exploration in (0.0, 1e3):
        manipulation = select(world, bias=bias, exploration=exploration)
        before = values(world, manipulation)
        for _ in steps(world, manipulation, count=200):
            pass
        after = values(world, manipulation)
        if exploration == 0:
            assert torch.equal(after, before)
        assert (0.1 <= after.mean() <= 0.9) == (exploration > 0)


def test_two_runs_are_alike_to_the_last_bit():
    world = LinearWorld(GAINS)

    def run(seed):
        manipulation = select(world)
        seen = [step.u for step in steps(world, manipulation, count=20, seed=seed, batch_size=6)]
        return torch.stack(seen), values(world, manipulation)

    (u, h), (u_again, h_again), (u_other, _) = run(0), run(0), run(1)
    assert torch.equal(u, u_again)
    assert torch.equal(h, h_again)
    assert not torch.equal(u, u_other)


def test_stops_when_nobody_asks():
    calls = []

    class Counting(LinearWorld):
        def __call__(self, sets, *, step):
            calls.append(step)
            return super().__call__(sets, step=step)

    world = Counting(GAINS)
    seen = list(itertools.islice(steps(world, select(world), count=1000), 3))
    assert [step.t for step in seen] == calls == [0, 1, 2]


def test_a_step_says_what_it_saw():
    world = LinearWorld(GAINS)
    manipulation = select(world)
    before = values(world, manipulation)
    step = next(steps(world, manipulation, count=1, rollouts=5))
    assert step.u.shape == (5,)
    # The policy that drew, before the update, over the batch in its own order.
    torch.testing.assert_close(step.policy.mean.sort().values, before.sort().values)
    assert not torch.equal(values(world, manipulation), before)


def test_one_step_ascends_along_the_estimate():
    # With plain gradient ascent of step 1, phi moves by the surrogate's gradient less the penalty's, no more no less.
    world, rollouts = LinearWorld(GAINS), 4
    manipulation, twin = select(world), select(world)
    source = UniformBatches(world.examples, batch_size=N, steps=1, seed=0)
    sgd = torch.optim.SGD(manipulation.parameters(), lr=1.0)
    calls = []

    class Recorded(LinearWorld):
        def __call__(self, sets, *, step):
            calls.append(sets)
            return super().__call__(sets, step=step)

    next(learn(source, manipulation, ScoreFunction(LeaveOneOut()), Recorded(GAINS), sgd, rollouts=rollouts, seed=0))
    ((_, batch),) = source
    u = world(calls[0], step=0)
    advantage = u - (u.sum() - u) / (rollouts - 1)
    surrogate = (advantage * twin.policy(batch).log_prob(calls[0].w)).mean()
    gradients = torch.autograd.grad(surrogate, list(twin.parameters()))
    for moved, start, g in zip(manipulation.parameters(), twin.parameters(), gradients, strict=True):
        torch.testing.assert_close(moved, start + g)


def test_after_phi_has_moved_the_utility_is_given_the_sets_again():
    # From the same noise and the new phi: StraightThrough's actions are Bernoulli's where h of the new phi says so.
    carried = []

    class Joint(LinearWorld):
        def carry(self, redrawn, *, step):
            again = [redrawn().w for _ in range(2)]
            carried.append((step, manipulation.policy(batch(step)).draw(4, stream(0, "actions", step)), *again))

    world = Joint(GAINS)
    manipulation = select(world, distribution=StraightThrough)
    batches = dict(UniformBatches(world.examples, batch_size=5, steps=3, seed=0))
    batch = batches.get
    for _ in steps(world, manipulation, count=3, rollouts=4, gradient=Pathwise(TORCH), batch_size=5):
        pass
    assert [c[0] for c in carried] == [0, 1, 2]
    for _, expected, first, again in carried:
        assert torch.equal(first, again)
        assert torch.equal(first, expected)
        assert not first.requires_grad
