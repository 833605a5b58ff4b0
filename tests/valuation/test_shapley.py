"""Data Shapley, against games whose values are known, and against the sequential algorithm."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from known_games import KNOWN, any_game

from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.metrics import METRICS, discovery_auc
from raydm.predictors import make_predictor
from raydm.seeding import stream
from raydm.testing import SetGame
from raydm.utility import InProcess, Problem
from raydm.valuation.game import Estimate, Game
from raydm.valuation.sampling import noise
from raydm.valuation.shapley import shapley

PLAIN: dict[str, Any] = {"truncation": None, "tolerance": None}


def last(world: SetGame, *, seed: int = 0, shard: int = 16, **settings: Any) -> Estimate:
    *_, estimate = shapley(world.game(seed=seed, shard=shard), **settings)
    assert estimate.share == 1 or settings.get("tolerance", 0.4) is not None
    return estimate


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("name", KNOWN)
def test_values_are_those_on_paper_within_their_errors(name: str, antithetic: bool) -> None:
    known = KNOWN[name]()
    np.testing.assert_allclose(known.world.enumerated()[0], known.shapley, atol=1e-12)
    found = last(known.world, permutations=600, antithetic=antithetic, **PLAIN)
    assert found.standard_errors is not None
    assert (np.abs(found.values - known.shapley) <= 4 * found.standard_errors + 1e-12).all()
    assert (found.standard_errors < 0.1).all()
    assert found.evaluations == 2 + 600 * (len(found.values) - 1)  # v(empty) and v(N) once


@pytest.mark.parametrize("antithetic", [False, True])
@pytest.mark.parametrize("permutations", [1, 5])
def test_they_sum_to_what_all_are_worth(permutations: int, antithetic: bool) -> None:
    world = any_game()
    found = last(world, permutations=permutations, antithetic=antithetic, abreast=3, **PLAIN)
    v = np.asarray(world.rule(np.array([[False] * 8, [True] * 8])))
    assert found.values.sum() == pytest.approx(v[1] - v[0], abs=1e-12)


def test_a_null_player_has_exactly_nothing() -> None:
    world = any_game(7)
    padded = SetGame(8, lambda m: world.rule(m[:, :7]))
    found = last(padded, permutations=20, **PLAIN)
    assert found.values[7] == 0
    assert found.standard_errors is not None
    assert found.standard_errors[7] == 0


@pytest.mark.parametrize("antithetic", [False, True])
def test_the_standard_errors_are_right(antithetic: bool) -> None:
    world = any_game()
    exact = world.enumerated()[0]
    found = [last(world, seed=s, permutations=240, abreast=240, antithetic=antithetic, **PLAIN) for s in range(60)]
    z = np.array([(e.values - exact) / e.standard_errors for e in found])
    assert np.mean(z**2) == pytest.approx(1.02, abs=0.25)  # Student's, of 119 degrees of freedom or more
    assert np.abs(z.mean(0)).max() < 0.5


def test_antithetic_pairs_are_exact_where_worth_is_in_pairs() -> None:
    known = KNOWN["quadratic"]()  # j is before i in just one of the two
    found = last(known.world, permutations=2, **PLAIN)
    np.testing.assert_allclose(found.values, known.shapley, atol=1e-12)


def test_permutations_are_rounded_up_to_pairs() -> None:
    world = any_game()
    assert last(world, permutations=5, abreast=3, **PLAIN).evaluations == 2 + 6 * 7
    assert last(world, permutations=5, abreast=3, antithetic=False, **PLAIN).evaluations == 2 + 5 * 7


def one_after_the_other(world: SetGame, orders: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
    """Ghorbani, Zou 2019, algorithm 1, as it is written."""
    n = orders.shape[1]
    v = lambda members: float(np.asarray(world.rule(members[None]), dtype=float)[0])
    empty, full = v(np.zeros(n, bool)), v(np.ones(n, bool))
    total, evaluations = np.zeros(n), 2
    for order in orders:
        members, before = np.zeros(n, bool), empty
        for i in order:
            members[i] = True
            if abs(full - before) < tolerance:
                now = before
            else:
                now = full if members.all() else v(members)
                evaluations += not members.all()
            total[i] += now - before
            before = now
    return total / len(orders), evaluations


@pytest.mark.parametrize("shard", [1, 3, 16])
def test_truncation_is_that_of_the_sequential_algorithm(shard: int) -> None:
    n = 12
    rule = any_game(n, seed=5).rule
    world = SetGame(n, lambda m: np.minimum(rule(m), 3))
    found = last(world, shard=shard, permutations=10, truncation=0.1, tolerance=None, antithetic=False, abreast=4)
    orders = np.stack([stream(0, "shapley", d).permutation(n) for d in range(10)])
    ends = np.asarray(world.rule(np.array([[False] * n, [True] * n])))
    expected, evaluations = one_after_the_other(world, orders, 0.1 * abs(ends[1] - ends[0]))
    np.testing.assert_allclose(found.values, expected, atol=1e-12)
    assert evaluations < 2 + 10 * (n - 1)  # something was cut off
    assert evaluations <= found.evaluations <= evaluations + 10 * (shard - 1)


def test_a_truncated_permutation_stops_costing() -> None:
    world = SetGame(200, lambda m: np.minimum(m.sum(1), 20))
    whole, cut = (last(world, permutations=8, truncation=t, tolerance=None) for t in (None, 0.001))
    assert whole.evaluations == 2 + 8 * 199
    assert cut.evaluations == 2 + 8 * 32  # two shards of 16 each
    np.testing.assert_allclose(cut.values, whole.values, atol=1e-12)


def test_it_stops_when_the_noise_is_small() -> None:
    game = KNOWN["airport"]().world.game()
    estimates = list(shapley(game, permutations=100_000, tolerance=0.05))
    shares = [e.share for e in estimates]
    assert estimates[-1].share < 0.5
    assert noise(estimates[-1].values, estimates[-1].standard_errors) <= 0.05
    assert shares == sorted(shares)
    assert np.isnan(estimates[0].values).all()  # nothing is known before the first round is over


def test_who_stops_asking_stops_the_work() -> None:
    calls: list[int] = []

    def rule(members: np.ndarray) -> np.ndarray:
        calls.append(len(members))
        return members.sum(1)

    estimates = shapley(SetGame(50, rule).game(), permutations=1000)
    next(estimates)
    assert calls == [2, 32 * 16]


def test_the_seed_decides_and_the_shard_does_not() -> None:
    runs = [last(any_game(), seed=s, shard=k, permutations=30).values for s, k in ((0, 16), (0, 3), (1, 16))]
    np.testing.assert_allclose(runs[0], runs[1], atol=1e-12)
    assert (runs[0] != runs[2]).all()


def test_one_player_has_everything() -> None:
    assert last(SetGame(1, lambda m: 7.0 * m[:, 0]), permutations=3).values.tolist() == [7]


def test_flipped_labels_are_worth_less(digits_small: Any) -> None:
    train, valid = digits_small
    y = train.y.copy()
    flipped = np.arange(60) < 12
    y[flipped] = (y[flipped] + 1) % 3
    predictor = make_predictor("logistic", device="cpu")
    problem = Problem(predictor, valid, Task("classification", 3), METRICS["accuracy"], seed=0)
    game = Game(replace(train, y=y), problem, InProcess(problem))
    (*_, plain), (*_, again) = (shapley(game, permutations=64, **PLAIN) for _ in range(2))
    np.testing.assert_array_equal(plain.values, again.values)
    ends = game.worth(np.array([[False] * 60, [True] * 60]), step=0)
    assert plain.values.sum() == pytest.approx(ends[1] - ends[0], abs=1e-9)
    assert discovery_auc(plain.values, flipped) > 0.85


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("permutations", 0), ("permutations", 1.5), ("truncation", -0.1), ("truncation", "0.1"), ("tolerance", -1),
        ("tolerance", np.inf), ("abreast", 0),
    ],
)  # fmt: skip
def test_a_setting_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"'{name}' parameter of shapley must be"):
        next(shapley(KNOWN["gloves"]().world.game(), **{name: value}))
