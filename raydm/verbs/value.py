"""`raydm value`: values every training row, trains the final predictor, gathers evidence, writes the run."""

from __future__ import annotations

import dataclasses
import sys
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from raydm.data import Prepared, fingerprint
from raydm.estimators import DataValuator
from raydm.metrics import metric_for
from raydm.report.atomic import check_free, new_folder
from raydm.report.evidence import LEARNED, discovery, removal, verdict
from raydm.report.run import values_table, write_run
from raydm.storage import output
from raydm.valuation import ValueFunction
from raydm.valuation.methods import Learned
from raydm.verbs.inputs import Inputs, read_inputs
from raydm.verbs.line import prints_line
from raydm.verbs.resume import check_resume, journal_of
from raydm.verbs.setup import check_flags, check_judges, make_valuator, prepared_of, with_noise

_SHOWN = ("utility", "mean_h", "share", "error")  # of the history, beside the progress bar


@prints_line
def run(arguments: Namespace) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    check_flags(arguments)
    check_resume(arguments)
    valuator = make_valuator(arguments, arguments.method, arguments.method_args)
    inputs = read_inputs(arguments)
    name = f"{inputs.name}-value-{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}"
    out = output(arguments.storage, arguments.out, Path("runs") / name)
    check_free(out)
    prepared = prepared_of(arguments, inputs)
    metric = metric_for(arguments.metric, prepared.labels.task)
    check_judges(metric, prepared, inputs)
    prepared, flipped = with_noise(arguments, prepared)
    for note in prepared.encoder.notes:  # of its other notes prepare has warned
        _say(note)
    with journal_of(arguments, inputs) as journal:
        valuator.utility = journal.over(valuator.utility)
        learn(valuator, prepared, quiet=arguments.quiet)
        evidence = evidence_of(valuator, prepared, flipped)
        returned = _returned(valuator)
        figures, sentence = _judged(evidence, returned)
        config = _config(arguments, inputs, prepared, valuator)
        with journal.writing(), new_folder(out) as folder:
            write_run(
                folder,
                config=config,
                values=values_table(
                    prepared.train.ids, valuator.values_, valuator.selected_, flipped, valuator.standard_errors_
                ),
                history=valuator.history_,
                evidence=evidence,
                value_function=_value_function(valuator),
                task=valuator.problem_.task,
                n_features=prepared.train.x.shape[1],
                predictor=valuator.predictor_,
                roles=prepared.roles,
                title=_title(arguments, inputs, prepared),
            )
    say_collapses(valuator)
    _say(sentence)
    _say(f"the run is in {out}")
    return {
        "run": str(out),
        "method": arguments.method,
        "rows": len(prepared.train),
        "steps": len(valuator.history_),
        "seconds": round(valuator.seconds_, 3),
        "metric": valuator.problem_.metric.name,
        "utility": valuator.history_[-1].get("utility") if valuator.history_ else None,
        "valid_score": valuator.predictor_score(prepared.valid),
        "test_score": evidence["test_score"],
        "discovery_auc": figures[LEARNED] if flipped is not None else None,
        "discovery_f1": evidence["discovery"]["f1"][LEARNED] if flipped is not None else None,
        "removal_gain": evidence["removal"]["gain"][LEARNED],
        "inputs": {k: v for k, v in figures.items() if k != LEARNED},
        "better_than_inputs": evidence["better_than_inputs"],
        "returned": returned or ("learned" if arguments.method == "dvrl" else arguments.method),
        "selected": int(valuator.selected_.sum()),
    }


def learn(valuator: DataValuator, prepared: Prepared, *, quiet: bool) -> None:
    """Learns, with a progress bar."""
    steps = valuator.iterate(prepared)
    with tqdm(steps, desc=valuator.method, unit="step", file=sys.stderr, disable=quiet) as bar:
        for _ in bar:
            bar.total = valuator.valuation_.total
            last = {k: v for k, v in valuator.history_[-1].items() if k in _SHOWN}
            bar.set_postfix({k: f"{v:.4g}" for k, v in last.items()}, refresh=False)


def evidence_of(valuator: DataValuator, prepared: Prepared, flipped: npt.NDArray[np.bool_] | None) -> dict[str, Any]:
    """Discovery where flips are known, removal, and the final predictor's test score."""
    rankings = {LEARNED: valuator.values_, **valuator.inputs_}
    judge, name = (prepared.test, "test") if prepared.test is not None else (prepared.valid, "validation")
    evidence: dict[str, Any] = {"test_score": None, "test_score_unvalued": None}
    if flipped is not None:
        evidence["discovery"] = discovery(rankings, flipped)
    evidence["removal"] = {"judge": name, **removal(rankings, valuator.problem_, prepared.train, judge)}
    if prepared.test is not None:
        evidence["test_score"] = valuator.predictor_score(prepared.test)
        evidence["test_score_unvalued"] = evidence["removal"]["lowest"][LEARNED][0]
    return evidence


def _value_function(valuator: DataValuator) -> ValueFunction | None:
    return valuator.valuation_.dvrl.value_function if isinstance(valuator.valuation_, Learned) else None


def _returned(valuator: DataValuator) -> str | None:
    """The input whose values DVRL returned; None where the values are the method's own."""
    function = _value_function(valuator)
    return None if function is None or function.learned else function.best


def _judged(evidence: dict[str, Any], returned: str | None) -> tuple[dict[str, float], str]:
    """The figure of the values and of each trivial ranking, and what to say of them."""
    if "discovery" in evidence:
        figures, what = evidence["discovery"]["auc"], "discovery AUC"
    else:
        judge = evidence["removal"]["judge"]
        hint = "" if judge == "test" else " that they were learned from (give --test for a fair judge)"
        figures, what = evidence["removal"]["gain"], f"removal gain on the {judge} set{hint}"
    evidence["better_than_inputs"], evidence["verdict"] = verdict(figures, what, returned)
    return figures, evidence["verdict"]


def _config(arguments: Namespace, inputs: Inputs, prepared: Prepared, valuator: DataValuator) -> dict[str, Any]:
    given = {k: v for k, v in vars(arguments).items() if k not in {"module", "out", "resume", "quiet", "kind"}}
    tables = {"train": inputs.train, "valid": inputs.valid, "test": inputs.test}
    return {
        "method": arguments.method,
        "arguments": given | {"kind": dict(arguments.kind)},
        "predictor": valuator.problem_.predictor.config(),
        "metric": valuator.problem_.metric.name,
        "threshold": valuator.threshold_,
        "fingerprints": {name: fingerprint(table) for name, table in tables.items() if table is not None},
        "rows": {name: table.num_rows for name, table in tables.items() if table is not None},
        "notes": prepared.notes,
        "seconds": valuator.seconds_,
        "judge": _judge(valuator),
    }


def _judge(valuator: DataValuator) -> dict[str, Any] | None:
    """What DVRL's judge found, as JSON allows."""
    if not isinstance(valuator.valuation_, Learned):
        return None
    dvrl = valuator.valuation_.dvrl
    verdict = None if dvrl.verdict is None else dataclasses.asdict(dvrl.verdict)
    return {"detection_of_inputs": dvrl.detection, "verdict": verdict, "restarts": dvrl.restarts}


def _title(arguments: Namespace, inputs: Inputs, prepared: Prepared) -> str:
    noise = f", {arguments.noise:.0%} of the labels flipped" if arguments.noise else ""
    return f"{inputs.name}: {len(prepared.train)} training rows{noise}, {len(prepared.valid)} trusted rows"


def say_collapses(valuator: DataValuator) -> None:
    """Says where h_phi collapsed, and what was done."""
    if isinstance(valuator.valuation_, Learned):
        for event in valuator.valuation_.dvrl.restarts:
            then = "learned again from other draws" if event["attempt"] < valuator.restarts else "given up in this fold"
            _say(f"h_phi collapsed ({event['how']}) in fold {event['fold']}, attempt {event['attempt']}: {then}")


def _say(text: str) -> None:
    print(f"raydm: {text}", file=sys.stderr)
