"""Prototypes: closed forms where they are known, kernels that follow the data, and the gradient in phi."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.func import functional_call

from raydm.errors import ParameterError
from raydm.generators import Prototypes
from raydm.generators.tangents import tangents


def gaussian_classes(n, d=5, seed=0):
    """Two classes with means of their own and one covariance W W' + 0.3^2 I, W with two columns."""
    rng = np.random.default_rng(seed)
    means, loading = rng.normal(size=(2, d)) * 3, rng.normal(size=(d, 2))
    y = np.arange(n) % 2
    x = means[y] + rng.normal(size=(n, 2)) @ loading.T + 0.3 * rng.normal(size=(n, d))
    covariance = loading @ loading.T + 0.09 * np.eye(d)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y), torch.tensor(means), torch.tensor(covariance)


def blobs(n=40, side=8, seed=0):
    """Images (n, 1, side, side) of a bright spot, upright in class 0 and lying in class 1, at places that vary."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:side, :side]
    y = np.arange(n) % 2
    at = (side - 1) / 2 + rng.normal(size=(n, 2)) * 0.5
    wide = np.where(y == 0, 1.0, 2.0)[:, None, None]
    rows = (row - at[:, 0, None, None]) * wide
    columns = (column - at[:, 1, None, None]) * (3 - wide)
    x = np.exp(-(rows**2 + columns**2) / 8)
    return torch.tensor(x[:, None], dtype=torch.float32), torch.tensor(y)


def drawn(generator, n, seed=0):
    return generator.noise(n, np.random.default_rng(seed))


def test_ppca_recovers_a_gaussian_s_means_and_covariance():
    x, y, means, covariance = gaussian_classes(20_000)
    generator = Prototypes((5,), 2, factors=2).fit(x, y)
    assert generator.centres == "means"
    torch.testing.assert_close(generator.prototypes.detach().double(), means, rtol=0, atol=0.06)
    w, noise = generator.loading.detach().double(), generator.log_noise.exp().item()
    assert noise == pytest.approx(0.3, abs=0.01)
    fitted = w @ w.T + noise**2 * torch.eye(5)
    torch.testing.assert_close(fitted, covariance, rtol=0, atol=0.03 * covariance.diagonal().max().item())


def test_samples_have_the_model_s_moments():
    x, y, _, _ = gaussian_classes(300)
    generator = Prototypes((5,), 2, factors=2).fit(x, y)
    with torch.no_grad():
        samples = generator.sample(torch.ones(40_000, dtype=torch.int64), drawn(generator, 40_000))
        expected = generator.loading @ generator.loading.T + generator.log_noise.exp() ** 2 * torch.eye(5)
        torch.testing.assert_close(samples.mean(0), generator.prototypes[1], rtol=0, atol=0.05)
    torch.testing.assert_close(torch.cov(samples.T), expected, rtol=0, atol=0.03 * expected.diagonal().max().item())


def test_closed_form_is_that_of_the_eigenvalues():
    # Tipping, Bishop 1999, equation 8: sigma^2 is the mean of the eigenvalues left out; W W' has the others minus it.
    x, y, _, _ = gaussian_classes(50)
    generator = Prototypes((5,), 2, factors=3).fit(x, y)
    means = torch.stack([x[y == c].mean(0) for c in range(2)])
    within = (x - means[y]).T @ (x - means[y]) / 48  # two means were estimated
    values = torch.linalg.eigvalsh(within.double()).flip(0)
    assert generator.log_noise.exp().item() ** 2 == pytest.approx(values[3:].mean().item(), rel=1e-4)
    w = generator.loading.detach().double()
    torch.testing.assert_close(
        torch.linalg.eigvalsh(w @ w.T).flip(0)[:3], values[:3] - values[3:].mean(), rtol=1e-4, atol=1e-6
    )


def test_examples_as_prototypes_are_drawn_with_equal_chances_and_only_from_their_class():
    x, y = torch.arange(12.0).reshape(6, 2) * 100, torch.tensor([1, 0, 1, 2, 1, 0])
    generator = Prototypes((2,), 3, centres="examples", factors=0, spread=1e-6).fit(x, y)
    wanted = torch.tensor([1, 0, 2] * 2000)
    samples = generator.sample(wanted, drawn(generator, 6000)).detach()
    nearest = torch.cdist(samples, x).argmin(1)
    assert torch.equal(y[nearest], wanted)
    share = torch.bincount(nearest[wanted == 1], minlength=6) / 2000
    torch.testing.assert_close(share[y == 1], torch.full((3,), 1 / 3), rtol=0, atol=0.04)


def test_kernels_are_as_wide_as_half_the_way_to_neighbours():
    x, y = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 50.0], [2.0, 50.0]]), torch.zeros(4, dtype=torch.int64)
    generator = Prototypes((2,), 1, centres="examples", factors=1, spread=0.5).fit(x, y)
    # Neighbours differ by (+-2, 0): variance 4 in the first feature, none in the second.
    w, noise = generator.loading.detach(), generator.log_noise.exp().item()
    assert (w @ w.T)[0, 0].item() + noise**2 == pytest.approx((0.5 * 2) ** 2, rel=1e-3)
    assert (w @ w.T)[1, 1].item() == pytest.approx(0, abs=1e-6)


def test_images_vary_along_their_tangents():
    x, y = blobs()
    generator = Prototypes((1, 8, 8), 2).fit(x, y)
    assert generator.centres == "examples"
    tau = generator.log_tau.exp()
    assert (tau[:2] > 0.2).all()  # of a pixel: places vary
    assert (tau[:2] < 1.5).all()
    with torch.no_grad():
        for p in (generator.loading, generator.log_noise):
            p.fill_(0.0 if p is generator.loading else -20.0)
    noise = drawn(generator, 200)
    samples = generator.sample(y.repeat(5), noise).detach()
    place = (noise[:, 0] * 20).long()
    own = generator.prototypes.detach().reshape(2, 20, 64)[y.repeat(5), place]
    ways = tangents(own.reshape(-1, 1, 8, 8)).flatten(2)
    expected = own + torch.einsum("nt,ntd->nd", noise[:, 11:17] * tau.detach(), ways)
    torch.testing.assert_close(samples.flatten(1), expected, rtol=0, atol=1e-5)


def test_tangents_are_the_first_order_of_moving_a_picture():
    # A plane a + b row + c column is moved exactly: its tangents are constants and products of coordinates.
    row, column = torch.meshgrid(torch.arange(5.0) - 2, torch.arange(4.0) - 1.5, indexing="ij")
    down, right, turn, zoom, shear, stretch = tangents((1 + 2 * row + 3 * column)[None, None])[0, :, 0]
    assert (down == 2).all()
    assert (right == 3).all()
    torch.testing.assert_close(turn, 3 * row - 2 * column)
    torch.testing.assert_close(zoom, 2 * row + 3 * column)
    torch.testing.assert_close(shear, 3 * row + 2 * column)
    torch.testing.assert_close(stretch, 3 * column - 2 * row)


@pytest.mark.parametrize("image", [False, True])
def test_gradient_in_phi_is_the_finite_difference(image):
    x, y = blobs(8, 4) if image else gaussian_classes(8)[:2]
    generator = Prototypes(x.shape[1:], 2, factors=2).fit(x, y).double()
    noise, wanted = drawn(generator, 5), torch.tensor([0, 1, 1, 0, 1])
    names = [name for name, _ in generator.named_parameters()]
    phi = tuple(p.detach().clone().requires_grad_() for p in generator.parameters() if p.numel())
    names = [name for name, p in generator.named_parameters() if p.numel()]

    def f(*phi):
        return functional_call(generator, dict(zip(names, phi, strict=True)), (wanted, noise))

    assert torch.autograd.gradcheck(f, phi, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, phi, fast_mode=True)
    assert all((g != 0).any() for g in torch.autograd.grad(f(*phi).pow(2).sum(), phi))


def test_equal_noise_gives_equal_bits_and_examples_do_not_touch():
    x, y = blobs()
    generator = Prototypes((1, 8, 8), 2).fit(x, y)
    noise, wanted = drawn(generator, 6, seed=3), torch.tensor([0, 1, 0, 1, 1, 0])
    samples = generator.sample(wanted, noise)
    assert samples.shape == (6, 1, 8, 8)
    assert torch.equal(samples, generator.sample(wanted, drawn(generator, 6, seed=3)))
    torch.testing.assert_close(generator.sample(wanted[2:], noise[2:]), samples[2:])


def test_bounded_samples_stay_in_each_feature_s_range():
    x, y = blobs()
    generator = Prototypes((1, 8, 8), 2).fit(x, y)
    samples = generator.sample(y, drawn(generator, 40)).detach()
    bounded = generator.bounded(samples)
    assert (bounded >= x.amin(0)).all()
    assert (bounded <= x.amax(0)).all()
    inside = (samples >= x.amin(0)) & (samples <= x.amax(0))
    assert torch.equal(bounded[inside], samples[inside])


def test_a_class_with_one_example_and_one_without_any():
    x, y = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 0, 0, 0, 1])
    for centres in ("examples", "means"):
        generator = Prototypes((3,), 3, centres=centres).fit(x, y)
        assert generator.sample(torch.tensor([0, 1]), drawn(generator, 2)).isfinite().all()
        with pytest.raises(ParameterError, match=r"classes that training had: \[0, 1\]"):
            generator.sample(torch.tensor([2]), drawn(generator, 1))
    alone = Prototypes((3,), 1, centres="examples").fit(x[:1], y[:1])
    assert alone.log_noise.item() == pytest.approx(0.5 * math.log(1e-8))


def test_refusals():
    for kwargs in ({"centres": "medoids"}, {"factors": -1}, {"spread": 0.0}, {"tangent_spread": math.nan}):
        with pytest.raises(ParameterError):
            Prototypes((4,), 2, **kwargs)
    with pytest.raises(ParameterError, match="shape"):
        Prototypes((4, 4), 2)
    generator, x, y = Prototypes((4,), 2), torch.zeros(3, 4), torch.tensor([0, 1, 1])
    for bad_x, bad_y in (
        (torch.zeros(3, 5), y), (x.long(), y), (x[:0], y[:0]), (x + torch.inf, y),
        (x, y[:2]), (x, y + 1), (x, y.float()),
    ):  # fmt: skip
        with pytest.raises(ParameterError):
            generator.fit(bad_x, bad_y)
