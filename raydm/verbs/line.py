"""A verb's one JSON line on stdout, and nothing else there."""

from __future__ import annotations

import functools
import json
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from typing import Any

from raydm.report.run import finite


def prints_line(verb: Callable[[Namespace], Mapping[str, Any]]) -> Callable[[Namespace], None]:
    """Makes a verb that returns its line one that prints it.

    What others print meanwhile goes to stderr: Ray tells on the driver's stdout of actors that died.
    """

    @functools.wraps(verb)
    def run(arguments: Namespace) -> None:
        with redirect_stdout(sys.stderr):
            line = verb(arguments)
        print(json.dumps(finite(line), allow_nan=False))

    return run


def say(text: str) -> None:
    """Tells people something, on stderr."""
    print(f"raydm: {text}", file=sys.stderr)
