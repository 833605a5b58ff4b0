"""`raydm value`: values every training row, trains the final predictor, gathers evidence, writes the run."""

from __future__ import annotations

import dataclasses
import json
import sys
from argparse import Namespace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from raydm.data import Prepared, fingerprint, flip_labels, prepare
from raydm.errors import DataError, ParameterError
from raydm.estimators import DataValuator
from raydm.metrics import Metric, metric_for
from raydm.report.atomic import check_free, new_folder
from raydm.report.evidence import LEARNED, discovery, removal, verdict
from raydm.report.run import finite, values_table, write_run
from raydm.utility import InProcess
from raydm.valuation import MakeUtility
from raydm.verbs.inputs import Inputs, read_inputs


def run(arguments: Namespace) -> None:
    """Runs the verb; prints one JSON line."""
    _check_flags(arguments)
    valuator = _valuator(arguments)
    inputs = read_inputs(arguments)
    out = arguments.out or Path("runs") / f"{inputs.name}-value-{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}"
    check_free(out)
    prepared = _prepared(arguments, inputs)
    metric = metric_for(arguments.metric, prepared.labels.task)
    _check_judges(metric, prepared, inputs)
    prepared, flipped = _with_noise(arguments, prepared)
    for note in prepared.encoder.notes:  # of its other notes prepare has warned
        _say(note)
    _learn(valuator, prepared, quiet=arguments.quiet)
    evidence = _evidence(valuator, prepared, flipped)
    figures, sentence = _judged(evidence)
    config = _config(arguments, inputs, prepared, valuator)
    with new_folder(out) as folder:
        write_run(
            folder,
            config=config,
            values=values_table(prepared.train.ids, valuator.values_, valuator.selected_, flipped),
            history=valuator.history_,
            evidence=evidence,
            value_function=valuator.dvrl_.value_function,
            predictor=valuator.predictor_,
            roles=prepared.roles,
            title=_title(arguments, inputs, prepared),
        )
    _say(sentence)
    _say(f"the run is in {out}")
    last = valuator.history_[-1]
    line = {
        "run": str(out),
        "method": "dvrl",
        "rows": len(prepared.train),
        "steps": len(valuator.history_),
        "seconds": round(valuator.seconds_, 3),
        "metric": valuator.problem_.metric.name,
        "utility": last["utility"],
        "test_score": evidence["test_score"],
        "discovery_auc": figures[LEARNED] if flipped is not None else None,
        "removal_gain": evidence["removal"]["gain"][LEARNED],
        "inputs": {k: v for k, v in figures.items() if k != LEARNED},
        "better_than_inputs": evidence["better_than_inputs"],
        "selected": int(valuator.selected_.sum()),
    }
    print(json.dumps(finite(line), allow_nan=False))


def _valuator(arguments: Namespace) -> DataValuator:
    same = (
        *("predictor", "metric", "steps", "outer_batch", "rollouts", "baseline", "reward_scale", "learning_rate"),
        *("anneal", "exploration", "mean_bounds", "threshold", "final", "task", "shard", "shared_restart"),
    )
    valuator = DataValuator(
        **{name: getattr(arguments, name) for name in same},
        predictor_params=arguments.predictor_args,
        utility=_utility(arguments),
        random_state=arguments.seed,
    )
    valuator.check()
    return valuator


def _check_flags(arguments: Namespace) -> None:
    """Raises ParameterError where a flag of this verb alone is out of its range or does not fit the others."""
    if not 0 <= arguments.noise < 1:
        raise ParameterError.of("noise", "raydm value", "a number in [0, 1)", arguments.noise)
    if arguments.seed < 0:
        raise ParameterError.of("seed", "raydm value", "an integer >= 0", arguments.seed)
    if arguments.actors is None and (arguments.address or arguments.gpus_per_actor or arguments.cpus_per_actor != 1):
        raise ParameterError("--address, --cpus-per-actor and --gpus-per-actor place Ray actors: add --actors N.")


def _utility(arguments: Namespace) -> MakeUtility:
    if arguments.actors is None:
        return InProcess
    from raydm.distributed import RayRollouts  # Ray takes a second to import; a local run does not need it

    return RayRollouts(arguments.actors, arguments.cpus_per_actor, arguments.gpus_per_actor, arguments.address)


def _prepared(arguments: Namespace, inputs: Inputs) -> Prepared:
    return prepare(
        inputs.train,
        inputs.valid,
        inputs.test,
        label=inputs.label,
        id=arguments.id,
        features=arguments.features,
        kinds=dict(arguments.kind),
        task=arguments.task,
        names=inputs.names,
    )


def _with_noise(arguments: Namespace, prepared: Prepared) -> tuple[Prepared, npt.NDArray[np.bool_] | None]:
    """The training labels with the wanted share flipped, and which these are (None without noise)."""
    if arguments.noise == 0:
        return prepared, None
    if prepared.labels.task != "classification":
        raise ParameterError("--noise flips classes; this is a regression. Leave it out.")
    y, flipped = flip_labels(
        prepared.train.y, arguments.noise, n_classes=prepared.labels.n_outputs, seed=arguments.seed
    )
    if flipped.all() or not flipped.any():
        which = "every" if flipped.all() else "no"
        raise ParameterError(
            f"--noise {arguments.noise:g} flips {which} label of the {len(y)} training rows, so nothing could be "
            "measured. Name a share that flips some of them."
        )
    return dataclasses.replace(prepared, train=dataclasses.replace(prepared.train, y=y)), flipped


def _check_judges(metric: Metric, prepared: Prepared, inputs: Inputs) -> None:
    """Raises DataError where the metric is not defined on the validation or test set: before, not after learning."""
    for examples, name in ((prepared.valid, inputs.names[1]), (prepared.test, inputs.names[2])):
        if examples is not None:
            try:
                metric(torch.zeros(1, len(examples), prepared.labels.n_outputs), torch.from_numpy(examples.y))
            except DataError as error:
                raise DataError(f"{name}: {error}") from error


def _learn(valuator: DataValuator, prepared: Prepared, *, quiet: bool) -> None:
    steps = valuator.iterate(prepared)
    with tqdm(steps, total=valuator.steps, desc="value", unit="step", file=sys.stderr, disable=quiet) as bar:
        for _ in bar:
            last = valuator.history_[-1]
            bar.set_postfix(utility=f"{last['utility']:.4f}", mean_h=f"{last['mean_h']:.2f}", refresh=False)


def _evidence(valuator: DataValuator, prepared: Prepared, flipped: npt.NDArray[np.bool_] | None) -> dict[str, Any]:
    rankings = {LEARNED: valuator.values_, **valuator.inputs_}
    judge, name = (prepared.test, "test") if prepared.test is not None else (prepared.valid, "validation")
    evidence: dict[str, Any] = {"test_score": None, "test_score_unvalued": None}
    if flipped is not None:
        evidence["discovery"] = discovery(rankings, flipped)
    evidence["removal"] = {"judge": name, **removal(rankings, valuator.problem_, prepared.train, judge)}
    if prepared.test is not None:
        x, y = torch.from_numpy(prepared.test.x), torch.from_numpy(prepared.test.y)
        evidence["test_score"] = float(valuator.problem_.metric(valuator.predictor_.fitted.predict(x).cpu(), y))
        evidence["test_score_unvalued"] = evidence["removal"]["lowest"][LEARNED][0]
    return evidence


def _judged(evidence: dict[str, Any]) -> tuple[dict[str, float], str]:
    """The figure of the values and of each trivial ranking, and what to say of them."""
    if "discovery" in evidence:
        figures, what = evidence["discovery"]["auc"], "discovery AUC"
    else:
        judge = evidence["removal"]["judge"]
        hint = "" if judge == "test" else " that they were learned from (give --test for a fair judge)"
        figures, what = evidence["removal"]["gain"], f"removal gain on the {judge} set{hint}"
    evidence["better_than_inputs"], evidence["verdict"] = verdict(figures, what)
    return figures, evidence["verdict"]


def _config(arguments: Namespace, inputs: Inputs, prepared: Prepared, valuator: DataValuator) -> dict[str, Any]:
    given = {k: v for k, v in vars(arguments).items() if k not in {"module", "out", "quiet", "kind"}}
    tables = {"train": inputs.train, "valid": inputs.valid, "test": inputs.test}
    return {
        "method": "dvrl",
        "arguments": given | {"kind": dict(arguments.kind)},
        "predictor": valuator.problem_.predictor.config(),
        "metric": valuator.problem_.metric.name,
        "threshold": valuator.threshold,
        "fingerprints": {name: fingerprint(table) for name, table in tables.items() if table is not None},
        "rows": {name: table.num_rows for name, table in tables.items() if table is not None},
        "notes": prepared.notes,
        "seconds": valuator.seconds_,
    }


def _title(arguments: Namespace, inputs: Inputs, prepared: Prepared) -> str:
    noise = f", {arguments.noise:.0%} of the labels flipped" if arguments.noise else ""
    return f"{inputs.name}: {len(prepared.train)} training rows{noise}, {len(prepared.valid)} trusted rows"


def _say(text: str) -> None:
    print(f"raydm: {text}", file=sys.stderr)
