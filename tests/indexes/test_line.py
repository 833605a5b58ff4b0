"""Numbers on a line: the nearest, by sorting, as by every difference."""

from __future__ import annotations

import numpy as np
import pytest

from raydm.indexes import Here, Line, LineSearcher


def plain(values, ids, queries, exclude, k):
    found = []
    for q, own in zip(queries, exclude, strict=True):
        ds = np.abs(values - q)
        ds[ids == own] = np.inf
        order = np.lexsort((ids, ds))[:k]
        found.append((ds[order], ids[order], order))
    return tuple(np.stack(part) for part in zip(*found, strict=True))


RNG = np.random.default_rng(0)
SETS = {
    "normal": RNG.standard_normal(500),
    "few values": RNG.integers(0, 4, 500).astype(float),
    "one value": np.zeros(500),
    "rounding": 1 + np.arange(500) * 2.0**-60,  # all differences from 9 round to one number
    "steps": np.round(RNG.standard_normal(500), 1),
    "huge": RNG.standard_normal(500) * 1e300,
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("k", [1, 7, 499])
def test_the_nearest_with_ties_by_id(name, k):
    values = SETS[name]
    ids = RNG.permutation(5000)[:500]
    found = Line(values, ids).nearest(values, ids, k)
    for a, b in zip(found, plain(values, ids, values, ids, k), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_queries_and_far_ones():
    values, ids = SETS["normal"], np.arange(500)
    queries = np.array([-1e9, 0.0, 5.0, 1e9])
    found = Line(values, ids).nearest(queries, None, 6)
    np.testing.assert_array_equal(found[1], plain(values, ids, queries, [-1] * 4, 6)[1])
    values = SETS["rounding"][::-1].copy()  # the farthest first: ids, not places, decide
    rounding = Line(values, ids).nearest(np.array([5.0, 9.0]), None, 3)
    np.testing.assert_array_equal(rounding[1], plain(values, ids, np.array([5.0, 9.0]), [-1] * 2, 3)[1])
    np.testing.assert_array_equal(rounding[1][1], [0, 1, 2])  # all 8, as float64 sees it


@pytest.mark.parametrize("name", SETS)
def test_results_do_not_depend_on_the_parts(name):
    values, ids = SETS[name], RNG.permutation(500)
    found = [
        LineSearcher(Here([Line(values[i::parts], ids[i::parts]) for i in range(parts)])).search(
            values[:, None], 9, exclude=ids
        )
        for parts in (1, 2, 3, 60)
    ]
    for other in found[1:]:
        np.testing.assert_array_equal(other.ids, found[0].ids)
        np.testing.assert_array_equal(other.distances, found[0].distances)
