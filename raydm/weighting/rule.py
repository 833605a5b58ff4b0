"""How free weights move: the released code's rule of Hu et al. (2019), of which Ren et al. (2018) is a case."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor

from raydm.checks import is_number
from raydm.errors import ParameterError

_TINY = 1e-30


class DecayedAscent(torch.optim.Optimizer):
    """phi <- max(rest + (phi - rest) / decay - lr grad, floor), for the rows of a sparse gradient (else for all).

    With decay = infinity and floor = 0, phi is what this batch says alone: max(-grad, 0), as in Ren et al. (2018).

    Args:
        params: phi, with the examples first.
        lr: > 0, or "batch": one over the root mean square of the batch's gradient, or half the rest over it. phi then
            has a scale of its own, whatever the predictor's learning rate and losses are, and each batch has the same
            say.
        decay: >= 1; how fast phi forgets what earlier passes said (the release: 2 to 10).
        floor: >= 0, the least phi (the release: 1e-5).
        rest: >= 0, where phi is while nothing is known (the release: 0).
        trust: tells what part of the move to make, in [0, 1], when a step is made; None: all of it.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float | str = "batch",
        *,
        decay: float = 10.0,
        floor: float = 1e-5,
        rest: float = 0.0,
        trust: Callable[[], float] | None = None,
    ) -> None:
        if lr != "batch" and not (is_number(lr) and float(lr) > 0):
            raise ParameterError.of("lr", "DecayedAscent", "a number > 0 or 'batch'", lr)
        if not (isinstance(decay, (int, float)) and decay >= 1):
            raise ParameterError.of("decay", "DecayedAscent", "a number >= 1", decay)
        if not (is_number(floor) and floor >= 0):
            raise ParameterError.of("floor", "DecayedAscent", "a number >= 0", floor)
        if not (is_number(rest) and rest >= 0):
            raise ParameterError.of("rest", "DecayedAscent", "a number >= 0", rest)
        self._trust = trust
        super().__init__(params, {"lr": lr, "decay": decay, "floor": floor, "rest": rest})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Moves the rows that have a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for phi in group["params"]:
                if phi.grad is not None:
                    _move(phi, phi.grad, group, 1.0 if self._trust is None else self._trust())
        return loss


def _move(phi: Tensor, grad: Tensor, group: dict[str, Any], trust: float) -> None:
    rows: Any = slice(None)
    if grad.is_sparse:
        grad = grad.coalesce()
        rows, grad = grad.indices()[0], grad.values()
    lr, rest = group["lr"], group["rest"]
    if lr == "batch":
        lr = (rest / 2 or 1) / grad.square().mean().sqrt().clamp_min(_TINY)
    phi[rows] = (rest + (phi[rows] - rest) / group["decay"] - trust * lr * grad).clamp_min(group["floor"])
