"""Flags that several verbs share."""

from __future__ import annotations

import argparse
from typing import Any

from raydm.flags.types import column_kind


def add_files(parser: argparse.ArgumentParser) -> None:
    """The three sets."""
    add = parser.add_argument
    add("train", nargs="+", metavar="TRAIN|NAME", help="Parquet, CSV, TSV, Arrow files or globs; or a named set")
    add("--valid", nargs="+", metavar="V", help="the trusted validation files (a named set splits itself)")
    add("--test", nargs="+", metavar="T", help="test files, only for the evidence")


def add_columns(parser: argparse.ArgumentParser, *, task: bool = True) -> None:
    """What the columns are; and the task, unless the verb has but one."""
    add = parser.add_argument
    add("--label", action="append", metavar="COLUMN",
        help="the label column (default: label, y or target, if there is one); repeatable for several targets, in "
        "verbs that take them")  # fmt: skip
    add("--id", metavar="COLUMN", help="the id column (default: id, if there is one; else row numbers)")
    add("--features", nargs="+", metavar="COLUMN", help="the feature columns (default: all others)")
    add("--kind", action="append", default=[], type=column_kind, metavar="COLUMN=KIND",
        help="overrides what a column's type says: numeric, categorical, vector, text (repeatable)")  # fmt: skip
    if task:
        add("--task", choices=("classification", "regression"), help="(default: told by the labels)")


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """Of a named set."""
    parser.add_argument(
        "--sizes", type=int, nargs=2, metavar=("N", "M"), help="training and validation rows of a named set"
    )


def add_storage(parser: argparse.ArgumentParser) -> None:
    """Where --out is."""
    parser.add_argument("--storage", metavar="PATH", help="a folder, s3://BUCKET/... or gs://BUCKET/... that --out is "
                        "a name below; with it the output is PATH/NAME")  # fmt: skip


def add_quiet(parser: argparse.ArgumentParser) -> None:
    """Of verbs that show their progress."""
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_place(parser: argparse.ArgumentParser, title: str, *, local: str, actors: str) -> Any:
    """Here or on Ray actors; gives what adds to these flags."""
    where = parser.add_argument_group(title)
    place = where.add_mutually_exclusive_group()
    place.add_argument("--local", action="store_true", help=local)
    place.add_argument("--actors", type=int, metavar="N", help=actors)
    add = where.add_argument
    add("--address", help="of a running Ray cluster (default: RAY_ADDRESS, else one is started here)")
    add("--cpus-per-actor", type=float, default=1.0, metavar="C", help="that Ray reserves for each (default 1)")
    add("--gpus-per-actor", type=float, default=0.0, metavar="G", help="or a fraction of one (default 0)")
    return add


def add_rollouts_place(parser: argparse.ArgumentParser) -> None:
    """Where rollouts run."""
    add = add_place(
        parser, "where rollouts run", local="in this process, without Ray (default)",
        actors="on N Ray actors; the values are the same bits",
    )  # fmt: skip
    add("--shard", type=int, default=16, metavar="S", help="rollouts trained at once (default 16)")
    add("--rollout-timeout", type=float, metavar="S", help="seconds that a shard may train on an actor; then the actor "
        "is replaced, and another tries (default 3600)")  # fmt: skip
    add("--rollout-tries", type=int, metavar="N", help="how often a shard may lose its actor, or its time, before the "
        "run ends with an error (default 4)")  # fmt: skip


def add_job_server(parser: argparse.ArgumentParser) -> None:
    """The cluster that takes jobs, and gives them back."""
    add = parser.add_argument
    add("--address", metavar="URL", help="of the cluster's dashboard (default: RAY_API_SERVER_ADDRESS, else "
        "http://127.0.0.1:8265)")  # fmt: skip
    add("--insecure", action="store_true", help="even to a cluster on another machine that asks nobody for a token")


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Going on with what an interrupted run has done."""
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run of this --out was; where "
                        "nothing was interrupted, begin")  # fmt: skip
