"""raydm's optimizers in torch's form, which gradient scalers of mixed precision work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

import torch
from torch import Tensor, nn

from raydm.predictors.optimizers import Optimizer


class Steps(torch.optim.Optimizer):
    """Moves parameters by an optimizer of `raydm.predictors.optimizers`.

    Args:
        params: by name.
        optimizer: whose updates are taken.

    Attributes:
        updates: how many were.
    """

    def __init__(self, params: Mapping[str, nn.Parameter], optimizer: Optimizer) -> None:
        super().__init__(list(params.values()), {})
        self.names, self.own, self.optimizer = list(params), list(params.values()), optimizer
        self.moments = optimizer.init([p.detach() for p in self.own])
        self.updates = 0

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One step along the gradients that there are; what has none has 0."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.own]
        self.updates += 1
        params: list[Any] = list(self.own)
        self.optimizer.update_(params, grads, self.moments, self.updates)
        return loss

    def tensors(self) -> dict[str, Tensor]:
        """Copies of the moments, on the CPU, by name."""
        return {
            f"moments.{i}.{name}": m.detach().cpu().clone().contiguous()
            for i, moment in enumerate(self.moments)
            for name, m in zip(self.names, moment, strict=True)
        }

    def restore(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Goes on from what `tensors` gave."""
        for i, moment in enumerate(self.moments):
            for name, m in zip(self.names, moment, strict=True):
                m.copy_(tensors[f"moments.{i}.{name}"])
        self.updates = updates
