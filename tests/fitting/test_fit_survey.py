"""What is found of rows before training: labels, weights, counts; and CSV that is written as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import raydm.fitting.survey
from raydm.data import LabelEncoder, Roles, TableEncoder, infer_roles
from raydm.data.blocks import ParquetRows, TableRows
from raydm.errors import DataError
from raydm.fitting import InMemory, Mixture, Part, Weights, labels_of, sampled, surveyed
from raydm.fitting.csv_rows import as_parquet

N = 50


@pytest.fixture
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({"id": [f"r{i}" for i in range(N)], "x": rng.normal(size=N), "y": rng.normal(3, 2, N)})


def weights(table: pa.Table, w: Any, **columns: Any) -> Weights:
    return Weights(TableRows(pa.table({"weight": w, **columns}), "w.parquet"), "weight")


def roles_of(table: pa.Table) -> Roles:
    return infer_roles(table, label="y")


def test_targets_are_brought_to_their_weighted_mean_and_deviation(table: pa.Table) -> None:
    w = np.random.default_rng(1).uniform(0, 2, N)
    w[::5] = 0
    y = table["y"].to_numpy()
    labels = LabelEncoder.fit_columns(table, ["y"])
    parts = [Part(TableRows(table, "t"), weights(table, w)), Part(TableRows(table.slice(0, 7), "new"))]
    found = surveyed(parts, labels, roles_of(table), 8)
    assert found.counts.tolist() == [int((w[a : a + 8] > 0).sum()) for a in range(0, N, 8)] + [7]
    every_y, every_w = np.r_[y, y[:7]], np.r_[w, np.ones(7)]
    mean = np.average(every_y, weights=every_w)
    assert found.location == pytest.approx([mean], rel=1e-6)
    assert found.scale == pytest.approx([np.sqrt(np.average((every_y - mean) ** 2, weights=every_w))], rel=1e-6)
    encoder = TableEncoder.fit(table, roles_of(table))
    memory, events = InMemory.of(Mixture(tuple(parts), encoder, labels, roles_of(table), 8))
    assert (len(memory.rows), events) == (int((w > 0).sum()) + 7, [])
    assert memory.rows.w == pytest.approx(every_w[every_w > 0])
    assert memory.rows.y == pytest.approx(every_y[every_w > 0])


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda w: {"w": np.where(np.arange(N) == 11, -1.0, w)}, ["w.parquet", "counted from row 9", "row 4", "-1"]),
        (lambda w: {"w": np.where(np.arange(N) == 11, np.nan, w)}, ["row 4", "nan", "a weight >= 0"]),
        (lambda w: {"w": w, "id": [f"r{i}" for i in (*range(20), *range(21, N + 1))]}, ["'r20'", "'r21'", "row 5"]),
        (lambda w: {"w": np.zeros(N)}, ["No row weighs anything"]),
    ],
)
def test_weights_that_cannot_be_used(table: pa.Table, wrong: Any, words: list[str]) -> None:
    told = wrong(np.ones(N))
    part = Part(TableRows(table, "t"), weights(table, told.pop("w"), **told))
    with pytest.raises(DataError) as error:
        surveyed([part], LabelEncoder.fit_columns(table, ["y"]), roles_of(table), 8)
    assert all(word in str(error.value) for word in words), error.value


def test_ids_of_rows_without_an_id_column_are_their_numbers(table: pa.Table) -> None:
    plain = table.drop_columns("id")
    part = Part(TableRows(plain, "t"), weights(plain, np.ones(N), id=np.arange(N)))
    roles = infer_roles(plain, label="y")
    assert surveyed([part], LabelEncoder.fit_columns(plain, ["y"]), roles, 8).counts.sum() == N


@pytest.mark.parametrize(
    "labels",
    [
        pa.array(np.random.default_rng(0).integers(0, 5, 4000)),
        pa.array(np.random.default_rng(0).normal(size=4000)),
        pa.array(np.random.default_rng(0).integers(0, 3000, 4000)),  # whole, and too many to be classes
        pa.array(np.random.default_rng(0).choice(["a", "b", "c"], 4000)),
        pa.array(np.random.default_rng(0).choice(["a", "b", "c"], 4000)).dictionary_encode(),
        pa.array(np.random.default_rng(0).random(4000) < 0.5),
    ],
)
def test_labels_of_many_rows_are_told_as_those_of_few(labels: pa.Array, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"y": labels})
    rows, small = TableRows(table, "t"), labels_of(TableRows(table, "t"), table, ["y"], task=None, block=64, name="t")
    monkeypatch.setattr(raydm.fitting.survey, "_MANY_ROWS", 100)
    large = labels_of(rows, table, ["y"], task=None, block=64, name="t")
    assert small == large == LabelEncoder.fit_columns(table, ["y"])


def test_encoders_learn_from_all_of_few_rows_and_some_of_many(monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"x": np.arange(10_000)})
    rows = TableRows(table, "t")
    assert sampled(rows, 100, 0).equals(table)
    monkeypatch.setattr(raydm.fitting.survey, "_SAMPLE_ROWS", 640)
    some = sampled(rows, 100, 0)["x"].to_numpy()
    assert len(some) == 640
    assert (np.diff(some) > 0).all()
    assert len(np.unique(some // 100)) == 64


def test_csv_in_blocks_is_csv_as_a_whole(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(100), "t": ["one, two", ""] * 50, "y": np.linspace(0, 1, 100)})
    frame.iloc[:60].to_csv(tmp_path / "1.csv", index=False)
    frame.iloc[60:].to_csv(tmp_path / "2.csv.gz", index=False)
    rows = as_parquet([tmp_path / "1.csv", tmp_path / "2.csv.gz"], tmp_path / "made")
    made = pa.concat_tables([table for _, table in rows.blocks()])
    assert made["t"].to_pylist() == ["one, two", None] * 50
    assert made["y"].to_numpy() == pytest.approx(frame.y)
    assert made["a"].to_pylist() == list(range(100))


def test_csv_whose_types_change_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raydm.fitting.csv_rows._READ", 2**12)
    (tmp_path / "a.csv").write_text("a,y\n" + "1,2\n" * 4000 + "word,2\n")
    with pytest.raises(DataError, match="Write it as Parquet"):
        as_parquet([tmp_path / "a.csv"], tmp_path / "made")


def test_rows_of_files_are_those_in_memory(table: pa.Table, tmp_path: Path) -> None:
    pq.write_table(table.slice(0, 20), tmp_path / "a.parquet", row_group_size=6)
    pq.write_table(table.slice(20), tmp_path / "b.parquet")
    roles, labels = roles_of(table), LabelEncoder.fit_columns(table, ["y"])
    encoder = TableEncoder.fit(table, roles)
    w = weights(table, np.arange(N) % 3)
    of_files = ParquetRows.open([tmp_path / "a.parquet", tmp_path / "b.parquet"])
    one, other = (
        InMemory.of(Mixture((Part(rows, w),), encoder, labels, roles, 8))[0].rows
        for rows in (TableRows(table, "t"), of_files)
    )
    assert all((getattr(one, name) == getattr(other, name)).all() for name in "xyw")
