"""Writes many rows as Parquet, block by block: as many as wanted, in the memory of one block.

    python jobs/bench/generate_rows.py FOLDER --rows 10000000 [--features 64] [--clusters 1000] [--rank 8] [--seed 0]

A row is a point near one of some clusters: its centre, a combination of the cluster's own few directions (their number
is --rank), and a little noise in every feature; so that, as in data that people have, a point's neighbours are nearer
to it than others, and there are fewer directions than features. Columns: id (int64), x (a vector of float32), y (a
number that depends on x). The rows depend on the seed and on their number alone, not on how they are split into files.
The folder appears whole or not at all. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from raydm.data import vector_column
from raydm.report.atomic import new_folder
from raydm.seeding import stream

BLOCK, BLOCKS_A_FILE = 2**16, 16


class Clusters:
    """Points near clusters, each with directions of its own."""

    def __init__(self, features: int, clusters: int, rank: int, seed: int) -> None:
        rng = stream(seed, "clusters")
        self.seed, self.rank = seed, rank
        self.centres = rng.standard_normal((clusters, features)).astype(np.float32)
        self.directions = (0.5 / np.sqrt(rank) * rng.standard_normal((clusters, rank, features))).astype(np.float32)
        self.slope = rng.standard_normal(features).astype(np.float32)

    def block(self, number: int) -> pa.Table:
        """The rows of a block."""
        rng = stream(self.seed, "rows", number)
        which = rng.integers(0, len(self.centres), BLOCK)
        along = rng.standard_normal((BLOCK, self.rank), dtype=np.float32)
        x = self.centres[which] + 0.05 * rng.standard_normal((BLOCK, self.centres.shape[1]), dtype=np.float32)
        for axis in range(self.rank):  # an axis at a time: all at once would take rank times the memory
            x += along[:, axis, None] * self.directions[which, axis]
        y = np.tanh(x @ self.slope / 4) + 0.01 * rng.standard_normal(BLOCK, dtype=np.float32)
        return pa.table({"id": np.arange(number * BLOCK, (number + 1) * BLOCK), "x": vector_column(x), "y": y})


def generate(folder: Path, rows: int, source: Clusters, *, quiet: bool = False) -> None:
    """Writes the rows into a new folder."""
    with new_folder(folder) as made:
        writer = None
        for number in tqdm(range(-(-rows // BLOCK)), unit="block", file=sys.stderr, disable=quiet):
            table = source.block(number).slice(0, rows - number * BLOCK)
            if number % BLOCKS_A_FILE == 0:
                if writer:
                    writer.close()
                writer = pq.ParquetWriter(
                    made / f"rows-{number // BLOCKS_A_FILE:05}.parquet", table.schema, use_dictionary=False
                )
            writer.write_table(table)
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.perf_counter()
    source = Clusters(arguments.features, arguments.clusters, arguments.rank, arguments.seed)
    generate(arguments.folder, arguments.rows, source)
    size = sum(file.stat().st_size for file in arguments.folder.iterdir())
    line = {"folder": str(arguments.folder), "rows": arguments.rows, "bytes": size}
    print(json.dumps(line | {"seconds": round(time.perf_counter() - started, 1)}))


if __name__ == "__main__":
    main()
