"""Partners: with whom examples are mixed. Axes: N examples, P pairs, C targets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from raydm.data.examples import Examples
from raydm.mixing.options import Options
from raydm.mixing.pairs import Array, Indices, neighborhood
from raydm.mixing.plain import Plain
from raydm.seeding import stream


@dataclass(frozen=True)
class Couples:
    """P couples of rows, without a lambda as yet.

    Attributes:
        i: (P,) rows of the examples.
        j: (P,) rows of their partners, never i itself.
        kind: (P,) what chose the couple.
        draw: (P,) counts draws, where a couple that is drawn twice shall have two lambdas; None: it is one couple.
    """

    i: Indices
    j: Indices
    kind: npt.NDArray[np.str_]
    draw: Indices | None = None


class Partners(Protocol):
    """Chooses them among the examples themselves."""

    def of(self, examples: Examples, seed: int) -> Couples:
        """The couples of N examples, any number; fewer than two examples have none."""
        ...

    def state(self) -> dict[str, Any]:
        """Its name and settings, as JSON allows."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What it learned."""
        ...


@dataclass(frozen=True)
class NoPartners(Plain):
    """Nobody is mixed."""

    name = "none"

    def of(self, examples: Examples, seed: int) -> Couples:
        """See `Partners`."""
        return Couples(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, "U5"))


@dataclass(frozen=True)
class RandomPartners(Plain):
    """Each example is mixed `ratio` times with another one, any other alike (Zhang et al. 2018).

    Attributes:
        ratio: couples of each example, >= 1.
    """

    name = "random"
    ratio: int

    def of(self, examples: Examples, seed: int) -> Couples:
        """See `Partners`."""
        n = len(examples)
        if n < 2:
            return NoPartners().of(examples, seed)
        i = np.repeat(np.arange(n), self.ratio)
        j = (i + stream(seed, "partners").integers(1, n, size=len(i))) % n
        return Couples(i, j, np.full(len(i), "random"), np.arange(len(i)))


@dataclass(frozen=True)
class KernelPartners(Plain):
    """Partners of similar labels: C-Mixup (Yao et al. 2022), Algorithm 1.

    P(j | i) is proportional to exp(-d(i, j)^2 / 2), d the Euclidean distance of labels in units of the bandwidth. As in
    the released code i itself is among those it is drawn from. A row that is mixed with itself would repeat an example
    that stands beside the mixed rows anyway, and is left out: examples whose labels are lonely make fewer rows.

    Attributes:
        bandwidth: (C,) sigma of each target, in its own unit, > 0.
        ratio: draws of each example, >= 1.
        memory: bytes that the probabilities of a block of examples may take; N^2 are computed, and never all held.
    """

    name = "kernel"
    bandwidth: Sequence[float]
    ratio: int
    memory: int = 2**26

    def of(self, examples: Examples, seed: int) -> Couples:
        """See `Partners`. Equal seeds draw from the same numbers, so that two bandwidths differ by what they do."""
        n = len(examples)
        if n < 2:
            return NoPartners().of(examples, seed)
        place = examples.y.reshape(n, -1).astype(np.float64) / np.asarray(self.bandwidth)
        drawn = stream(seed, "partners").random((n, self.ratio))
        j = np.empty((n, self.ratio), np.int64)
        rows = max(1, self.memory // (24 * n))  # squares, kernel and their sums
        for start in range(0, n, rows):
            block = slice(start, start + rows)
            squares = np.zeros((len(place[block]), n))
            for target in range(place.shape[1]):
                squares += (place[block, target, None] - place[None, :, target]) ** 2
            reach = np.cumsum(np.exp(-0.5 * squares), axis=1)
            for row, (sums, u) in enumerate(zip(reach, drawn[block], strict=True), start):
                j[row] = np.searchsorted(sums, u * sums[-1], side="right")
        i, partner = np.repeat(np.arange(n), self.ratio), j.reshape(-1)
        others = i != partner
        return Couples(i[others], partner[others], np.full(int(others.sum()), "kernel"), np.flatnonzero(others))


class NearestPartners(ABC):
    """Each example is mixed with so many of its nearest neighbours."""

    @abstractmethod
    def counts(self, examples: Examples) -> dict[str, Indices]:
        """With how many by each distance, "data" or "label": (N,) each; who has fewer neighbours takes all."""

    @abstractmethod
    def most(self) -> dict[str, int]:
        """The largest numbers that `counts` may give, by each distance; at least one is > 0."""

    def of(self, examples: Examples, seed: int) -> Couples:
        """See `Partners`; nothing is drawn."""
        others = max(len(examples) - 1, 0)
        counts = {distance: np.minimum(k, others) for distance, k in self.counts(examples).items()}
        most = {distance: tuple({int(k.max(initial=0))} - {0}) for distance, k in counts.items()}
        if not any(most.values()):
            return NoPartners().of(examples, seed)
        known = neighborhood(examples, Options(most.get("data", ()), most.get("label", ())))
        return Couples(*known.first(counts))


@dataclass(frozen=True)
class SameNeighbors(Plain, NearestPartners):
    """Global kNN (Hwang, Whang 2021): one number of neighbours, by one distance, for all examples.

    Attributes:
        distance: "data" or "label".
        k: >= 1.
    """

    name = "same-neighbors"
    distance: str
    k: int

    def counts(self, examples: Examples) -> dict[str, Indices]:
        """See `NearestPartners`."""
        return {self.distance: np.full(len(examples), self.k)}

    def most(self) -> dict[str, int]:
        """See `NearestPartners`."""
        return {self.distance: self.k}


def spread(y: npt.NDArray[Any]) -> Array:
    """The standard deviation of each target, (C,), > 0; 1 where all are equal, whose distances are 0 in any unit."""
    found = y.reshape(len(y), -1).astype(np.float64).std(0)
    return np.where(found > 0, found, 1.0)
