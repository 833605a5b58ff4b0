"""`raydm score`: values new rows with a learned h_phi."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from raydm.data import encode, read_table
from raydm.data.blocks import ParquetRows, open_rows
from raydm.data.files import list_files
from raydm.errors import ParameterError
from raydm.neighborhood import machine_memory
from raydm.report.atomic import check_free, new_file
from raydm.report.run import Run, load_run, values_table
from raydm.report.score import BLOCK, Scorer, keep_memory, mean_of, score_here, write_values
from raydm.storage import Place, output
from raydm.verbs.line import prints_line
from raydm.verbs.neighbors import check_actors, parquet_only, say_notes

_WHOLE = 8  # rows of up to 1/8 of the memory are read whole: encoded, they take several times that


@prints_line
def run(arguments: Namespace) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    if arguments.threshold is not None and not 0 <= arguments.threshold <= 1:
        raise ParameterError.of("threshold", "raydm score", "a number in [0, 1]", arguments.threshold)
    check_actors(arguments, "raydm score", 0)
    out = output(arguments.storage, arguments.out, Path("values.parquet"))
    check_free(out)
    learned = load_run(arguments.run)
    threshold = learned.threshold if arguments.threshold is None else arguments.threshold
    files: list[str] = arguments.data
    if arguments.stream or arguments.actors or is_large(files):
        values, selected, rows = _streamed(arguments, learned, threshold, out)
    else:
        examples = encode(learned, read_table(files), files[0] if len(files) == 1 else f"{files[0]} and others")
        of_rows = learned.values(examples)
        chosen = of_rows >= threshold
        with new_file(out) as file:
            pq.write_table(values_table(examples.ids, of_rows, chosen), file)
        values, selected, rows = mean_of(of_rows), int(chosen.sum()), len(of_rows)
    return {"run": str(arguments.run), "out": str(out), "rows": rows, "mean_value": values, "selected": selected}


def is_large(files: list[str]) -> bool:
    """Whether files are Parquet, and too large to be read whole."""
    if not all(file.name.lower().endswith((".parquet", ".pq")) for file in list_files(files)):
        return False
    return _WHOLE * ParquetRows.open(list_files(files)).bytes > machine_memory()


def _streamed(arguments: Namespace, learned: Run, threshold: float, out: Place) -> tuple[float, int, int]:
    """The mean value, how many rows are selected, and how many there are."""
    rows = parquet_only(open_rows(arguments.data)).absolute()
    scorer = Scorer(learned, threshold, rows)
    said: list[str] = []
    with new_file(out) as file:
        if arguments.actors:
            from raydm.distributed.scoring import RayStream  # Ray takes a second to import

            with RayStream(arguments.actors, address=arguments.address) as cluster:
                tables = cluster.stream(rows, scorer, columns=scorer.columns, block=BLOCK)
                done = write_values(file, tables, scorer, said, quiet=arguments.quiet)
        else:
            keep_memory()
            tables = score_here(rows, scorer, threads=torch.get_num_threads())
            done = write_values(file, tables, scorer, said, quiet=arguments.quiet)
    say_notes(said)
    return done.mean, done.selected, len(rows)
