"""Methods on actors: the same bits as in one process, through the Python surface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from raydm import DataValuator
from raydm.distributed import Connection, RayRollouts


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("dvrl", {"steps": 4, "rollouts": 4, "outer_batch": 8, "evidence": ("validation", "neighbors"), "shard": 2}),
        ("banzhaf", {"method_params": {"subsets": 24, "chunk": 12}, "shard": 5}),
    ],
)
def test_the_values_are_those_of_one_process(cluster: Connection, method: str, arguments: dict[str, Any]) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    y = (x[:, 0] > 0).astype(int)
    y[:5] = 1 - y[:5]
    here, there = (
        DataValuator(method=method, **arguments, **where).fit(x[:35], y[:35], X_valid=x[35:], y_valid=y[35:])
        for where in ({}, {"utility": RayRollouts(actors=2)})
    )
    np.testing.assert_array_equal(there.values_, here.values_)
    rows = x[35:]
    np.testing.assert_array_equal(there.predictor_.predict_proba(rows), here.predictor_.predict_proba(rows))
    if method == "dvrl":
        np.testing.assert_array_equal(there.value(rows, y[35:]), here.value(rows, y[35:]))
        assert there.valuation_.dvrl.verdict == here.valuation_.dvrl.verdict
    else:
        np.testing.assert_array_equal(there.standard_errors_, here.standard_errors_)
