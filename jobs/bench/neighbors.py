"""`raydm neighbors` against FAISS alone: rows a second with the same index and threads, recall, and memory.

    python jobs/bench/generate_rows.py /tmp/rows-1m --rows 1000000
    python jobs/bench/neighbors.py /tmp/rows-1m [--actors 2] [--alone-seconds 60] [-- flags of raydm neighbors]

The command runs as a user runs it, and the memory of its process (the driver) and of all processes that it started is
sampled every half second, as Linux tells it: rss, and pss, which counts a page that processes share but once. Then
FAISS alone, in one process with as many threads as all actors have together, searches the same trained index over all
rows, with the same nprobe and one neighbour more (a point finds itself), in blocks of 8192 queries, for some seconds;
it neither reads, ranks in float64, merges, nor writes. Recall is measured again, on rows that the command did not
choose, by comparing every distance. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pyarrow.parquet as pq
import torch

from raydm.data.blocks import ROWS, ParquetRows, open_rows
from raydm.indexes import IndexSpec
from raydm.neighborhood import Wanted, make_recipe, recall, taker
from raydm.neighbors import nearest

GIB = 2**30
QUESTIONS = 300


class Memory(threading.Thread):
    """Samples the memory of a process and of all below it."""

    def __init__(self, process: int) -> None:
        super().__init__(daemon=True)
        self.root, self.done = process, threading.Event()
        self.peak = {"driver_rss": 0, "all_rss": 0, "all_pss": 0}

    def run(self) -> None:
        while not self.done.wait(0.5):
            held = [(pid, memory_of(pid)) for pid in family(self.root)]
            now = {
                "driver_rss": sum(rss for pid, (rss, _) in held if pid == self.root),
                "all_rss": sum(rss for _, (rss, _) in held),
                "all_pss": sum(pss for _, (_, pss) in held),
            }
            self.peak = {name: max(value, now[name]) for name, value in self.peak.items()}


def family(root: int) -> list[int]:
    """A process and all below it."""
    below: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):  # it ended meanwhile
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                below.setdefault(parent, []).append(int(folder.name))
    found = [root]
    for process in found:  # which grows on the way
        found += below.get(process, [])
    return found


def memory_of(process: int) -> tuple[int, int]:
    """Bytes: rss and pss."""
    with suppress(OSError):
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        told = {line.split(":")[0]: line.split() for line in lines}
        if "Rss" in told:
            return 1024 * int(told["Rss"][1]), 1024 * int(told["Pss"][1])
    return 0, 0


def measured(words: list[str]) -> tuple[dict[str, Any], dict[str, float]]:
    """The command's JSON line, and its memory."""
    with subprocess.Popen([sys.executable, "-m", "raydm.cli", *words], stdout=subprocess.PIPE, text=True) as process:
        memory = Memory(process.pid)
        memory.start()
        out, _ = process.communicate()
        memory.done.set()
    if process.returncode:
        sys.exit(process.returncode)
    return json.loads(out), {f"{name}_gib": round(value / GIB, 2) for name, value in memory.peak.items()}


def alone(rows: ParquetRows, line: dict[str, Any], threads: int, seconds: float, seed: int) -> float:
    """Rows a second of FAISS alone."""
    wanted = Wanted(k=line["k"], index=spec_of(line), memory=2**62, seed=seed)
    recipe = make_recipe(rows, wanted, taker(rows), "rows")
    index = recipe.indexes["data"].index()
    faiss.omp_set_num_threads(threads)
    blocks = []
    for first, table in rows.blocks(columns=recipe.encoder.columns):
        x = recipe.encoder.encode(first, table, "rows").x
        index.add(x)
        if len(blocks) < 64:
            blocks.append(x.copy())
    index.nprobe = line["nprobe"]
    index.search(blocks[0], line["k"] + 1)
    searched, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < seconds:
        x = blocks[(searched // ROWS) % len(blocks)]
        index.search(x, line["k"] + 1)
        searched += len(x)
    return searched / spent


def spec_of(line: dict[str, Any]) -> IndexSpec:
    """The index that the command made."""
    names = ("nlist", "nprobe", "m", "bits")
    return IndexSpec(line["index"], **{name: line[name] for name in names if name in line})


def true_recall(rows: ParquetRows, table: Path, k: int) -> float:
    """Of rows at even distances from one another."""
    places = np.linspace(0, len(rows) - 1, QUESTIONS).astype(np.int64)
    encoder = make_recipe(rows, Wanted(k=k, index="exact", memory=2**62, sample=ROWS), taker(rows), "rows").encoder
    encode = lambda first, t: encoder.encode(first, t, "rows").x
    asked = encode(0, taker(rows)(places))
    best = np.full((QUESTIONS, 0), np.inf)
    for first, block in rows.blocks(columns=encoder.columns, rows=8 * ROWS):
        distances, near = nearest(asked, encode(first, block), min(k + 1, block.num_rows))
        distances[near + first == places[:, None]] = np.inf
        best = np.sort(np.concatenate([best, distances], 1), 1)[:, :k]
    found = pq.read_table(table, columns=["distances"])["distances"].take(places).combine_chunks()
    return float(recall(np.asarray(found.flatten()).reshape(-1, k), best).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder of Parquet files")
    parser.add_argument("--actors", type=int, default=2, help="0: in one process")
    parser.add_argument("--k", type=int, default=16)
    parser.add_argument("--index", default="ivf-flat")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--alone-seconds", type=float, default=60.0, help="0: without FAISS alone")
    parser.add_argument("--no-recall", action="store_true", help="without comparing every distance")
    parser.add_argument("flags", nargs="*", help="more flags of raydm neighbors, after --")
    arguments = parser.parse_args()
    rows = open_rows(arguments.data)
    assert isinstance(rows, ParquetRows)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "neighbors.parquet"
        words = [
            "neighbors",
            str(arguments.data),
            "--k",
            str(arguments.k),
            "--index",
            arguments.index,
            "--out",
            str(table),
        ]
        words += ["--actors", str(arguments.actors), "--seed", str(arguments.seed), *arguments.flags]
        line, memory = measured(words)
        again = None if arguments.no_recall else round(true_recall(rows, table, arguments.k), 4)
    threads = arguments.actors or torch.get_num_threads()
    rate = None
    if arguments.alone_seconds and "nprobe" in line:
        rate = alone(rows, line, threads, arguments.alone_seconds, arguments.seed)
    shown = ("rows", "features", "k", "index", "nlist", "nprobe", "shards", "recall", "seconds", "rows_per_second")
    figures = {name: line.get(name) for name in shown}
    more = {
        "recall_again": again,
        "threads": threads,
        "faiss_alone_rows_per_second": None if rate is None else round(rate, 1),
        "ratio": None if rate is None else round(line["rows_per_second"] / rate, 3),
    }
    print(json.dumps(figures | more | memory))


if __name__ == "__main__":
    main()
