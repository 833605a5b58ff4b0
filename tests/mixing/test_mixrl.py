"""MixRL: what it learns where the right answer is known, and that its rows are those of its end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mixing_kit import QUICK, examples, kink, line, problem

from raydm.baselines import LeaveOneOut, MovingAverage
from raydm.data.source import UniformBatches
from raydm.metrics import METRICS
from raydm.mixing.mixrl import MixRL
from raydm.mixing.options import Options
from raydm.mixing.region import RegionShares
from raydm.mixing.settings import MixSettings
from raydm.networks import PolicyRegion


def learned(train, valid, settings=QUICK, **arguments):
    mixrl = MixRL(train, problem(valid, **arguments), settings)
    steps = list(mixrl.steps())
    return mixrl, steps


def teeth():
    """A saw with teeth of three rows, and trusted rows halfway between each two of a tooth.

    The nearest by data is the row before, and the row between is right where the trusted ones are. The nearest by label
    stands at the same place of the tooth before: the row between is halfway between two others, and wrong by 1.5.
    """
    x, between = np.arange(21.0), np.arange(0.5, 20)
    between = between[between % 3 < 2]
    # The teeth grow, so that the tooth before is nearer by label than the one behind, and not as near but for rounding
    train, valid = (examples(at / 5, at % 3 + 0.001 * at**2) for at in (x, between))
    return train, valid


def test_it_learns_to_mix_by_the_distance_that_does_right():
    # 1-NN is wrong by 1/2 at each trusted row, by 0 with a row between by data, and by 1.5 with one by label
    train, valid = teeth()
    given = replace(problem(valid), metric=METRICS["mae"])
    settings = MixSettings(options=Options((1,), (1,)), steps=60, rollouts=32, learning_rate=1e-2, repeats=1, admit=1)
    mixrl = MixRL(train, given, settings)
    u = [float(step.u.mean()) for step in mixrl.steps()]
    h = mixrl.h(train)
    assert h.shape == (21, 2)
    assert h[:, 0].mean() > h[:, 1].mean() + 0.3
    assert np.mean(u[-10:]) > np.mean(u[:10]) + 0.05
    pairs, tried = mixrl.pairs(), [c["utility"] for c in mixrl.candidates]
    assert (pairs.kind == "data").mean() > 0.8
    assert len(pairs) >= 10
    assert max(tried) > -0.2 > -0.4 > max(tried[0], tried[-1])  # mixing all by both distances, and mixing none


def test_the_threshold_does_at_least_as_well_as_no_mixing():
    mixrl, _ = learned(*kink())
    tried = {c["threshold"]: c["utility"] for c in mixrl.candidates}
    assert tried[mixrl.threshold] == max(tried.values())
    assert mixrl.candidates[0]["threshold"] == 0.0
    assert mixrl.candidates[-1]["mixed_rows"] == 0  # above the highest h


def test_mixed_rows_of_the_candidates_are_those_of_the_pairs():
    mixrl, _ = learned(line(24), line(9, seed=1))
    for record in mixrl.candidates:
        mixrl.threshold, mixrl.pick = record["threshold"], record["pick"]
        assert len(mixrl.pairs()) == record["mixed_rows"]


def test_a_threshold_that_is_given_is_kept():
    mixrl, _ = learned(line(24), line(9, seed=1), replace(QUICK, threshold=0.2))
    assert mixrl.threshold == 0.2
    assert mixrl.candidates == []
    h = mixrl.h(line(24))
    k = np.array([1, 2, 4, 1, 2])
    made = {(min(i, j), max(i, j)) for i, j in zip(mixrl.pairs().i, mixrl.pairs().j, strict=True)}
    expected = set()
    for own in (slice(0, 3), slice(3, 5)):
        for i in range(24):
            o = own.start + h[i, own].argmax()
            table = mixrl.neighbors.of["data" if own.start == 0 else "label"]
            if h[i, o] > 0.2:
                expected |= {(min(i, j), max(i, j)) for j in table[i, : k[o]]}
    assert made == expected


def shares_of(name):
    if name == "beta":
        return None
    torch.manual_seed(0)
    network = PolicyRegion(2, hidden=[8])
    torch.nn.init.normal_(network.layers[-1].weight)
    return RegionShares(network)


@pytest.mark.parametrize("name", ["beta", "region"])
def test_a_step_s_rows_are_those_of_the_end(name):
    # Every pair of 12 examples is an option at the end: what a step mixes is among its rows, to the last bit of Beta's.
    train = line(12)
    settings = MixSettings(options=Options((11,), ()), lam=None, alpha=0.7, threshold=0.0, steps=0, rollouts=2, admit=1)
    mixrl = MixRL(train, problem(line(5, seed=1)), settings, shares=shares_of(name))
    final = mixrl.pairs()
    assert len(final) == 12 * 11 // 2
    assert len(np.unique(final.lam)) == len(final)
    end = final.rows(train)
    for _, batch in UniformBatches(train, batch_size=5, steps=3, seed=0, options=1):
        owner, x, y = mixrl._mixed_rows(batch)
        assert owner.tolist() == np.repeat(np.arange(5), 11).tolist()
        gaps = np.abs(x.numpy()[:, None] - end.x[None]).max(-1)
        assert gaps.min(1).max() <= (0.0 if name == "beta" else 1e-5)
        np.testing.assert_allclose(y, end.y[gaps.argmin(1)], rtol=0, atol=0 if name == "beta" else 1e-5)


@pytest.mark.parametrize(("name", "kind"), [("leave-one-out", LeaveOneOut), ("moving-average", MovingAverage)])
def test_baselines_by_name(name, kind):
    settings = replace(QUICK, baseline=name)
    assert isinstance(MixRL(line(24), problem(line(9)), settings)._baseline(), kind)


def test_the_paper_s_form_learns():
    paper = replace(QUICK, rollouts=1, baseline="moving-average", reward_scale=2.0, anneal=False, exploration=0.0)
    _, steps = learned(line(24), line(9, seed=1), paper)
    assert [s.u.shape for s in steps] == [(1,)] * 3


def test_rows_are_valued_in_blocks_that_change_nothing(monkeypatch):
    mixrl = MixRL(line(24), problem(line(9)), QUICK)
    whole = mixrl.h(line(24))
    monkeypatch.setattr("raydm.mixing.learned_neighbors.ROWS", 7)
    np.testing.assert_allclose(mixrl.h(line(24)), whole, atol=1e-6)


def test_threads_are_the_consumer_s_between_steps():
    before = torch.get_num_threads()
    mixrl = MixRL(line(24), problem(line(9)), QUICK)
    try:
        torch.set_num_threads(2)
        for _ in mixrl.steps():
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
