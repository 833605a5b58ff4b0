"""One run of each fault of `jobs/bench/faults.py`, on a Ray cluster of three nodes; the job makes many.

What needs no cluster of several nodes is tested by default: an actor that is killed, and a rollout that hangs or gives
NaN, in test_rollouts.py; a killed driver and torn journals in tests/cli/test_cli_resume.py, and a full disk in
tests/test_records.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
JOB = Path(__file__).parents[2] / "jobs" / "bench" / "faults.py"
ROWS = {  # runs that end identical, and runs that end with the error that they should
    "actor": (1, 0),
    "node": (1, 0),
    "driver": (1, 0),
    "store": (25, 0),
    "nan": (1, 1),
    "hang": (2, 1),
}


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    """The lines of the job, by fault: it has one cluster for all."""
    words = ("--runs", "1", "--node-runs", "1", "--driver-runs", "1", "--only", *ROWS)
    done = subprocess.run([sys.executable, str(JOB), *words], capture_output=True, text=True, check=False)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert lines, done.stderr
    return {line["fault"]: line for line in lines}


@pytest.mark.parametrize("fault", ROWS)
def test_a_fault_changes_nothing_or_is_told(table: dict[str, Any], fault: str) -> None:
    row = table[fault]
    assert row["bad"] == []
    assert (row["identical"], row["told"]) == ROWS[fault]


def test_a_killed_driver_loses_one_step_at_most(table: dict[str, Any]) -> None:
    assert table["driver"]["lost"] <= 1
