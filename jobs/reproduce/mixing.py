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

import time
from collections.abc import Iterator
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


def prepared_set(name: str, seed: int, sizes: tuple[int, int] | None) -> Prepared:
    """The split that a seed draws, encoded."""
    loaded = load_set(name, seed=seed, sizes=sizes or SIZES[name])
    return prepare(loaded.train, loaded.valid, loaded.test, label=loaded.label, id="id")


def one_seed(
    prepared: Prepared, seed: int, methods: list[str], predictor: Stacked, settings: Row, stop: str, repeats: int
) -> Iterator[Row]:
    assert prepared.test is not None
    if stop == "holdout":
        order = np.random.default_rng(seed).permutation(len(prepared.train))
        held = round(_HELD * len(order))
        watched, train = prepared.train.take(order[:held]), prepared.train.take(np.sort(order[held:]))
        prepared, predictor = replace(prepared, train=train), predictor.watching(watched)
    for method in methods:
        started = time.perf_counter()
        mixer = DataMixer(method, random_state=seed, predictor=predictor, **settings)
        for _ in mixer.iterate(prepared):
            pass
        seconds = time.perf_counter() - started
        figures = gains(mixer.problem_, prepared.train, mixer.pairs_, prepared.test, repeats)
        yield {"method": method, "seed": seed, "mixed_rows": len(mixer.pairs_), **figures, "seconds": seconds}


def main() -> None:
    arguments = parser(__doc__, seeds=10, methods=METHODS)
    arguments.add_argument("name", choices=list(SIZES))
    arguments.add_argument("--sizes", type=int, nargs=2, metavar=("N", "M"))
    arguments.add_argument("--stop", choices=STOPS, default="valid")
    arguments.add_argument("--test-repeats", type=int, default=5)
    given = arguments.parse_args()
    if given.predictor != "auto":
        arguments.error("--predictor: this job trains an MLP; --predictor-args change it")
    params = {**MLP, **given.predictor_args} | ({"patience": None} if given.stop == "never" else {})
    predictor = make_predictor("mlp", **params)
    sizes = tuple(given.sizes) if given.sizes else None

    def one(seed: int) -> Iterator[Row]:
        rows = one_seed(
            prepared_set(given.name, seed, sizes), seed, given.methods, predictor, given.settings, given.stop,
            given.test_repeats,
        )  # fmt: skip
        for row in rows:
            yield {"set": given.name, "stop": given.stop, **row}

    report(over_seeds(given, one), ("set", "stop", "method"))


if __name__ == "__main__":
    main()
