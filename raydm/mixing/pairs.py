"""Pairs of examples to mix, and the rows that they make. Axes: N examples, P pairs, K neighbours, D features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raydm.data.blocks import ROWS
from raydm.data.examples import Examples
from raydm.indexes import Line
from raydm.mixing.options import Options
from raydm.neighbors import nearest

Array = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pairs:
    """P mixed rows: lambda x_i + (1 - lambda) x_j, and the same of the labels (Zhang et al. 2018, equation 1).

    Attributes:
        i: (P,) rows of the examples.
        j: (P,) rows of their partners.
        lam: (P,) lambda in [0, 1], the share of i.
        kind: (P,) what chose the pair, such as "data" or "label".
    """

    i: Indices
    j: Indices
    lam: Array
    kind: npt.NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.i)

    def take(self, which: npt.NDArray[np.bool_] | Indices) -> Pairs:
        """Some of them."""
        return Pairs(self.i[which], self.j[which], self.lam[which], self.kind[which])

    def rows(self, examples: Examples) -> Examples:
        """The mixed rows, P examples; their ids count from 0."""
        share = self.lam.astype(np.float32)
        x, y = examples.x, examples.y.astype(np.float32)
        of_x, of_y = (share.reshape(-1, *[1] * (a.ndim - 1)) for a in (x, y))
        mixed_y = of_y * y[self.i] + (1 - of_y) * y[self.j]
        return Examples(of_x * x[self.i] + (1 - of_x) * x[self.j], mixed_y, np.arange(len(self)))

    def distinct(self) -> Indices:
        """Which to keep, so that no two make one row: the first of each.

        Those are pairs of the same two examples at the same shares, whichever of the two is called i.
        """
        return np.sort(self._rows()[0])

    def merged(self, of: Indices, count: int) -> tuple[Pairs, npt.NDArray[np.bool_]]:
        """Each row once, where several sets of pairs share some.

        Args:
            of: (P,) which of R sets each pair belongs to.
            count: R.

        Returns:
            The distinct pairs, U of them, in order; and which of them each set holds: (R, U).
        """
        first, which = self._rows()
        order = np.argsort(first)
        holds = np.zeros((count, len(first)), dtype=np.bool_)
        holds[of, np.argsort(order)[which]] = True
        return self.take(first[order]), holds

    def _rows(self) -> tuple[Indices, Indices]:
        """The first pair that makes each distinct row (U,), and which of these rows each pair makes (P,)."""
        low, high, swapped = ordered(self.i, self.j)
        share = np.where(swapped, 1 - self.lam, self.lam)
        order = np.lexsort((share, high, low))  # stable; several times faster than np.unique of columns
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = np.any([np.diff(side[order]) != 0 for side in (low, high, share)], axis=0)
        which = np.empty(len(order), np.int64)
        which[order] = np.cumsum(new) - 1
        return order[new], which


def ordered(i: Indices, j: Indices) -> tuple[Indices, Indices, npt.NDArray[np.bool_]]:
    """The lower and the higher of each two rows, and whether i is the higher one: each (P,)."""
    return np.minimum(i, j), np.maximum(i, j), i > j


def together(parts: list[Pairs]) -> Pairs:
    """All of them, in order."""
    return Pairs(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("i", "j", "lam", "kind")))


@dataclass(frozen=True)
class Neighborhood:
    """The nearest neighbours of every example, nearest first, itself excluded.

    Attributes:
        of: by distance: (N, K) rows.
    """

    of: Mapping[str, Indices]

    def at(self, rows: Indices, options: Indices, choice: Options) -> tuple[Indices, Indices, npt.NDArray[np.str_]]:
        """Every pair that an option makes of an example.

        Args:
            rows: (B,) examples.
            options: (B,) the option that each is given.
            choice: what options there are.

        Returns:
            (P,) which of the B a pair belongs to; (P,) the partner's row; (P,) the distance.
        """
        each = choice.each
        owner, rank = ranks(np.array([each[o][1] for o in options], np.int64))
        kind = np.array([each[o][0] for o in options])[owner] if len(rows) else np.empty(0, "U5")
        partner = np.empty(len(owner), np.int64)
        for distance, table in self.of.items():
            mine = kind == distance
            partner[mine] = table[rows[owner[mine]], rank[mine]]
        return owner, partner, kind

    def first(self, counts: Mapping[str, Indices]) -> tuple[Indices, Indices, npt.NDArray[np.str_]]:
        """Every pair of each example with its first so many neighbours, distance by distance.

        Args:
            counts: by distance: (N,) how many; no more than are known.

        Returns:
            (P,) examples; (P,) their partners; (P,) the distances.
        """
        parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, "U5"))]
        for distance, k in counts.items():
            owner, rank = ranks(k)
            if len(owner):
                parts.append((owner, self.of[distance][owner, rank], np.full(len(owner), distance)))
        i, j, kind = (np.concatenate(column) for column in zip(*parts, strict=True))
        return i, j, kind


def ranks(k: Indices) -> tuple[Indices, Indices]:
    """Of k (B,) neighbours each: which of the B each pair belongs to, and its rank from 0: (P,) and (P,)."""
    owner = np.repeat(np.arange(len(k)), k)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(k) - k, k)


def neighborhood(examples: Examples, choice: Options, engine: str = "auto") -> Neighborhood:
    """The neighbours that the options need: by features, and by labels, ties by row.

    Args:
        examples: N > the largest k.
        choice: the options.
        engine: see `raydm.neighbors.nearest`.
    """
    of: dict[str, Indices] = {}
    if k := choice.most("data"):
        of["data"] = nearest(examples.x, examples.x, k, exclude_self=True, engine=engine)[1]
    if k := choice.most("label"):
        of["label"] = _nearest_labels(examples.y.reshape(len(examples), -1).astype(np.float64), k, engine)
    return Neighborhood(of)


def _nearest_labels(y: Array, k: int, engine: str) -> Indices:
    """Of labels (N, C): (N, K). One target is sorted, which takes N log N where all distances would take N^2."""
    if y.shape[1] == 1:
        line, rows = Line(y[:, 0], np.arange(len(y))), range(0, len(y), ROWS)
        return np.concatenate([line.nearest(y[a : a + ROWS, 0], np.arange(len(y))[a : a + ROWS], k)[1] for a in rows])
    blocks = (y[start : start + ROWS] for start in range(0, len(y), ROWS))
    points = (y / label_scale(blocks)).astype(np.float32)
    return nearest(points, points, k, exclude_self=True, engine=engine)[1]


def label_scale(blocks: Iterable[npt.NDArray[Any]]) -> float | tuple[float, ...]:
    """What labels are divided by before distances are taken: 1 of one target, else each one's standard deviation.

    One target needs no unit, and without one its ties stay ties. The same blocks give the same bits, so that rows
    that are streamed have the neighbours of rows in memory.

    Args:
        blocks: the labels, (B,) or (B, C) at a time, `raydm.data.blocks.ROWS` but for the last.
    """
    n, mean, squares = 0, np.zeros(0), np.zeros(0)
    for block in blocks:
        y = block.reshape(len(block), -1).astype(np.float64)
        if y.shape[1] == 1:
            return 1.0
        own, own_squares = y.mean(0), ((y - y.mean(0)) ** 2).sum(0)
        if n:  # Chan, Golub, LeVeque 1979
            gap, both = own - mean, n + len(y)
            own = mean + gap * len(y) / both
            own_squares = squares + own_squares + gap**2 * n * len(y) / both
        n, mean, squares = n + len(y), own, own_squares
    scale = np.sqrt(squares / max(n, 1))
    return tuple(float(s) if s > 0 else 1.0 for s in scale)
