"""What `raydm augment` and `raydm synthesize` do: learn to make new rows, train the predictor on them, write both."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from raydm.checks import check_integer
from raydm.estimators.enlarger import Enlarger
from raydm.report.atomic import new_folder
from raydm.report.enlarge_run import write_enlarge_run
from raydm.verbs.joint import config_of, learned, line_of, made, say, say_end


def run_enlarger(arguments: Namespace, estimator: type[Enlarger]) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    enlarger = made(arguments, estimator)
    if arguments.rows is not None:
        check_integer(f"raydm {arguments.module}", "rows", arguments.rows, 0)
    done = learned(arguments, enlarger, lambda one, prepared, inputs: one.iterate(prepared, inputs.train))
    trained = len(done.prepared.train)
    rows = None if enlarger.maker_ is None else enlarger.table(trained if arguments.rows is None else arguments.rows)
    new_rows = None if rows is None else rows.num_rows
    with new_folder(done.out) as folder:
        write_enlarge_run(
            folder,
            config=config_of(arguments, enlarger, done) | {"verb": arguments.module, "new_rows": new_rows},
            prepared=done.prepared,
            rows=rows,
            history=enlarger.history_,
            evidence={
                "summary": enlarger.summary_, "metric": enlarger.problem_.metric.name, "judge": done.judge,
                "scores": done.scores, "warm_up": arguments.warm_up, "curve": enlarger.curve_,
            },
            predictor=enlarger.predictor_,
            title=f"{done.inputs.name}: {arguments.module}, {arguments.method}, {trained} rows, "
            f"{len(done.prepared.valid)} trusted",
        )  # fmt: skip
    if rows is None:
        say(f"the method {arguments.method} makes no new rows: there is no rows.parquet")
    say_end(done)
    return line_of(arguments, enlarger, done, rows={"new_rows": new_rows or 0})
