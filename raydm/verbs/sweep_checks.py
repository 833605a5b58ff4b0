"""What `raydm sweep` is asked for: its flags, its space and its thresholds, checked before anything is trained."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from raydm.changes import CHANGEABLE
from raydm.checks import check_choice, check_integer
from raydm.errors import ParameterError, one_of
from raydm.sweep.search import SEARCHES
from raydm.sweep.spaces import Dimension, dimension
from raydm.verbs.trials import ESTIMATORS, JOINT, LEARNED, Trainer

SCHEDULERS = ("none", "asha", "pbt")
_PARTS = 20  # of a training, by which --grace counts

# What is the sweep's own among the arguments, or of a single run: it is no part of a trial's config
_OWN = {
    *("module", "swept", "make", "given", "actors", "compare", "apply", "out", "storage", "resume", "quiet", "space"),
    *("thresholds", "search", "samples", "search_seed", "scheduler", "grace", "reduction", "tries", "local", "address"),
    *("trials_at_once", "cpus_per_trial", "gpus_per_trial", "actors_per_trial", "pool", "cpus_per_actor"),
    *("gpus_per_actor", "rollout_timeout", "rollout_tries", "config"),
}
PLACES = ("trials_at_once", "cpus_per_trial", "gpus_per_trial", "actors_per_trial", "pool", "cpus_per_actor",
           "gpus_per_actor")  # fmt: skip
# Settings that are none of a training, or that make utilities of trials incomparable
_FIXED = {
    "random_state",
    "run",
    "utility",
    "metric",
    "task",
    "schedule",
    "predictor_params",
    "method_params",
    "thresholds",
}


def check_sweep(arguments: Namespace) -> None:
    """Raises ParameterError where flags of the sweep are out of range, or do not fit together."""
    verb, owner = arguments.swept, "raydm sweep"
    check_choice(owner, "search", arguments.search, SEARCHES)
    check_choice(owner, "scheduler", arguments.scheduler, SCHEDULERS)
    for name, least in (("tries", 1), ("grace", 1), ("search_seed", 0), ("samples", 1), ("pool", 1),
                        ("actors_per_trial", 1), ("trials_at_once", 1)):  # fmt: skip
        if getattr(arguments, name) is not None:
            check_integer(owner, name, getattr(arguments, name), least)
    if not arguments.reduction > 1:
        raise ParameterError.of("reduction", owner, "a number > 1", arguments.reduction)
    if arguments.grace > _PARTS:
        raise ParameterError.of("grace", owner, f"an integer in 1 .. {_PARTS}, parts of a training", arguments.grace)
    if arguments.actors is not None:
        raise ParameterError("--actors says not whose: --actors-per-trial A for each trial, or --pool A for all.")
    for flag in ("compare", "apply"):
        if getattr(arguments, flag):
            raise ParameterError(
                f"--{flag} has no part in a sweep, whose trials learn by one method each. Leave it out."
            )
    if arguments.resume and arguments.out is None:
        raise ParameterError("--resume goes on with an interrupted sweep of the same --out: add --out, as it had.")
    if arguments.thresholds is not None and verb in JOINT:
        raise ParameterError(f"--thresholds is for value and mix: raydm {verb} has none. Leave it out.")
    _check_place(arguments)


def _check_place(arguments: Namespace) -> None:
    given = [f"--{name.replace('_', '-')}" for name in PLACES if getattr(arguments, name) is not None]
    if arguments.local and (given or arguments.address):
        raise ParameterError(f"{(given or ['--address'])[0]} is for Ray, and --local runs trials here. Leave one out.")
    if arguments.local and arguments.scheduler != "none":
        raise ParameterError(f"--scheduler {arguments.scheduler} needs trials side by side. Leave --local out.")
    if arguments.pool and arguments.actors_per_trial:
        raise ParameterError("--actors-per-trial and --pool are two places for rollouts: leave one out.")
    if arguments.pool and arguments.swept in JOINT:
        raise ParameterError(f"--pool is of rollouts, and raydm {arguments.swept} has none. Leave it out.")
    on_actors = arguments.pool or arguments.actors_per_trial
    for kind, stray in (("trial", on_actors), ("actor", not on_actors)):
        for unit in ("cpus", "gpus"):
            if stray and getattr(arguments, f"{unit}_per_{kind}") is not None:
                what = "trials train on actors" if on_actors else "trials train in their own process"
                raise ParameterError(f"--{unit}-per-{kind} has no part where {what}. Leave it out.")


def space_of(arguments: Namespace) -> tuple[list[Dimension], tuple[float, ...] | None]:
    """What is searched, and the thresholds that are tried on what each trial learned.

    Raises:
        ParameterError: a name or a value that the verb does not have, or what a scheduler cannot change.
    """
    verb, thresholds = arguments.swept, arguments.thresholds
    space = [dimension(text) for text in arguments.space]
    names = [d.name for d in space]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ParameterError(f"--space {twice}: stands twice. Name all its values in one.")
    for d in [d for d in space if d.name == "threshold" and verb not in JOINT]:
        if thresholds is not None or d.kind != "choice":
            raise ParameterError(
                "--space threshold: T is tried without learning again. Use --thresholds LOW:HIGH:STEP."
            )
        space.remove(d)
        thresholds = [*d.values]
    if not space and thresholds is None:
        raise ParameterError("A sweep needs settings to try: --space 'NAME=choice(A, B)', repeated for each; or "
                             "--thresholds.")  # fmt: skip
    if thresholds is not None:
        _check_thresholds(arguments, [d.name for d in space])
    known = set(ESTIMATORS[verb]().get_params()) - _FIXED
    for d in space:
        owner, dot, key = d.name.partition(".")
        if (dot and not (key and (owner == "predictor" or (owner == "method" and verb not in JOINT)))) or (
            not dot and not (d.name in known and hasattr(arguments, d.name))
        ):
            settings = sorted(name for name in known if hasattr(arguments, name))
            raise ParameterError(
                f"--space {d.name}: is no setting of `raydm {verb}` that can be searched. Expected predictor.NAME, or "
                f"{one_of(settings)}."
            )
        if d.name in arguments.given:
            raise ParameterError(f"--space {d.name}: is given as a flag too, which all trials have. Leave one out.")
    if arguments.scheduler == "pbt":
        _check_population(arguments, space)
    return space, None if thresholds is None else tuple(float(t) for t in thresholds)


def _check_thresholds(arguments: Namespace, names: Sequence[str]) -> None:
    for flag in ("threshold", "final") if arguments.swept == "value" else ("threshold",):
        if flag in arguments.given or flag in names:
            raise ParameterError(f"--{flag} says what --thresholds is to find. Leave one of the two out.")
    if arguments.swept == "mix" and "method" not in names and arguments.method not in LEARNED["mix"]:
        raise ParameterError(f"--thresholds is for --method {' or '.join(LEARNED['mix'])}, which learn an h.")


def _check_population(arguments: Namespace, space: Sequence[Dimension]) -> None:
    """A member's past is its settings and its journal, so what is not in a journal cannot be changed midway."""
    verb = arguments.swept
    if verb in JOINT:
        raise ParameterError(
            f"--scheduler pbt goes on from other trials' journals, and raydm {verb} has none: its predictor is trained "
            "along with what is learned. Use --scheduler asha."
        )
    if arguments.method not in LEARNED[verb]:
        raise ParameterError(f"--scheduler pbt changes how h is learned: it is for --method {LEARNED[verb][0]}.")
    fixed = [d.name for d in space if d.name not in CHANGEABLE]
    if fixed or not space:
        raise ParameterError(
            f"--scheduler pbt changes settings while they are in use, which are {one_of(CHANGEABLE)}. "
            + (f"{fixed[0]} holds for a whole training: use --scheduler asha, or give it as a flag." if fixed else
               "Name one by --space.")
        )  # fmt: skip
    if arguments.search != "random":
        raise ParameterError("--scheduler pbt begins with settings at random: add --search random and --samples N.")


def base_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The config that all trials have: what stood on the command line of the verb's own flags."""
    base = {}
    for name, value in given.items():
        if name not in _OWN:
            if name == "kind":
                value = dict(value)
            base[name] = str(value) if isinstance(value, Path) else [*value] if isinstance(value, tuple) else value
    return base


def check_trials(trainer: Trainer, space: Sequence[Dimension]) -> None:
    """Tries each value, the others at their first, on the data, before anything is trained.

    Raises:
        ParameterError: a value is none of its setting, or of the predictor, or the data are none for the verb.
        DataError: the data cannot be used.
    """
    ends = {d.name: d.values or tuple(int(v) if "int" in d.kind else v for v in (d.low, d.high)) for d in space}
    first = {name: values[0] for name, values in ends.items()}
    tried = []
    for name, value in [(name, value) for name, values in ends.items() for value in values]:
        with _told(name, value):
            tried.append((name, value, trainer.arguments({**first, name: value})))
    prepared = trainer.prepared(trainer.arguments(first))
    if "predictor" in ends:  # whose arguments may fit some of them alone
        return
    for name, value, arguments in tried:
        with _told(name, value):
            trainer.check_predictor(arguments, prepared)


@contextmanager
def _told(name: str, value: Any) -> Iterator[None]:
    """Says whose value it is that is refused."""
    try:
        yield
    except ParameterError as error:
        raise ParameterError(f"--space {name}, value {value!r}: {error}") from error
