"""Lambda: which share of a mixed row comes from which of its two parents. Axes: P pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import special
from torch import Tensor

from raydm.data.examples import Examples
from raydm.mixing.pairs import Array, Indices, ordered
from raydm.mixing.plain import Plain
from raydm.seeding import hashed

_GRAIN = 2.0**24


class Shares(Protocol):
    """Gives each pair its lambda, whatever other pairs are asked for beside it."""

    def of(self, examples: Examples, i: Indices, j: Indices, seed: int, draw: Indices | None = None) -> Array:
        """Lambda in [0, 1], the share of i: (P,).

        Args:
            examples: whose rows are mixed.
            i: (P,) rows.
            j: (P,) rows of their partners.
            seed: of what is drawn.
            draw: (P,) >= 0, which draw of a pair it is, where a pair may be mixed more than once; None: the first.
        """
        ...

    def state(self) -> dict[str, Any]:
        """Its name and settings, as JSON allows."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """What it learned."""
        ...


@dataclass(frozen=True)
class FixedShares(Plain):
    """One lambda for all (MixRL: 0.5).

    Attributes:
        lam: in [0, 1].
    """

    name = "fixed"
    lam: float = 0.5

    def of(self, examples: Examples, i: Indices, j: Indices, seed: int, draw: Indices | None = None) -> Array:
        """See `Shares`."""
        return np.full(len(i), self.lam)


@dataclass(frozen=True)
class BetaShares(Plain):
    """lambda ~ Beta(alpha, alpha) (Zhang et al. 2018), by the inverse of its distribution function.

    Two examples have one lambda, whichever of them is mixed with the other: their rows (i, j) and (j, i) are the same.

    Attributes:
        alpha: > 0; towards 0 rows lie at their parents, 1 is uniform, beyond they gather in the middle.
    """

    name = "beta"
    alpha: float

    def of(self, examples: Examples, i: Indices, j: Indices, seed: int, draw: Indices | None = None) -> Array:
        """See `Shares`."""
        low, high, swapped = ordered(i, j)
        return oriented(special.betaincinv(self.alpha, self.alpha, uniform(seed, low, high, draw)), swapped)


def uniform(seed: int, low: Indices, high: Indices, draw: Indices | None) -> Array:
    """A number in (0, 1) of each two rows and draw, by these and the seed alone: (P,)."""
    return hashed(seed, "lambda", counters=[low, high, np.zeros_like(low) if draw is None else draw])


def oriented(lam: Array, swapped: npt.NDArray[np.bool_]) -> Array:
    """The share of i from that of the lower row: (P,).

    It is rounded to 24 bits, so that 1 - lambda is exact, in float32 too: rows of (i, j) and (j, i) have equal bits.
    """
    lam = np.round(lam * _GRAIN) / _GRAIN
    return np.where(swapped, 1 - lam, lam)
