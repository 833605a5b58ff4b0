"""The order in which trainings see their examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raydm.predictors.batches import passes, present_only

SHARED, DISTINCT = np.full(3, 7), np.array([7, 8, 9])
W = torch.tensor([[1.0, 1, 1, 1, 1, 1, 1], [0, 2, 0, 0.5, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0]])  # 7, 3 and no rows


def seen(seed, w, batch_size, steps):
    """What each rollout sees, one row after the other: (R, steps * B)."""
    drawn = list(present_only(seed, w, batch_size, steps))
    assert [tuple(rows.shape) for rows in drawn] == [(len(w), batch_size)] * steps
    return torch.cat(drawn, -1).numpy()


@pytest.mark.parametrize("batch_size", [1, 2, 5, 30])
def test_every_row_of_a_set_once_then_again_in_another_order(batch_size):
    of_seven, of_three, of_none = seen(DISTINCT, W, batch_size, 210 // batch_size)
    for rows, present in ((of_seven, [0, 1, 2, 3, 4, 5, 6]), (of_three, [1, 3, 6])):
        cycles = rows.reshape(-1, len(present))
        assert (np.sort(cycles) == present).all()
        assert len(np.unique(cycles, axis=0)) > 5  # of the 6 orders of three rows all come up in 70 cycles
    assert (of_none == 0).all()  # row 0, whose weight is 0


def test_a_rollout_s_rows_are_those_that_it_sees_alone():
    together = seen(DISTINCT, W, 4, 20)
    for r in range(3):
        np.testing.assert_array_equal(seen(DISTINCT[r : r + 1], W[r : r + 1], 4, 20)[0], together[r])


def test_sets_of_one_seed_see_the_rows_that_they_share_in_one_order():
    of_seven, of_three, _ = seen(SHARED, W, 1, 21)
    for cycle in range(3):
        both = of_seven[7 * cycle : 7 * cycle + 7]
        assert both[np.isin(both, [1, 3, 6])].tolist() == of_three[3 * cycle : 3 * cycle + 3].tolist()
    assert seen(DISTINCT, W[:1].expand(3, -1), 1, 7)[0].tolist() != seen(DISTINCT[1:2], W[:1], 1, 7)[0].tolist()


def test_absent_rows_at_the_end_change_nothing():
    longer = torch.cat([W, torch.zeros(3, 1000)], -1)
    np.testing.assert_array_equal(seen(SHARED, longer, 4, 20), seen(SHARED, W, 4, 20))


def test_passes_see_every_row_once_an_epoch():
    shared = list(passes(SHARED, 10, 4, 3))
    assert [tuple(rows.shape) for rows in shared] == [(4,), (4,), (2,)] * 3
    each = list(passes(DISTINCT, 10, 4, 3))
    assert [tuple(rows.shape) for rows in each] == [(3, 4), (3, 4), (3, 2)] * 3
    orders = torch.cat(each, -1).reshape(3, 3, 10)
    assert (orders.sort(-1).values == torch.arange(10)).all()
    assert len(torch.unique(orders.reshape(9, 10), dim=0)) == 9
    assert torch.equal(torch.cat(shared), orders[0].reshape(-1))  # rollout 0 has the seed that the shared ones have
