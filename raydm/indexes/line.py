"""Points with one feature, such as a label: sorted, and so exact and fast."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from raydm.indexes.part import NOBODY, Distances, Ids, nearest_first

Values = npt.NDArray[np.float64]


class Line:
    """N numbers with ids, sorted from below and from above, ties by id.

    Args:
        values: (N,) finite.
        ids: (N,).
    """

    def __init__(self, values: Values, ids: Ids) -> None:
        self.values, self._ids = values, ids
        self._up = np.lexsort((ids, values))
        self._down = np.lexsort((ids, -values))
        self._sorted = values[self._up], -values[self._down]

    def __len__(self) -> int:
        return len(self.values)

    def nearest(self, queries: Values, exclude: Ids | None, k: int) -> tuple[Distances, Ids, Ids]:
        """The K nearest numbers of each query, by |difference| in float64, ties by id.

        Args:
            queries: (Q,).
            exclude: (Q,) an id that is no neighbour of each, or None.
            k: K.

        Returns:
            Distances (Q, K), ids and places; filled up with inf and -1.
        """
        count = k + (exclude is not None)
        sides = []
        unclear = np.zeros(len(queries), bool)
        for order, ascending, at, side in (
            (self._up, self._sorted[0], queries, "right"),
            (self._down, self._sorted[1], -queries, "left"),
        ):
            begin = np.searchsorted(ascending, at, side=side)  # type: ignore[call-overload]
            ranks = begin[:, None] + np.arange(count)
            there = ranks < len(order)
            places = np.where(there, order[np.minimum(ranks, len(order) - 1)], NOBODY)
            ds = np.where(there, np.abs(self.values[places] - queries[:, None]), np.inf)
            # The next number that differs may round to the same distance, and have a lower id
            beyond = np.searchsorted(ascending, ascending[np.minimum(ranks[:, -1], len(order) - 1)], side="right")
            beyond_ds = np.abs(ascending[np.minimum(beyond, len(order) - 1)] - at)
            unclear |= there[:, -1] & (beyond < len(order)) & (beyond_ds <= ds[:, -1])
            sides.append((ds, places))
        ds, places = (np.concatenate(both, 1) for both in zip(*sides, strict=True))
        ids = np.where(places < 0, NOBODY, self._ids[places])
        if exclude is not None:
            ds[ids == exclude[:, None]] = np.inf
        ds, ids, places = nearest_first(ds, ids, places, k)
        for q in np.flatnonzero(unclear):
            every = np.abs(self.values - queries[q])
            if exclude is not None:
                every[self._ids == exclude[q]] = np.inf
            all_ids, all_places = self._ids[None], np.arange(len(self))[None]
            ds[[q]], ids[[q]], places[[q]] = nearest_first(every[None], all_ids, all_places, k)
        return ds, ids, places
