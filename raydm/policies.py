"""Policies pi_phi(a | D_B): distributions over actions, differentiable in phi through their log-probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


class Policy(Protocol):
    """What the learner asks of a policy. Axes: R rollouts, N examples of the batch."""

    def draw(self, rollouts: int, rng: np.random.Generator) -> Tensor:
        """R independent actions for the batch, (R, N)."""
        ...

    def log_prob(self, actions: Tensor) -> Tensor:
        """log pi_phi(a | D_B) of each rollout's actions (R, N), summed over the batch: (R,)."""
        ...

    @property
    def mean(self) -> Tensor:
        """The expected action of each example, (N,)."""
        ...


@dataclass(frozen=True)
class Bernoulli:
    """Each example is used (1) or not (0), independently (DVRL, section 3.2: s_i ~ Ber(h_phi(x_i, y_i))).

    Attributes:
        logits: (N,) log-odds of using each example.
    """

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """h_phi in [0, 1], (N,)."""
        return torch.sigmoid(self.logits)

    def draw(self, rollouts: int, rng: np.random.Generator) -> Tensor:
        """(R, N) of 0 and 1. Drawn on the CPU by numpy, so that every device gives the same actions."""
        h = self.mean.detach().cpu().numpy()
        uniform = rng.random((rollouts, len(h)), dtype=np.float32)
        return torch.from_numpy((uniform < h).astype(np.float32)).to(self.logits.device)

    def log_prob(self, actions: Tensor) -> Tensor:
        """Sum over the batch of a log h + (1 - a) log(1 - h), from the logits: no epsilon is needed. (R,)."""
        logits = self.logits.expand_as(actions)
        return -functional.binary_cross_entropy_with_logits(logits, actions, reduction="none").sum(-1)
