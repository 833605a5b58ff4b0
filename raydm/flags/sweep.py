"""Flags of `raydm sweep VERB`: those of the verb, and the sweep's own."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from raydm.flags.config import add_config, arguments_of
from raydm.flags.enlarge import AUGMENT, SYNTHESIZE
from raydm.flags.mix import MIX
from raydm.flags.types import numbers
from raydm.flags.value import VALUE
from raydm.flags.verb import Verb
from raydm.flags.weight import WEIGHT

SWEPT: Mapping[str, Verb] = {verb.name: verb for verb in (VALUE, MIX, WEIGHT, AUGMENT, SYNTHESIZE)}

_SWEEP = """Trains a verb with many settings, and finds those with the highest utility on the trusted rows. All flags of
the verb hold for every trial. Thresholds are tried on what a trial learned, without learning again. Writes a table of
trials, plots and best.yaml, which `raydm VERB --config best.yaml` runs. Prints one JSON line on stdout."""


def trial_arguments(verb: str, config: Mapping[str, Any]) -> Namespace:
    """The arguments of a verb for a config; may be sent to another process."""
    return arguments_of(SWEPT[verb], config)


def _sweep(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(title="what is swept", metavar="VERB", required=True)
    for verb in SWEPT.values():
        own = verbs.add_parser(verb.name, help=verb.help, description=_SWEEP, conflict_handler="resolve")
        verb.add(own)
        _own(own)
        add_config(own)
        own.set_defaults(module="sweep", swept=verb.name, make=partial(trial_arguments, verb.name))


def _own(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--actors", type=int, help=argparse.SUPPRESS)  # refused: it says not whose
    add("--compare", nargs="+", default=[], help=argparse.SUPPRESS)  # refused
    add("--apply", type=Path, help=argparse.SUPPRESS)  # refused
    add("--out", type=Path, metavar="DIR", help="new folder to write (default: runs/NAME-sweep-VERB-TIME)")
    add("--resume", action="store_true", help="go on where an interrupted sweep of this --out was; where nothing was "
        "interrupted, begin")  # fmt: skip
    add("--quiet", action="store_true", help="no table of trials on stderr")

    add = parser.add_argument_group("the sweep").add_argument
    add("--space", action="append", default=[], metavar="NAME=VALUES", help="values of a setting (repeatable): "
        "'reward_scale=choice(0.25, 0.5, std)', 'learning_rate=loguniform(1e-3, 1e-1)', 'rollouts=int(8, 64)', also "
        "uniform and logint; NAME is a flag of the verb, predictor.NAME or method.NAME one of its arguments"
    )  # fmt: skip
    add("--thresholds", type=numbers, metavar="LOW:HIGH:STEP", help="T tried on what each trial learned, such as "
        "0:1:0.05 or 0.2,0.5; for value, mix (mix tries some without it)")  # fmt: skip
    add("--search", default="grid", help="grid (default), random, optuna-tpe, optuna-gp")
    add("--samples", type=int, metavar="N", help="trials of a search other than grid (default 20)")
    add("--search-seed", type=int, default=0, metavar="S", help="of the search; --seed is the trainings' (default 0)")
    add("--scheduler", default="none", help="none (default); asha: stops trials that do badly; pbt: trials that do "
        "badly go on from good ones, with changed settings")  # fmt: skip
    add("--grace", type=int, default=4, metavar="N", help="asha, pbt: of 20 parts of a training, those before a trial "
        "may be stopped, or changed (again) (default 4)")  # fmt: skip
    add("--reduction", type=float, default=3.0, metavar="F", help="asha: of so many trials one goes on (default 3)")
    add("--tries", type=int, default=3, metavar="N", help="how often a trial that fails is begun in all (default 3)")

    where = parser.add_argument_group("where trials run")
    add = where.add_argument
    add("--local", action="store_true", help="in this process, one by one, without Ray")
    add("--address", help="of a running Ray cluster (default: RAY_ADDRESS, else one is started here)")
    add("--trials-at-once", type=int, metavar="K", help="at most (default: as many as the cluster holds)")
    add("--cpus-per-trial", type=float, metavar="C", help="of a trial that trains in its own process (default 1)")
    add("--gpus-per-trial", type=float, metavar="G", help="or a fraction of one (default 0)")
    add("--actors-per-trial", type=int, metavar="A", help="each trial holds A rollout actors, placed with it")
    add("--pool", type=int, metavar="A", help="all trials share A rollout actors; for value, mix")
    add("--cpus-per-actor", type=float, metavar="C", help="of these (default 1)")
    add("--gpus-per-actor", type=float, metavar="G", help="or a fraction of one (default 0)")


SWEEP = Verb("sweep", "tune the settings of a verb", _SWEEP, _sweep)
