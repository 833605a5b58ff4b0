"""The reference: models of all labelled rows, which say what the label of a mixed row should be.

Axes: N examples, P mixed rows, D features, C targets.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import cho_solve
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import RunError
from raydm.mixing.pairs import Array
from raydm.mixing.partners import spread
from raydm.predictors import BlackBox, Fitted, TrainingSets
from raydm.seeding import stream
from raydm.utility import aligned, training_of

_ROWS = 1000  # of the Gaussian process, whose cost is their number's third power
_WIDEST = 20  # features that have a length scale each
_BLOCK = 4096  # mixed rows that are predicted at a time


@dataclass(frozen=True)
class Reference:
    """A mean of two regressions: extra trees, and a Gaussian process with an RBF kernel.

    Attributes:
        members: trained, R = 1 each.
        shares: (2,) of the mean, >= 0, that sum to 1.
        scale: (C,) standard deviations of the targets, > 0.
        task: C targets.
        n_features: D.
    """

    members: Sequence[Fitted]
    shares: Array
    scale: Array
    task: Task
    n_features: int

    def label_errors(self, rows: Examples) -> Array:
        """|y - f(x)| of P rows in standard deviations of the targets, its mean over them: (P,)."""
        y = rows.y.reshape(len(rows), self.task.n_outputs)
        found = np.empty(len(rows))
        for start in range(0, len(rows), _BLOCK):
            block = slice(start, start + _BLOCK)
            found[block] = (np.abs(y[block] - self._predict(rows.x[block])) / self.scale).mean(1)
        return found

    def _predict(self, x: np.ndarray) -> Array:
        """(P, C) of rows x (P, D)."""
        with training_of("The reference of mixed rows"):
            told = [member.predict(aligned(x))[0].double().numpy() for member in self.members]
        return np.tensordot(self.shares, np.stack(told), axes=1)

    def state(self) -> dict[str, Any]:
        """What `load_reference` needs beside the files, as JSON allows."""
        return {
            "shares": self.shares.tolist(), "scale": self.scale.tolist(), "n_outputs": self.task.n_outputs,
            "n_features": self.n_features,
        }  # fmt: skip

    def save(self, folder: Path) -> None:
        """Writes the members into an existing folder."""
        for n, member in enumerate(self.members):
            own = folder / f"reference-{n}"
            own.mkdir(exist_ok=True)
            member.save(own)


def fit_reference(train: Examples, valid: Examples, task: Task, seed: int) -> Reference:
    """The reference of a training and a trusted set, whose rows count alike.

    The members' shares are those of the least squared error of what they say of rows that they did not see: of the
    trees, out of bag; of the process, leave-one-out in closed form (Rasmussen, Williams 2006, equation 5.12).

    Args:
        train: N examples.
        valid: M trusted examples.
        task: C targets.
        seed: of the trees, and of which 1,000 rows the Gaussian process sees where there are more.

    Raises:
        RolloutError: a training failed.
    """
    rng = stream(seed, "reference")
    x, y = np.concatenate([train.x, valid.x]), np.concatenate([train.y, valid.y])
    rows, few = Examples(x, y, np.arange(len(y))), rng.permutation(len(y))[:_ROWS]
    with training_of("The reference of mixed rows"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of a length scale at its bound: a feature without effect
        warnings.filterwarnings("ignore", "Some inputs do not have OOB scores")
        forest, process = _models(x.shape[1])
        trees = _fit(forest, rows, task, int(rng.integers(2**31)))
        gp = _fit(process, rows.take(few), task, 0)
        told = np.stack([_out_of_bag(trees)[few], _left_out(gp)])
    scale = spread(y)
    gaps = (told - y[few].reshape(len(few), -1)) / scale
    return Reference((trees, gp), _shares(gaps.reshape(2, -1)), scale, task, x.shape[1])


def load_reference(folder: Path, state: Mapping[str, Any]) -> Reference:
    """Reads what `Reference.save` and `Reference.state` gave.

    Raises:
        RunError: it is missing, torn, or does not fit together.
    """
    task, d = Task("regression", int(state["n_outputs"])), int(state["n_features"])
    members = [model.load(folder / f"reference-{n}", task, d) for n, model in enumerate(_models(d))]
    shares, scale = (np.asarray(state[name], np.float64) for name in ("shares", "scale"))
    if shares.shape != (len(members),) or scale.shape != (task.n_outputs,):
        raise RunError(f"{folder}: the reference of mixed rows does not fit its members. Run `raydm mix` again.")
    return Reference(members, shares, scale, task, d)


def _models(d: int) -> list[BlackBox]:
    wide = d > _WIDEST
    kernel = ConstantKernel() * RBF(10.0 if wide else np.ones(d)) + WhiteKernel()
    trees = ExtraTreesRegressor(
        n_estimators=200, min_samples_leaf=3, max_features=1 / 3 if wide else 1.0, bootstrap=True, oob_score=True
    )
    return [BlackBox(None, trees), BlackBox(None, GaussianProcessRegressor(kernel, normalize_y=True))]


def _fit(model: BlackBox, rows: Examples, task: Task, seed: int) -> Fitted:
    sets = TrainingSets(aligned(rows.x), aligned(rows.y), torch.ones(1, len(rows)), task)
    return model.fit(sets, seed=np.array([seed]))


def _out_of_bag(fitted: Any) -> Array:
    """What the trees that did not see a row say of it: (N, C)."""
    told: Array = fitted.estimators[0].oob_prediction_
    return told.reshape(len(told), -1)


def _left_out(fitted: Any) -> Array:
    """What the process without a row says of it: (N, C)."""
    gp = fitted.estimators[0]
    y = gp.y_train_.reshape(len(gp.y_train_), -1)
    inverse = cho_solve((gp.L_, True), np.eye(len(y)))
    told: Array = (y - (inverse @ y) / np.diag(inverse)[:, None]) * gp._y_train_std + gp._y_train_mean
    return told


def _shares(gaps: Array) -> Array:
    """Of two members whose errors are gaps (2, P): those >= 0, of sum 1, whose mean's squared error is the least."""
    first, second = gaps
    apart = float(((first - second) ** 2).sum())
    share = float(np.clip((second * (second - first)).sum() / apart, 0, 1)) if apart > 0 else 0.5
    return np.array([share, 1 - share])
