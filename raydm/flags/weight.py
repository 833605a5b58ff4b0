"""Flags of `raydm weight`."""

from __future__ import annotations

import argparse
from pathlib import Path

from raydm.flags.common import add_storage
from raydm.flags.joint import KEEP, add_large_sets, add_looking_ahead, add_reading, add_seeds_place, for_texts
from raydm.flags.rules import Rule, words
from raydm.flags.types import number_or
from raydm.flags.verb import Verb

_WEIGHT = """Learns how much each training row counts, together with a predictor, against a small trusted validation
set: for rare classes and wrong labels, in tables, texts and images. Writes the weights, the predictor and evidence into
a run directory. Prints one JSON line on stdout."""


def _weight(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-weight-TIME)")
    add_storage(parser)
    add("--method", default="weight", help="weight (default; Hu et al. 2019), ren2018, and without learning base, "
        "base+valid (the trusted rows are trained on too), proportion (inverse class frequency)")  # fmt: skip
    add_large_sets(parser)
    add_reading(parser)

    add = parser.add_argument_group("learning").add_argument
    add("--epochs", type=int, help="passes with weights that are learned (default 10; of few rows, no texts, what "
        "takes 600 steps)")  # fmt: skip
    add("--warm-up", type=int, default=0, help="passes before, with equal weights (default 0)")
    add("--keep", default="best", help="which epoch's predictor: best on the trusted rows (default); near-best: the "
        "last that is no worse there but for one standard error; last; or average: the mean of the latter half's "
        "parameters")  # fmt: skip
    add("--weights", default="free", help="free (default): a number for each row; network: of label, loss and features")
    add("--around", default="classes", help="what a free weight is while nothing is known: classes (default), its "
        "class's share of the trusted rows over that of the training rows; or nothing, 0")  # fmt: skip
    add("--normalisation", default="linear", help="over a batch, of a network and around nothing: linear (default) or "
        "softmax")  # fmt: skip
    add("--temperature", type=float, default=1.0, help="of the softmax (default 1)")
    add(
        "--learning-rate",
        type=number_or("batch"),
        default="batch",
        help="of the weights: a number > 0, or batch (default)",
    )
    add("--decay", type=float, help="by which a free weight's distance from that is divided at each step (default 1.5 "
        "around classes, 10 around nothing)")  # fmt: skip
    add("--floor", type=float, default=1e-5, help="least free weight before normalising (default 1e-5)")
    add("--look-ahead", default="zero", help="where slopes are taken: at weights of zero (default), or at the weights")
    add("--no-agreement", dest="agreement", action="store_false", help="weights around classes move as far as the "
        "trusted rows say, not only as far as halves of them agree; costs less")  # fmt: skip
    add("--through-normalisation", dest="straight", action="store_false", help="slopes go through the normalisation")
    add_looking_ahead(add)

    add_seeds_place(parser)
    parser.set_defaults(module="weight")


_KEEP = words("keep")
_TAKES = {
    "weight": _KEEP
    | words(
        "weights around normalisation temperature learning_rate decay floor look_ahead agreement straight unroll "
        "checkpoint dev_batch"
    ),
    "ren2018": _KEEP | words("dev_batch"),
    "base": _KEEP,
    "base+valid": _KEEP,
    "proportion": _KEEP,
}
_RULES = (
    KEEP,
    for_texts(words("length")),
    Rule(
        words("around decay floor straight"), lambda given: given.weights != "network",
        "is for --weights free, not for a network. Leave it out, or --weights network.",
    ),
    Rule(
        words("agreement"), lambda given: given.weights == "free" and given.around == "classes" and given.unroll == 1,
        "is of free weights around classes, and of one step ahead. Leave it out, or the flag that asks otherwise.",
    ),
    Rule(
        words("normalisation straight"), lambda given: given.weights == "network" or given.around == "nothing",
        "is of weights that share a batch. Add --around nothing, or leave it out.",
    ),
    Rule(
        words("temperature"), lambda given: given.normalisation != "linear",
        "is of the softmax. Add --normalisation softmax, or leave it out.",
    ),
)  # fmt: skip

WEIGHT = Verb("weight", "learn how much every training row counts", _WEIGHT, _weight, _TAKES, _RULES)
