"""Recall, and how far an approximate index must look for the recall that is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydm.indexes import LineSearcher, Searcher, nearest_first, spare
from raydm.neighborhood.shard import Questions

Distances = npt.NDArray[np.float64]

_ROUNDING = 1e-12  # relative: the same point, through other sums
_SURE = 2.0  # standard errors that the measured recall must lie above the target
_FLAT = 0.002  # recall that twice the effort must win
_NO_BETTER = 0.005  # recall that is not worth looking further for


def recall(found: Distances, true: Distances) -> npt.NDArray[np.float64]:
    """The share of each query's K neighbours that are among its K nearest: (T,) in [0, 1].

    A neighbour counts if it is as near as the K-th nearest: which of several at the same distance is found does not
    matter.

    Args:
        found: (T, K) distances of the neighbours that were found.
        true: (T, K) distances of the nearest, ascending.
    """
    near: npt.NDArray[np.bool_] = found <= true[:, -1:] * (1 + _ROUNDING)
    return np.asarray(near.mean(1))


@dataclass(frozen=True)
class Tuned:
    """What was measured on questions whose answers are known.

    Attributes:
        effort: the nprobe or efSearch that was chosen; None where there is none.
        recall: on other questions than it was chosen by, in [0, 1]; None where nobody asked.
    """

    effort: int | None
    recall: float | None


def tune(searcher: Searcher | LineSearcher, asked: Questions | None, *, target: float, effort: int | None) -> Tuned:
    """Chooses nprobe or efSearch by doubling it on one half of the questions, and measures recall on the other half.

    The least is chosen whose recall lies two standard errors above the target; where none does, the least that is
    nearly as good as the best.

    Args:
        searcher: over all shards.
        asked: T questions, of which the shards know the answers.
        target: recall in (0, 1].
        effort: the nprobe or efSearch that the user chose; None to choose it here.
    """
    if asked is None or isinstance(searcher, LineSearcher):
        return Tuned(None, None)
    true = _true(searcher, asked)
    half = len(asked.ids) // 2

    def measured(rows: slice, effort: int) -> npt.NDArray[np.float64]:
        found = searcher.search(asked.x[rows], asked.k, exclude=asked.ids[rows], effort=effort)
        return recall(found.distances, true[rows])

    if effort is None:
        effort = _chosen(lambda e: measured(slice(0, half or 1), e), searcher, target, asked.k)
    return Tuned(effort, float(measured(slice(half, None), effort).mean()))


def _chosen(measured: Callable[[int], npt.NDArray[np.float64]], searcher: Searcher, target: float, k: int) -> int:
    """The effort; measured gives the recall of each question (T,) with one."""
    nlist = searcher.trained.spec.nlist
    least = k + 1 + spare(searcher.trained.spec, k)  # of a graph: so many candidates are kept in any case
    effort, most = (1, nlist) if nlist is not None else (least, 64 * k)
    tried: dict[int, float] = {}
    while True:
        each = measured(effort)
        tried[effort] = float(each.mean())
        if _surely(each) >= target:
            break
        flat = len(tried) > 1 and tried[effort] - [*tried.values()][-2] < _FLAT
        if flat or effort >= most:  # codes, not lists, are what it lacks; or there is no more to look into
            return min(e for e, r in tried.items() if r >= max(tried.values()) - _NO_BETTER)
        effort = min(2 * effort, most)
    low, high = max(effort // 2, 0 if nlist is not None else least - 1), effort
    while high - low > max(1, high // 8):
        middle = (low + high) // 2
        low, high = (low, middle) if _surely(measured(middle)) >= target else (middle, high)
    return high


def _surely(each: npt.NDArray[np.float64]) -> float:
    """Two standard errors below the mean; a recall of 1 throughout is 1."""
    return float(each.mean() - _SURE * each.std() / len(each) ** 0.5)


def _true(searcher: Searcher, asked: Questions) -> Distances:
    answers = searcher.parts.ask("truth", searcher.of)
    ds, ids = (np.concatenate([a[i] for a in answers], 1) for i in range(2))
    return nearest_first(ds, ids, ids, asked.k)[0]
