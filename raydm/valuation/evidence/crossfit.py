"""Cross-fitting: every row is predicted by a model that was trained without it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.data.task import Task
from raydm.errors import RaydmError
from raydm.predictors import Fitted, Predictor, Seeds, TrainingSets
from raydm.utility import aligned, failed, one_thread


def marks(x: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.int64]:
    """What tells rows (Q, D) apart, (Q,) >= 0: a checksum of the features alone; row i's fold is marks[i] % K.

    Equal rows share a fold, so a row that is there twice does not predict itself; and a row of the training set goes
    to the model that did not see it, whenever and wherever it is asked for again. Another seed deals other folds.
    """
    rows = np.ascontiguousarray(x + np.float32(0))  # + 0 makes -0 and 0 one
    size = rows[:1].nbytes
    parts = rows.view(f"V{size}").ravel().tolist() if size else [b""] * len(rows)  # bytes of each row
    return np.fromiter(map(zlib.crc32, parts, repeat(seed & 0xFFFFFFFF)), np.int64, len(rows))


def sums(x: npt.NDArray[np.float32]) -> npt.NDArray[np.uint64]:
    """What also tells rows (Q, D) apart, (Q,): a multilinear hash, a tenth of the time of `marks`."""
    words = np.ascontiguousarray(x + np.float32(0)).view(np.uint32)
    factors = np.random.default_rng(0).integers(0, 2**63, words.shape[1], np.uint64) * np.uint64(2) + np.uint64(1)
    found: npt.NDArray[np.uint64] = np.einsum("qd,d->q", words.astype(np.uint64), factors)
    return found


@dataclass(frozen=True)
class CrossFitted:
    """K trained predictors, each without the rows of one fold.

    Attributes:
        models: K of them, R = 1 each; and, where there is `known`, one more that saw all rows.
        seed: deals the folds.
        n_outputs: C.
        known: `sums` of the rows that any model saw, in order; others are predicted by the last. None: all go by fold.
    """

    models: list[Fitted]
    seed: int
    n_outputs: int
    known: npt.NDArray[np.uint64] | None = None

    def predict(self, x: npt.NDArray[np.float32], mark: npt.NDArray[np.int64] | None = None) -> Tensor:
        """For rows x (Q, D), each by the model that did not see it: (Q, C) float64; `mark` is `marks` of them."""
        fold = self._folds(x, mark)
        used = np.flatnonzero(np.bincount(fold, minlength=1))
        with one_thread():
            if len(used) == 1:
                return self._said(int(used[0]), x)
            out = torch.zeros(len(x), self.n_outputs, dtype=torch.float64)
            for k in used.tolist():
                own = np.flatnonzero(fold == k)
                out[own] = self._said(k, x[own])
        return out

    def _folds(self, x: npt.NDArray[np.float32], mark: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
        """The model (Q,) that each row is predicted by."""
        if self.known is None:
            fold: npt.NDArray[np.int64] = (marks(x, self.seed) if mark is None else mark) % len(self.models)
            return fold
        last = len(self.models) - 1
        fold = np.full(len(x), last)
        seen = np.flatnonzero(_among(sums(x), self.known))
        fold[seen] = (marks(x[seen], self.seed) if mark is None else mark[seen]) % last
        return fold

    def _said(self, k: int, x: npt.NDArray[np.float32]) -> Tensor:
        return self.models[k].predict(aligned(x))[0].detach().cpu().double()

    def save(self, folder: Path) -> None:
        """Writes each model into a folder of its own."""
        for k, model in enumerate(self.models):
            (folder / str(k)).mkdir(parents=True)
            model.save(folder / str(k))


def cross_fit(
    predictor: Predictor, sets: TrainingSets, *, count: int, seed: int, seeds: Seeds, what: str, whole: bool = False
) -> CrossFitted:
    """Trains K predictors, each on the rows outside of one fold.

    Args:
        predictor: how each is trained.
        sets: one training set, R = 1.
        count: K >= 2.
        seed: deals the folds.
        seeds: (1,) of the training.
        what: what it is for, in errors.
        whole: one more is trained on all rows, for rows that were not in the set.

    Raises:
        RolloutError: a training failed.
    """
    mark = marks(sets.x.numpy(), seed)
    fold = torch.from_numpy(mark % count)
    models = []
    with one_thread():
        for k in range(count + whole):
            w = sets.w * (fold != k)
            try:
                models.append(predictor.fit(TrainingSets(sets.x, sets.y, w, sets.task), seed=seeds))
            except RaydmError:
                raise
            except Exception as error:  # whatever a predictor of the user's own may raise
                raise failed(what, error) from error
    known = np.unique(sums(sets.x.numpy()[(sets.w[0] > 0).numpy()])) if whole else None
    return CrossFitted(models, seed, sets.task.n_outputs, known)


def load_cross_fitted(
    predictor: Predictor, folder: Path, task: Task, n_features: int, *, count: int, seed: int, known: list[int] | None
) -> CrossFitted:
    """Reads what `CrossFitted.save` wrote; count is how many models there are.

    Raises:
        RunError: it is missing or torn.
    """
    models = [predictor.load(folder / str(k), task, n_features) for k in range(count)]
    return CrossFitted(models, seed, task.n_outputs, None if known is None else np.unique(np.array(known, np.uint64)))


def _among(asked: npt.NDArray[np.uint64], known: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    """As `np.isin`, for few that are known, in order, and many that are asked for."""
    if not len(known):
        return np.zeros(len(asked), np.bool_)
    inside: npt.NDArray[np.bool_] = known[np.minimum(np.searchsorted(known, asked), len(known) - 1)] == asked
    return inside
