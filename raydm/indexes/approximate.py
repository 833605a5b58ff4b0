"""Inverted lists and graphs of FAISS: trained once, filled anywhere, and searched.

What a part of inverted lists finds among the lists that it is told to look into is exact: candidates come from FAISS
in float32, with a bound on what it did not return (see `raydm.indexes.searcher`). So results do not depend on how the
points are spread over parts, as long as all of them look into the same lists. Vectors of ivf-pq are what its codes
stand for, unless it refines. A graph promises nothing.
"""

from __future__ import annotations

import math
import tempfile
import threading
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from raydm.errors import MissingPackageError, ParameterError
from raydm.indexes.exact import Exact, pieces, scan
from raydm.indexes.gpu import MOST_NEIGHBORS, Layout, on_gpus, set_probes
from raydm.indexes.part import NOBODY, Candidates, Distances, Floats, Ids, Probes
from raydm.indexes.spec import GRAPH_POINTS, IndexSpec, file_bytes
from raydm.neighbors import faiss_threads, import_faiss

_MAKING = threading.Lock()  # of two indexes that threads make at once, one would go while it is searched
_LARGEST_SQUARE = 2.0**124  # of a point's norm: a distance has up to four times that, and float32 ends at 2^128
_NOTHING = np.empty(0, np.int64)


def faiss_module() -> Any:
    """The module faiss.

    Raises:
        MissingPackageError: it is not installed.
    """
    faiss = import_faiss()
    if faiss is None:
        raise MissingPackageError.of("faiss", "An approximate index", "pip install faiss-cpu")
    return faiss


@dataclass
class Trained:
    """An index without points: what every part of one shares.

    Attributes:
        spec: sized.
        d: D.
        state: FAISS's own serialization of the trained index, (B,) uint8; None for exact. It travels; what is made of
            it does not.
    """

    spec: IndexSpec
    d: int
    state: npt.NDArray[np.uint8] | None
    _index: Any = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_index": None}

    def index(self) -> Any:
        """A new FAISS index without points; there is none for exact."""
        return faiss_module().deserialize_index(self.state)

    def checked(self, queries: Floats) -> Floats:
        """Queries as they are searched; raises ParameterError where their squares overflow float32, unless exact."""
        return np.ascontiguousarray(queries, np.float32) if self.spec.kind == "exact" else _checked(queries)

    def probes(self, queries: Floats, nprobe: int | None = None) -> Probes | None:
        """The lists that queries (Q, D) look into; None where there are no lists."""
        if self.spec.nlist is None:
            return None
        with _MAKING:
            if self._index is None:
                self._index = self.index()
        nprobe = min(nprobe or self.spec.nprobe or 1, self.spec.nlist)
        faiss = faiss_module()
        with faiss_threads(faiss):
            squares, lists = self._index.quantizer.search(np.ascontiguousarray(queries), nprobe)
        return lists, squares


def _checked(x: Floats) -> Floats:
    """The points, contiguous; FAISS ends the process where their squares overflow."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    most = math.sqrt(_LARGEST_SQUARE / x.shape[1])
    if len(x) and (largest := max(float(x.max()), -float(x.min()))) > most:
        raise ParameterError(
            f"Values up to {largest:.3g} are too large for an approximate index, whose squared distances overflow "
            f"float32 beyond {most:.3g}. Rescale the features, or use the index 'exact'."
        )
    return x


def train(spec: IndexSpec, sample: Floats, *, seed: int = 0) -> Trained:
    """Learns an index's centres and codes.

    Args:
        spec: sized.
        sample: (S, D) points drawn at random; at least 50 a list, for centres that serve.
        seed: of k-means.

    Raises:
        ParameterError: the sample has fewer points than the index has lists, or than PQ has codes.
    """
    d = sample.shape[1]
    if spec.kind == "exact":
        return Trained(spec, d, None)
    faiss, sample = faiss_module(), _checked(sample)
    least = max(spec.nlist or 1, 2**spec.bits if spec.bits else 1)
    if len(sample) < least:
        raise ParameterError.of("sample", "train", f"at least {least} points for {spec}", len(sample))
    if spec.kind == "hnsw":
        index = faiss.IndexHNSWFlat(d, spec.M)
        index.hnsw.efConstruction = spec.efConstruction
        return Trained(spec, d, faiss.serialize_index(index))
    quantizer = faiss.IndexFlatL2(d)
    if spec.kind == "ivf-flat":
        index = faiss.IndexIVFFlat(quantizer, d, spec.nlist, faiss.METRIC_L2)
    else:
        index = faiss.IndexIVFPQ(quantizer, d, spec.nlist, spec.m, spec.bits)
        index.pq.cp.min_points_per_centroid = 1  # whether they are few is for our own rules to say
        index.pq.cp.seed = seed + 1
    index.cp.min_points_per_centroid = 1
    index.cp.seed = seed + 1
    if faiss.get_num_gpus() > 0:
        centres = index.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatL2(d))
        centres.this.own(True)  # the assignment gave it away to an index that does not free it
    with faiss_threads(faiss):
        index.train(sample)
    return Trained(spec, d, faiss.serialize_index(index))


class _Filled:
    """A FAISS index with our ids beside it: in FAISS points are numbered 0 .. N - 1, which are their places."""

    def __init__(self, trained: Trained, gpu: Layout, filled: tuple[Any, Ids] | None = None) -> None:
        self.trained, self.d, self.spec, self.gpu = trained, trained.d, trained.spec, gpu
        self.faiss = faiss_module()
        self.index, ids = filled or (trained.index(), _NOTHING)
        self._ids: list[Ids] = [ids]
        self._clone: Any = None
        self._is_cloned = False

    def __len__(self) -> int:
        return int(self.index.ntotal)

    def add(self, x: Floats, ids: Ids) -> None:
        """Adds points (B, D) under ids (B,)."""
        x = _checked(x)
        with faiss_threads(self.faiss):
            self.index.add(x)
        self._ids.append(ids)
        self._is_cloned = False

    def ids(self) -> Ids:
        """(N,) in the order of the places."""
        if len(self._ids) > 1:
            self._ids = [np.concatenate(self._ids)]
        return self._ids[0]

    def vectors(self, places: Ids) -> Floats:
        """(P, D) at places (P,)."""
        vectors: Floats = self.index.reconstruct_batch(places)
        return vectors

    def _named(self, places: Ids) -> Ids:
        return np.where(places < 0, NOBODY, self.ids()[places])

    def _on_gpus(self) -> Any:
        if not self._is_cloned:
            self._clone = on_gpus(self.faiss, self.index, self.gpu, file_bytes(self.spec, len(self), self.d))
            self._is_cloned = True
        return self._clone


class Inverted(_Filled):
    """Points in inverted lists, whole (ivf-flat) or as codes (ivf-pq).

    Args:
        trained: all parts of an index share it.
        gpu: how GPUs are used, see `raydm.indexes.gpu.on_gpus`.
        filled: a FAISS index that holds points already, and their ids (N,).
    """

    def __init__(self, trained: Trained, *, gpu: Layout = "auto", filled: tuple[Any, Ids] | None = None) -> None:
        super().__init__(trained, gpu, filled)
        self.index.set_direct_map_type(self.faiss.DirectMap.Array)
        self._refined = _OnDisk(trained.d) if trained.spec.refine else None

    def add(self, x: Floats, ids: Ids) -> None:
        """Adds points (B, D) under ids (B,)."""
        super().add(x, ids)
        if self._refined:
            self._refined.add(x)

    def candidates(self, queries: Floats, count: int, effort: int | None, probes: Probes | None) -> Candidates:
        """See `raydm.indexes.part.Part`; the probes say all."""
        lists, coarse = cast(Probes, probes)
        count, clone = min(count, len(self)), self._on_gpus()
        with faiss_threads(self.faiss):
            if clone is not None:  # which finds the lists by itself
                set_probes(self.faiss, clone, min(lists.shape[1], MOST_NEIGHBORS))
                squares, places = clone.search(queries, min(count, MOST_NEIGHBORS))
            else:
                self.index.nprobe = lists.shape[1]
                squares, places = self.index.search_preassigned(queries, count, lists, coarse)
        squares[places < 0] = np.inf
        last = np.full(len(queries), np.inf)
        if self.spec.kind == "ivf-flat":
            full = (places >= 0).all(1)
            last[full] = squares[full, -1]
        unit = (self.d + 8) * 2.0**-24  # of sums of D squares of differences, each rounded
        return Candidates(squares, self._named(places), places, last, np.zeros(len(queries)), unit)

    def vectors(self, places: Ids) -> Floats:
        """(P, D) at places (P,)."""
        return super().vectors(places) if self._refined is None else self._refined.vectors(places)

    def within(
        self, queries: Floats, exclude: Ids | None, radius: Distances, count: int, probes: Probes | None
    ) -> tuple[Distances, Ids, Ids]:
        """See `raydm.indexes.part.Part`."""
        if probes is None:
            return scan(queries, exclude, radius, count, pieces(self.vectors, self.ids()))
        lists, found = self.index.invlists, []
        for q in range(len(queries)):
            places = np.concatenate([_NOTHING, *(_of_list(self.faiss, lists, int(n)) for n in probes[0][q] if n >= 0)])
            mine = slice(q, q + 1)
            among = pieces(self.vectors, self.ids(), places)
            found.append(scan(queries[mine], None if exclude is None else exclude[mine], radius[mine], count, among))
        ds, ids, where = (np.concatenate(part) for part in zip(*found, strict=True))
        return ds, ids, where


def _of_list(faiss: Any, lists: Any, number: int) -> Ids:
    size = lists.list_size(number)
    return faiss.rev_swig_ptr(lists.get_ids(number), size).copy() if size else _NOTHING


class Graphs(_Filled):
    """Points in HNSW graphs of a fixed number each, so that a graph does not depend on how many machines there are.

    Points are added by one thread: FAISS links them in another order otherwise, and results differ from run to run.

    Args:
        trained: all parts of an index share it.
        points: of one graph.
        filled: a FAISS index that holds points already, and their ids (N,).
    """

    def __init__(self, trained: Trained, *, points: int = GRAPH_POINTS, filled: tuple[Any, Ids] | None = None) -> None:
        super().__init__(trained, "off", filled)
        self.points = points
        self._graphs = [self.index]

    def __len__(self) -> int:
        return sum(int(graph.ntotal) for graph in self._graphs)

    def add(self, x: Floats, ids: Ids) -> None:
        """Adds points (B, D) under ids (B,), which fill up one graph after another."""
        x = _checked(x)
        self._ids.append(ids)
        done = 0
        while done < len(x):
            if self._graphs[-1].ntotal == self.points:
                self._graphs.append(self.trained.index())
            more = min(len(x) - done, self.points - int(self._graphs[-1].ntotal))
            with faiss_threads(self.faiss, 1):
                self._graphs[-1].add(x[done : done + more])
            done += more

    def candidates(self, queries: Floats, count: int, effort: int | None, probes: Probes | None) -> Candidates:
        """See `raydm.indexes.part.Part`; effort is efSearch."""
        squares, places = [], []
        for number, graph in enumerate(self._graphs):
            graph.hnsw.efSearch = max(effort or 0, count)
            with faiss_threads(self.faiss):
                near, where = graph.search(queries, min(count, int(graph.ntotal)))
            near[where < 0] = np.inf
            squares.append(near)
            places.append(np.where(where < 0, NOBODY, where + number * self.points))
        near, where = np.concatenate(squares, 1), np.concatenate(places, 1)
        order = np.argsort(near, axis=1, kind="stable")[:, :count]
        near, where = np.take_along_axis(near, order, 1), np.take_along_axis(where, order, 1)
        nothing = np.full(len(queries), np.inf)
        return Candidates(near, self._named(where), where, nothing, np.zeros(len(queries)), 0.0)

    def vectors(self, places: Ids) -> Floats:
        """(P, D) at places (P,)."""
        x = np.empty((len(places), self.d), np.float32)
        graph = places // self.points
        for number in np.unique(graph):
            x[graph == number] = self._graphs[number].reconstruct_batch(places[graph == number] % self.points)
        return x

    def within(
        self, queries: Floats, exclude: Ids | None, radius: Distances, count: int, probes: Probes | None
    ) -> tuple[Distances, Ids, Ids]:
        """See `raydm.indexes.part.Part`."""
        return scan(queries, exclude, radius, count, pieces(self.vectors, self.ids()))


class _OnDisk:
    """Vectors in a temporary file that has no name: it is gone with the process, however that ends."""

    def __init__(self, d: int) -> None:
        self.d, self._written = d, 0
        self._file = tempfile.TemporaryFile(prefix="raydm-vectors-")  # noqa: SIM115  # lives as long as we do
        self._map: Any = None

    def add(self, x: Floats) -> None:
        """Appends (B, D)."""
        self._file.write(np.ascontiguousarray(x, dtype=np.float32).tobytes())
        self._written += len(x)
        self._map = None

    def vectors(self, places: Ids) -> Floats:
        """(P, D) at places (P,)."""
        if self._map is None:
            self._file.flush()
            self._map = np.memmap(self._file, np.float32, "r", shape=(self._written, self.d))
        return np.asarray(self._map[places])


def spare(spec: IndexSpec, k: int) -> int:
    """Candidates beyond K that are asked for: a few, to prove that none was missed; many, where codes rank roughly."""
    if spec.kind == "ivf-pq":
        return math.ceil(3 * k) if spec.refine else 4
    return 4


def make_part(trained: Trained, *, gpu: Layout = "auto") -> Any:
    """An empty part of a trained index: `Exact`, `Inverted` or `Graphs`."""
    if trained.spec.kind == "exact":
        return Exact(trained.d, gpu=gpu)
    return Graphs(trained) if trained.spec.kind == "hnsw" else Inverted(trained, gpu=gpu)
