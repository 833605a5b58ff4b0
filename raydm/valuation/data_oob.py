"""Data-OOB: how well bagged predictors that never saw an example predict it (Kwon, Zou 2023).

"Data-OOB: Out-of-bag Estimate as a Simple and Efficient Data Value", ICML. No validation set is used. Axes: R rollouts
of a call, N examples, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from raydm.errors import ParameterError, one_of
from raydm.predictors import BlackBox, Predictor, TrainingSets
from raydm.seeding import stream
from raydm.valuation.game import Estimate, Game, Values

SCORES = {"classification": ("correctness", "probability"), "regression": ("squared-error",)}
DRAWS = ("auto", "bootstrap", "subsample")

_BYTES = 2**28
_SHARE = 1 - np.exp(-1)  # of the rows, in a bootstrap of many


def data_oob(
    game: Game, *, members: int = 256, score: str | None = None, draw: str = "auto", rollouts: int | None = None
) -> Iterator[Estimate]:
    """Values of the training rows by the members of a bag that did not see them (equation 1).

    The value of row i is the mean over the members b whose set lacks it, sum_b 1(w_bi = 0) T(y_i, f_b(x_i)) / sum_b
    1(w_bi = 0); its standard error is that of this mean over members.

    Each member's set is drawn from a stream of its own. Where the predictor draws at random too, as the trees of
    `bagged` do, let the problem give each member a seed of its own (`Problem.shared_restart=False`).

    Args:
        game: its utility trains the members, in this process or on a cluster.
        members: B, the bag's size, >= 2. Each misses 37 % of the rows.
        score: T. For classes, "correctness" (the default, the paper's): 1 where the most probable class is the label,
            else 0; or "probability": that of the label, which is finer. For targets, "squared-error": minus it.
        draw: "bootstrap": N rows with replacement, as integer weights. "subsample": 63 % of the rows, without, for
            predictors that take no weights. "auto" is the one that the predictor can do.
        rollouts: members trained in a call, >= 1. None: 64, or fewer where their predictions would take more than 256
            MiB. Members' own seeds follow from it.

    Yields:
        After each call, the values over the members so far. A row that every member saw has the mean value of the
        others, and NaN as its standard error, as a row has that only one member did not see.

    Raises:
        ParameterError: a setting out of its range, or a score of the other task.
    """
    task = game.problem.task
    score = score or SCORES[task.kind][0]
    _check(members, score, draw, rollouts, task.kind)
    if draw == "auto":
        predictor = game.problem.predictor
        weightless = isinstance(predictor, BlackBox) and not predictor.takes_weights(task)
        draw = "subsample" if weightless else "bootstrap"
    x, y = torch.from_numpy(game.train.x), torch.from_numpy(game.train.y)
    n = len(game)
    rollouts = rollouts or max(1, min(64, _BYTES // (8 * n * task.n_outputs)))
    count, mean, squares = np.zeros(n), np.zeros(n), np.zeros(n)
    for step, start in enumerate(range(0, members, rollouts)):
        several = range(start, min(start + rollouts, members))
        w = np.stack([_weights(draw, n, stream(game.problem.seed, "data-oob", b)) for b in several])
        said = game.utility.predictions(TrainingSets(x, y, torch.from_numpy(w), task), x, step=step).numpy()
        for unseen, predictions in zip(w == 0, said, strict=True):
            count += unseen  # Welford 1962, row by row
            off = np.where(unseen, _scores(predictions, game.train.y, score) - mean, 0.0)
            mean += off / np.maximum(count, 1)
            squares += off**2 * ((count - 1) / np.maximum(count, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            errors = np.where(count > 1, np.sqrt(squares / (count * (count - 1))), np.nan)
        values = np.where(count > 0, mean, mean[count > 0].mean() if count.any() else 0.0)
        yield Estimate(values, errors, several.stop, several.stop / members)


def bagged(predictor: Predictor) -> Predictor:
    """What one member of the bag is: a single tree for scikit-learn's random forests, else the predictor itself.

    A forest is a bag of trees already. Their members here draw their rows themselves, and see at each split as many
    features as the forest says (for classes the root of D, for targets all, if it says nothing).
    """
    if not isinstance(predictor, BlackBox):
        return predictor
    trees = {
        kind: _tree(template) if isinstance(template, RandomForestClassifier | RandomForestRegressor) else template
        for kind, template in predictor.templates.items()
    }
    if all(trees[kind] is template for kind, template in predictor.templates.items()):
        return predictor
    return BlackBox(trees["classification"], trees["regression"])


def _tree(
    forest: RandomForestClassifier | RandomForestRegressor,
) -> DecisionTreeClassifier | DecisionTreeRegressor:
    of = DecisionTreeClassifier if isinstance(forest, RandomForestClassifier) else DecisionTreeRegressor
    params = forest.get_params(deep=False)
    return of(**{name: params[name] for name in of().get_params() if name in params})


def _weights(draw: str, n: int, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """How often each row is in a member's set: (N,)."""
    if draw == "bootstrap":
        return np.bincount(random.integers(n, size=n), minlength=n).astype(np.float32)
    w = np.zeros(n, dtype=np.float32)
    w[random.permutation(n)[: round(_SHARE * n)]] = 1
    return w


def _scores(said: npt.NDArray[np.floating], y: npt.NDArray[Any], score: str) -> Values:
    """T of a member's predictions (N, C) and the labels (N,): (N,)."""
    scores: Values
    if score == "squared-error":
        scores = -np.square(said[:, 0].astype(np.float64) - y)
    elif score == "probability":
        scores = said[np.arange(len(y)), y].astype(np.float64)
    else:
        scores = (said.argmax(-1) == y).astype(np.float64)
    return scores


def _check(members: int, score: str, draw: str, rollouts: int | None, kind: str) -> None:
    if not isinstance(members, int) or members < 2:
        raise ParameterError.of("members", "data_oob", "an integer >= 2", members)
    if score not in SCORES[kind]:
        raise ParameterError.of("score", "data_oob", f"{one_of(SCORES[kind])} for {kind}", score)
    if draw not in DRAWS:
        raise ParameterError.of("draw", "data_oob", one_of(DRAWS), draw)
    if rollouts is not None and (not isinstance(rollouts, int) or rollouts < 1):
        raise ParameterError.of("rollouts", "data_oob", "None or an integer >= 1", rollouts)
