"""The unit in which labels are compared."""

from __future__ import annotations

import numpy as np
import pytest
from mixing_kit import examples

from raydm.mixing.options import Options
from raydm.mixing.pairs import label_scale, neighborhood


def test_one_target_has_no_unit_and_its_ties_are_by_row() -> None:
    assert label_scale([np.array([1.0, 5.0])]) == 1.0
    y = [0.5, 0.25, 0.75, 0.0]  # the rows 1 and 2 are as far from row 0
    found = neighborhood(examples(np.zeros(4), y), Options((), (2,))).of["label"]
    assert found[0].tolist() == [1, 2]


def test_several_targets_have_their_standard_deviations_however_they_are_cut() -> None:
    y = np.random.default_rng(0).normal(5, [1.0, 40.0, 0.0], size=(1000, 3)).astype(np.float32)
    y[:, 2] = 3.0
    cuts = [y[:300], y[300:310], y[310:]]
    assert label_scale(cuts)[:2] == pytest.approx(y[:, :2].astype(np.float64).std(0), rel=1e-12)  # type: ignore[index]
    assert label_scale(cuts)[2] == 1.0  # type: ignore[index]  # all are equal: their distance is 0 in any unit
