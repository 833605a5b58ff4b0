"""Neighbour tables from shards in actors: those of one process, whatever happens to the actors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from raydm.data import LabelEncoder, vector_column
from raydm.data.blocks import ParquetRows, open_rows
from raydm.distributed import Connection
from raydm.distributed.neighbors import RayParts, RayShards, shares
from raydm.distributed.streaming import read_spans, stream
from raydm.errors import ClusterError, DataError, ParameterError
from raydm.indexes import Here, IndexSpec
from raydm.neighborhood import (
    HereShards,
    NeighborTable,
    Plain,
    Recipe,
    RowEncoder,
    Shard,
    Wanted,
    check_ids,
    make_recipe,
    notes_of,
    taker,
)

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the actors cannot import a test

N, BLOCK = 2400, 100
RNG = np.random.default_rng(0)
X = (RNG.standard_normal((30, 6))[RNG.integers(0, 30, N)] * 3 + RNG.standard_normal((N, 6))).astype(np.float32)
NAMES = [f"row {i}" for i in RNG.permutation(N)]
TABLE = pa.table({"id": NAMES, "x": vector_column(X), "y": np.round(X[:, 0], 1)})
WANTED = {
    "exact": Wanted(k=5, index="exact", block=BLOCK),
    "ivf-flat": Wanted(k=5, index=IndexSpec("ivf-flat", nlist=20, nprobe=4), block=BLOCK),
    "ivf-pq": Wanted(k=5, index=IndexSpec("ivf-pq", nlist=20, nprobe=4), block=BLOCK),
    "hnsw": Wanted(k=5, index="hnsw", block=BLOCK),
    "label": Wanted(k=5, by="label", block=BLOCK),
}


def written(table: pa.Table, folder: Any) -> ParquetRows:
    pq.write_table(table.slice(0, 1000), folder / "a.parquet", row_group_size=123)
    pq.write_table(table.slice(1000), folder / "b.parquet")
    rows = open_rows(folder)
    assert isinstance(rows, ParquetRows)
    return rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> ParquetRows:
    return written(TABLE, tmp_path_factory.mktemp("rows"))


def recipe_of(rows: ParquetRows, name: str) -> Recipe:
    by = ("data", "label") if name == "ivf-flat" else None
    encoder = None
    if by:  # features and labels
        plain = LabelEncoder("regression", None)
        encoder = RowEncoder("id", pa.string(), Plain("x", 6), ("y",), plain)
    return make_recipe(rows, WANTED[name], taker(rows, BLOCK), "rows", encoder=encoder, by=by)


def here(recipe: Recipe, make: Callable[..., Any], *arguments: Any) -> pa.Table:
    work = make(Here([Shard(recipe, [(0, N)])]), recipe, *arguments)
    return pa.concat_tables(HereShards().stream(recipe, lambda: work))


@pytest.fixture(scope="module")
def held(rows: ParquetRows, cluster: Connection) -> Iterator[tuple[RayShards, RayParts, Recipe]]:
    """Two shards with inverted lists of the features, and the labels sorted."""
    shards, recipe = RayShards(2), recipe_of(rows, "ivf-flat")
    yield shards, shards.build(recipe), recipe
    shards.close()


class Everything:
    """Both neighbour tables, side by side; slowly, and telling of its process."""

    def __init__(self, parts: Any, recipe: Recipe, folder: str | None = None) -> None:
        self.tables = [NeighborTable(parts, recipe, 5, by, None) for by in ("data", "label")]
        self.folder = folder

    def __call__(self, first: int, table: pa.Table) -> pa.Table:
        if self.folder is not None:
            time.sleep(0.1)
            with open(os.path.join(self.folder, f"{first}.pid"), "w") as file:
                file.write(str(os.getpid()))
        columns = {}
        for name, make in (("data", self.tables[0]), ("label", self.tables[1])):
            made = make(first, table)
            columns |= {f"{name} {column}": made[column] for column in made.column_names}
        return pa.table(columns)


@pytest.mark.slow
def test_tables_are_those_of_one_process(held: tuple[RayShards, RayParts, Recipe]) -> None:
    shards, parts, recipe = held
    there = pa.concat_tables(shards.stream(recipe, partial(Everything, parts, recipe)))
    assert there["data id"].to_pylist() == NAMES
    assert there.equals(here(recipe, Everything))


def test_actors_that_are_killed_in_mid_stream_change_nothing(
    held: tuple[RayShards, RayParts, Recipe], tmp_path: Path
) -> None:
    """A shard, and then a worker of the stream."""
    shards, parts, recipe = held
    shard, killed = ray.get(parts.actors[0].process.remote()), []

    def kill() -> None:
        for victim, after in (("shard", 3), ("worker", 8)):
            while len(told := sorted(tmp_path.glob("*.pid"), key=os.path.getmtime)) < after:
                time.sleep(0.01)
            killed.append(shard if victim == "shard" else int(told[-1].read_text() or told[-2].read_text()))
            os.kill(killed[-1], signal.SIGKILL)
        killed.append(len(told))

    assert len(parts) == 2
    assert sum(parts.ask("ready", ())) == N
    check_ids(parts, recipe)
    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    there = pa.concat_tables(shards.stream(recipe, partial(Everything, parts, recipe, str(tmp_path))))
    thread.join(timeout=60)
    assert killed[2] < N // BLOCK  # in mid-stream
    for process in killed[:2]:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)
    assert ray.get(parts.actors[0].process.remote()) != shard  # it came back as another process
    assert there.equals(here(recipe, Everything))


@pytest.fixture
def shards(cluster: Connection) -> Iterator[RayShards]:
    made = RayShards(2)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exact", "ivf-pq", "hnsw", "label"])
def test_other_indexes(rows: ParquetRows, shards: RayShards, name: str) -> None:
    recipe = recipe_of(rows, name)
    parts = shards.build(recipe)
    there = pa.concat_tables(shards.stream(recipe, partial(NeighborTable, parts, recipe, 5, WANTED[name].by, None)))
    assert there.equals(here(recipe, NeighborTable, 5, WANTED[name].by, None))


@pytest.mark.slow
def test_rows_that_cannot_be_encoded_are_told_by_their_file(shards: RayShards, tmp_path: Any) -> None:
    x = X.copy()
    x[1234] = np.nan
    rows = written(TABLE.set_column(1, "x", vector_column(x)), tmp_path)
    wanted = Wanted(k=5, index="exact", block=BLOCK, sample=100)
    recipe = make_recipe(rows, wanted, lambda positions: TABLE.take(positions), "rows")
    with pytest.raises(DataError, match=r"b\.parquet, counted from row 201, column 'x', row 35: nan"):
        shards.build(recipe)


@pytest.mark.slow
def test_an_error_in_mid_stream_is_the_work_s_own(rows: ParquetRows, cluster: Connection) -> None:
    def fail(first: int, table: pa.Table) -> pa.Table:
        if first >= 1200:
            raise DataError("rows from 1200 on cannot be used")
        return table

    with pytest.raises(DataError, match="rows from 1200 on"):
        list(stream(rows, lambda: fail, columns=["y"], block=BLOCK))


@pytest.mark.slow
def test_the_order_is_that_of_the_rows_and_blocks_are_whole(rows: ParquetRows, cluster: Connection) -> None:
    def tell(first: int, table: pa.Table) -> pa.Table:
        time.sleep(0.05 * (first % 300 == 0))  # so that later ones are done earlier
        return pa.table({"first": [first], "rows": [table.num_rows]})

    told = pa.concat_tables(stream(rows, lambda: tell, columns=["y"], block=BLOCK)).to_pydict()
    assert told == {"first": list(range(0, N, BLOCK)), "rows": [BLOCK] * (N // BLOCK)}


@pytest.mark.slow
def test_a_stream_that_nobody_reads_on_is_ended(tmp_path: Any, cluster: Connection) -> None:
    rows = written(TABLE, tmp_path)
    done = tmp_path / "done"
    done.mkdir()

    def work(first: int, table: pa.Table) -> pa.Table:
        (done / str(first)).touch()
        return table

    stopped = stream(rows, lambda: work, columns=["y"], block=BLOCK)
    next(stopped)
    stopped.close()
    before = len(list(done.iterdir()))
    time.sleep(1)
    assert len(list(done.iterdir())) == before


@pytest.mark.slow
def test_the_sample_is_the_same_wherever_it_is_read(
    rows: ParquetRows, shards: RayShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions = np.sort(RNG.choice(N, 500, replace=False))
    monkeypatch.setattr("raydm.distributed.neighbors._READ_HERE", 0)
    assert shards.take(rows, BLOCK, positions).equals(TABLE.take(positions))


def test_rows_are_dealt_out_to_all_shards(rows: ParquetRows) -> None:
    dealt = shares(recipe_of(rows, "exact"), 5)
    assert len(dealt) == 5
    assert sorted(span for part in dealt for span in part) == read_spans(rows, BLOCK, 4)
    assert {at for part in dealt for span in part for at in range(*span)} == set(range(N))
    assert len(shares(recipe_of(rows, "exact"), 100)) == N // BLOCK  # a shard has a block at least


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"actors": 0}, ParameterError, "'actors'"),
        ({"actors": 1, "cpus_per_actor": 0.0}, ParameterError, "'cpus_per_actor'"),
        ({"actors": 1, "gpus_per_actor": -1.0}, ParameterError, "'gpus_per_actor'"),
        ({"actors": 13}, ClusterError, "13 shards of 1 CPU each can never be placed"),
        ({"actors": 12}, ClusterError, "take 12 of the cluster's 12 CPUs, and the stream needs 1 beside them"),
        ({"actors": 1, "gpus_per_actor": 1.0}, ClusterError, "1 GPU each can never be placed"),
    ],
)
def test_what_can_never_be_placed_is_refused_at_once(
    cluster: Connection, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    started = time.monotonic()
    with pytest.raises(error, match=message):
        RayShards(**arguments)
    assert time.monotonic() - started < 5


@pytest.mark.slow
def test_another_process_joins_the_cluster_at_its_address(
    rows: ParquetRows, cluster: Connection, tmp_path: Path
) -> None:
    """Its actors are those that it started alone, and the cluster stands when it has gone."""
    address, out = ray.get_runtime_context().gcs_address, tmp_path / "near.parquet"
    flags = ["--k", "5", "--index", "exact", "--address", address, "--actors", "2", "--quiet", "--out", str(out)]
    command = [sys.executable, "-m", "raydm.cli", "neighbors", str(rows.files[0].parent), *flags]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["shards"] == 1  # the rows are one block of the verb's own size
    recipe = recipe_of(rows, "exact")
    expected = pa.concat_tables(notes_of(iter([here(recipe, NeighborTable, 5, "data", None)]), []))
    columns = ["id", "neighbors"]
    assert pq.read_table(out).select(columns).equals(expected.select(columns))
    assert ray.is_initialized()
    assert ray.cluster_resources()["CPU"] == 12
