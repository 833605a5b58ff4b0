"""Lambda: its distribution, and that it is a pair's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mixing_kit import line
from scipy import stats

from raydm.mixing.pairs import Pairs
from raydm.mixing.region import RegionShares
from raydm.mixing.shares import BetaShares, FixedShares
from raydm.networks import PolicyRegion

N = 60


def region(seed=0):
    torch.manual_seed(seed)
    network = PolicyRegion(2, hidden=[8])
    torch.nn.init.normal_(network.layers[-1].weight, std=2.0)
    return RegionShares(network)


def some(count=400, seed=0):
    rng = np.random.default_rng(seed)
    i = rng.integers(N, size=count)
    return i, (i + rng.integers(1, N, size=count)) % N


def test_fixed():
    assert FixedShares(0.7).of(line(3), np.array([0, 2]), np.array([1, 0]), 0).tolist() == [0.7, 0.7]


@pytest.mark.parametrize("alpha", [0.1, 0.4, 1.0, 2.0, 20.0])
def test_lambdas_of_lower_rows_are_beta_distributed(alpha):
    i = np.repeat(np.arange(100), 50)
    lam = BetaShares(alpha).of(line(3), i, i + 1 + np.tile(np.arange(50), 100), 5)
    assert ((lam >= 0) & (lam <= 1)).all()
    inside = (lam > 1e-6) & (lam < 1 - 1e-6)  # at .1 some are rounded to a parent
    cut = stats.beta(alpha, alpha).cdf([1e-6, 1 - 1e-6])
    assert inside.mean() == pytest.approx(cut[1] - cut[0], abs=0.03)
    levels = (stats.beta(alpha, alpha).cdf(lam[inside]) - cut[0]) / (cut[1] - cut[0])
    assert stats.kstest(levels, "uniform").pvalue > 0.01


@pytest.mark.parametrize("shares", [BetaShares(0.5), region()], ids=["beta", "region"])
def test_two_examples_have_one_lambda_whoever_asks(shares):
    world, (i, j) = line(N), some()
    lam = shares.of(world, i, j, 3)
    order = np.random.default_rng(1).permutation(len(i))[:200]
    np.testing.assert_array_equal(shares.of(world, i[order], j[order], 3), lam[order])
    np.testing.assert_array_equal(shares.of(world, j, i, 3), 1 - lam)
    kind = np.full(len(i), "x")
    here, there = (Pairs(*ij, lam, kind) for ij, lam in (((i, j), lam), ((j, i), 1 - lam)))
    np.testing.assert_array_equal(here.rows(world).x, there.rows(world).x)
    np.testing.assert_array_equal(here.rows(world).y, there.rows(world).y)


@pytest.mark.parametrize("shares", [BetaShares(0.5), region()], ids=["beta", "region"])
def test_other_seeds_and_other_draws_are_others(shares):
    world, (i, j) = line(N), some()
    first = shares.of(world, i, j, 3)
    assert (shares.of(world, i, j, 4) != first).mean() > 0.95
    assert (shares.of(world, i, j, 3, np.ones_like(i)) != first).mean() > 0.95
    np.testing.assert_array_equal(shares.of(world, i, j, 3, np.zeros_like(i)), first)


def test_none_are_asked_for():
    none = np.empty(0, np.int64)
    for shares in (FixedShares(), BetaShares(1.0), region()):
        assert shares.of(line(3), none, none, 0).shape == (0,)


def test_a_region_s_lambdas_fill_it_evenly():
    world, shares = line(N), region()
    i, j = np.full(2000, 4), np.full(2000, 9)
    lam = shares.of(world, i, j, 0, np.arange(2000))
    with torch.no_grad():
        alpha, delta = (float(p) for p in shares.network(*torch.from_numpy(world.x[[4, 9]]).unsqueeze(1)))
    assert stats.kstest((lam - alpha) / delta, "uniform").pvalue > 0.01
    assert alpha <= lam.min() < lam.max() <= alpha + delta


def test_an_untrained_region_is_the_middle_third():
    network = PolicyRegion(2)
    alpha, delta = network(torch.randn(5, 2), torch.randn(5, 2))
    torch.testing.assert_close(alpha, torch.full((5,), 1 / 3))
    torch.testing.assert_close(delta, torch.full((5,), 1 / 3))
