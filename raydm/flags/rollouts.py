"""Flags of verbs whose rollouts run on actors, and whose runs can be resumed."""

from __future__ import annotations

import argparse
from typing import Any


def add_limits(add: Any) -> None:
    """What is put up with, beside where rollouts run."""
    add("--rollout-timeout", type=float, metavar="S", help="seconds that a shard may train on an actor; then the actor "
        "is replaced, and another tries (default 3600)")  # fmt: skip
    add("--rollout-tries", type=int, metavar="N", help="how often a shard may lose its actor, or its time, before the "
        "run ends with an error (default 4)")  # fmt: skip


def add_resume(parser: argparse.ArgumentParser) -> None:
    """Going on with what an interrupted run has done."""
    parser.add_argument("--resume", action="store_true", help="go on where an interrupted run of this --out was; where "
                        "nothing was interrupted, begin")  # fmt: skip
