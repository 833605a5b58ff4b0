"""RandAugment: its magnitudes, its chances, and that nothing about it is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raydm.augmenters.operations import OPERATIONS
from raydm.augmenters.randaugment import RandAugment
from raydm.errors import ParameterError


def images(n=6, side=8):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0))


def test_no_operation_and_no_flip_leave_images_as_they_are():
    x = images()
    for augmenter in (RandAugment(0, flip=False), RandAugment(3, 0, flip=False)):
        assert torch.equal(augmenter(x, None, augmenter.noise(6, np.random.default_rng(0))), x)


def test_a_magnitude_is_a_share_of_the_limit_with_either_sign():
    augmenter, x = RandAugment(1, 15, operations=["translate_x"], flip=False), images(2000)
    noise = augmenter.noise(2000, np.random.default_rng(0))
    out = augmenter(x, None, noise)
    place, limit = torch.zeros(2000, 2), OPERATIONS["translate_x"].limit
    plus, minus = (OPERATIONS["translate_x"](x, torch.full((2000,), s * limit / 2), place, 0.0) for s in (1, -1))
    which = torch.stack([(out == other).flatten(1).all(1) for other in (x, plus, minus)]).float().mean(1)
    torch.testing.assert_close(which, torch.tensor([0.5, 0.25, 0.25]), rtol=0, atol=0.04)
    assert which.sum() == 1


def test_half_of_the_images_are_mirrored():
    augmenter, x = RandAugment(0), images(2000)
    out = augmenter(x, None, augmenter.noise(2000, np.random.default_rng(0)))
    mirrored = (out == x.flip(-1)).flatten(1).all(1)
    assert ((out == x).flatten(1).all(1) | mirrored).all()
    assert mirrored.float().mean().item() == pytest.approx(0.5, abs=0.04)


def test_operations_have_equal_chances_and_the_identity_one_more():
    augmenter = RandAugment(1, 30, flip=False)
    x = images(4000, 6)
    noise = augmenter.noise(4000, np.random.default_rng(1))
    same = (augmenter(x, None, noise) == x).flatten(1).all(1).float().mean().item()
    assert same == pytest.approx(1 / 9, abs=0.02)
    assert [row["probability"] for row in augmenter.summary()] == [1 / 9] * 8


def test_results_stay_in_bounds_and_equal_seeds_give_equal_bits():
    augmenter, x = RandAugment(3, 30, cutout=0.5), images()
    noise = augmenter.noise(6, np.random.default_rng(3))
    out = augmenter(x, None, noise)
    assert out.shape == x.shape
    assert ((out >= 0) & (out <= 1)).all()
    assert torch.equal(out, augmenter(x, None, augmenter.noise(6, np.random.default_rng(3))))
    torch.testing.assert_close(augmenter(x[1:3], None, noise[1:3]), out[1:3])
    assert not list(augmenter.parameters())


def test_cutout_comes_last_and_cuts_its_share():
    augmenter, x = RandAugment(0, flip=False, cutout=0.5), images() + 1
    augmenter.bounds = None
    noise = augmenter.noise(6, np.random.default_rng(0))
    noise[:, -1, 2:] = 0.5
    out = augmenter(x, None, noise)
    assert (out[:, :, 2:6, 2:6] == 0).all()
    assert (out == 0).sum() == 6 * 3 * 16


def test_refusals():
    for kwargs in ({"n": -1}, {"magnitude": 31}, {"cutout": 2.0}, {"operations": ["posterize"]}):
        with pytest.raises(ParameterError):
            RandAugment(**kwargs)
