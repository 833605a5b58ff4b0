"""An index in one piece, for use by itself: trained, filled in blocks, searched, kept in a file."""

from __future__ import annotations

import hashlib
import math
import os
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from raydm.errors import ParameterError, RunError
from raydm.indexes.approximate import Graphs, Inverted, Trained, faiss_module, train
from raydm.indexes.exact import Exact
from raydm.indexes.gpu import Layout
from raydm.indexes.part import Distances, Here, Ids
from raydm.indexes.searcher import Searcher
from raydm.indexes.spec import IndexSpec

Array = npt.NDArray[Any]
_ONE_GRAPH = 2**62
_MARK, _DIGEST = b"raydm index 1\n", 32  # what stands behind FAISS's own bytes
_CHUNK = 2**20


class Index:
    """Finds near points: `train` on a sample, `add` in blocks under ids of your own, `search`.

    Distances are Euclidean, computed in float64 from the float32 points (of ivf-pq without refine: from what its codes
    stand for); points at the same distance are ordered by id.

    Args:
        spec: the kind, and any sizes.
        gpu: how GPUs are used where FAISS sees some: "auto", "off", "replicate" or "shard".
    """

    def __init__(self, spec: IndexSpec | str, *, gpu: Layout = "auto") -> None:
        self.spec = IndexSpec(spec) if isinstance(spec, str) else spec  # type: ignore[arg-type]
        self.gpu = gpu
        self._part: Any = None
        self._trained: Trained | None = None

    def train(self, sample: Array, *, n: int | None = None, k: int = 16, seed: int = 0) -> Index:
        """Learns centres and codes.

        Args:
            sample: (S, D) finite points drawn at random.
            n: how many points will be added, by which sizes are chosen; None: S.
            k: the usual K.
            seed: of k-means.

        Raises:
            ParameterError: the sample is no finite matrix, or too small, or a size is out of its range.
        """
        sample = _matrix("sample", sample, None)
        self.spec = self.spec.sized(n or len(sample), sample.shape[1], k)
        self._trained = train(self.spec, sample, seed=seed)
        self._part = self._new()
        return self

    def _new(self, filled: tuple[Any, Ids] | None = None) -> Any:
        trained = self._ready("anything else")
        if self.spec.kind == "exact":
            return Exact(trained.d, gpu=self.gpu)
        if self.spec.kind == "hnsw":
            return Graphs(trained, points=_ONE_GRAPH, filled=filled)
        return Inverted(trained, gpu=self.gpu, filled=filled)

    def __len__(self) -> int:
        return 0 if self._part is None else len(self._part)

    def add(self, x: Array, ids: Array) -> Index:
        """Adds points.

        Args:
            x: (B, D) finite.
            ids: (B,) integers >= 0, none of them twice.

        Raises:
            ParameterError: shapes, values or ids that do not fit, or the index is not trained.
        """
        x = _matrix("x", x, self._ready("add").d)
        ids = np.asarray(ids)
        if ids.shape != (len(x),) or ids.dtype.kind not in "iu" or (len(ids) and int(ids.min()) < 0):
            raise ParameterError.of("ids", "Index.add", f"({len(x)},) integers >= 0", f"{ids.shape} of {ids.dtype}")
        self._part.add(x, ids.astype(np.int64))
        return self

    def search(self, queries: Array, k: int, *, exclude: Array | None = None) -> tuple[Distances, Ids]:
        """The K nearest points of each query, nearest first, ties by id.

        Args:
            queries: (Q, D) finite.
            k: K, in [1, N]; in [1, N - 1] with exclude.
            exclude: (Q,) ids: the point that a query is itself.

        Returns:
            Distances (Q, K) float64, and ids (Q, K).

        Raises:
            ParameterError: k, shapes or values that do not fit, or the index is not trained.
        """
        trained = self._ready("search")
        queries = _matrix("queries", queries, trained.d)
        most = len(self) - (exclude is not None)
        if not 1 <= k <= most:
            raise ParameterError.of("k", "Index.search", f"an integer in [1, {most}]", k)
        if exclude is not None:
            exclude = np.asarray(exclude, dtype=np.int64)
            if exclude.shape != (len(queries),):
                raise ParameterError.of("exclude", "Index.search", f"({len(queries)},) ids", exclude.shape)
        found = Searcher(Here([self._part]), trained).search(queries, k, exclude=exclude)
        return found.distances, found.ids

    def save(self, file: str | os.PathLike[str]) -> None:
        """Writes FAISS's own format, an IndexIDMap over the index, which FAISS reads without raydm; and a checksum.

        Raises:
            ParameterError: it is not trained, or refines (its vectors lie in a file of their own).
            OSError: the file cannot be written.
        """
        self._ready("save")
        if self.spec.refine:
            raise ParameterError(
                "An index that refines is not saved: its vectors lie outside. Build it with refine=False."
            )
        faiss, part = faiss_module(), self._part
        if self.spec.kind == "exact":
            inner = faiss.IndexFlatL2(part.d)
            inner.add(part.vectors(np.arange(len(part))))
        else:
            inner = part.index
            if self.spec.nprobe is not None:
                inner.nprobe = self.spec.nprobe
            else:
                inner.hnsw.efSearch = self.spec.efSearch
        whole = faiss.IndexIDMap(faiss.IndexFlatL2(part.d))
        whole.index, whole.ntotal = inner, inner.ntotal  # its constructor takes empty ones alone
        faiss.copy_array_to_vector(part.ids(), whole.id_map)
        try:
            faiss.write_index(whole, os.fspath(file))
        except RuntimeError as error:  # FAISS's word for whatever the file system says
            raise OSError(f"{file}: {error}") from error
        with open(file, "r+b") as opened:  # FAISS reads no further than its own
            seal = _seal(opened)
            opened.seek(0, os.SEEK_END)
            opened.write(seal)

    @classmethod
    def load(cls, file: str | os.PathLike[str], *, gpu: Layout = "auto") -> Index:
        """Reads what `save` wrote. Read none that you do not trust: FAISS does not guard itself against forged files.

        Raises:
            RunError: the file is absent, torn, was changed, or is not of `save`.
        """
        faiss = faiss_module()
        _check_seal(file)
        try:
            whole = faiss.read_index(os.fspath(file))
        except RuntimeError as error:
            raise RunError(
                f"{file}: cannot be read as an index ({str(error).splitlines()[0]}). Build it anew."
            ) from error
        inner: Any = faiss.downcast_index(whole.index) if isinstance(whole, faiss.IndexIDMap) else None
        spec = _spec_of(faiss, inner)
        if spec is None:
            raise RunError(f"{file}: holds a {type(inner or whole).__name__}, which Index.save does not write.")
        index, ids = cls(spec, gpu=gpu), faiss.vector_to_array(whole.id_map)
        index._trained = Trained(spec, whole.d, None, inner)
        if spec.kind == "exact":
            index._part = index._new()
            index._part.add(faiss.rev_swig_ptr(inner.get_xb(), inner.ntotal * inner.d).reshape(-1, inner.d).copy(), ids)
        else:
            whole.id_map.clear()
            inner.referenced_objects = [whole]  # who frees it: taken over by own(), a thousand end in a crash
            index._part = index._new((inner, ids))
        return index

    def _ready(self, verb: str) -> Trained:
        if self._trained is None:
            raise ParameterError(f"The index is not trained. Call train(sample) before {verb}.")
        return self._trained


def _seal(opened: BinaryIO, size: int | None = None) -> bytes:
    """What tells that the first bytes of a file are whole: all of them, or so many."""
    found, left = hashlib.blake2b(digest_size=_DIGEST), math.inf if size is None else size
    while left > 0 and (part := opened.read(int(min(_CHUNK, left)))):
        found.update(part)
        left -= len(part)
    return _MARK + found.digest()


def _check_seal(file: str | os.PathLike[str]) -> None:
    """Raises RunError unless a file is as `Index.save` left it: FAISS crashes at some that are not."""
    try:
        with open(file, "rb") as opened:
            size = max(0, os.fstat(opened.fileno()).st_size - len(_MARK) - _DIGEST)
            whole = _seal(opened, size) == opened.read()
    except OSError as error:
        raise RunError(f"{file}: {(error.strerror or repr(error)).lower()}. Name what Index.save wrote.") from error
    if not whole:
        raise RunError(
            f"{file}: cannot be read as an index: it is torn or was changed, or Index.save did not write it. Build it "
            "anew."
        )


def _spec_of(faiss: Any, inner: Any) -> IndexSpec | None:
    if isinstance(inner, faiss.IndexIVFPQ):
        return IndexSpec("ivf-pq", inner.nlist, inner.nprobe, m=inner.pq.M, bits=inner.pq.nbits)
    if isinstance(inner, faiss.IndexIVFFlat):
        return IndexSpec("ivf-flat", inner.nlist, inner.nprobe)
    if isinstance(inner, faiss.IndexHNSWFlat):
        graph = inner.hnsw
        links = graph.nb_neighbors(1)
        return IndexSpec("hnsw", M=links, efConstruction=graph.efConstruction, efSearch=graph.efSearch)
    return IndexSpec("exact") if type(inner) is faiss.IndexFlatL2 or type(inner) is faiss.IndexFlat else None


def _matrix(name: str, x: Array, d: int | None) -> npt.NDArray[np.float32]:
    x = np.asarray(x)
    if x.ndim != 2 or (d is not None and x.shape[1] != d) or len(x) == 0:
        raise ParameterError.of(name, "Index", f"(B, {d or 'D'}), B >= 1", x.shape)
    with np.errstate(over="ignore"):
        x = np.ascontiguousarray(x, dtype=np.float32)
    if not np.isfinite(x).all():
        raise ParameterError.of(
            name, "Index", "finite in float32", f"{int((~np.isfinite(x)).sum())} values that are not"
        )
    return x
