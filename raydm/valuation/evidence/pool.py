"""Pooling: predictions of several models become one probability that a label is right.

Noise-aware stacking. The pooled prediction is a product of experts whose weights are learned (stacking: Wolpert 1992)
under a model of the labels: each is right, or, with a rate that is learned too, it was drawn without regard to the
features. So labels that are wrong neither teach the weights nor make the pool doubt itself.

Axes: E sources of predictions, Q rows, C classes (1 for targets).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from raydm.data.task import Task

_FLOOR = 0.01  # of a source's probabilities: none may rule a class out alone
_LEAST_RATE = 1e-3
_LEAST_SPREAD = 1e-3  # of the targets' deviation: predictions that fit all targets exactly leave it finite
_MOST = 30.0  # log-odds: float64 keeps values apart up to there
_PRIOR_RIGHT = (1.0, 10.0)  # Beta(1, 1 + this) priors on the rates: of the training labels, of the trusted ones


@dataclass(frozen=True)
class Pool:
    """How E predictions are pooled.

    Attributes:
        task: classes or targets.
        weights: (E,) >= 0; for targets they sum to 1.
        rates: shares of wrong labels, of the training set and of the trusted set, in (0, 1).
        spread: for targets, the standard deviation of right ones about the prediction; else 1.
        marginal: for targets, mean and standard deviation of a wrong one, which is drawn from all; else (0, 1).
    """

    task: Task
    weights: tuple[float, ...]
    rates: tuple[float, float]
    spread: float = 1.0
    marginal: tuple[float, float] = (0.0, 1.0)

    def log_odds(self, predictions: Tensor, y: Tensor, *, trusted: bool = False) -> Tensor:
        """Log-odds that each label is right: (Q,) float64, in [-30, 30].

        Args:
            predictions: (E, Q, C) class probabilities, or (E, Q, 1) targets.
            y: (Q,) class indices or targets.
            trusted: by the trusted set's rate of wrong labels, not the training set's.
        """
        weights = torch.tensor(self.weights, dtype=torch.float64)
        if self.task.kind == "classification":
            right, wrong = _of_classes(_expert(predictions, weights), y)
        else:
            spread = torch.tensor(self.spread, dtype=torch.float64)
            right, wrong = _of_targets(predictions, weights, spread, y, self.marginal)
        rate = min(max(self.rates[trusted], _LEAST_RATE), 1 - _LEAST_RATE)
        return (right - wrong + math.log((1 - rate) / rate)).clamp(-_MOST, _MOST)


def fit_pool(predictions: Tensor, y: Tensor, trusted: Tensor, task: Task, *, ridge: float = 1.0) -> Pool:
    """The pool that makes the labels most likely, by L-BFGS from even weights.

    Args:
        predictions: (E, Q, C) or (E, Q, 1), each row's by models that did not see it.
        y: (Q,).
        trusted: (Q,) bool, which rows are of the trusted set.
        task: classes or targets.
        ridge: weight of the squares of the parameters that weight the sources, >= 0.
    """
    predictions, known = predictions.double(), trusted.long()
    marginal = (0.0, 1.0) if task.kind == "classification" else _marginal(y[~trusted])
    tilt = torch.zeros(len(predictions), dtype=torch.float64, requires_grad=True)
    size = torch.zeros((), dtype=torch.float64, requires_grad=True)  # log sharpness, or log spread
    odds = torch.tensor([-1.5, -4.0], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([tilt, size, odds], max_iter=200, line_search_fn="strong_wolfe")
    experts = _logs(predictions) if task.kind == "classification" else predictions
    right_prior = torch.tensor(_PRIOR_RIGHT, dtype=torch.float64)

    def loss() -> Tensor:
        weights = tilt.softmax(0)
        if task.kind == "classification":
            pooled = functional.log_softmax(((weights * size.exp())[:, None, None] * experts).sum(0), -1)
            right, wrong = _of_classes(pooled, y)
        else:
            right, wrong = _of_targets(experts, weights, (size.exp() + _LEAST_SPREAD) * marginal[1], y, marginal)
        log_right, log_wrong = functional.logsigmoid(-odds), functional.logsigmoid(odds)
        likelihood = torch.logaddexp(log_right[known] + right, log_wrong[known] + wrong).sum()
        prior = (right_prior * log_right).sum() - ridge * (tilt.square().sum() + size.square())
        return -(likelihood + prior)

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        torch.autograd.backward(value)
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        scale = size.exp()
        weights = tilt.softmax(0) * (scale if task.kind == "classification" else 1.0)
        rates = odds.sigmoid().tolist()
    spread = 1.0 if task.kind == "classification" else (float(scale) + _LEAST_SPREAD) * marginal[1]
    return Pool(task, tuple(weights.tolist()), (rates[0], rates[1]), spread, marginal)


def _logs(predictions: Tensor) -> Tensor:
    return ((1 - _FLOOR) * predictions.double() + _FLOOR / predictions.shape[-1]).log()


def _expert(predictions: Tensor, weights: Tensor) -> Tensor:
    """Log of the product of experts, normalised: (Q, C)."""
    return functional.log_softmax((weights[:, None, None] * _logs(predictions)).sum(0), -1)


def _of_classes(log_p: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of each label if it is right, p(y), and if it is another class: (1 - p(y)) / (C - 1)."""
    if log_p.shape[1] == 1:  # one class: no label can be wrong
        return log_p[:, 0], log_p[:, 0]
    own = log_p.gather(1, y.unsqueeze(1))
    others = log_p.scatter(1, y.unsqueeze(1), -torch.inf).logsumexp(1)
    return own.squeeze(1), others - math.log(log_p.shape[1] - 1)


def _of_targets(
    predictions: Tensor, weights: Tensor, spread: Tensor, y: Tensor, marginal: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Log-densities of each target if it is right, about the prediction, and if it was drawn from all of them."""
    mean = (weights[:, None] * predictions.double().squeeze(-1)).sum(0)
    return _normal(y, mean, spread), _normal(y, torch.tensor(marginal[0]), torch.tensor(marginal[1]))


def _normal(y: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    return -0.5 * ((y.double() - mean) / deviation).square() - deviation.double().log()


def _marginal(y: Tensor) -> tuple[float, float]:
    targets = y.double().numpy()
    return float(targets.mean()), float(np.std(targets)) or 1.0
