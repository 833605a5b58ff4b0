"""What `raydm weight`, `augment` and `synthesize` do alike: learn with a large predictor, and tell of it."""

from __future__ import annotations

import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sklearn.base import clone
from tqdm import tqdm

from raydm.data import Prepared, fingerprint
from raydm.errors import ParameterError, RaydmWarning
from raydm.estimators.jointly import Jointly
from raydm.joint_training import Run
from raydm.learner import Step
from raydm.metrics import METRICS, metric_for
from raydm.report.atomic import check_free
from raydm.storage import Place, output
from raydm.verbs.inputs import Inputs, read_inputs
from raydm.verbs.setup import check_judges, check_place

E = TypeVar("E", bound=Jointly)
Begin = Callable[[E, Prepared, Inputs], Iterator[Step]]  # starts an estimator on the sets


@dataclass(frozen=True)
class Done:
    """A run that is learned and not written yet.

    Attributes:
        inputs: the raw tables.
        prepared: the same, encoded.
        out: where it is to be written.
        judge: the set that scores are of, "test" or "validation".
        scores: by method, the run's own first: mean, sd and each seed's of the metric on it.
    """

    inputs: Inputs
    prepared: Prepared
    out: Place
    judge: str
    scores: dict[str, dict[str, Any]]


def made(arguments: Namespace, estimator: type[E]) -> E:
    """The estimator that the flags ask for, its arguments checked."""
    check_place(arguments)
    named = [name for name in estimator().get_params() if hasattr(arguments, name)]
    own = estimator(
        **{name: getattr(arguments, name) for name in named},
        predictor_params=arguments.predictor_args,
        run=_place(arguments),
        random_state=arguments.seed,
    )
    own.check()
    return own


def learned(arguments: Namespace, estimator: E, begin: Begin[E]) -> Done:
    """Reads what the command line names, and learns, by the methods to compare with too.

    Raises:
        ParameterError: flags that do not fit together or the data.
        DataError: data that cannot be used.
        RunError: the place of the run is taken, or cannot be written.
    """
    others = _others(arguments, estimator)
    inputs = read_inputs(arguments)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    out = output(arguments.storage, arguments.out, Path("runs") / f"{inputs.name}-{arguments.module}-{stamp}")
    check_free(out)
    prepared = prepared_for(estimator, arguments, inputs)
    for note in prepared.encoder.notes:  # of its other notes prepare has warned
        say(note)
    judge, name = (prepared.test, "test") if prepared.test is not None else (prepared.valid, "validation")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RaydmWarning)  # of the data; the estimator's own training warns of it
        for other in others.values():
            begin(other, prepared, inputs)  # what it refuses is told before hours of training, not after
    scores = {}
    for method, one in {arguments.method: estimator, **others}.items():
        steps = begin(one, prepared, inputs)
        if one is estimator:
            predictor = one.problem_.predictor.config()["name"]
            say(f"{predictor}: a training step is estimated to take {one.memory_} of memory")
        _exhaust(steps, method, one.total_, quiet=arguments.quiet)
        scores[method] = _told(one.scores(judge))
    return Done(inputs, prepared, out, name, scores)


def prepared_for(estimator: Jointly, arguments: Namespace, inputs: Inputs) -> Prepared:
    """The tables, checked and encoded as the estimator reads them.

    Raises:
        ParameterError: flags that do not fit the data.
        DataError: data that cannot be used, or a metric that is not defined on it.
    """
    prepared = estimator.reading.prepare(
        inputs.train, inputs.valid, inputs.test, label=inputs.label, id=arguments.id, features=arguments.features,
        kinds=dict(arguments.kind), task=arguments.task or inputs.task, names=inputs.names,
    )  # fmt: skip
    check_judges(metric_for(arguments.metric, prepared.labels.task), prepared, inputs)
    return prepared


def config_of(arguments: Namespace, estimator: Jointly, done: Done) -> dict[str, Any]:
    """What the run's config.json tells of it."""
    inputs = done.inputs
    given = {k: v for k, v in vars(arguments).items() if k not in {"module", "out", "quiet", "kind"}}
    tables = {"train": inputs.train, "valid": inputs.valid, "test": inputs.test}
    return {
        "method": arguments.method,
        "arguments": given | {"kind": dict(arguments.kind)},
        "predictor": estimator.problem_.predictor.config(),
        "metric": estimator.problem_.metric.name,
        "fingerprints": {name: fingerprint(table) for name, table in tables.items() if table is not None},
        "rows": {name: table.num_rows for name, table in tables.items() if table is not None},
        "notes": done.prepared.notes,
        "memory": estimator.memory_.total,
        "seconds": estimator.seconds_,
    }


def line_of(
    arguments: Namespace,
    estimator: Jointly,
    done: Done,
    *,
    rows: Mapping[str, Any] | None = None,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The JSON line; a verb's own figures stand behind the number of rows, and at the end."""
    metric, own = estimator.problem_.metric.name, done.scores[arguments.method]
    others = {method: scores["mean"] for method, scores in done.scores.items() if method != arguments.method}
    return {
        "run": str(done.out),
        "method": arguments.method,
        "rows": len(done.prepared.train),
        **(rows or {}),
        "seconds": round(estimator.seconds_, 3),
        "steps": len(estimator.history_),
        "seeds": arguments.seeds,
        "metric": metric,
        "judge": done.judge,
        "score": own["mean"],
        "sd": own["sd"],
        "valid_score": float(estimator.scores(done.prepared.valid).mean()),
        "compare": others,
        "gain": {method: METRICS[metric].sign * (own["mean"] - score) for method, score in others.items()},
        **(more or {}),
        "memory": estimator.memory_.total,
    }


def say_end(done: Done) -> None:
    """Says where the run is, and what its score is worth."""
    if done.judge == "validation":
        say("the score is of the trusted rows, which learning saw: give --test for a fair judge")
        if "base+valid" in done.scores:
            say("base+valid was trained on the trusted rows too, so its score on them says nothing")
    say(f"the run is in {done.out}")


def say(text: str) -> None:
    """Tells the user on stderr."""
    print(f"raydm: {text}", file=sys.stderr)


def _exhaust(steps: Iterator[Step], name: str, total: int, *, quiet: bool) -> None:
    """Takes all steps, with a progress bar."""
    with tqdm(steps, desc=name, total=total or None, unit="step", file=sys.stderr, disable=quiet) as bar:
        for step in bar:
            bar.set_postfix({"utility": f"{float(step.u):.4g}"}, refresh=False)


def _told(scores: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Mean, standard deviation (None of one seed) and each."""
    sd = float(scores.std(ddof=1)) if len(scores) > 1 else None
    return {"mean": float(scores.mean()), "sd": sd, "each": scores.tolist()}


def _others(arguments: Namespace, estimator: E) -> dict[str, E]:
    """The methods to compare with, checked before anything is read."""
    if arguments.method in arguments.compare:
        raise ParameterError(f"--compare {arguments.method}: that is the method itself. Name others.")
    others = {method: clone(estimator).set_params(method=method) for method in arguments.compare}
    for other in others.values():
        other.check()
    return others


def _place(arguments: Namespace) -> Run | None:
    """Where seeds are trained: here, or on Ray actors."""
    if arguments.actors is None:
        return None
    from raydm.distributed.seeds import RaySeeds  # Ray takes a second to import; a local run does not need it

    return RaySeeds(arguments.actors, arguments.cpus_per_actor, arguments.gpus_per_actor, arguments.address)
