"""The ways of weighting by name, behind one surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from raydm.checks import check_choice
from raydm.data.examples import Examples
from raydm.utility import Problem
from raydm.weighting.baselines import Base, BaseAndValid, Proportion
from raydm.weighting.learned import Learned, Ren2018
from raydm.weighting.settings import WeightSettings
from raydm.weighting.weighting import Weighting

MAKE: Mapping[str, Callable[[Examples, Problem, WeightSettings], Weighting]] = {
    "weight": Learned,
    "base": Base,
    "base+valid": BaseAndValid,
    "proportion": Proportion,
    "ren2018": Ren2018,
}
METHODS = tuple(MAKE)


def make_weighting(name: str, settings: WeightSettings, train: Examples, problem: Problem) -> Weighting:
    """The named way of weighting.

    Args:
        name: of `METHODS`.
        settings: how long it trains, and how weights are learned; all ways share the epochs, the warm-up and `keep`.
        train: the training set, N examples.
        problem: predictor (a `raydm.predictors.module.Module`), validation set, task, metric and seed.

    Raises:
        ParameterError: no such way, a setting out of its range, a predictor that is no `Module`, or one that is
            estimated not to fit the device's memory.
    """
    check_choice("raydm weight", "method", name, METHODS)
    return MAKE[name](train, problem, settings)
