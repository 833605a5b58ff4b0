"""The exact derivative of a loss after T optimizer steps, in what those steps trained on.

theta_t, m_t = update(theta_{t-1}, g_t, m_{t-1}) with g_t = grad sum_i w_i l_i(theta_{t-1}; x_i, y_i) / B. Backward
from v = grad L(theta_T): the update's vjp gives s_t = (d theta_t / d g_t)' v, and the vjp of g_t along s_t (a second
backward pass through the first) the slopes of w, x and y, and what theta_{t-1} adds. (Maclaurin, Duvenaud, Adams 2015,
with stored states instead of reversed arithmetic.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raydm.predictors.functional import Buffers, Functional, Params, copied
from raydm.predictors.inputs import wanted
from raydm.predictors.optimizers import Optimizer


@dataclass(frozen=True)
class State:
    """A predictor in training: parameters, the optimizer's moments, and the number of the step that is next, from 1."""

    params: Params
    moments: list[Params]
    step: int


@dataclass(frozen=True)
class Minibatch:
    """What one look-ahead step trains on: detached, leaves where slopes are wanted.

    Attributes:
        x: B rows.
        y: (B,) or (B, C).
        w: (B,).
        seed: of dropout.
    """

    x: Any
    y: Tensor
    w: Tensor
    seed: int

    def leaves(self) -> list[Tensor]:
        """Those of x, y, w, in this order, that a slope is wanted of."""
        return [*wanted(self.x), *wanted(self.y), *wanted(self.w)]


@dataclass(frozen=True)
class Inner:
    """How the predictor trains.

    Attributes:
        of: the module.
        optimizer: its update.
        buffers: at the start; they have no influence on training passes.
    """

    of: Functional
    optimizer: Optimizer
    buffers: Buffers

    def gradient(self, params: Params, batch: Minibatch, *, again: bool) -> Params:
        """g, differentiable once more where `again` is set; params are leaves."""
        losses = self.of.losses(params, copied(self.buffers), batch.x, batch.y, seed=batch.seed)
        loss = (batch.w * losses).sum() / len(losses)
        return gradients(loss, params, create_graph=again)

    def stepped(self, state: State, grads: Params) -> State:
        """The state after one step, out of place and without a graph."""
        with torch.no_grad():
            params, moments = self.optimizer.update(state.params, grads, state.moments, state.step)
        return State(params, moments, state.step + 1)

    def pulled(
        self, state: State, grads: Params, to_params: Params, to_moments: list[Params] | None
    ) -> tuple[Params, list[Params], Params]:
        """The update's vjp: what its result's cotangents are in the state's parameters, moments, and in the gradient.

        One parameter at a time: temporaries of all of them at once would take more memory than the training.
        """
        of_params, of_grads = [], []
        of_moments: list[Params] = [[] for _ in state.moments]
        for i, grad in enumerate(grads):
            p, g = state.params[i].detach().requires_grad_(), grad.detach().requires_grad_()
            before = [m[i].detach().requires_grad_() for m in state.moments]
            with torch.enable_grad():
                after, moved = self.optimizer.update([p], [g], [[m] for m in before], state.step)
            out, along = [after[0]], [to_params[i]]
            if to_moments is not None:
                out, along = out + [m[0] for m in moved], along + [m[i] for m in to_moments]
            got = gradients(out, [p, g, *before], along)
            of_params.append(got[0])
            of_grads.append(got[1])
            for kept, slope in zip(of_moments, got[2:], strict=True):
                kept.append(slope)
        return of_params, of_moments, of_grads


def gradients(
    of: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor],
    along: Sequence[Tensor] | None = None,
    *,
    create_graph: bool = False,
    keep: bool = False,
) -> Params:
    """`torch.autograd.grad`, 0 where an input has no part in it."""
    if not inputs:
        return []
    outputs = [of] if isinstance(of, Tensor) else list(of)
    got = torch.autograd.grad(
        outputs, list(inputs), along, create_graph=create_graph, retain_graph=True if keep else None,
        allow_unused=True, materialize_grads=True,
    )  # fmt: skip
    return list(got)


@dataclass(frozen=True)
class _Recorded:
    """A step with the graph of its gradient."""

    state: State
    batch: Minibatch
    grads: Params


def adjoint(
    inner: Inner,
    start: State,
    steps: Sequence[Minibatch],
    judge: Callable[[Params], tuple[Tensor, Params]],
    *,
    checkpoint: bool = False,
) -> tuple[Tensor, list[list[Tensor]]]:
    """The loss after the steps, and its slopes in each minibatch's leaves.

    Args:
        inner: how the predictor trains.
        start: before the first step.
        steps: T minibatches, in order.
        judge: gives the loss at parameters, and its gradient there.
        checkpoint: keeps some sqrt(T) states and the graphs of some sqrt(T) steps, and makes the steps twice; else
            the graphs of all T are kept.

    Returns:
        The loss, a scalar, and for each step its leaves' slopes, in the order of `Minibatch.leaves`.
    """
    length = math.isqrt(len(steps) - 1) + 1 if checkpoint else len(steps)
    segments = [steps[a : a + length] for a in range(0, len(steps), length)]
    marks = [start]
    for segment in segments[:-1]:
        marks.append(_walked(inner, marks[-1], segment))
    slopes: list[list[Tensor]] = []
    loss = start.params[0].new_zeros(())
    along: tuple[Params, list[Params] | None] | None = None
    while marks:
        recorded, end = _recorded(inner, marks.pop(), segments.pop())
        if along is None:
            loss, v = judge(end.params)
            along = v, None
        while recorded:
            last = recorded.pop()  # its graph ends with this turn
            to_params, to_moments, to_grads = inner.pulled(last.state, last.grads, *along)
            first = not recorded and not marks  # nothing is asked of theta_0
            to = last.batch.leaves() if first else [*last.state.params, *last.batch.leaves()]
            got = gradients(last.grads, to, to_grads)
            if not first:
                n = len(to_params)
                along = [a + b for a, b in zip(to_params, got[:n], strict=True)], to_moments
                got = got[n:]
            slopes.append(got)
    return loss, slopes[::-1]


def _walked(inner: Inner, state: State, steps: Sequence[Minibatch]) -> State:
    """The state after these steps."""
    for batch in steps:
        params = [p.detach().requires_grad_() for p in state.params]
        state = inner.stepped(state, inner.gradient(params, batch, again=False))
    return state


def _recorded(inner: Inner, state: State, steps: Sequence[Minibatch]) -> tuple[list[_Recorded], State]:
    """The steps with their graphs, and the state after them."""
    kept = []
    for batch in steps:
        before = State([p.detach().requires_grad_() for p in state.params], state.moments, state.step)
        grads = inner.gradient(before.params, batch, again=True)
        kept.append(_Recorded(before, batch, grads))
        state = inner.stepped(before, [g.detach() for g in grads])
    return kept, state
