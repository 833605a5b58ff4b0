"""The predictor protocol: a stack of trainings at a time. Axes: R rollouts, N examples, M rows, C outputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from raydm.data.task import Task

Seeds = npt.NDArray[np.int64]


@dataclass(frozen=True)
class TrainingSets:
    """R training sets over N examples; a single training is R = 1.

    Attributes:
        x: (N, D) features or token ids, or (N, channels, H, W) images, shared by all sets; or with an axis R before.
            In joint schemes also anything with `leaves()`, `detached()`, `to(device)` and slices (see
            `raydm.predictors.inputs`), shared.
        y: (N,) or (R, N) int64 class indices; (N, C) or (R, N, C) class probabilities; (N,) or (R, N) float targets, or
            (N, C) or (R, N, C) of C > 1 targets.
        w: (R, N) weights >= 0. Weight 0 means absent.
        task: what y holds.
    """

    x: Tensor
    y: Tensor
    w: Tensor
    task: Task

    @property
    def rollouts(self) -> int:
        """R."""
        return len(self.w)

    @property
    def x_is_shared(self) -> bool:
        """Whether x has no axis R."""
        return not isinstance(self.x, Tensor) or self.x.ndim in (2, 4)

    @property
    def y_is_shared(self) -> bool:
        """Whether y has no axis R; class probabilities and several targets have an axis C, indices and one do not."""
        probabilities = self.task.kind == "classification" and self.y.is_floating_point()
        return self.y.ndim == (2 if probabilities or self.task.several_targets else 1)

    def __getitem__(self, rollouts: slice) -> TrainingSets:
        """The sets of some rollouts."""
        return TrainingSets(
            self.x if self.x_is_shared else self.x[rollouts],
            self.y if self.y_is_shared else self.y[rollouts],
            self.w[rollouts],
            self.task,
        )

    def compact(self) -> TrainingSets:
        """Without the examples that none of the sets holds; as it is where sets have x or y of their own.

        Also as it is in regression with an empty set, whose predictor is made of the targets of all N.
        """
        present = (self.w != 0).any(0)
        empty_counts = self.task.kind == "regression" and not (self.w != 0).any(1).all()
        if not (self.x_is_shared and self.y_is_shared) or empty_counts or present.all() or not present.any():
            return self
        return TrainingSets(self.x[present], self.y[present], self.w[:, present], self.task)


class Fitted(Protocol):
    """R trained predictors."""

    def predict(self, x: Tensor) -> Tensor:
        """For rows x (M, D): class probabilities or targets (R, M, C)."""
        ...

    def save(self, folder: Path) -> None:
        """Writes what `Predictor.load` reads, without pickle, into an existing folder."""
        ...


class Predictor(Protocol):
    """f_theta: how it is trained, without any training data; fitting leaves it as it was.

    Attributes:
        differentiable: whether predictions can be differentiated in x, y and w of the training sets.
        full_batch: (may be left out: False) whether every step sees the whole set; examples that no set of a shard
            holds are then taken out first, which changes nothing but the time and the rounding.
    """

    differentiable: bool

    def fit(self, sets: TrainingSets, *, seed: Seeds) -> Fitted:
        """Trains one predictor on each set; seed (R,) decides initial weights and batch order."""
        ...

    def fit_predict(self, sets: TrainingSets, x: Tensor, *, seed: Seeds) -> Tensor:
        """Trains and predicts rows x (M, D): (R, M, C)."""
        ...

    def load(self, folder: Path, task: Task, n_features: int) -> Fitted:
        """Reads what `Fitted.save` wrote into a folder, for a task and D features.

        Raises:
            RunError: it is missing or torn, or of another kind.
        """
        ...

    def config(self) -> dict[str, Any]:
        """What rebuilds it through `raydm.predictors.make_predictor`, as JSON allows."""
        ...
