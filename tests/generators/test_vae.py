"""The class-conditional variational autoencoder: its bound, what it learns, and the gradient in the decoder."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.func import functional_call

from raydm.errors import ParameterError
from raydm.generators import VAE


def table(n=300, seed=0):
    """Two classes of rows on a line, 3 features in different units: class 1 lies 4 further up the line."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    along = rng.normal(size=n) + 4 * y
    x = np.stack([along, 100 - 10 * along, rng.normal(size=n) * 0.01], 1)
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y)


def drawn(generator, n, seed=0):
    return generator.noise(n, np.random.default_rng(seed))


def test_it_learns_the_classes_and_what_varies_within_them():
    x, y = table()
    generator = VAE((3,), 2, latent=2, hidden=(32,)).fit(x, y, seed=0)
    assert generator.likelihood == "gaussian"
    wanted = torch.arange(4000) % 2
    samples = generator.sample(wanted, drawn(generator, 4000)).detach()
    for c in range(2):
        own, real = samples[wanted == c], x[y == c]
        assert own[:, 0].mean().item() == pytest.approx(4 * c, abs=0.4)
        torch.testing.assert_close(own.std(0), real.std(0), rtol=0.3, atol=0)
        assert torch.corrcoef(own[:, :2].T)[0, 1].item() < -0.85


def test_bernoulli_for_images_in_shares():
    x, y = torch.zeros(40, 1, 4, 4), torch.arange(40) % 2
    x[y == 0, :, :2], x[y == 1, :, 2:] = 1.0, 1.0
    generator = VAE((1, 4, 4), 2, latent=2, hidden=(16,), steps=600).fit(x, y)
    assert generator.likelihood == "bernoulli"
    samples = generator.sample(torch.tensor([0, 1]), drawn(generator, 2)).detach()
    assert ((samples >= 0) & (samples <= 1)).all()
    assert samples[0, 0, :2].min() > 0.8 > 0.2 > samples[0, 0, 2:].max()
    assert samples[1, 0, 2:].min() > 0.8 > 0.2 > samples[1, 0, :2].max()
    assert VAE((16,), 2, steps=1).fit(x.flatten(1), y).likelihood == "gaussian"  # shares in a table may be anything


def test_bound_by_hand():
    # Encoder and decoder zero but for biases: q = N(m, s^2), p(x | z) = N(b, t^2), whatever x, y and z are.
    generator = VAE((1,), 2, latent=1, hidden=(2,), beta=0.5, likelihood="gaussian").double()
    with torch.no_grad():
        for p in generator.parameters():
            p.zero_()
        generator.encoder[-1].bias.copy_(torch.tensor([0.7, math.log(0.25)], dtype=torch.float64))
        generator.decoder[-1].bias.fill_(0.4)
        generator.log_noise.fill_(math.log(2))
    x, y = torch.tensor([[1.4]], dtype=torch.float64), torch.tensor([1])
    log_p = -0.5 * ((1.4 - 0.4) / 2) ** 2 - math.log(2) - 0.5 * math.log(2 * math.pi)
    divergence = 0.5 * (0.49 + 0.25 - 1 - math.log(0.25))
    bound = generator.bound(x, y, torch.randn(1, 1))
    assert bound.item() == pytest.approx(log_p - 0.5 * divergence, rel=1e-12)


def test_the_bound_is_below_the_evidence():
    # Linear decoder: x = a z + b + t e, so x ~ N(b, a^2 + t^2); the bound is tight at the true posterior alone.
    generator = VAE((1,), 1, latent=1, hidden=(), likelihood="gaussian").double()
    a, b, t, x = 1.5, 0.3, 0.5, 1.1
    variance = 1 / (1 + (a / t) ** 2)
    with torch.no_grad():
        for p in generator.parameters():
            p.zero_()
        generator.decoder[-1].weight[0, 0], generator.decoder[-1].bias[0] = a, b
        generator.log_noise.fill_(math.log(t))
    evidence = -0.5 * (x - b) ** 2 / (a * a + t * t) - 0.5 * math.log(2 * math.pi * (a * a + t * t))
    e = torch.from_numpy(np.random.default_rng(0).standard_normal((200_000, 1)))
    rows, y = torch.full((200_000, 1), x, dtype=torch.float64), torch.zeros(200_000, dtype=torch.int64)
    for mean, factor, tight in ((variance * a * (x - b) / t**2, 1.0, True), (0.0, 2.0, False)):
        with torch.no_grad():
            generator.encoder[-1].bias.copy_(torch.tensor([mean, math.log(factor * variance)]))
            bound = generator.bound(rows, y, e).mean().item()
        assert (abs(bound - evidence) < 0.01) == tight
        assert bound < evidence + 0.01


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_gradient_in_the_decoder_is_the_finite_difference(likelihood):
    x, y = torch.rand(20, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(20) % 2
    generator = VAE((1, 2, 2), 2, latent=2, hidden=(3,), likelihood=likelihood, steps=20).fit(x, y).double()
    noise, wanted = drawn(generator, 4), torch.tensor([0, 1, 1, 0])
    own = {n: p for n, p in generator.named_parameters() if not n.startswith("encoder")}
    if likelihood == "bernoulli":
        own.pop("log_noise")
    phi = tuple(p.detach().clone().requires_grad_() for p in own.values())

    def f(*phi):
        return functional_call(generator, dict(zip(own, phi, strict=True)), (wanted, noise))

    assert torch.autograd.gradcheck(f, phi, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, phi, fast_mode=True)
    assert all((g != 0).any() for g in torch.autograd.grad(f(*phi).pow(2).sum(), phi))


def test_equal_seeds_give_equal_bits():
    x, y = table(60)
    one, same, other = (VAE((3,), 2, steps=100).fit(x, y, seed=seed) for seed in (4, 4, 5))
    noise, wanted = drawn(one, 6, seed=1), torch.tensor([0, 1] * 3)
    assert torch.equal(one.sample(wanted, noise), same.sample(wanted, drawn(one, 6, seed=1)))
    assert not torch.equal(one.sample(wanted, noise), other.sample(wanted, noise))
    torch.testing.assert_close(one.sample(wanted[2:], noise[2:]), one.sample(wanted, noise)[2:])


def test_training_ends_early_and_keeps_the_best():
    # 40 rows of nothing but noise: the bound on the watched ones soon gets worse.
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 6, generator=generator), torch.zeros(40, dtype=torch.int64)

    def evidence(vae):
        rows, e = torch.randn(2000, 6, generator=torch.Generator().manual_seed(1)), torch.zeros(2000, vae.latent)
        with torch.no_grad():
            return vae.bound(rows, torch.zeros(2000, dtype=torch.int64), e).mean().item()

    stopped = VAE((6,), 1, hidden=(32,), weight_decay=0.0, patience=100).fit(x, y)
    went_on = VAE((6,), 1, hidden=(32,), weight_decay=0.0, steps=1000, patience=10_000).fit(x[:9].repeat(4, 1), y[:36])
    assert evidence(stopped) > evidence(went_on)
    assert evidence(stopped) > -6 * (0.5 * math.log(2 * math.pi) + 0.5) - 1.5  # the truth's is -8.5


def test_pixels_keep_their_own_deviations():
    x, y = torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(0)) * 10, torch.arange(40) % 2
    x[..., 0] /= 100  # pixels that hardly change
    generator = VAE((1, 2, 2), 2, latent=2, hidden=(8,), steps=10).fit(x, y)
    assert generator.scale.unique().numel() == 1
    torch.testing.assert_close(generator.scale[0] ** 2, x.var(0, correction=0).mean())


def test_a_constant_feature_stays_constant():
    x, y = table(60)
    x[:, 1] = 7.0
    generator = VAE((3,), 2, steps=300).fit(x, y)
    samples = generator.bounded(generator.sample(y, drawn(generator, 60)))
    assert (samples[:, 1] == 7).all()


def test_refusals():
    for kwargs in ({"latent": 0}, {"beta": 0}, {"lr": -1}, {"likelihood": "poisson"}, {"weight_decay": -1.0}):
        with pytest.raises(ParameterError):
            VAE((4,), 2, **kwargs)
    with pytest.raises(ParameterError, match="from 0 to 1"):
        VAE((3,), 2, likelihood="bernoulli").fit(*table(20))
