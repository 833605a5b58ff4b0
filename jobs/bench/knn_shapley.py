"""KNN-Shapley of many training rows: seconds, and beside pyDVL's on a size that it manages, as a ratio.

    python jobs/bench/knn_shapley.py [--rows 100000] [--features 64] [--valid 1000] [--k 5] [--threads 2]
        [--peer-rows 2000] [--peer-valid 100]

Two normal clouds with 10 % of the labels flipped. pyDVL (`pip install pydvl`) is run if it is installed, on the first
--peer-rows and --peer-valid of them, three times in turn with ours; the values are compared too. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import resource
import statistics
import time

import numpy as np
import torch

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.metrics import METRICS, discovery_auc
from raydm.predictors import make_predictor
from raydm.utility import InProcess, Problem
from raydm.valuation.game import Game
from raydm.valuation.knn_shapley import knn_shapley


def ours(train: Examples, valid: Examples, k: int) -> tuple[np.ndarray, float]:
    """Values (N,) and seconds."""
    problem = Problem(make_predictor("logistic"), valid, Task("classification", 2), METRICS["accuracy"], seed=0)
    started = time.perf_counter()
    *_, estimate = knn_shapley(Game(train, problem, InProcess(problem)), k=k)
    return estimate.values, time.perf_counter() - started


def pydvl(train: Examples, valid: Examples, k: int, threads: int) -> tuple[np.ndarray, float]:
    """Values (N,) in the order of the rows, and seconds."""
    from joblib import parallel_config
    from pydvl.valuation import Dataset, KNNShapleyValuation
    from sklearn.neighbors import KNeighborsClassifier

    data = [
        Dataset(e.x, e.y, feature_names=[f"x{i}" for i in range(e.x.shape[1])], target_names=["y"])
        for e in (train, valid)
    ]
    started = time.perf_counter()
    with parallel_config(n_jobs=threads):
        valuation = KNNShapleyValuation(KNeighborsClassifier(n_neighbors=k), data[1], progress=False).fit(data[0])
    result = valuation.result
    seconds = time.perf_counter() - started
    values = np.empty(len(train))
    values[np.asarray(result.indices)] = np.asarray(result.values)
    return values, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {
        "rows": 100_000,
        "features": 64,
        "valid": 1000,
        "k": 5,
        "threads": 2,
        "peer-rows": 2000,
        "peer-valid": 100,
    }.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    rng = np.random.default_rng(0)
    n = a.rows + a.valid
    y = rng.integers(0, 2, n)
    x = (rng.standard_normal((n, a.features)) + 0.25 * y[:, None]).astype(np.float32)
    flipped = (rng.random(n) < 0.1) & (np.arange(n) < a.rows)
    every = Examples(x, np.where(flipped, 1 - y, y).astype(np.int64), np.arange(n))
    train, valid = every.take(np.arange(a.rows)), every.take(np.arange(a.rows, n))
    ours(train.take(np.arange(100)), valid.take(np.arange(10)), a.k)  # warms up

    load = os.getloadavg()[0]
    values, seconds = ours(train, valid, a.k)
    line = {
        "rows": a.rows,
        "features": a.features,
        "valid": a.valid,
        "k": a.k,
        "threads": a.threads,
        "seconds": round(seconds, 2),
        "discovery_auc": round(discovery_auc(values, flipped[: a.rows]), 4),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "load_before": round(load, 2),
    }
    if importlib.util.find_spec("pydvl"):
        small = train.take(np.arange(a.peer_rows)), valid.take(np.arange(a.peer_valid))
        pydvl(train.take(np.arange(100)), valid.take(np.arange(10)), a.k, a.threads)  # starts its workers
        pairs = [(ours(*small, a.k), pydvl(*small, a.k, a.threads)) for _ in range(3)]
        (our_values, _), (their_values, _) = pairs[0]
        line["pydvl"] = {
            "rows": a.peer_rows,
            "valid": a.peer_valid,
            "seconds": round(statistics.median(theirs[1] for _, theirs in pairs), 3),
            "ours_s": round(statistics.median(mine[1] for mine, _ in pairs), 3),
            "ratio": round(statistics.median(theirs[1] / mine[1] for mine, theirs in pairs), 1),
            "largest_difference": float(np.abs(our_values - their_values).max()),
        }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
