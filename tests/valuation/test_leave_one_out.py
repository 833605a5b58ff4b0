"""Leave-one-out: exact, whatever the chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from known_games import KNOWN

from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.metrics import METRICS
from raydm.predictors import TrainingSets, make_predictor
from raydm.utility import InProcess, Problem
from raydm.valuation.game import Game
from raydm.valuation.leave_one_out import leave_one_out


@pytest.mark.parametrize("chunk", [1, 2, 256])
@pytest.mark.parametrize("name", KNOWN)
def test_values_are_those_on_paper(name: str, chunk: int) -> None:
    known = KNOWN[name]()
    *_, last = leave_one_out(known.world.game(), chunk=chunk)
    np.testing.assert_allclose(last.values, known.leave_one_out, rtol=0, atol=1e-12)
    assert last.standard_errors is None
    assert last.share == 1


def test_each_chunk_tells_the_values_of_its_examples() -> None:
    known = KNOWN["airport"]()
    estimates = list(leave_one_out(known.world.game(), chunk=2))
    assert [e.evaluations for e in estimates] == [2, 4, 5]
    assert [int(np.isfinite(e.values).sum()) for e in estimates] == [1, 3, 4]
    for e in estimates:
        told = np.isfinite(e.values)
        np.testing.assert_allclose(e.values[told], known.leave_one_out[told], atol=1e-12)


def test_on_trained_predictors(digits_small: Any) -> None:
    train, valid = digits_small
    task, predictor = Task("classification", 3), make_predictor("logistic", device="cpu")
    problem = Problem(predictor, valid, task, METRICS["log-likelihood"], seed=0)
    *_, last = leave_one_out(Game(train, problem, InProcess(problem)))
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)

    def by_hand(w: torch.Tensor) -> float:
        p = predictor.fit_predict(TrainingSets(x, y, w[None], task), torch.from_numpy(valid.x), seed=np.zeros(1, int))
        return float(problem.metric.utility(p, torch.from_numpy(valid.y)))

    for i in (0, 31, 59):
        without = torch.ones(60)
        without[i] = 0
        assert last.values[i] == pytest.approx(by_hand(torch.ones(60)) - by_hand(without), abs=1e-6)


@pytest.mark.parametrize("chunk", [0, 1.5, True, None])
def test_a_chunk_out_of_range_is_named(chunk: Any) -> None:
    with pytest.raises(ParameterError, match=r"'chunk' parameter of leave_one_out must be an integer >= 1. Got"):
        next(leave_one_out(KNOWN["gloves"]().world.game(), chunk=chunk))
