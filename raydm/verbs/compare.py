"""`raydm compare`: several methods on the same rows, in one table."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raydm.data import Prepared
from raydm.errors import ParameterError
from raydm.estimators import DataValuator
from raydm.metrics import discovery_auc, discovery_f1, discovery_recall_at_count, metric_for
from raydm.report.atomic import check_free, new_file
from raydm.report.evidence import LEARNED, Rankings, removal
from raydm.report.run import dump
from raydm.storage import output
from raydm.verbs.inputs import read_inputs
from raydm.verbs.line import prints_line
from raydm.verbs.resume import check_resume, journal_of
from raydm.verbs.setup import check_flags, check_judges, make_valuator, prepared_of, with_noise
from raydm.verbs.value import learn, say_collapses

_COLUMNS = ("method", "auc", "f1", "recall", "removal_gain", "test_score", "seconds")


@prints_line
def run(arguments: Namespace) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    check_flags(arguments)
    check_resume(arguments)
    names: list[str] = arguments.methods
    if len({*names}) < len(names):
        raise ParameterError.of("methods", "raydm compare", "different methods", names)
    stray = [name for name in arguments.method_args if name not in names]
    if stray or not all(isinstance(params, dict) for params in arguments.method_args.values()):
        raise ParameterError.of(
            "method_args", "raydm compare", f"an object of settings for each of {names}", arguments.method_args
        )
    names = sorted(names, key=lambda name: name != "dvrl")  # first, since the inputs that are shown are its own
    valuators = {name: make_valuator(arguments, name, arguments.method_args.get(name, {})) for name in names}
    out = None
    if arguments.out is not None or arguments.storage is not None:
        out = output(arguments.storage, arguments.out, Path("compare.json"))
        check_free(out)
    inputs = read_inputs(arguments)
    prepared = prepared_of(arguments, inputs)
    check_judges(metric_for(arguments.metric, prepared.labels.task), prepared, inputs)
    prepared, flipped = with_noise(arguments, prepared)
    rows = []
    with journal_of(arguments, inputs) as journal:
        for name, valuator in valuators.items():
            valuator.utility = journal.over(valuator.utility)
            learn(valuator, prepared, quiet=arguments.quiet)
            say_collapses(valuator)
            rows += _rows(name, valuator, prepared, flipped)
    rows = _once(rows)
    _show(rows)
    judge = "test" if prepared.test is not None else "validation"
    line = {"set": inputs.name, "rows": len(prepared.train), "noise": arguments.noise, "judge": judge, "methods": rows}
    if out is not None:
        with journal.writing(), new_file(out) as file:
            dump(file, line)
    return line


def _rows(
    name: str, valuator: DataValuator, prepared: Prepared, flipped: npt.NDArray[np.bool_] | None
) -> list[dict[str, Any]]:
    """One row for the method, and one for each ranking that it must beat."""
    rankings: Rankings = {LEARNED: valuator.values_, **valuator.inputs_}
    judge = prepared.test if prepared.test is not None else prepared.valid
    gain = removal(rankings, valuator.problem_, prepared.train, judge)["gain"]
    rows = []
    for ranking, values in rankings.items():
        own = ranking == LEARNED
        row: dict[str, Any] = {"method": name if own else f"input: {ranking}", "auc": None, "f1": None, "recall": None}
        if flipped is not None:
            row["auc"] = discovery_auc(values, flipped)
            row["f1"] = discovery_f1(values, flipped)
            row["recall"] = discovery_recall_at_count(values, flipped)
        row["removal_gain"] = gain[ranking]
        row["test_score"] = valuator.predictor_score(prepared.test) if own and prepared.test is not None else None
        row["seconds"] = round(valuator.seconds_, 3) if own else None
        rows.append(row)
    return rows


def _once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without inputs that an earlier method has, too."""
    first: dict[str, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["method"], row)
    return list(first.values())


def _show(rows: list[dict[str, Any]]) -> None:
    width = max(len(row["method"]) for row in rows)
    print(_COLUMNS[0].ljust(width), *(column.rjust(12) for column in _COLUMNS[1:]), file=sys.stderr)
    for row in rows:
        cells = ("-" if row[c] is None else f"{row[c]:.4f}" for c in _COLUMNS[1:])
        print(row["method"].ljust(width), *(cell.rjust(12) for cell in cells), file=sys.stderr)
