"""Data-OOB on actors: the same bits as in one process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from raydm.distributed import RayUtility
from raydm.predictors import make_predictor
from raydm.utility import InProcess, Problem
from raydm.valuation.data_oob import bagged, data_oob
from raydm.valuation.game import Game


@pytest.mark.parametrize("actors", [1, 4])
@pytest.mark.parametrize("predictor", ["logistic", "random-forest"])
def test_the_values_are_those_of_one_process(
    digits_small: Any, problem: Problem, pools: dict[int, RayUtility], actors: int, predictor: str
) -> None:
    given = replace(problem, predictor=bagged(make_predictor(predictor)), shared_restart=False)
    pools[actors].turn_to(given)
    here, there = (
        list(data_oob(Game(digits_small[0], given, u), members=14, rollouts=10, score="probability"))
        for u in (InProcess(given), pools[actors])
    )
    assert len(here) == len(there) == 2
    for a, b in zip(here, there, strict=True):
        np.testing.assert_array_equal(a.values, b.values)
        np.testing.assert_array_equal(a.standard_errors, b.standard_errors)
