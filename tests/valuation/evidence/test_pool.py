"""The pool, in worlds whose noise is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from raydm.data.task import Task
from raydm.valuation.evidence.pool import Pool, fit_pool

CLASSES, TARGETS = Task("classification", 4), Task("regression", 1)
N, M = 3000, 600


def drawn(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A class by each row's probabilities (Q, C)."""
    return (rng.random((len(p), 1)) > p.cumsum(1)).sum(1).clip(max=p.shape[1] - 1)


def world(rates: tuple[float, float], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities (Q, 4) that are those of the truth, labels of which shares are wrong, which are, and trusted rows.

    N training rows, then M trusted ones.
    """
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(4, 0.3), N + M)
    truth, trusted = drawn(p, rng), np.arange(N + M) >= N
    wrong = rng.random(N + M) < np.where(trusted, rates[1], rates[0])
    y = np.where(wrong, (truth + rng.integers(1, 4, N + M)) % 4, truth)
    return p, y, wrong, trusted


def fit(p: np.ndarray, y: np.ndarray, trusted: np.ndarray, task: Task = CLASSES) -> Pool:
    """Of predictions (E, Q, C)."""
    return fit_pool(torch.from_numpy(p), torch.from_numpy(y), torch.from_numpy(trusted), task)


@pytest.mark.parametrize("rates", [(0.2, 0.0), (0.4, 0.1), (0.0, 0.0), (0.05, 0.3)])
def test_it_finds_the_shares_of_wrong_labels(rates: tuple[float, float]) -> None:
    p, y, wrong, trusted = world(rates)
    pool = fit(p[None], y, trusted)
    assert pool.rates[0] == pytest.approx(wrong[:N].mean(), abs=0.03)
    assert pool.rates[1] == pytest.approx(wrong[N:].mean(), abs=0.05)
    assert pool.weights[0] == pytest.approx(1, abs=0.15)  # the source is right about itself


def test_its_log_odds_are_how_often_labels_are_right() -> None:
    p, y, wrong, trusted = world((0.3, 0.0))
    odds = fit(p[None], y, trusted).log_odds(torch.from_numpy(p)[None], torch.from_numpy(y))[:N]
    said = odds.sigmoid().numpy()
    for low, high in ((0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 0.95), (0.95, 1.0)):
        inside = (said >= low) & (said < high)
        assert inside.sum() > 50
        assert (~wrong[:N][inside]).mean() == pytest.approx(said[inside].mean(), abs=0.06)


def test_log_odds_by_bayes_by_hand() -> None:
    # A label is right with .8, and then it is y with p(y); or it is wrong, and then y with (1 - p(y)) / (C - 1).
    pool = Pool(CLASSES, (1.0,), (0.2, 0.01))
    p = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)
    y = torch.tensor([0, 3])
    own = 0.99 * np.array([0.7, 0.25]) + 0.01 / 4  # no source rules a class out alone
    expected = np.log(own * 0.8 / ((1 - own) / 3 * 0.2))
    np.testing.assert_allclose(pool.log_odds(p[None], y), expected)
    trusted = np.log(own * 0.99 / ((1 - own) / 3 * 0.01))
    np.testing.assert_allclose(pool.log_odds(p[None], y, trusted=True), trusted)


def test_a_product_of_experts_by_hand() -> None:
    pool = Pool(Task("classification", 2), (1.0, 0.5), (0.5, 0.5))
    p = torch.tensor([[[0.9, 0.1]], [[0.2, 0.8]]], dtype=torch.float64)
    a, b = (0.99 * np.array(q) + 0.005 for q in ([0.9, 0.1], [0.2, 0.8]))
    expected = math.log(a[0] / a[1]) + 0.5 * math.log(b[0] / b[1])
    assert pool.log_odds(p, torch.tensor([0])).item() == pytest.approx(expected)
    assert pool.log_odds(p, torch.tensor([1])).item() == pytest.approx(-expected)


@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=lambda t: t.kind)
def test_the_weight_goes_to_the_source_that_knows(task: Task) -> None:
    rng = np.random.default_rng(1)
    if task == CLASSES:
        p, y, _, trusted = world((0.3, 0.0))
        sources = np.stack([p, rng.dirichlet(np.ones(4), N + M)])
    else:
        f, trusted = rng.normal(size=N + M), np.arange(N + M) >= N
        y = np.where(rng.random(N + M) < 0.3 * ~trusted, rng.normal(size=N + M), f + 0.1 * rng.normal(size=N + M))
        sources = np.stack([f, rng.normal(size=N + M), np.zeros(N + M)])[..., None]
    pool = fit(sources, y, trusted, task)
    assert pool.weights[0] > 5 * max(pool.weights[1:])
    assert min(pool.weights) >= 0


def test_two_sources_that_know_different_things_are_better_than_one() -> None:
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(2, N + M, 4))
    p = np.exp(logits.sum(0))
    truth, trusted = drawn(p / p.sum(1, keepdims=True), rng), np.arange(N + M) >= N
    y = np.where((rng.random(N + M) < 0.2) & ~trusted, (truth + rng.integers(1, 4, N + M)) % 4, truth)
    each = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)

    def area(sources: np.ndarray) -> float:
        odds = fit(sources, y, trusted).log_odds(torch.from_numpy(sources), torch.from_numpy(y))[:N].numpy()
        right = y[:N] == truth[:N]
        return float((odds[right][:, None] > odds[~right]).mean())

    assert area(each) > max(area(each[:1]), area(each[1:])) + 0.02


# Targets


def targets(share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A prediction (Q,), targets about it with deviation .2 of which a share is drawn from all, which are, trusted."""
    rng = np.random.default_rng(seed)
    f, trusted = rng.normal(3, 1, N + M), np.arange(N + M) >= N
    wrong = (rng.random(N + M) < share) & ~trusted
    y = f + 0.2 * rng.normal(size=N + M)
    y[wrong] = rng.permutation(y)[wrong]
    return f, y.astype(np.float32), wrong, trusted


def test_it_finds_the_share_and_the_spread_of_contaminated_targets() -> None:
    f, y, wrong, trusted = targets(0.25)
    pool = fit(f[None, :, None], y, trusted, TARGETS)
    assert pool.rates == pytest.approx((0.25, 0.0), abs=0.03)
    assert pool.spread == pytest.approx(0.2, rel=0.1)
    assert pool.weights == (1.0,)
    assert pool.marginal == pytest.approx((y[:N].mean(), y[:N].std()), rel=1e-4)
    odds = pool.log_odds(torch.from_numpy(f)[None, :, None], torch.from_numpy(y))[:N].numpy()
    called = odds < 0
    assert (called & wrong[:N]).sum() / called.sum() > 0.9
    assert (called & wrong[:N]).sum() / wrong[:N].sum() > 0.7  # some wrong ones fall near the prediction


def test_log_odds_of_targets_by_hand() -> None:
    pool = Pool(TARGETS, (0.5, 0.5), (0.2, 0.01), spread=0.5, marginal=(1.0, 2.0))
    p = torch.tensor([[[1.0]], [[3.0]]])  # their mean is 2
    right = math.exp(-0.5 * (0.3 / 0.5) ** 2) / 0.5
    wrong = math.exp(-0.5 * (1.3 / 2.0) ** 2) / 2.0
    odds = pool.log_odds(p, torch.tensor([2.3]))
    assert odds.item() == pytest.approx(math.log(0.8 * right / (0.2 * wrong)), rel=1e-5)


@pytest.mark.parametrize("n", [20, 5000])
def test_targets_that_are_predicted_exactly_leave_log_odds_finite(n: int) -> None:
    y = np.where(np.arange(n) % 2 == 0, 0.0, 1.5).astype(np.float32)
    p = np.stack([y, np.zeros(n)])[..., None].astype(np.float64)
    pool = fit(p, y, np.arange(n) >= 0.8 * n, TARGETS)
    assert pool.spread > 0
    odds = pool.log_odds(torch.from_numpy(p), torch.from_numpy(np.append(y[1:], y[0])))  # all wrong, now
    assert torch.isfinite(odds).all()
    assert (odds < 0).all()
    assert (pool.log_odds(torch.from_numpy(p), torch.from_numpy(y)) > 0).all()


def test_targets_that_are_all_equal() -> None:
    y = np.full(30, 7.0, np.float32)
    pool = fit(np.full((1, 30, 1), 7.0), y, np.arange(30) > 20, TARGETS)
    assert math.isfinite(pool.spread)
    assert pool.marginal == (7.0, 1.0)
    assert torch.isfinite(pool.log_odds(torch.full((1, 30, 1), 7.0), torch.from_numpy(y))).all()


# Edges


def test_trusted_labels_are_doubted_less() -> None:
    p, y, _, trusted = world((0.3, 0.0))
    pool = fit(p[None], y, trusted)
    gap = pool.log_odds(torch.from_numpy(p)[None], torch.from_numpy(y), trusted=True) - pool.log_odds(
        torch.from_numpy(p)[None], torch.from_numpy(y)
    )

    def logit(rate: float) -> float:
        return math.log(rate / (1 - rate))

    inside = gap[(gap > 0.1)]
    expected = logit(pool.rates[0]) - logit(max(pool.rates[1], 1e-3))
    torch.testing.assert_close(inside.median(), torch.tensor(expected, dtype=torch.float64))


def test_log_odds_end_at_30() -> None:
    pool = Pool(CLASSES, (50.0,), (0.2, 0.2))
    p = torch.eye(4, dtype=torch.float64)[None]
    assert pool.log_odds(p, torch.arange(4)).tolist() == [30.0] * 4
    assert pool.log_odds(p, (torch.arange(4) + 1) % 4).tolist() == [-30.0] * 4
    assert Pool(CLASSES, (0.0,), (0.0, 1.0)).log_odds(p, torch.arange(4), trusted=True).tolist() == pytest.approx(
        [math.log(0.001 / 0.999)] * 4
    )


def test_one_class_has_no_wrong_labels_to_tell() -> None:
    only = Task("classification", 1)
    p, y = np.ones((2, 10, 1)), np.zeros(10, np.int64)
    pool = fit(p, y, np.arange(10) > 6, only)
    odds = pool.log_odds(torch.from_numpy(p), torch.from_numpy(y))
    assert torch.isfinite(odds).all()
    assert len(odds.unique()) == 1


def test_equal_sources_have_equal_weights_and_equal_rows_equal_log_odds() -> None:
    p, y, _, trusted = world((0.2, 0.0))
    p, y = np.concatenate([p, p[:50]]), np.concatenate([y, y[:50]])
    pool = fit(np.stack([p, p]), y, np.append(trusted, np.zeros(50, bool)))
    assert pool.weights[0] == pytest.approx(pool.weights[1], rel=1e-6)
    odds = pool.log_odds(torch.from_numpy(np.stack([p, p])), torch.from_numpy(y))
    assert torch.equal(odds[:50], odds[-50:])


@pytest.mark.parametrize("m", [0, 1])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_rows_are_enough(n: int, m: int) -> None:
    p = np.full((2, n + m, 4), 0.25)
    y = np.arange(n + m) % 4
    pool = fit(p, y, np.arange(n + m) >= n)
    assert all(math.isfinite(v) for v in (*pool.weights, *pool.rates))
    assert torch.isfinite(pool.log_odds(torch.from_numpy(p), torch.from_numpy(y))).all()


def test_sources_that_know_nothing_do_not_call_labels_wrong() -> None:
    """A prior of no flips: where nothing can be told, labels are taken as they are."""
    y = np.arange(400) % 4
    pool = fit(np.full((1, 400, 4), 0.25), y, np.arange(400) >= 350)
    assert pool.rates[0] < 0.5
    assert (pool.log_odds(torch.full((1, 400, 4), 0.25), torch.from_numpy(y)) > 0).all()


def test_the_bits_do_not_depend_on_the_threads() -> None:
    p, y, _, trusted = world((0.3, 0.0))
    found: list[Tensor] = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            pool = Pool(CLASSES, (1.3,), (0.2, 0.1))
            found.append(pool.log_odds(torch.from_numpy(np.tile(p, (5, 1)))[None], torch.from_numpy(np.tile(y, 5))))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
    assert trusted.any()
