"""Thin films: reflectances worked out on paper, and the named set."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from raydm.data import load_set, prepare, to_array
from raydm.data.thin_film import LABELS, reflectance, refractive_index
from raydm.errors import DataError

BASE = np.array([1.5 + 0j])


def test_a_bare_base_reflects_as_fresnel_says() -> None:
    none = np.empty((0, 1), complex)
    assert reflectance(np.empty((1, 0)), none, BASE, np.array([500.0])) == pytest.approx(
        0.2**2
    )  # (1 - 1.5) / (1 + 1.5)


def test_a_quarter_wave_film() -> None:
    """R = ((n_base - n^2) / (n_base + n^2))^2 at a quarter wave; a half wave is as if it were not there."""
    film, at = np.array([[1.38 + 0j]]), np.array([552.0])
    quarter, half = reflectance(np.array([[100.0], [200.0]]), film, BASE, at)[:, 0]
    assert quarter == pytest.approx(((1.5 - 1.38**2) / (1.5 + 1.38**2)) ** 2)
    assert half == pytest.approx(0.04)


def test_films_of_one_index_are_one_film_and_their_order_matters_otherwise() -> None:
    at, alike = np.linspace(300, 800, 7), np.full((2, 7), 2.0 - 0.1j)
    base = np.full(7, 3.5 - 0.02j)
    two = reflectance(np.array([[30.0, 50.0]]), alike, base, at)
    np.testing.assert_allclose(two, reflectance(np.array([[80.0]]), alike[:1], base, at))
    films = np.stack([np.full(7, 2.0 + 0j), np.full(7, 1.45 + 0j)])
    turned = reflectance(np.array([[50.0, 30.0]]), films[::-1], base, at)
    assert np.abs(reflectance(np.array([[30.0, 50.0]]), films, base, at) - turned).max() > 0.05


def test_light_is_not_made() -> None:
    """An absorbing film never reflects more than all, and a thick one hides the base."""
    rng, at = np.random.default_rng(0), np.linspace(300, 800, 9)
    films = rng.uniform(1, 4, (3, 9)) - 1j * rng.uniform(0, 3, (3, 9))
    share = reflectance(rng.uniform(0, 300, (50, 3)), films, np.full(9, 4.0 - 1j), at)
    assert (share >= 0).all()
    assert (share <= 1).all()
    black = np.full((1, 9), 2.0 - 1.0j)
    hidden = [reflectance(np.array([[3000.0]]), black, np.full(9, n), at) for n in (1.5 + 0j, 4.0 - 2j)]
    np.testing.assert_allclose(*hidden, atol=1e-9)


def test_indices_from_a_formula_and_from_a_table(tmp_path: Path) -> None:
    formula, table, other = (tmp_path / name for name in ("formula.yml", "table.yml", "other.yml"))
    formula.write_text("DATA:\n  - type: formula 1\n    coefficients: 0.5 1 0.1\n")
    n = refractive_index(formula, np.array([500.0]))
    assert n == pytest.approx(np.sqrt(1 + 0.5 + 0.25 / (0.25 - 0.01)))  # micrometres
    table.write_text("DATA:\n  - type: tabulated nk\n    data: |\n      0.4 2 0.5\n      0.6 3 0.1\n")
    assert refractive_index(table, np.array([500.0])) == pytest.approx(2.5 - 0.3j)
    other.write_text("DATA:\n  - type: formula 2\n")
    with pytest.raises(DataError, match=r"other\.yml: holds 'formula 2'\. Expected"):
        refractive_index(other, np.array([500.0]))
    other.write_text("nothing: [")
    with pytest.raises(DataError, match="is not a material"):
        refractive_index(other, np.array([500.0]))


@pytest.mark.skipif("RAYDM_DATA" not in os.environ, reason="RAYDM_DATA names no data folder")
def test_the_named_set() -> None:
    loaded = load_set("thin_film", seed=3)
    assert loaded.label == LABELS
    spectra = to_array(loaded.train["x"])
    assert spectra.shape == (500, 226)
    assert -0.015 <= spectra.min() < spectra.max() <= 1.015
    assert 0.1 < spectra.std(0).mean() < 0.3
    for name in LABELS:
        thickness = np.concatenate([part[name].to_numpy() for part in (loaded.train, loaded.valid, loaded.test)])
        assert 10 <= thickness.min() < 12
        assert 98 < thickness.max() <= 100
    prepared = prepare(loaded.train, loaded.valid, label=loaded.label, id="id")
    assert prepared.train.y.shape == (500, 4)
