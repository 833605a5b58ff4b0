"""`raydm score`: values new rows with a learned h_phi."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pyarrow.parquet as pq

from raydm.data import encode, read_table
from raydm.errors import ParameterError
from raydm.report.atomic import check_free, new_file
from raydm.report.run import load_run, values_table


def run(arguments: Namespace) -> None:
    """Runs the verb; prints one JSON line."""
    if arguments.threshold is not None and not 0 <= arguments.threshold <= 1:
        raise ParameterError.of("threshold", "raydm score", "a number in [0, 1]", arguments.threshold)
    out = arguments.out or Path("values.parquet")
    check_free(out)
    learned = load_run(arguments.run)
    threshold = learned.threshold if arguments.threshold is None else arguments.threshold
    files: list[str] = arguments.data
    examples = encode(learned, read_table(files), files[0] if len(files) == 1 else f"{files[0]} and others")
    values = learned.values(examples)
    selected = values >= threshold
    with new_file(out) as file:
        pq.write_table(values_table(examples.ids, values, selected), file)
    line = {
        "run": str(arguments.run),
        "out": str(out),
        "rows": len(values),
        "mean_value": float(values.mean()),
        "selected": int(selected.sum()),
    }
    print(json.dumps(line))
