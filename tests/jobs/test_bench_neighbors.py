"""The rows that are generated, and the benchmark of neighbours on a few of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

FOLDER = Path(__file__).parents[2] / "jobs" / "bench"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a job with some words, and gives its JSON line."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def go(name, *words):
        job = __import__(name)
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        job.main()
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    yield go
    sys.modules.pop("neighbors", None)


def test_rows_do_not_depend_on_how_many_follow(run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import generate_rows

    monkeypatch.setattr(generate_rows, "BLOCK", 500)
    monkeypatch.setattr(generate_rows, "BLOCKS_A_FILE", 2)
    line = run("generate_rows", tmp_path / "more", "--rows", 2300, "--features", 8, "--clusters", 9)
    assert line["rows"] == 2300
    run("generate_rows", tmp_path / "few", "--rows", 700, "--features", 8, "--clusters", 9)
    more, few = (pq.read_table(tmp_path / name) for name in ("more", "few"))
    assert len(list((tmp_path / "more").iterdir())) == 3
    assert more["id"].to_pylist() == list(range(2300))
    assert more.slice(0, 700).combine_chunks().equals(few.combine_chunks())


def test_the_benchmark_runs(run, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import generate_rows

    monkeypatch.setattr(generate_rows, "BLOCK", 3000)
    run("generate_rows", tmp_path / "rows", "--rows", 3000, "--features", 16, "--clusters", 20)
    line = run("neighbors", tmp_path / "rows", "--actors", 0, "--k", 5, "--alone-seconds", 0.1)
    assert line["recall_again"] == pytest.approx(line["recall"], abs=0.05)
    assert line["ratio"] == pytest.approx(line["rows_per_second"] / line["faiss_alone_rows_per_second"], abs=0.01)
    assert 0 < line["driver_rss_gib"] <= line["all_rss_gib"]
    assert 0 < line["all_pss_gib"] <= line["all_rss_gib"]
