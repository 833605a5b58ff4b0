"""A sweep's progress, as a table on stderr: a line as a trial ends, and now and then how the others stand."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from raydm.sweep.ledger import Row

_EVERY_S = 30.0
_WIDEST = 24


class Progress:
    """Prints the table.

    Args:
        names: of the settings that differ.
        total: trials in all.
        quiet: prints nothing.
    """

    def __init__(self, names: Sequence[str], total: int, *, quiet: bool) -> None:
        self._names, self._total, self._quiet = names, total, quiet
        self._done, self._said, self._begun = 0, time.monotonic(), False
        self._running: dict[int, str] = {}

    def seen(self, number: int, share: float, utility: float) -> None:
        """A trial reported."""
        self._running[number] = f"{number}: {share:.0%}, {utility:.4g}"
        if not self._quiet and time.monotonic() - self._said > _EVERY_S:
            self._say(f"running ({self._done} of {self._total} done)   " + "; ".join(self._running.values()))

    def ended(self, row: Row) -> None:
        """A trial ended."""
        self._done += 1
        self._running.pop(row["trial"], None)
        if self._quiet:
            return
        if not self._begun:
            self._begun = True
            names = [name[-_WIDEST:] for name in self._names]
            self._say(_line("trial", "state", names, "threshold", "utility", "valid", "test", "seconds"))
        settings, chosen = row["settings"], row.get("chosen", {})
        figures = [row.get(name) for name in ("utility", "valid_score", "test_score", "seconds")]
        cells = [_text(chosen.get("threshold")), *map(_text, figures)]
        self._say(_line(str(row["trial"]), row["state"], [_text(settings.get(n)) for n in self._names], *cells))
        if row.get("error"):
            self._say(f"        {row['error']}")

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        print(text, file=sys.stderr, flush=True)


def _line(trial: str, state: str, settings: Sequence[str], *figures: str) -> str:
    return "  ".join(
        [trial.rjust(5), state.ljust(8), *(s.rjust(14) for s in settings), *(figure.rjust(9) for figure in figures)]
    )


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(dict(value) if isinstance(value, Mapping) else value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."
