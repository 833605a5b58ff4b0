"""`raydm weight`: learns how much each training row counts, trains the predictor so, writes both with evidence."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from raydm.estimators import DataWeighter
from raydm.report.atomic import new_folder
from raydm.report.weight_run import write_weight_run
from raydm.report.weighting import weighting_evidence
from raydm.verbs.joint import config_of, learned, line_of, made, say_end
from raydm.verbs.line import prints_line


@prints_line
def run(arguments: Namespace) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    weighter = made(arguments, DataWeighter)
    done = learned(arguments, weighter, lambda one, prepared, inputs: one.iterate(prepared))
    evidence = weighting_evidence(
        done.prepared, weighter.weights_, weighter.curve_, weighter.problem_.metric.name, arguments.warm_up,
        done.scores, done.judge,
    )  # fmt: skip
    with new_folder(done.out) as folder:
        write_weight_run(
            folder,
            config=config_of(arguments, weighter, done),
            prepared=done.prepared,
            weights=weighter.weights_,
            history=weighter.history_,
            evidence=evidence,
            predictor=weighter.predictor_,
            title=f"{done.inputs.name}: {arguments.method}, {len(done.prepared.train)} rows, "
            f"{len(done.prepared.valid)} trusted",
        )
    say_end(done)
    return line_of(arguments, weighter, done, more={"zeros": evidence["zeros"]})
