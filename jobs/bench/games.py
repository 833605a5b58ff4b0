"""Leave-one-out and truncated Monte Carlo Shapley: raydm against pyDVL, on the same players in one run.

    python -m venv PEERS && PEERS/bin/pip install -r jobs/bench/peers.txt    # pyDVL asks for numpy < 2, raydm for >= 2
    python jobs/bench/games.py --peer-python PEERS/bin/python [--seed 1000] [--only loo] [--permutations 20]

Digits, 1000 training rows of which a fifth have a flipped label, 100 validation rows, logistic regression, accuracy.
Both have the same encoded arrays. pyDVL trains scikit-learn's LogisticRegression as it comes, on all cores through
joblib; raydm trains its own (20 full-batch steps from zero), in one process on one thread. So these are two games, of
the same players, whose values are alike but not equal.

Which estimate is better is therefore told within each game. Two runs of a library that differ by their draws alone
correlate by r12 (Spearman's rank correlation); either correlates with an endlessly long one by about sqrt(r12) (his
correction for attenuation, 1904). raydm's time is that of the first round at which its r12 is not below pyDVL's. What
that misses is the bias of truncation, which is the same rule in both (--truncation: of v(N) there, of v(N) - v(empty)
here). For raydm, `long` is the correlation with an untruncated run of its own (--reference permutations), beside
`expected`, which is sqrt(r12); `across` is pyDVL's correlation with that run of raydm. `seconds` are of the clock,
`processors` those of all processors together, which other work on the machine changes less; both have a ratio. Prints
one JSON line for each method and library, with the machine's load, then a table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from raydm.data import flip_labels, load_set, prepare
from raydm.data.task import Task
from raydm.metrics import METRICS, discovery_auc
from raydm.predictors import make_predictor
from raydm.utility import InProcess, Problem
from raydm.valuation.game import Estimate, Game
from raydm.valuation.leave_one_out import leave_one_out
from raydm.valuation.shapley import shapley

NOISE, CLASSES = 0.2, 10
Values = np.ndarray[Any, Any]


def players(seed: int) -> tuple[Game, Values]:
    """The game, and which labels were flipped; the split, the flips and the draws follow the seed."""
    loaded = load_set("digits", seed=seed)
    prepared = prepare(loaded.train, loaded.valid, label=loaded.label, id="id", task=loaded.task)
    labels, flipped = flip_labels(prepared.train.y, NOISE, n_classes=CLASSES, seed=seed)
    predictor = make_predictor("logistic", device="cpu")
    problem = Problem(predictor, prepared.valid, Task("classification", CLASSES), METRICS["accuracy"], seed)
    return Game(replace(prepared.train, y=labels), problem, InProcess(problem)), flipped


def reseeded(game: Game, seed: int) -> Game:
    problem = replace(game.problem, seed=seed)
    return Game(game.train, problem, InProcess(problem))


class Pydvl:
    """pyDVL in the interpreter where it is installed; see games_pydvl.py."""

    def __init__(self, python: str, game: Game, folder: str) -> None:
        self.python, self.arrays, self.out = python, Path(folder) / "arrays.npz", Path(folder) / "values.npz"
        valid = game.problem.valid
        np.savez(self.arrays, x=game.train.x, y=game.train.y, x_valid=valid.x, y_valid=valid.y)
        asked = subprocess.run([python, "-c", "import pydvl"], capture_output=True, check=False)
        self.present = asked.returncode == 0

    def __call__(self, *arguments: str) -> tuple[Values, Values]:
        """Values (N,), and the cost of its `fit`: seconds, and those of all processors."""
        script = Path(__file__).with_name("games_pydvl.py")
        subprocess.run([self.python, str(script), str(self.arrays), str(self.out), *arguments], check=True)
        with np.load(self.out) as found:
            cost = np.array([found["seconds"], found["processors"]])
            print(f"pyDVL {' '.join(arguments)}: {cost.round(1)} s", file=sys.stderr, flush=True)
            return found["values"], cost


def clocks() -> Values:
    return np.array([time.perf_counter(), time.process_time()])


def rounds(estimates: Iterator[Estimate]) -> Iterator[tuple[Estimate, Values]]:
    """The estimates that tell new values of all players, with what they cost since the start, as `Pydvl` counts it."""
    cost, started, known = np.zeros(2), clocks(), np.empty(0)
    for estimate in estimates:
        cost = cost + clocks() - started
        if np.isfinite(estimate.values).all() and not np.array_equal(estimate.values, known):
            known = estimate.values
            yield estimate, cost
        started = clocks()


def rank_correlation(a: Values, b: Values) -> float:
    return float(spearmanr(a, b).statistic)


def spent(cost: Values, less: Values | None = None) -> dict[str, float]:
    """A cost in words; with the ratios to a lesser one."""
    told = dict(zip(("seconds", "processors"), cost.tolist(), strict=True))
    if less is not None:
        told |= dict(zip(("ratio", "ratio_processors"), (cost / less).tolist(), strict=True))
    return told


def say(rows: list[dict[str, Any]], **row: Any) -> None:
    rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()}
    print(json.dumps(rounded | {"load": round(os.getloadavg()[0], 1)}), flush=True)
    rows.append(rounded)


def compare_loo(game: Game, flipped: Values, pydvl: Pydvl, repeats: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    *_, _ = leave_one_out(game)  # warms up
    ours, theirs = [], []
    for _ in range(repeats):
        *_, (last, cost) = rounds(leave_one_out(game))
        ours.append(cost)
        if pydvl.present:
            values, cost = pydvl("loo")
            theirs.append(cost)
    common: dict[str, Any] = {"method": "loo", "trainings": len(game) + 1}
    cost, auc = np.median(ours, axis=0), discovery_auc(last.values, flipped)
    say(rows, library="raydm", **common, **spent(cost), discovery_auc=auc)
    if pydvl.present:
        auc, across = discovery_auc(values, flipped), rank_correlation(last.values, values)
        told = spent(np.median(theirs, axis=0), cost)
        say(rows, library="pyDVL", **common, **told, discovery_auc=auc, across=across)
    return rows


def until(
    wanted: float, one: Iterator[Estimate], other: Iterator[Estimate]
) -> tuple[tuple[Estimate, Estimate], float, Values]:
    """Takes two runs in turns, round by round, until they correlate as wanted: their estimates, r12, mean cost."""
    for (a, a_cost), (b, b_cost) in zip(rounds(one), rounds(other), strict=False):
        r12, cost = rank_correlation(a.values, b.values), (a_cost + b_cost) / 2
        if r12 >= wanted:
            break
    return (a, b), r12, cost


def compare_tmc(game: Game, flipped: Values, pydvl: Pydvl, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    truncation, seeds = arguments.truncation, (arguments.seed + 1, arguments.seed + 2)
    *_, long = shapley(game, permutations=arguments.reference, truncation=None, tolerance=None)
    wanted, theirs = arguments.wanted, np.zeros(len(game))
    if pydvl.present:
        common = ("tmc", "--permutations", str(arguments.permutations), "--truncation", str(truncation))
        (theirs, cost1), (again, cost2) = (pydvl(*common, "--seed", str(s)) for s in seeds)
        wanted = rank_correlation(theirs, again)
        their_auc = np.mean([discovery_auc(v, flipped) for v in (theirs, again)])
    most = 2048
    settings: dict[str, Any] = {"permutations": most, "truncation": truncation, "tolerance": None, "abreast": 8}
    estimates, r12, cost = until(wanted, *(shapley(reseeded(game, s), **settings) for s in seeds))
    say(
        rows, library="raydm", method="tmc", permutations=round(estimates[0].share * most),
        trainings=estimates[0].evaluations, **spent(cost), r12=r12, expected=max(r12, 0) ** 0.5,
        long=float(np.mean([rank_correlation(e.values, long.values) for e in estimates])),
        discovery_auc=float(np.mean([discovery_auc(e.values, flipped) for e in estimates])),
    )  # fmt: skip
    if pydvl.present:
        say(
            rows, library="pyDVL", method="tmc", permutations=arguments.permutations,
            **spent((cost1 + cost2) / 2, cost), r12=wanted, expected=max(wanted, 0) ** 0.5,
            across=rank_correlation(theirs, long.values), discovery_auc=float(their_auc),
        )  # fmt: skip
    say(
        rows, library="raydm", method="shapley, untruncated", permutations=arguments.reference,
        trainings=long.evaluations, discovery_auc=discovery_auc(long.values, flipped),
    )  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(k for row in rows for k in row))
    cells = [columns, ["---"] * len(columns), *([str(row.get(k, "")) for k in columns] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-python", default=sys.executable, help="an interpreter that has pyDVL")
    parser.add_argument("--only", choices=["loo", "tmc"])
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3, help="of leave-one-out; medians are told")
    parser.add_argument("--permutations", type=int, default=20, help="of pyDVL, in each of its two runs")
    parser.add_argument("--truncation", type=float, default=0.01)
    parser.add_argument("--reference", type=int, default=256, help="permutations of raydm's untruncated run")
    parser.add_argument("--wanted", type=float, default=0.5, help="r12 that raydm must reach where pyDVL is absent")
    arguments = parser.parse_args()
    game, flipped = players(arguments.seed)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        pydvl = Pydvl(arguments.peer_python, game, folder)
        if not pydvl.present:
            print(
                f"pyDVL is not installed for {arguments.peer_python}: raydm runs alone, and no ratio is told. "
                "Make an environment for it (pip install -r jobs/bench/peers.txt) and pass --peer-python.",
                file=sys.stderr,
            )
        if arguments.only != "tmc":
            rows += compare_loo(game, flipped, pydvl, arguments.repeats)
        if arguments.only != "loo":
            rows += compare_tmc(game, flipped, pydvl, arguments)
    print("\n" + table(rows))


if __name__ == "__main__":
    main()
