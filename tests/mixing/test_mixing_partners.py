"""Who is mixed with whom, against the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from mixing_kit import examples, line
from scipy import stats

from raydm.mixing.partners import KernelPartners, NoPartners, RandomPartners, SameNeighbors, spread

LABELS = np.array([0.0, 0.3, 0.5, 2.0, 9.0])
DRAWS = 20_000


def kernel(y, bandwidth):
    """P(j | i) by the definition of C-Mixup."""
    y = np.asarray(y, float).reshape(len(y), -1) / bandwidth
    p = np.exp(-0.5 * ((y[:, None] - y[None]) ** 2).sum(-1))
    return p / p.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("y", "bandwidth"),
    [(LABELS, [0.5]), (LABELS, [3.0]), (np.stack([LABELS, 100 * LABELS[::-1]], 1), [1.0, 200.0])],
    ids=["narrow", "wide", "two targets"],
)
def test_c_mixup_s_partners_have_the_kernel_s_probabilities(y, bandwidth):
    couples = KernelPartners(np.array(bandwidth), DRAWS).of(examples(np.zeros(5), y), 0)
    for i, p in enumerate(kernel(y, np.array(bandwidth))):
        seen = np.bincount(couples.j[couples.i == i], minlength=5)
        seen[i] = DRAWS - seen.sum()  # what hit itself made no couple
        likely = p * DRAWS > 5
        assert seen[~likely].sum() <= 30
        expected = np.append(p[likely], p[~likely].sum() + 1e-9) * DRAWS
        observed = np.append(seen[likely], seen[~likely].sum())
        assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 0.001


def test_c_mixup_s_draws_do_not_depend_on_the_memory():
    world = line(50)
    whole = KernelPartners(np.array([0.4]), 3).of(world, 7)
    for memory in (1, 24 * 50 * 7):
        couples = KernelPartners(np.array([0.4]), 3, memory).of(world, 7)
        for name in ("i", "j", "draw"):
            np.testing.assert_array_equal(getattr(couples, name), getattr(whole, name))


def test_a_narrow_kernel_mixes_nobody_and_a_wide_one_anybody():
    world = line(40)
    assert len(KernelPartners(np.array([1e-9]), 4).of(world, 0).i) == 0
    wide = KernelPartners(np.array([1e9]), 400).of(world, 0)
    assert len(wide.i) == pytest.approx(40 * 400 * 39 / 40, rel=0.01)
    assert stats.chisquare(np.bincount(wide.j, minlength=40)).pvalue > 0.001


def test_random_partners_are_any_other():
    couples = RandomPartners(2000).of(line(5), 1)
    assert (couples.i != couples.j).all()
    for i in range(5):
        seen = np.bincount(couples.j[couples.i == i], minlength=5)
        assert seen.sum() == 2000
        assert stats.chisquare(np.delete(seen, i)).pvalue > 0.001


def test_same_neighbours():
    couples = SameNeighbors("label", 2).of(examples(np.zeros(4), [0.0, 9.0, 5.0, -6.0]), 0)
    assert couples.i.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert couples.j.tolist() == [2, 3, 2, 0, 1, 0, 0, 2]
    assert set(couples.kind) == {"label"}


@pytest.mark.parametrize("distance", ["data", "label"])
def test_few_examples_have_few_neighbours(distance):
    world = line(4)
    assert len(SameNeighbors(distance, 16).of(world, 0).i) == 4 * 3
    assert len(SameNeighbors(distance, 16).of(world.take([2]), 0).i) == 0


@pytest.mark.parametrize(
    "partners",
    [NoPartners(), RandomPartners(3), KernelPartners(np.array([1.0]), 3), SameNeighbors("data", 2)],
    ids=lambda p: type(p).__name__,
)
@pytest.mark.parametrize("n", [0, 1])
def test_who_is_alone_has_none(partners, n):
    assert len(partners.of(line(9).take(np.arange(n)), 0).i) == 0


def test_the_spread_of_labels():
    np.testing.assert_allclose(spread(np.array([[1.0, 5.0], [3.0, 5.0]])), [1.0, 1.0])
    np.testing.assert_allclose(spread(np.array([0.0, 4.0])), [2.0])
