"""A part of the points, and how several are asked: in this process, or wherever they are held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Distances = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]
Probes = tuple[Ids, Floats]  # of each query: the lists to look into (Q, nprobe), and its distances from their centres

NOBODY = -1  # the place of a neighbour that there is none of


@dataclass(frozen=True)
class Candidates:
    """What a part found for Q queries, C each, as float32 sees it.

    Attributes:
        squares: (Q, C) squared distances, ascending; inf where the part found fewer than C.
        ids: (Q, C) the points' ids.
        places: (Q, C) where the part holds them; -1 where it found fewer.
        last: (Q,) squared distance, as the part sees it, that nothing which it did not return is nearer than; inf where
            it returned all that the query may see, or does not claim to.
        reach: (Q,) the queries' distances from the centre about which squares were expanded; 0 where they were not.
        unit: relative rounding of the squares.
    """

    squares: npt.NDArray[Any]
    ids: Ids
    places: Ids
    last: Distances
    reach: Distances
    unit: float


class Part(Protocol):
    """Some of the points, each with an id."""

    def candidates(self, queries: Floats, count: int, effort: int | None, probes: Probes | None) -> Candidates:
        """At most `count` near points of each query; effort and probes say what of an approximate part it may see."""
        ...

    def vectors(self, places: Ids) -> Floats:
        """The points at those places: (P, D)."""
        ...

    def within(
        self, queries: Floats, exclude: Ids | None, radius: Distances, count: int, probes: Probes | None
    ) -> tuple[Distances, Ids, Ids]:
        """By definition: the `count` nearest of the points that a query may see and that are within a radius of it.

        Args:
            queries: (Q, D).
            exclude: (Q,) an id that is no neighbour of each; or None.
            radius: (Q,) in float64; inf for any distance.
            count: C.
            probes: the lists that each query may see; None for all points.

        Returns:
            Distances (Q, C), ids and places, nearest first, ties by id; filled up with inf and -1.
        """
        ...


class Parts(Protocol):
    """All parts, wherever they are."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def ask(self, method: str, shared: Sequence[Any], own: Sequence[Sequence[Any]] | None = None) -> Sequence[Any]:
        """Calls a method of every part, in order.

        Args:
            method: its name.
            shared: its first arguments, the same for all.
            own: the arguments after these, for each part.
        """
        ...


class Here:
    """Parts in this process."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return len(self.parts)

    def ask(self, method: str, shared: Sequence[Any], own: Sequence[Sequence[Any]] | None = None) -> list[Any]:
        """Calls a method of every part, in order."""
        mine = own if own is not None else [()] * len(self.parts)
        return [getattr(part, method)(*shared, *more) for part, more in zip(self.parts, mine, strict=True)]


def nearest_first(distances: Distances, ids: Ids, places: Ids, count: int) -> tuple[Distances, Ids, Ids]:
    """The first `count` of each row by distance, ties by id: each (Q, count), filled up with inf and -1."""
    missing = count - distances.shape[1]
    if missing > 0:
        wide = ((0, 0), (0, missing))
        distances = np.pad(distances, wide, constant_values=np.inf)
        ids, places = (np.pad(array, wide, constant_values=NOBODY) for array in (ids, places))
    order = np.lexsort((ids, distances), axis=-1)[:, :count]
    ranked = np.take_along_axis(distances, order, 1)
    nobody = np.isinf(ranked)
    ids, places = (np.where(nobody, NOBODY, np.take_along_axis(array, order, 1)) for array in (ids, places))
    return ranked, ids, places
