"""Optimizers as functions of stacked parameters: out of place where a training is differentiated, fused where not.

The updates are those of torch.optim, elementwise: the R trainings of a stack never touch each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam
from torch.optim.sgd import sgd as torch_sgd

from raydm.errors import ParameterError

Params = list[Tensor]


class Optimizer(Protocol):
    """Two functions and a state (optax's contract). Every tensor has the leading axis R."""

    def init(self, params: Params) -> list[Params]:
        """The state before the first step."""
        ...

    def update(self, params: Params, grads: Params, state: list[Params], step: int) -> tuple[Params, list[Params]]:
        """New parameters and state, differentiable; step counts from 1."""
        ...

    def update_(self, params: Params, grads: Params, state: list[Params], step: int) -> None:
        """The same in place by torch.optim's fused kernel, for trainings that nothing differentiates."""
        ...


@dataclass(frozen=True)
class SGD:
    """Gradient descent with momentum: m <- momentum m + g; p <- p - lr m.

    Attributes:
        lr: > 0.
        momentum: in [0, 1).
        weight_decay: >= 0, added to the gradient as weight_decay times p.
    """

    lr: float
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Raises ParameterError where a value is out of its range."""
        _check(self, lr=self.lr > 0, momentum=0 <= self.momentum < 1, weight_decay=self.weight_decay >= 0)

    def init(self, params: Params) -> list[Params]:
        """Momentum from zero."""
        return [[torch.zeros_like(p) for p in params]]

    def update(self, params: Params, grads: Params, state: list[Params], step: int) -> tuple[Params, list[Params]]:
        """One step out of place; `step` is not used."""
        grads = _decayed(params, grads, self.weight_decay)
        momenta = [torch.add(g, m, alpha=self.momentum) for g, m in zip(grads, state[0], strict=True)]
        return [torch.add(p, m, alpha=-self.lr) for p, m in zip(params, momenta, strict=True)], [momenta]

    def update_(self, params: Params, grads: Params, state: list[Params], step: int) -> None:
        """One step in place; `step` is not used."""
        torch_sgd(
            params,
            _dense(grads, params),
            list(state[0]),
            fused=True,
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=self.lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma, Ba 2015), with the bias corrections of its algorithm 1.

    Attributes:
        lr: > 0.
        betas: decay of the first and second moment, each in [0, 1).
        eps: > 0, added to the root of the second moment.
        weight_decay: >= 0, added to the gradient as weight_decay times p.
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        """Raises ParameterError where a value is out of its range."""
        inside = all(0 <= beta < 1 for beta in self.betas)
        _check(self, lr=self.lr > 0, betas=inside, eps=self.eps > 0, weight_decay=self.weight_decay >= 0)

    def init(self, params: Params) -> list[Params]:
        """Both moments from zero."""
        return [[torch.zeros_like(p) for p in params] for _ in self.betas]

    def update(self, params: Params, grads: Params, state: list[Params], step: int) -> tuple[Params, list[Params]]:
        """One step out of place."""
        return self._adam(params, _decayed(params, grads, self.weight_decay), state, step)

    def _adam(self, params: Params, grads: Params, state: list[Params], step: int) -> tuple[Params, list[Params]]:
        beta1, beta2 = self.betas
        first = [torch.lerp(m, g, 1 - beta1) for m, g in zip(state[0], grads, strict=True)]
        second = [torch.addcmul(v * beta2, g, g, value=1 - beta2) for v, g in zip(state[1], grads, strict=True)]
        scale, root = -self.lr / (1 - beta1**step), math.sqrt(1 - beta2**step)
        moved = [
            torch.addcdiv(p, m, _safe_sqrt(v) / root + self.eps, value=scale)
            for p, m, v in zip(params, first, second, strict=True)
        ]
        return moved, [first, second]

    def update_(self, params: Params, grads: Params, state: list[Params], step: int) -> None:
        """One step in place."""
        torch_adam(
            params,
            _dense(grads, params),
            exp_avgs=state[0],
            exp_avg_sqs=state[1],
            max_exp_avg_sqs=[],
            state_steps=[torch.full((), step - 1.0, device=p.device) for p in params],
            fused=True,
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=self.lr,
            weight_decay=self.weight_decay,
            eps=self.eps,
            maximize=False,
        )


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: p <- (1 - lr weight_decay) p first (Loshchilov, Hutter 2019, algorithm 2).

    Attributes:
        lr: > 0.
        betas: decay of the first and second moment, each in [0, 1).
        eps: > 0, added to the root of the second moment.
        weight_decay: >= 0, the rate at which parameters shrink, times lr a step.
    """

    weight_decay: float = 0.01

    def update(self, params: Params, grads: Params, state: list[Params], step: int) -> tuple[Params, list[Params]]:
        """One step out of place."""
        shrunk = [p * (1 - self.lr * self.weight_decay) for p in params]
        return self._adam(shrunk, grads, state, step)

    def update_(self, params: Params, grads: Params, state: list[Params], step: int) -> None:
        """One step in place."""
        for p in params:
            p.mul_(1 - self.lr * self.weight_decay)
        Adam(self.lr, self.betas, self.eps).update_(params, grads, state, step)


_RANGES = {"lr": "> 0", "momentum": "in [0, 1)", "betas": "each in [0, 1)", "eps": "> 0", "weight_decay": ">= 0"}


def _check(optimizer: object, **holds: bool) -> None:
    for name, fine in holds.items():
        if not fine:
            raise ParameterError.of(name, type(optimizer).__name__, _RANGES[name], getattr(optimizer, name))


def _safe_sqrt(v: Tensor) -> Tensor:
    """The root; its derivative at 0, where no gradient ever came, is taken as 0 instead of infinity."""
    if not v.requires_grad:
        return v.sqrt()
    zero = v == 0
    return torch.where(zero, 0.0, torch.where(zero, 1.0, v).sqrt())


def _dense(grads: Params, params: Params) -> Params:
    """Gradients in the parameters' memory order: fused kernels look at no strides on CPUs, and refuse others on GPUs.

    Those of vmap differ, and parameters may lie channels last.
    """
    return [g if g.stride() == p.stride() else torch.empty_like(p).copy_(g) for g, p in zip(grads, params, strict=True)]


def _decayed(params: Params, grads: Params, weight_decay: float) -> Params:
    if weight_decay == 0.0:
        return grads
    return [torch.add(g, p, alpha=weight_decay) for g, p in zip(grads, params, strict=True)]
