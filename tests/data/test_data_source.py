"""Sources of batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raydm.data.examples import Examples
from raydm.data.source import EpochBatches, even_batches

EXAMPLES = Examples(np.arange(20, dtype=np.float32).reshape(10, 2), np.arange(10), np.arange(10))


def test_an_epoch_shows_every_example_once():
    seen = list(EpochBatches(EXAMPLES, batch_size=4, epochs=3, seed=0))
    assert [t for t, _ in seen] == list(range(9))
    orders = [np.concatenate([b.rows for _, b in seen[e : e + 3]]) for e in (0, 3, 6)]
    for order in orders:
        assert sorted(order) == list(range(10))
    assert not np.array_equal(orders[0], orders[1])
    for _, batch in seen:
        assert torch.equal(batch.x, torch.from_numpy(EXAMPLES.x[batch.rows]))
        assert batch.y.tolist() == batch.rows.tolist()


def test_an_epoch_depends_on_its_number_and_the_seed_alone():
    both = list(EpochBatches(EXAMPLES, batch_size=4, epochs=2, seed=5))
    second = list(EpochBatches(EXAMPLES, batch_size=4, epochs=1, seed=5, first=1))
    assert [t for t, _ in second] == [3, 4, 5]
    for (_, a), (_, b) in zip(both[3:], second, strict=True):
        np.testing.assert_array_equal(a.rows, b.rows)
    other = next(iter(EpochBatches(EXAMPLES, batch_size=4, epochs=1, seed=6)))[1]
    assert not np.array_equal(both[0][1].rows, other.rows)


@pytest.mark.parametrize(("n", "sizes"), [(10, [4, 3, 3]), (9, [3, 3, 3]), (8, [4, 4]), (5, [3, 2]), (1, [1])])
def test_batches_are_as_equal_as_can_be(n, sizes):
    assert [len(b) for b in even_batches(np.random.default_rng(0), n, 4)] == sizes
