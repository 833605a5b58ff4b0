"""Neighbour options: their short forms, and their numbers."""

from __future__ import annotations

import numpy as np
import pytest

from raydm.errors import ParameterError
from raydm.mixing.options import Options, counts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4", (4,)),
        (4, (4,)),
        (np.int64(4), (4,)),
        ([8, 2, 2], (2, 8)),
        (np.arange(1, 4), (1, 2, 3)),
        (range(1, 3), (1, 2)),
        ("1..5", (1, 2, 3, 4, 5)),
        ("10..40:10", (10, 20, 30, 40)),
        ("10..45:10", (10, 20, 30, 40)),
        ("2^0..2^4", (1, 2, 4, 8, 16)),
        ("3^1..3^3", (3, 9, 27)),
        ("7, 1..2, 2^1..2^2", (1, 2, 4, 7)),
        ("none", ()),
        ("", ()),
    ],
)
def test_short_forms(text, expected):
    assert counts(text) == expected
    assert all(type(k) is int for k in counts(text))  # as JSON has them


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "0..4",
        "4..1",
        "1..4:0",
        "2^3..2^1",
        "2^0..3^4",
        "1^0..1^4",
        "a",
        "1.5",
        "²",
        [0],
        -1,
        1.5,
        [1.0],
        True,
        None,
    ],
)
def test_slips_are_told(text):
    with pytest.raises(ParameterError, match=r"'k' parameter of raydm mix must be counts such as .* 2\^0..2\^8"):
        counts(text)


def test_lists_that_nobody_means_are_refused():
    with pytest.raises(ParameterError, match="counts such as"):
        counts("1..1000000000")


def test_options_count_through_data_then_label():
    options = Options((1, 3), (2, 4, 8))
    assert len(options) == 5
    assert options.each == [("data", 1), ("data", 3), ("label", 2), ("label", 4), ("label", 8)]
    assert [options.each[options.of(d)] for d in ("data", "label")] == [options.each[:2], options.each[2:]]
    assert (options.most("data"), options.most("label")) == (3, 8)
    assert options.by_distance == {"data": (1, 3), "label": (2, 4, 8)}


def test_small_training_sets_allow_fewer():
    assert Options((1, 3), (2, 4)).at_most(3) == Options((1, 3), (2,))
    with pytest.raises(
        ParameterError, match="Each of 4 training rows has 3 others, and the options begin at 4 neighbours"
    ):
        Options((4,), ()).at_most(3)
