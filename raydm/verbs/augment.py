"""`raydm augment`: learns to rewrite training rows, with the predictor; see `raydm.verbs.enlarge`."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from raydm.estimators import DataAugmenter
from raydm.verbs.enlarge import run_enlarger
from raydm.verbs.line import prints_line


@prints_line
def run(arguments: Namespace) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    return run_enlarger(arguments, DataAugmenter)
