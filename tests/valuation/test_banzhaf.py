"""Data Banzhaf by maximum sample reuse, against games whose values are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from known_games import KNOWN, any_game

from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.metrics import METRICS, discovery_auc
from raydm.predictors import make_predictor
from raydm.testing import SetGame
from raydm.utility import InProcess, Problem
from raydm.valuation.banzhaf import banzhaf
from raydm.valuation.game import Game
from raydm.valuation.sampling import noise


@pytest.mark.parametrize("name", KNOWN)
def test_values_are_those_on_paper_within_their_errors(name: str) -> None:
    known = KNOWN[name]()
    np.testing.assert_allclose(known.world.enumerated()[1], known.banzhaf, atol=1e-12)
    *_, last = banzhaf(known.world.game(), subsets=4000, tolerance=None)
    assert last.evaluations == 4000
    assert last.share == 1
    assert last.standard_errors is not None
    assert (np.abs(last.values - known.banzhaf) <= 4 * last.standard_errors).all()
    assert (last.standard_errors < 0.15).all()


def test_the_standard_errors_are_right() -> None:
    world = any_game()
    exact = world.enumerated()[1]
    z = []
    for seed in range(100):
        *_, last = banzhaf(world.game(seed=seed), subsets=200, tolerance=None)
        z.append((last.values - exact) / last.standard_errors)
    assert np.mean(np.square(z)) == pytest.approx(1, abs=0.25)
    assert abs(np.mean(z)) < 0.2


def test_values_are_means_with_less_means_without() -> None:
    seen: list[np.ndarray] = []

    def rule(members: np.ndarray) -> np.ndarray:
        seen.append(members)
        return 1e6 + np.sqrt(members.sum(1))  # the errors must not lose their digits

    *_, last = banzhaf(SetGame(6, rule).game(), subsets=50, tolerance=None, chunk=7)
    members = np.concatenate(seen)
    v = np.sqrt(members.sum(1))
    assert (members[1] == ~members[0]).all()
    assert [len(m) for m in seen] == [7] * 7 + [1]
    for i in range(6):
        w, wo = v[members[:, i]], v[~members[:, i]]
        assert last.values[i] == pytest.approx(w.mean() - wo.mean(), rel=1e-6)
        expected = np.sqrt(w.var(ddof=1) / len(w) + wo.var(ddof=1) / len(wo))
        assert last.standard_errors[i] == pytest.approx(expected, rel=1e-6)  # type: ignore[index]


def test_two_subsets_already_tell_all_values() -> None:
    *_, last = banzhaf(KNOWN["quadratic"]().world.game(), subsets=2)
    assert np.isfinite(last.values).all()
    assert np.isnan(last.standard_errors).all()  # type: ignore[arg-type]


def test_it_stops_when_the_noise_is_small() -> None:
    game = KNOWN["quadratic"]().world.game()
    estimates = list(banzhaf(game, subsets=100_000, tolerance=0.1, chunk=100))
    noises = [noise(e.values, e.standard_errors) for e in estimates]
    assert noises[-1] <= 0.1 < min(noises[:-1])
    assert estimates[-1].share == estimates[-1].evaluations / 100_000 < 0.5


def test_the_seed_decides() -> None:
    world = KNOWN["quadratic"]().world
    runs = [list(banzhaf(world.game(seed=s), subsets=100))[-1].values for s in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).all()


def test_flipped_labels_are_worth_less(digits_small: Any) -> None:
    train, valid = digits_small
    y = train.y.copy()
    flipped = np.arange(60) < 12
    y[flipped] = (y[flipped] + 1) % 3
    problem = Problem(
        make_predictor("logistic", device="cpu"), valid, Task("classification", 3), METRICS["log-likelihood"], seed=0
    )
    game = Game(type(train)(train.x, y, train.ids), problem, InProcess(problem))
    *_, last = banzhaf(game, subsets=800)
    assert discovery_auc(last.values, flipped) > 0.9


@pytest.mark.parametrize(
    ("name", "value"), [("subsets", 1), ("subsets", 2.0), ("chunk", 0), ("tolerance", -0.1), ("tolerance", np.nan)]
)
def test_a_setting_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"'{name}' parameter of banzhaf must be"):
        next(banzhaf(KNOWN["gloves"]().world.game(), **{name: value}))
