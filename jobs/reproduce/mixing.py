"""MixRL and its baselines (Hwang, Whang 2021, section 5): test error with mixed rows, over that without, same seeds.

    RAYDM_DATA=... python jobs/reproduce/mixing.py no2 --seeds 10
    RAYDM_DATA=... python jobs/reproduce/mixing.py thin_film --methods mixrl global-knn c-mixup
    RAYDM_DATA=... python jobs/reproduce/mixing.py no2 --stop holdout

no2 has 200 training rows, 200 trusted, 100 to test on, and the paper's MLP 512-256; thin_film has 500, 300, 300 and the
same MLP (the paper's has 2048-1024-512-256: give --predictor-args on a GPU). The paper reports RMSE .5165 without
mixing and .5012 with MixRL on no2 (a ratio of .970), 15.55 and 13.25 on its Synthetic set (.852).

How a training ends decides what mixing can add, and the paper does not say on which rows it stops early. `--stop valid`
(the default) stops on the trusted rows; `holdout` on a tenth of the training rows, which are then not trained on;
`never` trains all steps. A seed draws the split and all else. Each test error is the mean of --test-repeats trainings.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
from common import Row, over_seeds, parser, report

from raydm import DataMixer
from raydm.data import Prepared, load_set, prepare
from raydm.estimators.mixer import MLP
from raydm.mixing.methods import METHODS
from raydm.mixing.scores import gains
from raydm.predictors import Stacked, make_predictor

SIZES = {"no2": (200, 200), "thin_film": (500, 300)}
STOPS = ("valid", "holdout", "never")
_HELD = 0.1


def prepared_set(name: str, seed: int, sizes: tuple[int, int]) -> Prepared:
    """The split that a seed draws, encoded."""
    loaded = load_set(name, seed=seed, sizes=sizes)
    return prepare(loaded.train, loaded.valid, loaded.test, label=loaded.label, id="id")


def stopping(prepared: Prepared, seed: int, predictor: Stacked, stop: str) -> tuple[Prepared, Stacked]:
    """The rows that are trained on, and the predictor with the rows that it watches."""
    if stop != "holdout":
        return prepared, predictor
    order = np.random.default_rng(seed).permutation(len(prepared.train))
    held = round(_HELD * len(order))
    watched, train = prepared.train.take(order[:held]), prepared.train.take(np.sort(order[held:]))
    return replace(prepared, train=train), predictor.watching(watched)


def one_seed(
    prepared: Prepared, seed: int, methods: Mapping[str, Row], predictor: Stacked, stop: str, repeats: int
) -> Iterator[Row]:
    """A row of each method, which are arguments of `DataMixer` by the name that the row is given."""
    assert prepared.test is not None
    prepared, predictor = stopping(prepared, seed, predictor, stop)
    for method, settings in methods.items():
        started = time.perf_counter()
        mixer = DataMixer(random_state=seed, predictor=predictor, **settings)
        for _ in mixer.iterate(prepared):
            pass
        seconds = time.perf_counter() - started
        figures = gains(mixer.problem_, prepared.train, mixer.pairs_, prepared.test, repeats)
        yield {"method": method, "seed": seed, "mixed_rows": len(mixer.pairs_), **figures, "seconds": seconds}


def parsed(arguments: argparse.ArgumentParser) -> tuple[argparse.Namespace, Stacked]:
    """What is given, beside the arguments of `common.parser` a set, its sizes, and how trainings end; the predictor."""
    arguments.add_argument("name", choices=list(SIZES))
    arguments.add_argument("--sizes", type=int, nargs=2, metavar=("N", "M"))
    arguments.add_argument("--stop", choices=STOPS, default="valid")
    arguments.add_argument("--test-repeats", type=int, default=5)
    given = arguments.parse_args()
    if given.predictor != "auto":
        arguments.error("--predictor: this job trains an MLP; --predictor-args change it")
    params = {**MLP, **given.predictor_args} | ({"patience": None} if given.stop == "never" else {})
    given.sizes = tuple(given.sizes or SIZES[given.name])
    return given, make_predictor("mlp", **params)


def main() -> None:
    given, predictor = parsed(parser(__doc__, seeds=10, methods=METHODS))
    methods = {method: {"method": method, **given.settings} for method in given.methods}

    def one(seed: int) -> Iterator[Row]:
        prepared = prepared_set(given.name, seed, given.sizes)
        for row in one_seed(prepared, seed, methods, predictor, given.stop, given.test_repeats):
            yield {"set": given.name, "stop": given.stop, **row}

    report(over_seeds(given, one), ("set", "stop", "method"))


if __name__ == "__main__":
    main()
