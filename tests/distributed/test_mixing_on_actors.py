"""Mixing on actors: the same bits as in one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.distributed import RayUtility
from raydm.metrics import METRICS
from raydm.mixing.methods import make_mixing
from raydm.mixing.options import Options
from raydm.mixing.settings import MixSettings
from raydm.predictors import make_predictor
from raydm.utility import InProcess, Problem, Utility


@pytest.mark.parametrize(("method", "params"), [("mixrl", {}), ("c-mixup", {})])
def test_the_pairs_are_those_of_one_process(
    pools: dict[int, RayUtility], monkeypatch: pytest.MonkeyPatch, method: str, params: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    y = np.abs(x[:, 0])
    train, valid = Examples(x[:30], y[:30], np.arange(30)), Examples(x[30:], y[30:], np.arange(10))
    predictor = make_predictor("mlp", hidden=[8], steps=10, batch_size=8)
    problem = Problem(predictor, valid, Task("regression", 1), METRICS["rmse"], 0, shard=3)
    settings = MixSettings(options=Options((1, 2), (1,)), lam=None, steps=2, rollouts=4, repeats=2)
    monkeypatch.setattr(pools[4], "close", lambda: None)  # other tests go on with them

    def on_actors(problem: Problem) -> Utility:
        pools[4].turn_to(problem)
        return pools[4]

    made = []
    for where in (InProcess, on_actors):
        mixing = make_mixing(method, params, settings, train, problem, where)
        list(mixing.steps())
        made.append(mixing)
    here, there = made
    assert there.candidates == here.candidates
    for name in ("i", "j", "lam", "kind"):
        np.testing.assert_array_equal(getattr(there.pairs(), name), getattr(here.pairs(), name))
