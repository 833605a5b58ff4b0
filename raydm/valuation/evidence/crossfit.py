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


@dataclass(frozen=True)
class CrossFitted:
    """K trained predictors, each without the rows of one fold.

    Attributes:
        models: K of them, R = 1 each; and, where there is `known`, one more that saw all rows.
        seed: deals the folds.
        n_outputs: C.
        known: marks of the rows that any model saw, in order; others are predicted by the last. None: all go by fold.
    """

    models: list[Fitted]
    seed: int
    n_outputs: int
    known: npt.NDArray[np.int64] | None = None

    def predict(self, x: npt.NDArray[np.float32], mark: npt.NDArray[np.int64] | None = None) -> Tensor:
        """For rows x (Q, D), each by the model that did not see it: (Q, C) float64; `mark` is `marks` of them."""
        mark = marks(x, self.seed) if mark is None else mark
        fold = mark % len(self.models)
        if self.known is not None:
            last = len(self.models) - 1
            fold = np.where(_among(mark, self.known), mark % last, last)
        out = torch.zeros(len(x), self.n_outputs, dtype=torch.float64)
        with one_thread():
            for k in np.unique(fold):
                own = np.flatnonzero(fold == k)
                rows = aligned(x if len(own) == len(x) else x[own])
                out[own] = self.models[k].predict(rows)[0].detach().cpu().double()
        return out

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
    known = np.unique(mark[(sets.w[0] > 0).numpy()]) if whole else None
    return CrossFitted(models, seed, sets.task.n_outputs, known)


def load_cross_fitted(
    predictor: Predictor, folder: Path, task: Task, n_features: int, *, count: int, seed: int, known: list[int] | None
) -> CrossFitted:
    """Reads what `CrossFitted.save` wrote; count is how many models there are.

    Raises:
        RunError: it is missing or torn.
    """
    models = [predictor.load(folder / str(k), task, n_features) for k in range(count)]
    return CrossFitted(models, seed, task.n_outputs, None if known is None else np.unique(np.array(known, np.int64)))


def _among(mark: npt.NDArray[np.int64], known: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """As `np.isin`, for few that are known, in order, and many that are asked for."""
    at = np.searchsorted(known, mark)
    inside = at < len(known)
    inside[inside] = known[at[inside]] == mark[inside]
    return inside
