"""The methods by name, behind one surface."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from raydm.data.examples import Examples
from raydm.errors import ParameterError, one_of
from raydm.learner import Step
from raydm.mixing.adamixup import RegionLearner, RegionSettings
from raydm.mixing.baselines import adamixup, c_mixup, global_knn, mixup, unmixed
from raydm.mixing.method import MakeUtility, Mixing, Setup
from raydm.mixing.mixer import Mixer
from raydm.mixing.mixrl import MixRL
from raydm.mixing.pairs import Indices
from raydm.mixing.progress import Progress
from raydm.mixing.region import RegionShares
from raydm.mixing.settings import MixSettings
from raydm.utility import InProcess, Problem


class Learned(Mixing):
    """MixRL as a method; with a policy region that is learned first, MixRL + AdaMixUp.

    Attributes:
        mixrl: what learns with how many neighbours.
        region: what learns lambda before; None: it is that of the settings.
    """

    def __init__(self, setup: Setup, region: RegionSettings | None = None) -> None:
        super().__init__(setup)
        self.region: RegionLearner | None = None
        seed, shares = setup.problem.seed, None
        if region is not None:
            self.region = RegionLearner(setup.train, seed, region, self._neighbors)
            shares = RegionShares(self.region.network)
        self.mixrl = MixRL(setup.train, setup.problem, setup.settings, setup.make_utility, shares)
        self._done = False

    @property
    def total(self) -> int:
        """Steps of the region, and of MixRL."""
        return self.setup.settings.steps + (self.region.settings.steps if self.region else 0)

    def steps(self) -> Iterator[Step | Progress]:
        """Yields each step as it is done: the region's, then MixRL's."""
        if self.region:
            yield from self.region.steps()
        yield from self.mixrl.steps()
        self._done = True

    @property
    def chosen(self) -> Mapping[str, Any]:
        """The threshold, and which option above it is taken."""
        return {"threshold": self.mixrl.threshold, "pick": self.mixrl.pick}

    @property
    def candidates(self) -> list[dict[str, Any]]:
        """The thresholds that were tried; none where one was given."""
        return list(self.mixrl.candidates)

    def made(self) -> Mixer | None:
        """The learned neighbours."""
        return self.mixrl.mixer if self._done else None

    def _neighbors(self, rows: Indices, rng: np.random.Generator) -> Indices:
        """A partner (B,) of each row, any of the neighbours that an option may mix it with, by a distance drawn too."""
        tables = list(self.mixrl.neighbors.of.values())
        drawn = [table[rows, rng.integers(table.shape[1], size=len(rows))] for table in tables]
        return np.stack(drawn)[rng.integers(len(drawn), size=len(rows)), np.arange(len(rows))]


def mixrl(setup: Setup) -> Mixing:
    """MixRL (Hwang, Whang 2021); how it learns is told by the settings."""
    return Learned(setup)


def mixrl_adamixup(
    setup: Setup,
    *,
    steps: int = RegionSettings.steps,
    batch_size: int = RegionSettings.batch_size,
    learning_rate: float = RegionSettings.learning_rate,
    hidden: Sequence[int] = RegionSettings.hidden,
) -> Mixing:
    """MixRL + AdaMixUp (Hwang, Whang 2021): MixRL chooses the neighbours, AdaMixUp's region gives lambda.

    The region is learned first, from pairs of neighbours, which are those that it will be asked for; MixRL then learns
    with its lambdas.

    Args:
        setup: what it works on.
        steps: of the region's learning; this and the rest as of `raydm.mixing.baselines.adamixup`.
        batch_size: mixed rows a step.
        learning_rate: of Adam.
        hidden: widths of the networks' layers.

    Raises:
        ParameterError: a setting is out of its range.
    """
    return Learned(setup, RegionSettings(steps, batch_size, learning_rate, hidden))


MAKE: Mapping[str, Callable[..., Mixing]] = {
    "mixrl": mixrl,
    "none": unmixed,
    "mixup": mixup,
    "adamixup": adamixup,
    "global-knn": global_knn,
    "c-mixup": c_mixup,
    "mixrl+adamixup": mixrl_adamixup,
}
METHODS = tuple(MAKE)


def make_mixing(
    name: str,
    params: Mapping[str, Any],
    settings: MixSettings,
    train: Examples,
    problem: Problem,
    make_utility: MakeUtility = InProcess,
) -> Mixing:
    """The named method.

    Args:
        name: of `METHODS`.
        params: settings of the method itself, by name.
        settings: MixRL's, see `raydm.mixing.method.Setup` for what the others take of them.
        train: the training set, N examples.
        problem: predictor, validation set, metric and seed; a regression.
        make_utility: maps the problem to its utility.

    Raises:
        ParameterError: no such method, a setting that it does not have or that is out of its range, or classes.
    """
    check_params(name, params)
    settings.check()
    if problem.task.kind != "regression":
        raise ParameterError(
            "raydm mix interpolates targets, and the labels are classes. Name a numeric label, task='regression'."
        )
    return MAKE[name](Setup(train, problem, settings, make_utility), **params)


def check_params(name: str, params: Mapping[str, Any]) -> None:
    """Raises ParameterError unless there is such a method, and it has such settings."""
    if name not in METHODS:
        raise ParameterError.of("method", "raydm mix", one_of(METHODS), name)
    if not isinstance(params, Mapping):
        raise ParameterError.of("method_params", f"method {name!r}", "settings by name, or None", params)
    known = [*inspect.signature(MAKE[name]).parameters][1:]
    if any(key not in known for key in params):
        of_its_own = "its settings are arguments of their own" if name == "mixrl" else "it has no settings"
        what = f"among {one_of(known)[len('one of ') :]}" if known else f"empty: {of_its_own}"
        raise ParameterError.of("method_params", f"method {name!r}", what, dict(params))
