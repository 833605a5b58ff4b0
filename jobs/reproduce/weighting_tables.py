"""Weighting of tables: all labels right, some wrong, or some classes rare; with few trusted rows, and with more.

    python jobs/reproduce/weighting_tables.py [--sets digits breast_cancer] [--settings clean wrong20 wrong40 rare]

scikit-learn's digits (500 training rows) and breast_cancer (200); trusted rows are as many of each class. wrong20 and
wrong40: so many per cent of the training labels are another class. rare: of the lower half of the classes 8 % of the
rows are left. Methods are those of `raydm weight` by its defaults, and "no agreement", as with --no-agreement.

A JSON line a run: accuracy on the rows that are left, on D^v; seconds. Then one for each setting, number of trusted
rows and method, over sets and seeds, with mean, least and greatest.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import numpy as np
from common import Array, Row, over_seeds, report
from sklearn.datasets import load_breast_cancer, load_digits

from raydm import DataWeighter

SETS = {"digits": (load_digits, 500), "breast_cancer": (load_breast_cancer, 200)}
SETTINGS = {"clean": 0.0, "wrong20": 0.2, "wrong40": 0.4, "rare": 0.0}
METHODS: dict[str, dict[str, Any]] = {
    "base": {"method": "base"},
    "ren2018": {"method": "ren2018"},
    "no agreement": {"agreement": False},
    "weight": {},
}
LEFT = 0.08  # of the rows of a rare class

Rows = tuple[Array, Array]


def drawn(name: str, setting: str, trusted: int, seed: int) -> tuple[Rows, Rows, Rows]:
    """Training, trusted and test rows: x (N, D) float32 and y (N,)."""
    load, n = SETS[name]
    x, y = load(return_X_y=True)
    classes = int(y.max()) + 1
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(y))
    valid = np.concatenate([order[y[order] == c][: trusted // classes] for c in range(classes)])
    rest = rng.permutation(np.setdiff1d(order, valid))
    train, test = rest[:n], rest[n:]
    labels = y[train].copy()
    wrong = rng.random(n) < SETTINGS[setting]
    labels[wrong] = (labels[wrong] + rng.integers(1, classes, wrong.sum())) % classes
    if setting == "rare":
        kept = _thinned(labels)
        train, labels = train[kept], labels[kept]
    x = x.astype(np.float32)
    return (x[train], labels), (x[valid], y[valid]), (x[test], y[test])


def _thinned(y: Array) -> Array:
    """Which rows are left (N,), one of each class at least."""
    kept: Array = (y >= y.max() / 2) | (np.random.default_rng(9).random(len(y)) < LEFT)
    for c in set(y.tolist()):
        if not kept[y == c].any():
            kept[np.flatnonzero(y == c)[0]] = True
    return kept


def one_seed(given: argparse.Namespace, seed: int) -> Iterator[Row]:
    """A row of each set, setting, number of trusted rows and method."""
    for name in given.sets:
        for setting in given.settings:
            for trusted in given.trusted:
                (x, y), (xv, yv), (xt, yt) = drawn(name, setting, trusted, seed)
                for method in given.methods:
                    made = DataWeighter(random_state=seed, **METHODS[method]).fit(x, y, X_valid=xv, y_valid=yv)
                    yield {
                        "setting": setting, "trusted": trusted, "method": method, "set": name, "seed": seed,
                        "accuracy": float((made.predict(xt) == yt).mean()),
                        "valid": float((made.predict(xv) == yv).mean()), "seconds": made.seconds_,
                    }  # fmt: skip


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    made.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    made.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    made.add_argument("--trusted", nargs="+", type=int, default=[20, 100])
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--first-seed", type=int, default=0)
    given = made.parse_args()
    report(over_seeds(given, lambda seed: one_seed(given, seed)), ("setting", "trusted", "method"))


if __name__ == "__main__":
    main()
