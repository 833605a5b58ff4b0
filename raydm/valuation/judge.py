"""The judge: does what was learned beat its own inputs, on trusted rows that it did not learn from?

Two questions. Does it tell a trusted row's label from a wrong one? And does a predictor trained with its values predict
trusted rows better? Axes: M validation rows, Q wrongly labelled copies of them, P = M or Q.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import rankdata, spearmanr
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import DataError
from raydm.manipulations import Select
from raydm.metrics import Metric
from raydm.seeding import stream
from raydm.utility import Problem
from raydm.valuation.training import fit, predict, takes_weights
from raydm.valuation.value_function import Seen, ValueFunction, sigmoid

Array = npt.NDArray[np.float64]

_COPIES = 9  # wrong labels a row: all other classes, where these are no more
_SAME = 1e-3  # values whose deviation is below this tell nothing apart
_EDGE = 0.02  # how near to 0 or 1 all values may not be
_INVERTED = -0.1  # rank correlation with the best input
_DECISIVE = 0.05  # of the hits, or of the error; learning gained up to .02 where labels alone were wrong
_SHARES = (0.25, 0.5, 0.75)  # of the rows, kept by the highest values


@dataclass(frozen=True)
class Finding:
    """A figure with its paired comparison.

    Attributes:
        learned: the figure of what was learned.
        start: of the best input.
        error: standard error of learned - start, over the validation rows.
    """

    learned: float
    start: float
    error: float

    @property
    def gain(self) -> float:
        """Learned - start."""
        return self.learned - self.start


@dataclass(frozen=True)
class Verdict:
    """What the judge found.

    Attributes:
        detection: probability that a right label has a higher value than a wrong one, on held-out trusted rows.
        utility: mean score of held-out trusted rows by predictors trained with the values, see `row_scores`.
        hits: the share of them that is predicted right (for targets the score itself), beside the better of the best
            input's and of no values.
        trainings: the mean score by each way to train a predictor, see `ways`.
    """

    detection: Finding
    utility: Finding
    hits: Finding
    trainings: Mapping[str, float]

    @property
    def learned_is_better(self) -> bool:
        """It raises utility by more than a standard error, and detects no worse or is decisive."""
        return self.utility.gain > self.utility.error and (self.detection.gain >= 0 or self.decisive)

    @property
    def decisive(self) -> bool:
        """Predictors are so much better that wrong labels are not what matters, as under a shift of the inputs.

        They hit .05 more of the rows, or their score is 5 % nearer to 0, and by more than two standard errors. Of the
        hits, since where trusted labels are wrong, a predictor is more probable that is only less certain.
        """
        scale = 1.0 if self.hits.start >= 0 else -self.hits.start
        return self.hits.gain >= max(_DECISIVE * scale, 2 * self.hits.error)

    @property
    def best_way(self) -> str:
        """The way to train a predictor that scored highest; of equal ones the first."""
        return max(self.trainings, key=self.trainings.__getitem__)


def ways(learned: Array, start: Array) -> dict[str, Array]:
    """Ways to train a predictor: the weights (N,) of the rows in each.

    By the values of the best input ("start") or by what was "learned", on the rows of their highest values ("start,
    best 25%" and so on), or by no values ("unvalued").
    """
    by = {"start": start, "learned": learned}
    found = {**by, "unvalued": np.ones_like(start)}
    for name, values in by.items():
        for share in _SHARES:
            kept = np.zeros_like(values)
            kept[np.argsort(-values, kind="stable")[: max(1, round(share * len(values)))]] = 1
            found[f"{name}, best {share:.0%}"] = kept
    return found


def wrong_copies(valid: Examples, task: Task, seed: int) -> tuple[Examples, npt.NDArray[np.int64]]:
    """Copies of the M rows with wrong labels, other classes or other rows' targets, and whose they are: (Q,)."""
    m, rng = len(valid), stream(seed, "wrong copies")
    if task.kind == "classification":
        shifts = rng.permutation(np.arange(1, task.n_outputs))[:_COPIES]
        labels = [(valid.y + shift) % task.n_outputs for shift in shifts]
    else:
        labels = [valid.y[rng.permutation(m)] for _ in range(_COPIES)]
    rows = np.tile(np.arange(m), len(labels))
    y = np.concatenate(labels).astype(valid.y.dtype) if labels else valid.y[:0]
    return Examples(valid.x[rows], y, np.arange(len(rows))), rows


def detection(right: Array, wrong: Array, rows: npt.NDArray[np.int64]) -> tuple[float, Array]:
    """Area under the ROC curve of values of right against wrong labels, and each row's part in its error.

    Args:
        right: (M,) values of the trusted rows.
        wrong: (Q,) values of their copies with wrong labels.
        rows: (Q,) whose copy each is.

    Returns:
        The area, in [0, 1] (1/2 where there is nothing to compare), and (M,) influences of mean 0: the standard error
        is their deviation over the root of M (DeLong et al. 1988, with a row and its copies as one cluster).
    """
    m, q = len(right), len(wrong)
    if m == 0 or q == 0:
        return 0.5, np.zeros(m)
    ranks = rankdata(np.concatenate([right, wrong]))
    beaten = (ranks[:m] - rankdata(right)) / q  # of each right one: the share of wrong ones below it
    beating = 1 - (ranks[m:] - rankdata(wrong)) / m  # of each wrong one: the share of right ones above it
    area = float(beaten.mean())
    of_row = np.bincount(rows, weights=beating, minlength=m) / np.maximum(np.bincount(rows, minlength=m), 1)
    return area, (beaten - area) + (of_row - area)


def best_input(
    values: Callable[[Examples], Mapping[str, Array]], problem: Problem, favourite: str
) -> tuple[str, dict[str, float]]:
    """The input that detects wrong labels best, and every input's detection.

    Args:
        values: the inputs' values of any rows, by name.
        problem: its M trusted rows judge.
        favourite: the input that stays unless another is better by more than two standard errors.
    """
    copies, rows = wrong_copies(problem.valid, problem.task, problem.seed)
    right, wrong = values(problem.valid), values(copies)
    found = {name: detection(right[name], wrong[name], rows) for name in right}
    area, influence = found[favourite]
    best, gain = favourite, 0.0
    for name, (other, other_influence) in found.items():
        if other - area > max(gain, 2 * standard_error(other_influence - influence)):
            best, gain = name, other - area
    return best, {name: a for name, (a, _) in found.items()}


def judge(function: ValueFunction, train: Examples, seen: Seen, kept: Sequence[tuple[Fold, Select]]) -> Verdict | None:
    """Compares each h_phi with the best input on the trusted rows that were held out of its learning.

    Args:
        function: the value function that h_phi belong to.
        train: N examples.
        seen: their evidence.
        kept: each h_phi with its fold.

    Returns:
        The verdict over all held-out rows; None where there are none.
    """
    task, areas, influences, scores, hits_of = kept[0][0].problem.task, [], [], [], []
    for fold, member in kept:
        if len(fold.held) == 0:
            return None

        def values(examples: Examples, member: Select = member) -> Array:
            """Of h_phi and of the best input: (2, Q)."""
            known = function.see(examples)
            return _pair(function, member, examples, known)

        copies, rows = wrong_copies(fold.held, task, fold.problem.seed)
        right, wrong = values(fold.held), values(copies)
        found = [detection(right[i], wrong[i], rows) for i in range(2)]
        areas.append([area * len(fold.held) for area, _ in found])
        influences.append(found[0][1] - found[1][1])
        names, weights = zip(*ways(*_pair(function, member, train, seen)).items(), strict=True)
        stack = np.stack(weights)
        if not takes_weights(fold.problem.predictor, task):
            stack = (stack >= 0.5).astype(np.float64)
        fitted = fit(fold.problem, train, stack, "A predictor for the judge")
        predictions = predict(fitted, fold.held.x, "A predictor for the judge")
        y = torch.from_numpy(fold.held.y)
        scores.append(row_scores(predictions, y, fold.problem.metric))
        hits_of.append(row_hits(predictions, y) if task.kind == "classification" else scores[-1])
    total = sum(len(fold.held) for fold, _ in kept)
    area = np.sum(areas, axis=0) / total
    of_rows, hits = (dict(zip(names, np.concatenate(parts, axis=1), strict=True)) for parts in (scores, hits_of))
    rival = max(("start", "unvalued"), key=lambda name: hits[name].mean())
    return Verdict(
        Finding(float(area[0]), float(area[1]), standard_error(np.concatenate(influences))),
        paired(of_rows["learned"], of_rows["start"]),
        paired(hits["learned"], hits[rival]),
        {name: float(rows.mean()) for name, rows in of_rows.items()},
    )


def paired(learned: Array, start: Array) -> Finding:
    """Means over the same rows (M,)."""
    return Finding(float(learned.mean()), float(start.mean()), standard_error(learned - start))


def _pair(function: ValueFunction, member: Select, examples: Examples, seen: Seen) -> Array:
    """Values of one h_phi and of the best input: (2, Q)."""
    learned = function.log_odds(member, examples, seen)
    return np.stack([sigmoid(learned), sigmoid(seen.log_odds[function.best])])


def standard_error(of_rows: Array) -> float:
    """Of the mean of (M,) numbers; infinite for less than two, which tell nothing."""
    return float(of_rows.std(ddof=1) / np.sqrt(len(of_rows))) if len(of_rows) > 1 else float("inf")


def row_scores(predictions: Tensor, y: Tensor, metric: Metric) -> Array:
    """Score of each row, of which the metric, or its smooth stand-in, is made: (R, M); predictions (R, M, C).

    The probability of its class (its logarithm for log-likelihood); for targets minus the absolute error (mae), its
    square (rmse, r2), or the square of its share of y (rmspe; 0 where y is).
    """
    p = predictions.detach().cpu().double()
    if metric.task == "classification":
        truth = p.gather(-1, y.expand(len(p), -1).unsqueeze(-1)).squeeze(-1)
        scores: Array = (truth.clamp_min(1e-12).log() if metric.name == "log-likelihood" else truth).numpy()
        return scores
    error = p.squeeze(-1) - y
    if metric.name == "rmspe":
        error = torch.where(y != 0, error / torch.where(y != 0, y, 1.0), 0.0)
    return np.asarray(-(error.abs() if metric.name == "mae" else error.square()).numpy())


def row_hits(predictions: Tensor, y: Tensor) -> Array:
    """1 where the most probable class is the row's, else 0: (R, M); predictions (R, M, C), y (M,)."""
    hits: Array = (predictions.detach().cpu().argmax(-1) == y).double().numpy()
    return hits


def collapse(values: Array, reference: Array) -> str | None:
    """How the values (N,) collapsed, or None.

    Args:
        values: (N,) in [0, 1].
        reference: (N,) those of the best input. Where they tell nothing apart, as of clean rows, values need not
            either, and cannot be inverted.
    """
    if values.min() > 1 - _EDGE:
        return "all values at 1"
    if values.max() < _EDGE:
        return "all values at 0"
    if reference.std() < _SAME:
        return None
    if values.std() < _SAME:
        return "no variance"
    if float(spearmanr(values, reference).statistic) < _INVERTED:
        return "inverted values"
    return None


@dataclass(frozen=True)
class Fold:
    """One part of the trusted rows, held out, and the problem of learning from the others.

    Attributes:
        problem: its validation set lacks the held-out rows.
        held: the held-out rows; empty where nothing is held out.
    """

    problem: Problem
    held: Examples


def split(problem: Problem, folds: int) -> list[Fold]:
    """The folds of D^v, alike in their labels; one that holds nothing out where folds is 0, or D^v too small.

    D^v is too small where a fold would have fewer than two rows, or the metric is not defined without a fold.
    """
    valid, whole = problem.valid, [Fold(problem, problem.valid.take(np.arange(0)))]
    if folds == 0 or len(valid) < 2 * folds:
        return whole
    order = stream(problem.seed, "folds").permutation(len(valid))
    order = order[np.argsort(valid.y[order], kind="stable")]
    held = [np.sort(order[k::folds]) for k in range(folds)]
    parts = [Fold(replace(problem, valid=valid.take(np.setdiff1d(order, rows))), valid.take(rows)) for rows in held]
    try:
        for part in parts:
            m = len(part.problem.valid)
            problem.metric(torch.zeros(1, m, problem.task.n_outputs), torch.from_numpy(part.problem.valid.y))
    except DataError:
        return whole
    return parts
