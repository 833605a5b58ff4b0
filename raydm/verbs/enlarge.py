"""What `raydm augment` and `raydm synthesize` do: learn to make new rows, train the predictor on them, write both."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any

from sklearn.base import clone
from tqdm import tqdm

from raydm.checks import check_integer
from raydm.data import Prepared, fingerprint
from raydm.errors import ParameterError
from raydm.estimators.enlarger import Enlarger
from raydm.joint_training import Making
from raydm.metrics import METRICS, metric_for
from raydm.report.atomic import check_free, new_folder
from raydm.report.enlarge_run import write_enlarge_run
from raydm.verbs.inputs import Inputs, read_inputs
from raydm.verbs.setup import check_judges
from raydm.verbs.weight import say, told


def run_enlarger(arguments: Namespace, estimator: type[Enlarger]) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    named = [name for name in estimator().get_params() if hasattr(arguments, name)]
    enlarger = estimator(
        **{name: getattr(arguments, name) for name in named},
        predictor_params=arguments.predictor_args,
        random_state=arguments.seed,
    )
    enlarger.check()
    if arguments.rows is not None:
        check_integer(f"raydm {arguments.module}", "rows", arguments.rows, 0)
    others = _others(arguments, enlarger)
    inputs = read_inputs(arguments)
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    out = arguments.out or Path("runs") / f"{inputs.name}-{arguments.module}-{stamp}"
    check_free(out)
    prepared = enlarger.reading.prepare(
        inputs.train, inputs.valid, inputs.test, label=inputs.label, id=arguments.id, features=arguments.features,
        kinds=dict(arguments.kind), task=arguments.task or inputs.task, names=inputs.names,
    )  # fmt: skip
    check_judges(metric_for(arguments.metric, prepared.labels.task), prepared, inputs)
    for note in prepared.encoder.notes:  # of its other notes prepare has warned
        say(note)
    judge, name = (prepared.test, "test") if prepared.test is not None else (prepared.valid, "validation")
    _learn(enlarger, prepared, inputs, quiet=arguments.quiet)
    scores = {arguments.method: told(enlarger.scores(judge))}
    for method, other in others.items():
        _learn(other, prepared, inputs, quiet=arguments.quiet, beside=True)
        scores[method] = told(other.scores(judge))
    count = len(prepared.train) if arguments.rows is None else arguments.rows
    rows = enlarger.table(count) if isinstance(enlarger.made_, Making) else None
    metric = enlarger.problem_.metric.name
    with new_folder(out) as folder:
        write_enlarge_run(
            folder,
            config=_config(arguments, inputs, prepared, enlarger, 0 if rows is None else rows.num_rows),
            prepared=prepared,
            rows=rows,
            history=enlarger.history_,
            evidence={
                "summary": enlarger.summary_, "metric": metric, "judge": name, "scores": scores,
                "warm_up": arguments.warm_up, "curve": enlarger.curve_,
            },
            predictor=enlarger.predictor_,
            title=f"{inputs.name}: {arguments.module}, {arguments.method}, {len(prepared.train)} rows, "
            f"{len(prepared.valid)} trusted",
        )  # fmt: skip
    if rows is None:
        say(f"the method {arguments.method} makes no new rows: there is no rows.parquet")
    if name == "validation":
        say("the score is of the trusted rows, by which epochs were chosen: give --test for a fair judge")
    say(f"the run is in {out}")
    own = scores[arguments.method]
    return {
        "run": str(out),
        "method": arguments.method,
        "rows": len(prepared.train),
        "new_rows": 0 if rows is None else rows.num_rows,
        "seconds": round(enlarger.seconds_, 3),
        "steps": len(enlarger.history_),
        "seeds": arguments.seeds,
        "metric": metric,
        "judge": name,
        "score": own["mean"],
        "sd": own["sd"],
        "compare": {method: scores[method]["mean"] for method in others},
        "gain": {method: METRICS[metric].sign * (own["mean"] - scores[method]["mean"]) for method in others},
        "memory": enlarger.memory_.total,
    }


def _learn(enlarger: Enlarger, prepared: Prepared, inputs: Inputs, *, quiet: bool, beside: bool = False) -> None:
    """Learns, with a progress bar; says before what memory a step is estimated to take."""
    steps = enlarger.iterate(prepared, inputs.train)
    if not beside:
        name = enlarger.problem_.predictor.config()["name"]
        say(f"{name}: a training step is estimated to take {enlarger.memory_} of memory")
    with tqdm(
        steps, desc=enlarger.method, total=enlarger.total_, unit="step", file=sys.stderr, disable=quiet
    ) as bar:  # fmt: skip
        for step in bar:
            bar.set_postfix({"utility": f"{float(step.u):.4g}"}, refresh=False)


def _others(arguments: Namespace, enlarger: Enlarger) -> dict[str, Enlarger]:
    """The methods to compare with, checked before anything is read."""
    if arguments.method in arguments.compare:
        raise ParameterError(f"--compare {arguments.method}: that is the method itself. Name others.")
    others = {method: clone(enlarger).set_params(method=method) for method in arguments.compare}
    for other in others.values():
        other.check()
    return others


def _config(
    arguments: Namespace, inputs: Inputs, prepared: Prepared, enlarger: Enlarger, new_rows: int
) -> dict[str, Any]:
    given = {k: v for k, v in vars(arguments).items() if k not in {"module", "out", "quiet", "kind"}}
    tables = {"train": inputs.train, "valid": inputs.valid, "test": inputs.test}
    return {
        "verb": arguments.module,
        "method": arguments.method,
        "arguments": given | {"kind": dict(arguments.kind)},
        "predictor": enlarger.problem_.predictor.config(),
        "metric": enlarger.problem_.metric.name,
        "fingerprints": {name: fingerprint(table) for name, table in tables.items() if table is not None},
        "rows": {name: table.num_rows for name, table in tables.items() if table is not None},
        "new_rows": new_rows if isinstance(enlarger.made_, Making) else None,
        "notes": prepared.notes,
        "memory": enlarger.memory_.total,
        "seconds": enlarger.seconds_,
    }
