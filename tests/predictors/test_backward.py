"""The gradient that is written out, against autograd's."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from raydm import networks
from raydm.data.task import Task
from raydm.predictors.backward import Autograd, WrittenOut, stacked_gradients

R, B, D = 4, 9, 5
CLASSES, TARGETS = Task("classification", 3), Task("regression", 1)


def relu_last(d: int, c: int) -> nn.Module:
    return nn.Sequential(nn.Linear(d, 6), nn.ReLU(), nn.ReLU(), nn.Linear(6, c), nn.ReLU())


MODULES = {"linear": networks.linear, "mlp": partial(networks.mlp, hidden=(7, 4)), "relu last": relu_last}


def batch_of(task: Task, *, own_x: bool, labels: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """x, y and w in float64; the third set is empty, and the weights of the last are fractions."""
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.normal(size=(R, B, D) if own_x else (B, D)))
    if task == TARGETS:
        y = torch.from_numpy(rng.normal(size=(R, B)))
    elif labels == "probabilities":
        y = torch.from_numpy(rng.dirichlet(np.ones(3), size=(R, B)))
    else:
        y = torch.from_numpy(rng.integers(3, size=(R, B)))
    if labels == "shared":
        y = y[0].expand(R, *y[0].shape)
    w = torch.from_numpy(rng.integers(0, 2, size=(R, B)).astype(np.float64))
    w[2], w[3] = 0, torch.from_numpy(rng.random(B))
    return x, y, w


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("own_x", [False, True], ids=["shared x", "own x"])
@pytest.mark.parametrize("labels", ["shared", "own", "probabilities"])
@pytest.mark.parametrize("task", [CLASSES, TARGETS], ids=["classification", "regression"])
def test_it_is_autograds(task: Task, labels: str, own_x: bool, name: str) -> None:
    module = MODULES[name](D, task.n_outputs)
    generator = torch.Generator().manual_seed(1)
    params = {
        k: torch.randn(R, *p.shape, generator=generator, dtype=torch.float64).requires_grad_()
        for k, p in module.named_parameters()
    }
    batch = batch_of(task, own_x=own_x, labels=labels)
    written, auto = stacked_gradients(module, task, keep_graph=False), Autograd(module, task, keep_graph=False)
    assert isinstance(written, WrittenOut)
    expected = auto(params, auto.prepare(*batch))
    with torch.no_grad():
        prepared = written.prepare(*batch)
        for _ in range(2):  # a batch may be used again
            for got, wanted in zip(written(params, prepared), expected, strict=True):
                torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-13)
    assert all(not g[2].any() for g in expected)  # the empty set moves nothing


def test_what_cannot_be_written_out_goes_by_autograd() -> None:
    assert isinstance(stacked_gradients(networks.linear(D, 3), CLASSES, keep_graph=True), Autograd)
    assert isinstance(stacked_gradients(nn.Sequential(nn.Linear(D, 3), nn.Tanh()), CLASSES, keep_graph=False), Autograd)
