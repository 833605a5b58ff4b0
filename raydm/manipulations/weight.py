"""Weight (Hu et al. 2019): an example counts as much as it helps; R_phi is finite on the points, with value phi_i."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from raydm.checks import check_choice, check_positive
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.networks import WeightEstimator
from raydm.policies import Deterministic, Policy
from raydm.predictors import TrainingSets

NORMALISATIONS = ("linear", "softmax")


class FreeWeights(nn.Module):
    """phi_i for each of the N training examples; gradients are sparse, so that an optimizer sees the rows of a batch.

    Args:
        n: N.
        start: phi_i before learning (Hu et al.'s release: 0).
        dtype: of phi.
    """

    def __init__(self, n: int, start: float = 0.0, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.phi = nn.Parameter(torch.full((n, 1), start, dtype=dtype))

    def forward(self, batch: Batch) -> Tensor:
        """phi of the batch's examples, (B,)."""
        rows = torch.from_numpy(batch.rows).to(self.phi.device)
        return functional.embedding(rows, self.phi, sparse=True).squeeze(-1)


class NetworkWeights(nn.Module):
    """phi_i >= 0 from a network that sees the example's label, its current loss, and perhaps its features.

    Meta-Weight-Net (Shu et al. 2019) sees the loss alone. Examples that were never seen have weights too.

    Args:
        estimator: the network.
        task: what the labels are.
        losses: gives the predictor's current losses (B,) of a batch (`raydm.joint.Joint.losses`).
        y_scale: location and scale of regression targets (not used for classes).
        features: whether the network sees x, (N, D) features.
    """

    def __init__(
        self,
        estimator: WeightEstimator,
        task: Task,
        losses: Callable[[Batch], Tensor],
        *,
        y_scale: tuple[Tensor, Tensor] | None = None,
        features: bool = False,
    ) -> None:
        super().__init__()
        self.estimator, self.task, self.losses, self.features = estimator, task, losses, features
        self.y_scale = (torch.zeros(()), torch.ones(())) if y_scale is None else y_scale

    def forward(self, batch: Batch) -> Tensor:
        """phi of the batch's examples, (B,), in (0, 1)."""
        if self.task.kind == "classification":
            y = batch.y if batch.y.is_floating_point() else functional.one_hot(batch.y, self.task.n_outputs)
        else:
            y = (batch.y.reshape(len(batch.y), -1) - self.y_scale[0]) / self.y_scale[1]
        seen = [y.float(), self.losses(batch).detach().float().log1p().unsqueeze(-1)]
        if self.features:
            seen.append(batch.x.float())
        out: Tensor = self.estimator(torch.cat(seen, dim=-1))
        return out


class Weight:
    """Learning data weights (Hu et al. 2019, section 4.1), and with the same parts Ren et al. (2018).

    An action is phi of the batch's examples. The weights are these normalised over the batch, times B: their mean is 1,
    so that the predictor's learning rate means what it means without weights. Where no phi is above 0, "linear" gives
    weights of 0: the batch has nothing to teach. With a prior they are prior_i max(phi_i, 0) instead, whoever else is
    in the batch: it is the weight where phi is 1.

    Args:
        weigh: gives phi (B,) of a batch, and owns its parameters: `FreeWeights` or `NetworkWeights`.
        task: what y holds.
        normalisation: "linear": max(phi, 0) over its sum; or "softmax" of phi / temperature.
        temperature: > 0.
        straight: whether the gradient passes the normalisation by, so that phi gets B times the slope of its weight, as
            in the released code, which normalises after the look-ahead; else it goes through it.
        prior: (N,) of all training examples, >= 0 and of mean 1, such as `class_shares`; None: weights are normalised.
    """

    def __init__(
        self,
        weigh: FreeWeights | NetworkWeights,
        task: Task,
        *,
        normalisation: str = "linear",
        temperature: float = 1.0,
        straight: bool = True,
        prior: Tensor | None = None,
    ) -> None:
        check_choice("Weight", "normalisation", normalisation, NORMALISATIONS)
        check_positive("Weight", "temperature", temperature)
        self.weigh, self.task = weigh, task
        self.normalisation, self.temperature, self.straight = normalisation, temperature, straight
        self.prior = prior

    def parameters(self) -> Iterable[Tensor]:
        """phi, or the network's parameters."""
        return self.weigh.parameters()

    def policy(self, batch: Batch) -> Policy:
        """phi of the batch's B examples, sure."""
        return Deterministic(self.weigh(batch))

    def apply(self, actions: Tensor, batch: Batch) -> TrainingSets:
        """The batch's examples with their weights; actions are (R, B)."""
        n = actions.shape[-1]
        if self.prior is None:
            weights = self.shares(actions) * n
        else:
            weights = self.prior[batch.rows].to(actions) * actions.relu()
        if self.straight:
            weights = weights.detach() + n * (actions - actions.detach())  # adds 0, and the slope
        return TrainingSets(batch.x, batch.y, weights, self.task)

    def penalty(self, policy: Policy) -> Tensor:
        """None: nothing has to be explored."""
        return torch.zeros(())

    def shares(self, phi: Tensor) -> Tensor:
        """phi (..., B) normalised: >= 0, of sum 1, or all 0."""
        if self.normalisation == "softmax":
            return (phi / self.temperature).softmax(-1)
        positive = phi.relu()
        total = positive.sum(-1, keepdim=True)
        return positive / torch.where(total > 0, total, 1.0)


def class_shares(y: npt.NDArray[Any], valid: npt.NDArray[Any], n_classes: int) -> Tensor:
    """How many times commoner its class is in D^v than in the training set, for each example: (N,), of mean 1.

    What an example counts where the classes' shares alone have shifted (Lipton et al. 2018, with known labels). Shares
    of D^v are counted with 1 more of each class, so that none that it happens to lack is lost.

    Args:
        y: (N,) classes of the training examples.
        valid: (M,) of D^v.
        n_classes: C.
    """
    trained, trusted = np.bincount(y, minlength=n_classes), np.bincount(valid, minlength=n_classes) + 1.0
    ratios = (trusted / trained.clip(1))[y]
    return torch.from_numpy(ratios / ratios.mean()).float()
