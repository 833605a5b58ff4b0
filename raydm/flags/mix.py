"""Flags of `raydm mix`."""

from __future__ import annotations

import argparse
from pathlib import Path

from raydm.flags.common import add_columns, add_files, add_quiet, add_resume, add_rollouts_place, add_sizes, add_storage
from raydm.flags.rules import Rule, words
from raydm.flags.types import json_object, number_or, numbers, place, size_in_bytes
from raydm.flags.verb import Verb

_MIX = """Learns which training rows to interpolate with how many of their nearest neighbours, for regression, and
writes the mixed rows, what was learned and a predictor into a run directory. With --apply RUN it mixes other rows by
what a run learned. Prints one JSON line on stdout, with the test error beside that without mixing."""


def _mix(parser: argparse.ArgumentParser) -> None:
    add_files(parser)
    add = parser.add_argument
    add("--apply", type=place, metavar="RUN", help="mix the rows of TRAIN by what this run learned, and learn nothing")
    add("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-mix-TIME); with --apply a new "
        "Parquet file (default: mixed.parquet)")  # fmt: skip
    add_storage(parser)
    add_resume(parser)
    add("--method", default="mixrl", help="mixrl (default), none, mixup, adamixup, global-knn, c-mixup, mixrl+adamixup")
    add("--method-args", type=json_object, default={}, metavar="JSON", help="settings of another method, such as "
        "'{\"alpha\": 2.0}' for mixup")  # fmt: skip
    add_columns(parser, task=False)
    add_sizes(parser)
    add("--seed", type=int, default=0, help="of split and learning (default 0)")
    add_quiet(parser)

    add = parser.add_argument_group("predictor and utility").add_argument
    add("--predictor", default="auto", help="auto (default): an MLP 512-256 that stops early by the trusted rows; or "
        "as for raydm value")  # fmt: skip
    add("--predictor-args", type=json_object, default={}, metavar="JSON", help="arguments of the predictor")
    add("--metric", help="rmse (default), mae, rmspe, r2")
    add("--fresh-restart", dest="shared_restart", action="store_false",
        help="inner trainings start from weights of their own, not all from the same")  # fmt: skip
    add("--test-repeats", type=int, default=5, metavar="S", help="trainings with and without mixing for the test error "
        "(default 5)")  # fmt: skip

    add = parser.add_argument_group("what may be mixed").add_argument
    add("--data-options", default="1..16", metavar="K", help="numbers of nearest neighbours by features: 1..16 "
        "(default), 10..270:10, 2^0..2^8, 1,2,4, none")  # fmt: skip
    add("--label-options", default="1..16", metavar="K", help="the same by labels (default 1..16)")
    add(
        "--lam",
        type=number_or("beta", "a number in [0, 1]"),
        default=0.5,
        metavar="L",
        help="lambda in [0, 1] (default 0.5); beta: Beta(alpha, alpha)",
    )
    add("--alpha", type=float, default=1.0, help="of --lam beta (default 1)")
    add("--threshold", type=float, metavar="T", help="least h of a mixing that is done (default: chosen on the trusted "
        "rows)")  # fmt: skip
    add("--thresholds", type=numbers, metavar="LOW:HIGH:STEP", help="what T is chosen among, such as 0:1:0.05 or "
        "0.2,0.5 (default: what lets tenths of the possible rows in)")  # fmt: skip
    add("--pick", metavar="OPTION", help="which option above T is taken: best (the paper's) or most (default: chosen "
        "with T; best where T is given)")  # fmt: skip
    add("--repeats", type=int, default=4, help="trainings of each candidate, where one is chosen (default 4)")

    add = parser.add_argument_group("learning, by mixrl").add_argument
    add("--steps", type=int, default=60, help="outer iterations (default 60)")
    add("--outer-batch", type=int, metavar="B", help="examples drawn a step (default: all, at most 1000)")
    add("--admit", type=float, default=0.5, metavar="SHARE", help="of the possible mixed rows, those of the least "
        "label error, that are let in (default 0.5; 1: all)")  # fmt: skip
    add("--rollouts", type=int, default=16, metavar="R", help="inner trainings a step (default 16)")
    add("--warm-start", action="store_true", help="they start from a predictor of the training rows, not from scratch")
    add("--baseline", default="leave-one-out", help="leave-one-out (default), moving-average")
    add("--reward-scale", type=number_or("std"), default="std", metavar="C", help="a number > 0, or std (default)")
    add("--learning-rate", type=float, default=0.01, help="of Adam on h_theta (default 0.01)")
    add("--no-anneal", dest="anneal", action="store_false", help="keep it constant, instead of falling along a cosine")
    add("--schedule", type=json_object, metavar="JSON", help="of settings that change at a step, such as "
        "'{\"20\": {\"reward_scale\": 2}}': learning_rate, reward_scale, exploration")  # fmt: skip
    add("--exploration", type=float, default=1e3, help="weight of the exploration penalty (default 1000)")
    add("--mean-bounds", type=float, nargs=2, default=(0.1, 0.9), metavar=("LOW", "HIGH"),
        help="the mean h of a batch that it lets pass (default 0.1 0.9)")  # fmt: skip
    add_rollouts_place(parser)

    add = parser.add_argument_group(
        "with --apply: large Parquet files, mixed in blocks; an exact index gives the same rows"
    ).add_argument
    add("--stream", action="store_true", help="in blocks (default: with --actors, or if the rows take more than 1/8 of "
        "the memory); for runs of mixrl and global-knn")  # fmt: skip
    add("--index", metavar="KIND", help="exact, ivf-flat, ivf-pq, hnsw, auto (default), as for raydm neighbors; recall "
        "is tuned to 0.95")  # fmt: skip
    add("--memory", type=size_in_bytes, metavar="BYTES",
        help="that indexes may take in all, such as 8GiB (default: half of the machine's, or of the cluster's)"
    )  # fmt: skip
    add("--sample", type=int, metavar="S", help="rows that an index learns from (default: as many as it needs)")
    parser.set_defaults(module="mix")


_MIXRL = words(
    "steps outer_batch admit rollouts warm_start baseline reward_scale learning_rate anneal exploration mean_bounds "
    "schedule threshold thresholds pick shared_restart data_options label_options repeats"
)
_TAKES = {
    "mixrl": _MIXRL | words("lam alpha"),
    "none": words(""),
    "mixup": words("repeats"),
    "adamixup": words(""),
    "global-knn": words("data_options label_options lam alpha repeats"),
    "c-mixup": words("repeats"),
    "mixrl+adamixup": _MIXRL,  # lambda is the region's
}
_RULES = (
    Rule(
        _MIXRL
        | words(
            "lam alpha valid test sizes label id features kind method method_args predictor predictor_args metric "
            "test_repeats shard resume rollout_timeout rollout_tries"
        ),
        lambda given: given.apply is None,
        "is for learning; with --apply the run tells what is mixed. Leave it out.",
    ),
    Rule(
        words("stream index memory sample"), lambda given: given.apply is not None,
        "is of streams of rows, which --apply RUN mixes. Leave it out.",
    ),
    Rule(words("alpha"), lambda given: given.lam == "beta", "is of --lam beta. Add that, or leave it out."),
)  # fmt: skip

MIX = Verb("mix", "interpolate training rows with their neighbours", _MIX, _mix, _TAKES, _RULES)
