"""`raydm score --stream`: the bits of rows in memory, in the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from cli_kit import QUICK, Call, Files, frame

import raydm.report.score

N = 20_000  # three blocks of 8192


@pytest.fixture(scope="module")
def learned(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from raydm.cli import main

    run = tmp_path_factory.mktemp("runs") / "run"
    assert main(["value", str(files.train), "--valid", str(files.valid), *QUICK, "--out", str(run)]) == 0
    return run


@pytest.fixture
def rows() -> Path:
    table = pa.Table.from_pandas(frame(N, 9), preserve_index=False)
    Path("rows").mkdir()
    pq.write_table(table.slice(0, 9000), "rows/a.parquet", row_group_size=1000)
    pq.write_table(table.slice(9000), "rows/b.parquet")
    return Path("rows")


def both(call: Call, learned: Path, rows: Path, *flags: str) -> tuple[pa.Table, pa.Table]:
    """In memory, and streamed."""
    for name in ("whole", "streamed"):
        Path(name).unlink(missing_ok=True)
    lines = [call("score", learned, rows, "--out", name, *flags, *more).line
             for name, more in (("whole", ()), ("streamed", ("--stream", "--quiet")))]  # fmt: skip
    assert {**lines[0], "out": ""} == {**lines[1], "out": ""}
    return pq.read_table("whole"), pq.read_table("streamed")


def test_the_bits_are_those_of_rows_in_memory(call: Call, learned: Path, rows: Path) -> None:
    whole, streamed = both(call, learned, rows)
    assert whole.num_rows == N
    assert streamed.equals(whole)
    assert sorted(p.name for p in Path().iterdir()) == ["rows", "streamed", "whole"]


def test_the_bits_do_not_depend_on_threads(call: Call, learned: Path, rows: Path) -> None:
    whole, streamed = both(call, learned, rows)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        again = both(call, learned, rows, "--threshold", "0.4")[1]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert streamed.equals(whole)
    assert again.drop_columns("selected").equals(whole.drop_columns("selected"))


def test_ids_and_threshold(call: Call, files: Files, rows: Path) -> None:
    train = pd.read_csv(files.train).assign(id=lambda t: [f"train {i}" for i in t.index])
    train.to_csv("train.csv", index=False)
    assert call("value", "train.csv", "--valid", files.valid, *QUICK, "--out", "run").code == 0
    named = pq.read_table(rows).append_column("id", pa.array([f"row {i}" for i in range(N)]))
    pq.write_table(named, "named.parquet")
    whole, streamed = both(call, Path("run"), Path("named.parquet"), "--threshold", "0.3")
    assert streamed.equals(whole)
    names = [*(f"row {i}" for i in range(N - 1)), "row 3"]
    again = named.set_column(named.column_names.index("id"), "id", pa.array(names))
    pq.write_table(again, "again.parquet")
    done = call("score", "run", "again.parquet", "--stream", "--out", "no", "--quiet")
    assert done.code == 2
    assert "the id 'row 3' stands again" in done.err
    assert "row 4, column" in done.err
    assert not Path("no").exists()


def test_too_many_rows_to_rank(call: Call, learned: Path, rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raydm.report.score, "RANKED", 1000)
    done = call("score", learned, rows, "--stream", "--quiet")
    table = pq.read_table("values.parquet")
    assert table.column_names == ["id", "value", "selected"]
    assert "has no column rank" in done.err
    assert done.line["mean_value"] == pytest.approx(table["value"].to_numpy().mean())


def test_large_files_are_streamed_without_being_asked(
    call: Call, learned: Path, rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as small:
        small.setattr("raydm.verbs.score.machine_memory", lambda: 1000)
        done = call("score", learned, rows, "--out", "large")
    assert "score: 100%" in done.err
    assert call("score", learned, rows, "--out", "whole").err == ""
    assert pq.read_table("large").equals(pq.read_table("whole"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop_columns("label"), ["no label column 'label'"]),
        (lambda t: t.drop_columns("b"), ["no feature column 'b'"]),
        (lambda t: t.set_column(4, "label", pa.array(["perhaps"] * N)), ["'label'", "row 1", "'perhaps' is a class"]),
        (lambda t: t.set_column(1, "b", pa.array(np.where(np.arange(N) == 9005, np.inf, 0.0))),
         ["bad.parquet, counted from row 8193", "'b'", "row 814"]),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_scored(call: Call, learned: Path, rows: Path, change: object, words: list[str]) -> None:
    assert callable(change)
    pq.write_table(change(pq.read_table(rows)), "bad.parquet")
    done = call("score", learned, "bad.parquet", "--stream", "--out", "new/values.parquet", "--quiet")
    assert (done.code, done.out) == (2, ""), done.err
    assert all(word in done.err for word in words), done.err
    assert not Path("new").exists()


def test_what_runs_lacked_is_told_once(call: Call, learned: Path, rows: Path) -> None:
    table = pq.read_table(rows)
    pq.write_table(table.set_column(3, "g", pa.array(["unseen"] * N)), "new.parquet")
    done = call("score", learned, "new.parquet", "--stream", "--quiet")
    assert done.code == 0
    assert done.err.count("warning: ") == 1
    assert "categories that training lacks" in done.err
    assert "in 2 more blocks of rows" in done.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--actors", "-1"), ["'actors'"]),
        (("--address", "h:1"), ["--address is of a cluster"]),
        (("--stream",), ["Write the rows as Parquet first"]),
    ],
)
def test_flags(call: Call, learned: Path, files: Files, flags: tuple[str, ...], words: list[str]) -> None:
    pd.read_csv(files.test).to_csv("rows.csv", index=False)
    done = call("score", learned, "rows.csv", *flags)
    assert done.code == 2
    assert all(word in done.err for word in words), done.err


@pytest.mark.slow
def test_actors_give_the_same_bits(call: Call, learned: Path, rows: Path) -> None:
    whole, _ = both(call, learned, rows)
    assert call("score", learned, rows, "--actors", "2", "--out", "there", "--quiet").code == 0
    assert pq.read_table("there").equals(whole)
