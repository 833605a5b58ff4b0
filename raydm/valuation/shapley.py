"""Data Shapley: what an example adds to those before it, on average over the orders in which they could come."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from raydm.errors import ParameterError, one_of
from raydm.seeding import stream
from raydm.valuation.game import Estimate, Game, Values
from raydm.valuation.sampling import Tally, check_count, check_share, noise

SAMPLINGS = ("independent", "antithetic", "rotated")
_LEAST = 4  # groups of permutations before the values' noise is judged

Orders = npt.NDArray[np.int64]


def shapley(
    game: Game,
    *,
    permutations: int = 512,
    truncation: float | None = 0.01,
    patience: int = 1,
    tolerance: float | None = 0.3,
    sampling: str = "rotated",
    abreast: int = 32,
) -> Iterator[Estimate]:
    """Approximates Shapley values with mean marginal contributions v(S with i) - v(S), S being those before i.

    Truncated Monte Carlo (Ghorbani, Zou 2019, algorithm 1), or with `truncation=None` plain permutation sampling
    (Castro, Gomez, Tejada 2009), which is unbiased. A round of permutations advances side by side, a shard of prefixes
    of each at a time: a shard's sets are nested, so those of few examples cost little. What a permutation's
    last block evaluates after the point of truncation is thrown away: values are those of the sequential algorithm.

    Args:
        game: the N players and their utility.
        permutations: the most permutations, >= 1; rounded up to whole groups.
        truncation: a permutation ends, and the rest of its examples add 0, once |v(prefix) - v(N)| is below this share
            of |v(N) - v(empty)|; None for never. Every value is biased towards 0 by what is cut off.
        patience: how many prefixes in a row must be that close, >= 1. Algorithm 1 has 1; the authors' released code
            ends after more than 5. Where v is accuracy on few validation examples, some prefix is close by chance.
        tolerance: stop once `raydm.valuation.sampling.noise` of the values is at most this; None for never.
        sampling: "independent" permutations; "antithetic" ones, each with its reverse (Mitchell et al. 2022, section
            4.1); or "rotated": groups of `abreast` permutations, each the first one turned by N / abreast places more.
            In a group every example then stands once in each 1 / abreast of the places: strata by position, as in
            Castro et al. 2017. All three are unbiased.
        abreast: how many permutations advance side by side, >= 1; fewer than N where there are fewer examples.

    Yields:
        Estimates, after each block; their values are those of the rounds that are finished, NaN before the first.
        Standard errors are over groups of permutations, which are independent.

    Raises:
        ParameterError: a setting is out of its range.
        RolloutError: a training failed.
    """
    _check(permutations, truncation, patience, tolerance, sampling, abreast)
    group = {"independent": 1, "antithetic": 2, "rotated": min(abreast, len(game))}[sampling]
    groups, a_round = math.ceil(permutations / group), math.ceil(abreast / group)
    ends = game.worth(np.array([[False], [True]]).repeat(len(game), 1), step=0)
    tally, evaluations, steps = Tally(len(game)), 2, itertools.count(1)
    for start in range(0, groups, a_round):
        drawn = range(start, min(start + a_round, groups))
        orders = [
            _group(stream(game.problem.seed, "shapley", g).permutation(len(game)), group, sampling) for g in drawn
        ]
        walk = _Walk(game, np.concatenate(orders), ends, truncation, patience)
        for trainings, within in walk.blocks(steps):
            evaluations += trainings
            yield Estimate(tally.mean, tally.standard_errors, evaluations, (start + within * len(drawn)) / groups)
        tally.add(walk.marginals().reshape(len(drawn), group, len(game)).mean(1))
        yield Estimate(tally.mean, tally.standard_errors, evaluations, tally.count / groups)
        if tolerance is not None and tally.count >= _LEAST and noise(tally.mean, tally.standard_errors) <= tolerance:
            return


def _group(order: Orders, size: int, sampling: str) -> Orders:
    """A permutation (N,) with its companions, (G, N)."""
    if sampling == "antithetic":
        return np.stack([order, order[::-1]])
    return np.stack([np.roll(order, -(g * len(order) // size)) for g in range(size)])


class _Walk:
    """P permutations that advance side by side.

    Args:
        game: the N players and their utility.
        orders: (P, N).
        ends: v(empty) and v(N), (2,).
        truncation: see `shapley`.
        patience: see `shapley`.
    """

    def __init__(self, game: Game, orders: Orders, ends: Values, truncation: float | None, patience: int) -> None:
        self.game, self.patience, self.full = game, patience, ends[1]
        self.close = -1.0 if truncation is None else truncation * abs(ends[1] - ends[0])
        self.place = np.argsort(orders, axis=1)  # of each example in each permutation
        self.worth = np.full((len(orders), len(game) + 1), np.nan)  # v of the prefix of each length
        self.worth[:, [0, -1]] = ends

    def blocks(self, steps: Iterator[int]) -> Iterator[tuple[int, float]]:
        """Evaluates a block of prefixes after the other; yields the trainings of each, and the share that is done."""
        count, n = self.place.shape
        going, streak, block = np.arange(count), np.zeros(count, dtype=np.int64), self.game.problem.shard
        for start in range(1, n, block):
            lengths = np.arange(start, min(start + block, n))
            members = self.place[going][:, None, :] < lengths[:, None]  # (going, block, N)
            found = self.game.worth(members.reshape(-1, n), step=next(steps)).reshape(len(going), -1)
            yield found.size, lengths[-1] / n
            self.worth[going, start : lengths[-1] + 1] = found
            ended = np.zeros(len(going), dtype=np.bool_)
            for at, length in enumerate(lengths):
                streak = np.where(np.abs(found[:, at] - self.full) < self.close, streak + 1, 0)
                now = (streak >= self.patience) & ~ended
                self.worth[going[now], length:] = found[now, at, None]  # what is cut off adds nothing
                ended |= now
            going, streak = going[~ended], streak[~ended]
            if not len(going):
                return

    def marginals(self) -> Values:
        """What each example added in each permutation, (P, N), once all blocks are done."""
        return np.take_along_axis(np.diff(self.worth), self.place, axis=1)


def _check(
    permutations: object, truncation: float | None, patience: object, tolerance: float | None, sampling: str,
    abreast: object,
) -> None:  # fmt: skip
    for name, value in (("permutations", permutations), ("patience", patience), ("abreast", abreast)):
        check_count("shapley", name, value)
    check_share("shapley", "truncation", truncation)
    check_share("shapley", "tolerance", tolerance)
    if sampling not in SAMPLINGS:
        raise ParameterError.of("sampling", "shapley", one_of(SAMPLINGS), sampling)
