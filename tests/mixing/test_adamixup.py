"""AdaMixUp's region: its first step by hand, and what it learns where the right answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mixing_kit import examples, line
from torch.nn import functional

from raydm.errors import ParameterError
from raydm.mixing.adamixup import RegionLearner, RegionSettings
from raydm.mixing.region import RegionShares
from raydm.seeding import stream

SMALL = RegionSettings(steps=4, batch_size=8, hidden=(16,))


def run(learner):
    return [p.figures for p in learner.steps()]


def test_the_first_step_s_loss_by_hand():
    train = line(20, targets=2)
    learner = RegionLearner(train, 3, SMALL)
    f = learner._f
    with torch.no_grad():
        rng = stream(3, "adamixup", 0)
        rows = rng.choice(20, 16, replace=False)
        i, unseen = rows[:8], rows[8:]
        j = (i + rng.integers(1, 20, size=8)) % 20
        lam = torch.from_numpy(1 / 3 + rng.random(8, dtype=np.float32) / 3).unsqueeze(1)  # alpha = Delta = 1/3
        x, y = torch.from_numpy(train.x), torch.from_numpy((train.y - train.y.mean(0)) / train.y.std(0))
        mixed, label = lam * x[i] + (1 - lam) * x[j], lam * y[i] + (1 - lam) * y[j]
        real = torch.sigmoid(torch.cat([f(x[i])[1], f(x[unseen])[1]]))
        intrusion = -0.5 * (real.log().mean() + (1 - torch.sigmoid(f(mixed)[1])).log().mean())
        errors = functional.mse_loss(f(x[i])[0], y[i]) + functional.mse_loss(f(mixed)[0], label)
    first = run(learner)[0]
    assert first["intrusion"] == pytest.approx(float(intrusion), rel=1e-4)
    assert first["loss"] == pytest.approx(float(errors + intrusion), rel=1e-4)


def test_every_network_learns():
    learner = RegionLearner(line(20), 0, SMALL)
    before = [p.clone() for m in (learner.network, learner._f) for p in m.parameters()]
    run(learner)
    after = [p for m in (learner.network, learner._f) for p in m.parameters()]
    assert all((a != b).any() for a, b in zip(after, before, strict=True))


def test_equal_seeds_learn_equal_bits_whatever_the_thread_count():
    learners = [RegionLearner(line(20), seed, SMALL) for seed in (1, 1, 2)]
    threads = torch.get_num_threads()
    try:
        for count, learner in zip((1, 2, 1), learners, strict=True):
            torch.set_num_threads(count)
            run(learner)
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    first, again, other = ([p.detach() for p in learner.network.parameters()] for learner in learners)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_it_leaves_the_global_generator_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(RegionLearner(line(20), 0, SMALL))
    assert torch.equal(torch.rand(3), expected)


def test_lambda_keeps_out_of_where_rows_would_be_taken_for_real_ones():
    # Rows at -1, 0 and 1 with labels 1, 0 and 1: halfway between -1 and 1 a mixed row of label 1 stands among the rows
    # at 0, whose label is 0. The region of these pairs must not hold 1/2.
    x = np.tile([-1.0, 0.0, 1.0], 30) + np.random.default_rng(0).normal(0, 0.02, 90)
    train = examples(x, np.abs(np.round(x)))
    ends = np.flatnonzero(np.abs(x) > 0.5)

    def opposite(rows, rng):
        return np.where(x[rows] < 0, 2, 0) + 3 * rng.integers(30, size=len(rows))

    settings = RegionSettings(steps=400, batch_size=30, learning_rate=3e-3, hidden=(32,))
    learner = RegionLearner(train, 0, settings, opposite)
    untrained = RegionShares(learner.network).region(train, ends, ends)[0]
    np.testing.assert_allclose(untrained, 1 / 3, rtol=1e-6)
    run(learner)
    i = ends[:40]
    j = np.where(x[i] < 0, 2, 0)
    alpha, delta = RegionShares(learner.network).region(train, i, j)
    assert (np.abs(alpha + delta / 2 - 0.5) > 0.15).mean() > 0.9
    assert ((alpha > 0.5) | (alpha + delta < 0.5)).mean() > 0.9


def test_partners_that_are_given_are_taken():
    asked = []

    def next_one(rows, rng):
        asked.append(rows)
        return (rows + 1) % 20

    run(RegionLearner(line(20), 0, SMALL, next_one))
    assert [len(rows) for rows in asked] == [8] * 4


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_examples_make_small_batches(n):
    figures = run(RegionLearner(line(n), 0, SMALL))
    assert all(np.isfinite(f["loss"]) for f in figures)


def test_one_example_cannot_be_mixed():
    with pytest.raises(ParameterError, match="mixes two examples"):
        RegionLearner(line(1), 0, SMALL)


def test_equal_labels_are_no_division_by_zero():
    train = examples(np.arange(6.0), np.full(6, 3.0))
    assert all(np.isfinite(f["loss"]) for f in run(RegionLearner(train, 0, SMALL)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", -1), ("batch_size", 0), ("learning_rate", 0.0), ("hidden", ()), ("hidden", (0,)), ("hidden", 8)],
)
def test_settings_out_of_range_are_told(name, value):
    with pytest.raises(ParameterError, match=f"'{name}' parameter of adamixup"):
        RegionLearner(line(6), 0, RegionSettings(**{name: value}))
