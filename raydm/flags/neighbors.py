"""Flags of `raydm neighbors`."""

from __future__ import annotations

import argparse
from pathlib import Path

from raydm.flags.common import add_quiet, add_storage
from raydm.flags.types import column_kind, size_in_bytes
from raydm.flags.verb import Verb

_NEIGHBORS = """Finds the k nearest other rows of every row, by the distance of features or of labels, and writes a
Parquet file with id, neighbors and distances. Parquet is read in blocks, and may be larger than memory. Prints one JSON
line on stdout, with the recall that was measured."""


def _neighbors(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("data", nargs="+", metavar="DATA", help="Parquet files or globs (or CSV, TSV, Arrow, which are read whole)")
    add("--k", type=int, default=16, help="neighbours of each row (default 16)")
    add("--by", default="data", help="the distance: of the features (data, the default) or of the labels (label)")
    add("--out", type=Path, metavar="FILE", help="new Parquet file to write (default: neighbors.parquet here)")
    add_storage(parser)
    add("--label", action="append", metavar="COLUMN",
        help="a label column, which is no feature (default: label, y or target, if there is one; repeatable)"
    )  # fmt: skip
    add("--id", metavar="COLUMN", help="the id column (default: id, if there is one; else row numbers)")
    add("--features", nargs="+", metavar="COLUMN", help="the feature columns (default: all others)")
    add("--kind", action="append", default=[], type=column_kind, metavar="COLUMN=KIND",
        help="overrides what a column's type says: numeric, categorical, vector, text (repeatable)")  # fmt: skip
    add_quiet(parser)

    add = parser.add_argument_group("index").add_argument
    add("--index", default="auto", metavar="KIND", help="exact, ivf-flat, ivf-pq, hnsw; auto (default): exact where "
        "that takes seconds, else ivf-flat, else ivf-pq, as memory allows")  # fmt: skip
    add("--recall", type=float, default=0.95, metavar="R", help="choose nprobe or efSearch for this recall, as "
        "measured on a sample (default 0.95)")  # fmt: skip
    add("--nprobe", type=int, metavar="P", help="inverted lists that a query looks into (default: by --recall)")
    add("--nlist", type=int, metavar="L", help="inverted lists (default: 4 sqrt(rows))")
    add("--ef-search", type=int, metavar="E", help="candidates of an hnsw search (default: by --recall)")
    add("--refine", action="store_true", help="ivf-pq: rank candidates by true distances, from a file on local disk")
    add("--memory", type=size_in_bytes, metavar="BYTES",
        help="that the index may take in all, such as 8GiB (default: half of the machine's, or of the cluster's)"
    )  # fmt: skip
    add(
        "--sample",
        type=int,
        metavar="S",
        help="rows that encoders and index learn from (default: as many as they need)",
    )
    add("--seed", type=int, default=0, help="of the sample and of the index (default 0)")

    add = parser.add_argument_group("where it runs; the neighbours are the same").add_argument
    add("--actors", type=int, metavar="N", help="Ray actors that the rows are spread over (default: 2 with --address, "
        "else 0: in this process)")  # fmt: skip
    add("--address", help="of a running Ray cluster (default: RAY_ADDRESS, else one is started here)")
    add("--cpus-per-actor", type=float, default=1.0, metavar="C", help="that Ray reserves for each (default 1)")
    add("--gpus-per-actor", type=float, default=0.0, metavar="G", help="or a fraction of one (default 0)")
    add("--gpu", default="auto", help="GPUs that FAISS sees: replicate or shard the index, off, or auto (default)")
    parser.set_defaults(module="neighbors")


NEIGHBORS = Verb("neighbors", "find every row's nearest neighbours", _NEIGHBORS, _neighbors)
