"""The gradient of a stack's losses: written out for fully connected modules, by autograd for others.

Autograd's own work on the many small tensors of a stack takes longer than the matrix products: 16 logistic regressions
on 16 to 1000 examples train 2.6 to 1.4 times faster without it, MLPs 1.2 times (jobs/bench/gradients.py).
Axes: R rollouts, B rows, D features, C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from raydm.data.task import Task
from raydm.predictors.forward import Layers, fully_connected, stacked_forward

Batch = tuple[Tensor, Tensor, Tensor]
_TINY = 1e-12  # an empty set weighs nothing


class Gradients(Protocol):
    """Gives the gradient of each rollout's loss: the mean over its rows weighted by w, 0 where none is present."""

    def prepare(self, x: Tensor, y: Tensor, w: Tensor) -> Batch:
        """What one batch needs, however often it is used: x (B, D) or (R, B, D), y (R, B) or (R, B, C), w (R, B)."""
        ...

    def __call__(self, params: Mapping[str, Tensor], batch: Batch) -> list[Tensor]:
        """The gradients in stacked parameters (each (R, ...), by name), in their order; grad mode may be off."""
        ...


def stacked_gradients(module: nn.Module, task: Task, *, keep_graph: bool) -> Gradients:
    """The fastest that there is; with `keep_graph` one that can itself be differentiated."""
    layers = None if keep_graph else fully_connected(module)
    return Autograd(module, task, keep_graph) if layers is None else WrittenOut(layers, task)


class Autograd:
    """Of any module: the losses are summed over the stack, and each rollout's gradient is its own."""

    def __init__(self, module: nn.Module, task: Task, keep_graph: bool) -> None:
        self.forward, self.task, self.keep_graph = stacked_forward(module), task, keep_graph

    def prepare(self, x: Tensor, y: Tensor, w: Tensor) -> Batch:
        """As it is."""
        return x, y, w

    def __call__(self, params: Mapping[str, Tensor], batch: Batch) -> list[Tensor]:
        """By one backward pass for the whole stack."""
        x, y, w = batch
        with torch.enable_grad():
            loss = losses(self.forward(params, x), y, w, self.task).sum()
            return list(torch.autograd.grad(loss, list(params.values()), create_graph=self.keep_graph))


class WrittenOut:
    """Of fully connected layers: the chain rule by hand, on cross-entropy or the squared error."""

    def __init__(self, layers: Layers, task: Task) -> None:
        self.layers, self.task = layers, task

    def prepare(self, x: Tensor, y: Tensor, w: Tensor) -> Batch:
        """Targets (R or 1, C, B), one-hot for class indices, and each row's share (R, 1, B) of its set's weight."""
        if y.stride(0) == 0:
            y = y[:1]  # shared by all rollouts
        if y.ndim == 3:
            target = y.transpose(1, 2).contiguous()
        elif self.task.kind == "regression":
            target = y.unsqueeze(1)
        else:
            target = w.new_zeros(len(y), self.task.n_outputs, y.shape[1]).scatter_(1, y.unsqueeze(1), 1.0)
        return x, target, (w / w.sum(-1, keepdim=True).clamp_min(_TINY)).unsqueeze(1)

    def __call__(self, params: Mapping[str, Tensor], batch: Batch) -> list[Tensor]:
        """Forward through the layers, keeping what each was given; then back."""
        x, target, share = batch
        given, out = [], x.transpose(-1, -2)
        for prefix, layer in self.layers:
            given.append(out)
            if isinstance(layer, nn.ReLU):
                out = out.relu_()  # so that the layer's input holds its output
                continue
            weight, bias = params[f"{prefix}weight"], params[f"{prefix}bias"].unsqueeze(-1)
            if out.ndim == 2:  # as in the forward pass: rows shared by all rollouts
                out = (weight.flatten(0, 1) @ out).view(*weight.shape[:2], -1).add_(bias)
            else:
                out = torch.baddbmm(bias, weight, out)
        delta = self._slope(out, target).mul_(share)  # of the loss in the last layer's outputs, (R, C, B)
        gradients: dict[str, Tensor] = {}
        for i in reversed(range(len(self.layers))):
            (prefix, layer), before = self.layers[i], given[i]
            if isinstance(layer, nn.ReLU):
                delta = delta.mul_(before.sign_())  # 0 or 1; far faster than a mask of booleans
                continue
            gradients[f"{prefix}bias"] = delta.sum(-1)
            if before.ndim == 2:
                product = (delta.flatten(0, 1) @ before.t()).view(*delta.shape[:2], -1)
            else:
                product = delta @ before.transpose(-1, -2)
            gradients[f"{prefix}weight"] = product
            if i:
                delta = params[f"{prefix}weight"].transpose(-1, -2) @ delta
        return [gradients[name] for name in params]

    def _slope(self, out: Tensor, target: Tensor) -> Tensor:
        """The derivative of each row's loss in its outputs (R, C, B), in memory of its own."""
        if self.task.kind == "regression":
            return (out - target).mul_(2.0 / self.task.n_outputs)
        return out.softmax(1).sub_(target)  # targets are probabilities: they sum to 1


def losses(out: Tensor, y: Tensor, w: Tensor, task: Task) -> Tensor:
    """Weighted mean loss of each rollout, (R,): sum w l / sum w, 0 where no example is present; out is (R, C, B).

    l is cross-entropy, or the squared error, its mean over C targets; y is (R, B) or (R, B, C).
    """
    if task.kind == "regression":
        each = (out - (y.unsqueeze(1) if y.ndim == 2 else y.transpose(1, 2))).square().mean(1)
    elif y.is_floating_point():
        each = -(y.transpose(1, 2) * functional.log_softmax(out, 1)).sum(1)
    else:
        each = -functional.log_softmax(out, 1).gather(1, y.unsqueeze(1)).squeeze(1)
    return (w * each).sum(-1) / w.sum(-1).clamp_min(_TINY)
