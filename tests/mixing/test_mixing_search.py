"""The search for a setting: its utilities against plain trainings, stacks, and Bayesian optimisation."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from mixing_kit import QUICK, kink, line, problem
from sklearn.linear_model import LinearRegression

from raydm.errors import MissingPackageError
from raydm.mixing import search
from raydm.mixing.methods import make_mixing
from raydm.mixing.mixer import Mixer
from raydm.mixing.options import Options
from raydm.mixing.partners import SameNeighbors
from raydm.mixing.search import BayesSettings, Judge, try_all, try_some
from raydm.mixing.shares import FixedShares
from raydm.utility import InProcess

MANY = Options(tuple(range(1, 13)), tuple(range(1, 13)))


def pairs_of(train):
    return lambda c: Mixer(SameNeighbors(c["distance"], c["k"]), FixedShares(0.5)).pairs(train, 0)


def judge_of(train, given, pairs=None):
    return Judge(train, given, InProcess(given), 1, pairs or pairs_of(train))


CANDIDATES = [{"distance": d, "k": k} for d, k in Options((1, 3), (2,)).each]


def test_utilities_are_those_of_plain_trainings():
    train, valid = kink()
    judge = judge_of(train, problem(valid, "sklearn.linear_model.LinearRegression"))
    assert len(list(try_all(judge, CANDIDATES))) == 1
    assert judge.tried.candidates == CANDIDATES
    for candidate, rows, u in zip(CANDIDATES, judge.tried.mixed_rows, judge.tried.u, strict=True):
        mixed = pairs_of(train)(candidate).rows(train)
        x, y = np.concatenate([train.x, mixed.x]), np.concatenate([train.y, mixed.y])
        said = LinearRegression().fit(x, y).predict(valid.x)
        assert u == pytest.approx(-np.sqrt(np.mean((said - valid.y) ** 2)), rel=1e-4)
        assert rows == len(mixed)
    assert judge.tried.best == CANDIDATES[int(np.argmax(judge.tried.u))]


def test_stacks_hold_what_fits_and_change_no_utility(monkeypatch):
    train, valid = kink()
    whole, cut = (judge_of(train, problem(valid, "sklearn.linear_model.LinearRegression")) for _ in range(2))
    list(try_all(whole, CANDIDATES))
    monkeypatch.setattr(search, "_BYTES", 8 * 80)  # x and y of 80 rows
    progress = list(try_all(cut, CANDIDATES))
    assert len(progress) == 2  # of 19 and 39 rows, then one of 27
    assert [p.figures["tried"] for p in progress] == [2.0, 3.0]
    assert cut.tried.u == pytest.approx(whole.tried.u, rel=1e-5)
    assert cut.tried.mixed_rows == whole.tried.mixed_rows


def test_trainings_are_repeated_from_seeds_that_candidates_share():
    train, valid = kink()
    given = replace(problem(valid, "mlp", hidden=[4], steps=5, batch_size=8), shared_restart=False)
    judge = Judge(train, given, InProcess(given), 3, pairs_of(train))
    list(try_all(judge, [CANDIDATES[0], CANDIDATES[0]]))
    assert judge.tried.u[0] == pytest.approx(judge.tried.u[1], rel=1e-6)


def test_bayes_finds_the_best_of_many_with_fewer_trainings():
    pytest.importorskip("optuna")
    train = line(40)
    # A world without training: the utility of an option is known, best at 9 by label
    judge = judge_of(train, problem(line(9, seed=1)))
    judge.score = lambda pairs, these: _known(judge, these)
    counts = {"data": tuple(range(1, 65)), "label": tuple(range(1, 65))}
    progress = list(try_some(judge, counts, BayesSettings(trials=40, batch=8)))
    assert [p.t for p in progress] == [0, 1, 2, 3, 4]
    assert len(judge.tried.u) <= 40 < 128
    assert judge.tried.best["distance"] == "label"
    assert abs(judge.tried.best["k"] - 9) <= 1
    assert len({(c["distance"], c["k"]) for c in judge.tried.candidates}) == len(judge.tried.u)  # none twice


def _known(judge, candidates):
    judge.tried.candidates += candidates
    judge.tried.mixed_rows += [1] * len(candidates)
    judge.tried.u += [-abs(np.log(c["k"] / 9)) - (c["distance"] == "data") for c in candidates]


def test_bayes_is_repeatable_and_quiet(capsys):
    optuna = pytest.importorskip("optuna")
    level = optuna.logging.get_verbosity()
    settings = replace(QUICK, options=MANY)
    params = {"search": "bayes", "trials": 7, "batch": 3}
    made = []
    for _ in range(2):
        mixing = make_mixing("global-knn", params, settings, line(24), problem(line(9, seed=1)))
        assert len(list(mixing.steps())) == mixing.total == 3
        made.append((mixing.chosen, mixing.candidates))
    assert made[0] == made[1]
    assert 1 <= len(made[0][1]) <= 7
    assert optuna.logging.get_verbosity() == level
    assert capsys.readouterr().err == ""


def test_bayes_takes_one_distance_alone():
    pytest.importorskip("optuna")
    params = {"search": "bayes", "trials": 4, "batch": 2, "distance": "label"}
    mixing = make_mixing("global-knn", params, QUICK, line(24), problem(line(9, seed=1)))
    list(mixing.steps())
    assert {c["distance"] for c in mixing.candidates} == {"label"}


def test_without_optuna_it_is_told_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    mixing = make_mixing("global-knn", {"search": "bayes"}, QUICK, line(24), problem(line(9, seed=1)))
    with pytest.raises(MissingPackageError, match=r"search='bayes' needs the package 'optuna'.*raydm\[tune\]"):
        list(mixing.steps())
