"""What the jobs of this folder share: learning on prepared data, trainings by weights, and how results are told."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from raydm import DataValuator
from raydm.data import Examples, Prepared, prepare
from raydm.errors import ParameterError, RaydmWarning
from raydm.metrics import METRICS
from raydm.utility import Problem
from raydm.valuation.methods import Learned
from raydm.valuation.training import fit, takes_weights

Array = np.ndarray[Any, Any]
Row = dict[str, Any]

# By name, what a method differs in from raydm's defaults
METHODS: Mapping[str, dict[str, Any]] = {
    "default": {},
    # The published method's inputs and start, with our optimizer: it sees the validation model alone, starts from
    # nothing, and nobody judges it.
    "dvrl": {"evidence": ("validation",), "start": "nothing", "judge": 0},
}


def parser(doc: str | None, *, seeds: int = 5, methods: Sequence[str] = tuple(METHODS)) -> argparse.ArgumentParser:
    """A job's arguments: seeds, the methods to run, and settings of `DataValuator` for all of them."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--seeds", type=int, default=seeds)
    made.add_argument("--first-seed", type=int, default=0)
    made.add_argument("--methods", nargs="+", default=list(methods), metavar="METHOD")
    made.add_argument("--predictor", default="auto")
    made.add_argument("--predictor-args", type=json.loads, default={}, metavar="JSON")
    made.add_argument(
        "--settings", type=json.loads, default={}, metavar="JSON", help="of DataValuator (DataMixer), for every method"
    )
    return made


def encoded(train: pa.Table, valid: pa.Table, test: pa.Table, label: str) -> Prepared:
    """The sets, encoded; public ones hold some rows twice, of which nothing is said here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RaydmWarning)
        return prepare(train, valid, test, label=label)


def relabelled(prepared: Prepared, y: Array) -> Prepared:
    """The same data with other training labels (N,)."""
    return dataclasses.replace(prepared, train=dataclasses.replace(prepared.train, y=y))


def learn(prepared: Prepared, seed: int, **settings: Any) -> DataValuator:
    """A fitted valuator."""
    valuator = DataValuator(random_state=seed, **settings)
    with warnings.catch_warnings():  # that nothing reaches the threshold shows in the figures
        warnings.simplefilter("ignore", RaydmWarning)
        for _ in valuator.iterate(prepared):
            pass
    return valuator


def h_phi_and_best_input(valuator: DataValuator) -> tuple[Array, Array]:
    """DVRL's two candidates before the judge chose: values (N,) of h_phi, and of its best input."""
    assert isinstance(valuator.valuation_, Learned)
    dvrl = valuator.valuation_.dvrl
    function = dvrl.value_function
    best = dataclasses.replace(function, learned=False).values(dvrl.train)
    if not function.members:  # every restart collapsed
        return best, best
    return dataclasses.replace(function, learned=True).values(dvrl.train), best


def judged(valuator: DataValuator) -> Row:
    """What the judge said of a DVRL run, for its JSON line; empty where nothing was judged."""
    verdict = valuator.valuation_.dvrl.verdict if isinstance(valuator.valuation_, Learned) else None
    if verdict is None:
        return {}
    return {"returned": "learned" if verdict.learned_is_better else "best input", "weights": verdict.best_way}


def lowest_removed(values: Array, share: float) -> Array:
    """Weights (N,) of a training without the given share of the lowest values."""
    kept = np.ones(len(values))
    kept[np.argsort(values, kind="stable")[: round(share * len(values))]] = 0
    return kept


def scores(
    problem: Problem, examples: Examples, weights: Mapping[str, Array], test: Examples, metric: str
) -> dict[str, float]:
    """Test score of a predictor trained with each of the weights (N,), in the metric's own direction, as one stack."""
    stack = np.stack([np.asarray(w, np.float64) for w in weights.values()])
    if not takes_weights(problem.predictor, problem.task):
        stack = (stack >= 0.5).astype(np.float64)
    predictions = fit(problem, examples, stack, "A predictor of this job").predict(torch.from_numpy(test.x)).cpu()
    return dict(zip(weights, METRICS[metric](predictions, torch.from_numpy(test.y)).tolist(), strict=True))


def final_score(valuator: DataValuator, test: Examples, metric: str) -> float:
    """Test score of the predictor that raydm returned; by a metric that may be another than it learned by."""
    predictions = valuator.predictor_.fitted.predict(torch.from_numpy(test.x)).detach().cpu()
    return float(METRICS[metric](predictions, torch.from_numpy(test.y)))


def together(a: Examples, b: Examples) -> Examples:
    """The examples of both sets, numbered anew."""
    x, y = np.concatenate([a.x, b.x]), np.concatenate([a.y, b.y])
    return Examples(x, y, np.arange(len(y)))


def report(rows: Iterable[Row], by: Sequence[str]) -> None:
    """Prints a JSON line for each row as it comes; then, for each group of rows, one with mean, least and greatest.

    Args:
        rows: figures, and words that say what they are of.
        by: the keys that make the groups.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    try:
        for row in rows:
            print(json.dumps({k: _rounded(v) for k, v in row.items()} | {"load": round(os.getloadavg()[0], 1)}))
            sys.stdout.flush()
            groups.setdefault(tuple(row[k] for k in by), []).append(row)
    except ParameterError as error:
        raise SystemExit(f"{sys.argv[0]}: {error}") from error
    for key, members in groups.items():
        line: Row = dict(zip(by, key, strict=True)) | {"seeds": len(members), "first_seed": members[0]["seed"]}
        for name in dict.fromkeys(k for m in members for k in m):
            if name in {*by, "seed"}:
                continue
            known = [m[name] for m in members if m.get(name) is not None]
            if known and not isinstance(known[0], str):
                line[name] = {"mean": _rounded(mean(known)), "min": _rounded(min(known)), "max": _rounded(max(known))}
            elif known:
                line[name] = {word: known.count(word) for word in sorted(set(known))}
        print(json.dumps(line), flush=True)


def _rounded(value: Any) -> Any:
    return round(float(value), 4) if isinstance(value, (float, np.floating)) else value


def over_seeds(arguments: argparse.Namespace, one: Callable[[int], Iterable[Row]]) -> Iterable[Row]:
    """The rows of every seed that was asked for."""
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
        yield from one(seed)


def with_deviations(given: argparse.Namespace, one: Callable[[int], Iterable[Row]]) -> None:
    """Reports the rows of every seed by setting and method, then each method's accuracy with its deviation."""
    rows: list[Row] = []

    def kept() -> Iterable[Row]:
        for row in over_seeds(given, one):
            rows.append(row)
            yield row

    report(kept(), ("setting", "method"))
    for method in given.methods:
        own = [row for row in rows if row["method"] == method]
        each = [row["accuracy"] for row in own]
        sd = float(np.std(each, ddof=1)) if len(each) > 1 else None
        line = {"setting": own[0]["setting"], "method": method, "accuracy": float(np.mean(each)), "sd": sd}
        print(json.dumps(line | {"seeds": len(each)}), flush=True)
