"""NeighborVotes: the nearest training examples vote; their weights are votes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from raydm.data.task import Task
from raydm.errors import ParameterError, RunError
from raydm.neighbors import nearest
from raydm.predictors.protocol import Seeds, TrainingSets

Array = npt.NDArray[Any]

_FILE = "neighbors.safetensors"


class NeighborVotes:
    """K nearest neighbours, counted by weight: the nearest examples whose weights sum to k vote (the last in part).

    So an example of weight 2 is one that is there twice. In classification every class has a little of a vote from
    the start: a neighbourhood of one class leaves the others possible.

    Args:
        k: votes, >= 1.
        prior: votes that the classes share evenly before the neighbours', > 0.
    """

    differentiable = False

    def __init__(self, k: int = 20, prior: float = 0.5) -> None:
        if not (isinstance(k, (int, np.integer)) and k >= 1):
            raise ParameterError.of("k", "NeighborVotes", "an integer >= 1", k)
        if not prior > 0:
            raise ParameterError.of("prior", "NeighborVotes", "a number > 0", prior)
        self.k, self.prior = int(k), prior

    def config(self) -> dict[str, Any]:
        """Its name and arguments."""
        return {"name": "neighbors", "k": self.k, "prior": self.prior}

    def fit(self, sets: TrainingSets, *, seed: Seeds) -> FittedVotes:
        """Keeps the examples of the R sets; the seeds are not used."""
        if sets.task.kind == "classification" and sets.y.is_floating_point():
            raise ParameterError("NeighborVotes needs class indices as y. Got class probabilities.")
        x, y, w = (t.detach().cpu().numpy() for t in (sets.x, sets.y, sets.w))
        mean = y.mean(_rows(sets.task), dtype=np.float64)
        shape = (len(w), sets.task.n_outputs) if sets.task.several_targets else (len(w),)
        return FittedVotes(x, y, w, np.broadcast_to(mean, shape), sets.task, self.k, self.prior)

    def fit_predict(self, sets: TrainingSets, x: Tensor, *, seed: Seeds) -> Tensor:
        """Predicts rows x (M, D): (R, M, C)."""
        return self.fit(sets, seed=seed).predict(x)

    def load(self, folder: Path, task: Task, n_features: int) -> FittedVotes:
        """Reads what `FittedVotes.save` wrote.

        Raises:
            RunError: the file is missing or torn, or of another number of features.
        """
        file = folder / _FILE
        try:
            held = load_file(file)
            x, y, w, constant = held["x"], held["y"], held["w"], held["constant"]
        except (OSError, KeyError, SafetensorError) as error:
            raise RunError(f"{file}: cannot be read ({error}). Make the run again.") from error
        rollouts, n = w.shape
        if x.shape[-2:] != (n, n_features):
            raise RunError(f"{file}: holds {x.shape[-1]} features; the run's config names {n_features}.")
        labels = (n, task.n_outputs) if task.several_targets else (n,)
        if y.shape not in (labels, (rollouts, *labels)):
            raise RunError(f"{file}: holds labels of shape {y.shape}; the run's config names {task}. Run it again.")
        return FittedVotes(x, y, w, constant, task, self.k, self.prior)


@dataclass(frozen=True)
class FittedVotes:
    """R sets of examples.

    Attributes:
        x: (N, D) or (R, N, D).
        y: (N,) or (R, N); (N, C) or (R, N, C) of C > 1 targets.
        w: (R, N) >= 0; weight 0 is absent.
        constant: (R,) or (R, C), the targets that an empty set predicts: the mean of all N.
        task: what is predicted.
        k: votes.
        prior: votes that the classes share before the neighbours'.
    """

    x: Array
    y: Array
    w: Array
    constant: Array
    task: Task
    k: int
    prior: float

    def predict(self, x: Tensor) -> Tensor:
        """For rows x (M, D): class probabilities or targets (R, M, C); float64."""
        rows = x.detach().cpu().numpy()
        return torch.from_numpy(np.stack([self._one(r, rows) for r in range(len(self.w))]))

    def save(self, folder: Path) -> None:
        """Writes the examples that are present in any of the sets."""
        some = (self.w > 0).any(0)
        y = self.y.compress(some, axis=_rows(self.task))
        held = {"x": self.x[..., some, :], "y": y, "w": self.w[:, some], "constant": self.constant}
        save_file({name: np.ascontiguousarray(array) for name, array in held.items()}, folder / _FILE)

    def _one(self, r: int, rows: Array) -> Array:
        """Predictions of set r: (M, C)."""
        x, y = self.x if self.x.ndim == 2 else self.x[r], self.y if self.y.ndim == -_rows(self.task) else self.y[r]
        present = np.flatnonzero(self.w[r] > 0)
        if not len(present):
            constant = 1 / self.task.n_outputs if self.task.kind == "classification" else self.constant[r]
            return np.full((len(rows), self.task.n_outputs), constant)
        x, y, w = x[present], y[present], self.w[r][present].astype(np.float64)
        out = np.zeros((len(rows), self.task.n_outputs))
        unmet, count = np.arange(len(rows)), min(2 * self.k, len(x))
        while len(unmet):
            _, near = nearest(rows[unmet], x, count)
            before = np.cumsum(w[near], 1) - w[near]
            votes = np.clip(self.k - before, 0, w[near])
            met = (votes.sum(1) >= self.k * (1 - 1e-9)) | (count == len(x))
            out[unmet[met]] = self._result(votes[met], y[near[met]])
            unmet, count = unmet[~met], min(2 * count, len(x))
        return out

    def _result(self, votes: Array, y: Array) -> Array:
        """Predictions (M, C) from votes (M, K) for labels y (M, K), or (M, K, C) of several targets."""
        if self.task.kind == "regression":
            targets = [y] if y.ndim == 2 else np.moveaxis(y, -1, 0)
            sums = np.stack([(votes * target).sum(1) for target in targets], axis=1)
            return np.asarray(sums / votes.sum(1, keepdims=True))
        counts = np.stack([(votes * (y == c)).sum(1) for c in range(self.task.n_outputs)], 1)
        counts += self.prior / self.task.n_outputs
        return np.asarray(counts / counts.sum(1, keepdims=True))


def _rows(task: Task) -> int:
    """The axis of the N examples in y, from its end."""
    return -2 if task.several_targets else -1
