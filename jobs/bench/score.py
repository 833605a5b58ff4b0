"""`raydm score` against the bare network: rows a second, and peak memory, on Parquet of as many rows as wanted.

    python jobs/bench/score.py FOLDER --rows 1000000 10000000 [--features 32] [--evidence validation]

FOLDER is filled with Parquet files block by block, in the memory of one block: features f00, f01, ..., all numbers,
a label of two classes of which a fifth is wrong, and an id; what is there already is taken as it is. A run of `raydm
value` is made from 1,000 rows of the same kind and 400 trusted ones. Then, for each number of rows, the command runs as
a user runs it, and its peak memory is what the kernel says of its process. Prints a JSON line for each number of rows:

    rows_per_second      of the whole command, its start included
    steady               the same without what the command takes on one block of rows, which is its start
    network              the bare network, on one thread: h_phi of that run over blocks of encoded rows and of evidence
                         that lie in memory; it neither reads, encodes, asks the models that give evidence, nor writes
    network_all_threads  the same blocks, dealt to as many threads as the command has: the fastest that it can be run
    network_plain        h_phi as it is called without further thought: torch's own threads, 65,536 rows at a time
    all_models           the network and the models that give its evidence, on one thread
    ratio_to_...         steady to each of these
    cpu_ratio            steady to network, of CPU seconds: as if the command had one thread; what else the machine does
                         hardly shows in it
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from raydm import load_run
from raydm.data import encode
from raydm.data.blocks import ROWS
from raydm.data.examples import Examples
from raydm.report.atomic import new_folder
from raydm.report.run import Run
from raydm.seeding import stream

BLOCK, BLOCKS_A_FILE = 2**16, 16
IN_MEMORY = 16  # blocks of ROWS that the bare network goes round
MIB = 2**20


def block(seed: int, number: int, features: int, rows: int = BLOCK) -> pa.Table:
    """The rows of a block; they depend on the seed and on its number alone."""
    rng = stream(seed, "rows", number)
    x = rng.standard_normal((rows, features), dtype=np.float32)
    slope = stream(seed, "slope").standard_normal(features).astype(np.float32)
    right = x @ slope > 0
    label = np.where(right ^ (rng.random(rows) < 0.2), "yes", "no")
    columns: dict[str, Any] = {"id": np.arange(number * BLOCK, number * BLOCK + rows)}
    return pa.table(columns | {f"f{i:02}": x[:, i] for i in range(features)} | {"label": label})


def generate(folder: Path, rows: int, features: int, seed: int) -> None:
    """Writes the rows into a new folder."""
    with new_folder(folder) as made:
        writer = None
        for number in tqdm(range(-(-rows // BLOCK)), unit="block", file=sys.stderr):
            table = block(seed, number, features).slice(0, rows - number * BLOCK)
            if number % BLOCKS_A_FILE == 0:
                if writer:
                    writer.close()
                file = made / f"rows-{number // BLOCKS_A_FILE:05}.parquet"
                writer = pq.ParquetWriter(file, table.schema, use_dictionary=["label"])
            writer.write_table(table)
        writer.close()


def learn(folder: Path, features: int, seed: int, evidence: list[str]) -> Path:
    """A run of `raydm value`; how well it learned decides nothing here."""
    made = folder / f"run-{features}-{'-'.join(evidence)}"
    if not made.exists():
        names = {"train": (1000, 10**6), "valid": (400, 10**6 + 1)}
        with tempfile.TemporaryDirectory() as below:
            files = {name: Path(below) / f"{name}.parquet" for name in names}
            for name, (rows, number) in names.items():
                pq.write_table(block(seed, number, features, rows), files[name])
            words = ["value", files["train"], "--valid", files["valid"], "--steps", 40, "--out", made, "--quiet"]
            command(*words, "--judge", 0, "--evidence", *evidence)
    return made


def command(*words: object) -> tuple[float, float, int]:
    """Runs `raydm`: seconds, CPU seconds, bytes that its process held at most."""
    started = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "raydm.cli", *map(str, words)], stdout=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(process.returncode)
    return time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def bare(run: Run, examples: Examples, seconds: float, *, ask: bool = False, threads: int = 1) -> tuple[float, float]:
    """Rows a second, and a CPU second, of h_phi; with the models that give its evidence, or without.

    Blocks are dealt to threads, in each of which torch has one: for networks this small, that is fastest.
    """
    function: Any = run.value_function
    blocks = [slice(start, start + ROWS) for start in range(0, len(examples), ROWS)]
    parts = [Examples(examples.x[b], examples.y[b], examples.ids[b]) for b in blocks]
    seen = [function.see(part) for part in parts]

    def once(i: int) -> None:
        if ask:
            function.values(parts[i])
        else:
            for member in function.members:
                function.log_odds(member, parts[i], seen[i])

    done, before = 0, torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
        [*pool.map(once, range(len(parts)))]
        started, cpu = time.perf_counter(), time.process_time()
        while time.perf_counter() - started < seconds:
            [*pool.map(once, range(len(parts)))]
            done += len(parts) * ROWS
        rates = done / (time.perf_counter() - started), done / (time.process_time() - cpu)
    torch.set_num_threads(before)
    return rates


def plain(run: Run, examples: Examples, seconds: float) -> float:
    """Rows a second of h_phi's module itself, called on large batches that lie in memory."""
    function: Any = run.value_function
    seen, member = function.see(examples), function.members[0]
    tensors = [torch.from_numpy(examples.x), member.targets(torch.from_numpy(examples.y)), seen.gaps]
    batches = [*zip(*(tensor.split(BLOCK) for tensor in tensors), strict=True)]
    with torch.inference_mode():
        started, done = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            for batch in batches:
                member.estimator(*batch)
            done += len(examples)
    return done / len(function.members) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument(
        "--evidence", nargs="+", default=["validation"], help="as of raydm value (the paper's: validation)"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of the bare network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("flags", nargs="*", help="more flags of raydm score, after --")
    arguments = parser.parse_args()
    features, seed = arguments.features, arguments.seed
    folder = learn(arguments.folder, features, seed, arguments.evidence)
    run = load_run(folder)
    examples = encode(
        run, pa.concat_tables([block(seed, 10**6 + 2 + i, features) for i in range(IN_MEMORY * ROWS // BLOCK)]), "rows"
    )
    threads = torch.get_num_threads()
    one, one_of_cpu = bare(run, examples, arguments.seconds)
    rates = {
        "network": one,
        "network_all_threads": bare(run, examples, arguments.seconds, threads=threads)[0],
        "network_plain": plain(run, examples, arguments.seconds),
        "all_models": bare(run, examples, arguments.seconds, ask=True)[0],
    }
    small = arguments.folder / f"rows-{features}-{ROWS}"
    for rows in (ROWS, *arguments.rows):
        if not (place := arguments.folder / f"rows-{features}-{rows}").exists():
            generate(place, rows, features, seed)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as below:
        score = lambda data, name: command(
            "score", folder, data, "--stream", "--quiet", "--out", Path(below) / name, *arguments.flags
        )
        start = score(small, "start")
        for rows in arguments.rows:
            seconds, cpu, memory = score(arguments.folder / f"rows-{features}-{rows}", f"{rows}")
            steady = (rows - ROWS) / max(seconds - start[0], 1e-9)
            of_cpu = (rows - ROWS) / max(cpu - start[1], 1e-9)
            line = {
                "rows": rows,
                "features": features,
                "evidence": arguments.evidence,
                "members": len(run.value_function.members) if run.value_function else 0,
                "threads": threads,
                "seconds": round(seconds, 2),
                "start_seconds": round(start[0], 2),
                "rows_per_second": round(rows / seconds),
                "steady": round(steady),
                **{name: round(rate) for name, rate in rates.items()},
                **{f"ratio_to_{name}": round(steady / rate, 3) for name, rate in rates.items()},
                "cpu_ratio": round(of_cpu / one_of_cpu, 3),
                "peak_mib": round(memory / MIB, 1),
                "start_peak_mib": round(start[2] / MIB, 1),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
