"""Flags of `raydm data`."""

from __future__ import annotations

import argparse

from raydm.flags.verb import Verb


def _data(parser: argparse.ArgumentParser) -> None:
    listing = parser.add_subparsers(metavar="ACTION", required=True).add_parser("list", help="list them")
    listing.add_argument("--json", action="store_true", help="as one JSON line on stdout")
    listing.set_defaults(module="data")


DATA = Verb("data", "the data sets that are known by name", None, _data)
