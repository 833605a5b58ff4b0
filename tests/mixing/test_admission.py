"""The reference, and which mixed rows it lets in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mixing_kit import examples, line, problem

from raydm.data import Examples
from raydm.data.task import Task
from raydm.errors import RunError
from raydm.mixing.admission import Admission, load_admission
from raydm.mixing.mixer import Mixer
from raydm.mixing.mixrl import MixRL
from raydm.mixing.options import Options
from raydm.mixing.partners import SameNeighbors
from raydm.mixing.reference import Reference, fit_reference
from raydm.mixing.settings import MixSettings
from raydm.mixing.shares import FixedShares


class Told:
    """A trained member that says c x_0 of any row."""

    def __init__(self, c: float) -> None:
        self.c = c

    def predict(self, x):
        return self.c * x[None, :, :1]


def told(*slopes: float, shares: list[float], scale: float = 1.0) -> Reference:
    return Reference([Told(c) for c in slopes], np.array(shares), np.array([scale]), Task("regression", 1), 1)


def test_a_label_error_is_the_distance_to_the_mean_of_the_members():
    rows = examples(np.array([1.0, 2.0, 4.0]), np.array([1.0, 0.0, 6.0]))
    # .25 * 1 x + .75 * 3 x = 2.5 x: 2.5, 5, 10, of which 1, 0, 6 are 1.5, 5, 4 away, in units of 2
    errors = told(1.0, 3.0, shares=[0.25, 0.75], scale=2.0).label_errors(rows)
    assert errors == pytest.approx([0.75, 2.5, 2.0])


def test_several_targets_count_alike():
    rows = Examples(np.ones((1, 1), np.float32), np.array([[2.0, 5.0]], np.float32), np.arange(1))
    both = Reference([Told(1.0)], np.ones(1), np.array([1.0, 8.0]), Task("regression", 2), 1)
    assert both.label_errors(rows) == pytest.approx([(1 / 1 + 4 / 8) / 2])


def test_rows_whose_noise_cancels_are_let_in_and_those_where_it_adds_up_are_not():
    # Labels x + e with e = +1, -1, +1: rows 0 and 1 halfway have noise 0, rows 0 and 2 have 1
    train = examples(np.array([0.0, 1.0, 0.1]), np.array([1.0, 0.0, 1.1]))
    mixer = Mixer(SameNeighbors("data", 2), FixedShares(0.5), Admission(told(1.0, shares=[1.0]), 0.5))
    pairs = mixer.pairs(train, seed=0)
    assert {frozenset(p) for p in zip(pairs.i.tolist(), pairs.j.tolist(), strict=True)} == {
        frozenset({0, 1}), frozenset({1, 2}),
    }  # fmt: skip


def test_the_reference_learns_what_labels_are():
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, (300, 1)).astype(np.float32)
    rows = Examples(x, (np.sin(x[:, 0]) + 0.3 * rng.normal(size=300)).astype(np.float32), np.arange(300))
    reference = fit_reference(rows.take(np.arange(200)), rows.take(np.arange(200, 300)), Task("regression", 1), 0)
    at = np.linspace(-2.5, 2.5, 50, dtype=np.float32)[:, None]
    truth = Examples(at, np.sin(at[:, 0]), np.arange(50))
    assert reference.shares.sum() == pytest.approx(1)
    assert (reference.shares >= 0).all()
    assert reference.label_errors(truth).mean() < 0.15  # of a standard deviation .75; the noise is .4 of it


def test_what_was_saved_lets_the_same_in(tmp_path: Path):
    train, other = line(30), line(25, seed=3)
    admission = Admission(fit_reference(train, line(12, seed=1), Task("regression", 1), 0), 0.1)
    admission.reference.save(tmp_path)
    again = load_admission(tmp_path, admission.state())
    np.testing.assert_array_equal(again.reference.label_errors(other), admission.reference.label_errors(other))
    torn = next(tmp_path.rglob("*.skops"))
    torn.write_bytes(torn.read_bytes()[:100])
    with pytest.raises(RunError, match="cannot be read"):
        load_admission(tmp_path, admission.state())


def test_the_given_share_of_what_options_may_make_is_let_in():
    train, valid = line(60), line(20, seed=1)
    settings = MixSettings(options=Options((3,), ()), steps=0, admit=0.25)
    mixrl = MixRL(train, problem(valid), settings)
    assert mixrl.admission is not None
    every = Mixer(SameNeighbors("data", 3), FixedShares(0.5)).pairs(train, 0)
    assert mixrl.admission.admits(every.rows(train)).mean() == pytest.approx(0.25, abs=1 / len(every))


def test_all_are_let_in_without_a_reference():
    assert MixRL(line(20), problem(line(9, seed=1)), MixSettings(options=Options((3,), ()), admit=1)).admission is None
