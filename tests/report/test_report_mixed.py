"""Repeated pairs are told apart through files as they are in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import raydm.report.distinct
from raydm.mixing.pairs import Pairs, together
from raydm.mixing.streamed import PARENT, PARTNER
from raydm.report.distinct import FirstPairs
from raydm.report.mixed import write_mixed

KINDS = np.array(["data", "label"])


def blocks(lam: float, rows: int = 60, size: int = 15) -> list[Pairs]:
    """Random pairs of few rows, many of them repeated; by parent in blocks, in each by kind."""
    rng = np.random.default_rng(0)
    found = []
    for first in range(0, rows, size):
        i, j = rng.integers(first, first + size, 400), rng.integers(0, rows, 400)
        kind = rng.integers(0, 2, 400)
        order = np.lexsort((i, kind))[i != j]
        found.append(Pairs(i[order], j[order], np.full(len(order), lam), KINDS[kind[order]]))
    return found


@pytest.mark.parametrize("lam", [0.5, 0.3])
@pytest.mark.parametrize("bucket", [7, 2**21])
def test_the_pairs_that_stay_are_those_of_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lam: float, bucket: int
) -> None:
    monkeypatch.setattr(raydm.report.distinct, "_BUCKET", bucket)
    parts = blocks(lam)
    every = together(parts)
    ranked = every.take(np.argsort(every.kind, kind="stable"))
    whole = ranked.take(ranked.distinct())
    with FirstPairs(tmp_path, len(every)) as pairs:
        for part in parts:
            pairs.add(part.i, part.j, part.lam, (part.kind == "label").astype(np.int64))
        first = pairs.first()
    assert len(list(tmp_path.glob("*.pairs"))) == (1 if bucket > 7 else -(-len(every) // 7))
    streamed = every.take(np.flatnonzero(first))
    streamed = streamed.take(np.argsort(streamed.kind, kind="stable"))
    assert 0 < len(streamed) < len(every)
    for name in ("i", "j", "lam", "kind"):
        np.testing.assert_array_equal(getattr(streamed, name), getattr(whole, name))


def test_a_file_has_each_row_once_and_nothing_is_left_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = pa.schema(
        [("y", pa.float64()), ("mix_lambda", pa.float64()), ("mix_kind", pa.string()), (PARENT, pa.int64()),
         (PARTNER, pa.int64())]
    )  # fmt: skip

    def table(*rows: tuple[float, str, int, int]) -> pa.Table:
        y, kind, parent, partner = zip(*rows, strict=True)
        return pa.table([y, [0.5] * len(y), kind, parent, partner], schema=schema)

    tables = [
        table((1.0, "data", 0, 2), (2.0, "label", 0, 3)),
        schema.empty_table(),
        table((1.5, "data", 2, 0), (2.0, "data", 3, 0), (4.0, "data", 3, 2)),
    ]
    out = tmp_path / "mixed.parquet"
    assert write_mixed(out, tables, schema, rows=5, expected=9) == 3
    made = pq.read_table(out)
    assert made.column_names == ["y", "mix_lambda", "mix_kind"]
    assert made["y"].to_pylist() == [1.0, 2.0, 4.0]
    assert made["mix_kind"].to_pylist() == ["data"] * 3  # the same row by label was there before, and counts as later
    assert [file.name for file in tmp_path.iterdir()] == ["mixed.parquet"]
    assert "mix: 100%" in capsys.readouterr().err
    assert write_mixed(tmp_path / "none", [], schema, rows=5, expected=9, quiet=True) == 0
    assert pq.read_table(tmp_path / "none").num_rows == 0
    assert capsys.readouterr().err == ""
