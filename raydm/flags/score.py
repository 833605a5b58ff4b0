"""Flags of `raydm score`."""

from __future__ import annotations

import argparse
from pathlib import Path

from raydm.flags.common import add_storage
from raydm.flags.types import place
from raydm.flags.verb import Verb

_SCORE = """Values new labelled rows with the h_phi that `raydm value` learned. Writes a Parquet file with id, value,
rank and selected. Prints one JSON line on stdout."""


def _score(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", type=place, metavar="RUN", help="a run of `raydm value`: its directory, or s3://... or gs://..."
    )
    parser.add_argument("data", nargs="+", metavar="DATA", help="files or globs with the columns of the training set")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="new Parquet file to write (default: values.parquet here)"
    )
    add_storage(parser)
    parser.add_argument("--threshold", type=float, metavar="T", help="rows of at least this value are selected "
                        "(default: the run's)")  # fmt: skip
    add = parser.add_argument_group("large Parquet files, valued in blocks; the values are the same bits").add_argument
    add("--stream", action="store_true", help="in blocks (default: if the rows take more than 1/8 of the memory)")
    add("--actors", type=int, default=0, metavar="N", help="by N Ray actors (default 0: in this process)")
    add("--address", help="of a running Ray cluster (default: RAY_ADDRESS, else one is started here)")
    add("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(module="score")


SCORE = Verb("score", "value new rows with a learned h_phi", _SCORE, _score)
