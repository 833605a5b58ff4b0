"""Runs the verb that a script of this folder is named after."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

from raydm.cli import main


def run(script: str) -> NoReturn:
    """`python jobs/x.py ARGS` is `raydm x ARGS`, exit code included."""
    sys.exit(main([Path(script).stem, *sys.argv[1:]]))
