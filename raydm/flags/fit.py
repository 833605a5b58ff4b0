"""Flags of `raydm fit`."""

from __future__ import annotations

import argparse
from argparse import Namespace
from pathlib import Path

from raydm.flags.common import add_columns, add_files, add_quiet, add_resume, add_sizes, add_storage
from raydm.flags.joint import add_reading
from raydm.flags.rules import Rule, words
from raydm.flags.types import place
from raydm.flags.verb import Verb

_FIT = """Trains the final predictor, on as many workers as there are: on rows that raydm value valued or selected, that
raydm weight weighted, or with rows that raydm mix, augment or synthesize made beside them; or on all rows alike. Data
may be larger than memory. Writes the predictor into a run directory. Prints one JSON line on stdout."""


def _fit(parser: argparse.ArgumentParser) -> None:
    add_files(parser)
    add = parser.add_argument
    add("--run", type=place, metavar="RUN", help="what says how rows are used, and how they are read: a run "
        "of raydm value, weight, mix, augment or synthesize, made from TRAIN")  # fmt: skip
    add("--final", choices=("weighted", "kept", "all"), help="with a run of raydm value: train on all rows weighted by "
        "value, on the selected rows, or on all alike (default: as that run did)")  # fmt: skip
    add("--weights", nargs="+", metavar="FILE", help="instead of a run: files with a weight for each row, in their "
        "order, in a column weight or value; where there is a column id, ids must agree")  # fmt: skip
    add("--out", type=Path, metavar="DIR", help="run directory (default: runs/NAME-fit-TIME)")
    add_storage(parser)
    add_resume(parser)
    add("--checkpoints", metavar="PLACE", help="where they are kept until the run is written: a folder, or a URI such "
        "as s3://bucket/folder, that all workers see (default: .NAME.checkpoints beside --out)")  # fmt: skip
    add_columns(parser)
    add_sizes(parser)
    add("--seed", type=int, help="of split, initial weights and order (default: the run's, else 0)")
    add_quiet(parser)
    add_reading(parser)

    add = parser.add_argument_group("training").add_argument
    add("--epochs", type=int, default=10, help="passes over the rows (default 10)")
    add("--batch-size", type=int, metavar="B", help="rows of a step, over all workers (default: one that suits it)")
    add("--lr", type=float, help="the step length (default: one that suits it)")
    add("--precision", default="float32", help="float32 (default); with GPUs also bfloat16 and float16, mixed")
    add("--keep", help="the predictor of the best epoch on the trusted rows (default with --valid), or of the last")
    add("--stream", action="store_true", help="read the rows in blocks, each epoch anew (default: if they take more "
        "than 1/8 of the memory)")  # fmt: skip

    add = parser.add_argument_group("where it trains; the predictor is the same, up to rounding").add_argument
    add("--local", action="store_true", help="in this process, without Ray")
    add("--workers", type=int, default=1, metavar="N", help="that train together, by Ray Train (default 1)")
    add("--address", help="of a running Ray cluster (default: RAY_ADDRESS, else one is started here)")
    add("--cpus-per-worker", type=float, default=1.0, metavar="C", help="that Ray reserves for each (default 1)")
    add("--gpus-per-worker", type=float, default=0.0, metavar="G", help="or a fraction of one (default 0)")
    add("--tries", type=int, default=4, metavar="N", help="how often workers may fail, and go on from the last "
        "checkpoint, before the run ends with an error (default 4)")  # fmt: skip
    parser.set_defaults(module="fit")


def _has_run(given: Namespace) -> bool:
    return given.run is not None


_RULES = (
    Rule(words("final"), _has_run, "is how the values of a run are used: add --run RUN, or leave it out."),
    Rule(words("weights"), lambda given: given.run is None, "are of no run. Leave them out, or --run."),
    Rule(
        words("workers address cpus_per_worker gpus_per_worker tries"), lambda given: not given.local,
        "is for workers on Ray. Leave it out, or --local.",
    ),
)  # fmt: skip

FIT = Verb("fit", "train the final predictor, at any scale", _FIT, _fit, rules=_RULES)
