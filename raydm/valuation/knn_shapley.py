"""KNN-Shapley: exact Shapley values of a k-nearest-neighbour predictor in closed form (Jia et al. 2019).

"Efficient Task-Specific Data Valuation for Nearest Neighbor Algorithms", PVLDB 12(11): theorem 1 for classes, theorem
6 for targets. Axes: B validation rows of a block, N training rows, which are ranked from the farthest to the nearest.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from raydm.neighbors import distances, ranking
from raydm.utility import one_thread
from raydm.valuation.game import Estimate, Game
from raydm.valuation.sampling import check_count


def knn_shapley(game: Game, *, k: int = 5, memory: int = 2**27) -> Iterator[Estimate]:
    """Shapley values of v(S) = the utility of a k-nearest-neighbour predictor that knows S, without any training.

    Neighbours are those by Euclidean distance of the encoded features as they are, ties by row. The game's own
    predictor and metric are not used:

    - classes: v(S) is the share of right votes, the number of the min(k, |S|) nearest whose label is the validation
      row's, over k, averaged over the validation rows. A value is in [-1, 1], and v of the empty set is 0.
    - targets: v(S) = -(prediction - y)^2, averaged over the validation rows; the prediction is the mean over k seats,
      and a seat that no neighbour fills predicts the training mean (the paper: 0, wherever the targets' origin is).
      Values are in squares of the targets' unit.

    The values sum to v(all) - v(none). Each validation row takes O(N (D + log N)).

    Args:
        game: its training rows are the players, its validation rows score them.
        k: neighbours, >= 1.
        memory: bytes that a block of validation rows may take, >= 1.

    Yields:
        After each block of validation rows, the mean over the rows so far, of no trainings. Standard errors take these
        rows as a sample of all that could have been trusted; they are NaN after one row.

    Raises:
        ParameterError: a setting out of its range.
    """
    check_count("knn_shapley", "k", k)
    check_count("knn_shapley", "memory", memory)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train, valid = game.train, game.problem.valid
    n, m = len(train), len(valid)
    points, queries = (torch.from_numpy(e.x).to(device, torch.float64) for e in (train, valid))
    y, truth = (torch.from_numpy(e.y).to(device) for e in (train, valid))
    if game.problem.task.kind == "regression":
        y, truth = y.double() - y.double().mean(), truth.double() - y.double().mean()
        shapley = _of_targets
    else:
        shapley = _of_classes
    block = max(1, memory // (64 * n))  # about 8 arrays (B, N) of 8 bytes
    mean, squares = np.zeros(n), np.zeros(n)
    for start in range(0, m, block):
        rows = slice(start, min(start + block, m))
        order = ranking(distances(queries[rows], points))
        with one_thread():  # the rest moves memory, and threads that meet after each step cost more than they bring
            order = order.flip(1)
            ranked = shapley(y[order], truth[rows, None], k)
            values = torch.empty_like(ranked).scatter_(1, order, ranked).cpu().numpy()
        # Chan, Golub, LeVeque 1983: mean and sum of squares of the rows before and of this block together
        new = len(values)
        shift = values.mean(axis=0) - mean
        squares += ((values - values.mean(axis=0)) ** 2).sum(axis=0) + shift**2 * (start * new / rows.stop)
        mean = mean + shift * (new / rows.stop)
        errors = np.sqrt(squares / (rows.stop * (rows.stop - 1))) if rows.stop > 1 else np.full(n, np.nan)
        yield Estimate(mean, errors, 0, rows.stop / m)


def _of_classes(y: Tensor, truth: Tensor, k: int) -> Tensor:
    """Values (B, N) of the ranked labels y (B, N) for truth (B, 1): theorem 1.

    With i the rank, 1 for the nearest: s_N = right_N / max(k, N) and s_i = s_{i+1} + (right_i - right_{i+1}) / k *
    min(k, i) / i, which are one formula if a wrong row is farther than all.
    """
    right = (y == truth).double()
    steps = right.clone()
    steps[:, 1:] -= right[:, :-1]
    return steps.mul_(_reached(_ranks(y), k) / k).cumsum_(1)


def _of_targets(y: Tensor, truth: Tensor, k: int) -> Tensor:
    """Values (B, N) of the ranked targets y (B, N) for truth (B, 1), both from the training mean: theorem 6.

    s_i - s_{i+1} is the mean over random S of v(S + i) - v(S + (i+1)), which is not 0 where fewer than k of S are
    nearer (probability min(k, i) / i), and then (y_i - y_{i+1}) / k * (2 truth - (2 A + y_i + y_{i+1}) / k) with A the
    sum of the k - 1 other seats. Row l sits in one of these with probability b_{i+1} if it is nearer than i, and b_l if
    it is farther than i + 1, where b_l = m (m + 1) / (2 (l - 1) (l - 2)) and m = min(k - 1, l - 2). As with classes, a
    row of target 0 is farther than all.
    """
    i = _ranks(y)
    after = functional.pad(y[:, :-1], (1, 0))  # y_{i+1}
    seats = (i - 1).clamp(max=k - 1)
    b = seats * (seats + 1) / (2 * i * (i - 1).clamp(min=1))  # b_{i+1}
    nearer = b * (y.sum(1, keepdim=True) - y.cumsum(1))
    farther = functional.pad((b * after).cumsum(1)[:, :-1], (1, 0))  # the rows from i + 2: those from i + 1, shifted
    gap = _reached(i, k) * (2 * truth - (y + after) / k) - 2 / k * (nearer + farther)
    return ((y - after) / k * gap).cumsum(1)


def _ranks(ranked: Tensor) -> Tensor:
    """N, ..., 2, 1."""
    return torch.arange(ranked.shape[1], 0, -1, dtype=torch.float64, device=ranked.device)


def _reached(i: Tensor, k: int) -> Tensor:
    """min(k, i) / i: how likely fewer than k of those nearer than i + 1 come before it."""
    return i.clamp(max=k) / i
