"""Means with their errors, and the share of noise."""

from __future__ import annotations

import numpy as np
import pytest

from raydm.valuation.sampling import Tally, noise


def test_a_tally_is_mean_and_standard_error_of_all_samples() -> None:
    samples = 1e6 + np.random.default_rng(0).normal(size=(30, 4))
    tally = Tally(4)
    assert np.isnan(tally.mean).all()
    for part in np.split(samples, [1, 2, 9]):
        tally.add(part)
    np.testing.assert_allclose(tally.mean, samples.mean(0), rtol=1e-14)
    np.testing.assert_allclose(tally.standard_errors, samples.std(0, ddof=1) / np.sqrt(30), rtol=1e-8)
    assert tally.count == 30


def test_one_sample_has_no_error_as_yet() -> None:
    tally = Tally(2)
    tally.add(np.array([[1.0, 2.0]]))
    assert tally.mean.tolist() == [1, 2]
    assert np.isnan(tally.standard_errors).all()


@pytest.mark.parametrize("wanted", [0.15, 0.3, 0.5])
def test_noise_tells_the_correlation_with_the_true_values(wanted: float) -> None:
    rng = np.random.default_rng(1)
    truth = rng.normal(size=20_000)
    error = wanted / np.sqrt(1 - wanted**2)
    values = truth + error * rng.normal(size=len(truth))
    found = noise(values, np.full(len(truth), error))
    assert found == pytest.approx(wanted, rel=0.02)
    assert np.corrcoef(values, truth)[0, 1] == pytest.approx(np.sqrt(1 - found**2), abs=0.01)


def test_noise_at_the_ends() -> None:
    assert noise(np.ones(3), np.zeros(3)) == 0
    assert noise(np.ones(3), np.full(3, 0.1)) == np.inf
    assert np.isnan(noise(np.arange(3.0), np.array([0.1, np.nan, 0.1])))
    assert np.isnan(noise(np.ones(3), np.full(3, np.nan)))
