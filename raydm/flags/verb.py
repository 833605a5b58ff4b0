"""What a verb of the command line is."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from raydm.flags.rules import Rule


@dataclass(frozen=True)
class Verb:
    """A verb, as the command line shows it.

    Attributes:
        name: as it is written.
        help: a line in the list of verbs.
        description: what its own help begins with.
        add: adds its flags to its parser, and names the module of `raydm.verbs` that runs it.
        takes: of each method, the flags (as `Rule.flags`) that are not every method's and that it looks at.
        rules: what else must hold that a flag has a part.
    """

    name: str
    help: str
    description: str | None
    add: Callable[[argparse.ArgumentParser], None]
    takes: Mapping[str, Collection[str]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
