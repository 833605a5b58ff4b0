"""Every kind of index against every distance in float64, in one piece and in parts."""

from __future__ import annotations

import dataclasses
import os
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from raydm.errors import ParameterError, RunError
from raydm.indexes import KINDS, Here, Index, IndexSpec, Searcher, Trained, file_bytes, make_part, train
from raydm.indexes.approximate import Graphs
from raydm.neighbors import nearest

INVERTED = pytest.mark.parametrize("kind", ["exact", "ivf-flat", "ivf-pq"])
ALL = pytest.mark.parametrize("kind", KINDS)


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


def clusters(n=3000, d=8, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((30, d)) * 4
    return (centres[rng.integers(0, 30, n)] + rng.standard_normal((n, d))).astype(np.float32)


def shuffled_ids(n):
    return np.random.default_rng(1).permutation(10 * n)[:n]


def filled(kind, x, ids, **sizes):
    index = Index(IndexSpec(kind, **sizes)).train(x)
    for start in range(0, len(x), 700):
        index.add(x[start : start + 700], ids[start : start + 700])
    return index


def truth(x, ids, k, count=200):
    """By the definition, ties by id: order the points by id first, for then ties by index are ties by id."""
    order = np.argsort(ids)
    place = np.empty(len(x), np.int64)
    place[order] = np.arange(len(x))
    ds, found = nearest(x[order], x[order], k, exclude_self=True)
    return ds[place[:count]], ids[order][found[place[:count]]]


@ALL
def test_recall(kind):
    x, ids = clusters(), shuffled_ids(3000)
    ds, found = filled(kind, x, ids).search(x[:200], 8, exclude=ids[:200])
    true_ds, true = truth(x, ids, 8)
    assert (found[:, :, None] == true[:, None]).any(-1).mean() > {"ivf-pq": 0.7}.get(kind, 0.99)
    assert (np.diff(ds, axis=1) >= 0).all()
    assert (found != ids[:200, None]).all()
    if kind != "ivf-pq":  # distances are those of the points, whatever found them
        own = {i: row for row, i in enumerate(ids)}
        rows = np.array([[own[i] for i in near] for near in found])
        expected = np.sqrt(((x[rows].astype(np.float64) - x[:200, None]) ** 2).sum(-1))
        np.testing.assert_allclose(ds, expected, rtol=1e-12)
    if kind == "exact":
        np.testing.assert_array_equal(found, true)
        np.testing.assert_array_equal(ds, true_ds)


def test_all_lists_are_exact():
    x, ids = clusters(), shuffled_ids(3000)
    ds, found = filled("ivf-flat", x, ids, nlist=20, nprobe=20).search(x[:200], 8, exclude=ids[:200])
    true_ds, true = truth(x, ids, 8)
    np.testing.assert_array_equal(found, true)
    np.testing.assert_array_equal(ds, true_ds)


TIES = {
    "copies": np.repeat(normal(40, 6), 30, axis=0),  # 30 at one place, more than the spare candidates
    "grid": np.rint(normal(1200, 6)),  # many at one distance, in many lists
    "one place": np.zeros((300, 6), np.float32),
    "far": normal(1200, 6) + 1000,
}
HUGE = normal(1200, 6) * np.float32(1e22)  # float32 squares overflow


@ALL
def test_points_whose_squares_overflow(kind):
    """FAISS would end the process."""
    if kind == "exact":
        found = filled(kind, HUGE, np.arange(1200)).search(HUGE, 5)
        np.testing.assert_array_equal(found[1], nearest(HUGE, HUGE, 5)[1])
        return
    x = clusters(1200, 6)
    index = filled(kind, x, np.arange(1200))
    for act in (lambda: filled(kind, HUGE, np.arange(1200)), lambda: index.add(HUGE, np.arange(1200)),
                lambda: index.search(HUGE, 3)):  # fmt: skip
        with pytest.raises(ParameterError, match=r"up to .*e\+2. are too large for an approximate index"):
            act()


@pytest.mark.parametrize("name", TIES)
@pytest.mark.parametrize("kind", ["exact", "ivf-flat"])
def test_ties_are_by_id_wherever_the_points_lie(kind, name):
    x = TIES[name]
    ids = shuffled_ids(len(x))
    nlist = None if kind == "exact" else 12
    ds, found = filled(kind, x, ids, nlist=nlist, nprobe=nlist).search(x[:100], 16, exclude=ids[:100])
    true_ds, true = truth(x, ids, 16, 100)
    np.testing.assert_array_equal(found, true)
    np.testing.assert_array_equal(ds, true_ds)


@pytest.mark.parametrize("kind", ["exact", "ivf-flat"])
def test_where_most_are_ties_memory_is_bounded(kind, monkeypatch):
    """Float32 proves nothing then: the definition decides, a few queries and points at a time."""
    x = np.random.default_rng(0).integers(0, 2, size=(2000, 3)).astype(np.float32)
    ids, asked = shuffled_ids(2000), []
    search = Searcher._ranked_more

    def few(self, queries, *more):
        asked.append(len(queries))
        return search(self, queries, *more)

    monkeypatch.setattr(Searcher, "_ranked_more", few)
    monkeypatch.setattr("raydm.indexes.searcher._BYTES", 4 * 3 * 16 * (8 + 1 + 4) * 50)  # 50 queries, 16 times as many
    monkeypatch.setattr("raydm.indexes.exact._SCANNED", 7)
    monkeypatch.setattr("raydm.indexes.exact._PIECE", 300)
    sizes = {} if kind == "exact" else {"nlist": 4, "nprobe": 4}
    ds, found = filled(kind, x, ids, **sizes).search(x[:200], 8, exclude=ids[:200])
    true_ds, true = truth(x, ids, 8)
    np.testing.assert_array_equal(found, true)
    np.testing.assert_array_equal(ds, true_ds)
    assert max(asked) == 50


def in_parts(trained, x, ids, parts, block=100):
    made = [make_part(trained) for _ in range(parts)]
    for number, start in enumerate(range(0, len(x), block)):
        made[number % parts].add(x[start : start + block], ids[start : start + block])
    return Searcher(Here(made), trained)


@pytest.mark.parametrize("name", ["clusters", *TIES])
@INVERTED
def test_results_do_not_depend_on_the_parts(kind, name):
    x = clusters(1200, 6) if name == "clusters" else TIES[name]
    ids = shuffled_ids(len(x))
    sizes = {} if kind == "exact" else {"nlist": 5, "nprobe": 2}
    trained = train(IndexSpec(kind, **sizes).sized(len(x), 6), x)
    found = [in_parts(trained, x, ids, parts).search(x[:100], 9, exclude=ids[:100]) for parts in (1, 2, 3)]
    for other in found[1:]:
        np.testing.assert_array_equal(other.distances, found[0].distances)
        np.testing.assert_array_equal(other.ids, found[0].ids)


def test_graphs_do_not_depend_on_the_parts_as_long_as_each_is_whole():
    x, ids = clusters(), np.arange(3000)
    trained = train(IndexSpec("hnsw").sized(3000, 8), x)
    ones = Graphs(trained, points=500)
    ones.add(x, ids)
    parts = [Graphs(trained, points=500) for _ in range(2)]
    for number, start in enumerate(range(0, 3000, 500)):
        parts[number % 2].add(x[start : start + 500], ids[start : start + 500])
    one, two = (Searcher(Here(p), trained).search(x[:100], 9, exclude=ids[:100]) for p in ([ones], parts))
    np.testing.assert_array_equal(one.ids, two.ids)
    np.testing.assert_array_equal(one.distances, two.distances)


@pytest.mark.parametrize("kind", ["ivf-flat", "ivf-pq", "hnsw"])
def test_there_are_always_k_neighbours(kind):
    """Also where the lists that a query looks into hold fewer, or a graph has parts that are not linked."""
    x = clusters(600, 8)
    ids = np.arange(600)
    sizes = {"efSearch": 1} if kind == "hnsw" else {"nlist": 60, "nprobe": 1}
    index = filled(kind, x, ids, **sizes)
    _, found = index.search(x, 599, exclude=ids)
    assert all(np.array_equal(np.sort(near), np.delete(ids, i)) for i, near in enumerate(found))
    lone = np.full((20, 8), 1e4, np.float32) + normal(20, 8)
    _, found = index.search(lone, 30)
    assert (found >= 0).all()


def test_refining_ranks_by_true_distances():
    x, ids = normal(2000, 16), shuffled_ids(2000)
    true_ds, true = truth(x, ids, 8)
    rough = filled("ivf-pq", x, ids, nlist=10, nprobe=10, m=8).search(x[:200], 8, exclude=ids[:200])
    fine_index = filled("ivf-pq", x, ids, nlist=10, nprobe=10, m=8, refine=True)
    fine = fine_index.search(x[:200], 8, exclude=ids[:200])
    share = [(found[:, :, None] == true[:, None]).any(-1).mean() for _, found in (rough, fine)]
    assert share[0] < 0.95
    assert share[1] > 0.99
    same = fine[1] == true
    np.testing.assert_array_equal(fine[0][same], true_ds[same])
    with pytest.raises(ParameterError, match="refine"):
        fine_index.save("nowhere")


@ALL
def test_a_file_gives_the_same_answers(kind, tmp_path):
    import faiss

    x, ids = clusters(), shuffled_ids(3000)
    index = filled(kind, x, ids)
    before = index.search(x[:50], 5)
    index.save(tmp_path / "index")
    again = Index.load(tmp_path / "index")
    assert len(again) == 3000
    for a, b in zip(again.search(x[:50], 5), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert dataclasses.replace(again.spec, efConstruction=None) == dataclasses.replace(index.spec, efConstruction=None)
    _, plain = faiss.read_index(str(tmp_path / "index")).search(x[:50], 1)  # FAISS alone reads it, with our ids
    np.testing.assert_array_equal(plain[:, 0], ids[:50])
    more = normal(10, 8, 5) + 50
    _, found = again.add(more, np.arange(10) + 10**6).search(more, 1)
    if kind != "ivf-pq":  # to which they are one code
        np.testing.assert_array_equal(found[:, 0], np.arange(10) + 10**6)
    assert (found >= 10**6).all()
    assert index.search(x[:50], 5)[1].tolist() == before[1].tolist()  # it was not touched


@ALL
@pytest.mark.parametrize(("n", "d"), [(2000, 8), (4000, 12)])
def test_the_estimate_is_the_size_of_the_file(kind, n, d, tmp_path):
    index = filled(kind, normal(n, d), np.arange(n))
    index.save(tmp_path / "index")
    size = os.path.getsize(tmp_path / "index")
    assert file_bytes(index.spec, n, d) == pytest.approx(size, rel=0.01)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_torn_file(share, tmp_path):
    index = filled("ivf-flat", clusters(), np.arange(3000))
    index.save(tmp_path / "index")
    whole = (tmp_path / "index").read_bytes()
    (tmp_path / "torn").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(RunError, match="torn: cannot be read as an index"):
        Index.load(tmp_path / "torn")
    with pytest.raises(RunError, match="no such file"):
        Index.load(tmp_path / "absent")


def test_a_file_of_another_kind(tmp_path):
    import faiss

    faiss.write_index(faiss.IndexLSH(8, 16), str(tmp_path / "index"))
    with pytest.raises(RunError, match=r"or Index\.save did not write it"):
        Index.load(tmp_path / "index")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk():
    with pytest.raises(OSError, match="full"):
        filled("ivf-flat", clusters(), np.arange(3000)).save("/dev/full")


def test_a_trained_index_travels():
    x = clusters()
    trained = train(IndexSpec("ivf-flat").sized(3000, 8), x)
    probes = trained.probes(x[:20])
    there: Trained = pickle.loads(pickle.dumps(trained))
    for a, b in zip(there.probes(x[:20]), probes, strict=True):
        np.testing.assert_array_equal(a, b)


def test_threads_share_a_trained_index():
    x = clusters()
    there: Trained = pickle.loads(pickle.dumps(train(IndexSpec("ivf-flat").sized(3000, 8), x)))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: there.probes(x, 5), range(8)))
    for lists, _ in found[1:]:
        np.testing.assert_array_equal(lists, found[0][0])


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("k", lambda i, x: i.search(x, 0)),
        ("k", lambda i, x: i.search(x, 3001)),
        ("k", lambda i, x: i.search(x, 3000, exclude=np.arange(3000))),
        ("queries", lambda i, x: i.search(x[:, :5], 3)),
        ("queries", lambda i, x: i.search(np.full((2, 8), np.nan), 3)),
        ("exclude", lambda i, x: i.search(x, 3, exclude=np.arange(2))),
        ("x", lambda i, x: i.add(x[0], np.arange(1))),
        ("x", lambda i, x: i.add(np.full((1, 8), np.inf), np.arange(1))),
        ("x", lambda i, x: i.add(np.full((1, 8), 1e300), np.arange(1))),
        ("ids", lambda i, x: i.add(x, np.arange(5))),
        ("ids", lambda i, x: i.add(x[:2], np.array([0.5, 1]))),
        ("ids", lambda i, x: i.add(x[:2], np.array([-1, 1]))),
        ("sample", lambda i, x: Index("ivf-flat").train(x[:, 0])),
        ("sample", lambda i, x: Index("ivf-flat").train(x[:3], n=3000)),
        ("kind", lambda i, x: Index("annoy").train(x)),
        ("nprobe", lambda i, x: Index(IndexSpec("ivf-flat", 10, 11)).train(x)),
        ("m", lambda i, x: Index(IndexSpec("ivf-pq", m=3)).train(x)),
        ("refine", lambda i, x: Index(IndexSpec("hnsw", refine=True)).train(x)),
        ("not trained", lambda i, x: Index("exact").add(x, np.arange(3000))),
        ("not trained", lambda i, x: Index("exact").search(x, 3)),
        ("256 codes", lambda i, x: Index("ivf-pq").train(x[:100])),
    ],
)
def test_what_it_takes(name, act):
    x = clusters()
    index = filled("exact", x, np.arange(3000))
    with pytest.raises(ParameterError, match=name):
        act(index, x)
