"""Robust learning (DVRL, section 4.3): a small CNN trained on images of which 40 % have a wrong label.

    RAYDM_DATA=... python jobs/reproduce/robust.py fashion_mnist
    RAYDM_DATA=... python jobs/reproduce/robust.py cifar10 --noise background

Noise as in Ren et al. 2018, whom the paper follows: `uniform` gives a wrong label another class, drawn uniformly;
`background` gives all of them one class, which the seed draws. Each row of results is the test accuracy of the same CNN
trained on: `all` rows (the baseline), the `clean` ones (as if the wrong ones were known), the `trusted` validation rows
alone, all rows `weighted` by h_phi or `weighted_by_best_input` (its best input alone), the rows `kept` by h_phi, and
`final`, what raydm returns.

Sizes fit two CPU cores: 2000 training images, 400 trusted, 2000 to test on, every image pooled to half its side, 10
epochs of a CNN of 8 and 16 channels. The paper trains WideResNet-28-10 and ResNet-32 on 50,000 images of CIFAR-10.
CIFAR-10 here was re-encoded as JPEG, which loses detail; 20,000 training images of it are at hand. On a GPU, e.g.:

    ... robust.py cifar10 --sizes 19000 1000 --pool 1 --predictor-args '{"channels": [32, 64, 128], "epochs": 20}'
        --settings '{"steps": 2000, "outer_batch": 1000}'
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from common import (
    METHODS,
    Array,
    Row,
    encoded,
    final_score,
    h_phi_and_best_input,
    judged,
    learn,
    over_seeds,
    parser,
    relabelled,
    report,
    scores,
    together,
)

from raydm.data import Prepared, flip_labels, load_set, to_array, vector_column
from raydm.metrics import discovery_auc

CNN = {"channels": [8, 16], "epochs": 10}
LEARNING = {"steps": 200, "rollouts": 16}


def pooled(table: pa.Table, pool: int) -> pa.Table:
    """Images (N, H, W, channels) averaged over squares of pool x pool."""
    images = to_array(table["x"]).astype(np.float32)
    n, height, width, channels = images.shape
    squares = images.reshape(n, height // pool, pool, width // pool, pool, channels)
    return pa.table({"x": vector_column(squares.mean((2, 4))), "label": table["label"]})


def background(y: Array, share: float, n_classes: int, seed: int) -> tuple[Array, Array]:
    """Gives a share of all rows, none of which had it, the label of one class: labels (N,), which are wrong (N,)."""
    draw = np.random.default_rng(seed)
    one = int(draw.integers(n_classes))
    others = np.flatnonzero(y != one)
    wrong = np.zeros(len(y), np.bool_)
    wrong[draw.choice(others, min(round(share * len(y)), len(others)), replace=False)] = True
    return np.where(wrong, one, y), wrong


def noisy(prepared: Prepared, noise: str, share: float, seed: int) -> tuple[Prepared, Array]:
    """The data with wrong labels, and which they are: (N,)."""
    y, n_classes = prepared.train.y, prepared.labels.n_outputs
    if noise == "background":
        labels, wrong = background(y, share, n_classes, seed)
    else:
        labels, wrong = flip_labels(y, share, n_classes=n_classes, seed=seed)
    return relabelled(prepared, labels), wrong


def one_seed(
    name: str, noise: str, share: float, seed: int, sizes: tuple[int, int], pool: int, methods: dict[str, Row]
) -> Iterator[Row]:
    loaded = load_set(name, seed=seed, sizes=sizes)
    tables = [pooled(part, pool) for part in (loaded.train, loaded.valid, loaded.test)]
    prepared, wrong = noisy(encoded(*tables, "label"), noise, share, seed)
    train, valid, test = prepared.train, prepared.valid, prepared.test
    assert test is not None
    n, m = len(train), len(valid)
    for method, settings in methods.items():
        started = time.perf_counter()
        valuator = learn(prepared, seed, **settings)
        seconds = time.perf_counter() - started
        learned, best = h_phi_and_best_input(valuator)
        of_train: dict[str, Array] = {
            "all": np.ones(n), "clean": ~wrong, "weighted": learned, "kept": learned >= 0.5,
            "weighted_by_best_input": best,
        }  # fmt: skip
        weights = {k: np.concatenate([w, np.zeros(m)]) for k, w in of_train.items()}
        weights["trusted"] = np.concatenate([np.zeros(n), np.ones(m)])
        yield {
            "set": name,
            "noise": noise,
            "method": method,
            "seed": seed,
            "final": final_score(valuator, test, "accuracy"),
            **scores(valuator.problem_, together(train, valid), weights, test, "accuracy"),
            "auc": discovery_auc(valuator.values_, wrong),
            "auc_h_phi": discovery_auc(learned, wrong),
            "auc_best_input": discovery_auc(best, wrong),
            **judged(valuator),
            "seconds": seconds,
        }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("name", choices=("fashion_mnist", "cifar10"))
    arguments.add_argument("--noise", choices=("uniform", "background"), default="uniform")
    arguments.add_argument("--share", type=float, default=0.4)
    arguments.add_argument("--sizes", type=int, nargs=2, default=(2000, 400), metavar=("N", "M"))
    arguments.add_argument("--pool", type=int, default=2, help="side of the squares that are averaged; 1: none")
    arguments.set_defaults(predictor="cnn")
    given = arguments.parse_args()
    cnn = CNN if given.predictor == "cnn" else {}
    common = {"predictor": given.predictor, "predictor_params": cnn | given.predictor_args}
    methods = {name: METHODS[name] | common | LEARNING | given.settings for name in given.methods}
    sizes = tuple(given.sizes)
    one = lambda seed: one_seed(given.name, given.noise, given.share, seed, sizes, given.pool, methods)
    report(over_seeds(given, one), ("set", "noise", "method"))


if __name__ == "__main__":
    main()
