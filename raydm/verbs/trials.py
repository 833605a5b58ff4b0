"""One trial of a sweep: a verb's training with some settings, its thresholds, and what came out; in any process."""

from __future__ import annotations

import copy
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from raydm.data import Prepared
from raydm.errors import RaydmWarning
from raydm.estimators import DataAugmenter, DataMixer, DataSynthesizer, DataValuator, DataWeighter
from raydm.estimators.jointly import Jointly
from raydm.joint_training import Run
from raydm.journal import Journal
from raydm.metrics import Metric, metric_for
from raydm.mixing.scores import gains, mixed_score
from raydm.sweep.results import FINISHED
from raydm.sweep.spaces import merged
from raydm.sweep.thresholds import best_threshold, kept_curve
from raydm.utility import InProcess
from raydm.valuation import MakeUtility
from raydm.verbs.inputs import Inputs
from raydm.verbs.joint import made, prepared_for
from raydm.verbs.mix import make_mixer, prepared_to_mix
from raydm.verbs.setup import check_flags, check_judges, make_valuator, prepared_of, with_noise

REPORTS = 20  # that a trial makes on its way, about evenly
JOINT: Mapping[str, type[Jointly]] = {
    "weight": DataWeighter, "augment": DataAugmenter, "synthesize": DataSynthesizer,
}  # fmt: skip
ESTIMATORS: Mapping[str, type[Any]] = {"value": DataValuator, "mix": DataMixer, **JOINT}
LEARNED = {"value": ("dvrl",), "mix": ("mixrl", "mixrl+adamixup")}  # methods that have a threshold of their own


@dataclass(frozen=True)
class Where:
    """Where a trial's trainings run.

    Attributes:
        utility: of rollouts.
        run: of seeds; None: in the trial's process, one by one.
    """

    utility: MakeUtility = InProcess
    run: Run | None = None


class Report(Protocol):
    """Hears how a trial does on its way."""

    def __call__(self, step: int, share: float, utility: float) -> None:
        """So many steps are done, this share of all, and this was the mean utility since the last report."""
        ...


@dataclass(frozen=True)
class Trainer:
    """Trains trials.

    Attributes:
        verb: whose training it is.
        make: gives its arguments for a config.
        base: the config that all trials have.
        inputs: the raw tables.
        thresholds: that are tried on what a trial learned, without learning again; None: the verb's own.
    """

    verb: str
    make: Callable[[Mapping[str, Any]], Namespace]
    base: Mapping[str, Any]
    inputs: Inputs
    thresholds: tuple[float, ...] | None

    def arguments(self, settings: Mapping[str, Any]) -> Namespace:
        """The arguments of a trial, checked as those of a run are.

        Raises:
            ParameterError: a setting is out of its range, or does not fit the others.
        """
        arguments = self.make(merged(self.base, settings))
        arguments.module = self.verb
        if self.verb == "mix" and self.thresholds is not None:
            arguments.thresholds = [*self.thresholds]
        if self.verb == "value":
            check_flags(arguments)
            make_valuator(arguments, arguments.method, arguments.method_args)
        elif self.verb == "mix":
            make_mixer(arguments, InProcess)
        else:
            made(arguments, JOINT[self.verb])
        return arguments

    def prepared(self, arguments: Namespace) -> Prepared:
        """The data of a trial, checked and encoded; no setting that is searched changes them.

        Raises:
            ParameterError: they are no data for the verb.
            DataError: they cannot be used.
        """
        if self.verb == "mix":
            return prepared_to_mix(arguments, self.inputs)
        if self.verb in JOINT:
            return prepared_for(made(arguments, JOINT[self.verb]), arguments, self.inputs)
        prepared = prepared_of(arguments, self.inputs)
        check_judges(metric_for(arguments.metric, prepared.labels.task), prepared, self.inputs)
        return with_noise(arguments, prepared)[0]

    def check_predictor(self, arguments: Namespace, prepared: Prepared) -> None:
        """Raises ParameterError where a trial's predictor cannot be made; joint trainings' are checked elsewhere."""
        if self.verb == "mix":
            make_mixer(arguments, InProcess).predictor_for(prepared)
        elif self.verb == "value":
            make_valuator(arguments, arguments.method, arguments.method_args).predictor_for(prepared)

    def __call__(
        self, settings: Mapping[str, Any], where: Where, report: Report, journal: Path | None = None
    ) -> dict[str, Any]:
        """Trains one; its row, but for its number.

        Args:
            settings: by name; may hold a schedule.
            where: its trainings run.
            report: is told how it does.
            journal: folder whose journal keeps what rollouts answered, so that a trial that is tried again goes on.
        """
        arguments = self.arguments(settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RaydmWarning)  # trials are many: the run of the best one says it once
            if self.verb in JOINT:
                found = self._joint(arguments, where, report)
            else:
                kept = None if journal is None else Journal(journal, resume=True)
                with kept or nullcontext():
                    utility = where.utility if kept is None else kept.over(where.utility)
                    train = self._value if self.verb == "value" else self._mix
                    found = train(arguments, utility, report)
        return {"state": FINISHED, "settings": dict(settings), **found}

    def _value(self, arguments: Namespace, utility: MakeUtility, report: Report) -> dict[str, Any]:
        valuator = make_valuator(arguments, arguments.method, arguments.method_args)
        valuator.utility = utility
        prepared = self.prepared(arguments)
        _exhaust(valuator.iterate(prepared), lambda: valuator.valuation_.total, report)
        curve: list[dict[str, Any]] = []
        chosen: dict[str, Any] = {}
        if self.thresholds is not None:
            curve = kept_curve(valuator.problem_, prepared.train, valuator.values_, self.thresholds)
            chosen = {"threshold": best_threshold(curve), "final": "kept"}
            valuator.decide(**chosen)
        score = valuator.predictor_score(prepared.valid)
        test = None if prepared.test is None else valuator.predictor_score(prepared.test)
        return _row(valuator.problem_.metric, score, test, valuator, chosen, curve)

    def _mix(self, arguments: Namespace, utility: MakeUtility, report: Report) -> dict[str, Any]:
        mixer = make_mixer(arguments, utility)
        prepared = self.prepared(arguments)
        _exhaust(mixer.iterate(prepared), lambda: mixer.total_, report)
        problem, pairs = mixer.problem_, mixer.pairs_
        score = mixed_score(problem, prepared.train, pairs, arguments.repeats)
        test = None
        if prepared.test is not None:
            test = gains(problem, prepared.train, pairs, prepared.test, arguments.test_repeats)["rmse"]
        chosen = mixer.chosen_ if arguments.method in LEARNED["mix"] else {}
        return _row(problem.metric, score, test, mixer, chosen, mixer.candidates_)

    def _joint(self, arguments: Namespace, where: Where, report: Report) -> dict[str, Any]:
        estimator: Any = made(arguments, JOINT[self.verb])
        estimator.run = where.run
        prepared = prepared_for(estimator, arguments, self.inputs)
        begin = (prepared,) if self.verb == "weight" else (prepared, self.inputs.train)
        _exhaust(estimator.iterate(*begin), lambda: estimator.total_, report)
        score = float(estimator.scores(prepared.valid).mean())
        test = None if prepared.test is None else float(estimator.scores(prepared.test).mean())
        return _row(estimator.problem_.metric, score, test, estimator, {}, [])


def _exhaust(steps: Iterator[Any], total: Callable[[], int | None], report: Report) -> None:
    """Takes all steps; reports the mean utility of those since the last report."""
    seen: list[float] = []
    done = 0
    for done, step in enumerate(steps, 1):
        utility = getattr(step, "u", None)
        if utility is not None:
            seen.append(float(utility.mean()))
        count = total()
        if seen and count and done * REPORTS // count > (done - 1) * REPORTS // count:
            report(done, done / count, float(np.mean(seen)))
            seen = []


def _row(
    metric: Metric, score: float, test: float | None, estimator: Any, chosen: Mapping[str, Any], curve: list[Any]
) -> dict[str, Any]:
    return {
        "metric": metric.name,
        "utility": metric.sign * score,
        "valid_score": score,
        "test_score": test,
        "chosen": copy.deepcopy(dict(chosen)),
        "steps": len(estimator.history_),
        "seconds": round(estimator.seconds_, 3),
        "curve": curve,
    }
