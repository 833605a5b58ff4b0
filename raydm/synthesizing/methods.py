"""The ways of synthesis by name, behind one surface."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from raydm.checks import check_choice
from raydm.data.examples import Examples
from raydm.joint_training import Enlarging, TextParts, WithValid
from raydm.synthesizing.settings import SynthesizeSettings
from raydm.synthesizing.synthesizing import LearnedSynthesizing, Synthesizing
from raydm.utility import Problem

Make = Callable[[Examples, Problem, SynthesizeSettings, TextParts | None], Enlarging]

MAKE: Mapping[str, Make] = {
    "learned": LearnedSynthesizing,
    "none": lambda train, problem, settings, text: Enlarging(train, problem, settings),
    "base+valid": lambda train, problem, settings, text: WithValid(train, problem, settings),
    "untuned": Synthesizing,
}
METHODS = tuple(MAKE)


def make_synthesizing(
    name: str, settings: SynthesizeSettings, train: Examples, problem: Problem, text: TextParts | None = None
) -> Enlarging:
    """The named way of synthesis.

    Args:
        name: of `METHODS`.
        settings: how long it trains, and what the generator is; all ways share the epochs, the warm-up and `keep`.
        train: the training set, N examples of C classes.
        problem: predictor (a `raydm.predictors.module.Module`), validation set, task, metric and seed.
        text: what texts need beside their ids.

    Raises:
        ParameterError: no such way, a setting out of its range, labels that are no classes, a predictor that is no
            `Module`, or one that is estimated not to fit the device's memory.
    """
    check_choice("raydm synthesize", "method", name, METHODS)
    return MAKE[name](train, problem, settings, text)
