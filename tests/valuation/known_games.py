"""Games whose values are known on paper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydm.testing import SetGame

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Known:
    """A game, and its values (N,) worked out by hand."""

    world: SetGame
    shapley: Values
    banzhaf: Values
    leave_one_out: Values


def additive() -> Known:
    """Everyone brings their own; the second, a null player, nothing."""
    gains = np.array([1.0, 0.0, -2.0, 0.5])
    return Known(SetGame(4, lambda m: 3 + m @ gains), gains, gains, gains)


def majority() -> Known:
    """Three of five win: pivotal in 1 of 5 orders, and where 2 of the 4 others are in: 6 of 16 sets."""
    world = SetGame(5, lambda m: m.sum(1) >= 3)
    return Known(world, np.full(5, 1 / 5), np.full(5, 6 / 16), np.zeros(5))


def gloves() -> Known:
    """One left glove and two right ones; a pair is worth 1 (Shapley, Shubik 1969)."""
    world = SetGame(3, lambda m: m[:, 0] & (m[:, 1] | m[:, 2]))
    return Known(world, np.array([4, 1, 1]) / 6, np.array([3, 1, 1]) / 4, np.array([1.0, 0, 0]))


def airport() -> Known:
    """A runway as its largest plane needs it (Littlechild, Owen 1973): each part is shared by those who need it."""
    costs = np.array([1.0, 3.0, 4.0, 8.0])
    world = SetGame(4, lambda m: (m * costs).max(1))
    parts = np.diff(costs, prepend=0.0)
    needed_by = np.array([4, 3, 2, 1])
    return Known(
        world,
        np.cumsum(parts / needed_by),
        np.cumsum(parts / 2.0 ** (needed_by - 1)),  # the part is new if none of the others who need it is in
        np.array([0.0, 0, 0, 4]),
    )


def quadratic() -> Known:
    """Gains g, and b_ij where both are in: a pair's worth is shared equally; leaving loses all of it."""
    gains = np.array([0.2, -0.1, 0.0, 0.3, 0.1, 0.4])
    half = np.triu(np.random.default_rng(4).normal(size=(6, 6)), 1)
    pairs = half + half.T
    world = SetGame(6, lambda m: m @ gains + 0.5 * ((m @ pairs) * m).sum(1))
    value = gains + 0.5 * pairs.sum(1)
    return Known(world, value, value, gains + pairs.sum(1))


def any_game(players: int = 8, seed: int = 0) -> SetGame:
    """v(S) drawn for each S by itself, larger for larger S."""
    sizes = (np.arange(2**players)[:, None] >> np.arange(players) & 1).sum(1)
    v = np.sqrt(sizes) + 0.3 * np.random.default_rng(seed).normal(size=2**players)
    return SetGame(players, lambda m: v[m @ 2 ** np.arange(players)])


KNOWN = {"additive": additive, "majority": majority, "gloves": gloves, "airport": airport, "quadratic": quadratic}
