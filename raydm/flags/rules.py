"""Flags that would have no part in a run are refused, not silently left out of it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from raydm.errors import ParameterError

# Where argparse stores a flag under another name than its own
_WRITTEN = {
    "agreement": "--no-agreement",
    "anneal": "--no-anneal",
    "magnitude": "--randaugment-m",
    "n": "--randaugment-n",
    "shared_restart": "--fresh-restart",
    "straight": "--through-normalisation",
}


@dataclass(frozen=True)
class Rule:
    """Some flags have a part only beside certain others.

    Attributes:
        flags: the names under which argparse stores them.
        serve: whether they have one, given all arguments.
        told: what completes the sentence "--flag ...": what it is for, and what to do.
    """

    flags: Collection[str]
    serve: Callable[[Namespace], bool]
    told: str


def check_given(
    arguments: Namespace, given: Collection[str], takes: Mapping[str, Collection[str]], rules: Sequence[Rule]
) -> None:
    """Refuses flags that were given and have no part.

    Args:
        arguments: all of them, defaults too; its `method` and the methods in its `compare` are what is run.
        given: the names of those that stood on the command line.
        takes: see `raydm.flags.verb.Verb`. A method that it does not know is refused elsewhere.
        rules: asked after that, in their order.

    Raises:
        ParameterError: names the flag, what takes it, and what to do.
    """
    chosen = [*dict.fromkeys([getattr(arguments, "method", ""), *getattr(arguments, "compare", [])])]
    if takes and all(method in takes for method in chosen):
        _check_methods(chosen, given, takes)
    for rule in rules:
        if not rule.serve(arguments):
            for name in sorted(set(given).intersection(rule.flags)):
                raise ParameterError(f"{written(name)} {rule.told}")


def _check_methods(chosen: Sequence[str], given: Collection[str], takes: Mapping[str, Collection[str]]) -> None:
    for name in sorted({name for flags in takes.values() for name in flags}.intersection(given)):
        if not any(name in takes[method] for method in chosen):
            takers = [method for method, flags in takes.items() if name in flags]
            raise ParameterError(
                f"{written(name)} is for --method {_or(takers)}; it has no part in {_or(chosen)}. Leave it out, or "
                f"choose {'that method' if len(takers) == 1 else 'one of those methods'}."
            )


def written(name: str) -> str:
    """A flag as users write it."""
    return _WRITTEN.get(name, "--" + name.replace("_", "-"))


def words(names: str) -> frozenset[str]:
    """The names that a line holds."""
    return frozenset(names.split())


def _or(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
