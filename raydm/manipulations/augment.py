"""Augment (Hu et al. 2019, section 4.2): R_phi is finite on what g_phi(x given x*, y) makes of the examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from raydm.checks import check_choice, check_integer
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.manipulations.beside import beside, check_share
from raydm.policies import Policy, Reparameterised
from raydm.predictors import TrainingSets
from raydm.predictors.inputs import wanted

LOOKS = ("both", "augmented")


class Rewriting(Protocol):
    """g_phi(x given x*, y), and what tells of it."""

    def parameters(self) -> Iterable[Tensor]:
        """phi; none where nothing is learned."""
        ...

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Any:
        """The batch's B examples rewritten, differentiable in phi: a tensor (B, ...), or `SoftTokens`.

        Equal states of ``rng`` give equal noise, whatever phi is.
        """
        ...

    def optimizer(self, lr: float | None) -> torch.optim.Optimizer:
        """What moves phi, with a step length of its own where none is given."""
        ...

    def to(self, device: torch.device) -> None:
        """Works there from now on."""
        ...

    def written(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, list[dict[str, Any]]]:
        """As a call of equal noise, but hard, as examples are kept: (B, ...); and what was done to each."""
        ...

    def summary(self) -> list[dict[str, Any]]:
        """What phi does now, a row for each operation or feature."""
        ...


class Augment:
    """Learning data augmentation: the predictor is trained on the batch and on what g_phi makes of it.

    An action is the new examples, made from noise that follows the step's generator. The gradient goes from the dev
    loss through the predictor's step into the examples, and through these into phi; `raydm.joint.Joint` then takes the
    step on examples of the same noise and the new phi.

    Args:
        rewriting: g_phi, see `raydm.manipulations.rewritings`.
        task: what y holds.
        copies: new examples of each one of the batch, >= 1.
        share: of the new examples in the loss, in (0, 1); None: that in the number of rows.
        look_ahead: what the step that is looked ahead holds. "both": the batch too, so that u is that of the very step
            which is then taken, with its Adam moments; "augmented": the new examples alone, as in the released code of
            Hu et al., which costs less. The step taken holds both in either case.
    """

    def __init__(
        self,
        rewriting: Rewriting,
        task: Task,
        *,
        copies: int = 1,
        share: float | None = None,
        look_ahead: str = "both",
    ) -> None:
        check_integer("Augment", "copies", copies, 1)
        check_share("Augment", share)
        check_choice("Augment", "look_ahead", look_ahead, LOOKS)
        self.rewriting, self.task, self.copies, self.share, self.look_ahead = rewriting, task, copies, share, look_ahead

    def parameters(self) -> Iterable[Tensor]:
        """phi."""
        return self.rewriting.parameters()

    def policy(self, batch: Batch) -> Policy:
        """g_phi, of each of the batch's examples as many times over as there are copies."""
        k = self.copies
        rows, y = np.tile(batch.rows, k), batch.y.repeat(k, *[1] * (batch.y.ndim - 1))
        given = Batch(rows, batch.x.repeat(k, *[1] * (batch.x.ndim - 1)), y)
        return Reparameterised(lambda rng: self.rewriting(given, rng))

    def apply(self, actions: Any, batch: Batch) -> TrainingSets:
        """The batch and the new examples (R, copies B, ...); in the look-ahead perhaps these alone."""
        y = batch.y.repeat(self.copies, *[1] * (batch.y.ndim - 1))
        if self.look_ahead == "augmented" and wanted(actions):
            rollouts = len(actions) if isinstance(actions, Tensor) else 1
            return TrainingSets(actions, y, torch.ones(rollouts, len(y)), self.task)
        return beside(batch, actions, y, self.share, self.task)

    def penalty(self, policy: Policy) -> Tensor:
        """None: nothing has to be explored."""
        return torch.zeros(())
