"""The learned image policy: its limits, its noise, and the gradient in phi."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.func import functional_call

from raydm.augmenters.images import ImageAugmenter
from raydm.augmenters.operations import OPERATIONS
from raydm.errors import ParameterError


def images(n=4, channels=3, side=6, dtype=torch.float32):
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0), dtype=dtype)


def drawn(augmenter, n, seed=0):
    return augmenter.noise(n, np.random.default_rng(seed))


def always(augmenter, yes):
    with torch.no_grad():
        augmenter.logit.fill_(torch.inf if yes else -torch.inf)
    return augmenter


def test_probability_0_leaves_images_as_they_are_bit_by_bit():
    augmenter, x = always(ImageAugmenter(3), False), images()
    assert torch.equal(augmenter(x, None, drawn(augmenter, 4)), x)


@pytest.mark.parametrize("name", list(OPERATIONS))
def test_probability_1_is_the_operation_itself(name):
    augmenter, x = always(ImageAugmenter(3, operations=[name], bounds=None), True), images()
    noise = drawn(augmenter, 4)
    spread = torch.log1p(torch.exp(augmenter.spread[0, 0]))
    strength = OPERATIONS[name].strength(spread * noise[:, 0, 1])
    expected = OPERATIONS[name](x, strength, noise[:, 0, 2:], 0.0)
    torch.testing.assert_close(augmenter(x, None, noise), expected)


def test_before_learning_operations_are_done_at_their_rate_and_within_their_limits():
    augmenter = ImageAugmenter(3, probability=0.3, spread=1.0, temperature=0.001)
    strengths = augmenter.strengths(None, drawn(augmenter, 20_000)).detach()
    limits = torch.tensor([o.limit for o in augmenter.operations])
    assert (strengths.abs() <= limits).all()
    signed = torch.tensor([o.signed for o in augmenter.operations])
    assert (strengths[:, ~signed] >= 0).all()
    assert (strengths[:, signed].mean(0).abs() < 0.01).all()  # the mean starts at 0
    rate = (strengths.abs() > 1e-3 * limits).float().mean(0)
    # A signed strength can be near 0 by itself: (2 / sqrt(2 pi)) * 1e-3 of those that are done
    torch.testing.assert_close(rate, torch.full_like(rate, 0.3), rtol=0, atol=0.015)


def test_equal_seeds_give_equal_bits_and_rows_do_not_touch():
    augmenter, x = ImageAugmenter(3), images()
    out = augmenter(x, None, drawn(augmenter, 4, seed=5))
    assert torch.equal(out, augmenter(x, None, drawn(augmenter, 4, seed=5)))
    assert not torch.equal(out, augmenter(x, None, drawn(augmenter, 4, seed=6)))
    noise = drawn(augmenter, 4, seed=5)
    torch.testing.assert_close(augmenter(x[2:], None, noise[2:]), out[2:])
    assert out.shape == x.shape
    assert ((out >= 0) & (out <= 1)).all()


def test_maps_of_the_plane_are_joined_in_order():
    names = ["translate_x", "rotate"]
    augmenter, x = always(ImageAugmenter(1, operations=names, spread=1e-6), True), images(1, 1, 9)
    with torch.no_grad():
        augmenter.magnitude.copy_(torch.tensor([[0.8, 0.7]]))
    got = augmenter(x, None, drawn(augmenter, 1))
    by, angle = (OPERATIONS[n].strength(torch.tensor([m])) for n, m in zip(names, (0.8, 0.7), strict=True))
    place = torch.zeros(1, 2)
    one_by_one = OPERATIONS["rotate"](OPERATIONS["translate_x"](x, by, place, 0.0), angle, place, 0.0)
    other = OPERATIONS["translate_x"](OPERATIONS["rotate"](x, angle, place, 0.0), by, place, 0.0)
    assert (got - one_by_one).abs().mean() < 0.6 * (got - other).abs().mean()  # interpolated once instead of twice


@pytest.mark.parametrize("n_classes", [None, 2])
def test_gradient_in_phi_is_the_finite_difference(n_classes):
    augmenter = ImageAugmenter(3, n_classes=n_classes, temperature=0.7, bounds=None).double()
    x, y, noise = images(3, side=4, dtype=torch.float64), torch.tensor([1, 0, 1]), drawn(augmenter, 3)
    names = [name for name, _ in augmenter.named_parameters()]
    phi = tuple(p.detach().clone().requires_grad_() for p in augmenter.parameters())

    def f(*phi):
        return functional_call(augmenter, dict(zip(names, phi, strict=True)), (x, y, noise))

    assert torch.autograd.gradcheck(f, phi, check_forward_ad=True)
    gradients = torch.autograd.grad((f(*phi) ** 2).sum(), phi)
    graded = [i for i, o in enumerate(augmenter.operations) if o.graded]
    assert (gradients[0] != 0).all()
    assert all((g[:, graded] != 0).all() for g in gradients[1:])


def test_gradient_of_a_gradient_reaches_phi():
    # What a look-ahead asks for: d/dphi of the slope in x of a function of the augmented images.
    augmenter = ImageAugmenter(3, temperature=0.7, bounds=None).double()
    x, noise = images(2, side=4, dtype=torch.float64).requires_grad_(), drawn(augmenter, 2)
    names = [name for name, _ in augmenter.named_parameters()]
    phi = tuple(p.detach().clone().requires_grad_() for p in augmenter.parameters())

    def f(x, *phi):
        return functional_call(augmenter, dict(zip(names, phi, strict=True)), (x, None, noise)).pow(2).sum()

    assert torch.autograd.gradgradcheck(f, (x, *phi), fast_mode=True)


def test_classes_have_policies_of_their_own():
    augmenter, x = ImageAugmenter(3, n_classes=2), images()
    with torch.no_grad():
        augmenter.logit[0] = -torch.inf
    y, noise = torch.tensor([0, 1, 0, 1]), drawn(augmenter, 4)
    out = augmenter(x, y, noise)
    assert torch.equal(out[[0, 2]], x[[0, 2]])
    assert (out[[1, 3]] != x[[1, 3]]).any(-1).any(-1).any(-1).all()
    with pytest.raises(ParameterError, match="n_classes"):
        augmenter(x, None, noise)


def test_a_policy_can_be_learned():
    # Targets are mirrored and moved by 2 of 10 columns: the policy finds that out from the pictures alone.
    x = torch.nn.functional.interpolate(images(64, 1, 4), size=(10, 10), mode="bilinear")
    place = torch.zeros(64, 2)
    target = OPERATIONS["translate_x"](
        OPERATIONS["flip"](x, torch.ones(64), place, 0.0), torch.full((64,), 0.2), place, 0.0
    )
    augmenter = ImageAugmenter(1, operations=["flip", "translate_x", "rotate", "brightness"])
    optimizer, rng = torch.optim.Adam(augmenter.parameters(), lr=0.05), np.random.default_rng(0)
    for _ in range(200):
        optimizer.zero_grad()
        (augmenter(x, None, augmenter.noise(64, rng)) - target).pow(2).mean().backward()
        optimizer.step()
    learned = {row["operation"]: row for row in augmenter.summary()}
    assert learned["flip"]["probability"] > 0.9
    assert learned["translate_x"]["probability"] > 0.9
    assert learned["translate_x"]["mean"] == pytest.approx(0.2, abs=0.03)
    assert learned["rotate"]["probability"] * abs(learned["rotate"]["mean"]) < 0.1


def test_copies_and_pickles():
    augmenter, x = ImageAugmenter(3), images()
    noise = drawn(augmenter, 4)
    for other in (copy.deepcopy(augmenter), pickle.loads(pickle.dumps(augmenter))):
        assert torch.equal(other(x, None, noise), augmenter(x, None, noise))


def test_refusals():
    for kwargs in ({"operations": ["solarize"]}, {"probability": 1.0}, {"spread": 0}, {"temperature": -1}):
        with pytest.raises(ParameterError):
            ImageAugmenter(3, **kwargs)
    with pytest.raises(ParameterError, match="channels"):
        ImageAugmenter(0)
    augmenter = ImageAugmenter(3)
    noise = drawn(augmenter, 4)
    for x in (torch.zeros(4, 1, 6, 6), torch.zeros(4, 108), torch.zeros(4, 3, 6, 6, dtype=torch.uint8)):
        with pytest.raises(ParameterError, match="images"):
            augmenter(x, None, noise)
