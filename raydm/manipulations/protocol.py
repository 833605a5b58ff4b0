"""The manipulation protocol: where R_phi is finite, and what an action does to a batch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from torch import Tensor

from raydm.data.source import Batch
from raydm.policies import Policy
from raydm.predictors import TrainingSets


class Manipulation(Protocol):
    """One row of the table in the README: policy, action, penalty. It owns phi."""

    def parameters(self) -> Iterable[Tensor]:
        """The parameters phi."""
        ...

    def policy(self, batch: Batch) -> Policy:
        """pi_phi(a | D_B), differentiable in phi."""
        ...

    def apply(self, actions: Tensor, batch: Batch) -> TrainingSets:
        """The R training sets that the actions (R, N) make of the batch."""
        ...

    def penalty(self, policy: Policy) -> Tensor:
        """A scalar >= 0 that keeps the policy exploring."""
        ...
