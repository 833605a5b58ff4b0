"""`raydm data list`: the data sets that are known by name."""

from __future__ import annotations

import json
from argparse import Namespace

from raydm.data import describe_sets


def run(arguments: Namespace) -> None:
    """Prints a table, or one JSON line."""
    sets = describe_sets()
    if arguments.json:
        print(json.dumps(sets))
        return
    rows = [[str(value) if value is not None else "" for value in entry.values()] for entry in sets]
    header = list(sets[0])
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    for row in [header, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
