"""`raydm score`, `raydm data list`, `--version` and `--help`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from cli_kit import QUICK, Call, Files

import raydm
from raydm.data import SETS, load_set


@pytest.fixture
def run(call: Call, files: Files) -> Path:
    assert call("value", files.train, "--valid", files.valid, *QUICK, "--out", "run").code == 0
    return Path("run")


def test_the_training_file_scores_to_the_run_s_own_values(call: Call, run: Path, files: Files) -> None:
    done = call("score", run, files.train, "--out", "again.parquet")
    table = pq.read_table("again.parquet")
    assert table.equals(pq.read_table(run / "values.parquet"))
    assert done.line == {
        "run": "run",
        "out": "again.parquet",
        "rows": 120,
        "mean_value": pytest.approx(table["value"].to_numpy().mean()),
        "selected": sum(table["selected"].to_pylist()),
    }


def test_the_bits_do_not_depend_on_torch_s_threads(call: Call) -> None:
    split = load_set("digits", seed=0)
    for name in ("train", "valid"):
        pq.write_table(getattr(split, name), f"{name}.parquet")  # the images stay tensors
    assert call("value", "train.parquet", "--valid", "valid.parquet", *QUICK, "--out", "run").code == 0
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # gives other bits from a batch of this size
    try:
        assert call("score", "run", "train.parquet").code == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert pq.read_table("values.parquet").equals(pq.read_table("run/values.parquet"))


def test_new_rows_in_another_order_of_columns(call: Call, run: Path, files: Files) -> None:
    table = pd.read_csv(files.test)
    table[["label", "g", "c", "b", "a"]].assign(extra=1).to_csv("new.csv", index=False)
    assert call("score", run, files.test, "--out", "one.parquet").code == 0
    assert call("score", run, "new.csv", "--out", "two.parquet", "--threshold", "0").line["selected"] == 80
    one, two = pq.read_table("one.parquet"), pq.read_table("two.parquet")
    assert one["value"].equals(two["value"])
    assert one["rank"].equals(two["rank"])


def test_a_wrong_label_changes_the_value(call: Call, run: Path, files: Files) -> None:
    table = pd.read_csv(files.test)
    table["label"] = table["label"].map({"yes": "no", "no": "yes"})
    table.to_csv("wrong.csv", index=False)
    assert call("score", run, files.test, "--out", "one.parquet").code == 0
    assert call("score", run, "wrong.csv", "--out", "two.parquet").code == 0
    one, two = (pq.read_table(f)["value"].to_numpy() for f in ("one.parquet", "two.parquet"))
    assert (one != two).all()


def test_ids_of_the_new_rows(call: Call, files: Files) -> None:
    for name in ("train", "test"):
        table = pd.read_csv(getattr(files, name))
        table.assign(id=[f"{name}{i}" for i in range(len(table))]).to_csv(f"{name}.csv", index=False)
    assert call("value", "train.csv", "--valid", files.valid, *QUICK, "--out", "run").code == 0
    assert call("score", "run", "test.csv").code == 0
    assert pq.read_table("values.parquet")["id"].to_pylist()[:2] == ["test0", "test1"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="label"), ["rows.csv", "no label column 'label'"]),
        (lambda t: t.drop(columns="b"), ["rows.csv", "no feature column 'b'"]),
        (lambda t: t.assign(label="perhaps"), ["rows.csv", "'label'", "row 1", "'perhaps' is a class that training"]),
        (lambda t: t.assign(b="x"), ["rows.csv", "'b'", "row 1", "text 'x'"]),
        (lambda t: t[:0], ["rows.csv", "no rows"]),
    ],
)
def test_rows_that_cannot_be_scored(call: Call, run: Path, files: Files, change: object, words: list[str]) -> None:
    assert callable(change)
    change(pd.read_csv(files.test)).to_csv("rows.csv", index=False)
    done = call("score", run, "rows.csv", "--out", "new/values.parquet")
    assert (done.code, done.out) == (2, "")
    assert all(word in done.err for word in words), done.err
    assert not Path("new").exists()


def test_nothing_is_overwritten(call: Call, run: Path, files: Files) -> None:
    mine = Path("values.parquet")
    mine.write_text("dear to me")
    for out in ((), ("--out", mine), ("--out", run / "values.parquet"), ("--out", run)):
        done = call("score", run, files.test, *out)
        assert done.code == 2
        assert "never overwritten" in done.err
    assert mine.read_text() == "dear to me"
    Path("empty").mkdir()
    assert "is a folder" in call("score", run, files.test, "--out", "empty").err
    assert sorted(p.name for p in Path().iterdir()) == ["empty", "run", "values.parquet"]


@pytest.mark.parametrize("threshold", ["-0.1", "1.1", "nan"])
def test_threshold_out_of_range(call: Call, run: Path, files: Files, threshold: str) -> None:
    done = call("score", run, files.test, "--threshold", threshold)
    assert done.code == 2
    assert "'threshold'" in done.err
    assert "[0, 1]" in done.err


def test_something_that_is_no_run(call: Call, files: Files) -> None:
    done = call("score", files.folder, files.test)
    assert done.code == 2
    assert "is not a run directory" in done.err
    assert call("score", files.train, files.test).code == 2
    assert call("score", "absent", files.test).code == 2


def test_data_list(call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAYDM_DATA", str(tmp_path))
    monkeypatch.setenv("RAYDM_CACHE", str(tmp_path))
    text = call("data", "list").out.splitlines()
    assert text[0].split()[:3] == ["name", "task", "rows"]
    assert [row.split()[0] for row in text[1:]] == sorted(SETS)
    entries = json.loads(call("data", "list", "--json").out)
    assert [entry["name"] for entry in entries] == sorted(SETS)
    by_name = {entry["name"]: entry for entry in entries}
    assert by_name["digits"]["source"] == "embedded"
    assert by_name["diabetes"]["classes"] is None


def test_version(call: Call) -> None:
    done = call("--version")
    assert (done.code, done.out) == (0, f"raydm {raydm.__version__}\n")


@pytest.mark.parametrize("words", [(), ("value",), ("score",), ("data",), ("data", "list")])
def test_help(call: Call, words: tuple[str, ...]) -> None:
    done = call(*words, "--help")
    assert done.code == 0
    assert done.out.startswith(" ".join(("usage: raydm", *words)))


@pytest.mark.parametrize(
    "words",
    [(), ("frobnicate",), ("value",), ("score", "run"), ("data",), ("value", "digits", "--nope"), ("value", "--seed")],
)
def test_wrong_words_exit_with_2(call: Call, words: tuple[str, ...]) -> None:
    done = call(*words)
    assert (done.code, done.out) == (2, "")
    assert "usage: raydm" in done.err


def test_a_python_user_reads_the_same_values(call: Call, run: Path, files: Files) -> None:
    loaded = raydm.load_run(str(run))
    from raydm.data import encode, read_table

    values = loaded.values(encode(loaded, read_table(files.train), "train"))
    assert np.array_equal(values, pq.read_table(run / "values.parquet")["value"].to_numpy())
