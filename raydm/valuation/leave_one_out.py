"""Leave-one-out: what the utility of the whole training set loses without an example."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from raydm.valuation.game import Estimate, Game
from raydm.valuation.sampling import check_count


def leave_one_out(game: Game, *, chunk: int = 256) -> Iterator[Estimate]:
    """The values v(N) - v(N without i), exact in N + 1 trainings; yields after each chunk of them.

    The oldest data value (Cook 1977; Ghorbani, Zou 2019, section 1): an example that another one can stand in for is
    worth nothing by it.

    Args:
        game: the N players and their utility.
        chunk: trainings between two estimates, >= 1. It changes no value beyond rounding.

    Yields:
        Estimates without standard errors; values are NaN where still unknown.

    Raises:
        ParameterError: `chunk` is out of its range.
        RolloutError: a training failed.
    """
    check_count("leave_one_out", "chunk", chunk)
    n = len(game)
    worth = np.full(n + 1, np.nan)  # the last is v(N)
    order = np.roll(np.arange(n + 1), 1)  # v(N) first, so that the first chunk already tells values
    for step, start in enumerate(range(0, n + 1, chunk)):
        out = order[start : start + chunk]
        members = np.ones((len(out), n), dtype=np.bool_)
        left = np.flatnonzero(out < n)
        members[left, out[left]] = False
        worth[out] = game.worth(members, step=step)
        done = start + len(out)
        yield Estimate(worth[n] - worth[:n], None, done, done / (n + 1))
