"""MixRL's settings: what is refused, and how it is told."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from raydm.errors import ParameterError
from raydm.mixing.settings import MixSettings
from raydm.mixing.shares import BetaShares, FixedShares


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("options", "1..16"),
        ("lam", 1.5),
        ("lam", "half"),
        ("alpha", 0),
        ("steps", -1),
        ("steps", 1.5),
        ("outer_batch", 0),
        ("rollouts", 0),
        ("baseline", "full-data"),
        ("reward_scale", 0),
        ("reward_scale", "mean"),
        ("learning_rate", float("nan")),
        ("exploration", -1),
        ("mean_bounds", (0.9, 0.1)),
        ("mean_bounds", 0.5),
        ("threshold", -0.1),
        ("repeats", 0),
    ],
)
def test_values_out_of_range_are_told(name, value):
    with pytest.raises(ParameterError, match=f"'{name}' parameter of MixRL must be .*Got {re.escape(repr(value))}"):
        replace(MixSettings(), **{name: value}).check()


@pytest.mark.parametrize(
    "changes",
    [{}, {"lam": None}, {"lam": 0}, {"outer_batch": 5}, {"threshold": 0.5}, {"steps": 0}, {"reward_scale": 2}],
)
def test_values_in_range_are_taken(changes):
    replace(MixSettings(), **changes).check()


@pytest.mark.parametrize("changes", [{}, {"baseline": "moving-average"}, {"reward_scale": 2.0}])
def test_one_rollout_has_nothing_to_be_compared_with(changes):
    with pytest.raises(ParameterError, match="'rollouts' parameter must be >= 2"):
        replace(MixSettings(rollouts=1), **changes).check()
    MixSettings(rollouts=1, baseline="moving-average", reward_scale=2.0).check()  # the paper's form


def test_what_gives_lambda():
    assert MixSettings().shares == FixedShares(0.5)
    assert MixSettings(lam=None, alpha=0.3).shares == BetaShares(0.3)
