"""The functional optimizers, against torch.optim."""

from __future__ import annotations

import pytest
import torch

from raydm.predictors import SGD, Adam, AdamW

CASES = [
    (SGD(0.1, momentum=0.0), torch.optim.SGD, {"lr": 0.1}),
    (SGD(0.05), torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    (SGD(0.05, weight_decay=0.2), torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.2}),
    (Adam(0.02), torch.optim.Adam, {"lr": 0.02}),
    (
        Adam(0.02, betas=(0.8, 0.95), eps=1e-5, weight_decay=0.2),
        torch.optim.Adam,
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.2},
    ),
    (AdamW(0.02), torch.optim.AdamW, {"lr": 0.02, "weight_decay": 0.01}),
    (AdamW(0.02, weight_decay=0.5), torch.optim.AdamW, {"lr": 0.02, "weight_decay": 0.5}),
]


def loss_of(params):
    """A bent valley: gradients depend on where one stands."""
    a, b = params
    return (1 + (a - 1) ** 2).sqrt().sum() + (a.sum(-1) * b).sum().sin() + (b**2).sum()


def initial():
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 3), (2,)
    return [torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in shapes]


@pytest.mark.parametrize(("ours", "theirs", "arguments"), CASES, ids=lambda c: repr(c) if hasattr(c, "lr") else "")
def test_twenty_steps_are_those_of_torch(ours, theirs, arguments):
    params, state, reference = initial(), ours.init(initial()), initial()
    optimizer = theirs(reference, **arguments)
    for step in range(1, 21):
        grads = torch.autograd.grad(loss_of(params), params)
        params, state = ours.update(params, list(grads), state, step)
        optimizer.zero_grad()
        loss_of(reference).backward()
        optimizer.step()
    assert (reference[0] - initial()[0]).abs().max() > 0.1  # they went somewhere
    for mine, torchs in zip(params, reference, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-6, atol=1e-12, check_dtype=True)


@pytest.mark.parametrize("strided", [False, True], ids=["dense", "strided"])
@pytest.mark.parametrize(("optimizer", "theirs", "arguments"), CASES, ids=lambda c: repr(c) if hasattr(c, "lr") else "")
def test_twenty_steps_in_place_are_those_out_of_place(optimizer, theirs, arguments, strided):
    # Gradients that come through vmap lie in memory in another order than the parameters.
    params, state, reference = initial(), optimizer.init(initial()), initial()
    reference_state = optimizer.init(reference)
    for step in range(1, 21):
        grads = list(torch.autograd.grad(loss_of(params), params))
        if strided:
            grads[0] = grads[0].t().contiguous().t()
            assert not grads[0].is_contiguous()
        with torch.no_grad():
            optimizer.update_(params, grads, state, step)
        reference_grads = torch.autograd.grad(loss_of(reference), reference)
        reference, reference_state = optimizer.update(reference, list(reference_grads), reference_state, step)
    for mine, other in zip(params, reference, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.1), AdamW(0.1)], ids=["sgd", "adam", "adamw"])
def test_parameters_may_lie_channels_last(optimizer):
    # Fused kernels go through memory, and a gradient that lies otherwise would reach other numbers.
    generator = torch.Generator().manual_seed(0)
    start, slope = (torch.randn(2, 3, 2, 2, generator=generator) for _ in range(2))
    ends = []
    for layout in (torch.contiguous_format, torch.channels_last):
        params = [start.clone(memory_format=layout)]
        state = optimizer.init(params)
        for step in (1, 2):
            optimizer.update_(params, [slope.clone()], state, step)
        ends.append(params[0])
    assert ends[1].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(*ends)


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(0.1)], ids=["sgd", "adam"])
def test_updates_are_out_of_place(optimizer):
    params = initial()
    before = [p.detach().clone() for p in params]
    optimizer.update(params, [torch.ones_like(p) for p in params], optimizer.init(params), 1)
    for p, b in zip(params, before, strict=True):
        assert torch.equal(p, b)


def test_momentum_by_hand():
    # lr 1, momentum 1/2, gradient 1 each time: m = 1, 3/2, 7/4; p = -1, -5/2, -17/4.
    optimizer, p = SGD(1.0, momentum=0.5), [torch.zeros(1)]
    state, path = optimizer.init(p), []
    for step in (1, 2, 3):
        p, state = optimizer.update(p, [torch.ones(1)], state, step)
        path.append(p[0].item())
    assert path == [-1.0, -2.5, -4.25]


def test_adam_s_derivative_is_finite_where_no_gradient_came():
    # A parameter of a dead unit has gradient 0 at each step: sqrt(v) at v = 0 must not bring NaN into phi's gradient.
    scale = torch.tensor(2.0, requires_grad=True)
    optimizer, p = Adam(0.1), [torch.zeros(2)]
    state = optimizer.init(p)
    for step in (1, 2):
        p, state = optimizer.update(p, [scale * torch.tensor([0.0, 1.0])], state, step)
    (derivative,) = torch.autograd.grad(p[0].sum(), scale)
    assert torch.isfinite(derivative)
