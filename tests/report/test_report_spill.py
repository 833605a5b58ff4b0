"""Ranks and repeated keys of more keys than are in memory at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from raydm.report import spill
from raydm.report.spill import Spill

KEYS = st.integers(0, 60).flatmap(
    lambda n: st.one_of(
        arrays(np.float64, n, elements=st.floats(-1, 0)),
        arrays(np.float64, n, elements=st.sampled_from([-1.0, -0.5, 0.0])),
        arrays(np.uint64, n, elements=st.integers(0, 2**64 - 1)),
        arrays(np.uint64, n, elements=st.integers(0, 9)),
        st.just(np.arange(n, dtype=np.uint64)),
    )
)


@given(KEYS, st.integers(1, 7), st.integers(1, 20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_a_stable_sort(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: np.ndarray, pieces: int, part: int
) -> None:
    monkeypatch.setattr(spill, "PART", part)
    with Spill(tmp_path, keys.dtype) as kept:
        for piece in np.array_split(keys, pieces):
            kept.add(piece)
        ranks = np.concatenate([np.empty(0, np.int64), *kept.ranks()])
        pairs = list(kept.repeated())
        ascending = kept.ascending
    order = np.argsort(keys, kind="stable")
    expected = np.empty(len(keys), np.int64)
    expected[order] = np.arange(1, len(keys) + 1)
    assert ranks.tolist() == expected.tolist()
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    assert pairs == [(int(order[i]), int(order[i + 1])) for i in same]
    assert ascending == bool((keys[1:] > keys[:-1]).all())
    assert list(tmp_path.iterdir()) == []


def test_parts_of_many_keys_are_as_large_as_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spill, "PART", 1000)
    rng = np.random.default_rng(0)
    keys = np.where(rng.random(50_000) < 0.3, 0.5, rng.random(50_000))  # a third are equal
    with Spill(tmp_path, np.float64) as kept:
        for piece in np.array_split(keys, 7):
            kept.add(piece)
        parts = [len(some) for some, _ in kept.sorted()]
    assert sum(parts) == len(keys)
    assert max(parts) < 2000
