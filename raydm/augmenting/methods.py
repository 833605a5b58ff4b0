"""The ways of augmentation by name, behind one surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from raydm.augmenting.augmenting import Augmenting, LearnedAugmenting
from raydm.augmenting.rewriting import fixed, synonyms
from raydm.augmenting.settings import AugmentSettings
from raydm.checks import check_choice
from raydm.data.examples import Examples
from raydm.joint_training import Enlarging, TextParts, WithValid
from raydm.utility import Problem

Make = Callable[[Examples, Problem, AugmentSettings, TextParts | None], Enlarging]

MAKE: Mapping[str, Make] = {
    "learned": LearnedAugmenting,
    "none": lambda train, problem, settings, text: Enlarging(train, problem, settings),
    "base+valid": lambda train, problem, settings, text: WithValid(train, problem, settings),
    "fixed": lambda train, problem, settings, text: Augmenting(train, problem, settings, text, fixed),
    "synonyms": lambda train, problem, settings, text: Augmenting(train, problem, settings, text, synonyms),
}
METHODS = tuple(MAKE)


def make_augmenting(
    name: str, settings: AugmentSettings, train: Examples, problem: Problem, text: TextParts | None = None
) -> Enlarging:
    """The named way of augmentation.

    Args:
        name: of `METHODS`.
        settings: how long it trains, and what g_phi is; all ways share the epochs, the warm-up and `keep`.
        train: the training set, N examples.
        problem: predictor (a `raydm.predictors.module.Module`), validation set, task, metric and seed.
        text: what texts need beside their ids.

    Raises:
        ParameterError: no such way, a setting out of its range, a predictor that is no `Module`, or one that is
            estimated not to fit the device's memory.
    """
    check_choice("raydm augment", "method", name, METHODS)
    return MAKE[name](train, problem, settings, text)
