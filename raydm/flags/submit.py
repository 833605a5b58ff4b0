"""Flags of `raydm submit`."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from raydm.flags.common import add_job_server
from raydm.flags.enlarge import AUGMENT, SYNTHESIZE
from raydm.flags.fit import FIT
from raydm.flags.mix import MIX
from raydm.flags.neighbors import NEIGHBORS
from raydm.flags.score import SCORE
from raydm.flags.sweep import SWEEP
from raydm.flags.value import COMPARE, VALUE
from raydm.flags.verb import Verb
from raydm.flags.weight import WEIGHT

SUBMITTED = (VALUE, COMPARE, SCORE, MIX, WEIGHT, AUGMENT, SYNTHESIZE, SWEEP, FIT, NEIGHBORS)

_SUBMIT = """Runs a verb on a Ray cluster, as a job of Ray's job server: sends this raydm and the files that the verb
reads, follows the job's log on stderr, prints its JSON line on stdout, and ends with its exit code. Relative paths are
of files here, which are sent; absolute ones, s3:// and gs:// are read and written where the job runs. Results belong
into --storage (a flag of the verb), for what a job leaves in its own folder goes with it."""


class _Words(argparse.Action):
    """Takes the flags of submit out of the verb's words, among which they may stand."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        own = argparse.ArgumentParser(prog=parser.prog, add_help=False, allow_abbrev=False)
        _own(own)
        for action in own._actions:
            action.default = argparse.SUPPRESS  # what stands before the verb stays
        words: Sequence[str] = values
        _, rest = own.parse_known_args(words, namespace)
        setattr(namespace, self.dest, rest)


def _own(parser: argparse.ArgumentParser) -> None:
    add_job_server(parser)
    add = parser.add_argument
    add("--no-follow", dest="follow", action="store_false", help="end when the job is submitted, and print its id")


def _submit(parser: argparse.ArgumentParser) -> None:
    names = [verb.name for verb in SUBMITTED]
    _own(parser)
    parser.add_argument("verb", choices=names, metavar="VERB", help=f"of {', '.join(names)}")
    parser.add_argument("words", nargs=argparse.REMAINDER, action=_Words, metavar="...",
                        help="what the verb is given, as on this machine (raydm VERB --help)")  # fmt: skip
    parser.set_defaults(module="submit")


SUBMIT = Verb("submit", "run a verb on a Ray cluster", _SUBMIT, _submit)
