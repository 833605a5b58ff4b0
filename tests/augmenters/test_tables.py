"""The learned table augmentation: its moments, its limits, and the gradient in phi."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.func import functional_call

from raydm.augmenters.tables import TableAugmenter
from raydm.errors import ParameterError


def rows(n=50, d=3, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, d, generator=generator, dtype=dtype) * torch.tensor([1.0, 10.0, 0.1]) + 5


def set_phi(augmenter, scale=None, logit=None):
    with torch.no_grad():
        if scale is not None:
            augmenter.raw_scale.fill_(scale)
        if logit is not None:
            augmenter.logit.fill_(logit)
    return augmenter


def drawn(augmenter, n, seed=0):
    return augmenter.noise(n, np.random.default_rng(seed))


def test_no_noise_and_no_masking_leave_rows_as_they_are_bit_by_bit():
    x = rows()
    augmenter = set_phi(TableAugmenter(x), -torch.inf, -torch.inf)
    assert torch.equal(augmenter(x, None, drawn(augmenter, 50)), x)


def test_masked_for_certain_is_the_mean():
    x = rows()
    augmenter = set_phi(TableAugmenter(x), logit=torch.inf)
    torch.testing.assert_close(augmenter(x, None, drawn(augmenter, 50)), x.mean(0).expand_as(x))


def test_noise_has_the_scale_asked_for_in_each_feature_s_deviations():
    x = rows(1)
    augmenter = set_phi(TableAugmenter(rows(), scale=0.5), logit=-torch.inf)
    out = augmenter(x.expand(20_000, -1), None, drawn(augmenter, 20_000))
    torch.testing.assert_close(out.std(0), 0.5 * rows().std(0, correction=0), rtol=0.03, atol=0)
    torch.testing.assert_close(out.mean(0), x[0], rtol=0, atol=0.2)


def test_masking_has_the_rate_asked_for():
    x = rows(1)
    augmenter = set_phi(TableAugmenter(rows(), masked=0.2, temperature=0.01), -torch.inf)
    out = augmenter(x.expand(20_000, -1), None, drawn(augmenter, 20_000))
    near_mean = (out - augmenter.location).abs() < (out - x).abs()
    torch.testing.assert_close(near_mean.float().mean(0), torch.full((3,), 0.2), rtol=0, atol=0.015)


@pytest.mark.parametrize("n_classes", [None, 2])
def test_gradient_in_phi_is_the_finite_difference(n_classes):
    x = rows(6, dtype=torch.float64)
    augmenter = TableAugmenter(x, n_classes=n_classes, temperature=0.7)
    y, noise = torch.tensor([0, 1, 0, 1, 1, 0]), drawn(augmenter, 6)
    names = [name for name, _ in augmenter.named_parameters()]
    phi = tuple(p.detach().clone().requires_grad_() for p in augmenter.parameters())
    assert all(len(p) == (n_classes or 1) for p in phi)

    def f(x, *phi):
        return functional_call(augmenter, dict(zip(names, phi, strict=True)), (x, y, noise))

    inputs = (x.requires_grad_(), *phi)
    assert torch.autograd.gradcheck(f, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, inputs)
    assert all((g != 0).all() for g in torch.autograd.grad(f(*inputs).pow(2).sum(), phi))


def test_equal_seeds_give_equal_bits_and_rows_do_not_touch():
    x = rows()
    augmenter = TableAugmenter(x)
    out = augmenter(x, None, drawn(augmenter, 50, seed=4))
    assert torch.equal(out, augmenter(x, None, drawn(augmenter, 50, seed=4)))
    torch.testing.assert_close(augmenter(x[9:], None, drawn(augmenter, 50, seed=4)[9:]), out[9:])


def test_summary_tells_scale_and_rate():
    augmenter = TableAugmenter(rows(), n_classes=2, scale=0.25, masked=0.1)
    summary = augmenter.summary()
    assert [(row["class"], row["feature"]) for row in summary] == [(c, d) for c in range(2) for d in range(3)]
    assert summary[0]["noise"] == pytest.approx(0.25)
    assert summary[0]["masked"] == pytest.approx(0.1)


def test_refusals():
    for kwargs in ({"scale": 0}, {"masked": 0.0}, {"temperature": 0}):
        with pytest.raises(ParameterError):
            TableAugmenter(rows(), **kwargs)
    with pytest.raises(ParameterError, match="rows"):
        TableAugmenter(torch.zeros(0, 3))
    augmenter = TableAugmenter(rows())
    with pytest.raises(ParameterError, match="rows"):
        augmenter(torch.zeros(4, 2), None, drawn(augmenter, 4))
    conditional = TableAugmenter(rows(), n_classes=2)
    with pytest.raises(ParameterError, match="n_classes"):
        conditional(rows(), None, drawn(conditional, 50))
