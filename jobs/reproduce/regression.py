"""Targets that are wrong, by the percentage error (RMSPE) that the paper uses for store sales (DVRL, section 4.1).

    python jobs/reproduce/regression.py diabetes                      # 250 training rows, 60 trusted
    RAYDM_DATA=... python jobs/reproduce/regression.py no2 --predictor lightgbm

The paper's set, Rossmann's, is not at hand. Here a fifth of the training targets is replaced by those of other rows, in
`diabetes` (progression of a disease, 25 to 346) or `no2` (logarithm of a concentration; its RMSPE leaves no row near 0
out). Printed for each method: how well values tell replaced targets (`auc`), and the RMSPE (lower is better) of the
same predictor trained on `all` rows, on the `clean` ones, without the 20 % of the `lowest` or of the `highest` values,
and `final`, what raydm returns. Methods are `default` and `dvrl` (as published), and every game of `raydm.valuation`:

    python jobs/reproduce/regression.py diabetes --methods default knn-shapley data-oob loo
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from common import (
    METHODS,
    Array,
    Row,
    encoded,
    final_score,
    h_phi_and_best_input,
    judged,
    learn,
    lowest_removed,
    over_seeds,
    parser,
    relabelled,
    report,
    scores,
)

from raydm.data import load_set
from raydm.metrics import discovery_auc
from raydm.valuation.methods import Learned


def replaced(y: Array, share: float, seed: int) -> tuple[Array, Array]:
    """Targets (N,) of which a share is that of another row, and which (N,) differ for it."""
    draw = np.random.default_rng(seed)
    rows = draw.choice(len(y), round(share * len(y)), replace=False)
    others = (rows + draw.integers(1, len(y), len(rows))) % len(y)
    corrupted = y.copy()
    corrupted[rows] = y[others]
    return corrupted, corrupted != y


def one_seed(
    name: str, share: float, seed: int, sizes: tuple[int, int] | None, methods: dict[str, Row]
) -> Iterator[Row]:
    loaded = load_set(name, seed=seed, sizes=sizes)
    tables = [part.drop_columns("id") for part in (loaded.train, loaded.valid, loaded.test)]
    right = encoded(*tables, loaded.label)
    y, wrong = replaced(right.train.y, share, seed)
    prepared = relabelled(right, y)
    assert prepared.test is not None
    for method, settings in methods.items():
        started = time.perf_counter()
        valuator = learn(prepared, seed, **settings)
        seconds = time.perf_counter() - started
        values = valuator.values_
        weights = {
            "all": np.ones(len(y)), "clean": ~wrong, "without_lowest": lowest_removed(values, 0.2),
            "without_highest": lowest_removed(-values, 0.2),
        }  # fmt: skip
        extra: Row = {}
        if isinstance(valuator.valuation_, Learned):
            learned, best = h_phi_and_best_input(valuator)
            extra = {"auc_h_phi": discovery_auc(learned, wrong), "auc_best_input": discovery_auc(best, wrong)}
        yield {
            "set": name,
            "predictor": settings["predictor"],
            "method": method,
            "seed": seed,
            "auc": discovery_auc(values, wrong),
            **extra,
            "final": final_score(valuator, prepared.test, settings["metric"]),
            **scores(valuator.problem_, prepared.train, weights, prepared.test, settings["metric"]),
            **judged(valuator),
            "seconds": seconds,
        }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("name", choices=("diabetes", "no2"))
    arguments.add_argument("--share", type=float, default=0.2)
    arguments.add_argument("--sizes", type=int, nargs=2, metavar=("N", "M"))
    arguments.add_argument("--metric", default="rmspe")
    arguments.set_defaults(predictor="linear", methods=["default", "dvrl", "knn-shapley", "data-oob"])
    given = arguments.parse_args()
    common = {"predictor": given.predictor, "predictor_params": given.predictor_args, "metric": given.metric}
    methods = {name: METHODS.get(name, {"method": name}) | common | given.settings for name in given.methods}
    sizes = tuple(given.sizes) if given.sizes else None
    rows = over_seeds(given, lambda seed: one_seed(given.name, given.share, seed, sizes, methods))
    report(rows, ("set", "predictor", "method"))


if __name__ == "__main__":
    main()
