"""Exact nearest neighbours: FAISS or torch finds candidates, float64 decides, and every answer is proven.

Axes: Q queries, N points, D features, K neighbours. Distances are Euclidean and computed as differences in float64;
points at the same distance are ordered by index. So the answer does not depend on what found the candidates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.errors import ParameterError, one_of

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float64]
# Of a block of queries and a count: the candidates (Q, count), and their squared distances as it sees them, ascending.
Search = Callable[[Array, int], tuple[Indices, Array]]
# Of the module faiss and an index on the CPU: the index that is searched instead, such as one on GPUs.
Place = Callable[[Any, Any], Any]

ENGINES = ("auto", "faiss", "torch")

_SPARE = 16  # candidates beyond K: the proof then rarely fails, and a search for few more costs nothing
_ROWS = 1024  # queries at a time, for FAISS
_ADDED = 2**16  # points at a time that are centred in float64
_FEW = 8  # features below which expanded squares are neither fast nor precise enough
_BYTES = 2**27  # what a block of distances or candidates may take
_GPU_SELECTS = 2048  # FAISS on a GPU finds at most so many


def nearest(
    queries: Array, points: Array, k: int, *, exclude_self: bool = False, engine: str = "auto"
) -> tuple[Distances, Indices]:
    """The K nearest points of each query, nearest first, ties by index.

    For cosine similarity, bring both to unit length: the order is then the same.

    Args:
        queries: (Q, D) finite.
        points: (N, D) finite.
        k: K, in [1, N]; in [1, N - 1] with exclude_self.
        exclude_self: the queries are the points themselves, and query i is no neighbour of its own; told by index, so
            that another point at the same place is one.
        engine: what finds candidates. "auto": FAISS on a GPU where it sees one, else torch where it sees one, else
            FAISS on the CPU if it is installed, else torch; and torch for fewer than 8 features. FAISS and torch use
            as many threads as torch is set to.

    Returns:
        Euclidean distances (Q, K) float64, and indices into points (Q, K).

    Raises:
        ParameterError: k out of range, shapes that do not fit, values that are not finite, or an unknown engine.
    """
    _check(queries, points, k, exclude_self, engine)
    ours, theirs = _tensor(queries).double(), _tensor(points).double()
    count = min(k + exclude_self + _SPARE, len(points))
    search, rows, unit = candidate_search(points, count, engine=engine)
    reach = distances(ours, theirs.mean(dim=0, keepdim=True))[:, 0].numpy()
    found_distances, found = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)
    for start in range(0, len(queries), rows):
        block = slice(start, start + rows)
        candidates, squares = search(queries[block], count)
        last = squares[:, -1].astype(np.float64)
        candidates.sort(axis=1)  # the stable sort below then leaves ties by index
        exact = distances(ours[block].unsqueeze(1), theirs[torch.from_numpy(candidates)]).squeeze(1).numpy()
        exact[candidates < 0] = np.inf
        if exclude_self:
            exact[candidates == np.arange(len(queries))[block, None]] = np.inf
        order = np.argsort(exact, axis=1, kind="stable")[:, :k]
        found[block] = np.take_along_axis(candidates, order, 1)
        found_distances[block] = np.take_along_axis(exact, order, 1)
        # A point that should have been found is within `worst` of the query, so its norm is at most reach + worst, and
        # the rounding of |q|^2 + |p|^2 - 2 qp at most unit times the square of both norms' sum. FAISS finds fewer than
        # it was asked for where float32 overflows, and says -1.
        worst = found_distances[block, -1]
        proven = (count == len(points)) | (worst**2 < last - unit * (2 * reach[block] + worst) ** 2)
        proven &= candidates[:, 0] >= 0
        for q in start + np.flatnonzero(~proven):  # then every point decides that is no farther than the worst
            every = distances(ours[q : q + 1], theirs)[0].numpy()
            if exclude_self:
                every[q] = np.inf
            within = np.flatnonzero(every <= found_distances[q, -1])
            within = within[np.argsort(every[within], kind="stable")[:k]]
            found_distances[q], found[q] = every[within], within
    return found_distances, found


def distances(queries: Tensor, points: Tensor) -> Tensor:
    """Euclidean distances (..., Q, N) of queries (..., Q, D) from points (..., N, D), from their differences.

    Expanded squares, as in FAISS, would lose those of near-duplicates, and tell equal points apart.
    """
    return torch.cdist(queries, points, compute_mode="donot_use_mm_for_euclid_dist")


def ranking(of: Tensor) -> Tensor:
    """Each row's order from the smallest to the largest, ties by index: (Q, N) int64, on the rows' device."""
    if of.device.type != "cpu":
        return torch.sort(of, dim=1, stable=True).indices
    values = of.numpy()
    order = np.empty(values.shape, dtype=np.int64)

    def rank(row: int) -> None:
        order[row] = np.argsort(values[row])  # vectorised, but not stable
        ranked = values[row][order[row]]
        if (ranked[1:] == ranked[:-1]).any():
            order[row] = np.argsort(values[row], kind="stable")

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # sorting releases the interpreter's lock
        list(pool.map(rank, range(len(values))))
    return torch.from_numpy(order)


def _tensor(array: Array) -> Tensor:
    array = np.asarray(array)
    return torch.from_numpy(array if array.flags.writeable else array.copy())  # torch has no read-only tensors


def _check(queries: Array, points: Array, k: int, exclude_self: bool, engine: str) -> None:
    if points.ndim != 2 or queries.ndim != 2 or queries.shape[1] != points.shape[1]:
        raise ParameterError.of("queries", "nearest", f"(Q, D) for points {points.shape}", queries.shape)
    if exclude_self and len(queries) != len(points):
        raise ParameterError.of("queries", "nearest", "the points themselves with exclude_self", queries.shape)
    if not 1 <= k <= len(points) - exclude_self:
        raise ParameterError.of("k", "nearest", f"an integer in [1, {len(points) - exclude_self}]", k)
    for name, array in {"queries": queries, "points": points}.items():
        if not np.isfinite(array).all():
            raise ParameterError.of(name, "nearest", "finite", f"{(~np.isfinite(array)).sum()} values that are not")
    if engine not in ENGINES:
        raise ParameterError.of("engine", "nearest", one_of(ENGINES), engine)


def candidate_search(
    points: Array, count: int, *, engine: str = "auto", place: Place | None = None
) -> tuple[Search, int, float]:
    """A search over the points, how many queries it takes at a time, and the relative rounding of what it sees.

    Args:
        points: (N, D) finite.
        count: how many candidates it will be asked for, at most N.
        engine: as for `nearest`.
        place: where FAISS holds its index; None: on the first GPU, if it sees one that finds so many.

    Raises:
        ParameterError: FAISS is asked for and is not installed.
    """
    faiss = None if engine == "torch" else import_faiss()
    if engine == "faiss" and faiss is None:
        raise ParameterError("engine='faiss' needs FAISS, which is not installed. Install it: pip install faiss-cpu")
    n, d = points.shape
    gpu = faiss is not None and faiss.get_num_gpus() > 0 and count <= _GPU_SELECTS
    better = d < _FEW or (torch.cuda.is_available() and not gpu)
    # Sums of D products, each rounded by half a unit in the last place; 8 more for the centring and the last sums
    if faiss is None or (engine == "auto" and better):
        return _torch_search(points), max(1, _BYTES // (8 * n)), (d + 8) * 2.0**-53
    place = place or (_on_first_gpu if gpu else None)
    return _faiss_search(faiss, points, place), max(1, min(_ROWS, _BYTES // (8 * d * count))), (d + 8) * 2.0**-24


def import_faiss() -> Any:
    """The module faiss (of faiss-cpu or faiss-gpu), or None where it is not installed."""
    before = os.environ.get("OMP_WAIT_POLICY")
    # FAISS brings an OpenMP of its own, which reads this when it is loaded. Its threads would otherwise spin on the
    # cores after each search, beside torch's: two were four times slower than one.
    os.environ["OMP_WAIT_POLICY"] = before or "PASSIVE"
    try:
        import faiss
    except ImportError:
        return None
    finally:
        if before is None:
            del os.environ["OMP_WAIT_POLICY"]
    return faiss


def _on_first_gpu(faiss: Any, index: Any) -> Any:
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)


def _faiss_search(faiss: Any, points: Array, place: Place | None) -> Search:
    """A flat index in float32."""
    centre = points.mean(axis=0, dtype=np.float64)  # distances stay, and expanded squares lose less near the origin

    def centred(x: Array) -> Array:
        return np.ascontiguousarray(x - centre, dtype=np.float32)

    index = faiss.IndexFlatL2(points.shape[1])
    for start in range(0, len(points), _ADDED):
        index.add(centred(points[start : start + _ADDED]))
    searched = place(faiss, index) if place else index

    def search(queries: Array, count: int) -> tuple[Indices, Array]:
        with faiss_threads(faiss):
            squares, candidates = searched.search(centred(queries), count)
        return candidates, squares

    return search


@contextmanager
def faiss_threads(faiss: Any, threads: int | None = None) -> Iterator[None]:
    """FAISS uses that many threads; None: as many as torch is set to."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(torch.get_num_threads() if threads is None else threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _torch_search(points: Array) -> Search:
    """Every distance in float64, on the GPU where there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    theirs = _tensor(points).to(device, torch.float64)

    def search(queries: Array, count: int) -> tuple[Indices, Array]:
        found = distances(_tensor(queries).to(theirs), theirs).topk(count, largest=False)
        return found.indices.cpu().numpy(), found.values.square().cpu().numpy()

    return search
