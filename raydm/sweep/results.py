"""What a sweep found: its table, its best trial, and that one's config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import yaml

from raydm.errors import RunError
from raydm.sweep.ledger import Row
from raydm.sweep.spaces import merged

FINISHED, STOPPED, FAILED = "finished", "stopped", "failed"
_FIGURES = ("utility", "valid_score", "test_score", "seconds")


def failed(number: int, settings: Mapping[str, Any], error: str, tries: int) -> Row:
    """The row of a trial that could not be trained."""
    return {"trial": number, "state": FAILED, "settings": dict(settings), "tries": tries, "error": error}


def best(rows: Sequence[Row]) -> Row:
    """The finished trial with the highest utility on D^v; of equals the first.

    Raises:
        RunError: none finished.
    """
    finished = [row for row in rows if row["state"] == FINISHED]
    if not finished:
        errors = [row["error"] for row in rows if row.get("error")]
        raise RunError(
            f"None of the {len(rows)} trials finished. {('The first said: ' + errors[0]) if errors else ''}".rstrip()
        )
    return max(finished, key=lambda row: (row["utility"], -row["trial"]))


def config_of(verb: str, base: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """The config that runs a trial again: what all trials had, its settings, and what was chosen after its training."""
    return {"verb": verb, **merged(merged(base, row["settings"]), row["chosen"])}


def config_text(config: Mapping[str, Any], row: Row, trials: int) -> str:
    """The config as YAML, with what it is worth above."""
    scores = f"utility {row['utility']:.6g} on the trusted rows"
    return (
        f"# The best of {trials} trials: number {row['trial']}, {scores}.\n"
        f"# raydm {config['verb']} --config THIS_FILE --out DIR\n"
        + yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
    )


def table(rows: Sequence[Row]) -> pa.Table:
    """One row a trial: its number, state, settings, what was chosen, and figures; what is not known is null."""
    names = dict.fromkeys(name for row in rows for name in row["settings"])
    chosen = dict.fromkeys(name for row in rows for name in row.get("chosen", ()) if name not in names)
    columns: dict[str, Any] = {"trial": [row["trial"] for row in rows], "state": [row["state"] for row in rows]}
    columns |= {name: _column([row["settings"].get(name) for row in rows]) for name in names}
    columns |= {name: _column([row.get("chosen", {}).get(name) for row in rows]) for name in chosen}
    columns |= {name: pa.array([row.get(name) for row in rows], pa.float64()) for name in _FIGURES}
    columns["steps"] = pa.array([row.get("steps") for row in rows], pa.int64())
    columns["tries"] = pa.array([row.get("tries") for row in rows], pa.int64())
    columns["error"] = pa.array([row.get("error") for row in rows], pa.string())
    return pa.table(columns)


def _column(values: Sequence[Any]) -> pa.Array:
    """Numbers as such; text where a value is none."""
    known = [value for value in values if value is not None]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known):
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    return pa.array([None if value is None else str(value) for value in values], pa.string())
