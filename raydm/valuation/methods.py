"""The methods by name, behind one surface: steps, then values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from raydm.data.examples import Examples
from raydm.data.labels import TaskKind
from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmError, one_of
from raydm.learner import Step
from raydm.seeding import stream
from raydm.utility import InProcess, Problem
from raydm.valuation.banzhaf import banzhaf
from raydm.valuation.data_oob import bagged, data_oob
from raydm.valuation.dvrl import DVRL, MakeUtility
from raydm.valuation.evidence import gather
from raydm.valuation.game import Estimate, Game
from raydm.valuation.influence import influence
from raydm.valuation.knn_shapley import knn_shapley
from raydm.valuation.leave_one_out import leave_one_out
from raydm.valuation.settings import Settings
from raydm.valuation.shapley import shapley
from raydm.valuation.value_function import ValueFunction

Rankings = dict[str, npt.NDArray[np.float64]]

GAMES: Mapping[str, Callable[..., Iterator[Estimate]]] = {
    "loo": leave_one_out,
    "shapley": shapley,
    "banzhaf": banzhaf,
    "knn-shapley": knn_shapley,
    "influence": influence,
    "data-oob": data_oob,
}
METHODS = ("dvrl", *GAMES)

# Of which tasks a method's values are shares, in [0, 1]; else they are gains or losses.
SHARES: Mapping[str, Sequence[TaskKind]] = {"dvrl": ("classification", "regression"), "data-oob": ("classification",)}


class Valuation(Protocol):
    """One method on one problem.

    Attributes:
        total: how many steps there are, if that is known.
    """

    @property
    def total(self) -> int | None:
        """How many steps there are, if that is known."""
        ...

    def steps(self) -> Iterator[Step | Estimate]:
        """Yields each step as it is done; exhaust it to have the values."""
        ...

    def values(self) -> npt.NDArray[np.float64]:
        """Of the training examples, (N,), higher is better."""
        ...

    def standard_errors(self) -> npt.NDArray[np.float64] | None:
        """Of the values, (N,), where the method samples."""
        ...

    def inputs(self) -> Rankings:
        """Rankings (N,) that a method must beat, higher is better."""
        ...

    def final_weights(self) -> npt.NDArray[np.float64] | None:
        """Weights (N,) of the training examples that were judged best for a predictor; None where none were judged."""
        ...


class Learned:
    """DVRL as a valuation.

    Attributes:
        dvrl: what learns.
    """

    def __init__(self, dvrl: DVRL) -> None:
        self.dvrl = dvrl

    @property
    def total(self) -> int:
        """Steps of all folds."""
        return self.dvrl.total

    def steps(self) -> Iterator[Step]:
        """Yields each step as it is done."""
        return self.dvrl.steps()

    def values(self) -> npt.NDArray[np.float64]:
        """In [0, 1]: (N,)."""
        return self.dvrl.value_function.values(self.dvrl.train)

    def standard_errors(self) -> None:
        """There are none."""

    def inputs(self) -> Rankings:
        """A random ranking, and each input of h_phi alone."""
        return _random(self.dvrl.problem, len(self.dvrl.train)) | self.dvrl.value_function.rankings(self.dvrl.train)

    def final_weights(self) -> npt.NDArray[np.float64] | None:
        """Those that the judge found to predict held-out trusted rows best."""
        return self.dvrl.final_weights()


class Played:
    """A game as a valuation.

    Args:
        name: of `GAMES`.
        params: the method's keyword settings.
        train: the training set, N examples.
        problem: predictor, validation set, metric and seed.
        make_utility: maps the problem to its utility.

    Raises:
        ParameterError: the method has no such setting.
    """

    total = None

    def __init__(
        self, name: str, params: Mapping[str, Any], train: Examples, problem: Problem, make_utility: MakeUtility
    ) -> None:
        check_params(name, params)
        self.name, self.params, self.train, self.problem, self.make_utility = name, params, train, problem, make_utility
        self.estimate: Estimate | None = None
        self._inputs: Rankings | None = None

    def steps(self) -> Iterator[Estimate]:
        """Yields each estimate as it is made."""
        self._inputs = self.inputs()  # before the work: where they cannot be made, it would be in vain
        problem = self.problem
        if self.name == "data-oob":  # its members differ in their rows and in their draws, as in a forest
            problem = replace(problem, predictor=bagged(problem.predictor), shared_restart=False)
        utility = self.make_utility(problem)
        try:
            for estimate in GAMES[self.name](Game(self.train, problem, utility), **self.params):
                self.estimate = estimate
                yield estimate
        finally:
            utility.close()

    def values(self) -> npt.NDArray[np.float64]:
        """In the unit of the utility, for most methods: (N,).

        Raises:
            ParameterError: the settings left a value unknown.
        """
        values = self._made().values
        if unknown := int(np.isnan(values).sum()):
            raise ParameterError(
                f"The method {self.name!r} left the values of {unknown} of {len(values)} rows unknown, with the "
                f"settings {dict(self.params)}. Let it train more often."
            )
        return values

    def standard_errors(self) -> npt.NDArray[np.float64] | None:
        """Of the values: (N,)."""
        return self._made().standard_errors

    def inputs(self) -> Rankings:
        """A random ranking, and what a model of the trusted rows says of each label."""
        if self._inputs is not None:
            return self._inputs
        evidence = gather(self.train, self.problem, ("validation",))
        alone = ValueFunction(evidence, "validation", (), starts=False, learned=False)
        return _random(self.problem, len(self.train)) | alone.rankings(self.train)

    def final_weights(self) -> None:
        """None were judged."""

    def _made(self) -> Estimate:
        if self.estimate is None:
            raise RaydmError(f"The method {self.name!r} has made no estimate yet. Exhaust its steps first.")
        return self.estimate


def make_valuation(
    name: str,
    params: Mapping[str, Any],
    settings: Settings,
    train: Examples,
    problem: Problem,
    make_utility: MakeUtility = InProcess,
) -> Valuation:
    """The named method; settings are DVRL's, params those of a game."""
    check_params(name, params)
    if name == "dvrl":
        return Learned(DVRL(train, problem, settings, make_utility))
    return Played(name, params, train, problem, make_utility)


def check_params(name: str, params: Mapping[str, Any]) -> None:
    """Raises ParameterError unless there is such a method, and it has such settings."""
    if name not in METHODS:
        raise ParameterError.of("method", "DataValuator", one_of(METHODS), name)
    known = [] if name == "dvrl" else [*inspect.signature(GAMES[name]).parameters][1:]
    unknown = [key for key in params if key not in known]
    if unknown:
        what = f"among {one_of(known)[len('one of ') :]}" if known else "empty: its settings are arguments of their own"
        raise ParameterError.of("method_params", f"method {name!r}", what, dict(params))


def usual_threshold(name: str, train: Examples, task: Task) -> float:
    """Least value of a selected example, where none is asked for.

    Half of a share; no loss; and of Data-OOB's squared errors, what the mean of all targets would cost.
    """
    if task.kind in SHARES.get(name, ()):
        return 0.5
    return -float(train.y.astype(np.float64).var()) if name == "data-oob" else 0.0


def _random(problem: Problem, n: int) -> Rankings:
    return {"random": stream(problem.seed, "random ranking").random(n)}
