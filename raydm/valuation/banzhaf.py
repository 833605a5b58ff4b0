"""Data Banzhaf: what an example adds to a random half of the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from raydm.seeding import stream
from raydm.valuation.game import Estimate, Game, Values
from raydm.valuation.sampling import check_count, check_share, noise

_LEAST = 64  # subsets before the values' noise is judged


def banzhaf(game: Game, *, subsets: int = 4096, tolerance: float | None = 0.3, chunk: int = 256) -> Iterator[Estimate]:
    """Approximates Banzhaf values with the mean of v(S) over sampled S that hold i, less that over those that do not.

    The maximum sample reuse estimator (Wang, Jia 2023, section 4.1): every example is in each S with probability 1/2,
    so each training tells something of all N values. The Banzhaf value weighs all S alike, where Shapley's weighs all
    sizes alike: its ranks change least when trainings are noisy (theorem 4.3), and nothing is learned from small sets.

    Args:
        game: the N players and their utility.
        subsets: the most trainings, >= 2.
        tolerance: stop once `raydm.valuation.sampling.noise` of the values is at most this; None for never.
        chunk: trainings between two estimates, >= 1.

    Yields:
        Estimates; standard errors are those of a difference of two means. NaN where no S, or every S, held an example.

    Raises:
        ParameterError: a setting is out of its range.
        RolloutError: a training failed.
    """
    owner = "banzhaf"
    check_count(owner, "subsets", subsets, least=2)
    check_count(owner, "chunk", chunk)
    check_share(owner, "tolerance", tolerance)
    rng = stream(game.problem.seed, owner)
    sums = _Sums(len(game))
    for step, start in enumerate(range(0, subsets, chunk)):
        members = rng.random((min(chunk, subsets - start), len(game))) < 0.5
        if start == 0 and len(members) > 1:
            members[1] = ~members[0]  # as random as the first; with it, every example is in one S and out of one
        sums.add(members, game.worth(members, step=step))
        values, errors = sums.estimate()
        yield Estimate(values, errors, sums.count, sums.count / subsets)
        if tolerance is not None and sums.count >= _LEAST and noise(values, errors) <= tolerance:
            return


class _Sums:
    """Counts, sums and sums of squares of v(S), (2, N): over S without and with each example."""

    def __init__(self, n: int) -> None:
        self.count, self.moments = 0, np.zeros((3, 2, n))
        self.origin = 0.0  # sums are of v(S) less the first chunk's mean: no digits are lost where v hardly varies

    def add(self, members: np.ndarray, worth: Values) -> None:
        """Takes R more subsets (R, N) and their v (R,) in."""
        if self.count == 0:
            self.origin = float(worth.mean())
        powers = (worth - self.origin) ** np.arange(3)[:, None]  # (3, R)
        with_each = powers @ members
        self.moments += np.stack([powers.sum(1, keepdims=True) - with_each, with_each], axis=1)
        self.count += len(worth)

    def estimate(self) -> tuple[Values, Values]:
        """Values (N,) and standard errors (N,)."""
        count, total, squares = self.moments
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = total / count
            variance = np.maximum(squares - total * mean, 0) / (count - 1) / count  # of each mean
        variance[:, (count < 2).any(0)] = np.nan
        return mean[1] - mean[0], np.sqrt(variance.sum(0))
