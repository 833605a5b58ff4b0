"""Streams and rollout seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from raydm.seeding import drawing, hashed, repeatable, rollout_seeds, stream


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


def grid(count):
    return [a.reshape(-1) for a in np.meshgrid(np.arange(count), np.arange(count), indexing="ij")]


def test_hashed_numbers_depend_on_their_own_counters_alone():
    low, high = grid(30)
    order = np.random.default_rng(0).permutation(900)[:200]
    whole = hashed(3, "lambda", counters=[low, high])
    np.testing.assert_array_equal(hashed(3, "lambda", counters=[low[order], high[order]]), whole[order])
    for other in (hashed(4, "lambda", counters=[low, high]), hashed(3, "eps", counters=[low, high])):
        assert not np.isin(other, whole).any()
    assert len(np.unique(whole)) == 900  # also of (i, j) and (j, i)


def test_hashed_numbers_of_one_counter_are_splitmix64_s():
    # In Python's integers: the generator as its authors give it, from the state that the stream names
    state, mask = int(stream(3, "lambda").integers(2**64, dtype=np.uint64)), 2**64 - 1
    expected = []
    for _ in range(5):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        expected.append((((z ^ (z >> 31)) >> 12) + 0.5) / 2**52)
    assert hashed(3, "lambda", counters=[np.arange(5)]).tolist() == expected


def test_hashed_numbers_are_uniform_and_neighbours_are_independent():
    low, high = grid(300)
    u = hashed(0, "lambda", counters=[low, high]).reshape(300, 300)
    assert 0 < u.min() < u.max() < 1
    assert stats.kstest(u.reshape(-1), "uniform").pvalue > 0.01
    for a, b in ((u[1:], u[:-1]), (u[:, 1:], u[:, :-1]), (u, u.T)):
        off = ~np.eye(300, dtype=bool)[: a.shape[0], : a.shape[1]]
        assert abs(np.corrcoef(a[off], b[off])[0, 1]) < 0.01
    counts = np.histogram2d(u[:, :-1].reshape(-1), u[:, 1:].reshape(-1), bins=10)[0]
    assert stats.chisquare(counts.reshape(-1)).pvalue > 0.01


def test_hashed_numbers_of_none():
    assert hashed(0, "x", counters=[np.empty(0, np.int64)]).shape == (0,)


def test_what_is_drawn_within_follows_the_seed_and_leaves_no_trace():
    torch.manual_seed(1)
    apart = torch.rand(2)
    torch.manual_seed(1)
    with drawing(5, torch.device("cpu")):
        first = torch.rand(3)
    with drawing(5, torch.device("cpu")):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.rand(2), apart)


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_the_device_that_is_worked_on_is_seeded_and_no_other(monkeypatch, name):
    # Two GPUs, of which the second is the current one; generators of CPUs stand in for theirs.
    gpus = [torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)]

    def at(device):
        return gpus[1 if device.index is None else device.index]

    monkeypatch.setattr(torch.cuda, "default_generators", gpus)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: at(device).get_state())
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: at(device).set_state(state))
    before = [gpu.get_state() for gpu in gpus]
    with drawing(5, torch.device(name)):
        assert gpus[1].initial_seed() == 5
        torch.rand(3, generator=gpus[1])
        assert torch.equal(gpus[0].get_state(), before[0])
    assert all(torch.equal(gpu.get_state(), state) for gpu, state in zip(gpus, before, strict=True))


def test_cudnn_is_as_it_was_after_it_had_to_repeat_itself():
    assert not torch.backends.cudnn.deterministic
    with repeatable():
        assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.deterministic


def test_cudnn_is_as_it_was_after_an_error_too():
    with pytest.raises(KeyError), repeatable():
        {}["nothing"]
    assert not torch.backends.cudnn.deterministic
