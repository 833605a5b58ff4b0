"""The nearest points, from parts that each hold some of them; the answer does not depend on the parts.

Every part names candidates as float32 sees them. The best of all are ranked by their distances in float64, ties by id.
A point that no part named is at least as far as the parts' bounds say; where that does not prove the answer, more
candidates are asked for, and at last the definition decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from raydm.indexes.approximate import Trained, spare
from raydm.indexes.part import NOBODY, Candidates, Distances, Floats, Ids, Parts, Probes, nearest_first
from raydm.neighbors import distances

_BYTES = 2**27  # of the candidates' vectors, of as many queries as are searched at once
_MORE = 16  # times the candidates, where the first did not prove the answer
_WIDER = 4  # times the lists, where those that were looked into hold too few points
_ROWS = 256  # queries at a time whose distances are computed in float64


@dataclass(frozen=True)
class Found:
    """The neighbours of Q queries, nearest first, ties by id.

    Attributes:
        distances: (Q, K) Euclidean.
        ids: (Q, K).
        owners: (Q, K) which part holds each.
        places: (Q, K) where it holds it.
    """

    distances: Distances
    ids: Ids
    owners: Ids
    places: Ids


class Searcher:
    """Searches an index that is held in parts.

    Args:
        parts: at least one, of the same trained index.
        trained: what they share.
        of: what every question begins with, where parts hold several indexes.
    """

    def __init__(self, parts: Parts, trained: Trained, of: Sequence[Any] = ()) -> None:
        self.parts, self.trained, self.of = parts, trained, tuple(of)

    def search(self, queries: Floats, k: int, *, exclude: Ids | None = None, effort: int | None = None) -> Found:
        """The K nearest points of each query.

        Where an approximate index shows a query fewer than K points, it looks further; so there are always K.

        Args:
            queries: (Q, D) float32, finite.
            k: K, at most the number of points; one less with exclude.
            exclude: (Q,) ids, each no neighbour of its query: a query that is a point itself.
            effort: nprobe or efSearch, instead of the spec's.
        """
        count = k + (exclude is not None) + spare(self.trained.spec, k)
        rows = max(1, _BYTES // (4 * self.trained.d * count))
        blocks = [slice(start, start + rows) for start in range(0, len(queries), rows)]
        mine = [None if exclude is None else exclude[block] for block in blocks]
        return joined([self._some(queries[b], k, count, effort, m) for b, m in zip(blocks, mine, strict=True)])

    def _some(self, queries: Floats, k: int, count: int, effort: int | None, exclude: Ids | None) -> Found:
        queries = self.trained.checked(queries)
        effort = self.trained.spec.effort if effort is None else effort
        probes = self.trained.probes(queries, effort)
        found, proven = self._ranked(queries, k, count, effort, probes, exclude)
        at_once = max(1, _BYTES // (4 * self.trained.d * _MORE * count))
        for again, rows in ((self._ranked_more, at_once), (self._by_definition, len(queries))):
            unproven = np.flatnonzero(~proven)
            for start in range(0, len(unproven), rows):
                some = unproven[start : start + rows]
                part = None if probes is None else (probes[0][some], probes[1][some])
                mine = None if exclude is None else exclude[some]
                better, proven[some] = again(queries[some], k, count, effort, part, mine, found.distances[some, -1])
                _put(found, some, better)
        lacking = np.flatnonzero(np.isinf(found.distances[:, -1]))
        if len(lacking) and self.trained.spec.kind != "exact":
            mine, nlist = None if exclude is None else exclude[lacking], self.trained.spec.nlist
            if nlist is None:
                anywhere = np.full(len(lacking), np.inf)
                _put(found, lacking, self._by_definition(queries[lacking], k, count, effort, None, mine, anywhere)[0])
            elif effort is not None and effort < nlist:
                _put(found, lacking, self._some(queries[lacking], k, count, min(_WIDER * effort, nlist), mine))
        return found

    def _ranked(
        self, queries: Floats, k: int, count: int, effort: int | None, probes: Probes | None, exclude: Ids | None
    ) -> tuple[Found, np.ndarray]:
        """The nearest of the candidates, and of which queries (Q,) that is proven to be the answer."""
        named: list[Candidates] = list(self.parts.ask("candidates", (*self.of, queries, count, effort, probes)))
        squares = np.concatenate([c.squares for c in named], 1).astype(np.float64, copy=False)
        ids, places = (np.concatenate([getattr(c, name) for c in named], 1) for name in ("ids", "places"))
        owners = np.repeat(np.arange(len(named)), [c.squares.shape[1] for c in named])
        order = np.arange(squares.shape[1])[None].repeat(len(queries), 0)
        last = np.min([c.last for c in named], 0)
        if len(named) > 1:
            order = np.argsort(squares, axis=1, kind="stable")
            if order.shape[1] > count:  # what is left out here is no nearer than the last that is kept
                order = order[:, :count]
                if self.trained.spec.is_proven:
                    last = np.minimum(last, np.take_along_axis(squares, order[:, -1:], 1)[:, 0])
        ids, places = np.take_along_axis(ids, order, 1), np.take_along_axis(places, order, 1)
        owners = owners[order]
        self_or_none = places == NOBODY
        if exclude is not None:
            self_or_none |= ids == exclude[:, None]
        ds = self._distances(queries, owners, places, self_or_none)
        found = nearest_found(ds, ids, owners, places, k)
        reach, unit = np.max([c.reach for c in named], 0), max(c.unit for c in named)
        worst = found.distances[:, -1]
        with np.errstate(invalid="ignore"):
            proven = (last == np.inf) | (worst**2 < last - unit * (2 * reach + worst) ** 2)
        return found, proven

    def _ranked_more(
        self, queries: Floats, k: int, count: int, effort: int | None, probes: Probes | None, exclude: Ids | None,
        worst: Distances,
    ) -> tuple[Found, np.ndarray]:  # fmt: skip
        return self._ranked(queries, k, _MORE * count, effort, probes, exclude)

    def _by_definition(
        self, queries: Floats, k: int, count: int, effort: int | None, probes: Probes | None, exclude: Ids | None,
        worst: Distances,
    ) -> tuple[Found, np.ndarray]:  # fmt: skip
        """No farther than the worst that is known so far."""
        answers = self.parts.ask("within", (*self.of, queries, exclude, worst, k, probes))
        ds, ids, places = (np.concatenate([a[i] for a in answers], 1) for i in range(3))
        owners = np.repeat(np.arange(len(answers)), k)[None].repeat(len(queries), 0)
        return nearest_found(ds, ids, owners, places, k), np.ones(len(queries), bool)

    def _distances(self, queries: Floats, owners: Ids, places: Ids, absent: np.ndarray) -> Distances:
        """Euclidean distances (Q, C) in float64 of points (Q, C); inf where absent."""
        vectors = self.vectors(owners, places)
        ds = np.empty(places.shape)
        for start in range(0, len(queries), _ROWS):
            rows = slice(start, start + _ROWS)
            ours, theirs = (torch.from_numpy(a[rows].astype(np.float64)) for a in (queries, vectors))
            ds[rows] = distances(ours.unsqueeze(1), theirs).squeeze(1).numpy()
        ds[absent] = np.inf
        return ds

    def vectors(self, owners: Ids, places: Ids) -> Floats:
        """The points (..., D) that parts `owners` (...) hold at `places` (...); anything where there is none."""
        if len(self.parts) == 1:
            (x,) = self.parts.ask("vectors", self.of, [(np.maximum(places, 0).ravel(),)])
            return np.asarray(x).reshape(*places.shape, self.trained.d)
        x = np.zeros((*places.shape, self.trained.d), np.float32)
        there = places != NOBODY
        where = [there & (owners == part) for part in range(len(self.parts))]
        answers = self.parts.ask("vectors", self.of, [(places[mine],) for mine in where])
        for mine, answer in zip(where, answers, strict=True):
            x[mine] = answer
        return x


class LineSearcher:
    """Searches numbers that are held in parts, each a `raydm.indexes.Line`.

    Args:
        parts: at least one.
        of: what every question begins with.
    """

    def __init__(self, parts: Parts, of: Sequence[Any] = ()) -> None:
        self.parts, self.of = parts, tuple(of)

    def search(self, queries: Floats, k: int, *, exclude: Ids | None = None, effort: int | None = None) -> Found:
        """As `Searcher.search`, of queries (Q, 1); there is nothing that effort would change."""
        numbers = np.asarray(queries, dtype=np.float64).reshape(len(queries))
        answers = self.parts.ask("nearest", (*self.of, numbers, exclude, k))
        ds, ids, places = (np.concatenate([a[i] for a in answers], 1) for i in range(3))
        owners = np.repeat(np.arange(len(answers)), k)[None].repeat(len(ds), 0)
        return nearest_found(ds, ids, owners, places, k)


def nearest_found(ds: Distances, ids: Ids, owners: Ids, places: Ids, k: int) -> Found:
    """The K nearest of (Q, C) that are found, ties by id."""
    columns = np.arange(ds.shape[1])[None].repeat(len(ds), 0)
    ds, ids, columns = nearest_first(ds, ids, columns, k)
    there = columns != NOBODY
    owners, places = (np.where(there, np.take_along_axis(a, columns, 1), NOBODY) for a in (owners, places))
    return Found(ds, ids, owners, places)


def joined(found: list[Found]) -> Found:
    """Of one block of queries after another."""
    if len(found) == 1:
        return found[0]
    return Found(*(np.concatenate([getattr(f, n) for f in found]) for n in ("distances", "ids", "owners", "places")))


def _put(found: Found, rows: Ids, better: Found) -> None:
    for name in ("distances", "ids", "owners", "places"):
        getattr(found, name)[rows] = getattr(better, name)
