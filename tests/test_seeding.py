"""Streams and rollout seeds."""

from __future__ import annotations

import numpy as np
import pytest

from raydm.seeding import rollout_seeds, stream


def first(*path):
    return stream(*path).integers(2**62)


def test_a_path_names_one_stream():
    assert first(3, "actions", 5) == first(3, "actions", 5)


def test_streams_differ_by_seed_word_and_counter():
    paths = [(s, w, t) for s in range(4) for w in ("actions", "batch", "predictor") for t in range(5)]
    assert len({first(*p) for p in paths}) == len(paths)


def test_streams_do_not_depend_on_the_process():
    # A golden number: Python's own hash() of words would change with every process, CRC-32 does not.
    assert first(0, "actions", 1) == np.random.default_rng([0, 2, 88666607, 1]).integers(2**62)


def test_rollouts_may_share_one_seed_over_all_steps():
    one, other = (rollout_seeds(1, step, 5, shared=True) for step in (0, 9))
    assert len({*one.tolist(), *other.tolist()}) == 1
    assert rollout_seeds(2, 0, 1, shared=True)[0] != one[0]


def test_or_have_seeds_of_their_own():
    seeds = np.concatenate([rollout_seeds(s, t, 8, shared=False) for s in (0, 1) for t in range(10)])
    assert len(set(seeds.tolist())) == len(seeds) == 160


def test_a_rollout_s_seed_does_not_depend_on_how_many_there_are():
    assert rollout_seeds(0, 4, 3, shared=False).tolist() == rollout_seeds(0, 4, 9, shared=False)[:3].tolist()


@pytest.mark.parametrize("shared", [True, False])
def test_seeds_are_int64_and_not_negative(shared):
    seeds = rollout_seeds(0, 0, 4, shared=shared)
    assert seeds.shape == (4,)
    assert seeds.dtype == np.int64
    assert (seeds >= 0).all()


def test_negative_seeds_are_refused():
    with pytest.raises(ValueError, match="non-negative"):
        stream(-1, "actions")
