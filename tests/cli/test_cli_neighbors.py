"""`raydm neighbors`, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_kit import Call

from raydm.data import vector_column
from raydm.neighbors import nearest

RNG = np.random.default_rng(0)
N = 20_000  # three blocks
X = (RNG.standard_normal((50, 8))[RNG.integers(0, 50, N)] * 3 + RNG.standard_normal((N, 8))).astype(np.float32)
RAYDM = (sys.executable, "-m", "raydm.cli")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    table = pa.table({"id": RNG.permutation(N), "x": vector_column(X), "y": np.round(X[:, 0], 2)})
    pq.write_table(table.slice(0, 11_000), folder / "a.parquet", row_group_size=3000)
    pq.write_table(table.slice(11_000), folder / "b.parquet")
    return folder


def near(file: str | Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = pq.read_table(file).combine_chunks()
    ids, names, distances = (table.column(i).combine_chunks() for i in range(3))
    k = table.schema.field("neighbors").type.list_size
    return ids.to_numpy(), names.flatten().to_numpy().reshape(-1, k), distances.flatten().to_numpy().reshape(-1, k)


def test_a_table_with_the_recall_that_was_asked_for(call: Call, rows: Path) -> None:
    done = call("neighbors", rows, "--k", "10", "--index", "ivf-flat", "--out", "new/table.parquet")
    line = done.line
    assert line["out"] == "new/table.parquet"
    assert (line["rows"], line["k"], line["index"], line["shards"], line["features"]) == (N, 10, "ivf-flat", 1, 8)
    assert {"seconds", "rows_per_second", "peak_memory", "nlist", "nprobe"} <= line.keys()
    assert "neighbors: 100%" in done.err
    ids, found, distances = near("new/table.parquet")
    assert (found != ids[:, None]).all()
    row = np.argsort(ids)  # of an id
    some = RNG.choice(N, 300, replace=False)
    true, _ = nearest(X[some], X, 11)
    share = (distances[some] <= true[:, -1:] * (1 + 1e-12)).mean()
    assert share >= 0.94
    assert line["recall"] == pytest.approx(share, abs=0.03)
    gaps = np.linalg.norm(X[some, None].astype(np.float64) - X[row[found[some]]], axis=-1)
    np.testing.assert_allclose(distances[some], gaps, rtol=1e-6)


def test_more_recall_looks_further(call: Call, rows: Path) -> None:
    probes = [
        call("neighbors", rows, "--index", "ivf-flat", "--recall", r, "--out", r, "--quiet").line["nprobe"]
        for r in ("0.5", "0.999")
    ]
    assert probes[1] > 2 * probes[0]


def test_labels(call: Call, rows: Path) -> None:
    done = call("neighbors", rows, "--k", "3", "--by", "label", "--label", "y", "--quiet")
    assert done.err == ""
    assert (done.line["index"], done.line["recall"]) == ("exact", 1.0)
    ids, found, distances = near("neighbors.parquet")
    y = np.round(X[:, 0], 2)[np.argsort(ids)]
    np.testing.assert_allclose(np.abs(y[found] - y[ids][:, None]), distances, atol=1e-6)


def test_csv_and_features(call: Call) -> None:
    lines = "\n".join(f"{a},{a % 7},u{a % 3}" for a in range(50))
    Path("rows.csv").write_text("a,b,g\n" + lines + "\n")
    done = call("neighbors", "rows.csv", "--features", "b", "g", "--kind", "b=categorical", "--k", "2")
    assert done.line["features"] == 10
    ids, found, distances = near("neighbors.parquet")
    assert ids.tolist() == list(range(50))
    assert found[0].tolist() == [21, 42]
    assert distances[0].tolist() == [0, 0]
    refused = call("neighbors", "rows.csv", "--actors", "1", "--out", "other.parquet")
    assert refused.code == 2
    assert "Write the rows as Parquet first" in refused.err


def test_what_was_done_to_features_is_told(call: Call) -> None:
    Path("rows.csv").write_text("a,b,c\n" + "".join(f"{a},{'' if a == 3 else a % 7},1\n" for a in range(30)))
    done = call("neighbors", "rows.csv", "--k", "2", "--quiet")
    assert "rows.csv, column 'b': 1 missing values imputed with the mean" in done.err
    assert "column 'c': constant, dropped" in done.err


def test_a_recall_that_is_not_reached_is_told(call: Call, rows: Path) -> None:
    done = call("neighbors", rows, "--index", "ivf-flat", "--nprobe", "1", "--quiet")
    assert done.line["recall"] < 0.8
    assert "warning: Recall is 0." in done.err
    assert "less than the 0.95 of --recall" in done.err


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Path]:
    """A folder that must stay empty."""
    folder = tmp_path / "out"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--k 0", ["'k'", ">= 1"]),
        ("--k 20000", ["'k'", "[1, 19999]"]),
        ("--by nothing", ["'by'", "'data', 'label'"]),
        ("--by label --label x", ["'x'", "need numbers"]),
        ("--by label --features x", ["--features are not used by --by label"]),
        ("--index annoy", ["'index'", "'ivf-flat'"]),
        ("--nprobe 3", ["--nprobe is for --index ivf-flat or ivf-pq"]),
        ("--index hnsw --nlist 3", ["--nlist is for --index ivf-flat or ivf-pq"]),
        ("--index ivf-flat --ef-search 3", ["--ef-search is for --index hnsw"]),
        ("--index exact --refine", ["--refine is for --index ivf-pq"]),
        ("--index ivf-flat --nlist 10 --nprobe 11", ["'nprobe'", "[1, 10]", "11"]),
        ("--index ivf-flat --nlist 0", ["'nlist'", "[1, 20000]", "0"]),
        ("--nlist 0", ["--nlist is for"]),
        ("--recall 0", ["'recall'", "(0, 1]"]),
        ("--memory 0", ["'memory'", ">= 1"]),
        ("--memory 1KiB", ["No index of 20000 points", "1024 bytes"]),
        ("--index exact --memory 1KiB", ["takes about", "--memory"]),
        ("--sample 0", ["'sample'", ">= 1"]),
        ("--sample 50 --index ivf-pq", ["'sample' parameter of train", "256 points"]),
        ("--seed -1", ["'seed'"]),
        ("--actors -1", ["'actors'", ">= 0"]),
        ("--actors 0 --address a:1", ["--address is of a cluster", "--actors N"]),
        ("--gpus-per-actor 1", ["place Ray actors: add --actors"]),
        ("--gpu everywhere", ["'gpu'", "'replicate'"]),
        ("--id z", ["no id or feature column 'z'"]),
        ("--label z", ["no label column 'z'"]),
    ],
)
def test_flags_that_cannot_be_used(call: Call, rows: Path, empty: Path, flags: str, words: list[str]) -> None:
    done = call("neighbors", rows, *flags.split(), "--out", empty / "sub" / "table.parquet", "--quiet")
    assert (done.code, done.out) == (2, ""), done.err
    assert done.err.startswith("raydm: ")
    for word in words:
        assert word in done.err, done.err


@pytest.mark.parametrize("text", ["8 parsecs", "GiB", "1e999", "nan"])
def test_memory_that_is_none(call: Call, rows: Path, text: str) -> None:
    done = call("neighbors", rows, "--memory", text)
    assert done.code == 2
    assert "--memory: expected bytes" in done.err


def _written(table: pa.Table, name: str = "bad.parquet") -> str:
    pq.write_table(table, name)
    return name


def _small(**columns: Any) -> pa.Table:
    return pa.table({"id": np.arange(40), "x": vector_column(X[:40])} | columns)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (_small(id=[*range(39), 7]), ["bad.parquet", "'id'", "the id 7 stands again", "row 8", "row 40"]),
        (_small(id=[*map(str, range(39)), "7"]), ["the id '7' stands again", "row 8", "row 40"]),
        (_small(id=[*range(39), None]), ["bad.parquet", "'id'", "row 40", "the id is missing"]),
        (_small(x=[[np.nan] * 8, *X[:39].tolist()]), ["bad.parquet", "'x'", "row 1", "nan where a finite number"]),
        (_small(x=[[1.0], *X[:39].tolist()]), ["bad.parquet", "'x'", "vector of length 8 where row 1 has length 1"]),
        (_small().slice(0, 0), ["bad.parquet", "no rows"]),
        (_small().slice(0, 1), ["the only row", "At least two"]),
        (_small().select(["id"]), ["bad.parquet", "no feature column"]),
    ],
)
def test_rows_that_cannot_be_used(call: Call, empty: Path, table: pa.Table, words: list[str]) -> None:
    done = call("neighbors", _written(table), "--k", "3", "--out", empty / "table.parquet", "--quiet")
    assert (done.code, done.out) == (2, ""), done.err
    for word in words:
        assert word in done.err, done.err


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_torn_file(call: Call, rows: Path, empty: Path, share: float) -> None:
    whole = (rows / "b.parquet").read_bytes()
    Path("torn.parquet").write_bytes(whole[: int(share * len(whole))])
    done = call("neighbors", rows / "a.parquet", "torn.parquet", "--out", empty / "table.parquet")
    assert done.code == 2
    assert "torn.parquet: cannot be read as .parquet" in done.err


def test_nothing_is_overwritten(call: Call, rows: Path) -> None:
    Path("neighbors.parquet").write_text("dear to me")
    done = call("neighbors", rows)
    assert done.code == 2
    assert "never overwritten" in done.err
    assert Path("neighbors.parquet").read_text() == "dear to me"


def test_a_full_disk_leaves_nothing(rows: Path, empty: Path) -> None:
    """Files of this process may not grow beyond 100 kB; then the system says what it says of a full disk."""
    words = ["neighbors", str(rows), "--by", "label", "--label", "y", "--out", str(empty / "sub" / "table.parquet")]
    code = (
        "import resource, signal, sys, raydm.cli\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        f"sys.exit(raydm.cli.main({words!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "table.parquet: cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_local_run_does_not_load_ray(rows: Path) -> None:
    words = ["neighbors", str(rows), "--by", "label", "--label", "y", "--quiet"]
    code = f"import sys, raydm.cli\nassert raydm.cli.main({words!r}) == 0\nsys.exit('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_actors_give_the_table_of_one_process(rows: Path) -> None:
    lines = []
    for name, flags in (("here", ()), ("there", ("--actors", "2"))):
        words = ("neighbors", rows, "--index", "ivf-flat", "--out", name, *flags)
        done = subprocess.run([*RAYDM, *map(str, words)], capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
        lines.append(json.loads(done.stdout))
    assert pq.read_table("here").equals(pq.read_table("there"))
    assert [line["shards"] for line in lines] == [1, 2]
    assert lines[0]["recall"] == lines[1]["recall"]
    assert len(lines[1]["peak_memory_shards"]) == 2
    assert sorted(os.listdir()) == ["here", "there"]
