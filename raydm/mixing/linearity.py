"""Limited linearity: how wrong interpolated labels are, by the distance between the two rows (Hwang, Whang 2021).

Axes: N examples, P pairs, D features, C targets; A bins by data distance, B by label distance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.distance import pdist

from raydm.data.examples import Examples
from raydm.errors import ParameterError, RolloutError
from raydm.mixing.pairs import Array, Indices, Pairs
from raydm.mixing.partners import spread
from raydm.predictors import TrainingSets
from raydm.seeding import stream
from raydm.utility import Problem, aligned, training_of

# Of rows x (P, D) that are mixed of rows i (P,) and j (P,): what their labels should be, (P, C)
Oracle = Callable[[npt.NDArray[np.float32], Indices, Indices], Array]

SHARES = (0.0, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0)  # of all pairs, nearest first: the bins of a distance

_FOLDS = 5
_ROWS = 1000  # among which all pairs are known
_PER_CELL = 60  # pairs that are judged of each two bins
_DRAWS = 100  # of the bootstrap
_BLOCK = 1024  # mixed rows that are predicted at a time


@dataclass(frozen=True)
class Curve:
    """Label error by one distance, nearest bin first.

    Attributes:
        edges: (A + 1,) distances between which the bins lie; those of equal distances count once.
        distance: (A,) mean distance of the pairs in a bin.
        error: (A,) mean label error, in standard deviations of the labels.
        standard_error: (A,) of that mean, over the draw of the rows; see `bootstrapped`.
        pairs: (A,) how many were judged.
    """

    edges: Array
    distance: Array
    error: Array
    standard_error: Array
    pairs: Indices


@dataclass(frozen=True)
class Linearity:
    """Label error of rows mixed at lambda = 1/2.

    Attributes:
        data: by the Euclidean distance of features, as encoded.
        label: by the Euclidean distance of labels, each in its standard deviation.
        table: (A, B) mean error by both, NaN where no pair is.
        table_standard_error: (A, B) likewise.
        table_pairs: (A, B) how many were judged.
    """

    data: Curve
    label: Curve
    table: Array
    table_standard_error: Array
    table_pairs: Indices


def limited_linearity(
    train: Examples, reference: Oracle, seed: int, *, rows: int = _ROWS, per_cell: int = _PER_CELL
) -> Linearity:
    """How label error grows with the distance between the rows that are mixed.

    All pairs of at most `rows` examples are sorted into quantile bins (`SHARES`: narrow ones among near pairs) by each
    distance. Of every two bins some pairs are drawn, and each counts for the pairs it was drawn from, so that means
    are those of all pairs.

    Args:
        train: N >= 2 examples, a regression.
        reference: says what labels should be; see `cross_fitted`. Where the truth f is known: `lambda x, i, j: f(x)`.
        seed: of what is drawn.
        rows: examples among which pairs are drawn, >= 2.
        per_cell: pairs of each two bins, >= 1.

    Raises:
        ParameterError: N < 2.
        RolloutError: the reference says NaN or infinity.
    """
    if len(train) < 2:
        raise ParameterError("Label error is of pairs, and the training set has fewer than two examples. Add rows.")
    rng = stream(seed, "linearity", "pairs")
    some = np.sort(rng.choice(len(train), min(rows, len(train)), replace=False))
    left, right = (some[side] for side in np.triu_indices(len(some), 1))  # in the order of pdist
    scaled = train.y.reshape(len(train), -1) / spread(train.y)
    found = [pdist(side[some].reshape(len(some), -1).astype(np.float64)) for side in (train.x, scaled)]
    (a_edges, a), (b_edges, b) = map(_binned, found)
    shape = len(a_edges) - 1, len(b_edges) - 1
    cells = shape[0] * shape[1]
    chosen, weight = _drawn(a * shape[1] + b, per_cell, rng)
    i, j, a, b = left[chosen], right[chosen], a[chosen], b[chosen]
    both = a * shape[1] + b
    error = label_error(train, at_half(i, j), reference)
    by_data, by_label, by_both = bootstrapped(error, weight, i, j, [a, b, both], [*shape, cells], seed)
    table, table_error = (values.reshape(shape) for values in by_both)
    return Linearity(
        Curve(a_edges, _means(found[0][chosen], weight, a, shape[0]), *by_data, np.bincount(a, minlength=shape[0])),
        Curve(b_edges, _means(found[1][chosen], weight, b, shape[1]), *by_label, np.bincount(b, minlength=shape[1])),
        table, table_error, np.bincount(both, minlength=cells).reshape(shape),
    )  # fmt: skip


def distances(train: Examples, pairs: Pairs) -> tuple[Array, Array]:
    """How far both rows of each pair are apart: by features, and by labels in standard deviations; (P,) and (P,)."""
    y = train.y.reshape(len(train), -1) / spread(train.y)
    x = train.x.reshape(len(train), -1)
    by = [np.linalg.norm(side[pairs.i].astype(np.float64) - side[pairs.j], axis=1) for side in (x, y)]
    return by[0], by[1]


def at_half(i: Indices, j: Indices) -> Pairs:
    """Pairs (P,) at lambda = 1/2."""
    return Pairs(i, j, np.full(len(i), 0.5), np.full(len(i), "any"))


def label_error(train: Examples, pairs: Pairs, reference: Oracle) -> Array:
    """|lambda y_i + (1 - lambda) y_j - f(x~)| of each mixed row, the mean over targets: (P,).

    Args:
        train: N examples.
        pairs: P of them; i = j is the error at a real row.
        reference: f.

    Returns:
        In standard deviations, each target in its own.

    Raises:
        RolloutError: f says NaN or infinity.
    """
    rows = pairs.rows(train)
    said = reference(rows.x, pairs.i, pairs.j)
    if not np.isfinite(said).all():
        raise RolloutError("The reference of label errors says NaN or infinity: its training diverged.")
    gap = rows.y.reshape(len(rows), -1).astype(np.float64) - said.reshape(len(rows), -1)
    return np.asarray(np.abs(gap / spread(train.y)).mean(1), np.float64)


def bootstrapped(
    values: Array, weight: Array, i: Indices, j: Indices, bins: list[Indices], counts: list[int], seed: int
) -> list[tuple[Array, Array]]:
    """Weighted means in bins, and their standard errors where pairs share rows.

    Pairs of one row are not independent, so rows are drawn, not pairs: each has a weight from Exp(1), and a pair the
    product of its two (the product reweighted bootstrap: Owen, Eckles 2012).

    Args:
        values: (P,) of pairs.
        weight: (P,) > 0.
        i: (P,) rows.
        j: (P,) rows.
        bins: several ways to bin the pairs: (P,) each, in [0, its count).
        counts: how many bins each has.
        seed: of the draws.

    Returns:
        For each way of binning: means, and standard errors, (count,) both; NaN without pairs, and of a single one.
    """
    rows, of_pair = np.unique(np.concatenate([i, j]), return_inverse=True)
    drawn = stream(seed, "linearity", "bootstrap").exponential(size=(_DRAWS, len(rows)))
    w = weight * drawn[:, of_pair[: len(i)]] * drawn[:, of_pair[len(i) :]]
    found = []
    for of, count in zip(bins, counts, strict=True):
        inside = np.eye(count)[of]
        with np.errstate(invalid="ignore"):
            again = (w * values) @ inside / (w @ inside)
        deviation = np.where(np.bincount(of, minlength=count) > 1, again.std(0), np.nan)
        found.append((_means(values, weight, of, count), deviation))
    return found


def cross_fitted(problem: Problem, train: Examples, also: Examples | None = None) -> Oracle:
    """The problem's predictor as a reference that never judges a row by its own label.

    The training rows are dealt into 5 folds, equal rows into one, and a model is trained without each two of them: 10
    trainings as one stack. A mixed row is judged by the model that saw neither of its parents. The trusted rows are
    trained on too, unless the predictor watches them to stop early.

    A reference that underfits stays near the mean label, where rows of distant labels are mixed to: error then falls
    with label distance. So compare its error at real rows with that of their mean.

    Args:
        problem: predictor, validation set and seed.
        train: N examples, at least 5 of them different.
        also: more rows of the same kind to train on.

    Raises:
        ParameterError: fewer than 5 different examples.
        RolloutError: a training failed.
    """
    which = np.unique(train.x.reshape(len(train), -1), axis=0, return_inverse=True)[1].reshape(-1)
    different = int(which.max(initial=-1)) + 1
    if different < _FOLDS:
        raise ParameterError(f"A reference is trained in {_FOLDS} folds, and {different} examples differ. Add rows.")
    fold = stream(problem.seed, "linearity", "folds").permutation(different)[which] % _FOLDS
    without = list(combinations(range(_FOLDS), 2))
    watched = getattr(problem.predictor, "watched", None) is problem.valid
    others = [rows for rows in (None if watched else problem.valid, also) if rows is not None]
    w = np.stack([~np.isin(fold, folds) for folds in without])
    w = np.concatenate([w, *(np.ones((len(w), len(rows)), np.bool_) for rows in others)], axis=1)
    x, y = (np.concatenate([getattr(rows, name) for rows in (train, *others)]) for name in ("x", "y"))
    sets = TrainingSets(aligned(x), aligned(y), torch.from_numpy(w.astype(np.float32)), problem.task)
    with training_of("The reference of label errors"):
        fitted = problem.predictor.fit(sets, seed=problem.seeds(0, len(without)))
    model = np.zeros((_FOLDS, _FOLDS), np.int64)
    for m, (a, b) in enumerate(without):
        model[a, b] = model[b, a] = m
    model[range(_FOLDS), range(_FOLDS)] = [model[a, (a + 1) % _FOLDS] for a in range(_FOLDS)]

    def said(x: npt.NDArray[np.float32], i: Indices, j: Indices) -> Array:
        parts: list[npt.NDArray[Any]] = [np.empty((0, problem.task.n_outputs))]
        for start in range(0, len(x), _BLOCK):
            of = slice(start, start + _BLOCK)
            with training_of("The reference of label errors"):
                predictions = fitted.predict(aligned(x[of])).detach().cpu().numpy()
            parts.append(predictions[model[fold[i[of]], fold[j[of]]], np.arange(predictions.shape[1])])
        return np.concatenate(parts)

    return said


def _binned(distance: Array) -> tuple[Array, Indices]:
    """Quantile edges (A + 1,), and the bin of each pair; equal distances share one."""
    edges = np.unique(np.quantile(distance, SHARES))
    if len(edges) == 1:
        edges = np.repeat(edges, 2)
    return edges, np.searchsorted(edges[1:-1], distance, side="right")


def _drawn(cell: Indices, most: int, rng: np.random.Generator) -> tuple[Indices, Array]:
    """At most so many pairs of each cell, and how many each of them stands for."""
    order = rng.permutation(len(cell))
    order = order[np.argsort(cell[order], kind="stable")]
    count = np.bincount(cell)
    rank = np.arange(len(cell)) - np.repeat(np.cumsum(count) - count, count)
    chosen = order[rank < most]
    return chosen, count[cell[chosen]] / np.minimum(count, most)[cell[chosen]]


def _means(values: Array, weight: Array, bins: Indices, count: int) -> Array:
    with np.errstate(invalid="ignore"):
        found: Array = np.bincount(bins, weight * values, count) / np.bincount(bins, weight, count)
    return found
