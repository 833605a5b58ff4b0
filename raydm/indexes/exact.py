"""Every distance: the part that is searched without an index, by FAISS or torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from raydm.indexes.gpu import MOST_NEIGHBORS, Layout, on_gpus
from raydm.indexes.part import NOBODY, Candidates, Distances, Floats, Ids, Probes, nearest_first
from raydm.neighbors import Search, candidate_search, distances

_PIECE = 2**14  # points at a time whose distances are computed in float64
_SCANNED = 256  # queries at a time, from these: 32 MiB


class Exact:
    """Points of which every one is compared with every query.

    Args:
        d: D.
        gpu: how GPUs are used, see `raydm.indexes.gpu.on_gpus`.
    """

    def __init__(self, d: int, *, gpu: Layout = "auto") -> None:
        self.d, self.gpu = d, gpu
        self._blocks: list[tuple[Floats, Ids]] = []
        self._x, self._ids = np.empty((0, d), np.float32), np.empty(0, np.int64)
        self._search: tuple[Search, int, float] | None = None
        self._most = 0  # candidates that it finds at once
        self._centre = torch.zeros(1, d, dtype=torch.float64)

    def __len__(self) -> int:
        return len(self._ids) + sum(len(ids) for _, ids in self._blocks)

    def add(self, x: Floats, ids: Ids) -> None:
        """Adds points (B, D) under ids (B,)."""
        self._blocks.append((x, ids))
        self._search = None

    def _join(self) -> None:
        """Joins what was added; each block is let go as it is copied, so that the points are not held twice."""
        if not self._blocks:
            return
        x, done = np.empty((len(self), self.d), np.float32), len(self._ids)
        x[:done] = self._x
        self._ids = np.concatenate([self._ids, *(ids for _, ids in self._blocks)])
        for block, _ in self._emptied():
            x[done : done + len(block)] = block
            done += len(block)
        self._x = x
        self._centre = torch.from_numpy(x.mean(axis=0, keepdims=True, dtype=np.float64))

    def _emptied(self) -> Any:
        self._blocks.reverse()
        while self._blocks:
            yield self._blocks.pop()

    def candidates(self, queries: Floats, count: int, effort: int | None, probes: Probes | None) -> Candidates:
        """See `raydm.indexes.part.Part`."""
        self._join()
        if self._search is None:
            self._most = len(self._ids)
            self._search = candidate_search(self._x, min(count, self._most), place=self._placed)
        search, rows, unit = self._search
        count = min(count, self._most)
        found = [search(queries[start : start + rows], count) for start in range(0, len(queries), rows)]
        places, squares = (np.concatenate(part) for part in zip(*found, strict=True))
        ours = torch.from_numpy(queries.astype(np.float64))
        reach = distances(ours, self._centre)[:, 0].numpy()
        squares[places < 0] = np.inf  # FAISS finds fewer where float32 overflows
        last = np.full(len(queries), np.inf) if count == len(self._ids) else squares[:, -1].astype(np.float64)
        last[(places < 0).any(1)] = 0.0  # it cannot tell, then: let the definition decide
        ids = np.where(places < 0, NOBODY, self._ids[places])
        return Candidates(squares, ids, places, last, reach, unit)

    def _placed(self, faiss: Any, index: Any) -> Any:
        clone = on_gpus(faiss, index, self.gpu, 4 * self.d * len(self._ids))
        if clone is None:
            return index
        self._most = min(self._most, MOST_NEIGHBORS)
        return clone

    def vectors(self, places: Ids) -> Floats:
        """(P, D) at places (P,)."""
        self._join()
        return self._x[places]

    def ids(self) -> Ids:
        """(N,) in the order of the places."""
        self._join()
        return self._ids

    def within(
        self, queries: Floats, exclude: Ids | None, radius: Distances, count: int, probes: Probes | None
    ) -> tuple[Distances, Ids, Ids]:
        """See `raydm.indexes.part.Part`."""
        self._join()
        return scan(queries, exclude, radius, count, pieces(self._x.__getitem__, self._ids))


def pieces(vectors: Callable[[Any], Floats], ids: Ids, places: Ids | None = None) -> Iterator[tuple[Floats, Ids, Ids]]:
    """Points, their ids and places, some at a time.

    Args:
        vectors: the points (P, D) at places (P,).
        ids: (N,) in the order of the places.
        places: (n,) of those that are meant; None: all.
    """
    total = len(ids) if places is None else len(places)
    for start in range(0, total, _PIECE):
        some = np.arange(start, min(start + _PIECE, total)) if places is None else places[start : start + _PIECE]
        yield vectors(some), ids[some], some


def scan(
    queries: Floats, exclude: Ids | None, radius: Distances, count: int, among: Iterable[tuple[Floats, Ids, Ids]]
) -> tuple[Distances, Ids, Ids]:
    """`raydm.indexes.part.Part.within`, among points that come with their ids and places, some at a time."""
    ours = torch.from_numpy(queries.astype(np.float64))
    nothing = np.full((len(queries), count), NOBODY)
    best = np.full((len(queries), count), np.inf), nothing, nothing.copy()
    for x, ids, places in among:
        order = np.argsort(ids, kind="stable")
        theirs, ids, places = torch.from_numpy(x[order].astype(np.float64)), ids[order], places[order]
        for start in range(0, len(queries), _SCANNED):
            rows = slice(start, start + _SCANNED)
            each = distances(ours[rows], theirs).numpy()
            each[each > radius[rows, None]] = np.inf
            if exclude is not None:
                each[ids == exclude[rows, None]] = np.inf
            near = _smallest(each, min(count, len(ids)))
            named = np.take_along_axis(each, near, 1), ids[near], places[near]
            ds, near_ids, near_places = (np.concatenate([b[rows], n], 1) for b, n in zip(best, named, strict=True))
            better = nearest_first(ds, near_ids, near_places, count)
            for known, found in zip(best, better, strict=True):
                known[rows] = found
    return best


def _smallest(each: Distances, count: int) -> Ids:
    """Where the `count` least of each row are, of equals the first: (Q, count); in no order, for sorts dread ties."""
    bound = np.partition(each, count - 1, axis=1)[:, count - 1 : count]
    less, equal = each < bound, each == bound
    chosen = less | (equal & (equal.cumsum(1) <= count - less.sum(1, keepdims=True)))
    return np.nonzero(chosen)[1].reshape(len(each), count)
