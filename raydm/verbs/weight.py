"""`raydm weight`: learns how much each training row counts, trains the predictor so, writes both with evidence."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from tqdm import tqdm

from raydm.data import Prepared, fingerprint
from raydm.errors import ParameterError
from raydm.estimators import DataWeighter
from raydm.metrics import METRICS, metric_for
from raydm.report.atomic import check_free, new_folder
from raydm.report.weight_run import write_weight_run
from raydm.report.weighting import weighting_evidence
from raydm.verbs.inputs import Inputs, read_inputs
from raydm.verbs.line import prints_line
from raydm.verbs.setup import check_judges, check_place
from raydm.weighting.seeds import Run

_SAME = (
    *("method", "predictor", "text", "image", "model", "length", "image_size", "metric", "task", "epochs", "warm_up"),
    *("weights", "normalisation", "temperature", "learning_rate", "decay", "floor", "look_ahead", "straight", "unroll"),
    *("checkpoint", "dev_batch", "keep", "seeds"),
)


@prints_line
def run(arguments: Namespace) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    check_place(arguments)
    weighter = DataWeighter(
        **{name: getattr(arguments, name) for name in _SAME},
        predictor_params=arguments.predictor_args,
        run=_place(arguments),
        random_state=arguments.seed,
    )
    weighter.check()
    others = _others(arguments, weighter)
    inputs = read_inputs(arguments)
    out = arguments.out or Path("runs") / f"{inputs.name}-weight-{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}"
    check_free(out)
    prepared = weighter.reading.prepare(
        inputs.train, inputs.valid, inputs.test, label=inputs.label, id=arguments.id, features=arguments.features,
        kinds=dict(arguments.kind), task=arguments.task or inputs.task, names=inputs.names,
    )  # fmt: skip
    check_judges(metric_for(arguments.metric, prepared.labels.task), prepared, inputs)
    for note in prepared.encoder.notes:  # of its other notes prepare has warned
        _say(note)
    judge, name = (prepared.test, "test") if prepared.test is not None else (prepared.valid, "validation")
    learn(weighter, prepared, quiet=arguments.quiet)
    scores = {arguments.method: told(weighter.scores(judge))}
    for method, other in others.items():
        learn(other, prepared, quiet=arguments.quiet, beside=True)
        scores[method] = told(other.scores(judge))
    metric = weighter.problem_.metric.name
    evidence = weighting_evidence(
        prepared, weighter.weights_, weighter.curve_, metric, arguments.warm_up, scores, name
    )  # fmt: skip
    with new_folder(out) as folder:
        write_weight_run(
            folder,
            config=_config(arguments, inputs, prepared, weighter),
            prepared=prepared,
            weights=weighter.weights_,
            history=weighter.history_,
            evidence=evidence,
            predictor=weighter.predictor_,
            title=f"{inputs.name}: {arguments.method}, {len(prepared.train)} rows, {len(prepared.valid)} trusted",
        )
    if name == "validation":
        _say("the score is of the trusted rows, by which epochs were chosen: give --test for a fair judge")
    _say(f"the run is in {out}")
    own = scores[arguments.method]
    return {
        "run": str(out),
        "method": arguments.method,
        "rows": len(prepared.train),
        "seconds": round(weighter.seconds_, 3),
        "steps": len(weighter.history_),
        "seeds": arguments.seeds,
        "metric": metric,
        "judge": name,
        "score": own["mean"],
        "sd": own["sd"],
        "compare": {method: scores[method]["mean"] for method in others},
        "gain": {method: METRICS[metric].sign * (own["mean"] - scores[method]["mean"]) for method in others},
        "zeros": evidence["zeros"],
        "memory": weighter.memory_.total,
    }


def learn(weighter: DataWeighter, prepared: Prepared, *, quiet: bool, beside: bool = False) -> None:
    """Learns, with a progress bar; says before what memory a step is estimated to take."""
    steps = weighter.iterate(prepared)
    if not beside:
        name = weighter.problem_.predictor.config()["name"]
        _say(f"{name}: a training step is estimated to take {weighter.memory_} of memory")
    total = weighter.total_ or None
    with tqdm(steps, desc=weighter.method, total=total, unit="step", file=sys.stderr, disable=quiet) as bar:
        for step in bar:
            bar.set_postfix({"utility": f"{float(step.u):.4g}"}, refresh=False)


def told(scores: np.ndarray) -> dict[str, Any]:
    """Mean, standard deviation (None of one seed) and each."""
    sd = float(scores.std(ddof=1)) if len(scores) > 1 else None
    return {"mean": float(scores.mean()), "sd": sd, "each": scores.tolist()}


def _others(arguments: Namespace, weighter: DataWeighter) -> dict[str, DataWeighter]:
    """The methods to compare with, checked before anything is read."""
    if arguments.method in arguments.compare:
        raise ParameterError(f"--compare {arguments.method}: that is the method itself. Name others.")
    others = {method: clone(weighter).set_params(method=method) for method in arguments.compare}
    for other in others.values():
        other.check()
    return others


def _place(arguments: Namespace) -> Run | None:
    """Where seeds are trained: here, or on Ray actors."""
    if arguments.actors is None:
        return None
    from raydm.distributed.seeds import RaySeeds  # Ray takes a second to import; a local run does not need it

    return RaySeeds(arguments.actors, arguments.cpus_per_actor, arguments.gpus_per_actor, arguments.address)


def _config(arguments: Namespace, inputs: Inputs, prepared: Prepared, weighter: DataWeighter) -> dict[str, Any]:
    given = {k: v for k, v in vars(arguments).items() if k not in {"module", "out", "quiet", "kind"}}
    tables = {"train": inputs.train, "valid": inputs.valid, "test": inputs.test}
    return {
        "method": arguments.method,
        "arguments": given | {"kind": dict(arguments.kind)},
        "predictor": weighter.problem_.predictor.config(),
        "metric": weighter.problem_.metric.name,
        "fingerprints": {name: fingerprint(table) for name, table in tables.items() if table is not None},
        "rows": {name: table.num_rows for name, table in tables.items() if table is not None},
        "notes": prepared.notes,
        "memory": weighter.memory_.total,
        "seconds": weighter.seconds_,
    }


def _say(text: str) -> None:
    print(f"raydm: {text}", file=sys.stderr)
