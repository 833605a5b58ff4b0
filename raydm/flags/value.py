"""Flags of `raydm value` and `raydm compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from raydm.flags.common import add_columns, add_files, add_quiet, add_resume, add_rollouts_place, add_sizes, add_storage
from raydm.flags.types import json_object, number_or
from raydm.flags.verb import Verb

EVIDENCE = ("validation", "out-of-fold", "linear", "forest", "extra-trees", "neighbors")

_VALUE = """Learns a value for every training row against a small trusted validation set, trains a better predictor,
and writes both with evidence into a run directory. Prints one JSON line on stdout."""
_COMPARE = """Values a training set by several methods, on the same rows and flips, and prints a table on stderr:
discovery ROC AUC, F1 of the lower of two clusters of values, recall when as many rows are inspected as are flipped,
removal gain, seconds. Each of DVRL's inputs has a row of its own. Prints one JSON line on stdout."""


def _value(parser: argparse.ArgumentParser) -> None:
    _sets(parser)
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-value-TIME)")
    add_storage(parser)
    add_resume(parser)
    add("--method", default="dvrl", help="dvrl (default), loo, shapley, banzhaf, knn-shapley, influence, data-oob")
    add("--method-args", type=json_object, default={}, metavar="JSON", help="settings of a method other than dvrl, "
        "such as '{\"permutations\": 100}' for shapley")  # fmt: skip
    _learning(parser)
    add_rollouts_place(parser)
    parser.set_defaults(module="value")


def _compare(parser: argparse.ArgumentParser) -> None:
    _sets(parser)
    add = parser.add_argument
    add("--out", type=Path, metavar="FILE", help="new file to write the same JSON into")
    add_storage(parser)
    add_resume(parser)
    add("--methods", nargs="+", default=["dvrl", "knn-shapley", "data-oob"], metavar="METHOD",
        help="of dvrl, loo, shapley, banzhaf, knn-shapley, influence, data-oob (default: dvrl knn-shapley data-oob)"
    )  # fmt: skip
    add("--method-args", type=json_object, default={}, metavar="JSON", help="settings by method, such as "
        "'{\"shapley\": {\"permutations\": 100}}'")  # fmt: skip
    _learning(parser)
    add_rollouts_place(parser)
    parser.set_defaults(module="compare")


def _sets(parser: argparse.ArgumentParser) -> None:
    add_files(parser)
    add_columns(parser)
    add = parser.add_argument
    add("--noise", type=float, default=0.0, metavar="P", help="share of labels to flip once, for evaluation: [0, 1)")
    add_sizes(parser)
    add("--seed", type=int, default=0, help="of split, noise and learning (default 0)")
    add_quiet(parser)


def _learning(parser: argparse.ArgumentParser) -> None:
    learning = parser.add_argument_group("predictor and utility")
    add = learning.add_argument
    add("--predictor", default="auto", help="logistic (default for classes), linear (default for targets), mlp, cnn, "
        "lightgbm, xgboost, naive-bayes, random-forest, neighbors, or a scikit-learn class by its dotted name"
    )  # fmt: skip
    add("--predictor-args", type=json_object, default={}, metavar="JSON", help="arguments of the predictor, such as "
        "'{\"hidden\": [100]}' for mlp")  # fmt: skip
    add("--metric", help="accuracy (default), auc, expected-accuracy, log-likelihood for classes; rmse (default), mae, "
        "rmspe, r2 for targets")  # fmt: skip
    add("--fresh-restart", dest="shared_restart", action="store_false",
        help="inner trainings start from weights of their own, not all from the same")  # fmt: skip
    add("--threshold", type=float, metavar="T", help="rows of at least this value are selected (default: 0.5 for dvrl "
        "and for data-oob of classes, else 0; for data-oob of targets, minus their variance)")  # fmt: skip
    add("--final", choices=("weighted", "kept", "all"), help="train the final predictor on all rows weighted by value, "
        "on the selected rows, or on all alike (default: as judged on held-out trusted rows)")  # fmt: skip

    add = parser.add_argument_group("learning, by dvrl").add_argument
    add("--evidence", nargs="+", default=EVIDENCE, metavar="SOURCE", help="what h_phi sees: of "
        "validation, out-of-fold, linear, forest, extra-trees, neighbors (default: all)")  # fmt: skip
    add("--start", default="evidence", help="evidence (default): from the best single input; nothing: untrained")
    add("--judge", type=int, default=2, metavar="FOLDS", help="folds of the trusted rows on which what was learned is "
        "compared with its inputs (default 2); 0: return it unjudged")  # fmt: skip
    add("--restarts", type=int, default=2, help="how often a collapsed h_phi is learned again (default 2)")
    add("--steps", type=int, default=400, help="outer iterations in all (default 400); 0: the best input alone")
    add("--outer-batch", type=int, default=64, metavar="B", help="examples drawn a step (default 64)")
    add("--rollouts", type=int, default=32, metavar="R", help="inner trainings a step (default 32)")
    add("--baseline", default="leave-one-out", help="leave-one-out (default), moving-average, full-data")
    add(
        "--policy", default="bernoulli", help="bernoulli (default; score function), gumbel, straight-through (pathwise)"
    )
    add("--temperature", type=float, default=0.5, help="of gumbel and straight-through (default 0.5)")
    add("--control-variate", default="none", help="of the score function: none (default), taylor, datamodel")
    add("--reward-scale", type=number_or("std"), default="std", metavar="C", help="a number > 0, or std (default)")
    add("--learning-rate", type=float, default=0.01, help="of Adam on h_phi (default 0.01)")
    add("--no-anneal", dest="anneal", action="store_false", help="keep it constant, instead of falling along a cosine")
    add("--schedule", type=json_object, metavar="JSON", help="of settings that change at a step, such as "
        "'{\"100\": {\"learning_rate\": 0.003}}': learning_rate, reward_scale, exploration")  # fmt: skip
    add("--exploration", type=float, default=1e3, help="weight of the exploration penalty (default 1000)")
    add("--mean-bounds", type=float, nargs=2, default=(0.3, 0.7), metavar=("LOW", "HIGH"),
        help="the mean value of a batch that it lets pass (default 0.3 0.7)")  # fmt: skip


VALUE = Verb("value", "value every training example", _VALUE, _value)
COMPARE = Verb("compare", "value it by several methods, side by side", _COMPARE, _compare)
