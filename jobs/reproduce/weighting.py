"""Data weighting of Hu et al. (2019), tables 2 and 3: few or imbalanced labels, beside all baselines.

    RAYDM_DATA=... python jobs/reproduce/weighting.py sst2-20 --model FOLDER --small
    python jobs/reproduce/weighting.py cifar10-20 --small --seeds 5 --methods base weight ren2018

Settings, training and trusted rows: sst5-low 40 and 2 a class, trec-low and imdb-low 40 and 5, cifar10-low 40 and 2;
and imbalanced, sst2-20, -50, -100, cifar10-20, -50, -100: so many of one class (negative; airplane) and 1,000 of the
other (positive; automobile), with 10 trusted of each. Each seed draws a subset of its own. Tests are the official ones,
or --most-test rows of them.

Theirs: BERT-base-uncased, Adam 4e-5, weight decay .01, 64 tokens; ResNet-34 from ImageNet's weights (here they come by
--predictor-args '{"weights": FILE, "stem": "imagenet"}'), SGD 1e-3, momentum .9; 15 seeds. With --small, for two cores:
a small encoder, such as a MiniLM, 32 tokens, 4e-4; ResNet-8 from scratch, SGD .025; 1,000 test rows.
Their test accuracies, base / Ren et al. / weighting: SST-2 20 : 1000 54.9 / 74.6 / 75.1; CIFAR-10 20 : 1000 72.2 /
74.4 / 75.3; SST-5 base 33.3, weighting 36.5.

A JSON line a run: accuracy on the test set, on each class, on D^v; seconds; the rare class's share of all weight. Then
one for each method with mean, standard deviation, least and greatest.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from common import Row, with_deviations

from raydm import DataWeighter
from raydm.data import Examples, Prepared, load_subset
from raydm.errors import RaydmWarning
from raydm.estimators.reading import Reading
from raydm.predictors import Fitted
from raydm.weighting.methods import METHODS

RARE = {"sst2": ("negative", "positive"), "cifar10": ("airplane", "automobile")}
LOW: dict[str, tuple[str, int]] = {"sst5-low": ("sst5", 2), "trec-low": ("trec", 5), "imdb-low": ("imdb", 5),
                                   "cifar10-low": ("cifar10", 2)}  # fmt: skip
SETTINGS = (*LOW, *(f"{name}-{rare}" for name in RARE for rare in (20, 50, 100)))
ORDER = ("base", "base+valid", "proportion", "ren2018", "weight")


def counts(setting: str) -> tuple[str, Any, Any]:
    """The named set, and its training and trusted rows of each class."""
    if setting in LOW:
        name, valid = LOW[setting]
        return name, 40, valid
    name, rare = setting.rsplit("-", 1)
    few, many = RARE[name]
    return name, {few: int(rare), many: 1000}, {few: 10, many: 10}


def prepared_subset(setting: str, seed: int, reading: Reading, most_test: int | None) -> tuple[Prepared, pa.Table]:
    """The subset that a seed draws, read as the predictor wants it; and its training table."""
    name, train, valid = counts(setting)
    drawn = load_subset(name, seed=seed, train=train, valid=valid, most_test=most_test)
    with warnings.catch_warnings():  # public sets hold some rows twice
        warnings.simplefilter("ignore", RaydmWarning)
        prepared = reading.prepare(drawn.train, drawn.valid, drawn.test, label=drawn.label, id="id", task=drawn.task)
    return prepared, drawn.train


def tested(fitted: Fitted, test: Examples, n_classes: int) -> dict[str, Any]:
    """The accuracy on the test set, of all, of the worst class and of each; None of one that no test row has."""
    right = fitted.predict(torch.from_numpy(test.x))[0].argmax(-1).numpy() == test.y
    each = [float(right[test.y == k].mean()) if (test.y == k).any() else None for k in range(n_classes)]
    known = [accuracy for accuracy in each if accuracy is not None]
    return {"accuracy": float(right.mean()), "worst_class": min(known), "each": each}


def one_seed(prepared: Prepared, seed: int, methods: list[str], common: dict[str, Any]) -> Iterator[Row]:
    """A row of each method, from the same initial weights."""
    assert prepared.test is not None
    for method in methods:
        started = time.perf_counter()
        weighter = DataWeighter(method, random_state=seed, **common)
        for _ in weighter.iterate(prepared):
            pass
        seconds = time.perf_counter() - started
        (out,) = weighter.outcomes_
        row = tested(out.fitted, prepared.test, prepared.labels.n_outputs)
        by_class = row.pop("each")
        rows = np.bincount(prepared.train.y, minlength=prepared.labels.n_outputs)
        rare, weights = int(rows.argmin()), weighter.weights_
        yield {
            "method": method, "seed": seed, **row,
            "rare_class": by_class[rare], "valid": float(weighter.scores(prepared.valid)[0]),
            "rare_share": float(weights[prepared.train.y == rare].sum() / max(weights.sum(), 1e-12)),
            "zeros": float((weights < 0.01).mean()), "seconds": seconds,
        }  # fmt: skip


def parsed() -> argparse.Namespace:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("setting", choices=SETTINGS)
    made.add_argument("--methods", nargs="+", default=list(ORDER), choices=METHODS, metavar="METHOD")
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--first-seed", type=int, default=0)
    made.add_argument("--model", help="folder or name of a text encoder (default: bert-base-uncased)")
    made.add_argument("--predictor", help="of images (default: resnet-34, with --small resnet-8)")
    made.add_argument("--predictor-args", type=json.loads, default={}, metavar="JSON")
    made.add_argument("--settings", type=json.loads, default={}, metavar="JSON", help="of DataWeighter, for all")
    made.add_argument("--most-test", type=int, metavar="M", help="test rows (default: all, with --small 1000)")
    made.add_argument("--small", action="store_true", help="a size for two cores")
    return made.parse_args()


def arguments_of(given: argparse.Namespace) -> dict[str, Any]:
    """What all of a job's weighters are made with."""
    common: dict[str, Any] = {"predictor_params": given.predictor_args, "metric": "accuracy"}
    if counts(given.setting)[0] == "cifar10":
        common |= {"image": "x", "predictor": given.predictor or ("resnet-8" if given.small else "resnet-34")}
    else:
        common |= {"text": "text", "predictor": "text", "model": given.model or "bert-base-uncased"}
        if given.small:
            common |= {"length": 32, "predictor_params": {"lr": 4e-4, "batch_size": 16, **given.predictor_args}}
    return common | given.settings


def main() -> None:
    given = parsed()
    common = arguments_of(given)
    most = given.most_test or (1000 if given.small else None)
    reading = DataWeighter(**common).reading

    def one(seed: int) -> Iterator[Row]:
        prepared, _ = prepared_subset(given.setting, seed, reading, most)
        for row in one_seed(prepared, seed, given.methods, common):
            yield {"setting": given.setting, **row}

    with_deviations(given, one)


if __name__ == "__main__":
    main()
