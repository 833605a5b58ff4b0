"""Neighbour tables in one process, against the neighbours of all rows in memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raydm.data import TableEncoder, infer_roles, vector_column
from raydm.data.blocks import open_rows
from raydm.errors import DataError, ParameterError
from raydm.indexes import Here, IndexSpec
from raydm.neighborhood import (
    HereShards,
    NeighborTable,
    Shard,
    Wanted,
    check_ids,
    make_recipe,
    notes_of,
    recall,
    searcher_of,
    taker,
    tune,
)
from raydm.neighbors import nearest

RNG = np.random.default_rng(0)
N = 900
X = (RNG.standard_normal((30, 6))[RNG.integers(0, 30, N)] * 3 + RNG.standard_normal((N, 6))).astype(np.float32)
Y = np.round(X[:, 0] - X[:, 1], 1).astype(np.float64)
IDS = RNG.permutation(9 * N)[:N]
VECTORS = pa.table({"key": IDS, "x": vector_column(X), "y": Y})
MIXED = pa.table(
    {"a": X[:, 0], "g": np.array(list("uvw"))[RNG.integers(0, 3, N)], "b": X[:, 1], "x": vector_column(X), "label": Y}
)


def written(table, folder, group=123):
    """In two files."""
    pq.write_table(table.slice(0, 400), folder / "a.parquet", row_group_size=group)
    pq.write_table(table.slice(400), folder / "b.parquet")
    return open_rows(folder)


def made(rows, wanted, parts=1, effort=None):
    """The neighbour table, the recipe and what was warned of, from so many shards of blocks in turn."""
    recipe = make_recipe(rows, wanted, taker(rows, wanted.block), "rows")
    blocks = [(at, min(at + wanted.block, len(rows))) for at in range(0, len(rows), wanted.block)]
    shards = Here([Shard(recipe, blocks[part::parts]) for part in range(parts)])
    check_ids(shards, recipe)
    make = NeighborTable(shards, recipe, wanted.k, wanted.by, effort)
    said: list[str] = []
    return pa.concat_tables(notes_of(HereShards().stream(recipe, lambda: make), said)), recipe, said


def arrays(table, k):
    ids, near, ds = (table.column(i).combine_chunks() for i in range(3))
    return ids.to_numpy(zero_copy_only=False), near.flatten().to_numpy(zero_copy_only=False).reshape(-1, k), np.asarray(
        ds.flatten()
    ).reshape(-1, k)  # fmt: skip


@pytest.mark.parametrize("parts", [1, 3])
def test_plain_vectors_are_taken_as_they_are(tmp_path, parts):
    table, _, said = made(written(VECTORS, tmp_path), Wanted(k=5, id="key", index="exact", block=100), parts)
    ids, near, ds = arrays(table, 5)
    order = np.argsort(IDS)  # ties are by id
    true_ds, true = nearest(X[order], X[order], 5, exclude_self=True)
    back = np.argsort(order)
    np.testing.assert_array_equal(ids, IDS)
    np.testing.assert_array_equal(near, IDS[order][true[back]])
    np.testing.assert_array_equal(ds, true_ds[back])
    assert said == []
    assert table.schema.field("neighbors").type == pa.list_(pa.int64(), 5)


def test_other_features_are_encoded_as_the_whole_table_would_be(tmp_path):
    table, _, _ = made(written(MIXED, tmp_path), Wanted(k=4, index="exact", block=100))
    ids, near, ds = arrays(table, 4)
    x = TableEncoder.fit(MIXED, infer_roles(MIXED, label="label")).transform(MIXED, name="all")
    true_ds, true = nearest(x, x, 4, exclude_self=True)
    np.testing.assert_array_equal(ids, np.arange(N))  # no id column: the rows' numbers
    np.testing.assert_array_equal(near, true)
    np.testing.assert_array_equal(ds, true_ds)


def test_named_features_and_kinds(tmp_path):
    wanted = Wanted(k=3, features=["a", "g"], kinds={"a": "categorical"}, index="exact", block=100)
    _, recipe, _ = made(written(MIXED, tmp_path), wanted)
    assert recipe.encoder.columns == ["a", "g"]
    assert recipe.encoder.features.d > 100


@pytest.mark.parametrize("parts", [1, 3])
def test_distances_of_labels(tmp_path, parts):
    table, _, _ = made(written(VECTORS, tmp_path), Wanted(k=5, by="label", id="key", block=100), parts)
    _, near, ds = arrays(table, 5)
    y = Y.astype(np.float32).astype(np.float64)
    every = np.abs(y[:, None] - y)
    np.fill_diagonal(every, np.inf)
    order = np.stack([np.lexsort((IDS, row))[:5] for row in every])
    np.testing.assert_array_equal(near, IDS[order])
    np.testing.assert_array_equal(ds, np.take_along_axis(every, order, 1))


def test_distances_of_several_labels(tmp_path):
    table = VECTORS.append_column("z", pa.array(X[:, 2]))
    found, _, _ = made(written(table, tmp_path), Wanted(k=5, by="label", label=["y", "z"], index="exact", block=100))
    y = np.stack([Y, X[:, 2]], 1).astype(np.float32)
    np.testing.assert_array_equal(arrays(found, 5)[1], nearest(y, y, 5, exclude_self=True)[1])


def test_text_ids_and_ties_by_row(tmp_path):
    names = [f"row {i}" for i in IDS]
    table = VECTORS.set_column(0, "id", pa.array(names)).set_column(1, "x", vector_column(np.rint(X)))
    for parts in (1, 3):
        found, _, _ = made(written(table, tmp_path), Wanted(k=5, index="exact", block=100), parts)
        ids, near, _ = arrays(found, 5)
        true = nearest(np.rint(X), np.rint(X), 5, exclude_self=True)[1]
        assert ids.tolist() == names
        assert near.tolist() == [[names[i] for i in row] for row in true]


@pytest.mark.parametrize("kind", ["ivf-flat", "ivf-pq"])
def test_approximate_tables_do_not_depend_on_the_shards(tmp_path, kind):
    wanted = Wanted(k=5, id="key", index=IndexSpec(kind, nlist=12, nprobe=3), block=100)
    rows = written(VECTORS, tmp_path)
    one, three = (made(rows, wanted, parts)[0] for parts in (1, 3))
    assert one.equals(three)


def test_recall_is_measured_and_nprobe_chosen(tmp_path):
    rows = written(VECTORS, tmp_path)
    recipe = make_recipe(
        rows, Wanted(k=5, id="key", index=IndexSpec("ivf-flat", nlist=30), block=100), taker(rows), "r"
    )
    shards = Here([Shard(recipe, [(0, N)])])
    searcher = searcher_of(shards, recipe, "data")
    asked = recipe.questions["data"]
    efforts = []
    for target in (0.5, 0.9, 0.99, 1.0):
        tuned = tune(searcher, asked, target=target, effort=None)
        assert tuned.recall >= target - 0.03
        efforts.append(tuned.effort)
    assert efforts == sorted(efforts)
    assert efforts[0] < efforts[-1]
    # By the definition, on all questions: the ids of the nearest
    order = np.argsort(IDS)
    true = IDS[order][nearest(X[order], X[order], 5, exclude_self=True)[1]][np.searchsorted(IDS[order], asked.ids)]
    found = searcher.search(asked.x, 5, exclude=asked.ids, effort=4)
    share = (found.ids[:, :, None] == true[:, None]).any(-1).mean()
    half = tune(searcher, asked, target=0.9, effort=4).recall
    assert half == pytest.approx(share, abs=0.03)
    assert tune(searcher, None, target=0.9, effort=None).recall is None


@pytest.mark.parametrize("parts", [1, 2])
def test_graphs_reach_the_recall_that_is_asked_for(tmp_path, parts):
    x = np.random.default_rng(5).standard_normal((N, 24)).astype(np.float32)  # where a thin graph is easily lost
    rows = written(pa.table({"key": IDS, "x": vector_column(x)}), tmp_path)
    spec = IndexSpec("hnsw", M=6, efConstruction=12)
    recipe = make_recipe(rows, Wanted(k=8, id="key", index=spec, block=100), taker(rows), "r")
    blocks = [(at, min(at + 100, N)) for at in range(0, N, 100)]
    shards = Here([Shard(recipe, blocks[part::parts]) for part in range(parts)])
    searcher, asked = searcher_of(shards, recipe, "data"), recipe.questions["data"]
    low, high = (tune(searcher, asked, target=target, effort=None) for target in (0.1, 0.97))
    assert low.effort == 8 + 1 + 4 < high.effort  # the least that a search keeps
    assert low.recall < 0.9
    assert high.recall > 0.96
    table = NeighborTable(shards, recipe, 8, "data", high.effort)
    ids, near, ds = arrays(pa.concat_tables(notes_of(HereShards().stream(recipe, lambda: table), [])), 8)
    order = np.argsort(IDS)
    true = nearest(x[order], x[order], 8, exclude_self=True)[0][np.argsort(order)]
    share = (ds <= true[:, -1:] * (1 + 1e-12)).mean()
    assert share >= 0.96
    assert high.recall == pytest.approx(share, abs=0.02)
    assert (near != ids[:, None]).all()


def test_recall_counts_what_is_as_near():
    np.testing.assert_array_equal(recall(np.array([[1.0, 2.0, 2.0], [1.0, 3.0, 4.0]]), np.array([[1.0, 2.0, 2.0]] * 2)),
                                  [1, 1 / 3])  # fmt: skip


def changed(column, row, value):
    values = VECTORS.column(column).to_pylist()
    values[row] = value
    return VECTORS.set_column(VECTORS.column_names.index(column), column, pa.array(values))


@pytest.mark.parametrize(
    ("table", "wanted", "message"),
    [
        (changed("key", 700, None), {"id": "key"}, r"b\.parquet, counted from row 301, .*'key', row 1: .*missing"),
        (changed("key", 700, int(IDS[33])), {"id": "key"}, rf"a\.parquet.* row 34, .*id {IDS[33]} stands.* row 301"),
        (changed("x", 5, [1.0, 2.0, 3.0, 4.0, 5.0, np.nan]), {}, r"parquet, column 'x', row 6: nan where a finite"),
        (changed("x", 5, [np.inf] * 6), {}, r"row 6: an infinite value|row 6: inf where a finite"),
        (changed("x", 5, None), {}, "row 6"),
        (changed("x", 5, [1.0, 2.0]), {}, "row 6: a vector of length 2"),
        (changed("y", 5, None), {"by": "label"}, "'y', row 6: the label is missing"),
        (changed("y", 5, np.inf), {"by": "label"}, "'y', row 6: the label is infinite"),
        (VECTORS, {"id": "kez"}, r"no id or feature column 'kez'.*Did you mean 'key'"),
        (VECTORS, {"label": ["z"]}, "no label column 'z'"),
        (VECTORS, {"features": ["x", "y"]}, "'features' parameter"),
        (VECTORS, {"id": "y", "label": ["y"]}, "'label' parameter"),
        (VECTORS.drop_columns("y"), {"by": "label"}, "by='label' needs the label columns"),
        (VECTORS, {"by": "label", "label": ["x"]}, "Distances of labels need numbers"),
        (VECTORS.select(["key", "y"]), {}, "no feature column"),
        (VECTORS, {"k": 0}, r"'k' parameter .*\[1, 899\]"),
        (VECTORS, {"k": 900}, r"'k' parameter .*\[1, 899\]"),
        (VECTORS, {"index": "annoy"}, "'index' parameter"),
        (VECTORS, {"sample": 0}, "'sample' parameter"),
        (VECTORS, {"index": "exact", "memory": 1000}, "takes about .* bytes"),
        (VECTORS, {"memory": 1000}, "No index of 900 points"),
        (changed("x", 5, [1e30] * 6), {"index": "ivf-flat"}, "too large for an approximate index"),
    ],
)
def test_rows_and_wishes_that_cannot_be_used(tmp_path, table, wanted, message):
    with pytest.raises((DataError, ParameterError), match=message):
        made(written(table, tmp_path), Wanted(**{"k": 5, "block": 100, "id": "key"} | wanted))


def test_two_texts_that_share_a_mark_are_still_two_ids(tmp_path, monkeypatch):
    monkeypatch.setattr("raydm.neighborhood.shard.marks_of", lambda ids: np.zeros(len(ids), np.uint64))
    table = VECTORS.set_column(0, "id", pa.array([f"row {i}" for i in IDS]))
    found, _, _ = made(written(table, tmp_path), Wanted(k=3, index="exact", block=100), 2)
    assert found.num_rows == N


def test_what_the_sample_lacked_is_told(tmp_path):
    holed = MIXED.set_column(0, "a", pa.array([None if i == 850 else float(v) for i, v in enumerate(X[:, 0])]))
    found, _, said = made(written(holed, tmp_path), Wanted(k=3, index="exact", block=100, sample=50, seed=1))
    assert found.num_rows == N
    assert len(said) == 1
    assert "column 'a': 1 missing values where training had none" in said[0]
