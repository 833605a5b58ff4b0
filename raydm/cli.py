"""The command `raydm`: verbs with flags; results on stdout as one JSON line, all else on stderr."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import Any

from raydm import __version__
from raydm.errors import RaydmError, RaydmWarning
from raydm.flags.config import add_config, given_flags, with_config, without_config
from raydm.flags.data import DATA
from raydm.flags.enlarge import AUGMENT, SYNTHESIZE
from raydm.flags.fit import FIT
from raydm.flags.jobs import JOBS
from raydm.flags.mix import MIX
from raydm.flags.neighbors import NEIGHBORS
from raydm.flags.rules import check_given
from raydm.flags.score import SCORE
from raydm.flags.submit import SUBMIT
from raydm.flags.sweep import SWEEP
from raydm.flags.value import COMPARE, VALUE
from raydm.flags.verb import Verb
from raydm.flags.weight import WEIGHT

VERBS: tuple[Verb, ...] = (
    *(VALUE, COMPARE, SCORE, MIX, WEIGHT, AUGMENT, SYNTHESIZE, SWEEP, FIT, NEIGHBORS),
    *(DATA, SUBMIT, JOBS),
)

_BAD_INPUT = 2  # argparse's own exit status
_INTERRUPTED = 130
_BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb. Returns 0; 2 for bad input, with the reason on stderr; 130 when interrupted."""
    words = [*(sys.argv[1:] if argv is None else argv)]
    warnings.showwarning = _show_warning
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)  # a scheduler's polite end: clean up as for Ctrl-C
    try:
        arguments, _ = _read(words)
        verb = importlib.import_module(f"raydm.verbs.{arguments.module}")  # torch and ray load only when needed
        verb.run(arguments)
        sys.stdout.flush()  # here, where a reader that is gone can still be told apart
    except RaydmError as error:
        print(f"raydm: {error}", file=sys.stderr)
        return _BAD_INPUT
    except BrokenPipeError:  # who read our output stopped reading, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except KeyboardInterrupt:
        print("raydm: interrupted; nothing was written.", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _terminate(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one, as `timeout` sends, must not cut short what this one begins
    raise SystemExit(128 + number)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """Our warnings are for users, without a line of our source; others' are for developers, and silent here."""
    if issubclass(category, RaydmWarning):
        print(f"raydm: warning: {message}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    parser = argparse.ArgumentParser(prog="raydm", description="Learns what to do with every training example.")
    parser.add_argument("--version", action="version", version=f"raydm {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        own = verbs.add_parser(verb.name, help=verb.help, description=verb.description)
        verb.add(own)
        if not any(isinstance(action, argparse._SubParsersAction) for action in own._actions):
            add_config(own)
    return parser


def _read(words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, checked, and the words that say them, with those of a --config; of a job, also its verb's."""
    words = with_config(_parser(), words)
    arguments = _parser().parse_args(words)
    _check_flags(arguments, words)
    vars(arguments).pop("config", None)  # what it said stands in the words
    if arguments.module == SUBMIT.name:
        arguments.job, job = _read([arguments.verb, *arguments.words])
        arguments.words = without_config(job)
    return arguments, words


def _check_flags(arguments: argparse.Namespace, words: Sequence[str]) -> None:
    """Refuses flags without a part in this run."""
    verb = next(verb for verb in VERBS if verb.name == arguments.module)
    given = given_flags(_parser(), words)
    check_given(arguments, set(given), verb.takes, verb.rules)
    if "swept" in arguments:  # trials are given these, too
        arguments.given = given


if __name__ == "__main__":
    sys.exit(main())
