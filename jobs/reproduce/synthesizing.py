"""Synthesis on digits with few examples a class: a generator tuned by the dev loss, untuned, and none.

    RAYDM_DATA=... python jobs/reproduce/synthesizing.py --seeds 10
    python jobs/reproduce/synthesizing.py --train 20 --valid 5 --methods none learned

Each seed draws 10 training and --valid trusted rows of each of the ten classes of scikit-learn's digits (8 x 8); all
others are the test set. The predictor is an MLP 64-100-10, SGD .1 with momentum .9, trained 600 steps on 50 rows and 50
artificial ones a step; the generator is a mixture around the training rows with their tangents. Adam tunes all of it
at 3e-3. Trained as long without new rows: none, and base+valid, which trains on the trusted rows too. With --small 60
steps.

A JSON line a run: accuracy on the test set, on the worst class, on D^v; seconds. Then one for each method with mean,
standard deviation, least and greatest.
"""

from __future__ import annotations

import argparse
import json
import math
import warnings
from collections.abc import Iterator
from typing import Any

from common import Row, with_deviations
from weighting import tested

from raydm import DataSynthesizer
from raydm.data import load_subset
from raydm.errors import RaydmWarning
from raydm.synthesizing.methods import METHODS

ORDER = ("none", "base+valid", "untuned", "learned")
BATCH, CLASSES = 50, 10


def one_seed(given: argparse.Namespace, seed: int) -> Iterator[Row]:
    """A row of each method, from the same initial weights, after as many steps."""
    drawn = load_subset("digits", seed=seed, train=given.train, valid=given.valid, most_test=given.most_test)
    for method in given.methods:
        rows = CLASSES * (given.train + given.valid * (method == "base+valid"))
        synthesizer = DataSynthesizer(
            method, random_state=seed, **arguments_of(given, math.ceil(rows / BATCH))
        )  # fmt: skip
        with warnings.catch_warnings():  # public sets hold some rows twice
            warnings.simplefilter("ignore", RaydmWarning)
            prepared = synthesizer.reading.prepare(
                drawn.train, drawn.valid, drawn.test, label=drawn.label, id="id", task=drawn.task
            )
            for _ in synthesizer.iterate(prepared, drawn.train):
                pass
        assert prepared.test is not None
        row = tested(synthesizer.outcomes_[0].fitted, prepared.test, CLASSES)
        row.pop("each")
        valid = float(synthesizer.scores(prepared.valid)[0])
        yield {"setting": f"digits-{given.train}", "method": method, "seed": seed, **row, "valid": valid,
               "seconds": synthesizer.seconds_}  # fmt: skip


def arguments_of(given: argparse.Namespace, steps_an_epoch: int) -> dict[str, Any]:
    """What a synthesizer is made with, so that it takes as many steps whatever an epoch is."""
    steps = given.steps or (60 if given.small else 600)
    params = {"hidden": [100], "optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "batch_size": BATCH}
    params |= given.predictor_args
    if params["optimizer"] != "sgd" and "momentum" not in given.predictor_args:
        del params["momentum"]
    return {
        "predictor": "mlp", "predictor_params": params, "metric": "accuracy", "warm_up": 0, "keep": "average",
        "epochs": max(1, round(steps / steps_an_epoch)), "ratio": 1.0, "classes": "balanced", "learning_rate": 3e-3,
        "generator": "prototypes", "image_shape": (8, 8, 1), **given.settings,
    }  # fmt: skip


def parsed() -> argparse.Namespace:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--train", type=int, default=10, metavar="N", help="training rows of each class (default 10)")
    made.add_argument("--valid", type=int, default=5, metavar="M", help="trusted rows of each class (default 5)")
    made.add_argument("--steps", type=int, help="training steps (default 600, with --small 60)")
    made.add_argument("--methods", nargs="+", default=list(ORDER), choices=METHODS, metavar="METHOD")
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--first-seed", type=int, default=0)
    made.add_argument("--predictor-args", type=json.loads, default={}, metavar="JSON")
    made.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help="of DataSynthesizer, for all")
    made.add_argument("--most-test", type=int, metavar="M", help="test rows (default: all)")
    made.add_argument("--small", action="store_true", help="fewer steps")
    return made.parse_args()


def main() -> None:
    given = parsed()
    with_deviations(given, lambda seed: one_seed(given, seed))


if __name__ == "__main__":
    main()
