"""Data Shapley: what an example adds to those before it, on average over the orders in which they could come."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from raydm.seeding import stream
from raydm.valuation.game import Estimate, Game, Values
from raydm.valuation.sampling import Tally, check_count, check_share, noise

_LEAST = 4  # draws before the values' noise is judged

Orders = npt.NDArray[np.int64]


def shapley(
    game: Game,
    *,
    permutations: int = 512,
    truncation: float | None = 0.05,
    tolerance: float | None = 0.4,
    antithetic: bool = True,
    abreast: int = 32,
) -> Iterator[Estimate]:
    """Approximates Shapley values with mean marginal contributions v(S with i) - v(S), S being those before i.

    Truncated Monte Carlo (Ghorbani, Zou 2019, algorithm 1), or with `truncation=None` plain permutation sampling
    (Castro, Gomez, Tejada 2009), which is unbiased and whose values sum to v(N) - v(empty). A round of permutations
    advances side by side, a shard of prefixes of each at a time: a shard's sets are nested, so those of few examples
    cost little. What a permutation's last block evaluates after the point of truncation is thrown away, so values are
    those of the sequential algorithm.

    Args:
        game: the N players and their utility.
        permutations: the most permutations, >= 1; rounded up to pairs.
        truncation: a permutation ends, and the rest of its examples add 0, once |v(prefix) - v(N)| is below this share
            of |v(N) - v(empty)|; None for never. Every value is biased towards 0 by what is cut off: on digits (1000
            rows, a fifth of the labels wrong) .05 cuts three fifths of the trainings and a thirtieth of the values off.
        tolerance: stop once `raydm.valuation.sampling.noise` of the values is at most this; None for never.
        antithetic: draw permutations in pairs, each with its reverse (Mitchell et al. 2022, section 4.1). Exact where v
            is made of gains of single examples and of pairs; on digits it saved 6 % of the variance.
        abreast: how many permutations advance side by side, >= 1.

    Yields:
        Estimates, after each block; their values are those of the rounds that are finished, NaN before the first.
        Standard errors are over permutations, or over pairs of them.

    Raises:
        ParameterError: a setting is out of its range.
        RolloutError: a training failed.
    """
    check_count("shapley", "permutations", permutations)
    check_count("shapley", "abreast", abreast)
    check_share("shapley", "truncation", truncation)
    check_share("shapley", "tolerance", tolerance)
    n, each = len(game), 2 if antithetic else 1  # a draw is a permutation with its companion
    draws, a_round = math.ceil(permutations / each), math.ceil(abreast / each)
    ends = game.worth(np.array([[False], [True]]).repeat(n, 1), step=0)
    tally, evaluations, steps = Tally(n), 2, itertools.count(1)
    for start in range(0, draws, a_round):
        drawn = range(start, min(start + a_round, draws))
        orders = np.stack([stream(game.problem.seed, "shapley", d).permutation(n) for d in drawn])
        if antithetic:
            orders = np.stack([orders, orders[:, ::-1]], axis=1).reshape(-1, n)
        walk = _Walk(game, orders, ends, truncation)
        for trainings, within in walk.blocks(steps):
            evaluations += trainings
            yield Estimate(tally.mean, tally.standard_errors, evaluations, (start + within * len(drawn)) / draws)
        tally.add(walk.marginals().reshape(len(drawn), each, n).mean(1))
        yield Estimate(tally.mean, tally.standard_errors, evaluations, tally.count / draws)
        if tolerance is not None and tally.count >= _LEAST and noise(tally.mean, tally.standard_errors) <= tolerance:
            return


class _Walk:
    """P permutations that advance side by side.

    Args:
        game: the N players and their utility.
        orders: (P, N).
        ends: v(empty) and v(N), (2,).
        truncation: see `shapley`.
    """

    def __init__(self, game: Game, orders: Orders, ends: Values, truncation: float | None) -> None:
        self.game, self.full = game, ends[1]
        self.close = -1.0 if truncation is None else truncation * abs(ends[1] - ends[0])
        self.place = np.argsort(orders, axis=1)  # of each example in each permutation
        self.worth = np.full((len(orders), len(game) + 1), np.nan)  # v of the prefix of each length
        self.worth[:, [0, -1]] = ends

    def blocks(self, steps: Iterator[int]) -> Iterator[tuple[int, float]]:
        """Evaluates a block of prefixes after the other; yields the trainings of each, and the share that is done."""
        n, going = len(self.game), np.arange(len(self.place))
        for start in range(1, n, self.game.problem.shard):
            lengths = np.arange(start, min(start + self.game.problem.shard, n))
            members = self.place[going][:, None, :] < lengths[:, None]  # (going, block, N)
            found = self.game.worth(members.reshape(-1, n), step=next(steps)).reshape(len(going), -1)
            yield found.size, lengths[-1] / n
            self.worth[going, start : lengths[-1] + 1] = found
            near = np.abs(found - self.full) < self.close
            for p in np.flatnonzero(near.any(1)):
                first = near[p].argmax()
                self.worth[going[p], start + first :] = found[p, first]  # what comes after adds nothing
            going = going[~near.any(1)]
            if not len(going):
                return

    def marginals(self) -> Values:
        """What each example added in each permutation, (P, N), once all blocks are done."""
        return np.take_along_axis(np.diff(self.worth), self.place, axis=1)
