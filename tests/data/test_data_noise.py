"""Label noise: the exact share, always another class, uniformly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydm.data import flip_labels
from raydm.errors import ParameterError


@given(
    n=st.integers(0, 60),
    share=st.floats(0, 1, exclude_max=True),
    n_classes=st.integers(2, 5),
    seed=st.integers(0, 2**32),
)
def test_exactly_the_share_moves_to_another_class(n, share, n_classes, seed):
    y = np.arange(n) % n_classes
    noisy, flipped = flip_labels(y, share, n_classes=n_classes, seed=seed)
    assert flipped.sum() == round(share * n)
    np.testing.assert_array_equal(noisy != y, flipped)
    assert ((noisy >= 0) & (noisy < n_classes)).all()
    np.testing.assert_array_equal(y, np.arange(n) % n_classes)


def test_the_other_classes_are_equally_likely():
    noisy, flipped = flip_labels(np.zeros(100_000, np.int64), 0.9, n_classes=4, seed=0)
    counts = np.bincount(noisy[flipped], minlength=4)
    assert counts[0] == 0
    assert (abs(counts[1:] - 30_000) < 5 * np.sqrt(90_000 * 2 / 9)).all()  # five standard deviations


def test_a_seed_is_one_noise():
    y = np.arange(100) % 3
    first, again, other = (flip_labels(y, 0.5, n_classes=3, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_shares_out_of_range(share):
    with pytest.raises(ParameterError, match="'share' parameter"):
        flip_labels(np.array([0, 1]), share, n_classes=2, seed=0)


def test_what_has_no_classes():
    with pytest.raises(ParameterError, match="classification"):
        flip_labels(np.array([0.5, 1.0]), 0.1, n_classes=2, seed=0)
    with pytest.raises(ParameterError, match="'n_classes'"):
        flip_labels(np.array([0, 0]), 0.1, n_classes=1, seed=0)
    with pytest.raises(ParameterError, match="'y' parameter"):
        flip_labels(np.array([0, 2]), 0.1, n_classes=2, seed=0)
