"""Sizes, memory and the choice of a kind; GPUs, by stand-ins for FAISS's functions."""

from __future__ import annotations

import numpy as np
import pytest

from raydm.errors import ParameterError, RaydmWarning
from raydm.indexes import Index, IndexSpec, choose, gpu, memory_bytes

GIB = 2**30


@pytest.mark.parametrize(
    ("n", "d", "memory", "kind"),
    [
        (1000, 64, GIB, "exact"),
        (100_000, 64, GIB, "exact"),
        (100_000, 8, GIB, "exact"),
        (100_000, 4, GIB, "ivf-flat"),
        (1_000_000, 64, 8 * GIB, "ivf-flat"),
        (10_000_000, 64, 12 * GIB, "ivf-flat"),
        (10_000_000, 64, 3 * GIB, "ivf-pq"),
        (100_000_000, 64, 12 * GIB, "ivf-pq"),
    ],
)
def test_the_kind_is_chosen_by_work_and_memory(n, d, memory, kind):
    spec = choose(n, d, 16, memory)
    assert spec.kind == kind
    assert memory_bytes(spec, n, d, 16) <= memory


def test_less_memory_means_fewer_codes_and_at_last_a_refusal():
    codes = [choose(100_000_000, 64, 16, m * GIB).m for m in (16, 7, 6, 5)]
    assert codes == sorted(codes, reverse=True)
    assert codes[0] == 32
    assert codes[-1] < 32
    with pytest.raises(ParameterError, match="No index of 100000000 points in 64 features fits"):
        choose(100_000_000, 64, 16, GIB)


@pytest.mark.parametrize(("d", "m"), [(64, 32), (63, 21), (6, 3), (7, 7), (1, 1), (13, 13)])
def test_codes_divide_the_features(d, m):
    assert IndexSpec("ivf-pq").sized(100_000, d).m == m


def test_lists_can_be_learned():
    assert IndexSpec("ivf-flat").sized(1_000_000, 64).nlist == 4000
    assert IndexSpec("ivf-flat").sized(10_000, 64).nlist == 200
    assert IndexSpec("ivf-flat").sized(20, 64).nlist == 1


class Clone:
    """An index "on GPUs": the one of the CPU, with a record of how it was placed."""

    def __init__(self, index, options):
        self.index, self.shard = index, options.shard
        self.searched = 0

    def search(self, x, k):
        self.searched += 1
        return self.index.search(x, k)


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs of 256 KiB, as far as FAISS's functions tell; the list of the clones that are made."""
    import faiss

    made = []

    class Options:
        shard = False

    class Space:
        def set_index_parameter(self, clone, name, value):
            assert name == "nprobe"
            clone.index.nprobe = value

    def clone(index, co=None):
        if co is None:  # of k-means
            return index
        if isinstance(index, faiss.IndexIVF):
            assert index.direct_map.type == faiss.DirectMap.NoMap
        made.append(Clone(index, co))
        return made[-1]

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2)
    monkeypatch.setattr(faiss, "GpuMultipleClonerOptions", Options, raising=False)
    monkeypatch.setattr(faiss, "GpuParameterSpace", Space, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", clone, raising=False)
    monkeypatch.setattr(gpu, "_memory_of_one", lambda: 2.0**18)
    return made


def searched(kind, layout, n):
    x = np.random.default_rng(0).standard_normal((n, 16)).astype(np.float32)
    found = Index(kind, gpu=layout).train(x).add(x, np.arange(n)).search(x[:50], 5, exclude=np.arange(50))
    return found


@pytest.mark.parametrize(
    ("kind", "layout", "n", "shard"),
    [
        *((kind, layout, n, shard) for kind in ("exact", "ivf-flat") for layout, n, shard in
          (("auto", 1000, False), ("auto", 5000, True), ("replicate", 5000, False), ("shard", 1000, True))),
        ("ivf-pq", "shard", 1000, True),
    ],
)  # fmt: skip
def test_gpus_search_and_the_cpu_ranks(gpus, kind, layout, n, shard):
    there = searched(kind, layout, n)
    assert [clone.shard for clone in gpus] == [shard]
    assert gpus[0].searched >= 1
    here = searched(kind, "off", n)
    assert len(gpus) == 1
    np.testing.assert_array_equal(there[1], here[1])
    np.testing.assert_array_equal(there[0], here[0])


def test_what_gpus_have_no_form_for_is_searched_on_the_cpu(gpus, monkeypatch):
    """They take ivf-pq of some sizes alone, and throw."""
    import faiss

    def refuse(index, co=None):
        if co is None:  # of k-means
            return index
        raise RuntimeError("Error in verifyPQSettings_\nNumber of bytes per encoded vector (5) is not supported")

    monkeypatch.setattr(faiss, "index_cpu_to_all_gpus", refuse)
    with pytest.warns(RaydmWarning, match=r"searched on the CPU \(Number of bytes"):
        there = searched("ivf-pq", "auto", 1000)
    np.testing.assert_array_equal(there[1], searched("ivf-pq", "off", 1000)[1])


def test_graphs_stay_on_the_cpu(gpus):
    searched("hnsw", "auto", 500)
    assert gpus == []
    with pytest.raises(ParameterError, match="'gpu'"):
        searched("exact", "everywhere", 500)
