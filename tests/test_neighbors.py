"""Nearest neighbours against every distance in float64, with either engine."""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from raydm import neighbors
from raydm.errors import ParameterError
from raydm.neighbors import distances, nearest, ranking

ENGINES = pytest.mark.parametrize("engine", ["faiss", "torch"])


def plain(queries, points, k, exclude_self=False):
    """By the definition, one query at a time."""
    found = []
    for i, q in enumerate(queries):
        d = np.sqrt(((points.astype(np.float64) - q) ** 2).sum(1))
        if exclude_self:
            d[i] = np.inf
        order = np.lexsort((np.arange(len(points)), d))[:k]
        found.append((d[order], order))
    return tuple(np.stack(f) for f in zip(*found, strict=True))


def normal(n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)


SETS = {
    "normal": (normal(40, 20, 1), normal(500, 20)),
    "few": (normal(9, 12), normal(9, 12)),  # K and the spare candidates are all points
    "grid": (np.rint(normal(40, 9, 1)), np.rint(normal(600, 9))),  # many at one distance, more than the spare ones
    "copies": (normal(300, 10)[::10], np.repeat(normal(10, 10), 30, axis=0)),
    "line": (normal(30, 1, 1), normal(200, 1)),
    "far": (normal(40, 16, 1) + 1000, normal(400, 16) + 1000),
    "wide": (normal(30, 16, 1) * np.float32(10) ** np.arange(16), normal(400, 16) * np.float32(10) ** np.arange(16)),
    "huge": (normal(20, 8, 1) * np.float32(1e25), normal(100, 8) * np.float32(1e25)),  # float32 squares overflow
    "huge and few": (normal(20, 8, 1) * np.float32(1e25), normal(12, 8) * np.float32(1e25)),
    "tiny": (normal(20, 8, 1) * 1e-30, normal(100, 8) * 1e-30),  # and vanish
}


@ENGINES
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("k", [1, 5, 9])
def test_neighbours_are_the_nearest_with_ties_by_index(engine, name, k):
    queries, points = SETS[name]
    found, expected = nearest(queries, points, k, engine=engine), plain(queries, points, k)
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12)


@ENGINES
@pytest.mark.parametrize("points", [normal(300, 10), np.repeat(normal(30, 10), 10, axis=0)], ids=["normal", "copies"])
def test_a_point_is_no_neighbour_of_its_own_but_its_copy_is(engine, points):
    found, expected = nearest(points, points, 6, exclude_self=True, engine=engine), plain(points, points, 6, True)
    np.testing.assert_array_equal(found[1], expected[1])
    assert (found[1] != np.arange(300)[:, None]).all()


@ENGINES
def test_near_duplicates_keep_their_distances(engine):
    # In float32 the expanded squares of two points near 1000 tell differences below 0.3 from nothing
    points = np.full((50, 8), 1000.0, dtype=np.float32)
    points[:, 0] += np.arange(50) / 1024
    found, indices = nearest(points[:1], points, 4, engine=engine)
    np.testing.assert_array_equal(indices, [[0, 1, 2, 3]])
    np.testing.assert_array_equal(found, [[0, 1 / 1024, 2 / 1024, 3 / 1024]])


@ENGINES
def test_blocks_change_nothing(engine, monkeypatch):
    queries, points = SETS["normal"]
    whole = nearest(queries, points, 5, engine=engine)
    monkeypatch.setattr(neighbors, "_ROWS", 7)
    monkeypatch.setattr(neighbors, "_BYTES", 8 * 500 * 7)
    for a, b in zip(nearest(queries, points, 5, engine=engine), whole, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_proof_fails_where_float32_cannot_tell_and_not_elsewhere(monkeypatch):
    looked = []
    monkeypatch.setattr(neighbors, "distances", lambda q, p: looked.append(q.shape) or distances(q, p))
    nearest(*SETS["normal"], 5, engine="faiss")
    assert len(looked) == 2  # from the centre, and from the candidates
    nearest(*SETS["copies"], 5, engine="faiss")  # 30 at one distance, of which 21 are candidates
    assert len(looked) == 4 + 30


def test_the_engine_is_chosen_by_what_is_there(monkeypatch):
    made = []
    for name in ("_faiss_search", "_torch_search"):
        real = getattr(neighbors, name)
        monkeypatch.setattr(neighbors, name, lambda *a, name=name, real=real: made.append(name) or real(*a))
    nearest(*SETS["normal"], 5)
    nearest(*SETS["line"], 5)
    monkeypatch.setattr(neighbors, "import_faiss", lambda: None)
    nearest(*SETS["normal"], 5)
    assert made == ["_faiss_search", "_torch_search", "_torch_search"]
    with pytest.raises(ParameterError, match="pip install faiss-cpu"):
        nearest(*SETS["normal"], 5, engine="faiss")


def test_faiss_uses_torchs_threads_and_gives_them_back():
    import faiss

    seen = []

    class Index(faiss.IndexFlatL2):
        def search(self, *arguments):
            seen.append(faiss.omp_get_max_threads())
            return super().search(*arguments)

    before = faiss.omp_get_max_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faiss, "IndexFlatL2", Index)
        nearest(*SETS["normal"], 5, engine="faiss")
    assert seen == [torch.get_num_threads()]
    assert faiss.omp_get_max_threads() == before


@pytest.mark.parametrize(("chosen", "seen"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_faiss_is_loaded_with_threads_that_wait_quietly_unless_the_user_chose(monkeypatch, chosen, seen):
    policies = []

    class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
        def find_spec(self, name, path, target=None):
            policies.append(os.environ.get("OMP_WAIT_POLICY"))
            return importlib.machinery.ModuleSpec(name, self) if name == "faiss" else None

        def exec_module(self, module):
            pass

    monkeypatch.delitem(sys.modules, "faiss", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder()])
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_WAIT_POLICY", chosen)
    assert neighbors.import_faiss().__name__ == "faiss"
    assert policies == [seen]
    assert os.environ.get("OMP_WAIT_POLICY") == chosen
    monkeypatch.delitem(sys.modules, "faiss")


def test_without_faiss_the_module_is_still_imported():
    tree = ast.parse(Path(neighbors.__file__).read_text())
    tops = [a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names]
    assert "torch" in tops
    assert "faiss" not in tops


def test_rankings_are_stable():
    rng = np.random.default_rng(0)
    rows = np.stack([rng.standard_normal(50), rng.integers(0, 4, 50), np.zeros(50)])
    np.testing.assert_array_equal(ranking(torch.from_numpy(rows)), np.argsort(rows, axis=1, kind="stable"))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("k", {"k": 0}),
        ("k", {"k": 501}),
        ("k", {"k": 500, "queries": SETS["normal"][1], "exclude_self": True}),
        ("queries", {"queries": normal(3, 19)}),
        ("queries", {"queries": normal(3, 20)[0]}),
        ("queries", {"exclude_self": True}),
        ("queries", {"queries": np.full((2, 20), np.nan)}),
        ("points", {"points": np.full((9, 20), np.inf)}),
        ("engine", {"engine": "annoy"}),
    ],
)
def test_what_it_takes(name, arguments):
    queries, points = SETS["normal"]
    with pytest.raises(ParameterError, match=f"'{name}' parameter of nearest"):
        nearest(**({"queries": queries, "points": points, "k": 3} | arguments))
